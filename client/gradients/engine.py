"""``tf.gradients``: builds the graph of symbolic derivatives, node for node as TensorFlow does."""

from __future__ import annotations

import enum
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from flowray.client.control_flow.context import ControlFlowContext
from flowray.client.control_flow.while_context import WhileContext
from flowray.client.framework.composite_conversions import as_indexed_slices
from flowray.client.framework.conversion import (
    constant,
    convert_to_tensor,
    convert_to_tensor_or_indexed_slices,
)
from flowray.client.framework.graph import (
    Operation,
    Tensor,
    colocate_with,
    control_dependencies,
    device,
    get_default_graph,
    name_scope,
)
from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.framework.op_builder import apply_op, make_op, output_of
from flowray.client.gradients import registry
from flowray.client.gradients.loops import loop_gradients
from flowray.client.gradients.walk import Step, Walk, is_trainable
from flowray.client.tf_export import tf_export
from flowray.proto.ops.op_registry import OpKind
from flowray.proto.types import dtypes
from flowray.proto.types.shapes import as_shape, is_fully_defined

Gradient = Tensor | IndexedSlices


@tf_export("UnconnectedGradients")
class UnconnectedGradients(enum.Enum):
    """The results of ``gradients`` for an x that no y depends on: None, or zeros like x."""

    NONE = "none"
    ZERO = "zero"


@tf_export("AggregationMethod")
class AggregationMethod:
    """The ways to add up the gradients that meet at one tensor."""

    ADD_N = 0
    DEFAULT = ADD_N
    EXPERIMENTAL_TREE = 1
    EXPERIMENTAL_ACCUMULATE_N = 2


@tf_export("gradients")
def gradients(
    ys: Any,
    xs: Any,
    grad_ys: Any = None,
    name: str = "gradients",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: bool = False,
    aggregation_method: int | None = None,
    stop_gradients: Any = None,
    unconnected_gradients: UnconnectedGradients = UnconnectedGradients.NONE,
) -> list[Gradient | None]:
    """Adds the derivatives of the sum of ``ys`` by each of ``xs`` to the graph.

    Args:
        ys, xs: a Tensor (or variable), or a list of them.
        grad_ys: one gradient per y to start from, None standing for ones.
        name: the name scope of the new ops.
        colocate_gradients_with_ops: whether to place the gradient of an op with the op.
        gate_gradients: whether all gradients of an op's inputs wait for each other.
        aggregation_method: one of ``AggregationMethod``.
        stop_gradients: tensors to take for constants.
        unconnected_gradients: the result for an x that no y depends on.

    Returns:
        One Tensor, IndexedSlices or None per x.

    Raises:
        LookupError: an op on the way has no gradient.
        ValueError, TypeError: the arguments do not fit, or a gradient function is wrong.
    """
    ys, xs = _as_list(ys), _as_list(xs)
    stops = [] if stop_gradients is None else _as_list(stop_gradients)
    grad_ys = [None] * len(ys) if grad_ys is None else _as_list(grad_ys)
    if aggregation_method not in (None, 0, 1, 2):
        raise ValueError(f"Invalid aggregation_method specified {aggregation_method}.")
    if len(grad_ys) != len(ys):
        raise ValueError(f"Passed {len(grad_ys)} grad_ys for {len(ys)} ys")
    unconnected_gradients = UnconnectedGradients(unconnected_gradients)
    with name_scope(name, "gradients", [*ys, *xs, *stops, *grad_ys]):
        get_default_graph().unique_name(
            "uid"
        )  # TensorFlow takes this name for its own book-keeping
        targets = [convert_to_tensor_or_indexed_slices(y, name="y") for y in ys]
        sources = [_source(x) for x in xs]
        engine = _Engine(
            [_tensor_of(y) for y in targets],
            sources,
            [_source(s) for s in stops],
            colocate_gradients_with_ops,
            gate_gradients,
            aggregation_method or AggregationMethod.DEFAULT,
            _current_loop(),
        )
        engine.start(_initial_gradients(grad_ys, targets, colocate_gradients_with_ops))
        engine.propagate()
        return [engine.result(x, unconnected_gradients) for x in sources]


