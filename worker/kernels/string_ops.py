"""Kernels of strings. String tensors are object arrays of bytes; all of this runs on the host."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import format_shape
from flowray.worker.kernel_registry import kernel
from flowray.worker.kernels.support import string_hashes
from flowray.worker.kernels.support.regular_expressions import RegularExpression

Array = np.ndarray[Any, Any]


def strings(values: Iterable[bytes], shape: tuple[int, ...]) -> Array:
    """Makes a string tensor of ``shape`` with ``values`` in order."""
    return np.array(list(values), object).reshape(shape)


def each(function: Callable[[bytes], bytes], x: Array) -> Array:
    """Applies ``function`` to every string of ``x``."""
    return strings(map(function, x.reshape(-1).tolist()), x.shape)


def text(value: bytes) -> str:
    """Decodes a string of a tensor for a message."""
    return value.decode("utf-8", "replace")


# Splitting and joining ---------------------------------------------------------------------------


def _check_split(x: Array, separator: Array, name: str) -> bytes:
    if x.ndim != 1:
        raise errors.invalid_argument(f"input must be a vector, got shape: {format_shape(x.shape)}")
    if separator.ndim:
        raise errors.invalid_argument(
            f"{name} must be a scalar, got shape: {format_shape(separator.shape)}"
        )
    return separator.item()


def _sparse(rows: list[list[bytes]]) -> tuple[Array, Array, Array]:
    """Makes a sparse matrix of lists of different lengths: indices, values, shape."""
    if len(rows) == 1:  # as in pipelines, where every call of numpy counts
        (parts,) = rows
        indices = np.zeros((len(parts), 2), np.int64)
        indices[:, 1] = range(len(parts))
        return indices, np.array(parts, object), np.array((1, len(parts)), np.int64)
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    total = int(lengths.sum())
    row = np.repeat(np.arange(len(rows)), lengths)
    starts = np.cumsum(lengths) - lengths
    indices = np.stack([row, np.arange(total) - starts[row]], axis=1).astype(np.int64)
    shape = np.array([len(rows), lengths.max(initial=0)], np.int64)
    return indices, strings(chain.from_iterable(rows), (total,)), shape


@kernel("StringSplit")
def string_split(xp: Any, x: Array, delimiter: Array, *, skip_empty: bool) -> Any:
    """Splits each string of a vector at every byte of ``delimiter``; at every byte if it is empty.

    Returns:
        Indices, values and shape of a sparse matrix with a row for each string.
    """
    separators = _check_split(x, delimiter, "delimiter")
    if not separators:
        return _sparse([[s[i : i + 1] for i in range(len(s))] for s in x.tolist()])
    if len(separators) == 1:
        rows = [s.split(separators) if s else [] for s in x.tolist()]
    else:
        split = re.compile(b"[" + re.escape(separators) + b"]").split
        rows = [split(s) if s else [] for s in x.tolist()]
    return _sparse([[p for p in row if p] for row in rows] if skip_empty else rows)


@kernel("StringSplitV2")
def string_split_v2(xp: Any, x: Array, sep: Array, *, maxsplit: int) -> Any:
    """Splits each string of a vector as Python's ``str.split`` does; a sparse matrix.

    An empty ``sep`` splits at runs of whitespace, and a negative ``maxsplit`` has no limit.
    """
    separator = _check_split(x, sep, "sep")
    if maxsplit == 0:
        return _sparse([[s] for s in x.tolist()])
    if separator:
        return _sparse([s.split(separator, max(maxsplit, -1)) for s in x.tolist()])
    return _sparse([_split_at_space(s, maxsplit) for s in x.tolist()])


def _split_at_space(value: bytes, maxsplit: int) -> list[bytes]:
    """Splits as Python does, except that the rest after ``maxsplit`` parts counts even if empty."""
    parts = value.split(None, max(maxsplit, -1))
    return [*parts, b""] if len(parts) == maxsplit else parts


@kernel("StringJoin")
def string_join(xp: Any, inputs: list[Array], *, separator: bytes) -> Array:
    """Joins elementwise with ``separator``; scalars go with every element."""
    shape: tuple[int, ...] = ()
    for x in inputs:
        if x.ndim and shape and x.shape != shape:
            raise errors.invalid_argument(
                f"Input shapes do not match: {format_shape(shape)} vs. {format_shape(x.shape)}"
            )
        shape = x.shape or shape
    columns = [np.broadcast_to(x, shape).reshape(-1).tolist() for x in inputs]
    if not columns:
        return strings([b""], ())
    return strings(map(separator.join, zip(*columns, strict=True)), shape)


@kernel("ReduceJoin")
def reduce_join(xp: Any, x: Array, indices: Array, *, keep_dims: bool, separator: bytes) -> Array:
    """Joins along the axes in the order in which they are named, the first one fastest."""
    for index in indices.reshape(-1).tolist():
        if not -x.ndim <= index < x.ndim:
            raise errors.out_of_range(
                f"Invalid reduction dimension {index} for input with {x.ndim} dimension(s)"
            )
    axes: list[int] = []
    for index in indices.reshape(-1).tolist():
        if index % x.ndim in axes:
            raise errors.invalid_argument(f"Duplicate reduction dimension {index}")
        axes.append(index % x.ndim)
    kept = [i for i in range(x.ndim) if i not in axes]
    shape = tuple(x.shape[i] for i in kept)
    count = int(np.prod([x.shape[i] for i in axes], dtype=np.int64))
    groups = x.transpose(kept + axes[::-1]).reshape(-1).tolist()
    joined = (
        separator.join(groups[i * count : (i + 1) * count])
        for i in range(int(np.prod(shape, dtype=np.int64)))
    )
    if keep_dims:
        shape = tuple(1 if i in axes else dim for i, dim in enumerate(x.shape))
    return strings(joined, shape)


@kernel("UnsortedSegmentJoin")
def unsorted_segment_join(
    xp: Any, x: Array, segment_ids: Array, num_segments: Array, *, separator: bytes
) -> Array:
    """Joins the strings of each segment, in their order; a segment without strings is empty."""
    if num_segments.ndim:
        raise errors.invalid_argument("Number of segments should be a scalar")
    number = int(num_segments)
    if number < 0:
        raise errors.invalid_argument(f"Number of segments must be non-negative, but got {number}")
    if segment_ids.ndim > x.ndim or x.shape[: segment_ids.ndim] != segment_ids.shape:
        raise errors.invalid_argument(
            f"data.shape = {format_shape(x.shape)} does not start with segment_ids.shape = "
            f"{format_shape(segment_ids.shape)}"
        )
    ids = segment_ids.reshape(-1)
    inner = x.shape[segment_ids.ndim :]
    rows = x.reshape(len(ids), int(np.prod(inner, dtype=np.int64)))
    if ids.size and not 0 <= ids.min() <= ids.max() < number:
        raise errors.invalid_argument(
            "segment_ids are not allowed to exceed num_segments or to have negative values."
        )
    groups: list[list[list[bytes]]] = [[[] for _ in range(rows.shape[1])] for _ in range(number)]
    for segment, row in zip(ids.tolist(), rows.tolist(), strict=True):
        for group, value in zip(groups[segment], row, strict=True):
            group.append(value)
    return strings(map(separator.join, chain.from_iterable(groups)), (number, *inner))


# Numbers as text and back ------------------------------------------------------------------------


@kernel("AsString")
def as_string(
    xp: Any, x: Array, *, precision: int, scientific: bool, shortest: bool, width: int, fill: bytes
) -> Array:
    """Formats numbers as C's printf does, with conversions that Python's % has, too."""
    dtype = dtypes.as_dtype(x.dtype)
    pattern = _printf_pattern(dtype, precision, scientific, shortest, width, fill)
    values = x.reshape(-1).tolist()
    if x.dtype == bool:
        return strings((b"true" if v else b"false" for v in values), x.shape)
    if x.dtype == object:
        return strings((pattern.encode() % v for v in values), x.shape)
    number = _number_formatter(pattern)
    if dtype.is_complex:
        return strings((f"({number(v.real)},{number(v.imag)})".encode() for v in values), x.shape)
    return strings((number(v).encode() for v in values), x.shape)


def _number_formatter(pattern: str) -> Callable[[Any], str]:
    # Infinities and NaN are not padded with zeros.
    without_zeros = pattern.replace("%0", "%")
    return lambda v: (pattern if abs(v) < np.inf else without_zeros) % v


def _printf_pattern(
    dtype: DType, precision: int, scientific: bool, shortest: bool, width: int, fill: bytes
) -> str:
    if scientific and shortest:
        raise errors.invalid_argument("Cannot select both scientific and shortest notation")
    is_fraction = dtype.is_floating or dtype.is_complex
    if not is_fraction and dtype != dtypes.string:
        if scientific or shortest:
            raise errors.invalid_argument(
                f"scientific and shortest format not supported for datatype {_c_name(dtype)}"
            )
        if precision >= 0:
            raise errors.invalid_argument(f"precision not supported for datatype {_c_name(dtype)}")
    if len(fill) > 1:
        raise errors.invalid_argument("Fill string must be one or fewer characters")
    if fill not in (b"", b" ", b"+", b"-", b"0"):
        raise errors.invalid_argument(f'Fill argument not supported: "{text(fill)}"')
    flag = fill.decode()
    if flag == "+" and dtype.is_integer and dtype.is_unsigned:
        flag = ""
    size = (str(width) if width >= 0 else "") + (f".{precision}" if precision >= 0 else "")
    if dtype == dtypes.string:
        return f"%{flag}{str(width) if width >= 0 else ''}s"
    if not is_fraction:
        return f"%{flag}{size}d"
    return f"%{flag}{size}{'e' if scientific else 'g' if shortest else 'f'}"


def _c_name(dtype: DType) -> str:
    return {"float32": "float", "float64": "double"}.get(dtype.name, dtype.name)


_SPACE = rb"[ \t\n\v\f\r]*"
_INTEGER = re.compile(_SPACE + rb"([+-]?[0-9]+)" + _SPACE)
_DECIMAL = re.compile(
    _SPACE
    + rb"([+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf(?:inity)?|nan))"
    + _SPACE,
    re.IGNORECASE,
)
_HEXADECIMAL = re.compile(
    _SPACE + rb"([+-]?0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p[+-]?[0-9]+)?)" + _SPACE,
    re.IGNORECASE,
)


def parse_number(value: bytes, dtype: DType) -> Any:
    """Reads a number as C's strtod or strtol; None if the text is not a number of ``dtype``."""
    if dtype.is_integer:
        match = _INTEGER.fullmatch(value)
        if match is None or not dtype.min <= int(match[1]) <= dtype.max:
            return None
        return int(match[1])
    match = _DECIMAL.fullmatch(value)
    if match is not None:
        return float(match[1])
    match = _HEXADECIMAL.fullmatch(value)
    return None if match is None else float.fromhex(match[1].decode())


