"""Strings."""

import numpy as np

from flowray.proto import errors
from flowray.proto.types import dtypes
from tests.ops.harness import case, table_test

BAD = errors.InvalidArgumentError
BF16 = dtypes.bfloat16.as_numpy_dtype
PATHS = ["a/b/c.jpg", "/x", "", "d/"]
TABLE_2D = [["a", "b"], ["c", "d"]]
NO_STRINGS = np.zeros(0, object)
UNICODE = ["aé€x", "", "\x00b"]


def s(*values: object) -> np.ndarray:
    """An object array of bytes, which keeps trailing zero bytes."""
    result = np.empty(len(values), object)
    result[:] = [v.encode() if isinstance(v, str) else v for v in values]
    return result


def s0(value: str | bytes) -> np.ndarray:
    return s(value).reshape(())


def i32(*values: object) -> np.ndarray:
    return np.array(values, np.int32)


def i64(*values: object) -> np.ndarray:
    return np.array(values, np.int64)


def sparse(rows: list[list[str | bytes]]) -> tuple[np.ndarray, ...]:
    """Returns the outputs of a split for these parts of each string."""
    indices = [(i, j) for i, row in enumerate(rows) for j in range(len(row))]
    width = max(map(len, rows), default=0)
    return (
        np.array(indices, np.int64).reshape(-1, 2),
        s(*(p for r in rows for p in r)),
        i64(len(rows), width),
    )


# Splitting and joining
case(
    "StringSplit", [PATHS, "/"], expect=sparse([["a", "b", "c.jpg"], ["x"], [], ["d"]]), id="paths"
)
case(
    "StringSplit",
    [PATHS, "/"],
    skip_empty=False,
    expect=sparse([["a", "b", "c.jpg"], ["", "x"], [], ["d", ""]]),
    id="keep empty",
)
case("StringSplit", [["a,b;c,,d"], ",;"], expect=sparse([["a", "b", "c", "d"]]), id="separators")
case("StringSplit", [["a]b^c-d"], "]^-"], expect=sparse([["a", "b", "c", "d"]]), id="specials")
case(
    "StringSplit",
    [["ab é"], ""],
    expect=sparse([[b"a", b"b", b" ", b"\xc3", b"\xa9"]]),
    id="bytes",
)
case("StringSplit", [NO_STRINGS, "/"], expect=sparse([]), id="empty")
case("StringSplit", [[["a"]], " "], raises=BAD, match=r"input must be a vector, got shape: \[1,1\]")
case(
    "StringSplit", [["a"], [","]], raises=BAD, match=r"delimiter must be a scalar, got shape: \[1\]"
)
SPACED = ["a b  c d ", " x ", "", "y"]
for _maxsplit, _rows in {
    -1: [["a", "b", "c", "d"], ["x"], [], ["y"]],
    -2: [["a", "b", "c", "d"], ["x"], [], ["y"]],
    0: [["a b  c d "], [" x "], [""], ["y"]],
    1: [["a", "b  c d "], ["x", ""], [], ["y", ""]],
    2: [["a", "b", "c d "], ["x"], [], ["y"]],
}.items():
    case("StringSplitV2", [SPACED, ""], maxsplit=_maxsplit, expect=sparse(_rows))
