"""Op definitions as TensorFlow's OpDef protos, for MetaGraphDefs, which other programs read."""

from __future__ import annotations

from collections.abc import Iterable

from flowray.proto.messages import graph_pb2
from flowray.proto.ops import op_registry
from flowray.proto.ops.op_registry import REQUIRED, ArgDef, AttrDef, OpDef
from flowray.proto.types import dtypes
from flowray.proto.types.attr_values import to_attr_value


def to_proto(definition: OpDef) -> graph_pb2.OpDef:
    """Returns the OpDef of ``definition``, its attributes in the order of the arguments."""
    proto = graph_pb2.OpDef(
        name=definition.name,
        is_stateful=definition.stateful,
        allows_uninitialized_input=definition.allows_uninitialized_input,
    )
    for arg in definition.inputs:
        _fill_arg(proto.input_arg.add(), arg)
    for arg in definition.outputs:
        _fill_arg(proto.output_arg.add(), arg)
    for name, attr in definition.attrs.items():
        _fill_attr(proto.attr.add(), name, attr)
    return proto


def op_list(op_types: Iterable[str]) -> graph_pb2.OpList:
    """Returns the definitions of those of ``op_types`` that are registered, sorted by name."""
    known = op_registry.registered_ops()
    return graph_pb2.OpList(op=[to_proto(known[t]) for t in sorted(set(op_types)) if t in known])


def _fill_arg(proto: graph_pb2.OpDef.ArgDef, arg: ArgDef) -> None:
    proto.name = arg.name
    proto.is_ref = arg.is_ref
    if arg.dtype is not None:
        proto.type = arg.dtype.as_datatype_enum
    proto.type_attr = arg.type_attr or ""
    proto.type_list_attr = arg.type_list_attr or ""
    proto.number_attr = arg.number_attr or ""


def _fill_attr(proto: graph_pb2.OpDef.AttrDef, name: str, attr: AttrDef) -> None:
    proto.name, proto.type = name, attr.kind
    if attr.default is not REQUIRED:
        proto.default_value.CopyFrom(to_attr_value(attr.default, attr.kind))
    if attr.minimum is not None:
        proto.has_minimum, proto.minimum = True, attr.minimum
    if attr.allowed is not None:
        allowed = sorted(attr.allowed, key=lambda v: int(v) if isinstance(v, dtypes.DType) else v)
        kind = attr.kind.removeprefix("list(").removesuffix(")")
        proto.allowed_values.CopyFrom(to_attr_value(allowed, f"list({kind})"))
