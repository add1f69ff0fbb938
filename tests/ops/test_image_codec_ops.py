"""Image files to and from pixels. Images are compared with TensorFlow's pixel by pixel."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from flowray.proto import errors
from flowray.proto.types import dtypes
from flowray.worker.formats.images import jpeg, png
from tests.ops.harness import case, table_test

BAD = errors.InvalidArgumentError
RANDOM = np.random.default_rng(3)


def file(image: np.ndarray | Image.Image, file_format: str, **options: object) -> bytes:
    """Encodes an image with Pillow."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def contents(data: bytes) -> np.ndarray:
    return np.array(data, object)


def i32(*values: object) -> np.ndarray:
    return np.array(values, np.int32)


# A image with smooth and with sharp places, of a size that no block fits.
_y, _x = np.mgrid[0:53, 0:70]
COLOR = np.stack([_x * 3, _y * 4, 255 - _x * 2 - _y], axis=-1).astype(np.uint8)
COLOR[10:25, 20:50] = (250, 20, 30)
COLOR[30:50, 5:30] = RANDOM.integers(0, 256, (20, 25, 3))
GRAY = COLOR[..., 1:2]
RGBA = np.concatenate([COLOR, GRAY], axis=2)
FLAT = np.full((16, 16, 3), 128, np.uint8)

# JPEG ---------------------------------------------------------------------------------------------

JPEGS = {
    "420": file(COLOR, "JPEG", quality=90),
    "422": file(COLOR, "JPEG", quality=60, subsampling=1),
    "444": file(COLOR, "JPEG", quality=95, subsampling=0),
    "progressive": file(COLOR, "JPEG", progressive=True),
    "gray": file(GRAY, "JPEG"),
}
CMYK = file(Image.fromarray(COLOR).convert("CMYK"), "JPEG")
J = JPEGS["420"]
for _kind, _file in JPEGS.items():
    for _channels in (0, 1, 3):
        case("DecodeJpeg", [contents(_file)], channels=_channels, id=f"{_kind} {_channels}")
    for _ratio in (2, 4, 8):
        case("DecodeJpeg", [contents(_file)], ratio=_ratio, id=f"{_kind} ratio {_ratio}")
    case("DecodeJpeg", [contents(_file)], fancy_upscaling=False, id=f"{_kind} plain")
    for _method in ("INTEGER_FAST", "INTEGER_ACCURATE"):
        case("DecodeJpeg", [contents(_file)], dct_method=_method, id=f"{_kind} {_method}")
    case("DecodeAndCropJpeg", [contents(_file), i32(3, 5, 20, 31)], id=_kind,
         # libjpeg upsamples the colors of a crop's last column as if the image ended there.
         conformance=_kind in ("444", "gray"))  # fmt: skip
    case("DecodeAndCropJpeg", [contents(_file), i32(1, 2, 3, 4)], ratio=4, channels=1, id=_kind)
    case("DecodeAndCropJpeg", [contents(_file), i32(3, 50, 50, 20)], id=f"{_kind} to the edge")
case("DecodeJpeg", [contents(file(FLAT, "JPEG"))], expect=FLAT, id="flat")
for _channels in (0, 3):
    case("DecodeJpeg", [contents(CMYK)], channels=_channels, id=f"CMYK {_channels}")
