"""The other end of flowray's own bidirectional stream, request by request."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import numpy as np

from flowray.proto import errors
from flowray.proto.messages import graph_pb2, master_pb2, stream_pb2
from flowray.proto.types import tensors
from flowray.proto.wire import service
from tests.wire.raw import SECONDS, RawClient, op_error

_PREPARE = 1 << 40
"""The id of requests to prepare a run."""


class StreamClient:
    """One stream, and a client id for it and for the sessions that belong to it."""

    def __init__(self, client: RawClient, client_id: str = "") -> None:
        self._client = client
        self.metadata = ((service.CLIENT_ID_METADATA, client_id),) if client_id else ()
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._received: deque[stream_pb2.StreamResponse] = deque()
        open_stream = client.channel.stream_stream(
            service.STREAM_PATH, response_deserializer=stream_pb2.StreamResponse.FromString
        )
        self.call: Any = open_stream(
            iter(self._requests.get, None),
            metadata=self.metadata,
            wait_for_ready=True,
            timeout=SECONDS,
        )

    def create(self, graph: graph_pb2.GraphDef) -> str:
        """A session that ends with the stream."""
        request = master_pb2.CreateSessionRequest(graph_def=graph)
        response = self._client.call("CreateSession", request, metadata=self.metadata)
        return str(response.session_handle)

    def prepare(self, session: str, *fetches: str, feeds: Sequence[str] = ("p:0",)) -> int:
        """The handle of a run; what is answered before it stays for ``receive``."""
        request = stream_pb2.PrepareRunRequest(session_handle=session, feed=feeds, fetch=fetches)
        self.send(_PREPARE, prepare_run=request)
        while (response := self._next()).id != _PREPARE:
            self._received.append(response)
        raise_error(response)
        return int(response.prepare_run.run_handle)

    def run(self, number: int, session: str, handle: int, *values: Any, **options: Any) -> None:
        """Sends a request to run a step; float32 is the dtype of values that are not arrays."""
        arrays = [v if isinstance(v, np.ndarray) else np.asarray(v, np.float32) for v in values]
        request = stream_pb2.RunRequest(
            session_handle=session, run_handle=handle, feed=map(tensors.encode, arrays), **options
        )
        self.send(number, run=request)

    def step(self, number: int, session: str, fetch: str, value: Any = 1) -> None:
        """Prepares a run of ``fetch`` that feeds p, and sends a request to run it."""
        self.run(number, session, self.prepare(session, fetch), value)

    def send(self, number: int, **body: Any) -> None:
        self.send_bytes(stream_pb2.StreamRequest(id=number, **body).SerializeToString())

    def send_bytes(self, data: bytes) -> None:
        self._requests.put(data)

    def receive(self) -> stream_pb2.StreamResponse:
        """The next response; OpError if the stream ended."""
        return self._received.popleft() if self._received else self._next()

    def _next(self) -> stream_pb2.StreamResponse:
        try:
            return next(self.call)
        except grpc.RpcError as error:
            raise op_error(error) from None

    def finish(self) -> None:
        """No more requests."""
        self._requests.put(None)

    def rest(self) -> Iterator[stream_pb2.StreamResponse]:
        """Returns the remaining responses, to the end."""
        return iter(self.call)

    def vanish(self) -> None:
        """As when the client's process dies."""
        self.call.cancel()
        self._requests.put(None)


def raise_error(response: stream_pb2.StreamResponse) -> None:
    """Raises the error that a response has."""
    if response.error_code:
        raise errors.from_code(response.error_code, response.error_message)
