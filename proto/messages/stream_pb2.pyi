from flowray.proto.messages import config_pb2 as _config_pb2
from flowray.proto.messages import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StreamRequest(_message.Message):
    __slots__ = ("id", "prepare_run", "run", "cancel")
    ID_FIELD_NUMBER: _ClassVar[int]
    PREPARE_RUN_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    id: int
    prepare_run: PrepareRunRequest
    run: RunRequest
    cancel: int
    def __init__(self, id: _Optional[int] = ..., prepare_run: _Optional[_Union[PrepareRunRequest, _Mapping[str, object]]] = ..., run: _Optional[_Union[RunRequest, _Mapping[str, object]]] = ..., cancel: _Optional[int] = ...) -> None: ...

class StreamResponse(_message.Message):
    __slots__ = ("id", "prepare_run", "run", "error_code", "error_message", "unknown_run_handle")
    ID_FIELD_NUMBER: _ClassVar[int]
    PREPARE_RUN_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_RUN_HANDLE_FIELD_NUMBER: _ClassVar[int]
    id: int
    prepare_run: PrepareRunResponse
    run: RunResponse
    error_code: int
    error_message: str
    unknown_run_handle: bool
    def __init__(self, id: _Optional[int] = ..., prepare_run: _Optional[_Union[PrepareRunResponse, _Mapping[str, object]]] = ..., run: _Optional[_Union[RunResponse, _Mapping[str, object]]] = ..., error_code: _Optional[int] = ..., error_message: _Optional[str] = ..., unknown_run_handle: bool = ...) -> None: ...

class PrepareRunRequest(_message.Message):
    __slots__ = ("session_handle", "feed", "fetch", "target")
    SESSION_HANDLE_FIELD_NUMBER: _ClassVar[int]
    FEED_FIELD_NUMBER: _ClassVar[int]
    FETCH_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    session_handle: str
    feed: _containers.RepeatedScalarFieldContainer[str]
    fetch: _containers.RepeatedScalarFieldContainer[str]
    target: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, session_handle: _Optional[str] = ..., feed: _Optional[_Iterable[str]] = ..., fetch: _Optional[_Iterable[str]] = ..., target: _Optional[_Iterable[str]] = ...) -> None: ...

class PrepareRunResponse(_message.Message):
    __slots__ = ("run_handle",)
    RUN_HANDLE_FIELD_NUMBER: _ClassVar[int]
    run_handle: int
    def __init__(self, run_handle: _Optional[int] = ...) -> None: ...

class RunRequest(_message.Message):
    __slots__ = ("session_handle", "run_handle", "feed", "options")
    SESSION_HANDLE_FIELD_NUMBER: _ClassVar[int]
    RUN_HANDLE_FIELD_NUMBER: _ClassVar[int]
    FEED_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    session_handle: str
    run_handle: int
    feed: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.TensorProto]
    options: _config_pb2.RunOptions
    def __init__(self, session_handle: _Optional[str] = ..., run_handle: _Optional[int] = ..., feed: _Optional[_Iterable[_Union[_tensor_pb2.TensorProto, _Mapping[str, object]]]] = ..., options: _Optional[_Union[_config_pb2.RunOptions, _Mapping[str, object]]] = ...) -> None: ...

class RunResponse(_message.Message):
    __slots__ = ("fetch", "metadata")
    FETCH_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    fetch: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.TensorProto]
    metadata: _config_pb2.RunMetadata
    def __init__(self, fetch: _Optional[_Iterable[_Union[_tensor_pb2.TensorProto, _Mapping[str, object]]]] = ..., metadata: _Optional[_Union[_config_pb2.RunMetadata, _Mapping[str, object]]] = ...) -> None: ...
