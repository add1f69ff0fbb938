"""Summaries for TensorBoard."""

import io
import wave

import numpy as np
import pytest
from PIL import Image

from flowray.proto import errors
from flowray.proto.messages.event_pb2 import Summary
from flowray.proto.types import dtypes
from flowray.worker.formats.images import png
from flowray.worker.kernels import summary_ops
from tests.ops.harness import case, table_test

BAD = errors.InvalidArgumentError
RNG = np.random.default_rng(0)


def summary(*values: Summary.Value) -> np.ndarray:
    return np.array(Summary(value=values).SerializeToString(), object)


def scalars(**values: float) -> np.ndarray:
    return summary(*(Summary.Value(tag=tag, simple_value=v) for tag, v in values.items()))


# Scalars

case("ScalarSummary", ["loss", 1.5], expect=scalars(loss=1.5))
case("ScalarSummary", ["loss", np.float64(0.1)], expect=scalars(loss=0.1))
case("ScalarSummary", ["n", np.int64(-3)], expect=scalars(n=-3))
case("ScalarSummary", ["h", np.float16(0.5)], expect=scalars(h=0.5))
case("ScalarSummary", ["h", dtypes.bfloat16.as_numpy_dtype(0.5)], expect=scalars(h=0.5))
case("ScalarSummary", ["big", np.float64(1e300)], expect=scalars(big=np.inf))
case("ScalarSummary", ["nan", np.nan], expect=scalars(nan=np.nan))
case("ScalarSummary", [["a", "b"], np.uint8([1, 2])], expect=scalars(a=1, b=2))
case("ScalarSummary", [np.zeros(0, object), np.zeros(0, np.float32)], expect=summary())
case(
    "ScalarSummary", [["a"], [1.0, 2.0]], raises=BAD,
    match=r"tags and values are not the same shape: \[1\] != \[2\] \(tag 'a'\)",
)  # fmt: skip
case(
    "ScalarSummary", [["a", "b"], 1.0], raises=BAD, match=r"not the same shape: \[2\] != \[\]$"
)  # fmt: skip


# Histograms


def histogram(values: np.ndarray) -> np.ndarray:
    """Computes TensorFlow's histogram, value by value."""
    limits, limit = [], 1e-12
    while limit < 1e20:
        limits.append(limit)
        limit *= 1.1
    limits.append(float(np.finfo(np.float64).max))
    limits = [-x for x in reversed(limits)] + [0.0] + limits
    counts = [0.0] * len(limits)
    item = Summary.Value(tag="h")
    histo = item.histo
    histo.min, histo.max = limits[-1], -limits[-1]
    histo.num = histo.sum = histo.sum_squares = 0
    for value in map(float, values.flat):
        counts[next(i for i, x in enumerate(limits) if x > value)] += 1
        histo.min, histo.max = min(histo.min, value), max(histo.max, value)
        histo.num += 1
        histo.sum += value
        histo.sum_squares += value * value
    for i, count in enumerate(counts):
        if count or i + 1 == len(counts) or counts[i + 1]:
            histo.bucket_limit.append(limits[i])
            histo.bucket.append(count)
    return summary(item)


SPREAD = RNG.normal(size=200) * 10.0 ** RNG.integers(-14, 24, 200)
for values in (
    np.float32([1, 2, 3]),
    np.float32(7),
    np.float32([[0, -1], [-0.0, 5e30]]),
    np.zeros((0, 3), np.float32),
    SPREAD,
    SPREAD.astype(np.float32),
    np.int64([-5, 0, 3, 3, 2**40]),
    np.uint8([0, 255]),
    np.float16([0.5, -0.5]),
    np.array([1e-12, -1e-12, 1.1e-12, 1e20, -1e20, 1e308]),
):
    case("HistogramSummary", ["h", values], expect=histogram(values), id=f"{values.dtype}")
case("HistogramSummary", ["h", [1.0, np.nan, np.inf]], raises=BAD, match="^Nan in summary histogr")
case("HistogramSummary", ["h", [-np.inf, np.nan]], raises=BAD, match="^Infinity in Histogram for: ")
case("HistogramSummary", [["h"], [1.0]], raises=BAD, match="tags must be scalar")


# Images

_OWN_FILE = {"conformance": False}  # the pixels are TensorFlow's (test_summaries), the file is not


def images(tag: str, *pixels: object) -> np.ndarray:
    arrays = [np.array(p, np.uint8) for p in pixels]
    return summary(
        *(
            Summary.Value(
                tag=tag.format(i),
                image=Summary.Image(
                    height=a.shape[0],
                    width=a.shape[1],
                    colorspace=a.shape[2],
                    encoded_image_string=png.encode(a),
                ),
            )
            for i, a in enumerate(arrays)
        )
    )


