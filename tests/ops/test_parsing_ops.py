"""Records to tensors."""

import numpy as np

from flowray.proto import errors
from flowray.proto.messages.example_pb2 import (
    BytesList,
    Example,
    Feature,
    FloatList,
    Int64List,
    SequenceExample,
)
from flowray.proto.types import dtypes
from tests.ops.harness import case, table_test

BAD = errors.InvalidArgumentError
BF16 = dtypes.bfloat16.as_numpy_dtype
DATA = bytes(range(16))
NO_STRINGS = np.zeros(0, object)


def s(*values: str | bytes) -> np.ndarray:
    result = np.empty(len(values), object)
    result[:] = [v.encode() if isinstance(v, str) else v for v in values]
    return result


def s0(value: str | bytes) -> np.ndarray:
    return s(value).reshape(())


def i32(*values: object) -> np.ndarray:
    return np.array(values, np.int32)


def i64(*values: object) -> np.ndarray:
    return np.array(values, np.int64)


def f32(*values: object) -> np.ndarray:
    return np.array(values, np.float32)


# Bytes --------------------------------------------------------------------------------------------

for _dtype in (
    np.uint8, np.int8, np.int16, np.uint16, np.int32, np.int64, np.float16, BF16, np.float32,
    np.float64, np.complex64, np.complex128,
):  # fmt: skip
    _out = dtypes.as_dtype(_dtype)
    case("DecodeRaw", [s(DATA, DATA)], out_type=_out, id=_out.name,
         expect=np.stack([np.frombuffer(DATA, _dtype)] * 2))  # fmt: skip
    _part = np.dtype(_dtype).itemsize // (2 if np.dtype(_dtype).kind == "c" else 1)
    _swapped = np.frombuffer(DATA, np.uint8).reshape(-1, _part)[:, ::-1].reshape(-1).view(_dtype)
    case("DecodeRaw", [s0(DATA)], out_type=_out, little_endian=False, id=f"big {_out.name}",
         expect=_swapped)  # fmt: skip
case("DecodeRaw", [s(b"\1\2\3\4")], out_type=dtypes.int32, little_endian=False,
     expect=np.array([[16909060]], np.int32), id="one big")  # fmt: skip
case("DecodeRaw", [s0(b"\0\1")], out_type=dtypes.bool, expect=np.array([False, True]), id="bool")
case("DecodeRaw", [s(DATA, DATA).reshape(1, 2)], out_type=dtypes.int64, id="matrix",
     expect=np.tile(np.frombuffer(DATA, np.int64), (1, 2, 1)))  # fmt: skip
case("DecodeRaw", [NO_STRINGS], out_type=dtypes.int32, expect=np.zeros((0, 0), np.int32), id="none")
case("DecodeRaw", [s("", "")], out_type=dtypes.int32, expect=np.zeros((2, 0), np.int32), id="empty")
case("DecodeRaw", [s(DATA, DATA[:8])], out_type=dtypes.int32, raises=BAD,
     match="strings to all be the same size, but element 1 has size 16 != 8")  # fmt: skip
case("DecodeRaw", [s(DATA[:3])], out_type=dtypes.float32, raises=BAD,
     match="has length 3 that is not a multiple of 4, the size of float")  # fmt: skip

# Comma-separated values ---------------------------------------------------------------------------

DEFAULTS = (i32(7), f32(1.5), s("d"))
REQUIRED = i32()
case("DecodeCSV", [s("1,2.5,x", " 3 ,4,"), DEFAULTS],
     expect=(i32(1, 3), f32(2.5, 4), s("x", "d")))  # fmt: skip
case("DecodeCSV", [s0("1,2.5,x"), DEFAULTS], id="scalar",
     expect=(i32(1).reshape(()), np.float32(2.5), s0("x")))  # fmt: skip
case("DecodeCSV", [s("1,2,x", "3,4,y").reshape(2, 1), DEFAULTS], id="matrix",
     expect=(i32([1], [3]), f32([2], [4]), s("x", "y").reshape(2, 1)))  # fmt: skip
