"""The names of the RPCs: TensorFlow's MasterService, and flowray's stream beside it."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import Message

from flowray.proto.messages import master_pb2

SERVICE: Final = "tensorflow.MasterService"
"""The name on the wire. The package in TensorFlow's .proto files is another one."""

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
"""The request and response classes of all methods, which are unary."""

STREAM_SERVICE: Final = "flowray.MasterService"
STREAM_METHOD: Final = "Stream"
STREAM_PATH: Final = f"/{STREAM_SERVICE}/{STREAM_METHOD}"
"""The path of flowray's bidirectional stream of StreamRequest and StreamResponse."""

CLIENT_ID_METADATA: Final = "flowray-client-id"
"""The key of metadata by which flowray's own client ties its sessions to its stream. CreateSession
and the stream carry the same unique value. When the stream ends, for whatever reason, the master
closes the sessions."""

LIMIT_METADATA: Final = "flowray-max-message-bytes"
"""The key of CreateSession's trailing metadata that tells the largest size of a request, if there
is a limit. A larger request would break the stream, and with it the client's sessions."""

CHANNEL_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)
"""The options of both ends of a channel; by default gRPC refuses messages above 4 MB."""


def path(method: str) -> str:
    """Returns the HTTP/2 path of a method of ``SERVICE``. KeyError if there is no such method."""
    METHODS[method]
    return f"/{SERVICE}/{method}"
