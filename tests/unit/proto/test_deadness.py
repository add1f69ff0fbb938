from __future__ import annotations

import pickle
from collections.abc import Mapping

import pytest

from flowray.proto.graph.deadness import (
    DEAD,
    NONE,
    Condition,
    Conditions,
    DeadnessAnalysis,
    describe,
)
from flowray.proto.graph.node import Node
from tests.unit.master.fakes import graph_def

CONDITION = """
    p = Placeholder() dtype=bool
    x = Const()
    s = Switch(x, p)
    no = Neg(s:0)
    yes = Neg(s:1)
    m = Merge(no, yes) N=2
    after = Neg(m)
"""


def analyze(
    text: str,
    input_conditions: Mapping[str, Conditions] | None = None,
    more: Mapping[str, Conditions] | None = None,
    copies: bool = True,
) -> DeadnessAnalysis:
    analysis = DeadnessAnalysis(input_conditions or {})
    for definition in graph_def(text).node:
        node = Node.from_def(definition)
        analysis.add(node, (more or {}).get(node.name, NONE), copies=copies)
    return analysis


def conditions(analysis: DeadnessAnalysis, *nodes: str) -> dict[str, str]:
    return {name: describe(analysis.of_node(name)) for name in nodes}


def test_a_branch_runs_under_its_predicate() -> None:
    analysis = analyze(CONDITION)
    assert conditions(analysis, "x", "s", "no", "yes", "m", "after") == {
        "x": "always",
        "s": "always",
        "no": "not p:0",
        "yes": "p:0",
        "m": "always",
        "after": "always",
    }
    assert describe(analysis.of_tensor("s:0")) == "not p:0"
    assert describe(analysis.of_tensor("s:1")) == "p:0"


def test_conditions_nest() -> None:
    analysis = analyze(
        CONDITION
        + """
        q = Placeholder() dtype=bool
        inner = Switch(yes, q)
        deep = Neg(inner:0)
        merged = Merge(inner:0, inner:1) N=2
        """
    )
    assert conditions(analysis, "deep", "merged") == {
        "deep": "p:0 and not q:0",
        "merged": "p:0",
    }


def test_what_waits_for_a_branch_obeys_it_but_for_a_control_trigger() -> None:
    analysis = analyze(
        CONDITION
        + """
        waits = NoOp(^yes)
        both = Neg(no, ^yes)
        trigger = ControlTrigger(^yes)
        late = Merge(no, yes, ^waits) N=2
        """
    )
    assert conditions(analysis, "waits", "both", "trigger", "late") == {
        "waits": "p:0",
        "both": "not p:0 and p:0",
        "trigger": "always",
        "late": "p:0",
    }


def test_a_merge_of_different_predicates_counts_as_always_live() -> None:
    analysis = analyze(
        CONDITION
        + """
        q = Placeholder() dtype=bool
        t = Switch(x, q)
        either = Merge(s:1, t:1) N=2
        """
    )
    assert conditions(analysis, "either") == {"either": "always"}


COPIED = """
    p = Placeholder() dtype=bool
    i = Identity(p) T=bool
    j = Identity(i) T=bool
    x = Const()
    s = Switch(x, j)
    y = Neg(s:1)
"""


def test_a_predicate_is_that_of_which_it_is_a_copy() -> None:
    analysis = analyze(COPIED)
    assert analysis.root("j:0") == "p:0"
    assert conditions(analysis, "y") == {"y": "p:0"}


def test_the_read_of_a_variable_is_not_a_copy() -> None:
    assert conditions(analyze(COPIED, copies=False), "y") == {"y": "j:0"}


def test_a_fed_copy_is_a_predicate_of_its_own() -> None:
    assert conditions(analyze(COPIED, {"i:0": NONE}), "y") == {"y": "i:0"}


def test_conditions_come_from_outside() -> None:
    q, r = Condition("q:0", True), Condition("r:0", False)
    analysis = analyze(CONDITION, {"x:0": frozenset({q})}, {"after": frozenset({r})})
    assert conditions(analysis, "x", "s", "yes", "m", "after") == {
        "x": "always",
        "s": "q:0",
        "yes": "p:0 and q:0",
        "m": "q:0",
        "after": "q:0 and not r:0",
    }


@pytest.mark.parametrize("protocol", [2, 5])
def test_there_is_one_dead_value(protocol: int) -> None:
    assert pickle.loads(pickle.dumps(DEAD, protocol)) is DEAD
