"""The names of the RPCs: TensorFlow's MasterService, and flowray's stream beside it."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import Message

from flowray.proto.messages import master_pb2

SERVICE: Final = "tensorflow.MasterService"
"""On the wire; TensorFlow's .proto files say another package."""

METHODS: Final[dict[str, tuple[type[Message], type[Message]]]] = {
    "CreateSession": (master_pb2.CreateSessionRequest, master_pb2.CreateSessionResponse),
    "ExtendSession": (master_pb2.ExtendSessionRequest, master_pb2.ExtendSessionResponse),
    "PartialRunSetup": (master_pb2.PartialRunSetupRequest, master_pb2.PartialRunSetupResponse),
    "RunStep": (master_pb2.RunStepRequest, master_pb2.RunStepResponse),
    "CloseSession": (master_pb2.CloseSessionRequest, master_pb2.CloseSessionResponse),
    "ListDevices": (master_pb2.ListDevicesRequest, master_pb2.ListDevicesResponse),
    "Reset": (master_pb2.ResetRequest, master_pb2.ResetResponse),
    "MakeCallable": (master_pb2.MakeCallableRequest, master_pb2.MakeCallableResponse),
    "RunCallable": (master_pb2.RunCallableRequest, master_pb2.RunCallableResponse),
    "ReleaseCallable": (master_pb2.ReleaseCallableRequest, master_pb2.ReleaseCallableResponse),
}
"""The request and response class of every method; all are unary."""

STREAM_SERVICE: Final = "flowray.MasterService"
STREAM_METHOD: Final = "Stream"
STREAM_PATH: Final = f"/{STREAM_SERVICE}/{STREAM_METHOD}"
"""Bidirectional: StreamRequest in, StreamResponse out (stream.proto)."""

CLIENT_ID_METADATA: Final = "flowray-client-id"
"""The key of a call's metadata by which flowray's own client ties its sessions to its stream: the
same unique value goes with CreateSession and with the stream, and when the stream ends, however it
does, the master closes the sessions."""

LIMIT_METADATA: Final = "flowray-max-message-bytes"
"""The key of CreateSession's trailing metadata that tells how large a request may be, if there is a
limit. A larger one would break the stream, and with it the client's sessions."""

CHANNEL_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)
"""What both ends need: gRPC would refuse messages above 4 MB."""


def path(method: str) -> str:
    """The HTTP/2 path of a method of ``SERVICE``. KeyError if there is no such method."""
    METHODS[method]
    return f"/{SERVICE}/{method}"
