"""The stream of flowray's own client: prepares runs, and runs them by their handles."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from flowray.master.master import Master
from flowray.master.responses import stream_error, stream_result
from flowray.master.service_loop import ServiceLoop, start_safely
from flowray.master.step import Step, StepResult
from flowray.proto import errors
from flowray.proto.messages import stream_pb2
from flowray.proto.types import tensors
from flowray.proto.wire.signature import RunSignature

_END_OF_STREAM: Final[Any] = grpc.aio.EOF  # type: ignore[attr-defined]
_GONE: Final = errors.cancelled("The client is gone or cancelled the call.")


class Stream:
    """One client's stream: its requests that are not answered yet, and the answers to be sent.

    Preparing a run takes a thread, since it can take long; steps hold none while they wait.
    """

    def __init__(
        self, master: Master, loop: ServiceLoop, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        self._master = master
        self._loop = loop
        self._context = context
        self._open: dict[int, Step | None] = {}
        """By the request's id; None for one that has no step (yet)."""
        self._answers: list[bytes] = []
        self._writing: asyncio.Task[None] | None = None
        self._written = asyncio.Event()
        self._ended = False

    async def serve(self) -> None:
        """Serves the requests, until the client sends no more and all are answered."""
        while (data := await self._context.read()) is not _END_OF_STREAM:
            try:
                request = stream_pb2.StreamRequest.FromString(data)
            except DecodeError:
                await self._context.abort(
                    grpc.StatusCode.INTERNAL, "Unable to parse request: it is not a StreamRequest."
                )
            self._take(request)
        while self._open or self._writing is not None:  # half-closed: that is still answered
            self._written.clear()
            await self._written.wait()

    def end(self) -> None:
        """Cancels what is not answered."""
        self._ended = True
        for step in list(self._open.values()):
            if step is not None:
                step.cancel(_GONE)
        self._open.clear()

    def _take(self, request: stream_pb2.StreamRequest) -> None:
        number = request.id
        which = request.WhichOneof("body")
        if which == "cancel":
            self._cancel(request.cancel)
        elif number in self._open:
            error = errors.invalid_argument(f"Request {number} is not answered yet.")
            self._send(stream_error(number, error))
        else:
            self._open[number] = None
            if which == "run":
                self._run(number, request.run)
            elif which == "prepare_run":
                self._prepare(number, request.prepare_run)
            else:
                error = errors.invalid_argument("The request has no body.")
                self._answer(number, stream_error(number, error))

    def _run(self, number: int, request: stream_pb2.RunRequest) -> None:
        try:
            values = [tensors.decode(proto) for proto in request.feed]
        except errors.OpError as error:
            self._answer(number, stream_error(number, error))
            return
        options = request.options if request.HasField("options") else None
        step = start_safely(
            lambda done: self._master.start_run(
                request.session_handle, request.run_handle, values, options, done
            ),
            self._loop.in_loop(lambda result: self._finish(number, result)),
        )
        if number in self._open:
            self._open[number] = step

    def _finish(self, number: int, result: StepResult) -> None:
        if not self._ended:
            self._answer(number, stream_result(number, result))

    def _prepare(self, number: int, request: stream_pb2.PrepareRunRequest) -> None:
        signature = RunSignature(tuple(request.feed), tuple(request.fetch), tuple(request.target))
        preparing = self._loop.in_thread(
            self._master.prepare_run, request.session_handle, signature
        )
        preparing.add_done_callback(lambda future: self._prepared(number, future))

    def _prepared(self, number: int, preparing: asyncio.Future[int]) -> None:
        if self._ended:
            return
        failure = preparing.exception()
        if failure is None:
            response = stream_pb2.StreamResponse(id=number)
            response.prepare_run.run_handle = preparing.result()
            self._answer(number, response.SerializeToString())
            return
        if not isinstance(failure, errors.OpError):
            failure = errors.internal(f"{type(failure).__name__}: {failure}")
        self._answer(number, stream_error(number, failure))

    def _cancel(self, number: int) -> None:
        step = self._open.get(number)
        if step is not None:
            step.cancel(errors.cancelled("The client cancelled the step."))

    def _answer(self, number: int, data: bytes) -> None:
        self._open.pop(number, None)
        self._send(data)

    def _send(self, data: bytes) -> None:
        self._answers.append(data)
        if self._writing is None:
            self._writing = self._loop.loop.create_task(self._write_all())

    async def _write_all(self) -> None:
        try:
            while self._answers:
                await self._context.write(self._answers.pop(0))
        except (grpc.RpcError, asyncio.InvalidStateError, RuntimeError):
            # The client went away; ``serve`` notices, too, and ends the stream.
            self._answers.clear()
        finally:
            self._writing = None
            self._written.set()
