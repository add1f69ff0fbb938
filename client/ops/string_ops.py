"""User functions for strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.framework.sparse_tensor import SparseTensor
from flowray.client.ops.array_ops import _one_of, rank
from flowray.client.tf_export import tf_export
from flowray.proto import errors
from flowray.proto.types import dtypes

# Splitting and joining ----------------------------------------------------------------------------


@tf_export("string_split")
def string_split(
    source: Any,
    sep: Any = None,
    skip_empty: bool = True,
    delimiter: Any = None,
    result_type: str = "SparseTensor",
    name: str | None = None,
) -> SparseTensor:
    """Splits each string of the vector ``source``; the parts are the rows of a sparse matrix.

    Args:
        sep: each of its bytes separates; one space if None, every byte is a piece if empty.
        skip_empty: whether to leave empty pieces out.
        delimiter: the older name of ``sep``.
        result_type: ``SparseTensor``.

    Raises:
        ValueError: both ``sep`` and ``delimiter`` are given, or another ``result_type``.
    """
    with name_scope(name, "StringSplit", [source]):
        separator = _one_of("sep", sep, "delimiter", delimiter)
        separator = " " if separator is None else separator
        _check_result_type(result_type)
        source = convert_to_tensor(source, dtypes.string)
        parts = apply_op("StringSplit", source, separator, skip_empty=skip_empty)
        return _with_rows(source, parts)


@tf_export("strings.split")
def strings_split(
    input: Any = None,
    sep: Any = None,
    maxsplit: int = -1,
    result_type: str = "SparseTensor",
    source: Any = None,
    name: str | None = None,
) -> SparseTensor:
    """Splits each string of the vector ``input`` as Python's ``str.split`` does.

    Args:
        input: a vector, or one string.
        sep: the separator; white space if None or empty, of which several are as one.
        maxsplit: the most splits of one string; -1 for any number.
        result_type: ``SparseTensor``.
        source: the older name of ``input``.
    """
    with name_scope(name, "StringSplit", [input, source]):
        source = convert_to_tensor(_one_of("input", input, "source", source), dtypes.string)
        _check_result_type(result_type)
        if source.shape_tuple == ():
            source = apply_op("ExpandDims", source, 0)
        parts = apply_op("StringSplitV2", source, "" if sep is None else sep, maxsplit=maxsplit)
        return _with_rows(source, parts)


def _check_result_type(result_type: str) -> None:
    if result_type == "RaggedTensor":
        raise errors.unimplemented("flowray has no RaggedTensor yet")
    if result_type != "SparseTensor":
        raise ValueError("result_type must be 'RaggedTensor' or 'SparseTensor'.")


def _with_rows(source: Tensor, parts: Any) -> SparseTensor:
    indices, values, shape = parts
    indices.set_shape([None, 2])
    values.set_shape([None])
    shape.set_shape([2])
    return SparseTensor(indices=indices, values=values, dense_shape=shape)


@tf_export("string_join", "strings.join")
def string_join(inputs: Sequence[Any], separator: str = "", name: str | None = None) -> Tensor:
    """Joins the strings of several tensors elementwise; scalars go with every element."""
    return output_of("StringJoin", inputs, separator=separator, name=name)


@tf_export("reduce_join", "strings.reduce_join")
def reduce_join(
    inputs: Any,
    axis: Any = None,
    keep_dims: bool | None = None,
    separator: str = "",
    name: str | None = None,
    reduction_indices: Any = None,
    keepdims: bool | None = None,
) -> Tensor:
    """Joins the strings of ``inputs`` along some axes.

    Args:
        axis: an axis or a list of these, the first of which varies fastest; all if None, in
            row-major order. ``reduction_indices`` is its older name.
        keepdims: whether those axes stay, with size 1. ``keep_dims`` is its older name.
        separator: the string between two of them.
    """
    axis = _one_of("axis", axis, "reduction_indices", reduction_indices)
    keep = bool(_one_of("keepdims", keepdims, "keep_dims", keep_dims))
    inputs = convert_to_tensor(inputs, dtypes.string)
    if axis is None:
        shape = inputs.shape_tuple
        if shape is None:
            axis = apply_op("Range", apply_op("Sub", rank(inputs), 1), -1, -1)
        else:
            axis = convert_to_tensor(list(range(len(shape) - 1, -1, -1)), dtypes.int32)
    return output_of("ReduceJoin", inputs, axis, keep_dims=keep, separator=separator, name=name)


@tf_export("strings.unsorted_segment_join")
def unsorted_segment_join(
    inputs: Any, segment_ids: Any, num_segments: Any, separator: str = "", name: str | None = None
) -> Tensor:
    """Joins the strings of each segment in their order: row i has those with id i."""
    return output_of(
        "UnsortedSegmentJoin", inputs, segment_ids, num_segments, separator=separator, name=name
    )


# Numbers as text and back -------------------------------------------------------------------------


@tf_export("as_string", "dtypes.as_string", "strings.as_string")
def as_string(
    input: Any,
    precision: int = -1,
    scientific: bool = False,
    shortest: bool = False,
    width: int = -1,
    fill: str = "",
    name: str | None = None,
) -> Tensor:
    """Formats the elements of ``input`` as C's printf does.

    Args:
        input: numbers, booleans or strings.
        precision: the digits after the point; 6 if negative. Only for fractions.
        scientific: whether to write 1e+01.
        shortest: whether to choose the shorter of the two notations.
        width: the text is padded to this many characters.
        fill: how: ``" "``, ``"0"``, ``"-"`` (spaces to the right), or ``"+"`` (with a sign).
    """
    return output_of(
        "AsString",
        input,
        precision=precision,
        scientific=scientific,
        shortest=shortest,
        width=width,
        fill=fill,
        name=name,
    )


@tf_export("string_to_number", "strings.to_number")
def string_to_number(
    string_tensor: Any = None,
    out_type: Any = dtypes.float32,
    name: str | None = None,
    input: Any = None,
) -> Tensor:
    """Converts strings to numbers of ``out_type``; a run fails for other strings."""
    strings = _one_of("input", input, "string_tensor", string_tensor)
    return output_of("StringToNumber", strings, out_type=out_type, name=name)


@tf_export("strings.format")
def string_format(
    template: str,
    inputs: Any,
    placeholder: str = "{}",
    summarize: int = 3,
    name: str | None = None,
) -> Tensor:
    """Replaces the placeholders of ``template`` by the values of tensors.

    Args:
        inputs: a tensor or a list of these, one for each placeholder.
        summarize: how many entries to show at each end of each axis; -1 for all.
    """
    values = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    return output_of(
        "StringFormat",
        values,
        template=template,
        placeholder=placeholder,
        summarize=summarize,
        name=name,
    )


# Strings one by one -------------------------------------------------------------------------------


@tf_export("strings.length")
def string_length(input: Any, name: str | None = None, unit: str = "BYTE") -> Tensor:
    """Returns the length of each string, int32, in bytes or (``UTF8_CHAR``) characters."""
    return output_of("StringLength", input, unit=unit, name=name)


@tf_export("string_strip", "strings.strip")
def string_strip(input: Any, name: str | None = None) -> Tensor:
    """Removes white space at both ends of the strings."""
    return output_of("StringStrip", input, name=name)


@tf_export("strings.lower")
def string_lower(input: Any, encoding: str = "", name: str | None = None) -> Tensor:
    """Converts strings to lower case; only A to Z unless ``encoding`` is "utf-8"."""
    return output_of("StringLower", input, encoding=encoding, name=name)


@tf_export("strings.upper")
def string_upper(input: Any, encoding: str = "", name: str | None = None) -> Tensor:
    """Converts strings to upper case; only a to z unless ``encoding`` is "utf-8"."""
    return output_of("StringUpper", input, encoding=encoding, name=name)


@tf_export("substr", "strings.substr")
def substr(input: Any, pos: Any, len: Any, name: str | None = None, unit: str = "BYTE") -> Tensor:
    """Takes ``len`` bytes or (``UTF8_CHAR``) characters from ``pos`` on of each string.

    ``pos`` and ``len`` have one shape, which broadcasts with that of ``input``. A negative
    ``pos`` counts from the end; one beyond an end fails the run.
    """
    return output_of("Substr", input, pos, len, unit=unit, name=name)


@tf_export("encode_base64", "io.encode_base64")
def encode_base64(input: Any, pad: bool = False, name: str | None = None) -> Tensor:
    """Encodes strings in web-safe base64, with ``=`` at the end if ``pad``."""
    return output_of("EncodeBase64", input, pad=pad, name=name)


@tf_export("decode_base64", "io.decode_base64")
def decode_base64(input: Any, name: str | None = None) -> Tensor:
    """Decodes web-safe base64, with or without ``=`` at the end."""
    return output_of("DecodeBase64", input, name=name)


# Regular expressions ------------------------------------------------------------------------------


@tf_export("regex_replace", "strings.regex_replace")
def regex_replace(
    input: Any, pattern: Any, rewrite: Any, replace_global: bool = True, name: str | None = None
) -> Tensor:
    """Replaces the matches of an RE2 expression in the strings.

    Args:
        pattern: a string or a scalar tensor.
        rewrite: the replacement; a backslash and a digit is a group, 0 all of the match.
        replace_global: whether to replace all matches or only the first.
    """
    if isinstance(pattern, str | bytes) and isinstance(rewrite, str | bytes):
        return output_of(
            "StaticRegexReplace",
            input,
            pattern=pattern,
            rewrite=rewrite,
            replace_global=replace_global,
            name=name,
        )
    return output_of(
        "RegexReplace", input, pattern, rewrite, replace_global=replace_global, name=name
    )


@tf_export("strings.regex_full_match")
def regex_full_match(input: Any, pattern: Any, name: str | None = None) -> Tensor:
    """Tells whether all of each string matches the RE2 expression ``pattern``."""
    if isinstance(pattern, str | bytes):
        return output_of("StaticRegexFullMatch", input, pattern=pattern, name=name)
    return output_of("RegexFullMatch", input, pattern, name=name)


# Hashing ------------------------------------------------------------------------------------------


@tf_export("string_to_hash_bucket", "strings.to_hash_bucket")
def string_to_hash_bucket(
    string_tensor: Any = None,
    num_buckets: int | None = None,
    name: str | None = None,
    input: Any = None,
) -> Tensor:
    """Hashes each string to an int64 below ``num_buckets``; prefer the ``_fast`` function."""
    strings = _one_of("input", input, "string_tensor", string_tensor)
    return output_of("StringToHashBucket", strings, num_buckets=num_buckets, name=name)


@tf_export("string_to_hash_bucket_fast", "strings.to_hash_bucket_fast")
def string_to_hash_bucket_fast(input: Any, num_buckets: int, name: str | None = None) -> Tensor:
    """Hashes each string to an int64 below ``num_buckets``, the same in every process."""
    return output_of("StringToHashBucketFast", input, num_buckets=num_buckets, name=name)


@tf_export("string_to_hash_bucket_strong", "strings.to_hash_bucket_strong")
def string_to_hash_bucket_strong(
    input: Any, num_buckets: int, key: Sequence[int], name: str | None = None
) -> Tensor:
    """Hashes strings so that nobody without ``key`` (two ints) finds collisions."""
    return output_of("StringToHashBucketStrong", input, num_buckets=num_buckets, key=key, name=name)