class _Engine:
    """One call of ``gradients``: walks from ys back to xs, each step after its consumers."""

    def __init__(
        self,
        ys: Sequence[Tensor],
        xs: Sequence[Tensor],
        stops: Sequence[Tensor],
        colocate: bool,
        gate: bool,
        aggregation_method: int,
        level: WhileContext | None,
    ) -> None:
        self._ys = ys
        self._walk = walk = Walk(level)
        self._colocate = colocate
        self._gate = gate
        self._aggregation_method = aggregation_method
        self._gradients: dict[Step, list[list[Gradient]]] = {}
        """Per output of a step, the gradients that arrived there so far."""
        self._totals: dict[Step, list[Gradient | None]] = {}
        to_ops, from_ops = [y.op for y in ys], [x.op for x in xs]
        reached = walk.reached_from(from_ops)
        self._reachable_to = {walk.step(op) for op in to_ops} & reached
        between = walk.between(to_ops, reached)
        _check_level(between, xs)
        self._pending: dict[Step, int] = defaultdict(int)
        """How many uses of a step between xs and ys have not sent their gradients yet."""
        for step in between:
            for tensor in walk.inputs(step):
                before = walk.step(tensor.op)
                if before in between:
                    self._pending[before] += 1
        self._stops = {walk.step(s.op) for s in stops} | {
            step
            for step in map(walk.step, from_ops)
            if all(self._pending[walk.step(t.op)] <= 0 for t in walk.inputs(step))
        }

    def start(self, grad_ys: Iterable[Gradient]) -> None:
        for y, grad in zip(self._ys, grad_ys, strict=True):
            self._add(y, grad)

    def propagate(self) -> None:
        walk = self._walk
        queue: deque[Step] = deque()
        for step in dict.fromkeys(walk.step(y.op) for y in self._ys):
            if self._pending[step] == 0 and step in self._reachable_to:
                queue.append(step)
        while queue:
            step = queue.popleft()
            inputs = walk.inputs(step)
            with _maybe_colocated(step, self._colocate):
                for tensor, grad in zip(inputs, self._input_gradients(step), strict=True):
                    if grad is not None:
                        _check_shape(step.name, inputs, tensor, grad)
                        self._add(tensor, grad)
            for tensor in inputs:
                before = walk.step(tensor.op)
                self._pending[before] -= 1
                if self._pending[before] == 0:
                    queue.append(before)

    def result(self, x: Tensor, unconnected: UnconnectedGradients) -> Gradient | None:
        totals = self._totals.get(self._walk.step(x.op))
        grad = None if totals is None else totals[self._walk.position(x)]
        if grad is None and unconnected is UnconnectedGradients.ZERO:
            return _zeros_like(x)
        return grad

    def _add(self, tensor: Tensor, grad: Gradient) -> None:
        step = self._walk.step(tensor.op)
        lists = self._gradients.setdefault(step, [[] for _ in self._walk.outputs(step)])
        lists[self._walk.position(tensor)].append(grad)

    def _input_gradients(self, step: Step) -> list[Gradient | None]:
        """Calls the gradient function for a step's inputs; None where no gradient flows."""
        outputs = self._walk.outputs(step)
        arrived = self._gradients.get(step) or [[] for _ in outputs]
        out_grads = [self._sum(step.name, grads) for grads in arrived]
        self._totals[step] = list(out_grads)
        if step in self._stops or all(g is None for g in out_grads):
            return [None] * len(self._walk.inputs(step))
        if isinstance(step, WhileContext):
            with name_scope(step.name.rpartition("/")[0] + "_grad"):
                return loop_gradients(step, self._walk.inputs(step), out_grads, self._differentiate)
        return self._op_gradients(step, out_grads)

    def _op_gradients(
        self, op: Operation, out_grads: list[Gradient | None]
    ) -> list[Gradient | None]:
        function = _gradient_function(op)
        if function is None:
            return [None] * len(op._inputs)
        for i, grad in enumerate(out_grads):
            # A Switch's gradient knows itself what the branch that was not taken gives.
            output = op._outputs[i]
            if grad is None and is_trainable(output) and op._kind is not OpKind.SWITCH:
                # Of several outputs, resources are passed on: who gives them on needs no zeros.
                out_grads[i] = None if _is_resource(output) else _zeros_like(output)
        with name_scope(op.name + "_grad"):
            in_grads = _as_list(function(op, *out_grads))
            if len(in_grads) != len(op._inputs):
                raise ValueError(
                    f"Num gradients {len(in_grads)} generated for op {op.node_def} do not match "
                    f"num inputs {len(op._inputs)}"
                )
            if self._gate and sum(g is not None for g in in_grads) > 1:
                with device(None), colocate_with(None, ignore_existing=True):
                    in_grads = _gated(in_grads)
        return in_grads

    def _differentiate(
        self, ys: list[Tensor], xs: list[Tensor], grad_ys: list[Tensor], level: WhileContext
    ) -> list[Gradient | None]:
        """Computes ``gradients`` in the body of a loop."""
        engine = _Engine(ys, xs, (), self._colocate, self._gate, self._aggregation_method, level)
        engine.start(grad_ys)
        engine.propagate()
        return [engine.result(x, UnconnectedGradients.NONE) for x in xs]

    def _sum(self, name: str, grads: list[Gradient]) -> Gradient | None:
        if len(grads) < 2:
            return grads[0] if grads else None
        if not all(isinstance(g, Tensor) for g in grads):
            return aggregate_indexed_slices(grads)
        if self._aggregation_method == AggregationMethod.ADD_N:
            return _add_n_by_device([g for g in grads if isinstance(g, Tensor)])
        # Adding two at a time keeps fewer of them in memory.
        with name_scope(name + "_gradient_sum"):
            total = grads[0]
            for grad in grads[1:]:
                total = apply_op("AddN", [total, grad])
        return total


