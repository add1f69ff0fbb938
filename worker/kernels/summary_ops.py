"""Kernels of summaries for TensorBoard.

They run on the host, on numpy, and give TensorFlow's bytes.

(An image's PNG file decodes to TensorFlow's pixels, but is compressed differently.)
"""

from __future__ import annotations

import functools
import struct
import sys
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, Message

from flowray.proto import errors
from flowray.proto.messages import event_pb2, types_pb2
from flowray.proto.messages.event_pb2 import Summary
from flowray.proto.types import tensors
from flowray.proto.types.shapes import format_shape, to_proto
from flowray.worker.formats.images import png
from flowray.worker.kernel_registry import kernel

Array = np.ndarray[Any, Any]


def _serialized(summary: Summary) -> Array:
    return np.array(summary.SerializeToString(), object)


def _tag(tag: Array, message: str) -> str:
    """Returns the scalar string ``tag``.

    InvalidArgumentError with ``message`` for another shape.
    """
    if tag.shape:
        raise errors.invalid_argument(message)
    return _text(tag[()])


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise errors.invalid_argument(f"the tag {value!r} is not UTF-8") from None


@kernel("ScalarSummary")
def scalar_summary(xp: Any, tags: Array, values: Array) -> Array:
    """Makes a summary with a value for each of ``tags``, which have the shape of ``values``."""
    if tags.shape != values.shape:
        single = f" (tag '{_text(tags.item())}')" if tags.size == 1 else ""
        raise errors.invalid_argument(
            f"tags and values are not the same shape: {format_shape(tags.shape)} != "
            f"{format_shape(values.shape)}{single}"
        )
    summary = Summary()
    for tag, value in zip(tags.flat, values.astype(np.float32).flat, strict=True):
        summary.value.add(tag=_text(tag), simple_value=float(value))
    return _serialized(summary)


# Histograms ---------------------------------------------------------------------------------------


@functools.cache
def bucket_limits() -> Array:
    """Returns the upper limits of all buckets.

    They grow by a tenth from 1e-12 to 1e20, on both sides of 0.
    """
    positive = []
    limit = 1e-12
    while limit < 1e20:
        positive.append(limit)
        limit *= 1.1
    positive.append(sys.float_info.max)
    return np.array([-x for x in reversed(positive)] + [0.0] + positive)


@kernel("HistogramSummary")
def histogram_summary(xp: Any, tag: Array, values: Array) -> Array:
    """Makes a histogram of all values; InvalidArgumentError if one is not finite."""
    name = _tag(tag, "tags must be scalar")
    flat = values.reshape(-1).astype(np.float64)
    finite = np.isfinite(flat)
    if not finite.all():
        first = flat[np.argmin(finite)]
        what = "Nan in summary histogram" if np.isnan(first) else "Infinity in Histogram"
        raise errors.invalid_argument(f"{what} for: {name}")
    summary = Summary()
    _fill_histogram(summary.value.add(tag=name).histo, flat)
    return _serialized(summary)


@functools.cache
def _first_buckets() -> Array:
    """Returns, for the upper 16 bits of a float64, the bucket of the smallest such number.

    Numbers with the same upper bits differ by less than a sixteenth, and limits by a tenth, so that
    all of them are in that bucket or the next.
    """
    upper = np.arange(2**16, dtype=np.uint64)
    negative = upper >= 2**15
    lower = np.where(negative, np.uint64(2**48 - 1), np.uint64(0))
    smallest = ((upper << np.uint64(48)) | lower).view(np.float64)
    return np.searchsorted(bucket_limits(), smallest, "right")


def _bucket_counts(flat: Array) -> Array:
    """Counts the finite float64 values in each bucket, the first whose limit is above the value."""
    limits = bucket_limits()
    buckets = _first_buckets().take(flat.view(np.uint64) >> np.uint64(48))
    buckets = buckets + (flat >= limits.take(buckets))
    counts = np.bincount(buckets, minlength=len(limits) + 1)
    counts[-2] += counts[-1]  # the greatest float is at least the last limit
    return counts[:-1]


