"""The process pool: worker processes that call functions for the threads of a pipeline.

Most of an element's cost is Python code, and the threads of one process share its GIL. So a worker
process is sent functions, and then elements, and interprets the functions for them
(``worker_process.py``). It ends with the process that started it, or after a minute without work.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import mmap
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from flowray.proto.messages import graph_pb2, types_pb2
from flowray.proto.wire import lane
from flowray.proto.wire.stage import Stage
from flowray.worker.data.batching import Spares
from flowray.worker.data.columns import Answer, packed, unpacked
from flowray.worker.data.dataset import Element
from flowray.worker.execution.interpreter import current_cancellation
from flowray.worker.program.function import Function

if TYPE_CHECKING:
    from flowray.worker.program.instruction import Instruction

logger = logging.getLogger("flowray.worker")

_POLL_MILLISECONDS: Final = 500
"""The interval in which a thread that waits for an answer checks whether it was cancelled."""
_MEMORY_BYTES: Final = 32 << 20
_SMALL_BYTES: Final = 4096
_MOST_PROCESSES: Final = 32  # of 70 MB each; the pipelines of this process cannot use more
_MOST_FUNCTIONS: Final = 64
"""The number of functions, with their captures, that a worker process keeps."""
_IN_WORKER_PROCESS: Final = "FLOWRAY_WORKER_PROCESS"
"""An environment variable that is set in worker processes, which have no pool of their own."""


_LOCAL_TYPES: Final = {
    types_pb2.DT_INVALID,  # it depends on an attribute
    types_pb2.DT_RESOURCE,
    types_pb2.DT_VARIANT,
}
"""Types of arguments and results that cannot leave this process."""


class WorkerProcessLostError(Exception):
    """The worker process is gone. Its request had no effect, and can be repeated."""


class Connection:
    """Messages between this process and a worker process, of which one at a time is under way.

    Large messages go through shared memory: a socket would copy them twice as often, and in parts
    that fit its buffer.

    Args:
        sock: one end of a socket pair.
        memory: the file descriptor of the shared memory.
    """

    def __init__(self, sock: socket.socket, memory: int) -> None:
        self._sock = sock
        self._memory = memoryview(mmap.mmap(memory, _MEMORY_BYTES))

    def send(self, message: Any) -> None:
        """Sends a message that ``lane.pack`` takes.

        Raises:
            LaneClosedError: the other end is gone.
        """
        parts = lane.pack(message)
        size = sum(map(len, parts))
        if _SMALL_BYTES < size <= _MEMORY_BYTES:
            at = 0
            for part in parts:
                self._memory[at : at + len(part)] = part
                at += len(part)
            parts = lane.pack(size)
        lane.write_frame(self._sock, parts)

    def receive(self) -> Any:
        """Returns the next message; waits for it.

        Raises:
            LaneClosedError: the other end is gone.
        """
        message = lane.unpack(lane.read_frame(self._sock))
        if type(message) is not int:
            return message
        frame = np.array(self._memory[:message])  # the next message overwrites it
        return lane.unpack(lane.body(frame.data))


@dataclass(frozen=True, slots=True)
class Shared:
    """A function that worker processes can call: it takes and returns arrays, without effects."""

    stage: Stage
    captures: Sequence[Any]
    """The values of the last inputs of the stage, the same in all calls."""


class WorkerProcess:
    """One process of the pool, used by one thread at a time.

    Raises:
        WorkerProcessLostError: the process ended before it could serve.
    """

    def __init__(self) -> None:
        self._sock, theirs = socket.socketpair()
        memory = os.memfd_create("flowray-worker-process")
        os.ftruncate(memory, _MEMORY_BYTES)
        try:
            self._connection = Connection(self._sock, memory)
            self._process = _started(theirs.fileno(), memory)
        finally:
            theirs.close()
            os.close(memory)
        self._readable = select.poll()
        self._readable.register(self._sock, select.POLLIN)
        self._known: set[str] = set()
        self._spares = Spares()
        try:
            self._ask(None)
        except WorkerProcessLostError:
            self.close()
            raise

    def each(self, shared: Shared, elements: Sequence[Element]) -> Sequence[Answer]:
        """Calls the function with each element.

        Raises:
            WorkerProcessLostError: the process died, or the step was cancelled.
        """
        handle = shared.stage.handle
        if handle not in self._known:
            if len(self._known) == _MOST_FUNCTIONS:
                self._ask(None)
                self._known.clear()
            self._ask(shared)
            self._known.add(handle)
        return unpacked(self._ask((handle, packed(elements, self._spares))))

    def _ask(self, request: Any) -> Any:
        """Returns the answer. The next request must wait for it: they share the memory."""
        cancellation = current_cancellation()
        try:
            self._connection.send(request)
            while not self._readable.poll(_POLL_MILLISECONDS):
                if cancellation.cancelled:
                    raise WorkerProcessLostError("the step was cancelled")
            return self._connection.receive()
        except lane.LaneClosedError as closed:
            raise WorkerProcessLostError(str(closed)) from None

    def kill(self) -> None:
        """Kills the process. A thread that waits for its answer gets WorkerProcessLostError."""
        self._process.kill()

    def close(self) -> None:
        """Kills the process and frees its resources. No other thread may use it any more."""
        self.kill()
        self._process.wait()
        self._sock.close()


def _started(*descriptors: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "flowray.worker.worker_process", *map(str, descriptors)],
        pass_fds=descriptors,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the parent process
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "OPENBLAS_NUM_THREADS": "1",
            _IN_WORKER_PROCESS: "1",
        },
    )


class ProcessPool:
    """Up to ``limit`` worker processes for all threads of this process, started on demand."""

    def __init__(self, limit: int) -> None:
        self._reset(limit)
        # A forked process must not talk to the worker processes of its parent.
        os.register_at_fork(after_in_child=lambda: self._reset(limit))

    def _reset(self, limit: int) -> None:
        self._limit = limit
        self._free: list[WorkerProcess] = []
        self._all: list[WorkerProcess] = []
        self._is_starting = False
        self._is_closed = False
        self._changed = threading.Condition()

    def each(self, shared: Shared, elements: Sequence[Element]) -> Sequence[Answer] | None:
        """Calls the function with each element, in a worker process.

        Returns:
            The results and errors; None if there is no process yet, or none any more: then the
            caller calls the function itself.

        Raises:
            CancelledError: the step was cancelled.
        """
        process = self._take()
        if process is None:
            return None
        try:
            answers = process.each(shared, elements)
        except WorkerProcessLostError as lost:
            logger.debug("lost a worker process of the process pool: %s", lost)
            self._drop(process)
            current_cancellation().check()
            return None
        except BaseException:
            self._give_back(process)
            raise
        self._give_back(process)
        return answers

    def close(self) -> None:
        """Ends all processes, for good. Threads that wait for one call their functions instead."""
        with self._changed:
            self._is_closed = True
            free, self._free = self._free, []
            busy = [process for process in self._all if process not in free]
            self._changed.notify_all()
        for process in free:
            process.close()
        for process in busy:
            process.kill()

    def _drop(self, process: WorkerProcess) -> None:
        with self._changed:
            self._all.remove(process)
            self._changed.notify()
        process.close()

    def _give_back(self, process: WorkerProcess) -> None:
        with self._changed:
            is_late = self._is_closed
            if not is_late:
                self._free.append(process)
                self._changed.notify()
        if is_late:
            process.close()

    def _take(self) -> WorkerProcess | None:
        with self._changed:
            if self._is_closed or not self._limit:
                return None
            if self._free:
                return self._free.pop()
            if len(self._all) < self._limit:
                self._start_one()
                return None
            current_cancellation().wait(self._changed, self._can_take)
            return self._free.pop() if self._free else None

    def _start_one(self) -> None:
        if not self._is_starting:
            self._is_starting = True
            threading.Thread(target=self._start, name="flowray-process-pool", daemon=True).start()

    def _can_take(self) -> bool:
        return bool(self._free) or self._is_closed or len(self._all) != self._limit

    def _start(self) -> None:
        try:
            process = WorkerProcess()
        except (WorkerProcessLostError, OSError) as error:
            with self._changed:
                count = self._limit = len(self._all)  # it does not try again
            logger.warning(
                "could not start a worker process for pipelines: %s; the process pool stays at %d "
                "processes, and this process calls the other functions itself",
                error,
                count,
            )
            return
        with self._changed:
            self._is_starting = False
            self._all.append(process)
        self._give_back(process)


def shared(function: Function, captures: Sequence[Any]) -> Shared | None:
    """Returns the function for the pool; None if only this process can call it."""
    if function.name not in function.definitions:
        return None
    signature = function.definitions[function.name].signature
    types = {arg.type for arg in (*signature.input_arg, *signature.output_arg)}
    if types & _LOCAL_TYPES or any(i.op.stateful for i in _instructions(function, set())):
        return None
    if any(True for _ in function.resources()) or not all(map(_can_travel, captures)):
        return None
    stage = function.program.stage
    definitions = graph_pb2.FunctionDefLibrary(function=function.definitions.values())
    graph = graph_pb2.GraphDef(node=stage.graph.node, library=definitions)
    handle = f"{function.name}/{next(_numbers)}"
    return Shared(replace(stage, handle=handle, graph=graph), captures)


def _instructions(function: Function, seen: set[Function]) -> Iterator[Instruction]:
    """Yields the instructions of the function and of the functions that it calls."""
    if function not in seen:
        seen.add(function)
        for instruction in function.program.instructions:
            yield instruction
            for called in instruction.functions:
                yield from _instructions(called, seen)


def _can_travel(value: Any) -> bool:
    return isinstance(value, np.ndarray) and (
        value.dtype != object or all(type(item) is bytes for item in value.flat)
    )


_numbers = itertools.count()


def cpus() -> int:
    """Returns the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_IS_SUPPORTED: Final = hasattr(os, "memfd_create") and _IN_WORKER_PROCESS not in os.environ

pool = ProcessPool(min(cpus(), _MOST_PROCESSES) if _IS_SUPPORTED else 0)
"""The process pool of this process."""
atexit.register(pool.close)
