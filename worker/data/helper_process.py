"""What a helper runs: ``python -m flowray.worker.data.helper_process FD MEMORY``."""

from __future__ import annotations

import logging
import socket
import sys
from typing import Final

import numpy as np

from flowray.proto import errors, lane
from flowray.worker import program as programs
from flowray.worker.data.dataset import Element
from flowray.worker.data.helpers import Answer, Line, Shared
from flowray.worker.executor import Interpreter, current, running
from flowray.worker.memory import keep_freed_memory
from flowray.worker.state import StateStore

logger = logging.getLogger("flowray.worker")

_IDLE_SECONDS: Final = 60.0


def serve(line: Line) -> None:
    """Answers requests until the other end closes the line, or is silent for long.

    A request is a ``Shared``, which is kept; None: what is kept is dropped; or the handle of a
    ``Shared`` and elements, which is answered by what the function makes of each: the components,
    or an OpError.
    """
    functions: dict[str, _Function] = {}
    # Nothing is compiled: XLA would cost every helper a second and its memory.
    with running(Interpreter()), np.errstate(all="ignore"):
        while True:
            match line.receive():
                case Shared() as shared:
                    functions[shared.stage.handle] = _Function(shared)
                case None:
                    functions.clear()
                case handle, elements:
                    line.send([functions[handle].answer(element) for element in elements])


class _Function:
    def __init__(self, shared: Shared) -> None:
        self._program = programs.load(shared.stage, StateStore(""))
        self._captures = shared.captures

    def answer(self, element: Element) -> Answer:
        program = self._program
        slots = program.base.copy()
        for slot, value in zip(program.inputs, (*element, *self._captures), strict=True):
            slots[slot] = value
        try:
            current().run(program.instructions, slots)
        except errors.OpError as error:
            return error
        return [np.asarray(slots[slot]) for slot in program.outputs]


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as end:
        end.settimeout(_IDLE_SECONDS)
        keep_freed_memory()
        try:
            serve(Line(end, int(sys.argv[2])))
        except lane.LaneClosedError as error:
            logger.debug("a helper ends: %s", error)
