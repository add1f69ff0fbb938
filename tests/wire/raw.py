"""A client that speaks TensorFlow's protocol message by message, and well or badly on demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np

from flowray.proto import errors
from flowray.proto.messages import config_pb2, graph_pb2, master_pb2
from flowray.proto.types import tensors
from flowray.proto.wire import service

SECONDS = 60


class RawClient:
    """One channel to a master. Failures raise OpError with the code and text that came."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address, options=service.CHANNEL_OPTIONS)

    def close(self) -> None:
        self.channel.close()

    def bytes_call(self, method: str, data: bytes, **keywords: Any) -> bytes:
        """Any bytes to any method."""
        call = self.channel.unary_unary(f"/{service.SERVICE}/{method}")
        try:
            result = call(data, **{"timeout": SECONDS, "wait_for_ready": True, **keywords})
            assert isinstance(result, bytes)
            return result
        except grpc.RpcError as error:
            raise op_error(error) from None

    def call(self, method: str, request: Any, **keywords: Any) -> Any:
        """A request to its method."""
        response_type = service.METHODS[method][1]
        data = self.bytes_call(method, request.SerializeToString(), **keywords)
        return response_type.FromString(data)

    def start(self, method: str, request: Any, **keywords: Any) -> Any:
        """The same without waiting: a gRPC future."""
        request_type, response_type = service.METHODS[method]
        call = self.channel.unary_unary(
            service.path(method), request_type.SerializeToString, response_type.FromString
        )
        return call.future(request, timeout=SECONDS, wait_for_ready=True, **keywords)

    # What the methods take

    def create(self, graph: graph_pb2.GraphDef, **config: Any) -> str:
        """A session's handle."""
        request = master_pb2.CreateSessionRequest(
            graph_def=graph, config=config_pb2.ConfigProto(**config)
        )
        return str(self.call("CreateSession", request).session_handle)

    def extend(self, session: str, graph: graph_pb2.GraphDef, version: int = 0) -> int:
        request = master_pb2.ExtendSessionRequest(
            session_handle=session, graph_def=graph, current_graph_version=version
        )
        return int(self.call("ExtendSession", request).new_graph_version)

    def run(self, session: str, *fetches: str, **more: Any) -> list[Any]:
        """The fetched arrays, whatever order the response has them in. See ``step``."""
        response = self.call("RunStep", step(session, *fetches, **more))
        if response.status_code:
            raise errors.from_code(response.status_code, response.status_error_message)
        values = {item.name: tensors.decode(item.tensor) for item in response.tensor}
        assert sorted(values) == sorted(set(fetches))
        return [values[name] for name in fetches]

    def close_session(self, session: str) -> None:
        self.call("CloseSession", master_pb2.CloseSessionRequest(session_handle=session))


def step(
    session: str,
    *fetches: str,
    feeds: Mapping[str, Any] | None = None,
    targets: Sequence[str] = (),
    in_body: bool = True,
    **fields: Any,
) -> master_pb2.RunStepRequest:
    """A request to run a step; float32 is the dtype of feeds that are not arrays."""
    request = master_pb2.RunStepRequest(
        session_handle=session,
        fetch=fetches,
        target=targets,
        store_errors_in_response_body=in_body,
        **fields,
    )
    for name, value in (feeds or {}).items():
        array = value if isinstance(value, np.ndarray) else np.asarray(value, np.float32)
        request.feed.add(name=name, tensor=tensors.encode(array))
    return request


def op_error(error: grpc.RpcError) -> errors.OpError:
    """The error of a gRPC status."""
    assert isinstance(error, grpc.Call)
    return errors.from_code(error.code().value[0], error.details() or "")
