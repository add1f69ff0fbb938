"""``tf.nest``: structures of lists, tuples, named tuples, dicts and attrs, and their leaves.

A dict's values come in the order of its sorted keys. All else is a leaf: tensors, strings, arrays,
IndexedSlices, SparseTensors. ``client/data/nest.py`` is the variant for ``tf.data``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flowray.client.tf_export import tf_export


class Nest:
    """The operations on nested structures, for one definition of a leaf.

    Args:
        leaf_types: types that would be structures (``list``, a named tuple), but are leaves here.
    """

    def __init__(self, *leaf_types: type) -> None:
        self._leaf_types = leaf_types

    def is_nested(self, structure: Any) -> bool:
        """Returns True for a list, tuple, dict or attrs instance, and so False for a leaf."""
        if isinstance(structure, self._leaf_types):
            return False
        return isinstance(structure, list | tuple | Mapping) or _is_attrs(structure)

    def flatten(self, structure: Any) -> list[Any]:
        """Returns the leaves in order; ``[structure]`` if it is a leaf itself."""
        return list(self._leaves(structure))

    def _leaves(self, structure: Any) -> Iterator[Any]:
        if self.is_nested(structure):
            for part in _parts(structure):
                yield from self._leaves(part)
        else:
            yield structure

    def pack_sequence_as(self, structure: Any, flat_sequence: Sequence[Any]) -> Any:
        """Returns ``flat_sequence`` in the form of ``structure``.

        Raises:
            TypeError: ``flat_sequence`` is not a list or tuple.
            ValueError: it does not have as many items as the structure has leaves.
        """
        if not isinstance(flat_sequence, list | tuple):
            raise TypeError("flat_sequence must be a sequence")
        count = len(self.flatten(structure))
        if count != len(flat_sequence):
            raise ValueError(
                f"Could not pack sequence. Structure had {count} elements, but flat_sequence had "
                f"{len(flat_sequence)} elements.  Structure: {structure}, flat_sequence: "
                f"{flat_sequence}."
            )
        return self._packed(structure, iter(flat_sequence))

    def _packed(self, structure: Any, leaves: Iterator[Any]) -> Any:
        if not self.is_nested(structure):
            return next(leaves)
        return _with_parts(structure, [self._packed(part, leaves) for part in _parts(structure)])

    def map_structure(self, function: Callable[..., Any], *structures: Any) -> Any:
        """Returns what ``function`` gives for the leaves of structures of one form, in that form.

        Raises:
            ValueError, TypeError: the structures differ, or there are none.
        """
        if not structures:
            raise ValueError("Must provide at least one structure")
        for other in structures[1:]:
            self.assert_same_structure(structures[0], other)
        columns = zip(*[self.flatten(structure) for structure in structures], strict=True)
        return self.pack_sequence_as(structures[0], [function(*column) for column in columns])

    def assert_same_structure(self, nest1: Any, nest2: Any, check_types: bool = True) -> None:
        """Checks that two structures differ in their leaves only.

        Raises:
            ValueError: they do not have the same number of items somewhere, or other keys.
            TypeError: they are of different types (if ``check_types``).
        """
        problem = self._difference(nest1, nest2, check_types)
        if problem is not None:
            kind, text = problem
            raise kind(
                "The two structures don't have the same nested structure.\n\n"
                f"First structure: {nest1}\n\nSecond structure: {nest2}\n\n{text}"
            )

    def _difference(self, a: Any, b: Any, check_types: bool) -> tuple[type[Exception], str] | None:
        if self.is_nested(a) != self.is_nested(b):
            return ValueError, f"{a} and {b}: one of them is a sequence, the other is not."
        if not self.is_nested(a):
            return None
        mappings = isinstance(a, Mapping) and isinstance(b, Mapping)
        if check_types and type(a) is not type(b) and not mappings:
            return TypeError, f"They have types {type(a).__name__} and {type(b).__name__}."
        if mappings and set(a) != set(b):
            return ValueError, f"Their keys are {sorted(a)} and {sorted(b)}."
        parts, others = _parts(a), _parts(b)
        if len(parts) != len(others):
            return ValueError, f"They have {len(parts)} and {len(others)} elements."
        for part, other in zip(parts, others, strict=True):
            found = self._difference(part, other, check_types)
            if found is not None:
                return found
        return None

    def flatten_up_to(self, shallow: Any, structure: Any) -> list[Any]:
        """Returns what ``structure`` has where ``shallow`` has its leaves.

        A list counts as a tuple in ``structure``.

        Raises:
            TypeError, ValueError: ``structure`` does not begin with the form of ``shallow``.
        """
        if not self.is_nested(shallow):
            return [structure]
        if not self.is_nested(structure) and not isinstance(structure, list):
            raise TypeError(
                "If shallow structure is a sequence, input must also be a sequence. Input has "
                f"type: '{type(structure).__name__}'."
            )
        if isinstance(shallow, Mapping):
            if not isinstance(structure, Mapping) or set(shallow) != set(structure):
                raise ValueError(
                    "The two structures don't have the same keys. Input structure has keys "
                    f"{list(structure)}, while shallow structure has keys {list(shallow)}."
                )
            parts = [structure[key] for key in _sorted_keys(shallow)]
        else:
            parts = _parts(structure)
        shallow_parts = _parts(shallow)
        if len(parts) != len(shallow_parts):
            raise ValueError(
                "The two structures don't have the same sequence length. Input structure has "
                f"length {len(parts)}, while shallow structure has length {len(shallow_parts)}."
            )
        return [
            leaf
            for shallow_part, part in zip(shallow_parts, parts, strict=True)
            for leaf in self.flatten_up_to(shallow_part, part)
        ]


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
    """Returns a structure of the kind of ``like``, made of ``parts``."""
    make: Any = type(like)
    if isinstance(like, Mapping):
        by_key = dict(zip(_sorted_keys(like), parts, strict=True))
        return make((key, by_key[key]) for key in like)
    if hasattr(like, "_fields") or _is_attrs(like):
        return make(*parts)
    return make(parts)


_NEST = Nest()

is_nested = tf_export("nest.is_nested", "contrib.framework.nest.is_nested")(_NEST.is_nested)
flatten = tf_export("nest.flatten", "contrib.framework.nest.flatten")(_NEST.flatten)
pack_sequence_as = tf_export("nest.pack_sequence_as", "contrib.framework.nest.pack_sequence_as")(
    _NEST.pack_sequence_as
)
map_structure = tf_export("nest.map_structure", "contrib.framework.nest.map_structure")(
    _NEST.map_structure
)
assert_same_structure = tf_export(
    "nest.assert_same_structure", "contrib.framework.nest.assert_same_structure"
)(_NEST.assert_same_structure)
