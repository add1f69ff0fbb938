"""The master on the wire: TensorFlow's MasterService and flowray's stream, over grpc.aio.

Decodes, calls the master, encodes; nothing else. A step that waits holds no thread. Whatever can
take long (graphs, first runs of a signature) goes to a few threads, so that it keeps no other
request waiting.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, EncodeError, Message

from flowray.master.master import Master
from flowray.master.step import Done, StepHandle, StepResult
from flowray.proto import errors
from flowray.proto.messages import master_pb2, stream_pb2
from flowray.proto.types import tensors
from flowray.proto.wire import service

_log = logging.getLogger(__name__)

# Clients refuse, at random, headers of over 8 KiB: with these the others have room enough.
_MAX_HEADER_BYTES: Final = 6144
_MAX_STATUS_BYTES: Final = 3072  # HTTP/2 headers carry a gRPC status; TensorFlow cuts there, too
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_GONE: Final = errors.cancelled("The client is gone or cancelled the call.")

_END_OF_STREAM: Final[Any] = grpc.aio.EOF  # type: ignore[attr-defined]

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What a server admits."""

    max_message_bytes: int = -1
    """Larger requests get RESOURCE_EXHAUSTED; -1: no limit."""
    idle_session_seconds: float | None = None
    """Sessions that ran nothing for so long are closed; None: never. A session of flowray's own
    client lives as long as its connection."""
    unattached_session_seconds: float = 600.0
    """How long a session of flowray's own client waits for the client's stream."""
    threads: int = 4
    """For graphs and first runs."""