case("DecodeCSV", [NO_STRINGS, DEFAULTS], expect=(i32(), f32(), NO_STRINGS), id="no records")
case("DecodeCSV", [s(",,"), DEFAULTS], expect=(i32(7), f32(1.5), s("d")), id="defaults")
case("DecodeCSV", [s("NA,,x"), DEFAULTS], na_value="NA", expect=(i32(7), f32(1.5), s("x")))
case("DecodeCSV", [s(",1"), (np.int32(5), f32(0))], expect=(i32(5), f32(1)), id="scalar default")
case("DecodeCSV", [s("9223372036854775807,1e300"), (i64(0), np.array([0.0]))],
     expect=(i64(2**63 - 1), np.array([1e300])), id="wide")  # fmt: skip
case("DecodeCSV", [s("0x10,nan"), (f32(0), f32(0))], expect=(f32(16), f32(np.nan)), id="floats")
for _record, _text in {
    '1,2,"a,b"': "a,b",
    '1,2,"a""b"': 'a"b',
    '1,2,"""a"""': '"a"',
    '1,2,"a\nb"': "a\nb",
    '"1","2",""': "d",
    '1,2, x "y'.replace('"', ""): " x y",
}.items():
    case("DecodeCSV", [s(_record), DEFAULTS], expect=(i32(1), f32(2), s(_text)), id=_record)
case("DecodeCSV", [s('1,2,"a"'), DEFAULTS], use_quote_delim=False,
     expect=(i32(1), f32(2), s('"a"')), id="no quotes")  # fmt: skip
for _delimiter in "|\t^]-\\":
    case("DecodeCSV", [s(_delimiter.join(("1", "2", '"x"'))), DEFAULTS], field_delim=_delimiter,
         expect=(i32(1), f32(2), s("x")), id=f"delimiter {_delimiter!r}")  # fmt: skip
case("DecodeCSV", [s("1,2,x,4"), DEFAULTS[::2]], select_cols=[0, 2], expect=(i32(1), s("x")))
for _record, _match in {
    "1,2": "Expect 3 fields but have 2 in record 0",
    "1,2,3,4": "Expect 3 fields but have 4 in record 0",
    "": "Expect 3 fields but have 0 in record 0",
    "x,2,3": "Field 0 in record 0 is not a valid int32: x",
    "2147483648,2,3": "Field 0 in record 0 is not a valid int32: 2147483648",
    "1,y,3": "Field 1 in record 0 is not a valid float: y",
    '1,2,a"b': "Unquoted fields cannot have quotes/CRLFs inside",
    '1,2, "a"': "Unquoted fields cannot have quotes/CRLFs inside",
    "1,2,x\r\n": "Unquoted fields cannot have quotes/CRLFs inside",
    '1,2,"a': "Quoted field has to end with quote followed by delim or end",
    '1,2,"a"x': "Quote inside a string has to be escaped by another quote",
}.items():
    case("DecodeCSV", [s(_record), DEFAULTS], raises=BAD, match=_match, id=f"bad {_record}")
case("DecodeCSV", [s("1,", ",2"), (REQUIRED, f32(0))], raises=BAD,
     match="Field 0 is required but missing in record 1!")  # fmt: skip
case("DecodeCSV", [s("x"), (np.array([0.0]),)], raises=BAD, match="not a valid double: x")
case(
    "DecodeCSV", [s("1"), (i32(1, 2),)], raises=BAD, match="only be 1 default per field but field 0"
)
case(
    "DecodeCSV", [s("1"), (i32([1]),)], raises=BAD, match="record default should be at most rank 1"
)
case("DecodeCSV", [s("1"), (i32(1),)], field_delim="||", raises=BAD, match="should be only 1 char")
for _columns, _match in {
    (1,): "select_cols should match output size",
    (-1, 0): "select_cols should be non-negative indices",
    (1, 0): "select_cols should be strictly increasing indices",
    (0, 3): "Expect 2 fields but have 1 in record 0",
}.items():
    case("DecodeCSV", [s("1,2,3"), (i32(0), s(""))], select_cols=list(_columns), raises=BAD,
         match=_match)  # fmt: skip

