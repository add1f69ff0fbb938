"""The transports between a session and its master: calls in this process, or gRPC.

All errors come as ``flowray.proto.errors.OpError`` with TensorFlow's code.
"""

from __future__ import annotations

import itertools
import logging
import os
import queue
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any, Protocol

import grpc
from google.protobuf.message import EncodeError

from flowray.client.session import forgotten
from flowray.proto import errors
from flowray.proto.messages import config_pb2, graph_pb2, master_pb2, stream_pb2
from flowray.proto.types import tensors
from flowray.proto.wire import service
from flowray.proto.wire.signature import RunSignature, UnknownRunHandleError

_log = logging.getLogger(__name__)

StepResults = tuple[Sequence[Any], "config_pb2.RunMetadata | None"]

TARGET_VARIABLE = "FLOWRAY_TARGET"
"""The environment variable with the target of sessions that name none; "" is this process."""

_CLOSE_SECONDS = 5.0
"""How long closing a session waits for a master that does not answer."""

# Protobuf's limit, and so that of a master that names none.
_MAX_MESSAGE_BYTES = 2**31 - 1


class Transport(Protocol):
    """The interface of a session to its master. Thread-safe."""

    def create_session(self, graph_def: graph_pb2.GraphDef, config: config_pb2.ConfigProto) -> str:
        """Creates a session and returns its handle."""
        ...

    def extend_session(self, handle: str, graph_def: graph_pb2.GraphDef, version: int) -> int:
        """Adds nodes to the graph of a session and returns its new version."""
        ...

    def prepare_run(self, handle: str, signature: RunSignature) -> int:
        """Prepares a run of a session and returns the run's handle."""
        ...

    def run(
        self,
        handle: str,
        run_handle: int,
        values: Sequence[Any],
        options: config_pb2.RunOptions | None,
    ) -> StepResults:
        """Runs a step of a prepared run. Values are in the order of its signature."""
        ...

    def list_devices(self, handle: str) -> Sequence[config_pb2.DeviceAttributes]:
        """Returns the devices of the master's workers."""
        ...

    def close_session(self, handle: str) -> None:
        """Closes the session ``handle``; its running steps are cancelled."""
        ...

    def reset(self, containers: Sequence[str]) -> None:
        """Clears the named resource containers."""
        ...

    def close(self) -> None:
        """Closes the connection; calls in flight fail."""
        ...

    def close_all(self, seconds: float) -> None:
        """Closes the open sessions and the connection within about ``seconds``."""
        ...


def default_target() -> str:
    """Returns the target of sessions that name none."""
    return os.environ.get(TARGET_VARIABLE, "")


def connect(target: str, config: config_pb2.ConfigProto) -> Transport:
    """Returns the transport for ``target``: "" for this process, ``grpc://host:port`` for a master.

    Raises:
        NotFoundError: another kind of target.
        InvalidArgumentError: no host and port.
    """
    transport = _connect(target, config)
    forgotten.watch(transport)
    return transport


def _connect(target: str, config: config_pb2.ConfigProto) -> Transport:
    if target in ("", "local"):
        from flowray.deploy.in_process import InProcessTransport  # noqa: PLC0415 - deploy composes

        return InProcessTransport(config)
    if not target.startswith("grpc://"):
        raise errors.not_found(
            f'No session factory registered for the given session options: {{target: "{target}"}} '
            'Registered factories are {"", "grpc://host:port"}.'
        )
    address = target.removeprefix("grpc://")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise errors.invalid_argument(f'Could not interpret "{address}" as a host-port pair.')
    return GrpcTransport(address, config)


