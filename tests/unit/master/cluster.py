"""A cluster in this process, for tests of what the master and workers do together."""

from __future__ import annotations

import numpy as np

import flowray as tf
from flowray.deploy.in_process import InProcessWorker
from flowray.master.master import Master
from flowray.worker.runtime import Runtime, RuntimeOptions
from tests.steps import run_on_master

PS = "/job:ps/replica:0/task:0"
WORKER = "/job:worker/replica:0/task:0"


class Cluster:
    """A master over two runtimes in this process."""

    def __init__(self, mode) -> None:
        options = RuntimeOptions(compile=mode, gpus=0)
        self.workers = [InProcessWorker(Runtime(task, options)) for task in (WORKER, PS)]
        self._master = Master(self.workers)
        self._handle = ""

    def __call__(self, fetches=(), feeds=None, targets=()):
        if not self._handle:
            graph_def = tf.get_default_graph().as_graph_def()
            self._handle = self._master.create_session(graph_def)
        values = {t.name: np.asarray(v, t.dtype.as_numpy_dtype) for t, v in (feeds or {}).items()}
        return run_on_master(
            self._master,
            self._handle,
            values,
            [t.name for t in fetches],
            [op.name for op in targets],
        )