@kernel("StringToNumber")
def string_to_number(xp: Any, x: Array, *, out_type: DType) -> Array:
    """Reads numbers of ``out_type``; InvalidArgumentError for a text that is not a number."""
    values = x.reshape(-1).tolist()
    numbers = [parse_number(v, out_type) for v in values]
    for value, number in zip(values, numbers, strict=True):
        if number is None:
            raise errors.invalid_argument(
                f"StringToNumberOp could not correctly convert string: {text(value)}"
            )
    return np.array(numbers, out_type.as_numpy_dtype).reshape(x.shape)


# Strings one by one ------------------------------------------------------------------------------


def _is_start(value: bytes) -> Array:
    """Tells for each byte whether a UTF-8 character begins there."""
    return (np.frombuffer(value, np.uint8) & 0xC0) != 0x80


@kernel("StringLength")
def string_length(xp: Any, x: Array, *, unit: bytes) -> Array:
    """Counts the bytes, or UTF-8 characters, of each string: int32."""
    count: Callable[[bytes], int] = len
    if unit == b"UTF8_CHAR":
        count = lambda value: int(np.count_nonzero(_is_start(value)))  # noqa: E731
    return np.fromiter(map(count, x.reshape(-1).tolist()), np.int32, x.size).reshape(x.shape)