def _current_loop() -> WhileContext | None:
    context: ControlFlowContext | None = get_default_graph()._get_control_flow_context()
    return None if context is None else context.loop


def _check_level(between: Iterable[Step], xs: Sequence[Tensor]) -> None:
    """Raises ValueError with TensorFlow's text if a path goes back through earlier iterations."""
    for step in between:
        if not isinstance(step, Operation) or step._kind is not OpKind.ENTER:
            continue
        if not step.get_attr("is_constant"):
            raise ValueError(
                "Cannot compute gradient inside while loop with respect to op "
                f"'{xs[0].op.name}'. We do not support taking the gradient wrt or through the "
                "initial value of a loop variable. Gradients can be computed through loop "
                "invariants or wrt the input parameters to the loop body."
            )


def _gradient_function(op: Operation) -> Any:
    if not op._inputs:
        return None
    override = op._node_def.attr.get("_gradient_op_type")
    op_type = op.type if override is None else override.s.decode()
    try:
        return registry.lookup(op_type)
    except LookupError:
        raise LookupError(
            f"No gradient defined for operation '{op.name}' (op type: {op.type})"
        ) from None


def _source(x: Any) -> Tensor:
    """Returns the tensor to differentiate by: for a variable its reference or handle."""
    handle = getattr(x, "handle", None)
    if isinstance(handle, Tensor) and handle.dtype == dtypes.resource:
        return handle
    return convert_to_tensor(x, name="x", as_ref=True)


def _tensor_of(y: Gradient) -> Tensor:
    return y.values if isinstance(y, IndexedSlices) else y


# Gradients to start from --------------------------------------------------------------------------


def _initial_gradients(
    grad_ys: Sequence[Any], ys: Sequence[Gradient], colocate: bool
) -> Iterator[Gradient]:
    for i, (grad, y) in enumerate(zip(grad_ys, ys, strict=True)):
        with _maybe_colocated(y.op, colocate):
            yield _ones_like(y, i) if grad is None else _given_gradient(grad, y, i)


def _ones_like(y: Gradient, i: int) -> Tensor:
    tensor = _tensor_of(y)
    if y.dtype.is_complex:
        raise TypeError(
            f"Gradients of complex tensors must set grad_ys (y.dtype = {y.dtype.base_dtype!r})"
        )
    if not is_trainable(y) and not y.dtype.is_integer:
        raise TypeError(f"Gradients are not defined for tensors of type {y.dtype.base_dtype.name}")
    return output_of(
        "Fill", _shape_of(tensor), constant(1, y.dtype.base_dtype, name=f"grad_ys_{i}")
    )


def _given_gradient(grad: Any, y: Gradient, i: int) -> Gradient:
    grad = convert_to_tensor_or_indexed_slices(grad, name="grad_y")
    ours, theirs = grad.dtype.base_dtype, y.dtype.base_dtype
    text = (
        f"Gradient type {ours.name} generated for {{}} tensor {y} with type {theirs.name} must be "
    )
    if theirs.is_floating or theirs.is_integer:
        if not (ours.is_floating or ours.is_integer):
            raise TypeError(text.format("real or integer-valued") + "real or integer")
    elif theirs.is_complex:
        if not ours.is_complex:
            raise TypeError(text.format("complex-valued") + "real")
    elif theirs not in (dtypes.variant, dtypes.resource):
        raise TypeError(
            f"Tensor {y} with type {theirs.name} must be numeric to obtain a default gradient"
        )
    # The copy lies in the scope of this call, whoever made the gradient.
    if isinstance(grad, IndexedSlices):
        return IndexedSlices(
            apply_op("Identity", grad.values, name=f"grad_ys_{i}_values"),
            apply_op("Identity", grad.indices, name=f"grad_ys_{i}_indices"),
            grad.dense_shape
            if grad.dense_shape is None
            else apply_op("Identity", grad.dense_shape, name=f"grad_ys_{i}_shape"),
        )
    return output_of("Identity", grad, name=f"grad_ys_{i}")


