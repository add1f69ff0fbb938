"""Functions: graphs of their own, traced from Python, that ops of another graph call.

    square = trace(lambda x: x * x, [(tf.float32, None)], "square")
    apply_op("MapDataset", dataset, square.captures, f=square, ...)

A traced function may use tensors of the graphs around it: they are captured, which makes each an
argument more, to be passed after those of the signature.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Graph, Operation, Tensor, get_default_graph
from flowray.client.tf_export import tf_export
from flowray.proto.graph import functions
from flowray.proto.messages import graph_pb2
from flowray.proto.ops.op_registry import OpKind
from flowray.proto.types.dtypes import DType, as_dtype
from flowray.proto.types.shapes import as_shape

Flatten = Callable[[Any], Sequence[Any]]


@tf_export("init_scope")
@contextmanager
def init_scope() -> Iterator[None]:
    """Adds the ops of the block outside of functions, conditions, loops and control dependencies.

    They keep the name scope; variables are made in such a scope.
    """
    graph = get_default_graph()
    root = graph.root if isinstance(graph, FuncGraph) else graph
    scope = graph.get_name_scope()
    with (
        root.as_default(),
        root.name_scope(f"{scope}/" if scope else None),
        root.control_dependencies(None),
    ):
        yield


class FuncGraph(Graph):
    """The body of a function while it is traced.

    It sees the collections, the seed and the device scopes of the graph around it, so that
    ``get_variable`` in a function finds the variables outside.
    """

    def __init__(self, name: str, outer: Graph) -> None:
        super().__init__()
        self.name = name
        self.outer_graph = outer
        self.arguments: list[Tensor] = []
        self.captures: dict[Tensor, Tensor] = {}
        """The captured tensors of the graph just outside, and the argument for each."""
        self._sources: dict[Tensor, Tensor] = {}
        self._seed = outer.seed
        self._collections = outer._collections
        self._container = outer._container

    def add_argument(self, name: str, dtype: Any, shape: Any) -> Tensor:
        """Adds an argument: a placeholder here, an argument of the FunctionDef."""
        attrs = {"dtype": as_dtype(dtype).base_dtype, "shape": as_shape(shape).as_tuple()}
        # Whatever scopes and conditions are open, an argument is there from the beginning.
        with self.as_default(), self.control_dependencies(None), self.name_scope(None):
            argument = self.create_op("Placeholder", [], name=name, attrs=attrs)._outputs[0]
        argument.op._node_def.device = ""
        self.arguments.append(argument)
        return argument

    def capture(self, tensor: Tensor) -> Tensor:
        """Returns the tensor that stands in here for a tensor of a graph around this one.

        Raises:
            ValueError: it is a reference, or of a graph that is not around this one.
        """
        if tensor.graph is self:
            return tensor
        if tensor in self.captures:
            return self.captures[tensor]
        if not self._is_inside(tensor.graph):
            raise ValueError(f"{tensor} is not from the passed-in graph.")
        if tensor.dtype._is_ref_dtype:
            raise ValueError(
                f"Cannot capture the reference {tensor.name} in function {self.name}: read the "
                "variable before, or make it with use_resource=True"
            )
        outer = self.outer_graph._adopt(tensor)
        if outer in self.captures:
            return self.captures[outer]
        name = re.sub(r"[^A-Za-z0-9_]", "_", tensor.op.name).strip("_") or "capture"
        captured = self.add_argument(name, tensor.dtype, tensor.get_shape())
        self.arguments.remove(captured)  # captures come after all arguments of the signature
        self.captures[outer] = captured
        self._sources[captured] = outer
        return captured

    def _adopt(self, tensor: Tensor) -> Tensor:
        return self.capture(tensor)

    def _is_inside(self, graph: Graph) -> bool:
        outer = self.outer_graph
        return graph is outer or outer._is_inside(graph)

    def _source_of(self, argument: Tensor) -> Tensor | None:
        return self._sources.get(argument)

    def note_source(self, argument: Tensor, source: Tensor) -> None:
        """Records the outer tensor that will be passed as an argument; it may be a variable."""
        self._sources[argument] = source

    @property
    def root(self) -> Graph:
        """The outermost graph, which holds the library of functions."""
        outer = self.outer_graph
        return outer.root if isinstance(outer, FuncGraph) else outer

    def control_dependencies(
        self, control_inputs: Iterable[Any] | None
    ) -> AbstractContextManager[None]:
        """Leaves out ops of outer graphs, which have run when the function is called."""
        if control_inputs is not None:
            control_inputs = [c for c in control_inputs if getattr(c, "graph", self) is self]
        return super().control_dependencies(control_inputs)


class TracedFunction:
    """A function in the library of a graph; usable as the value of a "func" attribute.

    Attributes:
        name: its name in the library.
        graph: its body.
        captures: tensors of the graph that it was traced in, to be passed after the arguments.
        outputs: its results, flattened: tensors of ``graph``.
        structured_result: the result of the Python function.
    """

    def __init__(
        self, name: str, graph: FuncGraph, outputs: Sequence[Tensor], structured_result: Any
    ) -> None:
        self.name = name
        self.graph = graph
        self.outputs = list(outputs)
        self.structured_result = structured_result
        self.captures = list(graph.captures)
        self.definition = self._define()
        root = graph.root
        root._library.function.append(self.definition)
        root._functions[name] = self

    def _define(self) -> graph_pb2.FunctionDef:
        arguments = [*self.graph.arguments, *self.graph.captures.values()]
        inner = {t.op for t in arguments}
        return functions.make_function(
            self.name,
            (op._node_def for op in self.graph.get_operations() if op not in inner),
            [(t.op.name, t.dtype) for t in arguments],
            [(t.name, t.dtype) for t in self.outputs],
            [op.name for op in self.graph.get_operations() if _has_effects(op)],
        )

    @property
    def input_types(self) -> list[DType]:
        """The dtypes of all arguments, captures included."""
        return [t.dtype for t in [*self.graph.arguments, *self.graph.captures.values()]]

    @property
    def output_types(self) -> list[DType]:
        """The dtypes of the results."""
        return [t.dtype for t in self.outputs]

    @property
    def is_stateful(self) -> bool:
        """True if one of its ops is stateful."""
        return self.definition.signature.is_stateful

    def as_attr(self) -> graph_pb2.NameAttrList:
        """Returns the value of an attribute that names the function."""
        return graph_pb2.NameAttrList(name=self.name)


def _has_effects(op: Operation) -> bool:
    return op.op_def is not None and op.op_def.stateful and op._kind is not OpKind.VARIABLE


def trace(
    function: Callable[..., Any],
    arguments: Sequence[tuple[Any, Any]],
    name: str,
    flatten: Flatten | None = None,
    argument_names: Sequence[str] | None = None,
) -> TracedFunction:
    """Runs ``function`` on symbolic arguments and adds the result to the graph's library.

    Args:
        function: gets one Tensor per argument.
        arguments: ``(dtype, shape)`` of each.
        name: the beginning of the function's name; a number follows.
        flatten: makes the result a flat list of what converts to tensors; by default a list or
            tuple is one already, None is empty, and all else is one tensor.
        argument_names: how the arguments are called in the FunctionDef; "args_0", ... by default.

    Raises:
        ValueError, TypeError: a result converts to no tensor, or a capture is not possible.
    """
    graph, outputs, result = _built(function, arguments, name, flatten, argument_names)
    return TracedFunction(graph.name, graph, outputs, result)


def rehearse(function: Callable[..., None], arguments: Sequence[tuple[Any, Any]]) -> None:
    """Traces ``function`` for its side effects on the caller; the graph is dropped."""

    def run(*symbolic: Tensor) -> list[Tensor]:
        function(*symbolic)
        return []

    _built(run, arguments, "rehearsal", None, None)


def trace_branches(
    branches: Sequence[Callable[[], Any]], names: Sequence[str], flatten: Flatten
) -> list[TracedFunction]:
    """Traces functions without arguments so that all have the same captures."""
    built = [
        _built(branch, (), name, flatten, None)
        for branch, name in zip(branches, names, strict=True)
    ]
    _share_captures([graph for graph, _, _ in built])
    return [TracedFunction(graph.name, graph, outputs, result) for graph, outputs, result in built]


def trace_loop(
    condition: Callable[..., Any],
    body: Callable[..., Sequence[Tensor]],
    arguments: Sequence[tuple[Any, Any]],
    names: Sequence[str],
) -> tuple[TracedFunction, TracedFunction]:
    """Traces the functions of a While; captures of both are arguments and results of ``body``.

    Args:
        arguments: ``(dtype, shape)`` of each loop variable.
        names: the beginnings of the functions' names.
    """
    held, tested, _ = _built(condition, arguments, names[0], None, None)
    stepping, outputs, result = _built(body, arguments, names[1], None, None)
    _share_captures([held, stepping])
    return (
        TracedFunction(held.name, held, tested, None),
        TracedFunction(stepping.name, stepping, [*outputs, *stepping.captures.values()], result),
    )


def _share_captures(graphs: Sequence[FuncGraph]) -> None:
    captures = dict.fromkeys(tensor for graph in graphs for tensor in graph.captures)
    for graph in graphs:
        graph.captures = {tensor: graph.capture(tensor) for tensor in captures}


def _built(
    function: Callable[..., Any],
    arguments: Sequence[tuple[Any, Any]],
    name: str,
    flatten: Flatten | None,
    argument_names: Sequence[str] | None,
) -> tuple[FuncGraph, list[Tensor], Any]:
    outer = get_default_graph()
    root = outer.root if isinstance(outer, FuncGraph) else outer
    graph = FuncGraph(root._function_name(re.sub(r"[^A-Za-z0-9_]", "_", name)), outer)
    names = argument_names or [f"args_{i}" for i in range(len(arguments))]
    with graph.as_default():
        symbolic = [
            graph.add_argument(n, dtype, shape)
            for n, (dtype, shape) in zip(names, arguments, strict=True)
        ]
        result = function(*symbolic)
        flat = _flat(result) if flatten is None else flatten(result)
        outputs = [graph._adopt(convert_to_tensor(value)) for value in flat]
    return graph, outputs, result


def _flat(result: Any) -> Sequence[Any]:
    if result is None:
        return []
    return result if isinstance(result, list | tuple) else [result]