BYTES = RNG.integers(0, 256, (2, 3, 5, 3)).astype(np.uint8)
case("ImageSummary", ["i", BYTES], expect=images("i/image/{}", *BYTES), **_OWN_FILE)
case("ImageSummary", ["i", BYTES], max_images=1, expect=images("i/image", BYTES[0]), **_OWN_FILE)
case(
    "ImageSummary", ["i", np.float32([[[[0.0], [2.0], [4.0]]]])],
    expect=images("i/image/{}", [[[0], [127], [255]]]), **_OWN_FILE,
)  # fmt: skip
case(
    "ImageSummary", ["i", np.float64([[[[-1.0], [0.0], [2.0]]]])],
    expect=images("i/image/{}", [[[64], [128], [255]]]), **_OWN_FILE,
)  # fmt: skip
case(
    "ImageSummary", ["i", np.float16([[[[-2.0], [0.0], [1.0]]]])],
    expect=images("i/image/{}", [[[1], [128], [191]]]), **_OWN_FILE,
)  # fmt: skip
case(
    "ImageSummary", ["i", np.float32([[[[1, np.nan, 1, 1], [2, 2, 2, 2], [1, 1, 1, np.inf]]]])],
    expect=images("i/image/{}", [[[255, 0, 0, 255], [255] * 4, [255, 0, 0, 255]]]), **_OWN_FILE,
)  # fmt: skip
case(
    "ImageSummary", ["i", np.full((1, 1, 1, 1), np.nan, np.float32)],
    bad_color=np.uint8([7]), expect=images("i/image/{}", [[[7]]]), **_OWN_FILE,
)  # fmt: skip
case(
    "ImageSummary", ["i", np.full((1, 1, 1, 1), 1e-7, np.float32)],
    expect=images("i/image/{}", [[[0]]]), **_OWN_FILE,
)  # fmt: skip
case("ImageSummary", ["i", np.zeros((0, 2, 2, 3), np.float32)], expect=summary())
case(
    "ImageSummary", ["i", np.zeros((1, 2, 2, 2), np.float32)], raises=BAD,
    match=r"Tensor must be 4-D with last dim 1, 3, or 4, not \[1,2,2,2\]",
)  # fmt: skip
case("ImageSummary", ["i", np.zeros((2, 2, 3), np.float32)], raises=BAD, match=r"must be 4-D")
case(
    "ImageSummary", ["i", np.zeros((1, 0, 2, 3), np.float32)], raises=BAD,
    match=r"input tensor must have non-zero dims. Found: \[1, 0, 2, 3\]",
)  # fmt: skip
case(
    "ImageSummary", [["i"], np.zeros((1, 2, 2, 3), np.float32)], raises=BAD,
    match="Tags must be a scalar",
)  # fmt: skip
case(
    "ImageSummary", ["i", np.zeros((1, 2, 2, 3), np.float32)], bad_color=np.uint8([1, 2]),
    raises=BAD, match="expected depth <= bad_color.size, got depth = 3, bad_color.size = 2",
)  # fmt: skip
case(
    "ImageSummary", ["i", np.zeros((1, 2, 2, 3), np.float32)], bad_color=np.int32([1, 2, 3]),
    raises=BAD, match="bad_color must be uint8, got int32",
)  # fmt: skip


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_file_decodes_to_its_pixels(channels: int) -> None:
    pixels = RNG.integers(0, 256, (7, 11, channels)).astype(np.uint8)
    decoded = np.array(Image.open(io.BytesIO(png.encode(pixels))))
    np.testing.assert_array_equal(decoded.reshape(pixels.shape), pixels)


# Sound


def sound(tag: str, rate: float, *clips: object) -> np.ndarray:
    values = []
    for i, clip in enumerate(np.array(c, np.int16) for c in clips):
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setparams((clip.shape[1], 2, int(rate), 0, "NONE", ""))
            writer.writeframes(clip.astype("<i2").tobytes())
        audio = Summary.Audio(
            sample_rate=rate,
            num_channels=clip.shape[1],
            length_frames=clip.shape[0],
            encoded_audio_string=file.getvalue(),
            content_type="audio/wav",
        )
        values.append(Summary.Value(tag=tag.format(i), audio=audio))
    return summary(*values)


