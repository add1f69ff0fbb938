"""Processes that call functions for the threads of a pipeline.

Most of what an element costs is Python, of which a process runs one line at a time, however many
threads it has. A helper is a process that is sent functions, and then elements, and interprets. It
ends with the process that started it, or when it was not asked anything for a while.
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

_LOOK_MILLISECONDS: Final = 500
"""How often who waits for an answer looks whether it is still wanted."""
_MEMORY_BYTES: Final = 32 << 20
_SMALL_BYTES: Final = 4096
_MOST_HELPERS: Final = 32  # of 70 MB each; more than this process can keep busy
_MOST_FUNCTIONS: Final = 64  # that a helper keeps, captures included
_IN_HELPER: Final = "FLOWRAY_HELPER"
"""Set in helpers, which have none themselves."""


_STAY_HERE: Final = {
    types_pb2.DT_INVALID,  # it depends on an attribute
    types_pb2.DT_RESOURCE,
    types_pb2.DT_VARIANT,
}
"""Types of arguments and results that do not travel."""


class HelperLostError(Exception):
    """The process is gone; what it was asked has no effect, and can be done again."""


class Line:
    """Messages between a process and its helper, of which one at a time is on its way.

    Large ones go through memory that both see: a socket would copy them twice as often, in pieces
    that fit its buffer.

    Args:
        memory: the descriptor of that memory.
    """

    def __init__(self, line: socket.socket, memory: int) -> None:
        self._line = line
        self._memory = memoryview(mmap.mmap(memory, _MEMORY_BYTES))

    def send(self, message: Any) -> None:
        """Raises LaneClosedError: the other end is gone."""
        parts = lane.pack(message)
        size = sum(map(len, parts))
        if _SMALL_BYTES < size <= _MEMORY_BYTES:
            at = 0
            for part in parts:
                self._memory[at : at + len(part)] = part
                at += len(part)
            parts = lane.pack(size)
        lane.write_frame(self._line, parts)

    def receive(self) -> Any:
        """Raises LaneClosedError: the other end is gone."""
        message = lane.unpack(lane.read_frame(self._line))
        if type(message) is not int:
            return message
        frame = np.array(self._memory[:message])  # what comes next is written over it
        return lane.unpack(lane.body(frame.data))


@dataclass(frozen=True, slots=True)
class Shared:
    """A function that helpers can call: it makes arrays of arrays, and nothing else."""

    stage: Stage
    captures: Sequence[Any]
    """The last inputs of the stage; the same in all calls."""


class Helper:
    """One process, which one thread at a time may ask.

    Raises:
        HelperLostError: it did not get so far as to serve.
    """

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        memory = os.memfd_create("flowray-helper")
        os.ftruncate(memory, _MEMORY_BYTES)
        try:
            self._line = Line(self._socket, memory)
            self._process = _started(theirs.fileno(), memory)
        finally:
            theirs.close()
            os.close(memory)
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN)
        self._known: set[str] = set()
        self._spares = Spares()
        try:
            self._ask(None)
        except HelperLostError:
            self.close()
            raise

    def each(self, shared: Shared, elements: Sequence[Element]) -> Sequence[Answer]:
        """What the function makes of each element.

        Raises:
            HelperLostError: the process died, or nobody waits for its answer any more.
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
        """The answer. What is asked next must wait for it: both go through the same memory."""
        cancellation = current_cancellation()
        try:
            self._line.send(request)
            while not self._readable.poll(_LOOK_MILLISECONDS):
                if cancellation.cancelled:
                    raise HelperLostError("its answer is not wanted")
            return self._line.receive()
        except lane.LaneClosedError as closed:
            raise HelperLostError(str(closed)) from None

    def kill(self) -> None:
        """Ends the process, whatever it does. Who waits for its answer gets HelperLostError."""
        self._process.kill()

    def close(self) -> None:
        """Ends the process, for the last one who uses it."""
        self.kill()
        self._process.wait()
        self._socket.close()


def _started(*descriptors: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "flowray.worker.worker_process", *map(str, descriptors)],
        pass_fds=descriptors,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is meant for who started it
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "OPENBLAS_NUM_THREADS": "1",
            _IN_HELPER: "1",
        },
    )


class Helpers:
    """Up to ``limit`` helpers for all threads of this process, started when there is work."""

    def __init__(self, limit: int) -> None:
        self._begin(limit)
        # A forked process must not talk to the helpers of its parent.
        os.register_at_fork(after_in_child=lambda: self._begin(limit))

    def _begin(self, limit: int) -> None:
        self._limit = limit
        self._free: list[Helper] = []
        self._all: list[Helper] = []
        self._is_starting = False
        self._is_closed = False
        self._changed = threading.Condition()

    def each(self, shared: Shared, elements: Sequence[Element]) -> Sequence[Answer] | None:
        """As ``Helper.each``; None if the caller has to do it, since none is there (yet)."""
        helper = self._take()
        if helper is None:
            return None
        try:
            return helper.each(shared, elements)
        except HelperLostError as lost:
            logger.debug("a helper is gone: %s", lost)
            self._drop(helper)
            helper = None
            current_cancellation().check()
            return None
        finally:
            if helper is not None:
                self._give_back(helper)

    def close(self) -> None:
        """Ends them all, and for good. Who waits for one of them does the work himself."""
        with self._changed:
            self._is_closed = True
            free, self._free = self._free, []
            busy = [helper for helper in self._all if helper not in free]
            self._changed.notify_all()
        for helper in free:
            helper.close()
        for helper in busy:
            helper.kill()

    def _drop(self, helper: Helper) -> None:
        with self._changed:
            self._all.remove(helper)
            self._changed.notify()
        helper.close()

    def _give_back(self, helper: Helper) -> None:
        with self._changed:
            is_late = self._is_closed
            if not is_late:
                self._free.append(helper)
                self._changed.notify()
        if is_late:
            helper.close()

    def _take(self) -> Helper | None:
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
            threading.Thread(target=self._start, name="flowray-helpers", daemon=True).start()

    def _can_take(self) -> bool:
        return bool(self._free) or self._is_closed or len(self._all) != self._limit

    def _start(self) -> None:
        try:
            helper = Helper()
        except (HelperLostError, OSError) as error:
            logger.warning("pipelines get no process to help (%s): this one does it all", error)
            with self._changed:
                self._limit = len(self._all)  # and never another try
            return
        with self._changed:
            self._is_starting = False
            self._all.append(helper)
        self._give_back(helper)


def shared(function: Function, captures: Sequence[Any]) -> Shared | None:
    """The function for helpers; None if only this process can call it."""
    if function.name not in function.definitions:
        return None
    signature = function.definitions[function.name].signature
    types = {arg.type for arg in (*signature.input_arg, *signature.output_arg)}
    if types & _STAY_HERE or any(i.op.stateful for i in _instructions(function, set())):
        return None
    if any(True for _ in function.resources()) or not all(map(_can_travel, captures)):
        return None
    stage = function.program.stage
    definitions = graph_pb2.FunctionDefLibrary(function=function.definitions.values())
    graph = graph_pb2.GraphDef(node=stage.graph.node, library=definitions)
    handle = f"{function.name}/{next(_numbers)}"
    return Shared(replace(stage, handle=handle, graph=graph), captures)


def _instructions(function: Function, seen: set[Function]) -> Iterator[Instruction]:
    """Those of the function and of the functions that it calls."""
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
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_CAN_HELP: Final = hasattr(os, "memfd_create") and _IN_HELPER not in os.environ

helpers = Helpers(min(cpus(), _MOST_HELPERS) if _CAN_HELP else 0)
atexit.register(helpers.close)