@kernel("StringStrip")
def string_strip(xp: Any, x: Array) -> Array:
    """Removes ASCII whitespace from both ends."""
    return each(bytes.strip, x)


def _unicode_case(change: Callable[[str], str]) -> Callable[[bytes], bytes]:
    return lambda value: change(value.decode("utf-8", "replace")).encode()


def _check_encoding(encoding: bytes) -> bool:
    """Tells whether the encoding is UTF-8 (and not just bytes)."""
    if encoding not in (b"", b"utf-8"):
        raise errors.invalid_argument(
            f"only utf-8 or '' (no encoding) is supported, received {text(encoding)}"
        )
    return encoding == b"utf-8"


@kernel("StringLower")
def string_lower(xp: Any, x: Array, *, encoding: bytes) -> Array:
    """Converts to lower case: ASCII letters only, or Unicode with the encoding "utf-8"."""
    return each(_unicode_case(str.lower) if _check_encoding(encoding) else bytes.lower, x)


@kernel("StringUpper")
def string_upper(xp: Any, x: Array, *, encoding: bytes) -> Array:
    """Converts to upper case: ASCII letters only, or Unicode with the encoding "utf-8"."""
    return each(_unicode_case(str.upper) if _check_encoding(encoding) else bytes.upper, x)


@kernel("Substr")
def substr(xp: Any, x: Array, pos: Array, length: Array, *, unit: bytes) -> Array:
    """Takes substrings in bytes or UTF-8 characters; positions and lengths broadcast.

    Negative positions count from the end; a negative length takes the rest.

    Raises:
        InvalidArgumentError: a position is out of range.
    """
    if pos.shape != length.shape:
        raise errors.invalid_argument(
            f"pos and len should have the same shape, got: {format_shape(pos.shape)} vs. "
            f"{format_shape(length.shape)}"
        )
    if pos.shape not in (x.shape, ()) and max(x.ndim, pos.ndim) > 2:
        raise errors.unimplemented(
            f"Substr broadcast not implemented for {max(x.ndim, pos.ndim)} dimensions"
        )
    try:
        values, starts, lengths = np.broadcast_arrays(x, pos, length)
    except ValueError:
        raise errors.invalid_argument(
            f"Incompatible shapes: {format_shape(x.shape)} vs. {format_shape(pos.shape)}"
        ) from None
    shape = values.shape
    cut = _cut_bytes if unit == b"BYTE" else _cut_characters
    triples = zip(
        values.reshape(-1).tolist(),
        starts.reshape(-1).tolist(),
        lengths.reshape(-1).tolist(),
        strict=True,
    )
    result = []
    for index, (value, start, size) in enumerate(triples):
        part = cut(value, start, size)
        if part is None:
            where: Any = index
            if pos.shape not in (x.shape, ()):
                where = tuple(int(i) for i in np.unravel_index(index, shape))
                where = where[0] if len(where) == 1 else where
            shown = f" b'{text(value)}'" if unit == b"BYTE" else ""
            raise errors.invalid_argument(
                f"pos {start} out of range for string{shown} at index {where}"
            )
        result.append(part)
    return strings(result, shape)