class GrpcTransport:
    """The transport over gRPC.

    Control calls are unary; steps go over one bidirectional stream, which takes half the time.
    Every call except CloseSession waits, up to its deadline, until the server is up.
    """

    def __init__(self, address: str, config: config_pb2.ConfigProto) -> None:
        self._timeout_ms = config.operation_timeout_in_ms
        self._channel = grpc.insecure_channel(
            address, options=[*service.CHANNEL_OPTIONS, ("grpc.max_reconnect_backoff_ms", 1000)]
        )
        self._metadata = ((service.CLIENT_ID_METADATA, uuid.uuid4().hex),)
        self._calls: dict[str, grpc.UnaryUnaryMultiCallable[Any, Any]] = {}
        self._stream: _Stream | None = None
        self._max_message_bytes = _MAX_MESSAGE_BYTES
        self._lock = threading.Lock()
        self._sessions: set[str] = set()  # the open ones

    def create_session(self, graph_def: graph_pb2.GraphDef, config: config_pb2.ConfigProto) -> str:
        request = master_pb2.CreateSessionRequest(graph_def=graph_def, config=config)
        handle = str(self._call("CreateSession", request).session_handle)
        self._sessions.add(handle)
        return handle

    def extend_session(self, handle: str, graph_def: graph_pb2.GraphDef, version: int) -> int:
        request = master_pb2.ExtendSessionRequest(
            session_handle=handle, graph_def=graph_def, current_graph_version=version
        )
        return int(self._call("ExtendSession", request).new_graph_version)

    def prepare_run(self, handle: str, signature: RunSignature) -> int:
        """Prepares a run of a session; returns the run's handle, which is good until the session
        ends."""
        request = stream_pb2.StreamRequest()
        prepare = request.prepare_run
        prepare.session_handle = handle
        prepare.feed.extend(signature.feeds)
        prepare.fetch.extend(signature.fetches)
        prepare.target.extend(signature.targets)
        return int(self._step_call(request, self._timeout_ms).prepare_run.run_handle)

    def run(
        self,
        handle: str,
        run_handle: int,
        values: Sequence[Any],
        options: config_pb2.RunOptions | None,
    ) -> StepResults:
        """Runs a step of a prepared run. Values go and come in the order of its signature.

        Raises:
            UnknownRunHandleError: the session has no such run; nothing was run.
            OpError: the step's error.
        """
        request = stream_pb2.StreamRequest()
        run = request.run
        run.session_handle = handle
        run.run_handle = run_handle
        for value in values:
            run.feed.append(tensors.encode(value))
        timeout_ms = self._timeout_ms
        if options is not None:
            run.options.CopyFrom(options)
            timeout_ms = options.timeout_in_ms or timeout_ms
        if timeout_ms:
            run.options.timeout_in_ms = timeout_ms
        result = self._step_call(request, timeout_ms).run
        return [tensors.make_ndarray(value) for value in result.fetch], result.metadata

    def _step_call(
        self, request: stream_pb2.StreamRequest, timeout_ms: int
    ) -> stream_pb2.StreamResponse:
        """Returns the response to a request over the stream; 0 ms wait without end."""
        timeout = timeout_ms / 1000 if timeout_ms else None
        try:
            response = self._open_stream().call(request, timeout, self._max_message_bytes)
        except grpc.RpcError as error:
            raise _op_error(error) from None
        if response.unknown_run_handle:
            raise UnknownRunHandleError(response.error_message)
        if response.error_code:
            raise errors.from_code(response.error_code, response.error_message)
        return response

    def list_devices(self, handle: str) -> Sequence[config_pb2.DeviceAttributes]:
        request = master_pb2.ListDevicesRequest(session_handle=handle)
        response = self._call("ListDevices", request)
        return [*response.local_device, *response.remote_device]

    def close_session(self, handle: str) -> None:
        """Closes the session. A master that is gone or does not answer is not told: the
        end of the connection closes the session there, if anything is left of it."""
        self._close_session(handle, self._timeout_ms / 1000 or _CLOSE_SECONDS)

    def _close_session(self, handle: str, seconds: float) -> None:
        self._sessions.discard(handle)
        request = master_pb2.CloseSessionRequest(session_handle=handle)
        try:
            self._call("CloseSession", request, timeout=seconds, wait_for_ready=False)
        except (errors.UnavailableError, errors.DeadlineExceededError) as error:
            _log.info("session %s was not closed by its master: %s", handle, error.message)

    def reset(self, containers: Sequence[str]) -> None:
        self._call("Reset", master_pb2.ResetRequest(container=containers))

    def close(self) -> None:
        with self._lock:
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        self._channel.close()

    def close_all(self, seconds: float) -> None:
        """Closes the open sessions and the connection within about ``seconds``; never raises."""
        deadline = time.monotonic() + seconds
        for handle in list(self._sessions):
            try:
                self._close_session(handle, max(deadline - time.monotonic(), 0.01))
            except errors.OpError as error:  # it was closed already, by a Reset for instance
                _log.debug("a forgotten session: %s", error.message)
        self.close()

    def _call(
        self,
        method: str,
        request: Any,
        timeout: float | None = None,
        wait_for_ready: bool = True,
    ) -> Any:
        """Makes a unary call; ``timeout`` replaces that of the session's options."""
        call = self._calls.get(method)
        if call is None:
            request_type, response_type = service.METHODS[method]
            call = self._calls[method] = self._channel.unary_unary(
                service.path(method),
                request_serializer=request_type.SerializeToString,
                response_deserializer=response_type.FromString,
            )
        try:
            response, details = call.with_call(
                request,
                timeout=timeout or self._timeout_ms / 1000 or None,
                wait_for_ready=wait_for_ready,
                metadata=self._metadata,
            )
        except grpc.RpcError as error:
            raise _op_error(error) from None
        except ValueError as error:  # the channel was closed by another thread
            raise errors.cancelled(str(error)) from None
        for key, value in details.trailing_metadata():
            if key == service.LIMIT_METADATA:
                self._max_message_bytes = int(value)
        return response

    def _open_stream(self) -> _Stream:
        with self._lock:
            if self._stream is None or self._stream.broken:
                self._stream = _Stream(self._channel, self._metadata)
            return self._stream


