"""The other end of flowray's own bidirectional stream, request by request."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import grpc

from flowray.proto import errors
from flowray.proto.messages import graph_pb2, master_pb2, stream_pb2
from flowray.proto.wire import service
from tests.wire.raw import SECONDS, RawClient, op_error


class StreamClient:
    """One stream, and a client id for it and for the sessions that belong to it."""

    def __init__(self, client: RawClient, client_id: str = "") -> None:
        self._client = client
        self.metadata = ((service.CLIENT_ID_METADATA, client_id),) if client_id else ()
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
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

    def send(self, number: int, **body: Any) -> None:
        self.send_bytes(stream_pb2.StreamRequest(id=number, **body).SerializeToString())

    def send_bytes(self, data: bytes) -> None:
        self._requests.put(data)

    def receive(self) -> stream_pb2.StreamResponse:
        """The next response; OpError if the stream ended."""
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
    """Raises the error that a response has, wherever it is."""
    if response.error_code:
        raise errors.from_code(response.error_code, response.error_message)
    if response.run_step.status_code:
        step = response.run_step
        raise errors.from_code(step.status_code, step.status_error_message)
