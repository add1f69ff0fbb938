"""The master on the wire: TensorFlow's MasterService and flowray's stream, over grpc.aio.

Decodes, calls the master, encodes; nothing else. A step that waits holds no thread. Whatever can
take long (graphs, first runs of a signature) goes to a few threads, so that it keeps no other
request waiting. The names in a RunStep of TensorFlow's client become a run signature here; the
stream (``stream.py``) has handles of prepared runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from flowray.master.master import Master
from flowray.master.responses import (
    callable_response,
    serialized,
    status_text,
    step_error,
    step_response,
)
from flowray.master.service_loop import ServiceLoop, Start, start_safely
from flowray.master.step import Step, StepResult
from flowray.master.stream import Stream
from flowray.proto import errors
from flowray.proto.messages import master_pb2
from flowray.proto.types import tensors
from flowray.proto.wire import service
from flowray.proto.wire.signature import RunSignature

_log = logging.getLogger(__name__)

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_GONE: Final = errors.cancelled("The client is gone or cancelled the call.")

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """The limits of a server."""

    max_message_bytes: int = -1
    """Larger requests get RESOURCE_EXHAUSTED; -1: no limit."""
    idle_session_seconds: float | None = None
    """Sessions that ran nothing for so long are closed; None: never. A session of flowray's own
    client lives as long as its connection."""
    unattached_session_seconds: float = 600.0
    """The time that a session of flowray's own client waits for the client's stream."""
    threads: int = 4
    """For graphs and first runs."""


class MasterService:
    """The handlers, for one event loop. ``serve`` makes a server of them."""

    def __init__(self, master: Master, options: ServiceOptions | None = None) -> None:
        self._master = master
        self._options = options or ServiceOptions()
        self._loop = ServiceLoop(self._options.threads)
        self._clients: dict[str, set[str]] = {}  # the open sessions of each own client
        self._streams: dict[str, int] = {}  # how many streams each own client has
        self._since: dict[str, float] = {}  # when a client was without a stream
        methods: dict[str, Callable[[Any, Context], Awaitable[Message]]] = {
            "CreateSession": self._create_session,
            "ExtendSession": self._extend_session,
            "PartialRunSetup": self._partial_run_setup,
            "RunStep": self._run_step,
            "CloseSession": self._close_session,
            "ListDevices": self._list_devices,
            "Reset": self._reset,
            "MakeCallable": self._make_callable,
            "RunCallable": self._run_callable,
            "ReleaseCallable": self._release_callable,
        }
        self._handlers = {
            name: grpc.unary_unary_rpc_method_handler(_unary(call, service.METHODS[name][0]))
            for name, call in methods.items()
        }

    def generic_handlers(self) -> list[grpc.GenericRpcHandler[Any, Any]]:
        """Returns the handlers for ``grpc.aio.Server.add_generic_rpc_handlers``."""
        stream = grpc.stream_stream_rpc_method_handler(self._stream)
        return [
            grpc.method_handlers_generic_handler(service.SERVICE, self._handlers),
            grpc.method_handlers_generic_handler(
                service.STREAM_SERVICE, {service.STREAM_METHOD: stream}
            ),
        ]

    def close(self) -> None:
        """Ends the threads of the service."""
        self._loop.close()

    async def sweep(self) -> None:
        """Closes sessions that nobody uses any more, for ever."""
        idle, unattached = (
            self._options.idle_session_seconds,
            self._options.unattached_session_seconds,
        )
        while True:
            await asyncio.sleep(min(30.0, unattached / 4, (idle or 120.0) / 4))
            now = time.monotonic()
            for client, since in list(self._since.items()):
                if now - since > unattached:
                    self._end_client(client)
            if idle is None:
                continue
            owned = {handle for handles in self._clients.values() for handle in handles}
            for handle, session in list(self._master.sessions.items()):
                if handle not in owned and session.is_idle and now - session.last_used > idle:
                    _log.info("closing session %s: unused for %.0f s", handle, idle)
                    self._close_quietly(handle)

    # Sessions

    async def _create_session(
        self, request: master_pb2.CreateSessionRequest, context: Context
    ) -> Message:
        creating = self._loop.in_thread(
            self._master.create_session, request.graph_def, request.config
        )
        try:
            handle = await asyncio.shield(creating)
        except asyncio.CancelledError:  # the client will never know the handle
            creating.add_done_callback(self._close_created)
            raise
        limit = self._options.max_message_bytes
        if limit >= 0:
            context.set_trailing_metadata(((service.LIMIT_METADATA, str(limit)),))
        client = _client_id(context)
        if client:
            self._clients.setdefault(client, set()).add(handle)
            if client not in self._streams:
                self._since.setdefault(client, time.monotonic())
        return master_pb2.CreateSessionResponse(session_handle=handle)

    async def _extend_session(
        self, request: master_pb2.ExtendSessionRequest, context: Context
    ) -> Message:
        version = await self._loop.in_thread(
            self._master.extend_session,
            request.session_handle,
            request.graph_def,
            request.current_graph_version,
        )
        return master_pb2.ExtendSessionResponse(new_graph_version=version)

    async def _close_session(
        self, request: master_pb2.CloseSessionRequest, context: Context
    ) -> Message:
        for handles in self._clients.values():
            handles.discard(request.session_handle)
        await self._loop.in_thread(self._master.close_session, request.session_handle)
        return master_pb2.CloseSessionResponse()

    async def _list_devices(
        self, request: master_pb2.ListDevicesRequest, context: Context
    ) -> Message:
        devices = self._master.list_devices(request.session_handle)
        return master_pb2.ListDevicesResponse(local_device=devices)

    async def _reset(self, request: master_pb2.ResetRequest, context: Context) -> Message:
        await self._loop.in_thread(self._master.reset, request.container)
        return master_pb2.ResetResponse()

    async def _partial_run_setup(
        self, request: master_pb2.PartialRunSetupRequest, context: Context
    ) -> Message:
        self._master.partial_run_setup(request.session_handle)
        return master_pb2.PartialRunSetupResponse()

    # Steps

    async def _run_step(self, request: master_pb2.RunStepRequest, context: Context) -> Message:
        try:
            signature, values = _signature(request)
            options = request.options if request.HasField("options") else None
            result = await self._unary_step(
                lambda done: self._master.start_step(
                    request.session_handle, signature, values, options, request.request_id, done
                ),
                is_quick=self._master.is_prepared(request.session_handle, signature),
            )
            if result.error is not None:
                raise result.error
            return step_response(request.fetch, result)
        except errors.OpError as error:
            if request.store_errors_in_response_body:
                return step_error(error)
            raise

    async def _make_callable(
        self, request: master_pb2.MakeCallableRequest, context: Context
    ) -> Message:
        handle = await self._loop.in_thread(
            self._master.make_callable,
            request.session_handle,
            request.options,
            request.request_id,
        )
        return master_pb2.MakeCallableResponse(handle=handle)

    async def _run_callable(
        self, request: master_pb2.RunCallableRequest, context: Context
    ) -> Message:
        values = [tensors.decode(proto) for proto in request.feed]
        result = await self._unary_step(
            lambda done: self._master.start_callable(
                request.session_handle, request.handle, values, request.request_id, done
            ),
            is_quick=True,
        )
        if result.error is not None:
            raise result.error
        return callable_response(result)

    async def _release_callable(
        self, request: master_pb2.ReleaseCallableRequest, context: Context
    ) -> Message:
        self._master.release_callable(request.session_handle, request.handle)
        return master_pb2.ReleaseCallableResponse()

    async def _unary_step(self, start: Start, is_quick: bool) -> StepResult:
        """Runs a step; cancels it when the client goes away, cancels, or its deadline passes."""
        results: asyncio.Future[StepResult] = self._loop.loop.create_future()

        def set_result(result: StepResult) -> None:
            if not results.done():
                results.set_result(result)

        done = self._loop.in_loop(set_result)
        step: Step | None = None
        try:
            if is_quick:
                step = start_safely(start, done)
            else:
                # Shielded: the step is needed also when the call is cancelled while it starts.
                starting = self._loop.in_thread(start_safely, start, done)
                try:
                    step = await asyncio.shield(starting)
                except asyncio.CancelledError:
                    starting.add_done_callback(_cancel_started)
                    raise
            return results.result() if results.done() else await results
        except asyncio.CancelledError:
            if step is not None:
                step.cancel(_GONE)
            raise

    # The stream

    async def _stream(self, requests: Any, context: Context) -> None:
        client = _client_id(context)
        if client:
            self._streams[client] = self._streams.get(client, 0) + 1
            self._since.pop(client, None)
        stream = Stream(self._master, self._loop, context)
        try:
            await stream.serve()
        finally:
            stream.end()
            if client:
                self._streams[client] -= 1
                if not self._streams[client]:
                    del self._streams[client]
                    self._end_client(client)

    def _end_client(self, client: str) -> None:
        self._since.pop(client, None)
        for handle in self._clients.pop(client, ()):
            self._close_quietly(handle)

    def _close_created(self, creating: asyncio.Future[str]) -> None:
        if not creating.cancelled() and creating.exception() is None:
            self._close_quietly(creating.result())

    def _close_quietly(self, handle: str) -> None:
        """Closes a session in a thread, if nobody else does."""

        def close() -> None:
            try:
                self._master.close_session(handle)
            except errors.AbortedError:
                _log.debug("session %s was closed already", handle)

        self._loop.threads.submit(close)


def _signature(request: master_pb2.RunStepRequest) -> tuple[RunSignature, list[Any]]:
    """Returns the signature of a RunStep and the fed arrays; OpError if it is malformed."""
    if request.partial_run_handle:
        raise errors.invalid_argument("Must run PartialRunSetup before performing partial runs")
    feeds = {item.name: tensors.decode(item.tensor) for item in request.feed}
    if len(feeds) != len(request.feed):
        names = [item.name for item in request.feed]
        twice = next(name for name in names if names.count(name) > 1)
        raise errors.invalid_argument(f'Endpoint "{twice}" fed more than once.')
    signature = RunSignature(tuple(feeds), tuple(request.fetch), tuple(request.target))
    return signature, list(feeds.values())


def _unary(
    call: Callable[[Any, Context], Awaitable[Message]], request_type: type[Message]
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    """Makes a handler over bytes: malformed ones get INTERNAL, as in TensorFlow."""

    async def handle(data: bytes, context: Context) -> bytes:
        try:
            request = request_type.FromString(data)
        except DecodeError:
            message = f"Unable to parse request: it is not a {request_type.DESCRIPTOR.name}."
            await context.abort(grpc.StatusCode.INTERNAL, message)
        try:
            return serialized(await call(request, context))
        except errors.OpError as error:
            code = _CODES.get(error.error_code, grpc.StatusCode.UNKNOWN)
            await context.abort(code, status_text(error.message))
        raise AssertionError("abort raises")

    return handle


def _client_id(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == service.CLIENT_ID_METADATA:
            return value if isinstance(value, str) else value.decode(errors="replace")
    return ""


def _cancel_started(starting: asyncio.Future[Step | None]) -> None:
    step = None if starting.cancelled() else starting.result()
    if step is not None:
        step.cancel(_GONE)
