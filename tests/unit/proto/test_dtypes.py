import copy
import pickle

import ml_dtypes
import numpy as np
import pytest

from flowray.proto.messages import types_pb2
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType, as_dtype

EVERY = sorted(dtypes.BY_ENUM.values(), key=int)


def test_enum_values_are_those_of_the_proto():
    names = {
        value.number: value.name.removeprefix("DT_").lower()
        for value in types_pb2.DataType.DESCRIPTOR.values
    }
    aliases = {"float": "float32", "double": "float64", "half": "float16"}
    for dtype in EVERY:
        stem, ref, _ = names[dtype.as_datatype_enum].partition("_ref")
        assert dtype.name == aliases.get(stem, stem) + ref


@pytest.mark.parametrize("dtype", EVERY, ids=repr)
def test_round_trips(dtype):
    assert pickle.loads(pickle.dumps(dtype)) is dtype
    assert copy.deepcopy(dtype) is copy.copy(dtype) is dtype
    assert as_dtype(dtype) is dtype
    assert as_dtype(dtype.name) is dtype
    assert as_dtype(int(dtype)) is dtype
    assert hash(dtype) == dtype.as_datatype_enum
    assert dtype._as_ref._is_ref_dtype
    assert dtype._as_ref.base_dtype is dtype.base_dtype
    assert dtype.is_compatible_with(dtype._as_ref)
    assert dtype._as_ref.is_compatible_with(dtype) is dtype._is_ref_dtype
    if dtype.is_numpy_compatible and not dtype._is_ref_dtype:
        assert as_dtype(dtype.np_dtype) is dtype
        assert as_dtype(np.empty(0, dtype.np_dtype)) is dtype
        if not dtype.is_quantized:
            assert as_dtype(dtype.as_numpy_dtype) is dtype


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float, dtypes.float32),
        (int, dtypes.int32),
        (bool, dtypes.bool),
        (complex, dtypes.complex128),
        (str, dtypes.string),
        (bytes, dtypes.string),
        (object, dtypes.string),
        (np.dtype("S3"), dtypes.string),
        (np.dtype("U3"), dtypes.string),
        (np.str_, dtypes.string),
        (np.dtype(">i4"), dtypes.int32),
        (np.longlong, dtypes.int64),
        (ml_dtypes.bfloat16, dtypes.bfloat16),
        (np.int64(3), dtypes.int64),
        (np.float32(1), dtypes.float32),
        ("half", dtypes.float16),
        ("float", dtypes.float32),
        ("double", dtypes.float64),
        ("f4", dtypes.float32),
        (types_pb2.DT_RESOURCE, dtypes.resource),
        (101, dtypes.float32_ref),
    ],
)
def test_as_dtype(value, expected):
    assert as_dtype(value) is expected


@pytest.mark.parametrize("value", ["nonsense", 0, 99, 124, None, [1], True, np.datetime64, 1.0])
def test_as_dtype_refuses(value):
    with pytest.raises(TypeError):
        as_dtype(value)


def test_equality():
    assert dtypes.float32 == "float32"
    assert dtypes.float32 == np.float32
    assert dtypes.float32 == 1
    assert dtypes.float32 != dtypes.float32_ref
    assert dtypes.float32 != None  # noqa: E711
    assert dtypes.float32 != "nonsense"
    assert dtypes.string not in dtypes.NUMERIC


def test_text():
    assert repr(dtypes.float32) == "tf.float32"
    assert str(dtypes.int32_ref) == "<dtype: 'int32_ref'>"
    assert dtypes.half is dtypes.float16
    assert dtypes.double.name == "float64"


def test_constructor_takes_an_enum():
    assert DType(1) == dtypes.float32
    with pytest.raises(TypeError):
        DType(99)


def test_immutable():
    with pytest.raises(AttributeError):
        dtypes.float32.name = "x"
    with pytest.raises(AttributeError):
        dtypes.float32._enum = 3


def test_kinds():
    def names(attribute):
        return {d.name for d in dtypes.ALL if getattr(d, attribute)}

    assert names("is_floating") == {"float16", "bfloat16", "float32", "float64"}
    assert names("is_complex") == {"complex64", "complex128"}
    assert names("is_unsigned") == {"uint8", "uint16", "uint32", "uint64"}
    assert names("is_integer") == names("is_unsigned") | {"int8", "int16", "int32", "int64"}
    assert names("is_quantized") == {"qint8", "quint8", "qint16", "quint16", "qint32"}
    assert names("is_bool") == {"bool"}
    assert {d.name for d in dtypes.ALL} - names("is_numpy_compatible") == {"resource", "variant"}
    assert dtypes.float32_ref.is_floating
    assert not any(d._is_ref_dtype for d in dtypes.ALL)
    assert len(dtypes.ALL) == 23


def test_range():
    assert (dtypes.int8.min, dtypes.int8.max) == (-128, 127)
    assert dtypes.float16.max == np.finfo(np.float16).max
    assert dtypes.bfloat16.max == float(ml_dtypes.finfo(ml_dtypes.bfloat16).max)
    assert dtypes.bfloat16.min == -dtypes.bfloat16.max
    assert dtypes.uint8.limits == (0, 255)
    assert dtypes.int16.limits == (0, 32767)
    assert dtypes.float32.limits == (0, 1)
    for dtype in (dtypes.string, dtypes.bool, dtypes.complex64, dtypes.qint8, dtypes.resource):
        with pytest.raises(TypeError, match="Cannot find"):
            _ = dtype.min
    with pytest.raises(ValueError, match="limits"):
        _ = dtypes.string.limits


def test_sizes_and_parts():
    assert dtypes.float64.size == 8
    assert dtypes.bfloat16.size == 2
    assert dtypes.qint32.size == 4
    assert dtypes.variant.size == 1
    assert dtypes.complex64.real_dtype is dtypes.float32
    assert dtypes.complex128_ref.real_dtype is dtypes.float64
    assert dtypes.int32.real_dtype is dtypes.int32
    assert dtypes.resource.np_dtype is None