LOUD = np.float32([[0, 0.5, 1, -1, 2, -2, np.nan, 1.5 / 2**15, -1.5 / 2**15, 0.4 / 2**15]])
case(
    "AudioSummaryV2", ["s", LOUD, 8000.0],
    expect=sound(
        "s/audio/{}", 8000,
        np.array([[0, 2**14, 32767, -32768, 32767, -32768, 0, 2, -2, 0]]).T,
    ),
)  # fmt: skip
case(
    "AudioSummaryV2", ["s", np.float32([[[0, 0.5], [0.25, 1]], [[1, 1], [1, 1]]]), 44100.5],
    max_outputs=1, expect=sound("s/audio", 44100.5, [[0, 2**14], [2**13, 32767]]),
)  # fmt: skip
case(
    "AudioSummaryV2", ["s", np.zeros((1, 0, 2), np.float32), [1.0]],
    expect=sound("s/audio/{}", 1, np.zeros((0, 2))),
)  # fmt: skip
case("AudioSummaryV2", ["s", np.zeros((0, 3), np.float32), 1.0], expect=summary())
for tensor, rate, match in (
    (np.zeros(3), 1.0, r"Tensor must be 3-D or 2-D, got: \[3\]"),
    (np.zeros((1, 3)), 0.0, "sample_rate must be > 0"),
    (np.zeros((1, 3)), np.nan, "sample_rate must be > 0"),
    (np.zeros((1, 3)), [1.0, 2.0], "sample_rate must be rank-0 or contain a single value"),
    (np.zeros((1, 3)), 1e12, r"sample_rate must be in \(0, 2\^32\), got: 999999995904"),
    (np.zeros((1, 3, 2**16)), 1.0, r"num_channels must be in \(0, 2\^16\), got: 65536"),
):
    case(
        "AudioSummaryV2", ["s", tensor.astype(np.float32), rate], raises=BAD, match=match,
        # TensorFlow takes a rate that is not a number, and writes a file that says 0.
        conformance=not np.isnan(rate).any(),
    )  # fmt: skip
case(
    "AudioSummaryV2", [["s"], np.zeros((1, 3), np.float32), 1.0], raises=BAD,
    match="Tag must be a scalar",
)  # fmt: skip


# Tensors


def tensor_value(content: bytes, **tensor: object) -> np.ndarray:
    value = Summary.Value(tag="t", tensor=dict(tensor_content=content, **tensor))
    value.metadata.SetInParent()
    return summary(value)


VECTOR = {"dim": [{"size": 2}]}
case(
    "TensorSummaryV2", ["t", [1, 2], b""],
    expect=tensor_value(np.int32([1, 2]).tobytes(), dtype=3, tensor_shape=VECTOR),
)  # fmt: skip
case(
    "TensorSummaryV2", ["t", 0.5, b""],
    expect=tensor_value(np.float32(0.5).tobytes(), dtype=1, tensor_shape={}),
)  # fmt: skip
case(
    "TensorSummaryV2", ["t", ["x", "yz"], b""],
    expect=tensor_value(b"", string_val=[b"x", b"yz"], dtype=7, tensor_shape=VECTOR),
)  # fmt: skip
METADATA = Summary.Value(tag="t").metadata
METADATA.plugin_data.plugin_name = "text"
METADATA.summary_description = "a tensor"
case(
    "TensorSummaryV2", ["t", "x", METADATA.SerializeToString()],
    expect=summary(
        Summary.Value(
            tag="t", tensor={"dtype": 7, "tensor_shape": {}, "string_val": [b"x"]},
            metadata=METADATA,
        )
    ),
)  # fmt: skip
case("TensorSummaryV2", [["t"], 1.0, ""], raises=BAD, match="tag must be scalar")
case(
    "TensorSummaryV2", ["t", 1.0, [""]], raises=BAD,
    match="serialized_summary_metadata must be scalar",
)  # fmt: skip
case(
    "TensorSummaryV2", ["t", 1.0, np.array(b"\xff", object)], raises=BAD,
    match="Could not parse serialized_summary_metadata",
    conformance=False,  # TensorFlow takes what it could parse and says nothing
)  # fmt: skip


# Merging

A, B, UNNAMED = scalars(a=1), scalars(b=2), summary(Summary.Value(simple_value=1))
case("MergeSummary", [[A, B]], expect=scalars(a=1, b=2))
case("MergeSummary", [[np.array([A[()], B[()]], object)]], expect=scalars(a=1, b=2))
case("MergeSummary", [[summary()]], expect=summary())
case("MergeSummary", [[UNNAMED, UNNAMED]], expect=summary(*[Summary.Value(simple_value=1)] * 2))
case("MergeSummary", [[A, B, A]], raises=BAD, match="Duplicate tag a found in summary inputs $")
case(
    "MergeSummary", [[A, np.array(b"\xff", object)]], raises=BAD,
    match="Could not parse one of the summary inputs",
)  # fmt: skip


test_case = table_test()


def test_the_limits_of_buckets_rise() -> None:
    limits = summary_ops.bucket_limits()
    assert (np.diff(limits) > 0).all()
    assert limits[-1] == np.finfo(np.float64).max
