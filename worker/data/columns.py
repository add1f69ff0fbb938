"""Elements in messages between processes: one array for each component, where shapes agree.

To pickle an array for each component of each element would take as long as many a function takes
to compute it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from flowray.proto import errors
from flowray.worker.data.batching import Spares, slice_row, stack
from flowray.worker.data.dataset import Array, Element

T = TypeVar("T", bound=Sequence[Any] | errors.OpError)
Answer = Sequence[Any] | errors.OpError
"""The result of a function for an element: its components, or the error that it raised."""


@dataclass(frozen=True, slots=True)
class Columns:
    """``count`` elements, whose components are the rows of ``arrays``."""

    count: int
    arrays: Sequence[Array]


def packed(answers: Sequence[T], spares: Spares) -> Columns | Sequence[T]:
    """Returns the message for ``answers``. It must be sent before ``spares`` are used again."""
    if len(answers) < 2 or not all(map(_is_element, answers)):
        return answers
    try:
        columns = zip(*answers, strict=True)
        return Columns(len(answers), [stack(i, c, spares) for i, c in enumerate(columns)])
    except errors.InvalidArgumentError:  # their shapes differ
        return answers


def unpacked(message: Columns | Sequence[T]) -> Sequence[T | Element]:
    """Returns the answers of a message; the components may be views of the same array."""
    if not isinstance(message, Columns):
        return message
    return [tuple([slice_row(array, i) for array in message.arrays]) for i in range(message.count)]


def _is_element(answer: Answer) -> bool:
    return not isinstance(answer, errors.OpError) and all(
        isinstance(component, np.ndarray | np.generic) for component in answer
    )