def _shape_of(tensor: Tensor) -> Tensor:
    """Returns the shape as an int32 vector: a constant if it is known."""
    shape = tensor._shape
    if shape is not None and is_fully_defined(shape):
        return constant(list(shape), dtypes.int32, shape=[len(shape)], name="Shape")
    return output_of("Shape", tensor)


def _is_resource(tensor: Tensor) -> bool:
    return tensor.dtype.base_dtype == dtypes.resource


def _zeros_like(tensor: Tensor) -> Tensor:
    if _is_resource(tensor):
        operation = tensor.op
        return output_of(
            "Fill", apply_op("VariableShape", tensor), constant(0, operation.get_attr("dtype"))
        )
    return output_of("ZerosLike", tensor)


# Adding up ----------------------------------------------------------------------------------------


def _add_n_by_device(tensors: Sequence[Tensor]) -> Tensor:
    """Adds up the gradients of each device there, so that only the sums are sent."""
    by_device: dict[str, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        by_device[tensor.device].append(tensor)
    sums = []
    for key in sorted(by_device):
        group = by_device[key]
        with colocate_with(group[0].op, ignore_existing=True):
            sums.append(group[0] if len(group) == 1 else apply_op("AddN", group))
    return sums[0] if len(sums) == 1 else apply_op("AddN", sums)


def aggregate_indexed_slices(grads: Sequence[Gradient]) -> IndexedSlices:
    """Returns one IndexedSlices for the sum: values and indices, concatenated."""
    slices = [as_indexed_slices(g) for g in grads]
    if len({s.indices.dtype.base_dtype for s in slices}) > 1:
        slices = [
            IndexedSlices(s.values, _cast(s.indices, dtypes.int64), s.dense_shape) for s in slices
        ]
    return IndexedSlices(
        apply_op("ConcatV2", [s.values for s in slices], 0, name="concat"),
        apply_op("ConcatV2", [s.indices for s in slices], 0, name="concat"),
        slices[0].dense_shape,
    )


def _cast(tensor: Tensor, dtype: dtypes.DType) -> Tensor:
    if tensor.dtype.base_dtype == dtype:
        return tensor
    return output_of("Cast", tensor, DstT=dtype)


# Gating -------------------------------------------------------------------------------------------


def _gated(grads: Sequence[Gradient | None]) -> list[Gradient | None]:
    """Applies ``tf.tuple``: no gradient is available before all of them are."""
    present = [g for g in grads if g is not None]
    with name_scope("tuple"):
        gate = _group([g.op for g in present], "group_deps")
        return [None if g is None else _after(gate, g) for g in grads]


def _group(ops: Sequence[Operation], name: str) -> Operation:
    """Applies ``tf.group``: one NoOp per device, and one for them all if there are several."""
    by_device: dict[str, list[Operation]] = defaultdict(list)
    for op in ops:
        by_device[op.device].append(op)
    with name_scope(name) as scope:
        if len(by_device) == 1:
            return _wait_for(*by_device.popitem(), scope)
        gates = [_wait_for(key, by_device[key], None) for key in sorted(by_device)]
        with control_dependencies(gates):
            return make_op("NoOp", name=scope)


def _wait_for(where: str, ops: Sequence[Operation], name: str | None) -> Operation:
    with control_dependencies(ops), device(where) if where else nullcontext():
        return make_op("NoOp", name=name)


def _after(gate: Operation, grad: Gradient) -> Gradient:
    with (
        name_scope("control_dependency") as scope,
        colocate_with(grad.op),
        control_dependencies([gate]),
    ):
        if isinstance(grad, IndexedSlices):
            values = apply_op("Identity", grad.values, name=scope)
            return IndexedSlices(values, grad.indices, grad.dense_shape)
        return output_of("Identity", grad, name=scope)


# Helpers ------------------------------------------------------------------------------------------


def _maybe_colocated(step: Step, colocate: bool) -> AbstractContextManager[None]:
    return colocate_with(step) if colocate and isinstance(step, Operation) else nullcontext()


def _check_shape(name: str, inputs: Sequence[Tensor], tensor: Tensor, grad: Gradient) -> None:
    """Merges the input's static shape into its gradient's."""
    if not isinstance(grad, Tensor) or tensor.dtype == dtypes.resource:
        return
    try:
        grad.set_shape(tensor._shape)
    except ValueError:
        index = next(i for i, t in enumerate(inputs) if t is tensor)
        raise ValueError(
            "Incompatible shapes between op input and calculated input gradient.  Forward "
            f"operation: {name}.  Input index: {index}. Original input shape: "
            f"{as_shape(tensor._shape)}.  Calculated input gradient shape: {grad.get_shape()}"
        ) from None


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