class MasterService:
    """The handlers, for one event loop. ``serve`` makes a server of them."""

    def __init__(self, master: Master, options: ServiceOptions | None = None) -> None:
        self._master = master
        self._options = options or ServiceOptions()
        self._threads = ThreadPoolExecutor(self._options.threads, "flowray-service")
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
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
        """For ``grpc.aio.Server.add_generic_rpc_handlers``."""
        stream = grpc.stream_stream_rpc_method_handler(self._stream)
        return [
            grpc.method_handlers_generic_handler(service.SERVICE, self._handlers),
            grpc.method_handlers_generic_handler(
                service.STREAM_SERVICE, {service.STREAM_METHOD: stream}
            ),
        ]

    def close(self) -> None:
        self._threads.shutdown(wait=False)

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
        creating = self._loop.run_in_executor(
            self._threads, self._master.create_session, request.graph_def, request.config
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
        version = await self._in_thread(
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
        await self._in_thread(self._master.close_session, request.session_handle)
        return master_pb2.CloseSessionResponse()

    async def _list_devices(
        self, request: master_pb2.ListDevicesRequest, context: Context
    ) -> Message:
        devices = self._master.list_devices(request.session_handle)
        return master_pb2.ListDevicesResponse(local_device=devices)

    async def _reset(self, request: master_pb2.ResetRequest, context: Context) -> Message:
        await self._in_thread(self._master.reset, request.container)
        return master_pb2.ResetResponse()

    async def _partial_run_setup(
        self, request: master_pb2.PartialRunSetupRequest, context: Context
    ) -> Message:
        self._master.partial_run_setup(request.session_handle)
        return master_pb2.PartialRunSetupResponse()

    # Steps

    async def _run_step(self, request: master_pb2.RunStepRequest, context: Context) -> Message:
        try:
            result = await self._unary_step(self._step_starter(request))
            if result.error is not None:
                raise result.error
            return _step_response(request.fetch, result)
        except errors.OpError as error:
            if request.store_errors_in_response_body:
                return _step_error(error)
            raise

    async def _make_callable(
        self, request: master_pb2.MakeCallableRequest, context: Context
    ) -> Message:
        handle = await self._in_thread(
            self._master.make_callable,
            request.session_handle,
            request.options,
            request.request_id,
        )
        return master_pb2.MakeCallableResponse(handle=handle)

    async def _run_callable(
        self, request: master_pb2.RunCallableRequest, context: Context
    ) -> Message:
        result = await self._unary_step(self._callable_starter(request))
        if result.error is not None:
            raise result.error
        return _callable_response(result)

    async def _release_callable(
        self, request: master_pb2.ReleaseCallableRequest, context: Context
    ) -> Message:
        self._master.release_callable(request.session_handle, request.handle)
        return master_pb2.ReleaseCallableResponse()

    def _step_starter(self, request: master_pb2.RunStepRequest) -> _Starter:
        """Decodes the request; OpError if it is malformed."""
        if request.partial_run_handle:
            raise errors.invalid_argument("Must run PartialRunSetup before performing partial runs")
        feeds = {item.name: tensors.decode(item.tensor) for item in request.feed}
        if len(feeds) != len(request.feed):
            names = [item.name for item in request.feed]
            twice = next(name for name in names if names.count(name) > 1)
            raise errors.invalid_argument(f'Endpoint "{twice}" fed more than once.')
        handle, fetches, targets = request.session_handle, request.fetch, request.target
        options = request.options if request.HasField("options") else None
        return _Starter(
            lambda done: self._master.start_step(
                handle, feeds, fetches, targets, options, request.request_id, done
            ),
            self._master.is_planned(handle, tuple(feeds), fetches, targets),
        )

    def _callable_starter(self, request: master_pb2.RunCallableRequest) -> _Starter:
        feeds = [tensors.decode(proto) for proto in request.feed]
        return _Starter(
            lambda done: self._master.start_callable(
                request.session_handle, request.handle, feeds, request.request_id, done
            ),
            True,
        )

    async def _unary_step(self, starter: _Starter) -> StepResult:
        """Runs a step; cancels it when the client goes away, cancels, or its deadline passes."""
        results: asyncio.Future[StepResult] = self._loop.create_future()

        def set_result(result: StepResult) -> None:
            if not results.done():
                results.set_result(result)

        done = self._in_loop(set_result)
        step: StepHandle | None = None
        try:
            if starter.is_quick:
                step = starter.start(done)
            else:
                # Shielded: the handle is needed also when the call is cancelled while it starts.
                starting = self._loop.run_in_executor(self._threads, starter.start, done)
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
        stream = _Stream(self, context)
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

        self._threads.submit(close)

    # Threads

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await self._loop.run_in_executor(self._threads, function, *arguments)

    def _in_loop(self, done: Done) -> Done:
        """``done``, called in the event loop's thread wherever a worker calls it."""

        def call(result: StepResult) -> None:
            if threading.get_ident() == self._loop_thread:
                done(result)
            else:
                try:
                    self._loop.call_soon_threadsafe(done, result)
                except RuntimeError:  # the server stopped meanwhile
                    _log.debug("a step ended after its server")

        return call


@dataclass(frozen=True, slots=True)
class _Starter:
    """A decoded request to run a step."""

    call: Callable[[Done], StepHandle | None]
    is_quick: bool

    def start(self, done: Done) -> StepHandle | None:
        """Starts the step. Whatever goes wrong is answered, a bug as INTERNAL."""
        try:
            return self.call(done)
        except Exception as error:
            _log.exception("a step could not be started")
            done(StepResult(error=errors.internal(f"{type(error).__name__}: {error}")))
            return None


class _Stream:
    """One client's stream: its requests that are not answered yet, and the answers to be sent."""

    def __init__(self, owner: MasterService, context: Context) -> None:
        self._owner = owner
        self._context = context
        self._open: dict[int, StepHandle | None] = {}
        self._cancelled: set[int] = set()
        self._answers: list[bytes] = []
        self._writing: asyncio.Task[None] | None = None
        self._written = asyncio.Event()
        self._ended = False

    async def serve(self) -> None:
        while (data := await self._context.read()) is not _END_OF_STREAM:
            try:
                request = stream_pb2.StreamRequest.FromString(data)
            except DecodeError:
                await self._context.abort(
                    grpc.StatusCode.INTERNAL, "Unable to parse request: it is no StreamRequest."
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
            return
        if number in self._open:
            self._answer_error(
                number, errors.invalid_argument(f"Request {number} is not answered yet.")
            )
            return
        self._open[number] = None
        try:
            if which == "run_step":
                starter = self._owner._step_starter(request.run_step)
            elif which == "run_callable":
                starter = self._owner._callable_starter(request.run_callable)
            else:
                raise errors.invalid_argument("The request has no body.")
        except errors.OpError as error:
            self._finish(request, StepResult(error=error))
            return
        done = self._owner._in_loop(lambda result: self._finish(request, result))
        if starter.is_quick:
            self._started(number, starter.start(done))
            return
        starting = self._owner._loop.run_in_executor(self._owner._threads, starter.start, done)
        starting.add_done_callback(lambda future: self._started(number, future.result()))

    def _started(self, number: int, step: StepHandle | None) -> None:
        if number in self._open and step is not None:
            self._open[number] = step
        if step is not None and (self._ended or number in self._cancelled):
            step.cancel(_GONE)

    def _cancel(self, number: int) -> None:
        if number not in self._open:
            return
        step = self._open[number]
        if step is None:
            self._cancelled.add(number)  # it is still starting
        else:
            step.cancel(errors.cancelled("The client cancelled the step."))

    def _finish(self, request: stream_pb2.StreamRequest, result: StepResult) -> None:
        if self._ended:
            return
        number = request.id
        self._open.pop(number, None)
        self._cancelled.discard(number)
        error = result.error
        in_body = request.HasField("run_step") and request.run_step.store_errors_in_response_body
        response = stream_pb2.StreamResponse(id=number)
        try:
            if error is not None and not in_body:
                self._answer_error(number, error)
                return
            if error is not None:
                response.run_step.CopyFrom(_step_error(error))
            elif request.HasField("run_step"):
                _fill_step_response(response.run_step, request.run_step.fetch, result)
            else:
                response.run_callable.CopyFrom(_callable_response(result))
            self._answer(_serialized(response))
        except errors.OpError as failure:
            self._answer_error(number, failure)

    def _answer_error(self, number: int, error: errors.OpError) -> None:
        response = stream_pb2.StreamResponse(
            id=number, error_code=error.error_code, error_message=_utf8(error.message)
        )
        self._answer(response.SerializeToString())

    def _answer(self, data: bytes) -> None:
        self._answers.append(data)
        if self._writing is None:
            self._writing = self._owner._loop.create_task(self._write_all())

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


def _unary(
    call: Callable[[Any, Context], Awaitable[Message]], request_type: type[Message]
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    """A handler over bytes: malformed ones get INTERNAL (as TensorFlow's), errors their status."""

    async def handle(data: bytes, context: Context) -> bytes:
        try:
            request = request_type.FromString(data)
        except DecodeError:
            message = f"Unable to parse request: it is no {request_type.DESCRIPTOR.name}."
            await context.abort(grpc.StatusCode.INTERNAL, message)
        try:
            return _serialized(await call(request, context))
        except errors.OpError as error:
            code = _CODES.get(error.error_code, grpc.StatusCode.UNKNOWN)
            await context.abort(code, _shortened(error.message))
        raise AssertionError("abort raises")

    return handle


def _serialized(message: Message) -> bytes:
    try:
        return message.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise errors.resource_exhausted(
            f"The result does not fit into a message: {error}"
        ) from None


def _step_response(fetches: Sequence[str], result: StepResult) -> master_pb2.RunStepResponse:
    response = master_pb2.RunStepResponse()
    _fill_step_response(response, fetches, result)
    return response


def _fill_step_response(
    response: master_pb2.RunStepResponse, fetches: Sequence[str], result: StepResult
) -> None:
    for name, value in dict(zip(fetches, result.tensors, strict=True)).items():
        response.tensor.add(name=name, tensor=tensors.encode(value))
    if result.metadata is None:
        response.metadata.SetInParent()
    else:
        response.metadata.CopyFrom(result.metadata)


def _step_error(error: errors.OpError) -> master_pb2.RunStepResponse:
    response = master_pb2.RunStepResponse(
        status_code=error.error_code,  # type: ignore[arg-type]
        status_error_message=_utf8(error.message),
    )
    response.metadata.SetInParent()
    return response


def _callable_response(result: StepResult) -> master_pb2.RunCallableResponse:
    response = master_pb2.RunCallableResponse(fetch=[tensors.encode(t) for t in result.tensors])
    if result.metadata is None:
        response.metadata.SetInParent()
    else:
        response.metadata.CopyFrom(result.metadata)
    return response


def _utf8(text: str) -> str:
    """``text`` as a proto can hold it: without lone surrogates."""
    return text.encode(errors="replace").decode()


def _shortened(text: str) -> str:
    data = text.encode(errors="replace")
    if len(data) <= _MAX_STATUS_BYTES and _size_as_header(data) <= _MAX_HEADER_BYTES:
        return data.decode()
    mark = " ... [truncated]"
    data = data[: _MAX_STATUS_BYTES - len(mark)]
    while _size_as_header(data) > _MAX_HEADER_BYTES - len(mark):
        data = data[: len(data) * 9 // 10]
    return data.decode(errors="ignore") + mark


def _size_as_header(data: bytes) -> int:
    """gRPC writes what is not printable ASCII, and %, as three characters."""
    return len(data) + 2 * sum(byte < 0x20 or byte > 0x7E or byte == 0x25 for byte in data)


def _client_id(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == service.CLIENT_ID_METADATA:
            return value if isinstance(value, str) else value.decode(errors="replace")
    return ""


def _cancel_started(starting: asyncio.Future[StepHandle | None]) -> None:
    step = None if starting.cancelled() else starting.result()
    if step is not None:
        step.cancel(_GONE)


class MasterServer:
    """A running server; ``serve`` makes it, and, outside an event loop, ``ServerThread``."""

    def __init__(self, server: grpc.aio.Server, handlers: MasterService, port: int) -> None:
        self._server = server
        self._handlers = handlers
        self._sweeper = asyncio.get_running_loop().create_task(handlers.sweep())
        self.port = port

    async def wait(self) -> None:
        """Returns when the server has stopped."""
        await self._server.wait_for_termination()

    async def stop(self, grace: float | None = None) -> None:
        """Refuses new calls, and cancels those that run after ``grace`` seconds."""
        self._sweeper.cancel()
        await self._server.stop(grace)
        self._handlers.close()


async def serve(
    master: Master, address: str, options: ServiceOptions | None = None
) -> MasterServer:
    """Starts a server at "host:port"; port 0 takes any free one.

    Raises:
        OSError: the address cannot be bound.
    """
    options = options or ServiceOptions()
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", options.max_message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            # A client whose machine died closes no connection: ask now and then.
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ]
    )
    handlers = MasterService(master, options)
    server.add_generic_rpc_handlers(handlers.generic_handlers())
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"cannot listen at {address}: {error}") from None
    await server.start()
    return MasterServer(server, handlers, port)


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self.loop.run_forever, name="flowray-master", daemon=True
        )
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What ``coroutine`` returns, having run in the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def stop(self) -> None:
        """Ends the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class ServerThread:
    """A server in the event loop of a thread.

    Args:
        loop: the thread; one of its own, which ends with the server, if None.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self,
        master: Master,
        address: str,
        options: ServiceOptions | None = None,
        loop: LoopThread | None = None,
    ) -> None:
        self._owns_loop = loop is None
        self._loop = loop or LoopThread()
        try:
            self._server = self._loop.run(serve(master, address, options))
        except BaseException:
            self._end()
            raise
        self.port = self._server.port

    def stop(self, grace: float | None = None) -> None:
        """Stops the server."""
        self._loop.run(self._server.stop(grace))
        self._end()

    def join(self) -> None:
        """Returns when the server has stopped."""
        self._loop.run(self._server.wait())

    def _end(self) -> None:
        if self._owns_loop:
            self._loop.stop()
