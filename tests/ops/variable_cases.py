"""Cases that reference and resource variables share: writes, applied one by one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.types import dtypes

BF16 = dtypes.bfloat16.as_numpy_dtype
BAD = errors.InvalidArgumentError

REAL = (np.float32, np.float64, np.float16, BF16, np.int32, np.int64)


@dataclass
class ScatterCase:
    """A write of ``updates`` at ``indices``, and what it leaves (or how it fails).

    Where ``old`` is None, the variable has no value, and there is an error of its own.
    """

    old: Any
    indices: np.ndarray
    updates: np.ndarray
    new: np.ndarray | None = None
    raises: type[errors.OpError] | None = None
    match: str = ""
    attrs: dict[str, Any] = field(default_factory=dict)
    note: str = ""


def _divided(a: Any, b: Any) -> Any:
    """Integers are divided towards zero."""
    if a.dtype.kind == "i":
        return a.dtype.type(int(np.trunc(a / b)))
    return a / b


FORMULAS: dict[str, Callable[[Any, Any], Any]] = {
    "Update": lambda old, update: update,
    "Add": lambda old, update: old + update,
    "Sub": lambda old, update: old - update,
    "Mul": lambda old, update: old * update,
    "Div": _divided,
    "Min": min,
    "Max": max,
}
"""What a write makes of one element."""


def _written(
    how: str, old: np.ndarray, indices: np.ndarray, updates: np.ndarray, depth: int | None = None
) -> np.ndarray:
    """``old`` after the updates, element by element, one index after the other.

    Indices are rows; with ``depth``, vectors of that length in the last dimension.
    """
    new = old.copy()
    outer = indices.shape if depth is None else indices.shape[:-1]
    rest = old.shape[1 if depth is None else depth :]
    updates = np.broadcast_to(updates, outer + rest)
    for at in itertools.product(*map(range, outer)):
        where = (int(indices[at]),) if depth is None else tuple(indices[at].tolist())
        for inner in itertools.product(*map(range, rest)):
            new[where + inner] = FORMULAS[how](new[where + inner], updates[at + inner])
    return new


OLD = np.array([[8, -7, 6], [5, 4, -3], [2, -9, 1], [-6, 3, 7]])
ROWS = np.array([3, 0, 3])
"""One row twice: it takes all its updates."""
UPDATES = np.array([[2, 3, -2], [-1, 2, 4], [3, -1, 2]])


def scatter_cases(how: str) -> Iterator[ScatterCase]:
    """Cases of ``[Resource]Scatter<how>``."""
    # Of several assignments of one row, which one stays is not said.
    rows = np.array([3, 0, 1]) if how == "Update" else ROWS

    def good(old: Any, indices: Any, updates: Any, note: str = "") -> ScatterCase:
        return ScatterCase(old, indices, updates, _written(how, old, indices, updates), note=note)

    def bad(old: Any, indices: Any, updates: Any, match: str) -> ScatterCase:
        return ScatterCase(old, indices, updates, raises=BAD, match=match)

    for dtype in REAL:
        yield good(OLD.astype(dtype), rows.astype(np.int32), UPDATES.astype(dtype))
    if how not in ("Min", "Max"):
        turned = (OLD * (1 + 0.5j)).astype(np.complex64)
        yield good(turned, rows, (UPDATES * (2 - 1j)).astype(np.complex64))
    old, updates = OLD.astype(np.float32), UPDATES.astype(np.float32)
    yield good(old, rows.astype(np.int64), updates, "int64 indices")
    yield good(old, np.array(2, np.int32), updates[0], "scalar index")
    yield good(old, np.array([[3, 1], [0, 2]], np.int32), np.tile(updates[:2], (2, 1, 1)), "matrix")
    yield good(old, np.array([1, 2], np.int32), np.array(2, np.float32), "scalar update")
    yield good(old[:, 0], np.array([1, 2], np.int32), updates[0, :2], "vector")
    yield good(old, np.zeros(0, np.int32), np.zeros((0, 3), np.float32), "no indices")
    yield good(old[:, :0], np.array([1], np.int32), np.zeros((1, 0), np.float32), "empty rows")
    for index in (4, -1):
        indices = np.array([0, index], np.int32)
        yield bad(old, indices, updates[:2], rf"indices\[1\] = {index} is not in \[0, 4\)")
    yield bad(old, np.array([0, 1], np.int32), updates, "updates.shape|The shape of indices")
    yield bad(old[0, 0], np.array([0], np.int32), updates[0, :1], "params")
    yield ScatterCase(None, np.array([0], np.int32), updates[:1])


PLACES = np.array([[3, 1], [0, 2], [3, 1]])


def scatter_nd_cases(how: str) -> Iterator[ScatterCase]:
    """Cases of ``[Resource]ScatterNd<how>``."""
    places = np.array([[3, 1], [0, 2], [1, 0]]) if how == "Update" else PLACES

    def good(old: Any, indices: Any, updates: Any, note: str = "") -> ScatterCase:
        new = _written(how, old, indices, updates, indices.shape[-1])
        return ScatterCase(old, indices, updates, new, note=note)

    def bad(old: Any, indices: Any, updates: Any, match: str) -> ScatterCase:
        return ScatterCase(old, indices, updates, raises=BAD, match=match)

    for dtype in REAL:
        yield good(OLD.astype(dtype), places.astype(np.int32), UPDATES[0].astype(dtype))
    old, updates = OLD.astype(np.float32), UPDATES.astype(np.float32)
    yield good(old, places, updates[0], "int64 indices")
    yield good(old, np.array([[3], [0]], np.int32), updates[:2], "rows")
    yield bad(old, np.array([1], np.int32), updates[0], "Dimensions|rank")
    yield bad(old, np.zeros((1, 0), np.int32), updates[None, :1].repeat(4, 1), "for empty output")
    yield good(old, np.array([[[3, 1]], [[0, 2]]], np.int32), updates[:2, :1], "matrix")
    yield good(old, np.zeros((0, 2), np.int32), np.zeros(0, np.float32), "no indices")
    for place in ([4, 0], [0, -1]):
        text = rf"indices\[1\] = \[{place[0]}, ?{place[1]}\] does not index into shape \[4,3\]"
        yield bad(old, np.array([[0, 0], place], np.int32), updates[0, :2], text)
    yield bad(old, np.array([[0], [1]], np.int32), updates, "must match dimensions")
    yield bad(old, np.array([[[0], [1]]], np.int32), updates[None], "must match dimensions")
    yield bad(old, np.array([[0, 0, 0]], np.int32), updates[0, :1], "must match dimensions")
    yield bad(old[0, 0], np.array([[0]], np.int32), updates[0, :1], "at least 1-D")
    yield ScatterCase(None, np.array([[0]], np.int32), updates[:1])


@dataclass
class SliceCase:
    """``old[begin:end:strides] = value`` with masks; the same in numpy gives what it leaves."""

    begin: list[int]
    end: list[int]
    strides: list[int]
    value: np.ndarray
    new: np.ndarray | None
    masks: dict[str, int] = field(default_factory=dict)
    raises: type[errors.OpError] | None = None
    note: str = ""


SLICED = np.arange(24, dtype=np.float32).reshape(4, 6)


def slice_cases() -> Iterator[SliceCase]:
    """Cases of ``[Resource]StridedSliceAssign``, all on ``SLICED``."""

    def good(
        where: Any, begin: Any, end: Any, strides: Any, value: Any, note: str, **masks: int
    ) -> SliceCase:
        new = SLICED.copy()
        value = np.asarray(value, np.float32)
        new[where] = value
        return SliceCase(begin, end, strides, value, new, masks, note=note)

    full = slice(None)
    yield good(np.s_[1:3, 2:4], [1, 2], [3, 4], [1, 1], [[-1, -2], [-3, -4]], "block")
    yield good(np.s_[::2, 5:0:-2], [0, 5], [4, 0], [2, -2], -np.ones((2, 3)), "strides")
    yield good(np.s_[2], [2], [3], [1], np.arange(6), "row", shrink_axis_mask=1)
    yield good((full, -1), [0, -1], [0, 0], [1, 1], np.arange(4), "column",
               begin_mask=1, end_mask=1, shrink_axis_mask=2)  # fmt: skip
    yield good(np.s_[..., 1:2], [0, 1], [0, 2], [1, 1], np.ones((4, 1)), "ellipsis",
               ellipsis_mask=1)  # fmt: skip
    yield good((full, full), [0], [0], [1], 7, "broadcast", begin_mask=1, end_mask=1)
    yield good(np.s_[2:2], [2], [2], [1], np.zeros((0, 6)), "empty")
    yield SliceCase([0], [2], [1], np.ones((3, 6), np.float32), None,
                    raises=BAD, note="wrong shape")  # fmt: skip
    yield SliceCase([0, 0, 0], [1, 1, 1], [1, 1, 1], np.ones(1, np.float32), None, raises=BAD,
                    note="too many indices")  # fmt: skip
    yield SliceCase([9], [10], [1], np.ones(6, np.float32), None, {"shrink_axis_mask": 1}, BAD,
                    note="out of bounds")  # fmt: skip