def _cut_bytes(value: bytes, start: int, size: int) -> bytes | None:
    if not -len(value) <= start <= len(value):
        return None
    start += len(value) if start < 0 else 0
    return value[start:] if size < 0 else value[start : start + size]


def _cut_characters(value: bytes, start: int, size: int) -> bytes | None:
    bounds = [*np.flatnonzero(_is_start(value)).tolist(), len(value)]
    count = len(bounds) - 1
    if not -count <= start <= count:
        return None
    start += count if start < 0 else 0
    end = count if size < 0 else min(start + size, count)
    return value[bounds[start] : bounds[end]]


@kernel("EncodeBase64")
def encode_base64(xp: Any, x: Array, *, pad: bool) -> Array:
    """Encodes with the web-safe alphabet, which has ``-`` and ``_``; padded if ``pad``."""
    if pad:
        return each(base64.urlsafe_b64encode, x)
    return each(lambda value: base64.urlsafe_b64encode(value).rstrip(b"="), x)


_BASE64 = re.compile(rb"(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2}(?:==)?|[A-Za-z0-9_-]{3}=?)?")


@kernel("DecodeBase64")
def decode_base64(xp: Any, x: Array) -> Array:
    """Decodes the web-safe alphabet, with or without padding."""
    return each(_decode_base64, x)


