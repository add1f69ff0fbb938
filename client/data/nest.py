"""Nested structures as tf.data knows them: tuples, named tuples and dicts around leaves.

Unlike elsewhere in TensorFlow a list is a leaf here: it becomes one tensor. Dicts are gone through
in the order of their sorted keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flowray.client.framework.sparse_tensor import SparseTensorValue


def is_sequence(structure: Any) -> bool:
    """Whether it has parts, and is no leaf."""
    if isinstance(structure, SparseTensorValue):
        return False
    return isinstance(structure, tuple | Mapping) or _is_attrs(structure)


def _is_attrs(structure: Any) -> bool:
    return not isinstance(structure, type) and hasattr(type(structure), "__attrs_attrs__")


def _parts(structure: Any) -> list[Any]:
    if isinstance(structure, Mapping):
        return [structure[key] for key in _sorted_keys(structure)]
    if _is_attrs(structure):
        return [getattr(structure, a.name) for a in type(structure).__attrs_attrs__]
    return list(structure)


def _sorted_keys(structure: Mapping[Any, Any]) -> list[Any]:
    try:
        return sorted(structure)
    except TypeError:
        raise TypeError("nest only supports dicts with sortable keys.") from None


def _with_parts(like: Any, parts: Sequence[Any]) -> Any:
    """A structure of the kind of ``like``, made of ``parts``."""
    make: Any = type(like)
    if isinstance(like, Mapping):
        by_key = dict(zip(_sorted_keys(like), parts, strict=True))
        return make((key, by_key[key]) for key in like)
    if hasattr(like, "_fields") or _is_attrs(like):
        return make(*parts)
    return tuple(parts)


def flatten(structure: Any) -> list[Any]:
    """The leaves in order."""
    return list(_leaves(structure))


def _leaves(structure: Any) -> Iterator[Any]:
    if is_sequence(structure):
        for part in _parts(structure):
            yield from _leaves(part)
    else:
        yield structure


def pack_sequence_as(structure: Any, leaves: Sequence[Any]) -> Any:
    """``leaves`` in the structure of ``structure``.

    Raises:
        TypeError: ``leaves`` is no sequence.
        ValueError: it has another number of items than the structure has leaves.
    """
    if not isinstance(leaves, list | tuple):
        raise TypeError("flat_sequence must be a sequence")
    count = len(flatten(structure))
    if count != len(leaves):
        raise ValueError(
            f"Could not pack sequence. Structure had {count} elements, but flat_sequence had "
            f"{len(leaves)} elements.  Structure: {structure}, flat_sequence: {leaves}."
        )
    return _pack(structure, iter(leaves))


def _pack(structure: Any, leaves: Iterator[Any]) -> Any:
    if not is_sequence(structure):
        return next(leaves)
    return _with_parts(structure, [_pack(part, leaves) for part in _parts(structure)])


def map_structure(function: Callable[..., Any], *structures: Any) -> Any:
    """``function`` of the leaves of structures of one form, in that form."""
    for other in structures[1:]:
        assert_same_structure(structures[0], other)
    columns = zip(*[flatten(structure) for structure in structures], strict=True)
    return pack_sequence_as(structures[0], [function(*column) for column in columns])


def assert_same_structure(first: Any, second: Any, check_types: bool = True) -> None:
    """Raises where the two differ in form.

    Raises:
        ValueError: in the number of parts or the keys, or one has parts where the other has a leaf.
        TypeError: in the types of what has parts.
    """
    if is_sequence(first) != is_sequence(second):
        raise ValueError(
            "The two structures don't have the same nested structure. First structure: "
            f"{first}, second structure: {second}."
        )
    if not is_sequence(first):
        return
    if check_types and type(first) is not type(second):
        raise TypeError(
            "The two structures don't have the same sequence type. First structure has type "
            f"{type(first)}, while second structure has type {type(second)}."
        )
    if isinstance(first, Mapping) and set(first) != set(second):
        raise ValueError(
            "The two dictionaries don't have the same set of keys. First structure has keys "
            f"{sorted(first)}, while second structure has keys {sorted(second)}."
        )
    parts, others = _parts(first), _parts(second)
    if len(parts) != len(others):
        raise ValueError(
            "The two structures don't have the same number of elements. First structure: "
            f"{first}, second structure: {second}."
        )
    for part, other in zip(parts, others, strict=True):
        assert_same_structure(part, other, check_types)


def flatten_up_to(shallow: Any, structure: Any) -> list[Any]:
    """What ``structure`` has where ``shallow`` has its leaves. A list counts as a tuple there.

    Raises:
        TypeError, ValueError: ``structure`` does not begin with the form of ``shallow``.
    """
    if not is_sequence(shallow):
        return [structure]
    if not is_sequence(structure) and not isinstance(structure, list):
        raise TypeError(
            "If shallow structure is a sequence, input must also be a sequence. Input has type: "
            f"'{type(structure).__name__}'."
        )
    if isinstance(shallow, Mapping):
        if not isinstance(structure, Mapping) or set(shallow) != set(structure):
            raise ValueError(
                "The two structures don't have the same keys. Input structure has keys "
                f"{list(structure)}, while shallow structure has keys {list(shallow)}."
            )
        parts = [structure[key] for key in _sorted_keys(shallow)]
    else:
        parts = list(structure) if isinstance(structure, list) else _parts(structure)
    shallow_parts = _parts(shallow)
    if len(parts) != len(shallow_parts):
        raise ValueError(
            "The two structures don't have the same sequence length. Input structure has length "
            f"{len(parts)}, while shallow structure has length {len(shallow_parts)}."
        )
    return [
        leaf
        for shallow_part, part in zip(shallow_parts, parts, strict=True)
        for leaf in flatten_up_to(shallow_part, part)
    ]
