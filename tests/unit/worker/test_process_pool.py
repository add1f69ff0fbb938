"""Processes that call functions for pipelines."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import flowray as tf
from flowray.deploy.in_process import InProcessTransport
from flowray.worker.data import functions, process_pool
from flowray.worker.data.process_pool import ProcessPool
from flowray.worker.execution.tiering import PIPELINES
from tests.steps import run_step

D = tf.data.Dataset


@pytest.fixture
def all_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every function takes long, is not compiled, and holds the GIL all the time."""
    monkeypatch.setattr(functions, "_REMOTE_SECONDS", 0.0)
    monkeypatch.setattr(functions, "_MOST_GIL", 0.0)
    monkeypatch.setattr(functions, "gil_fraction", lambda call: 1.0)
    monkeypatch.setattr(functions, "_CALLS_TO_JUDGE", 4)
    monkeypatch.setattr(functions, "_BATCH_SECONDS", 0.1)
    monkeypatch.setattr(functions, "PIPELINES", replace(PIPELINES, slow_runs=10**9))


@pytest.fixture
def pool(all_slow: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessPool]:
    """Two worker processes, started, for all functions that they can call."""
    pool = ProcessPool(2)
    for count in (1, 2):
        with pool._changed:
            pool._start_one()
            assert pool._changed.wait_for(lambda count=count: len(pool._free) == count, 60)
    monkeypatch.setattr(process_pool, "pool", pool)
    yield pool
    pool.close()


