"""The conversion of the items of graph collections to and from protos of a MetaGraphDef."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ProtoFunctions:
    """The functions that turn the items of a collection into protos and back.

    ``to_proto(item, export_scope=None)`` gives None for an item outside the scope;
    ``from_proto(proto, import_scope=None)`` finds the item in the default graph.
    """

    proto_type: Any
    to_proto: Callable[..., Any]
    from_proto: Callable[..., Any]


_registry: dict[str, ProtoFunctions] = {}


def register_proto_function(
    collection_name: str,
    proto_type: Any = None,
    to_proto: Callable[..., Any] | None = None,
    from_proto: Callable[..., Any] | None = None,
) -> None:
    """Registers how the items of the collection ``collection_name`` become protos and back.

    Raises:
        TypeError: one of the functions is missing.
        ValueError: the collection has functions already.
    """
    if not callable(to_proto):
        raise TypeError("to_proto must be callable.")
    if not callable(from_proto):
        raise TypeError("from_proto must be callable.")
    if collection_name in _registry:
        raise ValueError(f"Proto functions of collection '{collection_name}' are registered twice")
    _registry[collection_name] = ProtoFunctions(proto_type, to_proto, from_proto)


def proto_functions(collection_name: str) -> ProtoFunctions | None:
    """Returns the functions that were registered for a collection."""
    return _registry.get(collection_name)
