"""How much of its time a function holds Python's lock."""

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
# An instruction that takes longer than that and goes through no strings lets other threads run.
_LONG_SECONDS: Final = 50e-6


def held_part(call: Callable[[], object]) -> float:
    """In which part of its time a call holds the lock, as far as its instructions tell.

    Kernels give it away for what takes long, all but those that go through strings. Of some calls
    the quickest run of each instruction counts: the others waited for threads.
    """
    recorder = _LockRecorder()
    with running(Interpreter(current_cancellation(), recorder)):
        for _ in range(_CALLS):
            with suppress(errors.OpError):
                call()
    return recorder.held_part()


class _LockRecorder:
    """Notes how long instructions take, and which of them go through strings."""

    def __init__(self) -> None:
        self._quickest: dict[int, float] = {}
        self._with_strings: set[int] = set()
        self._ended: list[tuple[float, float]] = []
        """Begin and duration of those that may turn out to be part of what ends next."""

    def add(self, instruction: Instruction, slots: Sequence[Any], begin: float, end: float) -> None:
        own = end - begin
        while self._ended and self._ended[-1][0] >= begin:
            own -= self._ended.pop()[1]
        self._ended.append((begin, end - begin))
        key = id(instruction)
        self._quickest[key] = min(self._quickest.get(key, math.inf), own)
        values = (slots[slot] for slot in (*instruction.input_slots(), *instruction.outputs))
        if any(map(_is_strings, values)):
            self._with_strings.add(key)

    def held_part(self) -> float:
        total = sum(self._quickest.values())
        held = sum(
            seconds
            for key, seconds in self._quickest.items()
            if seconds < _LONG_SECONDS or key in self._with_strings
        )
        return held / total if total else 0.0


def _is_strings(value: Any) -> bool:
    """Whether it is more than one string; one is mostly a file, for a library to read."""
    return isinstance(value, np.ndarray) and value.dtype.hasobject and value.size > 1
