"""``tf.while_loop``: a body runs again and again while a condition holds.

In a graph a loop is made of the nodes that ``while_context.py`` shows, as TensorFlow 1 does; in a
function it is a While op.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowray.client.control_flow.context import bring, in_context
from flowray.client.control_flow.while_context import WhileContext, check_invariant
from flowray.client.framework.conversion import constant, convert_to_tensor
from flowray.client.framework.function import FuncGraph, trace_loop
from flowray.client.framework.graph import Tensor, get_default_graph, name_scope
from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.framework.nest import (
    assert_same_structure,
    flatten,
    is_nested,
    pack_sequence_as,
)
from flowray.client.framework.op_builder import apply_op, make_op
from flowray.client.framework.sparse_tensor import SparseTensor
from flowray.client.ops.math_ops import logical_and
from flowray.client.ops.tensor_array_ops import TensorArray
from flowray.client.tf_export import tf_export
from flowray.proto.types.shapes import Shape, TensorShape, as_shape, is_compatible


@tf_export("while_loop")
def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    shape_invariants: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
    maximum_iterations: Any = None,
    return_same_structure: bool = False,
) -> Any:
    """Calls ``body`` on ``loop_vars``, and on its results, while ``cond`` of them holds.

    Both are called once, to build the graph.

    Args:
        cond: gives a bool scalar.
        body: gives the next values, in the structure of ``loop_vars``.
        loop_vars: a list, tuple, namedtuple or dict, possibly nested, of values that convert to
            tensors, of TensorArrays, IndexedSlices and SparseTensors.
        shape_invariants: TensorShapes in the structure of ``loop_vars``: the invariants of their
            shapes in all iterations. The shapes of ``loop_vars`` by default.
        parallel_iterations: a hint.
        back_prop: whether gradients flow through the loop.
        swap_memory: a hint.
        maximum_iterations: an integer scalar; more are not done.
        return_same_structure: whether a list of one loop variable stays a list.

    Returns:
        The last values of the loop variables, in the structure that ``body`` returns.

    Raises:
        TypeError, ValueError: an argument does not fit, or ``body`` changes the number, structure
            or shapes of the variables.
    """
    if not callable(cond):
        raise TypeError("cond must be callable.")
    if not callable(body):
        raise TypeError("body must be callable.")
    if parallel_iterations < 1:
        raise TypeError("parallel_iterations must be a positive integer.")
    with name_scope(name, "while") as scope:
        if not loop_vars:
            raise ValueError("No loop variables provided")
        counted = maximum_iterations is not None
        if counted:
            cond, body, loop_vars, shape_invariants = _counted(
                cond,
                body,
                loop_vars,
                shape_invariants,
                maximum_iterations,
                len(loop_vars) == 1 and not return_same_structure,
            )
        layout = _Layout(loop_vars)
        shapes = layout.shapes(shape_invariants)
        if isinstance(get_default_graph(), FuncGraph):
            result = _in_function(cond, body, layout, shapes, parallel_iterations, scope)
        else:
            context = WhileContext(parallel_iterations, back_prop, swap_memory)
            result = _in_graph(cond, body, layout, shapes, context)
        if counted:
            return result[1]
        alone = len(layout.tensors) == 1 and not return_same_structure
        return result[0] if alone else result


def _counted(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    shape_invariants: Any,
    maximum: Any,
    alone: bool,
) -> tuple[Callable[..., Any], Callable[..., Any], Any, Any]:
    """Returns the arguments for a loop that counts its iterations, too.

    Its variables are the counter and the others, or the only other one if that is ``alone``.
    """
    maximum = convert_to_tensor(maximum, name="maximum_iterations")
    if maximum.shape_tuple not in (None, ()):
        raise ValueError(f"maximum_iterations must be a scalar, saw shape: {maximum.shape}")
    counter = constant(0, maximum.dtype, name="iteration_counter")

    def holds(i: Any, values: Any) -> Any:
        return logical_and(i < maximum, cond(values) if alone else cond(*values))

    def step(i: Any, values: Any) -> Any:
        return i + 1, body(values) if alone else body(*values)

    if shape_invariants is not None:
        invariants = shape_invariants[0] if alone else shape_invariants
        shape_invariants = (TensorShape([]), invariants)
    return holds, step, (counter, loop_vars[0] if alone else loop_vars), shape_invariants


# The leaves of structures ------------------------------------------------------------------------


def _parts(leaf: Any) -> list[Any]:
    """Returns the tensors that stand for a loop variable in the loop."""
    if isinstance(leaf, TensorArray):
        return [leaf.flow]
    if isinstance(leaf, IndexedSlices):
        shape = [] if leaf.dense_shape is None else [leaf.dense_shape]
        return [leaf.values, leaf.indices, *shape]
    if isinstance(leaf, SparseTensor):
        return [leaf.indices, leaf.values, leaf.dense_shape]
    return [leaf if isinstance(leaf, Tensor) else convert_to_tensor(leaf)]


def _like(leaf: Any, parts: Sequence[Tensor]) -> Any:
    """Rebuilds from ``parts`` the kind of value that ``leaf`` is."""
    if isinstance(leaf, TensorArray):
        return leaf._with_flow(parts[0])
    if isinstance(leaf, IndexedSlices | SparseTensor):
        return type(leaf)(*parts)
    return parts[0]


class _Layout:
    """The leaves of a structure as lists of tensors."""

    def __init__(self, structure: Any) -> None:
        self.structure = structure
        self._leaves = flatten(structure)
        columns = [_parts(leaf) for leaf in self._leaves]
        self._counts = [len(parts) for parts in columns]
        self.tensors = [tensor for parts in columns for tensor in parts]

    def packed(self, tensors: Sequence[Tensor]) -> Any:
        """Returns the structure with other tensors."""
        remaining = iter(tensors)
        leaves = [
            _like(leaf, [next(remaining) for _ in range(count)])
            for leaf, count in zip(self._leaves, self._counts, strict=True)
        ]
        return pack_sequence_as(self.structure, leaves)

    def shapes(self, invariants: Any) -> list[Shape]:
        """Returns the shape of each tensor in all iterations.

        Raises:
            ValueError, TypeError: ``invariants`` (None: the shapes that the tensors have) have
                another structure, or the tensors do not meet them.
        """
        if invariants is None:
            return [tensor._shape for tensor in self.tensors]
        assert_same_structure(self.structure, invariants)
        shapes: list[Shape] = []
        pairs = zip(self._leaves, flatten(invariants), strict=True)
        for (leaf, invariant), count in zip(pairs, self._counts, strict=True):
            found = _part_shapes(leaf, as_shape(invariant).as_tuple())
            shapes += found[:count]
        for tensor, shape in zip(self.tensors, shapes, strict=True):
            if not is_compatible(tensor._shape, shape):
                raise ValueError(
                    f"The shape invariant specified for {tensor.name} is not compatible with the "
                    "initial shape of the loop variable. It enters the loop with shape "
                    f"{tensor.get_shape()}, but the specified shape invariant is "
                    f"{TensorShape(shape)}."
                )
        return shapes


def _part_shapes(leaf: Any, shape: Shape) -> list[Shape]:
    """Returns the shapes of the parts of a leaf that has ``shape``; more than enough of them."""
    if isinstance(leaf, TensorArray):
        return [()]
    if isinstance(leaf, IndexedSlices):
        return [shape, None if shape is None else (shape[0],), None]
    if isinstance(leaf, SparseTensor):
        rank = None if shape is None else len(shape)
        return [(None, rank), (None,), (rank,)]
    return [shape]


# Building ----------------------------------------------------------------------------------------


def _in_graph(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    layout: _Layout,
    shapes: Sequence[Shape],
    context: WhileContext,
) -> Any:
    first = bring(context.outer_context, layout.tensors)
    entered = [context.enter(tensor, shape) for tensor, shape in zip(first, shapes, strict=True)]
    with in_context(context):
        context.variables = [context.merge(tensor) for tensor in entered]
        merged = [variable.merged for variable in context.variables]
        context.decide(cond(*layout.packed(merged)))
        again = [context.switch(variable) for variable in context.variables]
        for variable, tensor in zip(context.variables, again, strict=True):
            variable.value = apply_op("Identity", tensor)
        result = _next(body, layout, [variable.value for variable in context.variables])
        for variable, following in zip(context.variables, result.tensors, strict=True):
            context.close(variable, following)
    return result.packed([context.leave(variable) for variable in context.variables])


def _next(body: Callable[..., Any], layout: _Layout, values: Sequence[Any]) -> _Layout:
    """Calls ``body``; ValueError or TypeError if its results do not fit the loop variables."""
    arguments = layout.packed(values)
    result = body(*arguments)
    if not is_nested(result):
        result = [result]
    assert_same_structure(list(arguments), list(result))
    return _Layout(result)


def _in_function(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    layout: _Layout,
    shapes: Sequence[Shape],
    parallel_iterations: int,
    scope: str,
) -> Any:
    results: list[_Layout] = []

    def step(*values: Tensor) -> list[Tensor]:
        results.append(_next(body, layout, values))
        return results[0].tensors

    base = scope.rstrip("/")
    condition, stepping = trace_loop(
        lambda *values: cond(*layout.packed(values)),
        step,
        [(t.dtype, shape) for t, shape in zip(layout.tensors, shapes, strict=True)],
        [f"{base}_cond", f"{base}_body"],
    )
    for tensor, shape, made in zip(layout.tensors, shapes, stepping.outputs, strict=False):
        check_invariant(tensor, shape, made)
    inputs = [*layout.tensors, *stepping.captures]
    op = make_op(
        "While" if condition.is_stateful or stepping.is_stateful else "StatelessWhile",
        inputs,
        T=[t.dtype.base_dtype for t in inputs],
        cond=condition,
        body=stepping,
        output_shapes=[*shapes, *(t._shape for t in stepping.captures)],
        parallel_iterations=parallel_iterations,
        name=scope,
    )
    return results[0].packed(op._outputs[: len(shapes)])
