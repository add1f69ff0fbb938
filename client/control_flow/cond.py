"""``tf.cond`` and ``tf.case``: a tensor selects the ops that run.

In a graph a condition is made of Switch and Merge nodes, as TensorFlow 1 does: every tensor that a
branch takes from outside goes through a Switch, which passes it on only to the branch that is
taken, and a Merge joins the results. In a function it is an ``If`` op whose branches are functions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flowray.client.control_flow.context import ControlFlowContext
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.function import FuncGraph, TracedFunction, trace_branches
from flowray.client.framework.graph import (
    Operation,
    Tensor,
    control_dependencies,
    get_default_graph,
    name_scope,
)
from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.framework.nest import assert_same_structure, flatten, pack_sequence_as
from flowray.client.framework.op_builder import apply_op, make_op
from flowray.client.ops.control_flow_ops import Assert, merge, switch, with_dependencies
from flowray.client.ops.math_ops import cast, logical_or
from flowray.client.ops.reduction_ops import reduce_sum
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import most_specific_compatible

if TYPE_CHECKING:
    from flowray.client.control_flow.while_context import WhileContext


class CondContext(ControlFlowContext):
    """One branch of a condition.

    Attributes:
        pred: the predicate, a bool scalar.
        pivot: a tensor that is live if the branch is taken; ops without inputs wait for it.
        branch: 1 for the branch of True, 0 for that of False.
    """

    def __init__(self, pred: Tensor, pivot: Tensor, branch: int) -> None:
        super().__init__()
        self.pred = pred if self.outer_context is None else self.outer_context.AddValue(pred)
        self.pivot = pivot
        self.branch = branch
        self._inside.update((pred, pivot))

    @property
    def loop(self) -> WhileContext | None:
        """The innermost loop around the branch, or None."""
        return None if self.outer_context is None else self.outer_context.loop

    def _bring(self, tensor: Tensor) -> Tensor:
        brought: Tensor = switch(tensor, self.pred)[self.branch]
        return brought

    def _free(self, op: Operation) -> Tensor | None:
        waits = bool(op._inputs) or any(self.holds(c) for c in op._control_inputs)
        return None if waits else self.pivot

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Makes ops of the scope belong to the branch."""
        graph = get_default_graph()
        graph._set_control_flow_context(self)
        try:
            yield
        finally:
            graph._set_control_flow_context(self.outer_context)

    def result(self, value: Any) -> Any:
        """Returns a result of the branch as a tensor that is alive only in it."""
        if isinstance(value, Operation):
            # An op has no value of its own to merge: the pivot, once the op is done.
            return with_dependencies([value], self.pivot)
        if isinstance(value, IndexedSlices):
            return IndexedSlices(
                self.AddValue(value.values),
                self.AddValue(value.indices),
                None if value.dense_shape is None else self.AddValue(value.dense_shape),
            )
        return self.AddValue(convert_to_tensor(value))


@tf_export("cond")
def cond(
    pred: Any,
    true_fn: Callable[[], Any] | None = None,
    false_fn: Callable[[], Any] | None = None,
    strict: bool = False,
    name: str | None = None,
    fn1: Callable[[], Any] | None = None,
    fn2: Callable[[], Any] | None = None,
) -> Any:
    """Returns the results of ``true_fn()`` if ``pred`` is true in a run, else of ``false_fn()``.

    Only the ops that a function makes depend on the condition; ops from outside run in
    any case.

    Args:
        pred: bool scalar Tensor.
        true_fn, false_fn: return a tensor, a list or another structure of tensors; both the same
            one, with the same dtypes. None and operations count as something to wait for.
        strict: whether a list of one stays a list.
        fn1, fn2: older names of ``true_fn`` and ``false_fn``.

    Raises:
        TypeError: ``pred`` is a Python bool, or a function is missing.
        ValueError: the results differ in structure or dtype.
    """
    true_fn = _renamed(fn1, true_fn, "fn1", "true_fn")
    false_fn = _renamed(fn2, false_fn, "fn2", "false_fn")
    if not callable(true_fn):
        raise TypeError("true_fn must be callable.")
    if not callable(false_fn):
        raise TypeError("false_fn must be callable.")
    if isinstance(pred, bool):
        raise TypeError("pred must not be a Python bool")
    build = _cond_in_function if isinstance(get_default_graph(), FuncGraph) else _cond_in_graph
    result = build(pred, true_fn, false_fn, name)
    if not strict and isinstance(result, list | tuple) and len(result) == 1:
        return result[0]
    return result


def _renamed(old: Any, new: Any, old_name: str, new_name: str) -> Any:
    if old is not None and new is not None:
        raise TypeError(f"cond(): '{old_name}' and '{new_name}' are the same argument")
    return new if old is None else old


def _cond_in_graph(
    pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any], name: str | None
) -> Any:
    with name_scope(name, "cond", [pred]):
        pred = convert_to_tensor(pred, dtypes.bool, name="pred")
        off, on = apply_op("Switch", pred, pred)
        pivot_on = apply_op("Identity", on, name="switch_t")
        pivot_off = apply_op("Identity", off, name="switch_f")
        pred = apply_op("Identity", pred, name="pred_id")
        for tensor in (on, off, pivot_on, pivot_off, pred):
            tensor.graph.prevent_fetching(tensor.op)
        of_true, true_values = _branch(CondContext(pred, pivot_on, 1), true_fn)
        of_false, false_values = _branch(CondContext(pred, pivot_off, 0), false_fn)
        _check_same(of_true, of_false, true_values, false_values)
        merged = [merge(pair)[0] for pair in zip(false_values, true_values, strict=True)]
        return pack_sequence_as(of_true, merged)


