"""Programs from the text of a stage's graph, for golden tests: graph in, printed program out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from flowray.proto.graph.deadness import Condition, Conditions
from flowray.proto.graph.functions import as_call, make_function
from flowray.proto.messages import graph_pb2
from flowray.proto.types import dtypes
from flowray.proto.wire.stage import Stage
from flowray.worker import kernels as _kernels  # noqa: F401 - registers them all
from flowray.worker.program.loader import load
from flowray.worker.program.program import Program
from flowray.worker.state.store import StateStore
from tests.unit.master.fakes import graph_def


def program(
    text: str,
    inputs: str = "",
    outputs: str = "",
    *,
    library: Iterable[graph_pb2.FunctionDef] = (),
    select: bool = True,
    hosted: Iterable[str] = (),
    **stage: Any,
) -> Program:
    """The program of a stage whose nodes are those of ``text``, as ``graph_def`` takes it.

    A node whose op is the name of a function of the library calls it.
    """
    called = {definition.signature.name: definition for definition in library}
    graph = graph_pb2.GraphDef(node=[as_call(node, called) for node in graph_def(text).node])
    graph.library.function.extend(called.values())
    names = tuple(inputs.split()), tuple(outputs.split())
    return load(
        Stage("h", "s", graph, *names, **stage),
        StateStore("localhost"),
        select=select,
        hosted=set(hosted),
    )


def function(name: str, text: str, arguments: str, results: str) -> graph_pb2.FunctionDef:
    """A function of float32 results. Its arguments are ``name=dtype``, or ``name`` for float32."""
    named = [argument.partition("=") for argument in arguments.split()]
    return make_function(
        name,
        graph_def(text).node,
        [(argument, dtypes.BY_NAME[dtype or "float32"]) for argument, _, dtype in named],
        [(result, dtypes.float32) for result in results.split()],
    )


def conditions(**found: str) -> Mapping[str, Conditions]:
    """Conditions by name: ``conditions(a="p:0 !q:0")`` are that p:0 is true and q:0 false."""
    return {
        name: frozenset(Condition(p.lstrip("!"), not p.startswith("!")) for p in text.split())
        for name, text in found.items()
    }


def expect(found: Program, text: str) -> None:
    """Asserts that the program prints as ``text``, whose indentation does not count."""
    assert str(found) == textwrap.dedent(text).strip()
