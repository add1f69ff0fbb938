"""Measures for which fraction of its time a function holds the GIL."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from flowray.proto import errors
from flowray.worker.execution.interpreter import Interpreter, current_cancellation
from flowray.worker.program.executor import running

if TYPE_CHECKING:
    from flowray.worker.program.instruction import Instruction

_CALLS: Final = 5
_LONG_SECONDS: Final = 50e-6
"""An instruction that takes longer releases the GIL, unless it loops over strings."""


def gil_fraction(call: Callable[[], object]) -> float:
    """Returns the fraction of its time, between 0 and 1, for which ``call`` holds the GIL.

    This is an estimate from the instructions that ``call`` runs: kernels release the GIL for long
    work, except for work on many strings. ``call`` runs a few times; OpErrors that it raises are
    ignored. The quickest run of each instruction counts, as slower ones waited for other threads.
    """
    recorder = _GilRecorder()
    with running(Interpreter(current_cancellation(), recorder)):
        for _ in range(_CALLS):
            with suppress(errors.OpError):
                call()
    return recorder.gil_fraction()


class _GilRecorder:
    """Records the time of each instruction, and whether it loops over strings."""

    def __init__(self) -> None:
        self._quickest: dict[int, float] = {}
        self._with_strings: set[int] = set()
        self._ended: list[tuple[float, float]] = []
        """The begin and duration of instructions that may be parts of the one that ends next."""

    def add(self, instruction: Instruction, slots: Sequence[Any], begin: float, end: float) -> None:
        """Records a run of ``instruction``, without the instructions that it called."""
        own = end - begin
        while self._ended and self._ended[-1][0] >= begin:
            own -= self._ended.pop()[1]
        self._ended.append((begin, end - begin))
        key = id(instruction)
        self._quickest[key] = min(self._quickest.get(key, math.inf), own)
        values = (slots[slot] for slot in (*instruction.input_slots(), *instruction.outputs))
        if any(map(_is_strings, values)):
            self._with_strings.add(key)

    def gil_fraction(self) -> float:
        """Returns the fraction for all instructions recorded; 0 if there are none."""
        total = sum(self._quickest.values())
        seconds_with_gil = sum(
            seconds
            for key, seconds in self._quickest.items()
            if seconds < _LONG_SECONDS or key in self._with_strings
        )
        return seconds_with_gil / total if total else 0.0


def _is_strings(value: Any) -> bool:
    """Returns whether ``value`` is several strings. A single one is mostly a file, which a library
    decodes without the GIL."""
    return isinstance(value, np.ndarray) and value.dtype.hasobject and value.size > 1
