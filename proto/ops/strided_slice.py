"""The elements that a StridedSlice selects, for its shape function, kernels and constant folding.

The op's begin, end and strides vectors are a *sparse* specification: an entry selects from one
dimension, from several (ellipsis) or from no dimension (new axis). ``resolve`` makes it dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from flowray.proto.types.shapes import Shape


class Masks(NamedTuple):
    """The five bit masks of the op; bit i belongs to entry i of begin, end and strides."""

    begin: int = 0
    end: int = 0
    ellipsis: int = 0
    new_axis: int = 0
    shrink_axis: int = 0


@dataclass(frozen=True, slots=True)
class Selection:
    """The elements ``start, start + stride, ...`` of one dimension, ``size`` of them.

    None where it is not known.
    """

    start: int | None
    size: int | None
    stride: int | None

    @property
    def as_slice(self) -> slice:
        """Returns the Python slice that selects them; all fields must be known."""
        assert self.start is not None
        assert self.size is not None
        assert self.stride is not None
        stop = self.start + self.size * self.stride
        # A negative stop would count from the end.
        return slice(self.start, stop if stop >= 0 else None, self.stride)


def resolve(
    shape: Sequence[int | None],
    begin: Sequence[int | None],
    end: Sequence[int | None],
    strides: Sequence[int | None],
    masks: Masks,
) -> tuple[list[Selection], Shape]:
    """Returns the selection from each dimension of ``shape``, and the shape of the result.

    ``shape``, ``begin``, ``end`` and ``strides`` hold None for what is not known (yet).

    Raises:
        ValueError: the specification does not fit the shape; the text is TensorFlow's.
    """
    entries = [1 << i for i in range(len(begin))]
    ellipses = sum(1 for bit in entries if masks.ellipsis & bit)
    if ellipses > 1:
        raise ValueError("Multiple ellipses in slice spec not allowed")
    selecting = sum(1 for bit in entries if not (masks.ellipsis | masks.new_axis) & bit)
    left_over = len(shape) - selecting
    if left_over < 0:
        raise ValueError(
            f"Index out of range using input dim {len(shape)}; input has only {len(shape)} dims"
        )
    selections: list[Selection] = []
    result: list[int | None] = []

    def keep_whole_dimensions() -> None:
        for dim in shape[len(selections) : len(selections) + left_over]:
            selections.append(Selection(0, dim, 1))
            result.append(dim)

    for bit, first, last, stride in zip(entries, begin, end, strides, strict=True):
        if masks.ellipsis & bit:
            keep_whole_dimensions()
            continue
        if masks.new_axis & bit:
            result.append(1)
            continue
        axis = len(selections)
        dim = shape[axis]
        if stride == 0:
            raise ValueError(f"strides[{axis}] must be non-zero")
        if masks.shrink_axis & bit:
            if stride is not None and stride < 0:
                raise ValueError("only stride 1 allowed on non-range indexing.")
            selections.append(_single(axis, dim, first))
            continue
        selection = _range(dim, first, last, stride, bool(masks.begin & bit), bool(masks.end & bit))
        selections.append(selection)
        result.append(selection.size)
    if not ellipses:
        keep_whole_dimensions()
    return selections, tuple(result)


def _single(axis: int, dim: int | None, index: int | None) -> Selection:
    if dim is None or index is None:
        return Selection(index if index is not None and index >= 0 else None, 1, 1)
    if not -dim <= index < dim:
        raise ValueError(f"slice index {index} of dimension {axis} out of bounds.")
    return Selection(index % dim, 1, 1)


def _range(
    dim: int | None,
    first: int | None,
    last: int | None,
    stride: int | None,
    from_start: bool,
    to_end: bool,
) -> Selection:
    if dim is None or stride is None:
        return Selection(None, None, stride)
    if (first is None and not from_start) or (last is None and not to_end):
        return Selection(None, None, stride)
    chosen = range(dim)[slice(None if from_start else first, None if to_end else last, stride)]
    return Selection(chosen.start, len(chosen), stride)
