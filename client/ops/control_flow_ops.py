"""User functions that group, order and check ops."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from flowray.client.framework.composite_conversions import as_indexed_slices
from flowray.client.framework.conversion import (
    convert_n_to_tensor,
    convert_to_tensor,
    convert_to_tensor_or_indexed_slices,
)
from flowray.client.framework.graph import (
    Operation,
    Tensor,
    colocate_with,
    control_dependencies,
    device,
    name_scope,
)
from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.framework.nest import flatten
from flowray.client.framework.op_builder import apply_op, make_op
from flowray.client.tf_export import tf_export


@tf_export("no_op")
def no_op(name: str | None = None) -> Operation:
    """Makes an operation that does nothing."""
    return make_op("NoOp", name=name)


@tf_export("group")
def group(*inputs: Any, name: str | None = None) -> Operation:
    """Makes an operation that is done when all of ``inputs`` (operations, tensors, nests) are.

    Raises:
        TypeError: an item is not a node of a graph.
    """
    flat = flatten(inputs)
    for item in flat:
        if not hasattr(item, "device"):
            raise TypeError(
                f"Expected tf.group() expected Tensor objects not None with type '{type(item)}'"
            )
    with name_scope(name, "group_deps", flat) as scope:
        if not flat:
            return no_op(scope)
        by_device: dict[str, list[Any]] = {}
        for item in flat:
            by_device.setdefault(item.device or "", []).append(item)
        if len(by_device) == 1:
            ((where, items),) = by_device.items()
            return _grouped(where, items, scope)
        # One node per device first, so that only one edge comes from each.
        parts = [_grouped(where, by_device[where], None) for where in sorted(by_device)]
        with control_dependencies(parts):
            return no_op(scope)


def _grouped(where: str, items: Iterable[Any], name: str | None) -> Operation:
    with control_dependencies(items), device(where):
        return no_op(name)


def with_dependencies(
    dependencies: Sequence[Any], output_tensor: Any, name: str | None = None
) -> Any:
    """Returns ``output_tensor``, available after ``dependencies`` are done."""
    with (
        name_scope(name, "control_dependency", [*dependencies, output_tensor]) as scope,
        colocate_with(output_tensor),
        control_dependencies(dependencies),
    ):
        output = convert_to_tensor_or_indexed_slices(output_tensor)
        if isinstance(output, IndexedSlices):
            values = apply_op("Identity", output.values, name=scope)
            return IndexedSlices(values, output.indices, output.dense_shape)
        return apply_op("Identity", output, name=scope)


@tf_export("tuple")
def tuple(
    tensors: Sequence[Any], name: str | None = None, control_inputs: Sequence[Any] | None = None
) -> list[Any]:
    """Returns the tensors (IndexedSlices, None); no one is available before all are computed.

    Args:
        control_inputs: more operations and tensors to wait for.

    Raises:
        ValueError: there is no tensor among them.
        TypeError: a control input is neither an operation nor a tensor.
    """
    with name_scope(name, "tuple", tensors):
        tensors = [
            t
            if t is None or isinstance(t, Operation | Tensor | IndexedSlices)
            else convert_to_tensor(t)
            for t in tensors
        ]
        gating = [t if isinstance(t, Operation) else t.op for t in tensors if t is not None]
        for item in control_inputs or ():
            if not isinstance(item, Operation | Tensor):
                raise TypeError(f"Control input must be Operation or Tensor: {item}")
            gating.append(item if isinstance(item, Operation) else item.op)
        if not gating:
            raise ValueError(f"Must have at least one Tensor: {tensors}")
        gate = group(*sorted(set(gating), key=lambda op: op._id))
        result: list[Any] = []
        for item in tensors:
            if item is None:
                result.append(None)
            elif isinstance(item, Operation):
                with control_dependencies([gate]):
                    result.append(group(item))
            else:
                result.append(with_dependencies([gate], item))
        return result


@tf_export("Assert", "debugging.Assert")
def Assert(
    condition: Any, data: Sequence[Any], summarize: int | None = None, name: str | None = None
) -> Operation:
    """Makes an operation that fails with InvalidArgumentError if ``condition`` is false.

    Unlike TensorFlow 1.15's, it is not a ``tf.cond``: ``data`` is computed in any case.

    Args:
        condition: bool scalar.
        data: tensors to show.
        summarize: how many elements of each; 3 if None, all if negative.
    """
    with name_scope(name, "Assert", [condition, data]):
        condition = convert_to_tensor(condition, name="Condition")
        return make_op(
            "Assert",
            condition,
            convert_n_to_tensor(data),
            summarize=3 if summarize is None else summarize,
            name="Assert",
        )


def switch(data: Any, pred: Tensor, name: str | None = None) -> list[Any]:
    """Returns ``[if_false, if_true]``: ``data`` is live at the output that ``pred`` chooses.

    ``data``: a Tensor (a reference stays one) or IndexedSlices.
    """
    if not isinstance(data, IndexedSlices):
        data = convert_to_tensor(data, as_ref=True)
    with name_scope(name, "Switch", [data, pred]) as scope, colocate_with(data, True):
        if isinstance(data, IndexedSlices):
            parts = [apply_op("Switch", t, pred) for t in _components(data)]
            return [IndexedSlices(*(part[i] for part in parts)) for i in range(2)]
        op_type = "RefSwitch" if data.dtype._is_ref_dtype else "Switch"
        return list(apply_op(op_type, data, pred, name=scope))


def merge(inputs: Sequence[Any], name: str | None = None) -> list[Any]:
    """Returns ``[value, index]``: the one of ``inputs`` that is live.

    Args:
        inputs: Tensors; or IndexedSlices, among which a Tensor stands for all its rows.
    """
    if not any(isinstance(i, IndexedSlices) for i in inputs):
        return list(apply_op("Merge", list(inputs), name=name))
    slices = [as_indexed_slices(i) for i in inputs]
    with name_scope(name, "Merge"):
        columns = [list(column) for column in zip(*map(_components, slices), strict=False)]
        merged = [apply_op("Merge", column) for column in columns]
        return [IndexedSlices(*(output for output, _ in merged)), merged[0][1]]


def _components(slices: IndexedSlices) -> list[Tensor]:
    parts = [slices.values, slices.indices]
    return parts if slices.dense_shape is None else [*parts, slices.dense_shape]