# TensorProto --------------------------------------------------------------------------------------

SERIALIZED = {
    b'\x08\x01\x12\x08\x12\x02\x08\x01\x12\x02\x08\x02"\x08\x00\x00\xc0?\x00\x00\x00@': f32(
        [1.5, 2]
    ),
    b"\x08\x07\x12\x04\x12\x02\x08\x02B\x01aB\x02bc": s("a", "bc"),
    b'\x08\x03\x12\x00"\x04\x03\x00\x00\x00': np.int32(3),
    b"\x08\t\x12\x06\x12\x00\x12\x02\x08\x02": np.zeros((0, 2), np.int64),
    b'\x08\n\x12\x00"\x01\x01': np.True_,
}
for _data, _value in SERIALIZED.items():
    _out = dtypes.as_dtype(_value.dtype)
    case("SerializeTensor", [_value], expect=s0(_data), id=_out.name)
    case("ParseTensor", [s0(_data)], out_type=_out, expect=_value, id=_out.name)
for _dtype in (np.int8, np.int16, np.uint8, np.uint16, np.float16, BF16, np.float64, np.complex64):
    case("SerializeTensor", [np.array([1, 2], _dtype)], id=np.dtype(_dtype).name)
for _data in (b"xx", b""):
    case("ParseTensor", [s0(_data)], out_type=dtypes.float32, raises=BAD,
         match="Cannot parse tensor from proto", id=f"bad {_data}")  # fmt: skip
_three = next(data for data, value in SERIALIZED.items() if value.dtype == np.int32)
case("ParseTensor", [s0(_three)], out_type=dtypes.float32, raises=BAD,
     match=r"Type mismatch between parsed tensor \(int32\) and dtype \(float\)")  # fmt: skip
case("ParseTensor", [s(b"")], out_type=dtypes.float32, raises=BAD, match="Expected `serialized` to")

# tf.train.Example ---------------------------------------------------------------------------------


def feature(*values: float | bytes) -> Feature:
    if all(isinstance(v, bytes) for v in values):
        return Feature(bytes_list=BytesList(value=values))
    if all(isinstance(v, int) for v in values):
        return Feature(int64_list=Int64List(value=values))
    return Feature(float_list=FloatList(value=values))


def example(**features: Feature) -> bytes:
    result = Example()
    for name, value in features.items():
        result.features.feature[name].CopyFrom(value)
    return result.SerializeToString(deterministic=True)


A = example(x=feature(1.0, 2.0), y=feature(3), z=feature(b"q"), w=feature(b"u"))
B = example(x=feature(3.0, 4.0), y=feature(-5), z=feature(b"r", b"t"), w=feature(b"v", b"w"))
LONG = example(x=feature(1.0, 2.0, 3.0, 4.0), z=feature(b"a", b"b", b"c"))
EMPTY = example()
NO_KIND = example(x=Feature())
NO_VALUES = example(x=Feature(float_list=FloatList()))
NO_FLOATS, NO_INTS = f32(), i64()
NAMES = {"f": dtypes.float32, "i": dtypes.int64, "s": dtypes.string}


def parse(
    serialized: np.ndarray,
    sparse: tuple[tuple[str, str], ...] = (),
    dense: tuple[tuple[str, tuple[int | None, ...], np.ndarray], ...] = (),
    names: np.ndarray = NO_STRINGS,
    single: bool = True,
    **kwargs: object,
) -> None:
    """A case of ParseExample, with the same features of one record for ParseSingleExample.

    ``sparse`` has pairs of key and type letter, ``dense`` triples of key, shape and default.
    """
    types = [NAMES[letter] for _, letter in sparse]
    shapes = [shape for _, shape, _ in dense]
    defaults = tuple(default for _, _, default in dense)
    case(
        "ParseExample",
        [serialized, names, tuple(k for k, _ in sparse), tuple(k for k, _, _ in dense), defaults],
        sparse_types=types, dense_shapes=shapes, **kwargs,
    )  # fmt: skip
    if single and serialized.ndim == 1 and serialized.size:
        last = serialized[-1:].reshape(())
        case(
            "ParseSingleExample", [last, defaults], sparse_types=types, dense_shapes=shapes,
            num_sparse=len(sparse), sparse_keys=[k for k, _ in sparse],
            dense_keys=[k for k, _, _ in dense],
        )  # fmt: skip


