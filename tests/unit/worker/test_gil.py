"""The fraction of its time for which a function holds the GIL."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flowray.proto import errors
from flowray.worker.data.gil import gil_fraction
from flowray.worker.execution.interpreter import Interpreter
from flowray.worker.program.executor import current

NUMBERS = np.zeros(3)
WORDS = np.array([b"a", b"b"], object)
FILE = np.array(b"contents", object)


class Call:
    """Reports instructions to the recorder, in the order in which they end."""

    def __init__(self, *instructions: tuple[float, float, Any]) -> None:
        self._instructions = [
            (SimpleNamespace(outputs=(i,), input_slots=tuple), begin, end)
            for i, (begin, end, _) in enumerate(instructions)
        ]
        self._slots = [result for *_, result in instructions]
        self.count = 0

    def __call__(self) -> None:
        executor = current()
        assert isinstance(executor, Interpreter)
        assert executor.recorder is not None
        waited = 1e-3 if self.count == 0 else 0.0  # for other threads, the first time
        offset = float(self.count)
        self.count += 1
        for instruction, begin, end in self._instructions:
            times = offset + begin, offset + end + waited
            executor.recorder.add(instruction, self._slots, *times)  # type: ignore[arg-type]


def test_what_is_long_lets_others_run_unless_it_goes_through_strings() -> None:
    assert gil_fraction(Call((0, 400e-6, NUMBERS))) == 0
    assert gil_fraction(Call((0, 400e-6, FILE))) == 0
    assert gil_fraction(Call((0, 400e-6, WORDS))) == 1
    assert gil_fraction(Call((0, 10e-6, NUMBERS))) == 1
    mixed = Call((0, 10e-6, NUMBERS), (0.1, 0.1 + 90e-6, NUMBERS))
    assert gil_fraction(mixed) == pytest.approx(0.1, rel=1e-3)


def test_a_call_of_a_function_counts_by_what_it_calls() -> None:
    """The loop around two short instructions takes 5 us itself."""
    call = Call((1e-6, 21e-6, NUMBERS), (22e-6, 62e-6, NUMBERS), (0, 65e-6, NUMBERS))
    assert gil_fraction(call) == 1


def test_calls_that_fail_tell_as_much_as_they_did() -> None:
    call = Call((0, 10e-6, NUMBERS))

    def fail() -> None:
        call()
        raise errors.invalid_argument("no")

    assert gil_fraction(fail) == 1
    assert call.count > 1
    assert gil_fraction(lambda: None) == 0
