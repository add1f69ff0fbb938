"""Reference variables: definitions.

None of them is differentiable: the value after a write is not a function of the value before, so
what depends on a variable gets its gradient at the read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowray.proto.ops.common_shapes import from_shape_attr, scalar, unchanged
from flowray.proto.ops.op_registry import OpKind, ShapeContext, ShapeFunction, attr, op
from flowray.proto.ops.slice_ops import MASKS, check_scatter_nd
from flowray.proto.types.dtypes import INDEX, NUMERIC, REAL, bfloat16, float16, float32, float64
from flowray.proto.types.shapes import Shape, concatenate, merge_all, with_rank_at_least

ShapeOf = Callable[[ShapeContext], Shape]


def variable_shape(c: ShapeContext) -> Shape:
    """Returns the shape of a ``Variable``, whose attribute is [] also for an unknown shape."""
    shape: Shape = c.attr("shape")
    return None if shape == () else shape


def assign_shape(c: ShapeContext) -> Shape:
    """Returns the value's shape; with ``validate_shape`` it must be that of the variable."""
    if c.attr("validate_shape"):
        return merge_all(c.inputs)
    return c.inputs[1]


def update_shape(c: ShapeContext) -> Shape:
    """Returns the common shape of the variable and the value."""
    return merge_all(c.inputs)


def check_scatter(ref: Shape, indices: Shape, updates: Shape) -> None:
    """Checks that updates are a scalar, or shaped ``indices.shape + ref.shape[1:]``."""
    with_rank_at_least(ref, 1)
    if ref is None or indices is None or updates == ():
        return
    merge_all([updates, concatenate(indices, ref[1:])])


def _checked(check: Callable[[Shape, Shape, Shape], None]) -> ShapeFunction:
    def shape(c: ShapeContext) -> Shape:
        check(*c.inputs)
        return c.inputs[0]

    return shape


_VARIABLE: dict[str, Any] = {
    "shape_": attr("shape"),
    "container": "",
    "shared_name": "",
    "stateful": True,
}

op(
    "VariableV2",
    "-> ref: Ref(dtype)",
    **_VARIABLE,
    kind=OpKind.VARIABLE,
    differentiable=False,
    shape=from_shape_attr,
)
op(
    "Variable",
    "-> ref: Ref(dtype)",
    **_VARIABLE,
    kind=OpKind.VARIABLE,
    differentiable=False,
    shape=variable_shape,
)
op(
    "IsVariableInitialized",
    "ref: Ref(dtype) -> is_initialized: bool",
    host_only=True,
    reads_only=True,
    allows_uninitialized_input=True,
    shape=scalar,
)
op(
    "Assign",
    "ref: Ref(T), value: T -> output_ref: Ref(T)",
    validate_shape=True,
    use_locking=True,
    hints=["use_locking"],
    allows_uninitialized_input=True,
    differentiable=False,
    shape=assign_shape,
)
for _name in ("AssignAdd", "AssignSub"):
    op(
        _name,
        "ref: Ref(T), value: T -> output_ref: Ref(T)",
        T=NUMERIC,
        use_locking=False,
        hints=["use_locking"],
        differentiable=False,
        shape=update_shape,
    )
op(
    "CountUpTo",
    "ref: Ref(T) -> output: T",
    T=INDEX,
    limit=attr("int"),
    shape=scalar,
)
op(
    "StridedSliceAssign",
    "ref: Ref(T), begin: Index, end: Index, strides: Index, value: T -> output_ref: Ref(T)",
    Index=INDEX,
    **MASKS,
    static_inputs=[1, 2, 3],
    differentiable=False,
    shape=unchanged,
)


# Scattering ---------------------------------------------------------------------------------------

_ORDERED = frozenset({float16, bfloat16, float32, float64}) | (REAL & INDEX)

op(
    "ScatterUpdate",
    "ref: Ref(T), indices: Tindices, updates: T -> output_ref: Ref(T)",
    Tindices=INDEX,
    use_locking=True,
    hints=["use_locking"],
    differentiable=False,
    shape=_checked(check_scatter),
)
for _name, _types in (
    ("Add", NUMERIC), ("Sub", NUMERIC), ("Mul", NUMERIC), ("Div", NUMERIC),
    ("Min", _ORDERED), ("Max", _ORDERED),
):  # fmt: skip
    op(
        f"Scatter{_name}",
        "ref: Ref(T), indices: Tindices, updates: T -> output_ref: Ref(T)",
        T=_types,
        Tindices=INDEX,
        use_locking=False,
        hints=["use_locking"],
        differentiable=False,
        shape=_checked(check_scatter),
    )
op(
    "ScatterNdUpdate",
    "ref: Ref(T), indices: Tindices, updates: T -> output_ref: Ref(T)",
    Tindices=INDEX,
    use_locking=True,
    bad_indices_policy="",
    hints=["use_locking"],
    differentiable=False,
    shape=_checked(check_scatter_nd),
)
for _name in ("ScatterNdAdd", "ScatterNdSub"):
    op(
        _name,
        "ref: Ref(T), indices: Tindices, updates: T -> output_ref: Ref(T)",
        T=NUMERIC,
        Tindices=INDEX,
        use_locking=False,
        bad_indices_policy="",
        hints=["use_locking"],
        differentiable=False,
        shape=_checked(check_scatter_nd),
    )