def outputs(*values: np.ndarray) -> dict[str, tuple[np.ndarray, ...]]:
    return {"expect": values}


parse(s(A, B), dense=(("x", (2,), NO_FLOATS), ("y", (), NO_INTS)),
      **outputs(f32([1, 2], [3, 4]), i64(3, -5)))  # fmt: skip
parse(s(A, B), dense=(("x", (1, 2), NO_FLOATS),), **outputs(f32([[1, 2]], [[3, 4]])))
parse(s(A, EMPTY), dense=(("x", (2,), f32(7, 8)), ("z", (1,), s("no"))),
      **outputs(f32([1, 2], [7, 8]), s("q", "no").reshape(2, 1)))  # fmt: skip
parse(s(NO_KIND), dense=(("x", (2,), f32(7, 8)),), **outputs(f32([7, 8])))
parse(s(EMPTY), dense=(("y", (), np.int64(4)),), **outputs(i64(4)))
parse(
    s(A, B, EMPTY),
    sparse=(("z", "s"), ("x", "f"), ("nope", "i")),
    **outputs(
        i64([0, 0], [1, 0], [1, 1]), i64([0, 0], [0, 1], [1, 0], [1, 1]), i64().reshape(0, 2),
        s("q", "r", "t"), f32(1, 2, 3, 4), i64(), i64(3, 2), i64(3, 2), i64(3, 0),
    ),
)  # fmt: skip
parse(s(A, LONG), sparse=(("z", "s"),), dense=(("x", (None,), f32(9)),))
parse(s(NO_VALUES), sparse=(("x", "f"),))
for _shape in ((None,), (None, 2)):
    parse(s(A, LONG, EMPTY), dense=(("x", _shape, f32(9)), ("z", (None,), s("pad"))))
parse(s(LONG), dense=(("x", (None, 2), f32(0)),), **outputs(f32([[1, 2], [3, 4]])))
parse(NO_STRINGS, sparse=(("z", "s"),), dense=(("x", (2,), NO_FLOATS), ("y", (None, 3), i64(0))))
parse(s(A), names=s("first"), dense=(("x", (2,), NO_FLOATS),))

MISSING = r"Feature: x \(data type: float\) is required but could not be found"
for _dense, _record, _match, _single in (
    (("x", (2,), NO_FLOATS), EMPTY, f"Name: <unknown>, {MISSING}", MISSING),
    (("x", (2,), NO_FLOATS), NO_KIND, f"Name: <unknown>, {MISSING}", MISSING),
    (
        ("x", (2,), NO_INTS), A,
        "Name: <unknown>, Key: x, Index: 0.  Data types don't match. "
        "Data type: float but expected type: int64",
        "Key: x.  Data types don't match. Data type: float but expected type: int64",
    ),
    (
        ("x", (3,), NO_FLOATS), A,
        "Number of float values != expected.  Values size: 2 but output shape: \\[3\\]", None,
    ),
    (
        ("x", (2,), f32(0, 0)), NO_VALUES,
        "Number of float values != expected.  Values size: 0 but output shape: \\[2\\]", None,
    ),
    (
        ("x", (None, 3), f32(0)), A,
        r"not a multiple of stride length. Saw 2 values but output shape is: \[\?,3\]",
        "feature with key x: number of elements should be divisible by 3, found 2 instead",
    ),
    (
        ("x", (2,), f32(1)), A,
        r"def_value\[0\].shape\(\) == \[1\] is not compatible with dense_shapes_\[0\] == \[2\]",
        None,
    ),
    (
        ("x", (None,), NO_FLOATS), A,
        r"dense_shape\[0\] is a variable length shape: \[\?\], therefore def_value\[0\] must",
        None,
    ),
    (("x", (2,), NO_FLOATS), A[:-1], "Could not parse example input, value: '", "Could not parse"),
):  # fmt: skip
    parse(s(_record), dense=(_dense,), single=False, raises=BAD, match=_match)
    case("ParseSingleExample", [s0(_record), (_dense[2],)], sparse_types=[], num_sparse=0,
         sparse_keys=[], dense_keys=["x"], dense_shapes=[_dense[1]], raises=BAD,
         match=_single or _match, conformance=_single is not None)  # fmt: skip
