"""The main program of a worker process of the process pool.

``python -m flowray.worker.worker_process SOCKET MEMORY`` with the file descriptors of a
``Connection``.
"""

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
from flowray.worker.data.process_pool import Connection, Shared
from flowray.worker.execution.interpreter import Interpreter
from flowray.worker.memory import keep_freed_memory
from flowray.worker.program import loader as programs
from flowray.worker.program.executor import running
from flowray.worker.program.function import Function
from flowray.worker.state.store import StateStore

logger = logging.getLogger("flowray.worker")

_IDLE_SECONDS: Final = 60.0


def serve(connection: Connection) -> None:
    """Answers requests until the other end closes the connection, or sends nothing for a minute.

    A ``Shared`` is kept, and None drops all that were kept; the answer to both is empty. The handle
    of a ``Shared`` and elements is answered with the components or the OpError for each element.
    """
    functions: dict[str, ElementCaller] = {}
    spares = Spares()
    # Nothing is compiled: XLA would cost every process a second and its memory.
    with running(Interpreter()), np.errstate(all="ignore"):
        while True:
            answers: Columns | Sequence[Answer] = ()
            match connection.receive():
                case Shared() as shared:
                    functions[shared.stage.handle] = _caller(shared)
                case None:
                    functions.clear()
                case handle, elements:
                    answers = packed(functions[handle].each(unpacked(elements)), spares)
            connection.send(answers)


def _caller(shared: Shared) -> ElementCaller:
    stage = shared.stage
    function = Function(stage.handle, lambda: programs.load(stage, StateStore("")))
    return ElementCaller(function, shared.captures)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        sock.settimeout(_IDLE_SECONDS)
        keep_freed_memory()
        try:
            serve(Connection(sock, int(sys.argv[2])))
        except lane.LaneClosedError as error:
            logger.debug("a worker process of the process pool ends: %s", error)
