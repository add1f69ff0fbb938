import ml_dtypes
import numpy as np
import pytest

from flowray.proto import errors
from flowray.proto.messages.tensor_pb2 import (
    ResourceHandleProto,
    TensorProto,
    TensorShapeProto,
    VariantTensorDataProto,
)
from flowray.proto.types import dtypes, shapes, tensors

NUMBERS = sorted((d for d in dtypes.ALL if d.np_dtype not in (None, np.dtype(object))), key=int)


def sample(dtype, shape):
    count = int(np.prod(shape))
    if dtype.is_quantized:
        return np.arange(count).astype(dtype.np_dtype[0]).view(dtype.np_dtype).reshape(shape)
    values = np.arange(count)
    if dtype.is_complex:
        values = values * (1 - 2j)
    return values.astype(dtype.np_dtype).reshape(shape)


def proto_of(dtype, shape, **fields):
    return TensorProto(
        dtype=dtypes.as_dtype(dtype).as_datatype_enum, tensor_shape=shapes.to_proto(shape), **fields
    )


def check(actual, expected):
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(actual, expected)


def objects(values, shape=None):
    array = np.empty(len(values), object)
    for i, value in enumerate(values):
        array[i] = value
    return array if shape is None else array.reshape(shape)


# encode, decode


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (0,), (2, 0, 3)])
@pytest.mark.parametrize("dtype", NUMBERS, ids=repr)
def test_numbers_round_trip(dtype, shape):
    array = sample(dtype, shape)
    proto = tensors.encode(array)
    assert proto.dtype == dtype.as_datatype_enum
    assert proto.HasField("tensor_shape")
    assert shapes.from_proto(proto.tensor_shape) == shape
    assert proto.tensor_content == array.tobytes()
    assert {f.name for f, _ in proto.ListFields()} <= {"dtype", "tensor_shape", "tensor_content"}
    check(tensors.decode(TensorProto.FromString(proto.SerializeToString())), array)
    check(tensors.decode(tensors.encode(array, dtype._as_ref)), array)


def test_order_in_memory_does_not_matter():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    check(tensors.decode(tensors.encode(array.T)), np.ascontiguousarray(array.T))
    check(tensors.decode(tensors.encode(array.astype(">f4"))), array)
    check(tensors.decode(tensors.encode(array[:, ::2])), array[:, ::2].copy())


def test_scalars_and_lists_encode():
    check(tensors.decode(tensors.encode(np.float32(1.5))), np.array(1.5, np.float32))
    check(tensors.decode(tensors.encode([1, 2])), np.array([1, 2], np.int64))


def test_large_numbers_are_not_copied():
    proto = tensors.encode(np.ones(100, np.float32))
    assert not tensors.decode(proto).flags.owndata


@pytest.mark.parametrize(
    "values",
    [[b""], [b"ab", b"", b"cde"], [b"x" * 127, b"y" * 128], [b"z" * 20000], [b"\x00\xff\x00"], []],
)
def test_strings_round_trip(values):
    array = objects(values)
    check(tensors.decode(tensors.encode(array)), array)


def test_string_layout():
    proto = tensors.encode(objects([b"ab", b"", b"cde"]))
    assert proto.dtype == 7
    assert proto.tensor_content == b"\x02\x00\x03abcde"
    assert tensors.encode(objects([b"x" * 300])).tensor_content[:2] == b"\xac\x02"


def test_string_elements():
    expected = objects([b"a", "ü".encode()], (1, 2))
    check(tensors.decode(tensors.encode(objects(["a", "ü"], (1, 2)))), expected)
    check(tensors.decode(tensors.encode(np.array([["a", "ü"]]))), expected)
    check(tensors.decode(tensors.encode(np.array([b"a", b"bc"]))), objects([b"a", b"bc"]))
    scalar = tensors.decode(tensors.encode(np.array(b"a", object)))
    assert (scalar.shape, scalar.item()) == ((), b"a")
    with pytest.raises(errors.InvalidArgumentError, match="Expected binary or unicode string"):
        tensors.encode(objects([b"a", 3]))


@pytest.mark.parametrize(
    ("message", "dtype"),
    [
        (ResourceHandleProto(device="d", name="v", hash_code=7), dtypes.resource),
        (VariantTensorDataProto(type_name="t", metadata=b"m"), dtypes.variant),
    ],
)
def test_handles_round_trip(message, dtype):
    for shape in ((), (1,), (2, 1)):
        array = objects([message] * int(np.prod(shape)), shape)
        proto = tensors.encode(array)
        assert proto.dtype == dtype.as_datatype_enum
        check(tensors.decode(proto), array)
    empty = tensors.encode(np.empty(0, object), dtype)
    assert empty.dtype == dtype.as_datatype_enum
    assert tensors.decode(empty).shape == (0,)
    for wrong in (objects([b"x"]), np.zeros(2), np.zeros(2, np.float32)):
        with pytest.raises(errors.InvalidArgumentError, match="Expected"):
            tensors.encode(wrong, dtype)
    bad = proto_of(dtype, (1,), tensor_content=b"\x01\xff")
    with pytest.raises(errors.InvalidArgumentError):
        tensors.decode(bad)


