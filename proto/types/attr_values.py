"""Translates AttrValue protos to Python values, and back.

========== ===============================================================
kind       Python value
========== ===============================================================
type       ``DType``
int        ``int``
float      ``float``
bool       ``bool``
string     ``bytes`` (``str`` is accepted and encoded as UTF-8)
shape      ``Shape``: a tuple of ``int | None``, or None for unknown rank
tensor     ``numpy.ndarray``
func       ``NameAttrList`` (a ``str`` is accepted as its name)
list(...)  ``list`` of these
========== ===============================================================
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flowray.proto.messages import graph_pb2
from flowray.proto.types import dtypes, shapes, tensors

_FIELD = {
    "type": "type",
    "int": "i",
    "float": "f",
    "bool": "b",
    "string": "s",
    "shape": "shape",
    "tensor": "tensor",
    "func": "func",
}


def from_attr_value(value: graph_pb2.AttrValue, kind: str) -> Any:
    """Returns the Python value of ``value``, or None if it does not hold a value of ``kind``.

    (An unknown-rank shape is None as well; it is a valid value of kind "shape".)
    """
    which = value.WhichOneof("value")
    if kind.startswith("list("):
        if which != "list":
            return None
        item = kind[5:-1]
        return [_item_from(v, item) for v in getattr(value.list, _FIELD[item])]
    if which != _FIELD[kind]:
        return None
    return _item_from(getattr(value, _FIELD[kind]), kind)


def to_attr_value(value: Any, kind: str) -> graph_pb2.AttrValue:
    """Returns the AttrValue of kind ``kind`` that holds ``value``; TypeError if it cannot."""
    result = graph_pb2.AttrValue()
    if kind.startswith("list("):
        item = kind[5:-1]
        result.list.SetInParent()
        getattr(result.list, _FIELD[item]).extend(_item_to(v, item) for v in value)
        return result
    item_value = _item_to(value, kind)
    if kind in ("shape", "tensor", "func"):
        getattr(result, _FIELD[kind]).CopyFrom(item_value)
    else:
        setattr(result, _FIELD[kind], item_value)
    return result


def _item_from(value: Any, kind: str) -> Any:
    match kind:
        case "type":
            return dtypes.as_dtype(value)
        case "shape":
            return shapes.from_proto(value)
        case "tensor":
            return tensors.decode(value)
    return value


def _item_to(value: Any, kind: str) -> Any:
    match kind:
        case "type":
            return dtypes.as_dtype(value).as_datatype_enum
        case "int":
            return int(value)
        case "float":
            return float(value)
        case "bool":
            if not isinstance(value, bool | np.bool_):
                raise TypeError(f"expected bool, got {value!r}")
            return bool(value)
        case "string":
            return value.encode() if isinstance(value, str) else value
        case "shape":
            return shapes.to_proto(shapes.as_shape(value).as_tuple())
        case "tensor":
            return value if not isinstance(value, np.ndarray) else tensors.encode(value)
        case "func":
            return graph_pb2.NameAttrList(name=value) if isinstance(value, str) else value
    raise TypeError(f"unknown attribute kind {kind!r}")