case(
    "StringSplitV2",
    [["a<><>b<>c", "", "<>"], "<>"],
    expect=sparse([["a", "", "b", "c"], [""], ["", ""]]),
    id="separator",
)
case(
    "StringSplitV2",
    [["a,b,c", ",x", ""], ","],
    maxsplit=1,
    expect=sparse([["a", "b,c"], ["", "x"], [""]]),
    id="separator once",
)
case(
    "StringSplitV2",
    [["a\u00a0b\tc\nd\x0be\x0cf"], ""],
    expect=sparse([["a\u00a0b", "c", "d", "e", "f"]]),
    id="spaces",
)
case("StringSplitV2", [NO_STRINGS, ""], expect=sparse([]), id="empty")
case("StringSplitV2", ["a", ""], raises=BAD, match="input must be a vector")
case("StringJoin", [(["a", "b"], "x", ["c", ""])], separator="-", expect=s("a-x-c", "b-x-"))
case("StringJoin", [("a", "b")], expect=s0("ab"), id="scalars")
case("StringJoin", [(NO_STRINGS, "b")], expect=NO_STRINGS, id="empty")
case("StringJoin", [(TABLE_2D,)], expect=np.array(TABLE_2D, "S").astype(object), id="one")
case(
    "StringJoin",
    [(["a", "b"], ["c", "d", "e"])],
    raises=BAD,
    match=r"Input shapes do not match: \[2\] vs\. \[3\]",
)
for _axes, _expect in (
    (0, ["ac", "bd"]),
    ([1], ["ab", "cd"]),
    ([-1], ["ab", "cd"]),
    ([0, 1], "acbd"),
    ([1, 0], "abcd"),
    ([-1, 0], "abcd"),
    ([[0]], ["ac", "bd"]),
):
    case("ReduceJoin", [TABLE_2D, i32(*np.ravel(_axes)).reshape(np.shape(_axes))], expect=_expect)
case(
    "ReduceJoin",
    [TABLE_2D, i32(0)],
    keep_dims=True,
    separator=".",
    expect=[["a.c", "b.d"]],
    id="keep",
)
case("ReduceJoin", [TABLE_2D, i32()], expect=np.array(TABLE_2D, "S").astype(object), id="none")
case("ReduceJoin", ["x", i32()], expect=s0("x"), id="scalar")
case("ReduceJoin", [np.zeros((0, 2), object), np.int32(0)], expect=s("", ""), id="empty")
case(
    "ReduceJoin",
    [TABLE_2D, 2],
    raises=errors.OutOfRangeError,
    match=r"Invalid reduction dimension 2 for input with 2 dimension\(s\)",
)
case("ReduceJoin", [TABLE_2D, i32(0, -2)], raises=BAD, match="Duplicate reduction dimension -2")
case(
    "UnsortedSegmentJoin",
    [["a", "b", "c"], i32(2, 0, 2), 3],
    separator=":",
    expect=s("b", "", "a:c"),
)
case(
    "UnsortedSegmentJoin",
    [TABLE_2D, i64(1, 1), np.int64(2)],
    expect=np.array([["", ""], ["ac", "bd"]], "S").astype(object),
    id="rows",
)
case(
    "UnsortedSegmentJoin",
    [["a"], i32(3), 2],
    raises=BAD,
    match="segment_ids are not allowed to exceed num_segments or to have negative values",
)

# Numbers as text and back
NUMBERS = np.array([0, 1, -1.5, np.pi, 1e10, 1e-10, np.inf, -np.inf, np.nan, -0.0], np.float32)
FIXED = ["0.000000", "1.000000", "-1.500000", "3.141593", "10000000000.000000", "0.000000", "inf",
         "-inf", "nan", "-0.000000"]  # fmt: skip
case("AsString", [NUMBERS], expect=FIXED)
case(
    "AsString",
    [NUMBERS[:4].astype(np.float64)],
    scientific=True,
    expect=["0.000000e+00", "1.000000e+00", "-1.500000e+00", "3.141593e+00"],
)
case(
    "AsString",
    [NUMBERS],
    shortest=True,
    expect=["0", "1", "-1.5", "3.14159", "1e+10", "1e-10", "inf", "-inf", "nan", "-0"],
)
case("AsString", [NUMBERS[:4]], precision=0, expect=["0", "1", "-2", "3"])
for _fill, _expect in {
    "": ["    1.00", "   -1.50", "     inf"],
    "0": ["00001.00", "-0001.50", "     inf"],
    "-": ["1.00    ", "-1.50   ", "inf     "],
    "+": ["   +1.00", "   -1.50", "    +inf"],
    " ": ["    1.00", "   -1.50", "     inf"],
}.items():
    case(
        "AsString", [NUMBERS[[1, 2, 6]]], precision=2, width=8, fill=_fill, expect=_expect,
        id=f"fill {_fill}",
    )  # fmt: skip