class _Stream:
    """The bidirectional stream: requests of any thread, answered in any order.

    Whoever waits for a response and finds nobody reading reads himself, for all: a thread that only
    reads would have to be woken for every response, and then wake who waits.
    """

    def __init__(self, channel: grpc.Channel, metadata: Any) -> None:
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._open: set[int] = set()
        self._responses: dict[int, stream_pb2.StreamResponse] = {}
        """Those that came while others waited."""
        self._ids = itertools.count(1)
        self._changed = threading.Condition()
        self._is_read = False
        self._error: Exception | None = None
        start = channel.stream_stream(
            service.STREAM_PATH,
            request_serializer=bytes,
            response_deserializer=stream_pb2.StreamResponse.FromString,
        )
        self._call = start(iter(self._requests.get, None), metadata=metadata, wait_for_ready=True)

    @property
    def broken(self) -> bool:
        return self._error is not None

    def call(
        self, request: stream_pb2.StreamRequest, timeout: float | None, limit: int
    ) -> stream_pb2.StreamResponse:
        """Sends a request and waits for its response.

        Raises:
            grpc.RpcError: the stream broke.
            ResourceExhaustedError: the request has more than ``limit`` bytes.
            DeadlineExceededError: no response within ``timeout`` seconds; the step is cancelled.
        """
        number = request.id = next(self._ids)
        data = _serialized(request, limit)
        with self._changed:
            if self._error is not None:
                raise self._error
            self._open.add(number)
        self._requests.put(data)
        try:
            if self._wait(number, timeout):
                self._read_until(number)
            return self._responses[number]
        except BaseException as error:
            # Also Ctrl-C in the waiting thread: the step must not go on without a listener.
            if number not in self._responses and not self.broken:
                self._cancel(number)
            if isinstance(error, TimeoutError):
                raise errors.deadline_exceeded("Deadline Exceeded") from None
            raise
        finally:
            with self._changed:
                self._open.discard(number)
                self._responses.pop(number, None)

    def _wait(self, number: int, timeout: float | None) -> bool:
        """Waits for a response; True if no thread reads, so that the caller has to."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while number not in self._responses:
                if self._error is not None:
                    raise self._error
                if not self._is_read:
                    self._is_read = True
                    if deadline is None:
                        return True
                    # Reading cannot be given up when the time is over.
                    threading.Thread(
                        target=self._read_for_all, name="flowray-stream", daemon=True
                    ).start()
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError
                self._changed.wait(left)
            return False

    def _read_until(self, number: int | None) -> None:
        """Reads responses, until that of ``number`` has come."""
        try:
            for response in self._call:
                with self._changed:
                    if response.id in self._open:
                        self._responses[response.id] = response
                        if response.id != number:
                            self._changed.notify_all()
                if response.id == number:
                    return
            self._error = errors.unavailable("the master closed the connection")
        except grpc.RpcError as error:
            self._error = _op_error(error)
        finally:
            with self._changed:
                self._is_read = False
                self._changed.notify_all()
        raise self._error

    def _read_for_all(self) -> None:
        try:
            self._read_until(None)
        except errors.OpError as error:
            _log.debug("the stream ended: %s", error)

    def _cancel(self, number: int) -> None:
        cancel = stream_pb2.StreamRequest(id=number, cancel=number)
        self._requests.put(cancel.SerializeToString())

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()  # type: ignore[no-untyped-call]


def _serialized(request: stream_pb2.StreamRequest, limit: int) -> bytes:
    """Serializes the request; one that is too large for the master would end the stream."""
    try:
        data = request.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise errors.resource_exhausted(f"The request does not fit a message: {error}") from None
    if len(data) > limit:
        raise errors.resource_exhausted(
            f"The request is larger than the master takes ({len(data)} vs. {limit} bytes)."
        )
    return data


def _op_error(error: grpc.RpcError) -> errors.OpError:
    """Returns the OpError of a gRPC status: the codes are the same numbers."""
    code = getattr(error, "code", None)
    status = code() if callable(code) else None
    details = getattr(error, "details", None)
    text = details() if callable(details) else str(error)
    if status is None:
        return errors.unknown(text or repr(error))
    return errors.from_code(status.value[0], text or status.name)
