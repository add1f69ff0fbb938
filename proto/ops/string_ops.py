"""Strings: definitions."""

from __future__ import annotations

from flowray.proto.ops.common_shapes import unchanged
from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.ops.reduction_ops import reduced_shape, unsorted_segment_shape
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import ALL, INDEX
from flowray.proto.types.shapes import Shape, broadcast, is_compatible, merge_all, with_rank

_UNIT = attr("string", b"BYTE", allowed=[b"BYTE", b"UTF8_CHAR"])

# Splitting and joining ---------------------------------------------------------------------------


def _split_shape(c: ShapeContext) -> list[Shape]:
    with_rank(c.inputs[0], 1)
    with_rank(c.inputs[1], 0)
    return [(None, 2), (None,), (2,)]


op(
    "StringSplit",
    "input: string, delimiter: string -> indices: int64, values: string, shape: int64",
    skip_empty=True,
    host_only=True,
    shape=_split_shape,
)
op(
    "StringSplitV2",
    "input: string, sep: string -> indices: int64, values: string, shape: int64",
    maxsplit=-1,
    host_only=True,
    shape=_split_shape,
)


def _join_shape(c: ShapeContext) -> Shape:
    """Returns the common shape of the inputs that are not scalars; unknown if an input's is."""
    if any(shape is None for shape in c.inputs):
        return None
    result: Shape = ()
    for shape in c.inputs:
        if shape != ():
            result = shape if result == () else merge_all([result, shape])
    return result


op(
    "StringJoin",
    "inputs: N*string -> output: string",
    N=attr("int", minimum=0),
    separator="",
    host_only=True,
    shape=_join_shape,
)
op(
    "ReduceJoin",
    "inputs: string, reduction_indices: int32 -> output: string",
    keep_dims=False,
    separator="",
    host_only=True,
    shape=reduced_shape,
)
op(
    "UnsortedSegmentJoin",
    "inputs: string, segment_ids: Tindices, num_segments: Tnumsegments -> output: string",
    separator="",
    Tindices=INDEX,
    Tnumsegments=attr("type", dtypes.int32, allowed=INDEX),
    host_only=True,
    shape=unsorted_segment_shape,
)

# Numbers as text and back ------------------------------------------------------------------------

op(
    "AsString",
    "input: T -> output: string",
    T=ALL - dtypes.QUANTIZED - {dtypes.resource},
    precision=-1,
    scientific=False,
    shortest=False,
    width=-1,
    fill="",
    host_only=True,
    shape=unchanged,
)
op(
    "StringToNumber",
    "string_tensor: string -> output: out_type",
    out_type=attr(
        "type",
        dtypes.float32,
        allowed=INDEX | {dtypes.float32, dtypes.float64, dtypes.uint32, dtypes.uint64},
    ),
    host_only=True,
    differentiable=False,
    shape=unchanged,
)

# Strings one by one ------------------------------------------------------------------------------

op("StringLength", "input: string -> output: int32", unit=_UNIT, host_only=True, shape=unchanged)
op("StringStrip", "input: string -> output: string", host_only=True, shape=unchanged)
for _name in ("StringLower", "StringUpper"):
    op(_name, "input: string -> output: string", encoding="", host_only=True, shape=unchanged)


def _substr_shape(c: ShapeContext) -> Shape:
    strings, pos, length = c.inputs
    if pos is not None and length is not None:
        with_rank(pos, len(length))
    if not is_compatible(pos, length):
        raise ValueError("pos and len must have the same shape")
    return broadcast(strings, pos)


op(
    "Substr",
    "input: string, pos: T, len: T -> output: string",
    T=INDEX,
    unit=_UNIT,
    host_only=True,
    shape=_substr_shape,
)
op("EncodeBase64", "input: string -> output: string", pad=False, host_only=True, shape=unchanged)
op("DecodeBase64", "input: string -> output: string", host_only=True, shape=unchanged)

# Regular expressions -----------------------------------------------------------------------------


def _regex_shape(c: ShapeContext) -> Shape:
    for other in c.inputs[1:]:
        with_rank(other, 0)
    return c.inputs[0]


op(
    "RegexReplace",
    "input: string, pattern: string, rewrite: string -> output: string",
    replace_global=True,
    host_only=True,
    shape=_regex_shape,
)
op(
    "StaticRegexReplace",
    "input: string -> output: string",
    pattern=attr("string"),
    rewrite=attr("string"),
    replace_global=True,
    host_only=True,
    shape=unchanged,
)
op(
    "RegexFullMatch",
    "input: string, pattern: string -> output: bool",
    host_only=True,
    shape=_regex_shape,
)
op(
    "StaticRegexFullMatch",
    "input: string -> output: bool",
    pattern=attr("string"),
    host_only=True,
    shape=unchanged,
)

# Hashing -----------------------------------------------------------------------------------------

_BUCKETS = attr("int", minimum=1)

op(
    "StringToHashBucket",
    "string_tensor: string -> output: int64",
    num_buckets=_BUCKETS,
    host_only=True,
    shape=unchanged,
)
op(
    "StringToHashBucketFast",
    "input: string -> output: int64",
    num_buckets=_BUCKETS,
    host_only=True,
    shape=unchanged,
)
op(
    "StringToHashBucketStrong",
    "input: string -> output: int64",
    num_buckets=_BUCKETS,
    key=attr("list(int)"),
    host_only=True,
    shape=unchanged,
)