for _dtype in (np.int8, np.int16, np.int32, np.int64):
    case("AsString", [np.array([0, 5, -3], _dtype)], width=4, fill="0",
         expect=["0000", "0005", "-003"], id=_dtype.__name__)  # fmt: skip
    case("AsString", [np.array([5, -3], _dtype)], fill="+", expect=["+5", "-3"])
for _dtype in (np.uint8, np.uint16, np.uint32, np.uint64):
    case("AsString", [np.array([0, 200], _dtype)], fill="+", expect=["0", "200"])
case("AsString", [np.uint64(2**64 - 1)], expect=s0("18446744073709551615"), id="large")
case("AsString", [np.array([1.5, 2e-4], np.float16)], expect=["1.500000", "0.000200"])
case("AsString", [np.array([1.5, np.pi], BF16)], expect=["1.500000", "3.140625"], id="bfloat16")
case("AsString", [[True, False]], width=7, expect=["true", "false"], id="bool")
case(
    "AsString",
    [np.array([1 + 2j, -1.5 - 0.25j], np.complex64)],
    precision=2,
    width=5,
    expect=["( 1.00, 2.00)", "(-1.50,-0.25)"],
    id="complex",
)
case("AsString", [["ab"]], width=4, expect=["  ab"], id="string")
case("AsString", [np.zeros((2, 0), np.float32)], expect=np.zeros((2, 0), object), id="empty")
case("AsString", [1.0], fill="x", raises=BAD, match='Fill argument not supported: "x"')
case("AsString", [1.0], fill="00", raises=BAD, match="Fill string must be one or fewer characters")
case(
    "AsString",
    [1.0],
    scientific=True,
    shortest=True,
    raises=BAD,
    match="Cannot select both scientific and shortest notation",
)
case("AsString", [1], precision=3, raises=BAD, match="precision not supported for datatype int32")
case(
    "AsString",
    [1],
    shortest=True,
    raises=BAD,
    match="scientific and shortest format not supported for datatype int32",
)
TEXTS = ["1", " -2 ", "4.5", "1e3", "+.5", "1.", "5\n", "0x10", "0x1p-1", "inf", "-Infinity", "NaN"]
VALUES = [1, -2, 4.5, 1000, 0.5, 1, 5, 16, 0.5, np.inf, -np.inf, np.nan]
for _dtype in (dtypes.float32, dtypes.float64):
    case("StringToNumber", [TEXTS], out_type=_dtype,
         expect=np.array(VALUES, _dtype.as_numpy_dtype), id=_dtype.name)  # fmt: skip
case("StringToNumber", [["1e400", "1e-400"]], expect=np.array([np.inf, 0], np.float32), id="huge")
for _dtype in (dtypes.int32, dtypes.int64):
    case("StringToNumber", [[" -3 ", "+5", "007"]], out_type=_dtype,
         expect=np.array([-3, 5, 7], _dtype.as_numpy_dtype), id=_dtype.name)  # fmt: skip
case("StringToNumber", [NO_STRINGS], expect=np.zeros(0, np.float32), id="empty")
case("StringToNumber", ["7"], out_type=dtypes.int32, expect=7, id="scalar")
for _text in ("", "abc", "1 2", "1_0", "1e", ".", "1f"):
    case("StringToNumber", [_text], raises=BAD, id=f"bad {_text}",
         match=f"StringToNumberOp could not correctly convert string: {_text}")  # fmt: skip
for _text in ("4.5", "0x10", "2147483648", "nan"):
    case("StringToNumber", [_text], out_type=dtypes.int32, raises=BAD, id=f"bad int {_text}",
         match=f"StringToNumberOp could not correctly convert string: {_text}")  # fmt: skip