def test_handles_in_typed_lists():
    handle = ResourceHandleProto(name="v")
    check(
        tensors.decode(proto_of("resource", (), resource_handle_val=[handle])),
        objects([handle], ()),
    )
    variant = VariantTensorDataProto(type_name="t")
    check(
        tensors.decode(proto_of("variant", (2,), variant_val=[variant])),
        objects([variant, variant]),
    )
    check(tensors.decode(proto_of("variant", (1,))), objects([VariantTensorDataProto()]))


def test_encode_converts_only_within_a_kind():
    check(
        tensors.decode(tensors.encode(np.array([1.0]), dtypes.float32)), np.array([1.0], np.float32)
    )
    check(tensors.decode(tensors.encode(np.array([1]), dtypes.float32)), np.float32([1]))
    check(
        tensors.decode(tensors.encode(np.float32([1]), dtypes.bfloat16)),
        np.array([1], ml_dtypes.bfloat16),
    )
    quantized = tensors.encode(np.array([[1, 2]], np.int8), dtypes.qint8)
    check(tensors.decode(quantized), np.array([[(1,), (2,)]], dtypes.qint8.np_dtype))
    for array, dtype in [
        (np.array([1.0]), dtypes.int32),
        (np.array([1]), dtypes.bool),
        (np.array([1]), dtypes.string),
        (objects([1]), dtypes.float32),
        (np.array(["a"]), dtypes.float32),
    ]:
        with pytest.raises(errors.InvalidArgumentError):
            tensors.encode(array, dtype)
    with pytest.raises(errors.InvalidArgumentError, match="datetime64"):
        tensors.encode(np.array(["2020-01-01"], "datetime64[D]"))


@pytest.mark.parametrize(
    ("dtype", "field", "values", "expected"),
    [
        ("float32", "float_val", [1.5], np.float32([1.5] * 3)),
        ("float64", "double_val", [1.5, 2], np.float64([1.5, 2, 2])),
        ("int32", "int_val", [1, 2, 3], np.int32([1, 2, 3])),
        ("int32", "int_val", [1, 2, 3, 4], np.int32([1, 2, 3])),
        ("int16", "int_val", [-1], np.int16([-1] * 3)),
        ("int8", "int_val", [-1], np.int8([-1] * 3)),
        ("uint8", "int_val", [255], np.uint8([255] * 3)),
        ("uint16", "int_val", [65535], np.uint16([65535] * 3)),
        ("int64", "int64_val", [-(2**40)], np.int64([-(2**40)] * 3)),
        ("uint32", "uint32_val", [2**32 - 1], np.uint32([2**32 - 1] * 3)),
        ("uint64", "uint64_val", [2**64 - 1], np.uint64([2**64 - 1] * 3)),
        ("bool", "bool_val", [False, True], np.array([False, True, True])),
        ("float16", "half_val", [0x3C00, 0x4000], np.float16([1, 2, 2])),
        ("bfloat16", "half_val", [0x3F80], np.array([1] * 3, ml_dtypes.bfloat16)),
        ("complex64", "scomplex_val", [1, 2, 3, 4], np.complex64([1 + 2j, 3 + 4j, 3 + 4j])),
        ("complex128", "dcomplex_val", [1, 2], np.complex128([1 + 2j] * 3)),
        ("qint8", "int_val", [-3], np.array([(-3,)] * 3, dtypes.qint8.np_dtype)),
        ("string", "string_val", [b"a", b"b"], objects([b"a", b"b", b"b"])),
        ("string", "string_val", [b"a", b"b", b"c", b"d"], objects([b"a", b"b", b"c"])),
        ("string", "string_val", [], objects([b"", b"", b""])),
        ("float32", "float_val", [], np.zeros(3, np.float32)),
        ("float32_ref", "float_val", [1.0], np.ones(3, np.float32)),
    ],
)
def test_typed_lists(dtype, field, values, expected):
    check(tensors.decode(proto_of(dtype, (3,), **{field: values})), expected)
    check(tensors.decode(proto_of(dtype, (3, 1), **{field: values})), expected.reshape(3, 1))
    check(tensors.decode(proto_of(dtype, (0,), **{field: values})), expected[:0])


