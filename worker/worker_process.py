"""What a helper runs: ``python -m flowray.worker.worker_process FD MEMORY``."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Sequence
from typing import Final

import numpy as np

from flowray.proto.wire import lane
from flowray.worker import kernels as _kernels  # noqa: F401 - registers them all
from flowray.worker.data.batching import Spares
from flowray.worker.data.columns import Answer, Columns, packed, unpacked
from flowray.worker.data.functions import ElementCaller
from flowray.worker.data.process_pool import Line, Shared
from flowray.worker.execution.interpreter import Interpreter
from flowray.worker.memory import keep_freed_memory
from flowray.worker.program import loader as programs
from flowray.worker.program.executor import running
from flowray.worker.program.function import Function
from flowray.worker.state.store import StateStore

logger = logging.getLogger("flowray.worker")

_IDLE_SECONDS: Final = 60.0


def serve(line: Line) -> None:
    """Answers requests until the other end closes the line, or is silent for long.

    A request is a ``Shared``, which is kept; None: what is kept is dropped; or the handle of a
    ``Shared`` and elements, which is answered by what the function makes of each: the components,
    or an OpError. The others are answered by nothing.
    """
    functions: dict[str, ElementCaller] = {}
    spares = Spares()
    # Nothing is compiled: XLA would cost every helper a second and its memory.
    with running(Interpreter()), np.errstate(all="ignore"):
        while True:
            answers: Columns | Sequence[Answer] = ()
            match line.receive():
                case Shared() as shared:
                    functions[shared.stage.handle] = _caller(shared)
                case None:
                    functions.clear()
                case handle, elements:
                    answers = packed(functions[handle].each(unpacked(elements)), spares)
            line.send(answers)


def _caller(shared: Shared) -> ElementCaller:
    stage = shared.stage
    function = Function(stage.handle, lambda: programs.load(stage, StateStore("")))
    return ElementCaller(function, shared.captures)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as end:
        end.settimeout(_IDLE_SECONDS)
        keep_freed_memory()
        try:
            serve(Line(end, int(sys.argv[2])))
        except lane.LaneClosedError as error:
            logger.debug("a helper ends: %s", error)