MISMATCH = "Data types don't match. Expected type: int64, Actual type: float"
parse(s(A), sparse=(("x", "i"),), single=False, raises=BAD, match=f"Key: x, Index: 0.  {MISMATCH}")
case("ParseSingleExample", [s0(A), ()], sparse_types=[dtypes.int64], num_sparse=1, dense_keys=[],
     sparse_keys=["x"], dense_shapes=[], raises=BAD, match=f"Key: x.  {MISMATCH}")  # fmt: skip
parse(s(EMPTY), names=s("first"), dense=(("x", (2,), NO_FLOATS),), single=False, raises=BAD,
      match=f"Name: first, {MISSING}")  # fmt: skip
parse(s(A), names=s("a", "b"), dense=(("x", (2,), NO_FLOATS),), single=False, raises=BAD,
      match=r"name.shape=\[2\], serialized.shape=\[1\]")  # fmt: skip
for _serialized, _shown in ((s0(A), r"\[\]"), (s(A).reshape(1, 1), r"\[1,1\]")):
    parse(_serialized, dense=(("x", (2,), NO_FLOATS),), raises=BAD,
          match=f"Expected serialized to be a vector, got shape: {_shown}")  # fmt: skip
case("ParseSingleExample", [s(A), (NO_FLOATS,)], sparse_types=[], num_sparse=0, sparse_keys=[],
     dense_keys=["x"], dense_shapes=[(2,)], raises=BAD,
     match=r"Expected serialized to be a scalar, got shape: \[1\]")  # fmt: skip


def parse_v2(serialized: np.ndarray, **kwargs: object) -> None:
    case(
        "ParseExampleV2",
        [serialized, NO_STRINGS, s("z"), s("x"), s("y", "w"), (NO_FLOATS,)],
        num_sparse=1, sparse_types=[dtypes.string], dense_shapes=[(2,)],
        ragged_value_types=[dtypes.int64, dtypes.string],
        ragged_split_types=[dtypes.int64, dtypes.int32], **kwargs,
    )  # fmt: skip


parse_v2(
    s(A, B),
    expect=(
        i64([0, 0], [1, 0], [1, 1]), s("q", "r", "t"), i64(2, 2), f32([1, 2], [3, 4]),
        i64(3, -5), s("u", "v", "w"), i64(0, 1, 2), i32(0, 1, 3),
    ),
)  # fmt: skip
parse_v2(s0(A), id="one")
parse_v2(NO_STRINGS, id="none")
parse_v2(s0(EMPTY), raises=BAD, match=f"^{MISSING}")
parse_v2(s(EMPTY), raises=BAD, match=f"Name: <unknown>, {MISSING}")
parse_v2(s(A).reshape(1, 1), raises=BAD, match=r"to be a scalar or vector, got shape: \[1,1\]")

# tf.train.SequenceExample -------------------------------------------------------------------------


def sequence(context: dict[str, Feature], **lists: list[Feature]) -> np.ndarray:
    result = SequenceExample()
    for name, value in context.items():
        result.context.feature[name].CopyFrom(value)
    for name, values in lists.items():
        result.feature_lists.feature_list[name].feature.extend(values)
    return s0(result.SerializeToString(deterministic=True))