def test_a_missing_shape_is_a_scalar():
    check(tensors.decode(TensorProto(dtype=1, float_val=[2])), np.array(2, np.float32))
    check(tensors.decode(TensorProto(dtype=1, tensor_content=b"\0\0\0\0")), np.array(0, np.float32))


@pytest.mark.parametrize(
    "proto",
    [
        proto_of("float32", (2,), tensor_content=b"\0" * 7),
        proto_of("float32", (2,), tensor_content=b"\0" * 12),
        proto_of("float32", (0,), tensor_content=b"\0" * 4),
        proto_of("float32", None, tensor_content=b"\0" * 4),
        proto_of("float32", (None,), float_val=[1]),
        proto_of("float32", (None, None), tensor_content=b"\0" * 4),
        proto_of("string", (2,), tensor_content=b"\x01"),
        proto_of("string", (1,), tensor_content=b"\x05ab"),
        proto_of("string", (1,), tensor_content=b"\x01abc"),
        proto_of("string", (1,), tensor_content=b"\x80"),
        proto_of("string", (1,), tensor_content=b"\xff" * 9),
        proto_of("string", (2**50,), tensor_content=b"\x01a"),
        proto_of("string", (None,)),
        TensorProto(),
        TensorProto(dtype=99),
        TensorProto(dtype=29, tensor_content=b"\0"),
    ],
    ids=lambda p: " ".join(str(p).split())[:60],
)
def test_decode_refuses(proto):
    with pytest.raises(errors.InvalidArgumentError, match="Invalid TensorProto"):
        tensors.decode(proto)


@pytest.mark.parametrize("dtype", ["float32", "string"])
def test_shapes_beyond_memory(dtype):
    for shape in ((2**60,), (2**40, 2**40)):
        with pytest.raises(errors.ResourceExhaustedError, match="OOM when allocating tensor"):
            tensors.decode(proto_of(dtype, shape))


# make_tensor_proto, make_ndarray


def plain(values):
    if isinstance(values, list | shapes.TensorShape):
        return [plain(value) for value in values]
    return values.value if isinstance(values, shapes.Dimension) else values


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (1.5, "float32"),
        (1, "int32"),
        (2**31, "int64"),
        (-(2**31), "int32"),
        (2**63, "uint64"),
        (True, "bool"),
        (1j, "complex128"),
        ("ü", "string"),
        (b"a", "string"),
        ([], "float32"),
        ([[]], "float32"),
        ([1, 2.5], "float32"),
        ([True, 1], "int32"),
        ([[1, 2], [3, 4]], "int32"),
        (((1, 2), (3, 4)), "int32"),
        (["a", b"b"], "string"),
        ([["a"], ["b"]], "string"),
        (range(3), "int32"),
        (np.float64(1), "float64"),
        (np.int64(1), "int64"),
        (np.float64([1, 2]), "float64"),
        (np.array(["a", "bc"]), "string"),
        (np.array([b"a", None][:1], object), "string"),
        ([np.float64(1)], "float32"),
        ([np.array([1, 2]), np.array([3, 4])], "int32"),
        (shapes.TensorShape([2, 3]), "int32"),
        (shapes.Dimension(3), "int32"),
        ([shapes.Dimension(3), 4], "int32"),
        (float("nan"), "float32"),
    ],
)
def test_inferred_dtypes(values, dtype):
    proto = tensors.make_tensor_proto(values)
    assert dtypes.as_dtype(proto.dtype).name == dtype
    array = tensors.make_ndarray(proto)
    if dtype != "string":
        expected = np.array(plain(values))
        check(array, expected.astype(array.dtype))
    else:
        assert all(type(value) is bytes for value in array.ravel())
        assert array.shape == np.shape(values)
    assert array.flags.writeable


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (1, "float32", np.float32(1)),
        (True, "int32", np.int32(1)),
        (True, "float32", np.float32(1)),
        ([1, 2.5], "float64", np.float64([1, 2.5])),
        ([1], "complex64", np.complex64([1])),
        ([300, -1], "uint8", np.uint8([44, 255])),
        (2**70, "float32", np.float32(2.0**70)),
        ([1.0], "float16", np.float16([1])),
        ([1.0], "bfloat16", np.array([1], ml_dtypes.bfloat16)),
        ([], "int32", np.int32([])),
        ([], "bool", np.array([], bool)),
        ([], "string", np.array([], object)),
        (np.float64([1.5]), "int32", np.int32([1])),
        (np.float32(1), "float64", np.float64(1)),
        ([(1,), (2,)], "qint8", np.array([(1,), (2,)], dtypes.qint8.np_dtype)),
        (np.array([1], np.int8), "qint8", np.array([(1,)], dtypes.qint8.np_dtype)),
    ],
)
def test_wanted_dtypes(values, dtype, expected):
    proto = tensors.make_tensor_proto(values, dtype=dtype)
    check(tensors.make_ndarray(proto), np.asarray(expected))


