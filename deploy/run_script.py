"""``flowray run``: a TensorFlow 1 script runs unchanged, on flowray."""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from collections.abc import Sequence

from flowray.client.platform import tensorflow_alias
from flowray.client.session.transport import TARGET_VARIABLE


def run(script: str, arguments: Sequence[str], target: str | None = None) -> None:
    """Runs ``script`` as ``python script arguments...`` would, but its ``tensorflow`` is flowray.

    Args:
        script: a Python file.
        arguments: the ``sys.argv[1:]`` of the script.
        target: where sessions without a target run, for this process and those that it starts:
            ``grpc://host:port``; None leaves it at what the environment says, or at this process.
    """
    tensorflow_alias.install()
    if target is not None:
        os.environ[TARGET_VARIABLE] = target
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    try:
        runpy.run_path(script, run_name="__main__")
    except Exception as error:
        # The traceback begins in the script, as Python's own would.
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename != script:
            frames = frames.tb_next
        traceback.print_exception(error.with_traceback(frames))
        sys.exit(1)
