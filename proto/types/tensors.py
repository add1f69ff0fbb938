"""Tensors between numpy and the wire.

``encode`` and ``decode`` are the codec of every step's feeds and fetches. On the way out a value is
always in ``tensor_content``, strings too, as TensorFlow's own clients and servers send it; on the
way in all forms of TensorProto are read. ``make_tensor_proto`` and ``make_ndarray`` are TensorFlow
1's public functions: the first one infers dtypes of Python values and writes small values as typed
lists.

In numpy a string tensor is an object array of bytes, a resource or variant tensor an object array
of ``ResourceHandleProto`` or ``VariantTensorDataProto``.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import DecodeError

from flowray.proto import errors
from flowray.proto.messages.tensor_pb2 import (
    ResourceHandleProto,
    TensorProto,
    TensorShapeProto,
    VariantTensorDataProto,
)
from flowray.proto.types import dtypes, varint
from flowray.proto.types.dtypes import BY_ENUM, DType
from flowray.proto.types.shapes import Dimension, TensorShape, as_shape, format_shape

if TYPE_CHECKING:
    from flowray.proto.messages.types_pb2 import DataType

Array = np.ndarray[Any, np.dtype[Any]]

_MAX_BYTES = 2**31 - 1  # of a protocol buffer

_STRING, _RESOURCE, _VARIANT = (
    dtypes.string.as_datatype_enum,
    dtypes.resource.as_datatype_enum,
    dtypes.variant.as_datatype_enum,
)
# The types of the quick way. bfloat16 is not among them: asking for its numpy type loads ml_dtypes.
_QUICK = [
    (dtype.as_datatype_enum, dtype.np_dtype)
    for dtype in dtypes.ALL - {dtypes.bfloat16, dtypes.string}
    if dtype.np_dtype is not None
]
_ENUM_OF = {np_dtype: enum for enum, np_dtype in _QUICK}
_NUMPY_OF = {enum: (np_dtype, np_dtype.itemsize) for enum, np_dtype in _QUICK}
_SCALAR = TensorShapeProto()


# The codec


def encode(array: Any, dtype: DType | None = None) -> TensorProto:
    """Returns the TensorProto of a numpy array, or of anything that ``np.asarray`` takes.

    ``dtype`` is the dtype of an object array's elements (by default string, unless they are
    protos). Other arrays are converted to it if they lose neither kind nor sign (``same_kind``); an
    array of integers becomes quantized unchanged. A reference dtype means its base. Arrays of
    numpy's fixed-width strings and ``str`` elements become UTF-8 bytes.

    Raises:
        InvalidArgumentError: no dtype fits, the array cannot become ``dtype``, or it is larger than
            the 2 GB that a message can hold.
    """
    if type(array) is not np.ndarray:
        array = np.asarray(array)
    np_dtype = array.dtype
    enum = _ENUM_OF.get(np_dtype)
    # A dtype without a numpy type must not be compared: numpy reads None as float64.
    if dtype is not None and (dtype.np_dtype is None or dtype.np_dtype != np_dtype):
        enum = None
    if enum is None:
        array, enum = _prepare(array, dtype)
    if enum == _STRING:
        content = _join(_string_bytes(array))
    elif enum in (_RESOURCE, _VARIANT):
        content = _join([element.SerializeToString() for element in array.ravel()])
    else:
        if array.nbytes > _MAX_BYTES:
            raise errors.invalid_argument(
                f"A tensor of {array.nbytes} bytes does not fit into a message of 2 GB"
            )
        content = array.tobytes()
    proto = TensorProto(dtype=enum, tensor_shape=_SCALAR, tensor_content=content)
    if array.ndim:
        add = proto.tensor_shape.dim.add
        for size in array.shape:
            add(size=size)
    return proto


def decode(proto: TensorProto) -> Array:
    """Returns the numpy array of a TensorProto; often read-only, as it shares the message's bytes.

    If a typed list is too short, its last value repeats. An empty list means zeros or empty
    strings. Values beyond the number of elements are ignored.

    Raises:
        InvalidArgumentError: the dtype is unknown, the shape is not fully known, or the content
            does not have the size that they need.
        ResourceExhaustedError: there is no memory for the shape.
    """
    enum = proto.dtype
    content = proto.tensor_content
    shape = tuple([dim.size for dim in proto.tensor_shape.dim])
    known = _NUMPY_OF.get(enum)
    if content and known is not None:
        np_dtype, itemsize = known
        if len(content) == math.prod(shape) * itemsize and (
            min(shape) >= 0 if shape else not proto.tensor_shape.unknown_rank
        ):
            return np.ndarray(shape, np_dtype, content)
    return _decode_other(proto, enum, shape, content)


def _decode_other(proto: TensorProto, enum: int, shape: tuple[int, ...], content: bytes) -> Array:
    """Decodes a tensor that is not a well-formed numeric ``tensor_content``."""
    dtype = BY_ENUM.get(enum)
    if dtype is None:
        raise errors.invalid_argument(f"Invalid TensorProto: unknown data type {enum}")
    dtype = dtype.base_dtype
    if proto.tensor_shape.unknown_rank or (shape and min(shape) < 0):
        known = (
            None if proto.tensor_shape.unknown_rank else tuple(d if d >= 0 else None for d in shape)
        )
        raise errors.invalid_argument(
            f"Invalid TensorProto: shape {format_shape(known)} is not fully defined"
        )
    count = math.prod(shape)
    try:
        if dtype.as_datatype_enum in (_STRING, _RESOURCE, _VARIANT):
            return _objects(proto, dtype, shape, count, content)
        np_dtype = dtype.np_dtype
        assert np_dtype is not None
        if content:
            needed = count * np_dtype.itemsize
            if len(content) != needed:
                raise errors.invalid_argument(
                    f"Invalid TensorProto: tensor_content has {len(content)} bytes, but dtype "
                    f"{dtype.name} and shape {format_shape(shape)} need {needed}"
                )
            return np.ndarray(shape, np_dtype, content)
        values = _typed_values(proto, dtype)
        size = len(values)
        if size == 0 or count == 0:
            return np.zeros(shape, np_dtype)
        if size < count:
            if size == 1:
                return np.full(shape, values[0], np_dtype)
            result = np.empty(count, np_dtype)
            result[:size] = values
            result[size:] = values[-1]
            return result.reshape(shape)
        return values[:count].reshape(shape)
    except (MemoryError, OverflowError, ValueError) as error:
        # OverflowError, ValueError: more elements than numpy can count.
        raise errors.resource_exhausted(
            f"OOM when allocating tensor with shape{format_shape(shape)} and type {dtype.name}"
        ) from error


def string_bytes(element: Any) -> bytes:
    """Returns the bytes of an element of a string tensor, given as bytes or as text.

    Raises:
        InternalError: it is neither, or text that UTF-8 does not have.
    """
    if type(element) is bytes:
        return element
    if isinstance(element, bytes):
        return bytes(element)
    if isinstance(element, str):
        try:
            return element.encode()
        except UnicodeEncodeError:
            raise errors.internal("Unable to convert element to UTF-8") from None
    kind = type(element)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    raise errors.internal(f"Unsupported object type {module}{kind.__name__}")


def _prepare(array: Array, dtype: DType | None) -> tuple[Array, DataType]:
    """Returns the array to encode and the enum of its dtype, for arrays that need a conversion."""
    np_dtype = array.dtype
    if dtype is None:
        if np_dtype.kind == "O":
            first = array.flat[0] if array.size else None
            if isinstance(first, ResourceHandleProto):
                return _of_protos(array, ResourceHandleProto), _RESOURCE
            if isinstance(first, VariantTensorDataProto):
                return _of_protos(array, VariantTensorDataProto), _VARIANT
            return array, _STRING
        if np_dtype.kind in "SU":
            return array, _STRING
        try:
            dtype = dtypes.as_dtype(np_dtype)
        except TypeError:
            raise errors.invalid_argument(f"There is no tensor of numpy dtype {np_dtype}") from None
    enum = dtype.base_dtype.as_datatype_enum
    if enum == _STRING:
        if np_dtype.kind not in "OSU":
            raise errors.invalid_argument(f"An array of {np_dtype} is not a tensor of strings")
        return array, enum
    if enum == _RESOURCE:
        return _of_protos(array, ResourceHandleProto), enum
    if enum == _VARIANT:
        return _of_protos(array, VariantTensorDataProto), enum
    wanted = dtype.np_dtype
    assert wanted is not None
    if wanted.names is not None and np_dtype == wanted[0]:
        return np.ascontiguousarray(array).view(wanted).reshape(array.shape), enum
    if np_dtype.newbyteorder("=") == wanted or np.can_cast(np_dtype, wanted, "same_kind"):
        return array.astype(wanted, copy=False), enum
    raise errors.invalid_argument(f"An array of {np_dtype} cannot become a tensor of {dtype.name}")


def _of_protos(array: Array, message: type[Any]) -> Array:
    for element in array.ravel():
        if not isinstance(element, message):
            raise errors.invalid_argument(
                f"Expected {message.__name__}, got {type(element).__name__}"
            )
    return array


def _string_bytes(array: Array) -> list[bytes]:
    """Returns the elements of a string array in order, as bytes."""
    values: list[Any] = array.ravel().tolist()
    for i, value in enumerate(values):
        if type(value) is not bytes:
            if isinstance(value, str):
                values[i] = value.encode()
            elif isinstance(value, (bytes, bytearray, memoryview)):
                values[i] = bytes(value)
            else:
                raise errors.invalid_argument(f"Expected binary or unicode string, got {value!r}")
    return values


def _join(values: Sequence[bytes]) -> bytes:
    """Returns the lengths as varints, then the values: the form of strings in tensor_content."""
    return b"".join((varint.encode_all(map(len, values)), *values))


def _split(content: bytes, count: int) -> list[bytes]:
    """Splits ``count`` joined strings. InvalidArgumentError if there are more or fewer."""
    try:
        lengths, position = varint.decode_all(content, 0, count)
    except errors.DataLossError:
        raise _malformed(content, count) from None
    values = []
    for length in lengths:
        end = position + length
        values.append(content[position:end])
        position = end
    if position != len(content):
        raise _malformed(content, count)
    return values


def _malformed(content: bytes, count: int) -> errors.InvalidArgumentError:
    return errors.invalid_argument(
        f"Invalid TensorProto: the {len(content)} bytes of tensor_content are not {count} values"
    )


def _objects(
    proto: TensorProto, dtype: DType, shape: tuple[int, ...], count: int, content: bytes
) -> Array:
    """Returns the object array of a string, resource or variant tensor."""
    values: list[Any]
    if dtype is dtypes.string:
        filler: Any = b""
        values = _split(content, count) if content else list(proto.string_val)
        if len(values) == count:
            return np.array(values, np.object_).reshape(shape)
    else:
        message: type[Any] = (
            ResourceHandleProto if dtype is dtypes.resource else VariantTensorDataProto
        )
        filler = message()
        if content:
            try:
                values = [message.FromString(item) for item in _split(content, count)]
            except DecodeError as error:
                raise errors.invalid_argument(f"Invalid TensorProto: {error}") from None
        elif dtype is dtypes.resource:
            values = list(proto.resource_handle_val)
        else:
            values = list(proto.variant_val)
    result = np.empty(count, np.object_)
    size = min(len(values), count)
    # Element by element: numpy would look into protos for sequences.
    for i in range(size):
        result[i] = values[i]
    if size < count:
        # Assigned through a 0-d array for the same reason.
        last = np.empty((), np.object_)
        last[()] = values[-1] if values else filler
        result[size:] = last
    return result.reshape(shape)


def _typed_values(proto: TensorProto, dtype: DType) -> Array:
    """Returns the values of the typed list that belongs to ``dtype``, a numeric one."""
    np_dtype = dtype.np_dtype
    assert np_dtype is not None
    if dtype is dtypes.float32:
        return np.array(proto.float_val[:], np_dtype)
    if dtype is dtypes.float64:
        return np.array(proto.double_val[:], np_dtype)
    if dtype is dtypes.int32:
        return np.array(proto.int_val[:], np_dtype)
    if dtype is dtypes.int64:
        return np.array(proto.int64_val[:], np_dtype)
    if dtype is dtypes.bool:
        return np.array(proto.bool_val[:], np_dtype)
    if dtype is dtypes.uint32:
        return np.array(proto.uint32_val[:], np_dtype)
    if dtype is dtypes.uint64:
        return np.array(proto.uint64_val[:], np_dtype)
    if dtype is dtypes.float16 or dtype is dtypes.bfloat16:
        return np.array(proto.half_val[:], np.int32).astype(np.uint16).view(np_dtype)
    if dtype is dtypes.complex64 or dtype is dtypes.complex128:
        narrow = dtype is dtypes.complex64
        parts = np.array(
            proto.scomplex_val[:] if narrow else proto.dcomplex_val[:],
            np.float32 if narrow else np.float64,
        )
        return parts[: len(parts) // 2 * 2].view(np_dtype)
    # The small integers, and the quantized types, which are stored as integers.
    storage = np_dtype if np_dtype.names is None else np_dtype[0]
    return np.array(proto.int_val[:], np.int32).astype(storage).view(np_dtype)


# TensorFlow 1's public functions


def make_tensor_proto(
    values: Any,
    dtype: Any = None,
    shape: Any = None,
    verify_shape: bool = False,
    allow_broadcast: bool = False,
) -> TensorProto:
    """Returns the TensorProto of a Python value, numpy array or scalar: ``tf.make_tensor_proto``.

    Without ``dtype``, Python floats become float32, ints int32 (int64 if one does not fit), str and
    bytes string; numpy values keep their dtype. With ``dtype``, Python values must fit it (ints may
    become floats, but nothing becomes a bool or a string), and numpy values are cast. ``shape`` may
    have more elements than there are values: the last value repeats. With ``allow_broadcast`` only
    a single value repeats, with ``verify_shape`` no value does.

    Raises:
        TypeError: a value does not fit ``dtype`` or has no dtype at all, or the shape is not
            ``shape`` where ``verify_shape`` is set.
        ValueError: a value is None, ragged, larger than 2 GB, or has more elements than ``shape``.
    """
    if isinstance(values, TensorProto):
        return values
    wanted = None if dtype is None else dtypes.as_dtype(dtype).base_dtype
    dims = (
        None
        if shape is None
        else [int(dim) for dim in as_shape(shape).as_list() if dim is not None]
    )
    if shape is not None and not as_shape(shape).is_fully_defined():
        raise ValueError(f"Shape {as_shape(shape)} is not fully defined")
    array, wanted = _to_array(values, wanted, dims)
    result_shape = list(array.shape) if dims is None else dims
    count = math.prod(result_shape)
    if dims is not None and list(array.shape) != dims:
        if verify_shape or (allow_broadcast and array.shape not in ((), (1,))):
            raise TypeError(f"Expected Tensor's shape: {tuple(dims)}, got {array.shape}.")
        if array.size > count:
            raise ValueError(
                f"Too many elements provided. Needed at most {count}, but received {array.size}"
            )
    proto = TensorProto(dtype=wanted.as_datatype_enum, tensor_shape=_SCALAR)
    for size in result_shape:
        proto.tensor_shape.dim.add(size=size)
    if wanted is dtypes.string:
        proto.string_val.extend(array.ravel().tolist())
    elif array.nbytes > _MAX_BYTES:
        raise ValueError("Cannot create a tensor proto whose content is larger than 2GB.")
    elif array.size == count > 1:
        proto.tensor_content = array.tobytes()
    elif array.size:
        _append_typed(proto, wanted, array.ravel())
    return proto


def make_ndarray(tensor: TensorProto) -> Array:
    """Returns the numpy array of a TensorProto, writable: ``tf.make_ndarray``.

    Raises:
        InvalidArgumentError, ResourceExhaustedError: as ``decode``.
    """
    array = decode(tensor)
    return array if array.flags.writeable else array.copy()


def _append_typed(proto: TensorProto, dtype: DType, values: Array) -> None:
    """Appends ``values``, which have one dimension, to the typed list of ``dtype``."""
    if dtype is dtypes.float32:
        proto.float_val.extend(values.tolist())
    elif dtype is dtypes.float64:
        proto.double_val.extend(values.tolist())
    elif dtype is dtypes.int64:
        proto.int64_val.extend(values.tolist())
    elif dtype is dtypes.bool:
        proto.bool_val.extend(values.tolist())
    elif dtype is dtypes.uint32:
        proto.uint32_val.extend(values.tolist())
    elif dtype is dtypes.uint64:
        proto.uint64_val.extend(values.tolist())
    elif dtype is dtypes.float16 or dtype is dtypes.bfloat16:
        proto.half_val.extend(values.view(np.uint16).tolist())
    elif dtype is dtypes.complex64:
        proto.scomplex_val.extend(values.view(np.float32).tolist())
    elif dtype is dtypes.complex128:
        proto.dcomplex_val.extend(values.view(np.float64).tolist())
    else:
        names = values.dtype.names
        proto.int_val.extend((values if names is None else values[names[0]]).tolist())


def _to_array(values: Any, dtype: DType | None, dims: list[int] | None) -> tuple[Array, DType]:
    """Returns the values as a contiguous array of the inferred or wanted dtype."""
    if values is None:
        raise ValueError("None values not supported.")
    if isinstance(values, TensorShape):
        values = values.as_list()
    elif isinstance(values, Dimension):
        values = values.value
    if not isinstance(values, (np.ndarray, np.generic)) and hasattr(values, "__array__"):
        values = np.asarray(values)
    if isinstance(values, (np.ndarray, np.generic)):
        return _from_numpy(np.asarray(values), dtype)
    if dims is not None and math.prod(dims) == 0:
        # TensorFlow does not look at the values if the tensor is empty.
        dtype = dtype or dtypes.float32
        return np.empty(dims, dtype.np_dtype), dtype
    return _from_python(values, dtype)


def _from_numpy(array: Array, dtype: DType | None) -> tuple[Array, DType]:
    if dtype is None:
        dtype = dtypes.as_dtype(array.dtype)
    if dtype is dtypes.string:
        strings = np.empty(array.size, np.object_)
        for i, value in enumerate(array.ravel().tolist()):
            strings[i] = _as_bytes(value)
        return strings.reshape(array.shape), dtype
    if dtype.np_dtype is None:
        raise TypeError(f"Unrecognized data type: {dtype.name}")
    if array.dtype.names is None and dtype.np_dtype.names is not None:
        array = array.astype(dtype.np_dtype[0]).view(dtype.np_dtype)
    return np.asarray(array, dtype.np_dtype, order="C"), dtype


def _from_python(values: Any, dtype: DType | None) -> tuple[Array, DType]:
    """Returns the array of a scalar, or of lists and tuples of scalars."""
    if dtype in dtypes.QUANTIZED:
        return _from_tuples(values, dtype)
    try:
        array = np.array(_plain(values))
    except ValueError:
        raise ValueError(f"Argument must be a dense tensor: {values!r}") from None
    if array.dtype.kind in "SU" or (dtype is dtypes.string and array.size):
        return _from_strings(values, array.shape, dtype)
    _check_leaves(values, array, dtype)
    if dtype is None:
        if array.dtype == np.float64:
            dtype = dtypes.float32
        elif array.dtype == np.int64:
            narrow = array.astype(np.int32)
            dtype = dtypes.int32 if np.array_equal(narrow, array) else dtypes.int64
        else:
            dtype = dtypes.as_dtype(array.dtype)
    # Integers that do not fit wrap around, as in TensorFlow.
    return array.astype(dtype.np_dtype), dtype


def _plain(values: Any) -> Any:
    """Returns ``values`` with Dimensions replaced by their numbers."""
    if isinstance(values, (list, tuple)):
        for value in values:
            if isinstance(value, (list, tuple, Dimension, TensorShape)):
                return [_plain(item) for item in values]
        return values
    if isinstance(values, Dimension):
        return values.value
    return values.as_list() if isinstance(values, TensorShape) else values


def _check_leaves(values: Any, array: Array, dtype: DType | None) -> None:
    """Raises TypeError if a value does not fit ``dtype``; for None, if it has no dtype at all."""
    kind = array.dtype.kind
    if array.size == 0:
        return
    if dtype is None:
        if kind not in "biufcV":
            raise _unconvertible(values)
        if kind == "V":
            dtypes.as_dtype(array.dtype)
        return
    accepted: tuple[type[Any], ...]
    if dtype.is_bool:
        fits, accepted = kind == "b", (bool, np.bool_)
    elif dtype.is_integer:
        fits, accepted = kind in "biu", (numbers.Integral, np.bool_)
    elif dtype.is_floating:
        fits, accepted = kind in "biuf", (numbers.Real, np.bool_, np.generic)
    elif dtype.is_complex:
        fits, accepted = kind in "biufc", (numbers.Complex, np.bool_, np.generic)
    else:
        raise TypeError(f"Unrecognized data type: {dtype.name}")
    if fits or kind == "V":
        return
    for leaf in _leaves(_plain(values)):
        if not isinstance(leaf, accepted):
            raise TypeError(
                f"Expected {dtype.name}, got {leaf!r} of type '{type(leaf).__name__}' instead."
            )
    # Only integers beyond 64 bits come here.
    if dtype.is_integer:
        raise _unconvertible(values)


def _unconvertible(values: Any) -> TypeError:
    return TypeError(
        f"Failed to convert object of type {type(values)} to Tensor. Contents: {values!r}. "
        "Consider casting elements to a supported type."
    )


def _leaves(values: Any) -> Iterator[Any]:
    if isinstance(values, (list, tuple, range)):
        for value in values:
            yield from _leaves(value)
    elif isinstance(values, np.ndarray):
        yield from values.ravel()
    else:
        yield values


def _from_strings(values: Any, shape: tuple[int, ...], dtype: DType | None) -> tuple[Array, DType]:
    leaves = list(_leaves(values))
    result = np.empty(len(leaves), np.object_)
    for i, leaf in enumerate(leaves):
        is_string = isinstance(leaf, (str, bytes))
        if dtype is None and not is_string:
            raise _unconvertible(values)
        if dtype is not None and (dtype is not dtypes.string or not is_string):
            raise TypeError(
                f"Expected {dtype.name}, got {leaf!r} of type '{type(leaf).__name__}' instead."
            )
        result[i] = _as_bytes(leaf)
    return result.reshape(shape), dtypes.string


def _from_tuples(values: Any, dtype: DType | None) -> tuple[Array, DType]:
    """Returns the array of quantized values, which Python writes as tuples of one integer."""
    assert dtype is not None
    assert dtype.np_dtype is not None
    try:
        array = np.array(values)
    except ValueError:
        raise ValueError(f"Argument must be a dense tensor: {values!r}") from None
    last = values
    while isinstance(last, list) and last:
        last = last[0]
    if array.size and (not isinstance(last, tuple) or len(last) != 1 or array.dtype.kind != "i"):
        raise TypeError(
            f"Expected {dtype.name}, got {last!r} of type '{type(last).__name__}' instead."
        )
    shape = array.shape[:-1] if array.size else array.shape
    return array.astype(dtype.np_dtype[0]).reshape(shape).view(dtype.np_dtype), dtype


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return bytes(value)
    raise TypeError(f"Expected binary or unicode string, got {value!r}")
