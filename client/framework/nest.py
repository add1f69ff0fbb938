"""``tf.nest``: structures of lists, tuples, namedtuples and dicts, and their leaves.

A dict's values come in the order of its sorted keys. All else is a leaf: tensors, strings, arrays,
IndexedSlices, SparseTensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flowray.client.tf_export import tf_export


@tf_export("contrib.framework.nest.is_nested")
def is_nested(structure: Any) -> bool:
    """Whether it is a list, tuple or dict, and so no leaf."""
    return isinstance(structure, list | tuple | Mapping)


@tf_export("contrib.framework.nest.flatten")
def flatten(structure: Any) -> list[Any]:
    """The leaves in order; ``[structure]`` if it is one itself."""
    return list(_leaves(structure))


def _leaves(structure: Any) -> Iterator[Any]:
    if isinstance(structure, Mapping):
        for key in sorted(structure):
            yield from _leaves(structure[key])
    elif isinstance(structure, list | tuple):
        for item in structure:
            yield from _leaves(item)
    else:
        yield structure


@tf_export("contrib.framework.nest.pack_sequence_as")
def pack_sequence_as(structure: Any, flat_sequence: Sequence[Any]) -> Any:
    """``flat_sequence`` in the form of ``structure``.

    Raises:
        ValueError: the number of leaves is another one.
    """
    count = len(flatten(structure))
    if count != len(flat_sequence):
        raise ValueError(
            f"Structure had {count} elements, but flat_sequence had {len(flat_sequence)} elements."
        )
    return _packed(structure, iter(flat_sequence))


def _packed(structure: Any, leaves: Iterator[Any]) -> Any:
    if isinstance(structure, Mapping):
        values = {key: _packed(structure[key], leaves) for key in sorted(structure)}
        return type(structure)((key, values[key]) for key in structure)  # type: ignore[call-arg]
    if isinstance(structure, list | tuple):
        items = [_packed(item, leaves) for item in structure]
        if hasattr(structure, "_fields"):
            return type(structure)(*items)
        return type(structure)(items)
    return next(leaves)


@tf_export("contrib.framework.nest.map_structure")
def map_structure(function: Callable[..., Any], *structures: Any) -> Any:
    """The structure of what ``function`` gives for the leaves of (parallel) structures.

    Raises:
        ValueError, TypeError: the structures differ.
    """
    if not structures:
        raise ValueError("Must provide at least one structure")
    for other in structures[1:]:
        assert_same_structure(structures[0], other)
    columns = [flatten(s) for s in structures]
    return pack_sequence_as(
        structures[0], [function(*leaves) for leaves in zip(*columns, strict=True)]
    )


@tf_export("contrib.framework.nest.assert_same_structure")
def assert_same_structure(nest1: Any, nest2: Any, check_types: bool = True) -> None:
    """Checks that two structures differ in their leaves only.

    Raises:
        ValueError: they have not the same number of items somewhere, or other keys.
        TypeError: they are of different types (if ``check_types``).
    """
    problem = _difference(nest1, nest2, check_types)
    if problem is not None:
        kind, text = problem
        raise kind(
            "The two structures don't have the same nested structure.\n\n"
            f"First structure: {nest1}\n\nSecond structure: {nest2}\n\n{text}"
        )


def _difference(a: Any, b: Any, check_types: bool) -> tuple[type[Exception], str] | None:
    if is_nested(a) != is_nested(b):
        return ValueError, f"{a} and {b}: one of them is a sequence, the other is not."
    if not is_nested(a):
        return None
    if check_types and type(a) is not type(b):
        same_mapping = isinstance(a, Mapping) and isinstance(b, Mapping)
        if not same_mapping:
            return TypeError, f"They have types {type(a).__name__} and {type(b).__name__}."
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if set(a) != set(b):
            return ValueError, f"Their keys are {sorted(a)} and {sorted(b)}."
        pairs = [(a[key], b[key]) for key in sorted(a)]
    else:
        left, right = list(a), list(b)
        if len(left) != len(right):
            return ValueError, f"They have {len(left)} and {len(right)} elements."
        pairs = list(zip(left, right, strict=True))
    for left_item, right_item in pairs:
        found = _difference(left_item, right_item, check_types)
        if found is not None:
            return found
    return None