def _fill_histogram(histo: event_pb2.HistogramProto, flat: Array) -> None:
    limits = bucket_limits()
    counts = _bucket_counts(flat)
    histo.min = flat.min(initial=sys.float_info.max)
    histo.max = flat.max(initial=-sys.float_info.max)
    histo.num = len(flat)
    if len(flat):
        # Summed from left to right, as TensorFlow does; np.sum adds in pairs.
        histo.sum = np.add.accumulate(flat)[-1]
        histo.sum_squares = np.add.accumulate(flat * flat)[-1]
    # The last one of a run of empty buckets is kept, so that limits stay the edges of buckets.
    filled = counts > 0
    kept = filled | np.append(filled[1:], True)
    histo.bucket_limit.extend(limits[kept].tolist())
    histo.bucket.extend(counts[kept].tolist())


# Images -------------------------------------------------------------------------------------------

_NEARLY_BLACK = 1e-6


@kernel("ImageSummary")
def image_summary(
    xp: Any, tag: Array, tensor: Array, *, max_images: int, bad_color: Array
) -> Array:
    """Makes up to ``max_images`` images of ``[batch, height, width, 1, 3 or 4]``.

    uint8 stays; floats are scaled by image (see ``_as_pixels``).
    """
    name = _tag(tag, "Tags must be a scalar")
    shape = format_shape(tensor.shape)
    if tensor.ndim != 4 or tensor.shape[3] not in (1, 3, 4):
        raise errors.invalid_argument(f"Tensor must be 4-D with last dim 1, 3, or 4, not {shape}")
    if 0 in tensor.shape[1:]:
        raise errors.invalid_argument(
            f"input tensor must have non-zero dims. Found: [{', '.join(map(str, tensor.shape))}]."
        )
    depth = tensor.shape[3]
    if bad_color.dtype != np.uint8:
        raise errors.invalid_argument(f"bad_color must be uint8, got {bad_color.dtype}")
    if bad_color.ndim != 1:
        raise errors.invalid_argument(
            f"bad_color must be a vector, got shape {format_shape(bad_color.shape)}"
        )
    if depth > bad_color.size:
        raise errors.invalid_argument(
            f"expected depth <= bad_color.size, got depth = {depth}, "
            f"bad_color.size = {bad_color.size}"
        )
    summary = Summary()
    for index, image in enumerate(tensor[:max_images]):
        pixels = image if image.dtype == np.uint8 else _as_pixels(image, bad_color[:depth])
        value = summary.value.add(tag=_numbered(name, "image", index, max_images))
        value.image.height, value.image.width, value.image.colorspace = pixels.shape
        value.image.encoded_image_string = png.encode(pixels)
    return _serialized(summary)


def _numbered(name: str, kind: str, index: int, limit: int) -> str:
    return f"{name}/{kind}" if limit == 1 else f"{name}/{kind}/{index}"


def _as_pixels(image: Array, bad_color: Array) -> Array:
    """Converts floats to uint8.

    They are scaled so that the largest becomes 255 or, if some are negative, so that 0 becomes 128.
    Pixels that are not finite take ``bad_color``.
    """
    bad: Array = ~np.isfinite(image).all(axis=2)
    good = image[~bad]
    low = good.min(initial=np.inf)
    high = good.max(initial=-np.inf)
    if low < 0:
        largest, span, offset = max(-low, abs(high)), 127, 128
    else:
        largest, span, offset = high, 255, 0
    scale = 0.0 if largest < _NEARLY_BLACK else np.float32(span) / np.float32(largest)
    kind = image.dtype.type
    image = np.where(bad[..., None], kind(0), image)
    pixels = (image * kind(scale) + kind(offset)).astype(np.uint8)
    pixels[bad] = bad_color
    return pixels


# Sound --------------------------------------------------------------------------------------------


