"""Resource variables: definitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowray.proto.ops.array_ops import INDEX_TYPE
from flowray.proto.ops.common_shapes import no_outputs, scalar
from flowray.proto.ops.op_registry import OpKind, ShapeContext, ShapeFunction, attr, op
from flowray.proto.ops.slice_ops import MASKS, check_scatter_nd, gathered_nd
from flowray.proto.ops.state_ops import check_scatter
from flowray.proto.types.dtypes import INDEX, NUMERIC, DType, float32, float64
from flowray.proto.types.shapes import Shape, concatenate, merge_all, with_rank_at_least

_CPP_NAMES = {float32: "float", float64: "double"}


def resource_shape(c: ShapeContext, dtype_attr: str = "dtype", index: int = 0) -> Shape:
    """Returns the shape of the variable that input ``index`` names; None if it is not known.

    Raises:
        ValueError: the variable has another dtype than the op expects.
    """
    variable = c.resource(index)
    if variable is None:
        return None
    dtype, shape = variable
    wanted: DType = c.attr(dtype_attr)
    if dtype != wanted:
        raise ValueError(
            "Trying to read variable with wrong dtype. Expected "
            f"{_CPP_NAMES.get(dtype, dtype.name)} got {_CPP_NAMES.get(wanted, wanted.name)}"
        )
    return shape


def assign_shape(c: ShapeContext) -> list[Shape]:
    """Checks that the value fits the variable; there are no outputs."""
    merge_all([resource_shape(c), c.inputs[1]])
    return []


def variable_shape_shape(c: ShapeContext) -> Shape:
    """Returns the shape of a shape vector: the variable's rank, if it is known."""
    variable = c.resource(0)
    return (None,) if variable is None or variable[1] is None else (len(variable[1]),)


def gather_shape(c: ShapeContext) -> Shape:
    """Returns the shape of the gathered rows, behind ``batch_dims`` common dimensions."""
    params, indices, batch_dims = resource_shape(c), c.inputs[1], c.attr("batch_dims")
    params = with_rank_at_least(params, 1)
    if params is None or indices is None:
        return None
    if batch_dims < 0:
        batch_dims += len(indices)
    if not 0 <= batch_dims <= min(len(indices), len(params) - 1):
        raise ValueError(f"batch_dims {batch_dims} must be at most {len(indices)}")
    batch = merge_all([params[:batch_dims], indices[:batch_dims]])
    return concatenate(batch, indices[batch_dims:] + params[batch_dims + 1 :])


def _checked(
    check: Callable[[Shape, Shape, Shape], None], dtype_attr: str = "dtype"
) -> ShapeFunction:
    def shape(c: ShapeContext) -> list[Shape]:
        check(resource_shape(c, dtype_attr), c.inputs[1], c.inputs[2])
        return []

    return shape


op(
    "VarHandleOp",
    "-> resource: resource",
    dtype=attr("type"),
    shape_=attr("shape"),
    container="",
    shared_name="",
    debug_name="",
    allowed_devices=attr("list(string)", []),
    hints=["debug_name", "allowed_devices"],
    stateful=True,
    kind=OpKind.VARIABLE,
    differentiable=False,
    shape=scalar,
)
op(
    "VarIsInitializedOp",
    "resource: resource -> is_initialized: bool",
    stateful=True,
    host_only=True,
    reads_only=True,
    allows_uninitialized_input=True,
    shape=scalar,
)
op(
    "ReadVariableOp",
    "resource: resource -> value: dtype",
    stateful=True,
    reads_only=True,
    shape=resource_shape,
)
op(
    "AssignVariableOp",
    "resource: resource, value: dtype ->",
    validate_shape=False,
    stateful=True,
    allows_uninitialized_input=True,
    shape=assign_shape,
)
for _name in ("AssignAddVariableOp", "AssignSubVariableOp"):
    op(_name, "resource: resource, value: dtype ->", stateful=True, shape=assign_shape)
op(
    "VariableShape",
    "input: resource -> output: out_type",
    out_type=INDEX_TYPE,
    stateful=True,
    reads_only=True,
    shape=variable_shape_shape,
)
op(
    "DestroyResourceOp",
    "resource: resource ->",
    ignore_lookup_error=True,
    stateful=True,
    host_only=True,
    allows_uninitialized_input=True,
    shape=no_outputs,
)
op(
    "ResourceCountUpTo",
    "resource: resource -> output: T",
    T=INDEX,
    limit=attr("int"),
    stateful=True,
    shape=scalar,
)
op(
    "ResourceGather",
    "resource: resource, indices: Tindices -> output: dtype",
    Tindices=INDEX,
    batch_dims=0,
    validate_indices=True,
    hints=["validate_indices"],
    stateful=True,
    reads_only=True,
    shape=gather_shape,
)
op(
    "ResourceGatherNd",
    "resource: resource, indices: Tindices -> output: dtype",
    Tindices=INDEX,
    stateful=True,
    reads_only=True,
    shape=lambda c: gathered_nd(resource_shape(c), c.inputs[1]),
)
op(
    "ResourceStridedSliceAssign",
    "ref: resource, begin: Index, end: Index, strides: Index, value: T ->",
    Index=INDEX,
    **MASKS,
    static_inputs=[1, 2, 3],
    stateful=True,
    shape=no_outputs,
)


# Scattering ---------------------------------------------------------------------------------------

for _name in ("Update", "Add", "Sub", "Mul", "Div", "Min", "Max"):
    _dtype: dict[str, Any] = {} if _name == "Update" else {"dtype": NUMERIC}
    op(
        f"ResourceScatter{_name}",
        "resource: resource, indices: Tindices, updates: dtype ->",
        Tindices=INDEX,
        **_dtype,
        stateful=True,
        shape=_checked(check_scatter),
    )
for _name in ("Update", "Add", "Sub"):
    op(
        f"ResourceScatterNd{_name}",
        "ref: resource, indices: Tindices, updates: T ->",
        Tindices=INDEX,
        use_locking=True,
        bad_indices_policy="",
        hints=["use_locking"],
        stateful=True,
        shape=_checked(check_scatter_nd, "T"),
    )
