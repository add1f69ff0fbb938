"""Iterators over datasets, and optionals: definitions."""

from __future__ import annotations

from flowray.proto.ops.common_shapes import no_outputs, scalar
from flowray.proto.ops.dataset_ops import ELEMENTS, components_shape
from flowray.proto.ops.op_registry import attr, op

for _name in ("Iterator", "IteratorV2"):
    op(
        _name,
        "-> handle: resource",
        shared_name=attr("string"),
        container=attr("string"),
        **ELEMENTS,
        stateful=True,
        host_only=True,
        differentiable=False,
        shape=scalar,
    )
op(
    "OneShotIterator",
    "-> handle: resource",
    dataset_factory=attr("func"),
    **ELEMENTS,
    container="",
    shared_name="",
    stateful=True,
    host_only=True,
    differentiable=False,
    shape=scalar,
)
op(
    "MakeIterator",
    "dataset: variant, iterator: resource ->",
    stateful=True,
    host_only=True,
    shape=no_outputs,
)
for _name in ("IteratorGetNext", "IteratorGetNextSync"):
    op(
        _name,
        "iterator: resource -> components: [output_types]",
        **ELEMENTS,
        stateful=True,
        blocks=True,
        host_only=True,
        differentiable=False,
        shape=components_shape,
    )
op(
    "IteratorGetNextAsOptional",
    "iterator: resource -> optional: variant",
    **ELEMENTS,
    stateful=True,
    blocks=True,
    host_only=True,
    differentiable=False,
    shape=scalar,
)
op(
    "IteratorToStringHandle",
    "resource_handle: resource -> string_handle: string",
    stateful=True,
    host_only=True,
    reads_only=True,
    shape=scalar,
)
for _name in ("IteratorFromStringHandle", "IteratorFromStringHandleV2"):
    op(
        _name,
        "string_handle: string -> resource_handle: resource",
        output_types=attr("list(type)", [], minimum=0),
        output_shapes=attr("list(shape)", [], minimum=0),
        stateful=True,
        host_only=True,
        differentiable=False,
        shape=scalar,
    )
op(
    "SerializeIterator",
    "resource_handle: resource -> serialized: variant",
    external_state_policy=0,
    hints=["external_state_policy"],
    stateful=True,
    host_only=True,
    differentiable=False,
    shape=scalar,
)
op(
    "DeserializeIterator",
    "resource_handle: resource, serialized: variant ->",
    stateful=True,
    host_only=True,
    shape=no_outputs,
)


# Optionals ----------------------------------------------------------------------------------------

op(
    "OptionalFromValue",
    "components: [Toutput_types] -> optional: variant",
    Toutput_types=attr("list(type)", minimum=1),
    host_only=True,
    differentiable=False,
    shape=scalar,
)
op("OptionalNone", "-> optional: variant", host_only=True, differentiable=False, shape=scalar)
op("OptionalHasValue", "optional: variant -> has_value: bool", host_only=True, shape=scalar)
op(
    "OptionalGetValue",
    "optional: variant -> components: [output_types]",
    **ELEMENTS,
    host_only=True,
    differentiable=False,
    shape=components_shape,
)