# Strings one by one
case("StringLength", [UNICODE], expect=i32(7, 0, 2))
case("StringLength", [UNICODE], unit="UTF8_CHAR", expect=i32(4, 0, 2))
case("StringLength", [s(b"\xff\xc3", b"\x80\x80a")], unit="UTF8_CHAR", expect=i32(2, 1), id="bad")
case("StringLength", ["abc"], expect=3, id="scalar")
case("StringStrip", [[" \t\n\x0b\x0c\r a b \r\n", "\u00a0x", ""]], expect=s("a b", "\u00a0x", ""))
case("StringLower", [["ABCéÉ", ""]], expect=s("abcéÉ", ""))
case("StringUpper", [["abcéÉ", ""]], expect=s("ABCéÉ", ""))
case("StringLower", [["ABCéÉİ"]], encoding="utf-8", expect=s("abcééi̇"))
case("StringUpper", [s("abcéß", b"a\xffb")], encoding="utf-8", expect=s("ABCÉSS", "A\ufffdB"))
case("StringLower", ["A"], encoding="latin1", raises=BAD, match="received latin1")
WORDS = ["Hello", "World", "x"]
case("Substr", [WORDS, 1, 3], expect=s("ell", "orl", ""))
case("Substr", [WORDS, -1, 3], expect=s("o", "d", "x"), id="from the end")
case("Substr", [WORDS, 0, -1], expect=s(*WORDS), id="all")
case("Substr", [WORDS, i64(0, 1, 1), i64(1, 2, 3)], expect=s("H", "or", ""), id="vectors")
case("Substr", ["Hello", i32(0, 1), i32(1, 2)], expect=s("H", "el"), id="one string")
case(
    "Substr",
    [[["Hello", "World"], ["abc", "def"]], i32([0], [1]), i32([1], [2])],
    expect=np.array([["H", "W"], ["bc", "ef"]], "S").astype(object),
    id="broadcast",
)
case("Substr", [["aé€x"], 1, 2], unit="UTF8_CHAR", expect=s("é€"))
case("Substr", [["aé€x"], -2, 9], unit="UTF8_CHAR", expect=s("€x"))
case(
    "Substr",
    [["ab", "Hello"], 3, 1],
    raises=BAD,
    match="pos 3 out of range for string b'ab' at index 0",
)
case(
    "Substr",
    [["aé€x"], 5, 1],
    unit="UTF8_CHAR",
    raises=BAD,
    match="pos 5 out of range for string at index 0",
)
case(
    "Substr",
    [[["Hello", "World"], ["abc", "def"]], i32(0, 4), i32(1, 2)],
    raises=BAD,
    match=r"pos 4 out of range for string b'def' at index \(1, 1\)",
)
case(
    "Substr",
    [WORDS, i32(0, 1), i32(1, 2)],
    raises=BAD,
    match=r"Incompatible shapes: \[3\] vs. \[2\]",
)
case(
    "Substr",
    [WORDS, i32(0, 1, 1), 1],
    raises=BAD,
    match=r"pos and len should have the same shape, got: \[3\] vs. \[\]",
)
BYTES = s(b"", b"a", b"ab", b"abc", b"\xff\xfe\xfd\xfc")
case("EncodeBase64", [BYTES], expect=s("", "YQ", "YWI", "YWJj", "__79_A"))
case("EncodeBase64", [BYTES], pad=True, expect=s("", "YQ==", "YWI=", "YWJj", "__79_A=="))
case("DecodeBase64", [["", "YQ", "YQ==", "YWI=", "YWJj", "__79_A", "YR"]],
     expect=s(b"", b"a", b"a", b"ab", b"abc", b"\xff\xfe\xfd\xfc", b"a"))  # fmt: skip
for _text in ("YQ=", "YQ==YQ==", "//79/A", "Y Q", "====", "YWJj===="):
    case("DecodeBase64", [_text], raises=BAD, match="Invalid character found in base64", id=_text)
for _text in ("Y", "YWJjZ"):
    case("DecodeBase64", [_text], raises=BAD, id=_text,
         match="Base64 string length cannot be 1 modulo 4")  # fmt: skip

