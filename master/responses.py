"""Encodes results and errors for the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import EncodeError, Message

from flowray.master.step import StepResult
from flowray.proto import errors
from flowray.proto.messages import config_pb2, master_pb2, stream_pb2
from flowray.proto.types import tensors
from flowray.proto.wire.signature import UnknownRunHandleError

# Clients refuse, at random, headers of over 8 KiB: with these limits the others fit beside it.
_MAX_HEADER_BYTES: Final = 6144
_MAX_STATUS_BYTES: Final = 3072  # HTTP/2 headers carry a gRPC status; TensorFlow cuts there, too


def serialized(message: Message) -> bytes:
    """Returns the bytes of ``message``; ResourceExhaustedError if it is too large for a message."""
    try:
        return message.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise errors.resource_exhausted(
            f"The result does not fit into a message: {error}"
        ) from None


def step_response(fetches: Sequence[str], result: StepResult) -> master_pb2.RunStepResponse:
    """Returns TensorFlow's response to a step that went well: tensors by name, each name once."""
    response = master_pb2.RunStepResponse()
    for name, value in dict(zip(fetches, result.tensors, strict=True)).items():
        response.tensor.add(name=name, tensor=tensors.encode(value))
    _add_metadata(response, result.metadata)
    return response


def step_error(error: errors.OpError) -> master_pb2.RunStepResponse:
    """Returns the response to a failed step whose client wants the error in the response."""
    response = master_pb2.RunStepResponse(
        status_code=error.error_code,  # type: ignore[arg-type]
        status_error_message=_utf8(error.message),
    )
    response.metadata.SetInParent()
    return response


def callable_response(result: StepResult) -> master_pb2.RunCallableResponse:
    """Returns the response to a call of a callable that went well."""
    response = master_pb2.RunCallableResponse(fetch=map(tensors.encode, result.tensors))
    _add_metadata(response, result.metadata)
    return response


def stream_result(number: int, result: StepResult) -> bytes:
    """Returns the response of the stream to a step, as bytes."""
    if result.error is not None:
        return stream_error(number, result.error)
    response = stream_pb2.StreamResponse(id=number)
    run = response.run
    run.SetInParent()
    try:
        for value in result.tensors:
            run.fetch.append(tensors.encode(value))
        if result.metadata is not None:
            run.metadata.CopyFrom(result.metadata)
        return serialized(response)
    except errors.OpError as error:
        return stream_error(number, error)


def stream_error(number: int, error: errors.OpError) -> bytes:
    """Returns the response of the stream to a request that failed, as bytes."""
    response = stream_pb2.StreamResponse(
        id=number,
        error_code=error.error_code,
        error_message=_utf8(error.message),
        unknown_run_handle=isinstance(error, UnknownRunHandleError),
    )
    return response.SerializeToString()


def status_text(text: str) -> str:
    """Returns ``text`` cut to what a gRPC status can hold."""
    data = text.encode(errors="replace")
    if len(data) <= _MAX_STATUS_BYTES and _size_as_header(data) <= _MAX_HEADER_BYTES:
        return data.decode()
    mark = " ... [truncated]"
    data = data[: _MAX_STATUS_BYTES - len(mark)]
    while _size_as_header(data) > _MAX_HEADER_BYTES - len(mark):
        data = data[: len(data) * 9 // 10]
    return data.decode(errors="ignore") + mark


def _add_metadata(
    response: master_pb2.RunStepResponse | master_pb2.RunCallableResponse,
    metadata: config_pb2.RunMetadata | None,
) -> None:
    if metadata is None:
        response.metadata.SetInParent()
    else:
        response.metadata.CopyFrom(metadata)


def _utf8(text: str) -> str:
    """Returns ``text`` as a proto can hold it: without lone surrogates."""
    return text.encode(errors="replace").decode()


def _size_as_header(data: bytes) -> int:
    """Returns the size that gRPC sends: three characters for what is not printable ASCII, and %."""
    return len(data) + 2 * sum(byte < 0x20 or byte > 0x7E or byte == 0x25 for byte in data)