@pytest.fixture
def sent(pool: ProcessPool, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Returns the number of elements in each request to a worker process."""
    requests: list[int] = []
    each = ProcessPool.each

    def counting(self: ProcessPool, shared: Any, elements: Any) -> Any:
        answers = each(self, shared, elements)
        requests.append(len(elements) if answers is not None else 0)
        return answers

    monkeypatch.setattr(ProcessPool, "each", counting)
    return requests


class Reader:
    """The elements of a dataset, one by one."""

    def __init__(self, build: Callable[[], Any]) -> None:
        self._graph = tf.Graph()  # it holds the Python functions
        with self._graph.as_default():
            element = build().make_one_shot_iterator().get_next()
            self._transport = InProcessTransport(tf.ConfigProto())
            self._handle = self._transport.create_session(
                self._graph.as_graph_def(), tf.ConfigProto()
            )
        self._name = element.name

    def next(self) -> Any:
        names: list[str] = []
        return run_step(self._transport, self._handle, names, [], [self._name], [], None)[0][0]

    def rest(self) -> list[Any]:
        found = []
        try:
            while True:
                found.append(self.next())
        except tf.errors.OutOfRangeError:
            return found

    def close(self) -> None:
        self._transport.close_session(self._handle)


def rotated(x: Any) -> Any:
    """Needs a function of its own (a condition), strings, a capture, and a large result."""
    words = tf.string_split([tf.as_string(x)], "").values
    number = tf.cond(tf.size(words) > 1, lambda: x * 2, lambda: x + tf.constant(1000, tf.int64))
    return tf.fill([100, 30], number)


def test_elements_come_in_order_whoever_makes_them(sent: list[int]) -> None:
    reader = Reader(lambda: D.range(300).map(rotated, num_parallel_calls=3))
    for x, value in zip(range(300), reader.rest(), strict=True):
        np.testing.assert_array_equal(value, np.full([100, 30], x * 2 if x > 9 else x + 1000))
        assert value.dtype == np.int64
    assert sum(sent) > 250
    assert max(sent) > 1, "several elements go together"


def test_captures_are_sent_along(sent: list[int]) -> None:
    table = np.arange(1000, dtype=np.float32)

    def build() -> Any:
        captured = tf.constant(table)
        return D.range(50).map(lambda i: tf.gather(captured, i), num_parallel_calls=2)

    assert [float(v) for v in Reader(build).rest()] == list(range(50))
    assert sum(sent) > 30


def test_large_captures_and_large_elements_do_not_mix(sent: list[int]) -> None:
    """Both go through the same memory, one right after the other."""
    table = np.arange(1_000_000, dtype=np.float32)
    rows = np.arange(40 * 50_000, dtype=np.float32).reshape(40, 50_000)

    def build() -> Any:
        captured = tf.constant(table)
        return D.from_tensor_slices(rows).map(
            lambda row: tf.stack([tf.reduce_sum(captured), row[0], row[-1]]), num_parallel_calls=2
        )

    for _ in range(5):  # a function each time
        for i, value in enumerate(Reader(build).rest()):
            np.testing.assert_allclose(value, [table.sum(), rows[i, 0], rows[i, -1]], rtol=1e-3)
    assert sum(sent) > 100


def test_an_error_names_its_node_and_concerns_its_element_only(sent: list[int]) -> None:
    def inverse(x: Any) -> Any:
        return tf.constant(100, tf.int64) // tf.subtract(x, 20, name="shifted")

    reader = Reader(lambda: D.range(40).map(inverse, num_parallel_calls=2))
    got = [int(reader.next()) for _ in range(20)]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"zero[\s\S]*floordiv"):
        reader.next()
    got += map(int, reader.rest())
    assert got == [100 // (x - 20) for x in range(40) if x != 20]
    assert sum(sent) > 20


def test_a_worker_process_keeps_some_functions_only(
    sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_pool, "_MOST_FUNCTIONS", 1)
    readers = [
        Reader(lambda n=n: D.range(60).map(lambda x: x * n, num_parallel_calls=2)) for n in (2, 3)
    ]
    for x in range(60):
        assert [int(reader.next()) for reader in readers] == [2 * x, 3 * x]
    assert sum(sent) > 80


def test_a_killed_worker_process_loses_nothing(pool: ProcessPool, sent: list[int]) -> None:
    reader = Reader(lambda: D.range(400).map(rotated, num_parallel_calls=2))
    got = [reader.next() for _ in range(60)]
    for process in list(pool._all):
        os.kill(process._process.pid, signal.SIGKILL)
    got += reader.rest()
    assert [int(v[0, 0]) for v in got] == [x * 2 if x > 9 else x + 1000 for x in range(400)]


@pytest.mark.parametrize("function", [
    lambda x: tf.py_func(lambda v: v + 1, [x], tf.int64),
    lambda x: x + tf.random_uniform([], 0, 9, tf.int64, seed=1),
], ids=["python", "random"])  # fmt: skip
def test_what_has_state_or_effects_stays_here(
    sent: list[int], function: Callable[[Any], Any]
) -> None:
    assert len(Reader(lambda: D.range(40).map(function, num_parallel_calls=2)).rest()) == 40
    assert not sent


def test_values_that_are_not_arrays_stay_here(sent: list[int]) -> None:
    def build() -> Any:
        inner = D.range(40).map(lambda x: D.range(x), num_parallel_calls=2)
        return inner.flat_map(lambda d: d.batch(100))

    assert len(Reader(build).rest()) == 39  # the first one is empty
    assert not sent


def test_who_ends_a_pipeline_does_not_wait_for_its_function(
    pool: ProcessPool, sent: list[int]
) -> None:
    def endless_from_30(x: Any) -> Any:
        return tf.while_loop(lambda i: tf.logical_or(i < x, x >= 30), lambda i: i + 1, [0 * x])

    def asked() -> bool:
        return len(pool._all) - len(pool._free) == 2

    reader = Reader(lambda: D.range(100).map(endless_from_30, num_parallel_calls=2))
    assert [int(reader.next()) for _ in range(20)] == list(range(20))
    deadline = time.monotonic() + 30
    while not asked():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    reader.close()
    del reader
    with pool._changed:
        assert pool._changed.wait_for(lambda: len(pool._all) < 2, 10)


def test_without_processes_this_one_does_it_all(
    all_slow: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*descriptors: int) -> Any:
        raise OSError("no more processes")

    monkeypatch.setattr(process_pool, "_started", refuse)
    pool = ProcessPool(2)
    monkeypatch.setattr(process_pool, "pool", pool)
    reader = Reader(lambda: D.range(100).map(rotated, num_parallel_calls=2))
    assert len(reader.rest()) == 100
    with pool._changed:
        assert pool._changed.wait_for(lambda: pool._limit == 0, 10)
    assert caplog.text.count("no more processes") == 1
    assert len(Reader(lambda: D.range(100).map(rotated, num_parallel_calls=2)).rest()) == 100


_ORPHAN = """
import os, threading
from flowray.worker.data.process_pool import WorkerProcess
worker = WorkerProcess()
print(worker._process.pid, flush=True)
threading.Event().wait()
"""


def test_a_worker_process_ends_with_the_process_that_started_it() -> None:
    process = subprocess.Popen([sys.executable, "-c", _ORPHAN], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{pid}") and _state(pid) != "Z":
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)


_FORK = """
import os
from flowray.worker.data.process_pool import ProcessPool
pool = ProcessPool(1)
with pool._changed:
    pool._start_one()
    assert pool._changed.wait_for(lambda: pool._free, 60)
worker = pool._all[0]
if os.fork() == 0:
    pool.close()  # as at its end
    os._exit(len(pool._all))
_, status = os.wait()
assert status == 0, status
assert worker._process.poll() is None
pool.close()
"""


def test_a_forked_process_leaves_its_parents_process_pool_alone() -> None:
    subprocess.run([sys.executable, "-c", _FORK], check=True, timeout=120)


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"