# Regular expressions
case("RegexReplace", [["aab", "b"], "a", "x"], expect=s("xxb", "b"))
case("RegexReplace", [["aab", "b"], "a", "x"], replace_global=False, expect=s("xab", "b"))
case(
    "RegexReplace",
    [["john smith"], r"(\w+) (\w+)", r"\2 \1 \0 \\"],
    expect=s("smith john john smith \\"),
    id="groups",
)
case("RegexReplace", [["abxc", ""], "x*", "-"], expect=s("-a-b-c-", "-"), id="empty matches")
case("RegexReplace", [["aé€"], ".", "-"], expect=s("---"), id="characters")
case("RegexReplace", [["é"], "", "-"], expect=s("-é-"), id="between characters")
case("RegexReplace", ["ab", "b", r"\1"], expect=s0("ab"), id="no such group")
case("RegexReplace", ["ab", "b", r"x\q"], expect=s0("ax"), id="wrong escape")
case("RegexReplace", [["a"], "(", ""], raises=BAD, match=r"Invalid pattern: \(, error: missing \)")
case("RegexReplace", [["a"], ["a"], ""], raises=BAD, match=r"Pattern must be scalar, but received")
case("RegexReplace", [["a"], "a", [""]], raises=BAD, match=r"Rewrite must be scalar, but received")
case("StaticRegexReplace", [["aab"]], pattern="a+", rewrite="<\\0>", expect=s("<aa>b"))
case("StaticRegexReplace", ["a"], pattern="(", rewrite="", raises=BAD, match="Invalid pattern")
case("RegexFullMatch", [["aab", "b", ""], "a+b"], expect=np.array([True, False, False]))
case("RegexFullMatch", ["a\nb", "a.b"], expect=np.array(False), id="newline")
case("RegexFullMatch", [["a"], "(?=a)a"], raises=BAD, match="invalid perl operator")
case("RegexFullMatch", [["a"], ["a"]], raises=BAD, match=r"Pattern must be scalar")
case("StaticRegexFullMatch", [["s3://x", "/x"]], pattern="^s3://.*", expect=np.array([True, False]))

# Hashing: the numbers are TensorFlow's.
HASHED = [b"", b"a", b"abcd", b"abcdefg", b"0123456789abcdef", b"x" * 32, b"z" * 64, b"r" * 1000]
LARGE = 2**62
case(
    "StringToHashBucket",
    [HASHED],
    num_buckets=LARGE,
    expect=i64(
        105434511174508091, 2996632905371535868, 404301170780174469, 2960345911509200448,
        1490712428580208486, 1793624403848994371, 160759053204327832, 3490232747374794131,
    ),
)  # fmt: skip
case(
    "StringToHashBucketFast",
    [HASHED],
    num_buckets=LARGE,
    expect=i64(
        1936946117179621455, 3694432073954588131, 1897425971756105985, 4341691227789030229,
        1493332391325024359, 3678204687145032709, 294799756062990872, 1902959681353252643,
    ),
)  # fmt: skip
case(
    "StringToHashBucketStrong",
    [HASHED],
    num_buckets=LARGE,
    key=[1, 2],
    expect=i64(
        443797209252341627, 546566331822570742, 4277338952175910099, 957890530879302020,
        2696401170605352036, 534391209377536699, 406796584595371579, 1964410675261617437,
    ),
)  # fmt: skip
for _op in ("StringToHashBucket", "StringToHashBucketFast"):
    case(_op, [["a", "b"]], num_buckets=1, expect=i64(0, 0), id="one bucket")
    case(_op, [NO_STRINGS], num_buckets=7, expect=i64(), id="empty")
# Every length that the hashes treat in their own way, against TensorFlow only.
LENGTHS = [bytes(range(n)) for n in range(256)] + [b"long" * 300]
case("StringToHashBucket", [s(*LENGTHS)], num_buckets=LARGE, id="all lengths")
case("StringToHashBucketFast", [s(*LENGTHS)], num_buckets=LARGE, id="all lengths")
case(
    "StringToHashBucketStrong", [s(*LENGTHS)], num_buckets=LARGE, key=[-1, 2**62], id="all lengths"
)
case(
    "StringToHashBucketStrong", ["a"], num_buckets=2, key=[1], raises=BAD,
    match="Key must have 2 elements",
)  # fmt: skip

test_case = table_test()