STEPS = sequence(
    {"length": feature(3), "name": feature(b"n")},
    words=[feature(b"a", b"b"), feature(b"x"), feature(b"c")],
    tokens=[feature(1), feature(2), feature(3)],
    points=[feature(1.0, 2.0), feature(3.0, 4.0)],
    gaps=[feature(1), Feature(), feature(3)],
)


def parse_sequence(
    record: np.ndarray,
    context_sparse: tuple[tuple[str, str], ...] = (),
    context_dense: tuple[tuple[str, tuple[int, ...], np.ndarray], ...] = (),
    list_sparse: tuple[tuple[str, str], ...] = (),
    list_dense: tuple[tuple[str, str, tuple[int, ...]], ...] = (),
    may_lack: np.ndarray = NO_STRINGS,
    **kwargs: object,
) -> None:
    case(
        "ParseSingleSequenceExample",
        [
            record, may_lack, *(tuple(f[0] for f in group) for group in (
                context_sparse, context_dense, list_sparse, list_dense
            )),
            tuple(default for _, _, default in context_dense), s0("record"),
        ],
        context_sparse_types=[NAMES[letter] for _, letter in context_sparse],
        context_dense_shapes=[shape for _, shape, _ in context_dense],
        feature_list_sparse_types=[NAMES[letter] for _, letter in list_sparse],
        feature_list_dense_types=[NAMES[letter] for _, letter, _ in list_dense],
        feature_list_dense_shapes=[shape for *_, shape in list_dense],
        **kwargs,
    )  # fmt: skip


parse_sequence(
    STEPS, (("name", "s"),), (("length", (), NO_INTS),), (("words", "s"),),
    (("tokens", "i", ()), ("points", "f", (2,))),
    expect=(
        i64([0]), s("n"), i64(1), np.int64(3), i64([0, 0], [0, 1], [1, 0], [2, 0]),
        s("a", "b", "x", "c"), i64(3, 2), i64(1, 2, 3), f32([1, 2], [3, 4]),
    ),
)  # fmt: skip
parse_sequence(STEPS, (("none", "f"),), (("none", (2,), i64(7, 8)),), (("none", "i"),))
parse_sequence(STEPS, list_dense=(("none", "i", (2,)),), may_lack=s("none", "other"),
               expect=(np.zeros((0, 2), np.int64),))  # fmt: skip
parse_sequence(STEPS, list_sparse=(("gaps", "i"),))
parse_sequence(s0(b""), list_sparse=(("words", "s"),), id="empty")
for _features, _match in (
    (
        {"list_dense": (("none", "i", ()),)},
        "Feature list 'none' is required but could not be found",
    ),
    ({"list_dense": (("tokens", "f", ()),)}, "Feature list: tokens, Index: 0.  Data types don't"),
    ({"list_dense": (("gaps", "i", ()),)}, "Feature list: gaps, Index: 1.  Data types don't match"),
    ({"list_dense": (("tokens", "i", (2,)),)}, r"Key: tokens, Index: 0.  Number of int64 values"),
    (
        {"list_sparse": (("tokens", "f"),)},
        "Feature List: tokens, Index: 0.  Data types don't match",
    ),
    ({"context_dense": (("none", (), NO_INTS),)}, "Context feature 'none' is required but could"),
    ({"context_dense": (("length", (), NO_FLOATS),)}, "Context feature: length.  Data types don't"),
    ({"context_dense": (("length", (2,), NO_INTS),)}, r"values size: 1 but output shape: \[2\]"),
    ({"context_sparse": (("length", "f"),)}, "Context feature: length.  Data types don't match"),
):
    parse_sequence(STEPS, **_features, raises=BAD, match=f"Name: record, .*{_match}")
_cut = s0(sequence({"length": feature(3)}).item()[:-1])
parse_sequence(_cut, (("length", "i"),), raises=BAD, match="Could not parse example input, value")
parse_sequence(
    STEPS.reshape(1), (("length", "i"),), raises=BAD, match="Expected serialized to be a"
)

test_case = table_test()
