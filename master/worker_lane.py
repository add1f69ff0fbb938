"""The lanes to a worker's process: messages, answers, and the news of its death.

A lane belongs to one incarnation of the worker. What is sent over it is either answered, exactly
once, or fails with UnavailableError when the process dies.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from flowray.master.worker_api import StageResult
from flowray.proto import errors
from flowray.proto.wire import lane

logger = logging.getLogger("flowray.master")

Done = Callable[[StageResult], None]

# What is sent in the caller's thread: more would make it wait for the copy.
_INLINE_BYTES = 1 << 18


class Lane(ABC):
    """Sends messages to one incarnation of a worker; ``on_death`` is called once, when it is gone.

    Args:
        death: the message of the errors that a death gives.
        on_death: called after everything in flight has failed, from the thread that noticed.
    """

    def __init__(self, death: str, on_death: Callable[[], None]) -> None:
        self._death = death
        self._on_death = on_death
        self._requests = itertools.count(1)
        self._pending: dict[int, Done] = {}
        self._lock = threading.Lock()
        self.dead = False

    def run(self, blocking: bool, arguments: tuple[Any, ...], done: Done) -> None:
        """Runs a stage: handle, step id, inputs, trace.

        A ``blocking`` one delays no other message.
        """
        request = next(self._requests)
        parts = lane.pack((request, "run_blocking" if blocking else "run", *arguments))
        with self._lock:
            alive = not self.dead
            if alive:
                self._pending[request] = done
        if alive:
            self._send(parts, blocking)
        else:
            done(StageResult(error=errors.unavailable(self._death)))

    def tell(self, method: str, *arguments: Any) -> None:
        """Sends a message without an answer, served in order with the others."""
        if not self.dead:
            self._send(lane.pack((0, method, *arguments)), False)

    def cancel(self, step_id: int) -> None:
        """Cancels a step; overtakes everything else."""
        if not self.dead:
            self._send_urgent(lane.pack((0, "cancel", step_id)))

    def close(self) -> None:
        """Ends the lane as the worker's death would, without telling ``on_death``."""
        self._on_death = _nothing
        self._die("closed")

    @abstractmethod
    def _send(self, parts: Sequence[lane.Buffer], blocking: bool) -> None: ...

    @abstractmethod
    def _send_urgent(self, parts: Sequence[lane.Buffer]) -> None: ...

    @abstractmethod
    def _close(self) -> None: ...

    def _answered(self, frame: lane.Buffer) -> None:
        request, outputs, error, stats = lane.unpack(frame)
        done = self._pending.pop(request, None)
        if done is not None:
            _call(done, StageResult(outputs, error, stats))

    def _die(self, reason: object) -> None:
        with self._lock:
            if self.dead:
                return
            self.dead = True
            pending = list(self._pending.values())
            self._pending.clear()
        logger.debug("lane ended: %s", reason)
        self._close()
        for done in pending:
            _call(done, StageResult(error=errors.unavailable(self._death)))
        self._on_death()


class SocketLane(Lane):
    """Two connections: one for ordered messages, one for cancelling.

    Args:
        loop: the event loop that reads the answers, and so calls back; a thread of the lane's own
            if None. With the loop that also answers the client, a step wakes one thread less.
    """

    def __init__(
        self,
        connection: socket.socket,
        urgent: socket.socket,
        death: str,
        on_death: Callable[[], None],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(death, on_death)
        self._connection, self._urgent = connection, urgent
        self._loop = loop
        self._frames = lane.FrameReader(connection)
        self._backlog: deque[lane.Buffer] = deque()
        self._sending = threading.Condition(threading.Lock())
        threading.Thread(target=self._send_backlog, name="flowray-lane", daemon=True).start()
        if loop is None:
            threading.Thread(target=self._receive, name="flowray-lane", daemon=True).start()
        else:
            loop.call_soon_threadsafe(loop.add_reader, connection, self._receive_ready)

    def _send(self, parts: Sequence[lane.Buffer], blocking: bool) -> None:
        with self._sending:
            rest: Sequence[lane.Buffer] = parts
            if not self._backlog and sum(map(len, parts)) <= _INLINE_BYTES:
                data = b"".join(parts)
                try:
                    sent = self._connection.send(data, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    sent = 0
                except OSError:
                    return  # the receiving thread sees it, too, and tells everybody
                if sent == len(data):
                    return
                rest = [memoryview(data)[sent:]]
            self._backlog.extend(rest)
            self._sending.notify()

    def _send_backlog(self) -> None:
        """Sends what the socket would not take at once. Its first entry is the one being sent."""
        while True:
            with self._sending:
                while not self._backlog:
                    if self.dead:
                        return
                    self._sending.wait()
                part = self._backlog[0]
            try:
                self._connection.sendall(part)
            except OSError as error:
                logger.debug("sending to a worker: %s", error)
                return
            with self._sending:
                if self._backlog:  # else the lane was closed meanwhile
                    self._backlog.popleft()

    def _send_urgent(self, parts: Sequence[lane.Buffer]) -> None:
        try:
            lane.write_frame(self._urgent, parts)
        except lane.LaneClosedError as error:
            logger.debug("cancelling on a dead worker: %s", error)

    def _receive(self) -> None:
        try:
            while True:
                self._answered(lane.read_frame(self._connection))
        except lane.LaneClosedError as error:
            self._die(error)
        except Exception as error:
            logger.exception("an answer of a worker cannot be read")
            self._die(error)

    def _receive_ready(self) -> None:
        """Reads answers; the event loop calls it when there is something to read."""
        try:
            for frame in self._frames.frames():
                self._answered(frame)
            return
        except lane.LaneClosedError as error:
            reason: Exception = error
        except Exception as error:
            logger.exception("an answer of a worker cannot be read")
            reason = error
        assert self._loop is not None
        self._loop.remove_reader(self._connection)
        self._die(reason)
        self._connection.close()

    def _close(self) -> None:
        for connection in (self._connection, self._urgent):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                logger.debug("closing a lane: %s", error)
            # The loop still watches what it reads; the end wakes it, and it closes.
            if self._loop is None or connection is not self._connection or self._loop.is_closed():
                connection.close()
        with self._sending:
            self._backlog.clear()
            self._sending.notify()


class CallLane(Lane):
    """Ordinary actor calls, for workers without a connection.

    Slower, and a death shows only in a call.
    """

    def __init__(
        self, actor: Any, incarnation: str, death: str, on_death: Callable[[], None]
    ) -> None:
        super().__init__(death, on_death)
        self._actor, self._incarnation = actor, incarnation
        self._last_in_order: Any = None

    def _send(self, parts: Sequence[lane.Buffer], blocking: bool) -> None:
        if blocking:
            # Beside the others, but after the registration of its stage.
            self._call(parts, "blocking", self._last_in_order)
        else:
            self._last_in_order = self._call(parts, "lane", None)

    def _send_urgent(self, parts: Sequence[lane.Buffer]) -> None:
        self._call(parts, "control", None)

    def _call(self, parts: Sequence[lane.Buffer], group: str, after: Any) -> Any:
        ref = self._actor.call.options(concurrency_group=group).remote(
            self._incarnation, lane.join(parts), after
        )
        ref.future().add_done_callback(self._called)
        return ref

    def _called(self, future: Any) -> None:
        error = future.exception()
        if error is None:
            self._answered(future.result())
        else:
            self._die(error)

    def _close(self) -> None:
        self._last_in_order = None


def _call(done: Done, result: StageResult) -> None:
    try:
        done(result)
    except Exception:
        logger.exception("the callback of a stage failed")


def _nothing() -> None:
    """Ignores the death of a closed lane."""