# Without Adobe's segment the inks are not inverted.
_adobe = CMYK.index(b"\xff\xee")
PLAIN_CMYK = CMYK[:_adobe] + CMYK[_adobe + 2 + struct.unpack_from(">H", CMYK, _adobe + 2)[0] :]
case("DecodeJpeg", [contents(PLAIN_CMYK)], id="plain CMYK")
case("DecodeJpeg", [contents(J + b"trailing")], id="more than a file")
FLAW = bytearray(J)
FLAW[900:904] = b"\x12\x34\x56\x78"
case("DecodeJpeg", [contents(bytes(FLAW))], id="a flaw")
# What stands below the place where the file ends is not the same as in TensorFlow.
case("DecodeJpeg", [contents(J[: len(J) // 2])], try_recover_truncated=True,
     acceptable_fraction=0.1, conformance=False, id="recovered")  # fmt: skip
case("DecodeJpeg", [contents(J[:-2])], try_recover_truncated=True, id="recovered end")
INVALID = "Invalid JPEG data or crop window"
for _data, _match in {
    b"": "Input is empty",
    b"not an image": "Unknown image file format",
    J[:3]: INVALID,
    J[:100]: INVALID,
    J[: len(J) // 2]: INVALID,
    J[:-20]: INVALID,
    J[:-1]: INVALID,
    JPEGS["progressive"][:1000]: INVALID,
}.items():
    case("DecodeJpeg", [contents(_data)], raises=BAD, match=_match, id=f"{len(_data)} bytes")
case("DecodeJpeg", [contents(J[:200])], try_recover_truncated=True, raises=BAD, match=INVALID,
     id="no image to recover")  # fmt: skip
case("DecodeJpeg", [contents(CMYK)], channels=1, raises=BAD, match=INVALID, id="CMYK gray")
case("DecodeJpeg", [contents(J)], channels=4, raises=BAD, match="does not support 4 channels")
for _channels in (2, 5):
    case("DecodeJpeg", [contents(J)], channels=_channels, raises=BAD,
         match=f"`channels` must be 0, 1, 3 or 4 but got {_channels}")  # fmt: skip
case("DecodeJpeg", [contents(J)], ratio=3, raises=BAD, match="ratio must be 1, 2, 4, or 8, got 3")
case("DecodeJpeg", [contents(J)], dct_method="X", raises=BAD, match="dct_method must be one of")
case("DecodeJpeg", [contents(J).reshape(1)], raises=BAD, match=r"must be scalar but got shape\[1\]")
for _window in ((40, 5, 20, 30), (-1, 5, 20, 30), (3, 60, 20, 30), (1, 1, 0, 3)):
    case("DecodeAndCropJpeg", [contents(J), i32(*_window)], raises=BAD, match=INVALID)
case("DecodeAndCropJpeg", [contents(J), i32(1, 2, 3)], raises=BAD, match="must have four elements")
case("DecodeAndCropJpeg", [contents(J), i32([1, 2, 3, 4])], raises=BAD, match="must be 1-D")
case("ExtractJpegShape", [contents(J)], expect=i32(53, 70, 3))
case("ExtractJpegShape", [contents(JPEGS["gray"])], expect=i32(53, 70, 1), id="gray")
case("ExtractJpegShape", [contents(CMYK)], output_type=dtypes.int64,
     expect=np.array([53, 70, 4]), id="CMYK")  # fmt: skip
for _data in (b"", b"garbage", J[:50]):
    case("ExtractJpegShape", [contents(_data)], raises=BAD,
         match=f"Invalid JPEG data, size {len(_data)}")  # fmt: skip
case("ExtractJpegShape", [contents(J).reshape(1)], raises=BAD, match="contents must be scalar")

# Files are equal byte by byte, since both sides use the same library in the same way.
for _name, _options in {
    "default": {},
    "quality 1": {"quality": 1},
    "quality 0": {"quality": 0},
    "quality 100": {"quality": 100},
    "progressive": {"progressive": True},
    "small": {"optimize_size": True},
    "fine colors": {"chroma_downsampling": False},
    "per cm": {"density_unit": "cm", "x_density": 10, "y_density": 20},
    "xmp": {"xmp_metadata": "<x:xmpmeta/>"},
    "all": {
        "progressive": True,
        "optimize_size": True,
        "chroma_downsampling": False,
        "quality": 70,
    },
}.items():
    case("EncodeJpeg", [COLOR], **_options, id=_name)
    case("EncodeJpeg", [GRAY], **_options, id=f"gray {_name}")
case("EncodeJpeg", [COLOR], format="rgb", id="rgb")
case("EncodeJpeg", [GRAY], format="grayscale", id="grayscale")
case("EncodeJpegVariableQuality", [COLOR, 50], expect=contents(jpeg.encode(COLOR, 50)))
for _image, _format, _match in (
    (RGBA, "", r"image must have 1 or 3 channels, got \[53,70,4\]"),
    (COLOR, "grayscale", r"format grayscale expects 1 channels, got \[53,70,3\]"),
    (GRAY, "rgb", r"format rgb expects 3 channels, got \[53,70,1\]"),
    (COLOR[0], "", r"image must be 3-dimensional\[70,3\]"),
):
    case("EncodeJpeg", [_image], format=_format, raises=BAD, match=_match)
for _quality in (-1, 101):
    _match = rf"quality must be in \[0,100\], got {_quality}"
    case("EncodeJpeg", [COLOR], quality=_quality, raises=BAD, match=_match)
    case("EncodeJpegVariableQuality", [COLOR, _quality], raises=BAD, match=_match)
case("EncodeJpegVariableQuality", [COLOR, i32(5)], raises=BAD, match=r"quality must be scalar: \[1")
case("EncodeJpeg", [COLOR[:0]], raises=errors.InternalError, match="JPEG encoding failed")

# PNG ----------------------------------------------------------------------------------------------

DEEP = RANDOM.integers(0, 65536, (5, 7, 4)).astype(np.uint16)
DEEP[1:] = DEEP[:-1] + 3  # so that all filters are worth while


def png_file(
    bits: int,
    color_type: int,
    rows: list[bytes],
    width: int,
    interlaced: int = 0,
    extra: bytes = b"",
) -> bytes:
    """A PNG file with these unfiltered rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">2I5B", width, len(rows), bits, color_type, 0, 0, interlaced)
    lines = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", lines)
        + chunk(b"IEND", b"")
    )  # fmt: skip


PALETTE = Image.fromarray(COLOR).quantize(200)
PNGS = {
    "gray": file(GRAY, "PNG"),
    "gray and alpha": png.encode(RGBA[..., 2:]),
    "rgb": file(COLOR, "PNG"),
    "rgba": file(RGBA, "PNG"),
    "palette": file(PALETTE, "PNG"),
    "palette with alpha": file(PALETTE, "PNG", transparency=3),
    "gray with a transparent one": file(GRAY, "PNG", transparency=int(GRAY[0, 0, 0])),
    "rgb with a transparent one": file(COLOR, "PNG", transparency=tuple(COLOR[0, 0].tolist())),
    **{f"deep {n}": png.encode(DEEP[..., :n]) for n in (1, 2, 3, 4)},
    "deep with a transparent one": png_file(
        16, 0, [struct.pack(">2H", 1000, 40000)], 2,
        extra=struct.pack(">I", 2) + b"tRNS" + struct.pack(">H", 1000)
        + struct.pack(">I", zlib.crc32(b"tRNS" + struct.pack(">H", 1000))),
    ),
}  # fmt: skip
for _kind, _file in PNGS.items():
    for _channels in (0, 1, 3, 4):
        for _dtype in (dtypes.uint8, dtypes.uint16):
            case("DecodePng", [contents(_file)], channels=_channels, dtype=_dtype,
                 id=f"{_kind} {_channels} {_dtype.name}")  # fmt: skip
BITS = np.array([[255, 0, 255], [0, 0, 255]], np.uint8)[..., None]
case("DecodePng", [contents(png_file(1, 0, [b"\xa0", b"\x20"], 3))], expect=BITS, id="1 bit")
case(
    "DecodePng",
    [contents(png_file(2, 0, [b"\x1b"], 4))],
    expect=np.array([0, 85, 170, 255], np.uint8).reshape(1, 4, 1),
    id="2 bits",
)
case("DecodePng", [contents(PNGS["rgb"])], expect=COLOR, id="rgb")
case("DecodePng", [contents(PNGS["rgba"])], expect=RGBA, id="rgba")
case("DecodePng", [contents(PNGS["rgba"])], channels=3, expect=COLOR, id="rgba as rgb")
case("DecodePng", [contents(PNGS["deep 4"])], dtype=dtypes.uint16, expect=DEEP, id="deep")
# Seven passes, of which a image of one pixel has one, and a row of three has three.
_interlaced = png_file(16, 0, [struct.pack(">H", 500)], 1, interlaced=1)
case("DecodePng", [contents(_interlaced)], dtype=dtypes.uint16,
     expect=np.full((1, 1, 1), 500, np.uint16), id="interlaced")  # fmt: skip
case("DecodePng", [contents(J)], id="a JPEG")
case("DecodePng", [contents(J)], dtype=dtypes.uint16, channels=1, id="a deep JPEG")
case("DecodeJpeg", [contents(PNGS["rgb"])], expect=COLOR, id="a PNG")
case("DecodeJpeg", [contents(PNGS["rgb"])], ratio=2, channels=4, id="a PNG with options")
P = PNGS["rgb"]
for _data in (P[:60], P[:-1], P[:-12], P[:-30], PNGS["deep 3"][:-20]):
    case("DecodePng", [contents(_data)], raises=BAD, id=f"{len(_data)} bytes",
         match=f"Invalid PNG data, size {len(_data)}")  # fmt: skip
_broken = bytearray(PNGS["deep 3"])
_broken[60] ^= 0xFF
case("DecodePng", [contents(bytes(_broken))], raises=BAD, match="Invalid PNG data", id="broken")
case("DecodePng", [contents(b"")], raises=BAD, match="Input is empty")
case("DecodePng", [contents(P).reshape(1)], raises=BAD, match=r"must be scalar but got shape\[1\]")
case("DecodePng", [contents(P)], channels=2, raises=BAD, match="`channels` must be 0, 1, 3 or 4")
case("DecodeAndCropJpeg", [contents(P), i32(0, 0, 2, 2)], raises=BAD,
     match="can run on JPEG only, but detected PNG")  # fmt: skip
# TensorFlow's compressor is another one: only what the files hold is the same.
for _image in (GRAY, RGBA[..., 2:], COLOR, RGBA, DEEP):
    case("EncodePng", [_image], expect=contents(png.encode(_image)), conformance=False,
         id=f"{_image.dtype.name} {_image.shape[2]}")  # fmt: skip
case("EncodePng", [np.stack([COLOR, COLOR[::-1]])], compression=1, conformance=False,
     expect=np.array([png.encode(COLOR, 1), png.encode(COLOR[::-1], 1)], object))  # fmt: skip
case("EncodePng", [np.zeros((0, 2, 3, 3), np.uint8)], expect=np.zeros(0, object), id="none")
case("EncodePng", [COLOR], compression=10, raises=BAD, match=r"compression should be in \[-1,9\]")
case("EncodePng", [COLOR[0]], raises=BAD, match=r"images must be at least rank 3\[70,3\]")
for _channels in (0, 5):
    case("EncodePng", [np.zeros((2, 2, _channels), np.uint8)], raises=BAD,
         match=f"image must have 1, 2, 3, or 4 channels, got {_channels}")  # fmt: skip
case("EncodePng", [COLOR[:0]], raises=errors.InternalError,
     match="PNG encoding failed at the following flattened batch indices: 0")  # fmt: skip

# GIF ----------------------------------------------------------------------------------------------

_frames = [np.full((6, 8, 3), 10, np.uint8) for _ in range(3)]
_frames[1][2:4, 3:6] = (200, 0, 0)
_frames[2][:] = _frames[1]
_frames[2][0, 0] = (0, 255, 0)
STILL = file(Image.fromarray(COLOR).quantize(64), "GIF")
GIFS = {"still": STILL, "interlaced": file(Image.fromarray(COLOR).quantize(9), "GIF", interlace=1)}
for _disposal in range(4):
    _first, *_others = map(Image.fromarray, _frames)
    GIFS[f"disposal {_disposal}"] = file(
        _first, "GIF", save_all=True, append_images=_others, disposal=_disposal
    )
_clear = np.zeros((2, 6, 8, 4), np.uint8)
_clear[:, 1:3, 1:3] = (255, 0, 0, 255)
_clear[1, 3:5, 3:5] = (0, 255, 0, 255)
GIFS["transparent"] = file(
    Image.fromarray(_clear[0]), "GIF", save_all=True, append_images=[Image.fromarray(_clear[1])]
)
ANIMATED = GIFS["disposal 1"]
for _kind, _file in GIFS.items():
    case("DecodeGif", [contents(_file)], id=_kind)
case("DecodeGif", [contents(ANIMATED)], expect=np.stack(_frames), id="animated")
for _cut in (len(ANIMATED) // 2, len(ANIMATED) - 5):
    case("DecodeGif", [contents(ANIMATED[:_cut])], id=f"cut {_cut}")
case("DecodeGif", [contents(P)], expect=COLOR[None], id="a PNG")
case("DecodeGif", [contents(JPEGS["gray"])], id="a gray JPEG")
case("DecodeJpeg", [contents(STILL)], id="a GIF")
case("DecodePng", [contents(STILL)], dtype=dtypes.uint16, id="a GIF")
case("DecodeJpeg", [contents(ANIMATED)], raises=BAD,
     match="Got 3 frames, but animated gifs can only be decoded by tf.io.decode_gif")  # fmt: skip
case("DecodeJpeg", [contents(STILL)], channels=1, raises=BAD,
     match="channels must be 0 or 3 for GIF, got 1")  # fmt: skip
case(
    "DecodeGif", [contents(ANIMATED[:20])], raises=BAD, match=r"Invalid GIF data \(size 20\), fail"
)
case("DecodeGif", [contents(b"xx")], raises=BAD, match="Unknown image file format")
case("DecodeGif", [contents(STILL).reshape(1)], raises=BAD, match="`contents` must be scalar")

# BMP ----------------------------------------------------------------------------------------------

BMP = file(COLOR, "BMP")
_top_down = bytearray(BMP)
struct.pack_into("<i", _top_down, 22, -53)
case("DecodeBmp", [contents(BMP)], expect=COLOR)
case("DecodeBmp", [contents(BMP)], channels=4, id="with alpha",
     expect=np.concatenate([COLOR, np.full_like(GRAY, 255)], axis=2))  # fmt: skip
case("DecodeBmp", [contents(bytes(_top_down))], expect=COLOR[::-1], id="from the top")
case("DecodeBmp", [contents(file(GRAY, "BMP"))], expect=GRAY, id="gray")
for _channels in (3, 4):
    case("DecodeBmp", [contents(file(GRAY, "BMP"))], channels=_channels, id=f"gray {_channels}")
case("DecodeBmp", [contents(file(RGBA, "BMP"))], expect=RGBA, id="rgba")
case("DecodeBmp", [contents(file(RGBA, "BMP"))], channels=3, expect=COLOR, id="rgba as rgb")
for _data, _match in {
    b"": "Input is empty",
    b"BMxx": "Incomplete bmp content, requires at least 32 bytes to find .* got 4 bytes",
    BMP[:-10]: r"Input size should match \(header_size .* but they differ by -10",
    BMP + b"xx": "but they differ by 2",
    file(
        Image.fromarray(GRAY[..., 0] > 9), "BMP"
    ): "inherent in the image must be 1, 3 or 4, was 0",
    P: "Trying to decode PNG format using DecodeBmp op. Use `decode_png` or `decode_image` instead",
    STILL: "Trying to decode GIF format using DecodeBmp op",
}.items():
    case("DecodeBmp", [contents(_data)], raises=BAD, match=_match, id=f"{len(_data)} bytes")
case(
    "DecodeBmp", [contents(BMP)], channels=1, raises=BAD, match="must be 0, 3 or 4 for BMP, but got"
)
case(
    "DecodeJpeg", [contents(BMP)], raises=BAD, match="using a wrong op. Use .* Op used: DecodeJpeg"
)
case("DecodePng", [contents(BMP)], raises=BAD, match="using a wrong op. Use .* Op used: DecodePng")

# Any format ---------------------------------------------------------------------------------------

for _kind, _file in {
    "jpeg": J, "png": P, "deep": PNGS["deep 3"], "bmp": BMP, "gif": ANIMATED, "still": STILL,
}.items():  # fmt: skip
    for _dtype in (dtypes.uint8, dtypes.uint16, dtypes.float32):
        case("DecodeImage", [contents(_file)], dtype=_dtype, id=f"{_kind} {_dtype.name}")
        case("DecodeImage", [contents(_file)], dtype=_dtype, channels=3, expand_animations=False,
             id=f"{_kind} {_dtype.name} one frame")  # fmt: skip
case("DecodeImage", [contents(b"")], raises=BAD, match="Input is empty")
case("DecodeImage", [contents(J)], channels=2, raises=BAD, match="`channels` must be 0, 1, 3 or 4")
case(
    "DecodeImage", [contents(J).reshape(1)], raises=BAD, match=r"must be scalar but got shape\[1\]"
)

test_case = table_test()


def test_decoding_gives_about_what_was_encoded() -> None:
    smooth = COLOR[:10, :20]
    decoded = jpeg.decode(jpeg.encode(smooth, quality=100, chroma_downsampling=False))
    assert np.abs(decoded.astype(int) - smooth).max() <= 4


def test_what_comes_before_the_end_of_a_truncated_file_is_recovered() -> None:
    whole, part = jpeg.decode(J), jpeg.decode(J[: len(J) // 2], recover_truncated=True)
    same = (whole == part).all(axis=(1, 2))
    assert same[:14].all()
    assert (part[-1] == 128).all()


def test_interlaced_files_are_put_together() -> None:
    image = DEEP[:, :, :3]
    passes = [image[y::dy, x::dx] for y, x, dy, dx in
              ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
               (1, 0, 2, 1))]  # fmt: skip
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for p in passes if p.size for row in p)
    whole = bytearray(png_file(16, 2, [b""] * 5, 7, interlaced=1))
    start = whole.index(b"IDAT") - 4
    data = b"IDAT" + zlib.compress(lines)
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    end = whole.index(b"IEND") - 4
    interlaced = bytes(whole[:start]) + chunk + bytes(whole[end:])
    np.testing.assert_array_equal(png.decode(interlaced, bits=16), image)
