"""What a helper runs: ``python -m flowray.worker.data.helper_process FD MEMORY``."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Sequence
from typing import Any, Final

from flowray.proto import errors, lane
from flowray.worker.data.helpers import Line, Shared
from flowray.worker.runtime import Runtime, RuntimeOptions

logger = logging.getLogger("flowray.worker")

_IDLE_SECONDS: Final = 60.0


def serve(line: Line) -> None:
    """Answers requests until the other end closes the line, or is silent for long.

    A request is a ``Shared``, which is kept; None: what is kept is dropped; or the handle of a
    ``Shared`` and elements, which is answered by what the function makes of each: the components,
    or an OpError.
    """
    runtime = _runtime()
    captures: dict[str, Sequence[Any]] = {}
    try:
        while True:
            match line.receive():
                case None:
                    runtime, captures = _runtime(), {}
                case Shared() as shared:
                    runtime.register(shared.stage)
                    captures[shared.stage.handle] = shared.captures
                case handle, elements:
                    answers = [_made(runtime, handle, (*e, *captures[handle])) for e in elements]
                    line.send(answers)
    except lane.LaneClosedError as end:
        logger.debug("a helper ends: %s", end)


def _runtime() -> Runtime:
    # Nothing is compiled: XLA would cost every helper a second and its memory.
    return Runtime("/job:helper/replica:0/task:0", RuntimeOptions("never", gpus=0))


def _made(runtime: Runtime, handle: str, inputs: Sequence[Any]) -> Sequence[Any] | errors.OpError:
    try:
        return runtime.run(handle, 0, inputs)[0]
    except errors.OpError as error:
        return error
    except Exception as error:
        logger.exception("a helper failed")
        return errors.internal(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as end:
        end.settimeout(_IDLE_SECONDS)
        serve(Line(end, int(sys.argv[2])))