def _branch(context: CondContext, function: Callable[[], Any]) -> tuple[Any, list[Any]]:
    """Returns the structure that ``function`` returned, and its leaves as tensors of the branch."""
    with context.entered():
        result = function()
        if result is None:
            return None, [apply_op("Identity", context.pivot)]
        values = [context.result(leaf) for leaf in flatten(result)]
    return result, values


def _check_same(of_true: Any, of_false: Any, true: Sequence[Any], false: Sequence[Any]) -> None:
    try:
        assert_same_structure(of_true, of_false)
    except (TypeError, ValueError) as error:
        raise type(error)(f"Incompatible return types of true_fn and false_fn: {error}") from None
    for a, b in zip(true, false, strict=True):
        if a.dtype.base_dtype != b.dtype.base_dtype:
            raise ValueError(
                "Outputs of true_fn and false_fn must have the same type: "
                f"{a.dtype.base_dtype.name}, {b.dtype.base_dtype.name}"
            )


def _cond_in_function(
    pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any], name: str | None
) -> Any:
    with name_scope(name, "cond") as scope:
        pred = convert_to_tensor(pred, dtypes.bool, name="pred")
    base = scope.rstrip("/")
    branches = trace_branches([true_fn, false_fn], [f"{base}_true", f"{base}_false"], _leaves)
    of_true, of_false = branches
    _check_same(
        of_true.structured_result, of_false.structured_result, of_true.outputs, of_false.outputs
    )
    outputs = call_branches(pred, of_true, of_false, scope)
    if of_true.structured_result is None:
        return None
    return pack_sequence_as(of_true.structured_result, outputs)


def _leaves(result: Any) -> list[Any]:
    if result is None:
        return []
    return [leaf for leaf in flatten(result) if not isinstance(leaf, Operation)]


def call_branches(
    pred: Tensor, of_true: TracedFunction, of_false: TracedFunction, name: str
) -> list[Tensor]:
    """Returns an ``If`` op (stateless if both functions are) and its outputs, their shapes set."""
    stateful = of_true.is_stateful or of_false.is_stateful
    op = make_op(
        "If" if stateful else "StatelessIf",
        pred,
        of_true.captures,
        Tin=[t.dtype for t in of_true.captures],
        Tout=of_true.output_types,
        then_branch=of_true,
        else_branch=of_false,
        name=name,
    )
    for output, a, b in zip(op._outputs, of_true.outputs, of_false.outputs, strict=True):
        output.set_shape(most_specific_compatible(a.shape_tuple, b.shape_tuple))
    return op.outputs


# Several conditions -------------------------------------------------------------------------------


@tf_export("case")
def case(
    pred_fn_pairs: Any,
    default: Callable[[], Any] | None = None,
    exclusive: bool = False,
    strict: bool = False,
    name: str = "case",
) -> Any:
    """Returns the result of the function whose predicate holds first.

    Args:
        pred_fn_pairs: a list of ``(bool scalar, function)``, or a dict (then ``exclusive`` should
            be true, as their order is undefined).
        default: the function to call if no predicate holds; without it, one must.
        exclusive: whether at most one predicate may hold, which is then checked in every run.
        strict: whether a list of one stays a list.

    Raises:
        TypeError: an item is not a pair, or a function is not callable.
        ValueError: as for ``cond``.
    """
    pairs = list(pred_fn_pairs.items()) if isinstance(pred_fn_pairs, dict) else pred_fn_pairs
    if not isinstance(pairs, list | tuple) or not pairs:
        raise TypeError("pred_fn_pairs must be a list, tuple, or dict")
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError("Each entry in pred_fn_pairs must be a 2-tuple")
        if not callable(pair[1]):
            raise TypeError(f"fn for pred {pair[0]} must be callable.")
    if default is not None and not callable(default):
        raise TypeError("default must be callable.")
    with name_scope(name, "case", [pred for pred, _ in pairs]):
        predicates = [convert_to_tensor(pred, dtypes.bool) for pred, _ in pairs]
        functions = [function for _, function in pairs]
        checks = []
        if exclusive and len(predicates) > 1:
            held = reduce_sum(cast(apply_op("Pack", predicates, axis=0), dtypes.int32))
            message = "Input error: exclusive=True: more than 1 conditions evaluated as True."
            checks.append(Assert(held < 2, [message, held]))
        if default is None:
            checks.append(
                Assert(
                    functools.reduce(logical_or, predicates),
                    ["None of conditions evaluated as True.", *predicates],
                )
            )
            default, functions, predicates = functions[-1], functions[:-1], predicates[:-1]
        chosen: Callable[[], Any] = default
        for predicate, function in reversed(list(zip(predicates, functions, strict=True))):
            chosen = functools.partial(cond, predicate, function, chosen, strict=strict)
        if not checks:
            return chosen()
        with control_dependencies(checks):
            return chosen()
