from flowray.proto.messages import master_pb2 as _master_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StreamRequest(_message.Message):
    __slots__ = ("id", "run_step", "run_callable", "cancel")
    ID_FIELD_NUMBER: _ClassVar[int]
    RUN_STEP_FIELD_NUMBER: _ClassVar[int]
    RUN_CALLABLE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    id: int
    run_step: _master_pb2.RunStepRequest
    run_callable: _master_pb2.RunCallableRequest
    cancel: int
    def __init__(self, id: _Optional[int] = ..., run_step: _Optional[_Union[_master_pb2.RunStepRequest, _Mapping[str, object]]] = ..., run_callable: _Optional[_Union[_master_pb2.RunCallableRequest, _Mapping[str, object]]] = ..., cancel: _Optional[int] = ...) -> None: ...

class StreamResponse(_message.Message):
    __slots__ = ("id", "run_step", "run_callable", "error_code", "error_message")
    ID_FIELD_NUMBER: _ClassVar[int]
    RUN_STEP_FIELD_NUMBER: _ClassVar[int]
    RUN_CALLABLE_FIELD_NUMBER: _ClassVar[int]
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    id: int
    run_step: _master_pb2.RunStepResponse
    run_callable: _master_pb2.RunCallableResponse
    error_code: int
    error_message: str
    def __init__(self, id: _Optional[int] = ..., run_step: _Optional[_Union[_master_pb2.RunStepResponse, _Mapping[str, object]]] = ..., run_callable: _Optional[_Union[_master_pb2.RunCallableResponse, _Mapping[str, object]]] = ..., error_code: _Optional[int] = ..., error_message: _Optional[str] = ...) -> None: ...