@kernel("AudioSummaryV2")
def audio_summary(
    xp: Any, tag: Array, tensor: Array, sample_rate: Array, *, max_outputs: int
) -> Array:
    """Makes up to ``max_outputs`` WAV clips.

    Args:
        tensor: float32 ``[batch, frames]`` or ``[batch, frames, channels]``, -1 to 1.
        sample_rate: frames per second.
    """
    name = _tag(tag, "Tag must be a scalar")
    if tensor.ndim not in (2, 3):
        raise errors.invalid_argument(
            f"Tensor must be 3-D or 2-D, got: {format_shape(tensor.shape)}"
        )
    if sample_rate.size != 1:
        raise errors.invalid_argument("sample_rate must be rank-0 or contain a single value")
    rate = float(sample_rate.item())
    if not rate > 0:
        raise errors.invalid_argument("sample_rate must be > 0")
    clips = tensor if tensor.ndim == 3 else tensor[:, :, None]
    summary = Summary()
    for index, samples in enumerate(clips[:max_outputs]):
        value = summary.value.add(tag=_numbered(name, "audio", index, max_outputs))
        value.audio.sample_rate = rate
        value.audio.length_frames, value.audio.num_channels = samples.shape
        value.audio.encoded_audio_string = encode_wav(samples, rate)
        value.audio.content_type = "audio/wav"
    return _serialized(summary)


def encode_wav(samples: Array, rate: float) -> bytes:
    """Encodes a WAV file of 16-bit samples.

    Args:
        samples: float32 [frames, channels], -1 to 1; values beyond are clipped.
        rate: frames per second.
    """
    channels = samples.shape[1]
    if rate >= 2**32:
        raise errors.invalid_argument(f"sample_rate must be in (0, 2^32), got: {rate:.0f}")
    if not 0 < channels < 2**16:
        raise errors.invalid_argument(f"num_channels must be in (0, 2^16), got: {channels}")
    scaled = np.nan_to_num(samples * np.float32(2**15), nan=0.0)
    rounded = np.trunc(scaled + np.copysign(np.float32(0.5), scaled))  # halves go away from zero
    data = np.clip(rounded, -(2**15), 2**15 - 1).astype("<i2").tobytes()
    size, frames = 2 * channels, int(rate)
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + len(data),
        b"WAVE",
        b"fmt ",
        16,
        1,
        channels,
        frames,
        frames * size & 0xFFFFFFFF,
        size,
        16,
        b"data",
        len(data),
    )
    return header + data


# Tensors, merging ---------------------------------------------------------------------------------


@kernel("TensorSummaryV2")
def tensor_summary(xp: Any, tag: Array, tensor: Array, serialized_summary_metadata: Array) -> Array:
    """Makes a summary of any tensor, with serialized SummaryMetadata."""
    name = _tag(tag, "tag must be scalar")
    if serialized_summary_metadata.shape:
        raise errors.invalid_argument("serialized_summary_metadata must be scalar")
    summary = Summary()
    value = summary.value.add(tag=name)
    if tensor.dtype == object:
        # Strings one by one, as TensorBoard's text plugin reads them; all else as bytes.
        value.tensor.dtype = types_pb2.DT_STRING
        value.tensor.tensor_shape.CopyFrom(to_proto(tensor.shape))
        value.tensor.string_val.extend(tensor.reshape(-1))
    else:
        value.tensor.CopyFrom(tensors.encode(tensor))
    value.metadata.SetInParent()
    _parse(
        value.metadata,
        serialized_summary_metadata.item(),
        "Could not parse serialized_summary_metadata",
    )
    return _serialized(summary)


@kernel("MergeSummary")
def merge_summary(xp: Any, inputs: list[Array]) -> Array:
    """Merges summaries; InvalidArgumentError if two values have the same tag."""
    merged = Summary()
    for array in inputs:
        for item in array.flat:
            _parse(merged, item, "Could not parse one of the summary inputs")
    tags = set()
    for value in merged.value:
        if value.tag and value.tag in tags:
            raise errors.invalid_argument(f"Duplicate tag {value.tag} found in summary inputs ")
        tags.add(value.tag)
    return _serialized(merged)


def _parse(message: Message, data: bytes, complaint: str) -> None:
    """Merges the serialized ``data`` into ``message``."""
    try:
        message.MergeFromString(data)
    except DecodeError:
        raise errors.invalid_argument(complaint) from None