def _decode_base64(value: bytes) -> bytes:
    if _BASE64.fullmatch(value) is None:
        if len(value.rstrip(b"=")) % 4 == 1 and b"=" not in value:
            raise errors.invalid_argument("Base64 string length cannot be 1 modulo 4.")
        raise errors.invalid_argument("Invalid character found in base64.")
    return base64.urlsafe_b64decode(value + b"=" * (-len(value) % 4))


# Regular expressions -----------------------------------------------------------------------------


def _scalar(x: Array, name: str) -> bytes:
    if x.ndim:
        raise errors.invalid_argument(
            f"{name} must be scalar, but received {format_shape(x.shape)}"
        )
    return x.item()


def _replaced(x: Array, pattern: bytes, rewrite: bytes, replace_global: bool) -> Array:
    replace = RegularExpression(pattern).replacer(rewrite, replace_global)
    return each(replace, x)


@kernel("RegexReplace")
def regex_replace(
    xp: Any, x: Array, pattern: Array, rewrite: Array, *, replace_global: bool
) -> Array:
    """Replaces the matches of an RE2 pattern, all or the first; the pattern is an input."""
    return _replaced(x, _scalar(pattern, "Pattern"), _scalar(rewrite, "Rewrite"), replace_global)


@kernel("StaticRegexReplace")
def static_regex_replace(
    xp: Any, x: Array, *, pattern: bytes, rewrite: bytes, replace_global: bool
) -> Array:
    """Replaces the matches of an RE2 pattern, all or the first."""
    return _replaced(x, pattern, rewrite, replace_global)


def _full_matches(x: Array, pattern: bytes) -> Array:
    matches = RegularExpression(pattern).matches
    return np.fromiter(map(matches, x.reshape(-1).tolist()), bool, x.size).reshape(x.shape)


@kernel("RegexFullMatch")
def regex_full_match(xp: Any, x: Array, pattern: Array) -> Array:
    """Tells for each string whether all of it matches an RE2 pattern, which is an input."""
    return _full_matches(x, _scalar(pattern, "Pattern"))


@kernel("StaticRegexFullMatch")
def static_regex_full_match(xp: Any, x: Array, *, pattern: bytes) -> Array:
    """Tells for each string whether all of it matches an RE2 pattern."""
    return _full_matches(x, pattern)


# Hashing -----------------------------------------------------------------------------------------


def _buckets(x: Array, function: Callable[[Any], Any], count: int) -> Array:
    hashes = string_hashes.hash_strings(x.reshape(-1).tolist(), function)
    return (hashes % np.uint64(count)).astype(np.int64).reshape(x.shape)


@kernel("StringToHashBucket")
def string_to_hash_bucket(xp: Any, x: Array, *, num_buckets: int) -> Array:
    """Hashes strings to buckets with MurmurHash64A: int64."""
    return _buckets(x, string_hashes.murmur64, num_buckets)


@kernel("StringToHashBucketFast")
def string_to_hash_bucket_fast(xp: Any, x: Array, *, num_buckets: int) -> Array:
    """Hashes strings to buckets with FarmHash's Fingerprint64: int64."""
    return _buckets(x, string_hashes.fingerprint64, num_buckets)


@kernel("StringToHashBucketStrong")
def string_to_hash_bucket_strong(
    xp: Any, x: Array, *, num_buckets: int, key: Sequence[int]
) -> Array:
    """Hashes strings to buckets with SipHash-2-4 and ``key``, two integers: int64."""
    if len(key) != 2:
        raise errors.invalid_argument("Key must have 2 elements")
    return _buckets(x, string_hashes.siphash(key), num_buckets)