@pytest.mark.parametrize(
    ("values", "options", "error", "text"),
    [
        (None, {}, ValueError, "None values not supported."),
        ([None], {}, TypeError, "Failed to convert object of type <class 'list'> to Tensor"),
        ({}, {}, TypeError, "Failed to convert object"),
        ([1, "a"], {}, TypeError, "Failed to convert object"),
        (2**70, {}, TypeError, "Failed to convert object"),
        ([[1], [2, 3]], {}, ValueError, "Argument must be a dense tensor"),
        (1.5, {"dtype": "int32"}, TypeError, "Expected int32, got 1.5 of type 'float' instead."),
        ([1, 1.5], {"dtype": "int32"}, TypeError, "Expected int32, got 1.5 of type 'float'"),
        ("a", {"dtype": "int32"}, TypeError, "Expected int32, got 'a' of type 'str' instead."),
        (1, {"dtype": "bool"}, TypeError, "Expected bool, got 1 of type 'int' instead."),
        ([True, 1], {"dtype": "bool"}, TypeError, "Expected bool, got 1 of type 'int'"),
        (1, {"dtype": "string"}, TypeError, "Expected string, got 1 of type 'int' instead."),
        ([None], {"dtype": "float32"}, TypeError, "Expected float32, got None of type 'NoneType'"),
        (1j, {"dtype": "float32"}, TypeError, "Expected float32, got 1j of type 'complex'"),
        ([1], {"dtype": "quint8"}, TypeError, "Expected quint8"),
        (2**70, {"dtype": "int64"}, TypeError, "Failed to convert object"),
        (np.array([1]), {"dtype": "string"}, TypeError, "Expected binary or unicode string, got 1"),
        (1, {"dtype": "nonsense"}, TypeError, "nonsense"),
        (1, {"dtype": "resource"}, TypeError, "Unrecognized data type: resource"),
        ([1, 2, 3], {"shape": [2]}, ValueError, "Needed at most 2, but received 3"),
        ([1, 2], {"shape": [2, 2], "verify_shape": True}, TypeError, "Expected Tensor's shape"),
        ([1, 2], {"shape": [4], "allow_broadcast": True}, TypeError, r"\(4,\), got \(2,\)"),
        (1, {"shape": [None]}, ValueError, "not fully defined"),
    ],
)
def test_make_tensor_proto_refuses(values, options, error, text):
    with pytest.raises(error, match=text):
        tensors.make_tensor_proto(values, **options)


def test_shapes():
    def array(*args, **options):
        return tensors.make_ndarray(tensors.make_tensor_proto(*args, **options))

    check(array(0, shape=[2, 3]), np.zeros((2, 3), np.int32))
    check(array([1, 2], shape=[2, 2]), np.int32([[1, 2], [2, 2]]))
    check(array([1, 2, 3, 4], shape=(2, 2)), np.int32([[1, 2], [3, 4]]))
    check(array("a", shape=[2]), objects([b"a", b"a"]))
    check(array([1], shape=[3], allow_broadcast=True), np.int32([1, 1, 1]))
    check(array(1, shape=[0], dtype="int32"), np.int32([]))
    check(array(7.0, shape=shapes.TensorShape([])), np.float32(7))


def test_small_values_are_typed_lists():
    assert list(tensors.make_tensor_proto(1.5).float_val) == [1.5]
    assert list(tensors.make_tensor_proto([3]).int_val) == [3]
    assert list(tensors.make_tensor_proto(1, dtype="float16").half_val) == [0x3C00]
    assert list(tensors.make_tensor_proto(1 + 2j).dcomplex_val) == [1, 2]
    assert list(tensors.make_tensor_proto(0, shape=[9, 9]).int_val) == [0]
    assert list(tensors.make_tensor_proto(["a", "b"]).string_val) == [b"a", b"b"]
    assert tensors.make_tensor_proto([1, 2]).tensor_content == b"\1\0\0\0\2\0\0\0"


@pytest.mark.parametrize("dtype", NUMBERS, ids=repr)
@pytest.mark.parametrize("shape", [(), (1,), (2, 2), (0,)])
def test_numpy_values_round_trip(dtype, shape):
    array = sample(dtype, shape)
    check(tensors.make_ndarray(tensors.make_tensor_proto(array)), array)
    # One value that repeats goes through the typed lists.
    if shape == ():
        check(tensors.make_ndarray(tensors.make_tensor_proto(array, shape=[3])), np.full(3, array))


def test_a_tensor_proto_stays_itself():
    proto = tensors.make_tensor_proto(1)
    assert tensors.make_tensor_proto(proto) is proto
    assert TensorShapeProto() == proto.tensor_shape
