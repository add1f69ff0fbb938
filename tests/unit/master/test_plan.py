from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flowray.master.passes.placer import place
from flowray.master.passes.validate import validate
from flowray.master.plan import FeedCheck, Source, StepPlan, make_plan
from flowray.proto import errors
from flowray.proto.graph.tensor_id import TensorId
from tests.unit.master.fakes import PS, W0, describe, device, graph_def, lines

DEVICES = [device(PS), device(W0)]


def plan(
    text: str,
    feeds: str = "",
    fetches: str = "",
    targets: str = "",
    producer: int = 134,
    **more: Any,
) -> StepPlan:
    graph = validate(graph_def(text, producer))
    places = place(graph, graph.nodes.values(), {}, DEVICES, default_task=W0)
    fed, fetched = ([TensorId.parse(n) for n in names.split()] for names in (feeds, fetches))
    return make_plan(
        graph, places, fed, fetched, targets.split(), session="s", prefix="s/3", **more
    )


TRAINING = """
    v = VariableV2() @/job:ps
    r = Identity(v) @/job:ps
    p = Placeholder() @/job:worker
    q = Placeholder() @/job:worker
    y = Mul(r, p) @/job:worker
    g = AddV2(y, q) @/job:worker
    train = AssignAdd(v, g) @/job:ps
"""


def test_how_values_get_to_the_stages() -> None:
    step = plan(TRAINING, "q p", "y train", state_scope="mine")
    assert step.tasks == (PS, W0, PS)
    assert step.after == ((), (0,), (1,))
    assert step.inputs == (
        (),
        (Source(0, 0), Source(None, 1), Source(None, 0)),
        (Source(1, 1),),
    )
    assert step.fetches == (Source(1, 0), Source(2, 0))
    assert [str(check.tensor) for check in step.feeds] == ["q:0", "p:0"]
    worker = step.stages[1]
    assert (worker.handle, worker.session, worker.state_scope) == ("s/3/1", "s", "mine")
    assert worker.inputs == ("r:0", "p:0", "q:0")
    assert worker.outputs == ("y:0", "g:0")
    assert describe(worker.graph) == lines("""
        y = Mul(r, p)
        g = AddV2(y, q)
    """)


def test_a_reference_that_leaves_twice_is_fetched_as_a_value() -> None:
    step = plan(
        """
        v = VariableV2() @/job:ps
        p = Placeholder() @/job:ps
        w = Assign(v, p) @/job:ps
        x = Neg(w) @/job:worker
        again = AssignAdd(w, x) @/job:ps
        """,
        "p", "w", "again",
    )  # fmt: skip
    first = step.stages[0]
    assert first.outputs == ("_value/w_0:0", "w:0")
    assert first.ref_outputs == {"w:0"}
    assert step.fetches == (Source(0, 0),)
    assert step.inputs[2] == (Source(0, 1), Source(1, 0))


def test_partition_graphs_have_what_the_step_runs() -> None:
    ps, worker = plan(TRAINING, "q p", "y").partition_graphs
    assert describe(ps) == lines("v = VariableV2()\nr = Identity(v)")
    assert describe(worker) == ["y = Mul(r, p)"]
    assert {n.device for n in worker.node} == {f"{W0}/device:CPU:0"}


# What may be fed


def check(text: str, producer: int = 134) -> FeedCheck:
    (result,) = plan(text + "\nn = NoOp()", "p", targets="n", producer=producer).feeds
    return result


def refused(feed: FeedCheck, value: Any) -> errors.OpError:
    with pytest.raises(errors.OpError) as info:
        feed.check(value)
    assert info.value.message.endswith("[[{{node p}}]]")
    return info.value


def test_a_feed_that_fits() -> None:
    feed = check("p = Placeholder() shape=(None,2)")
    value = np.ones((3, 2), np.float32)
    assert feed.check(value) is value
    assert feed.check(np.float32(1).reshape(1, 1).repeat(2, 1)).shape == (1, 2)


def test_a_feed_of_another_dtype() -> None:
    error = refused(check("p = Placeholder()"), np.ones(2, np.int32))
    assert isinstance(error, errors.InternalError)
    assert error.message.startswith(
        "Output 0 of type int32 does not match declared output type float for node {{node p}}"
    )
    assert "type complex256" in refused(check("p = Placeholder()"), np.clongdouble(1)).message


def test_a_feed_of_another_shape() -> None:
    feed = check("p = Placeholder() shape=(None,2)")
    error = refused(feed, np.ones((2, 3), np.float32))
    assert isinstance(error, errors.InvalidArgumentError)
    assert error.message.startswith(
        "Cannot feed value of shape [2,3] for tensor 'p:0', which has shape [?,2]"
    )
    refused(feed, np.float32(1))


def test_strings() -> None:
    feed = check("p = Placeholder() dtype=string")
    for value in (np.array([b"a"], object), np.array([b"a"]), np.array("text")):
        assert feed.check(value) is value
    refused(feed, np.ones(1))
    refused(check("p = Placeholder()"), np.array(b"a"))


def test_feeds_that_are_not_placeholders_take_any_shape() -> None:
    assert check("p = Const() value=[1.0,2.0]").check(np.zeros((3, 3), np.float32)).shape == (3, 3)


def test_a_variable_takes_its_values() -> None:
    check("p = VariableV2() shape=(2,)").check(np.zeros(2, np.float32))


def test_an_old_placeholder_of_unknown_shape_looks_like_a_scalar() -> None:
    text = "p = Placeholder() shape=()"
    check(text, producer=21).check(np.zeros((2, 2), np.float32))
    refused(check(text, producer=24), np.zeros((2, 2), np.float32))
