"""Ops that save tensors to checkpoints and restore them."""

import atexit
import shutil
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np

from flowray.proto import errors
from flowray.proto.files.checkpoint import BundleWriter
from flowray.proto.files.checkpoint.slices import TensorSlice
from flowray.proto.types.dtypes import bfloat16, float32, int32, int64, string
from tests.ops.harness import case, table_test

BAD = errors.InvalidArgumentError
DIRECTORY = tempfile.mkdtemp()
atexit.register(shutil.rmtree, DIRECTORY)

W = np.arange(6, dtype=np.float32).reshape(2, 3)
STEP = np.int64(7)
WORDS = np.array([b"hi", b"", b"x" * 300], object)
HALVES = np.array([1.5, -2], ml_dtypes.bfloat16)
EMPTY = np.zeros((0, 3), np.float32)
PART = np.arange(12, dtype=np.float32).reshape(4, 3)


def path(name: str) -> bytes:
    return f"{DIRECTORY}/{name}".encode()


def strings(*values: str) -> np.ndarray:
    return np.array([v.encode() for v in values], object)


# Saving -------------------------------------------------------------------------------------------


def save(name: str, names: tuple, specs: tuple, *tensors: object, **options: object) -> None:
    case("SaveV2", [path(name), strings(*names), strings(*specs), tensors], **options)


save("saved", ("w", "step", "words"), ("", "", ""), W, STEP, WORDS)
save("saved", ("bf", "empty"), ("", ""), HALVES, EMPTY)
save("cut", ("p", "p"), ("4 3 0,2:-", "4 3 2,2:0,3"), PART[:2], PART[2:])
save("cut", ("p",), ("4 3 -:-",), PART)
save("cut", ("words",), ("3 1,2",), WORDS[1:])
save("made/saved", ("w",), ("",), W)
save("bad", ("w", "w"), ("", ""), W, W, raises=BAD, match="Adding duplicate key: w")
save("bad", ("w", "w"), ("",), W, W, raises=BAD, match="different number of elements: 2 vs. 1")
save("bad", ("w", "v"), ("", ""), W, raises=BAD, match="", conformance=False)  # TF's wording varies
save(
    "bad", ("w",), ("4 3 0,2:-",), PART, raises=BAD,
    match=r"Slice in .* does not match the shape of the tensor to  s.*: 4 3 0,2:-, tensor: \[4,3\]",
)  # fmt: skip
save("bad", ("w",), ("4",), W, raises=BAD, match="Need least two elements in .*: 4")
save("bad", ("w",), ("4 x 0,2:-",), W, raises=BAD, match="Non numerical dimension in .*: 4 x 0,2:-")
save("bad", ("w",), ("4 3 0:-",), W, raises=BAD, match="Expected a pair of numbers or '-' but got")
save("bad", ("w",), ("4 3 0,0:-",), W, raises=BAD, match="Expected non-negative start and positive")
save(
    "bad", ("w",), ("4 3 0,2",), W,
    raises=errors.InternalError, match=r"Mismatching ranks: shape = \[4,3\], slice = 0,2",
)  # fmt: skip
save(
    "bad", ("w",), ("4 3 3,2:-",), W, raises=errors.InternalError,
    match=r"Extent in dimension 0 out of bounds: shape = \[4,3\], slice = 3,2:-",
)  # fmt: skip
save(
    "no/such/directory", ("w",), ("",), W,
    raises=errors.NotFoundError, match="/no/such; No such file or directory",
)  # fmt: skip
# TensorFlow's process ends over these.
save("bad", ("",), ("",), W, raises=BAD, match="needs a name", conformance=False)
save(
    "bad", ("p", "p"), ("4 3 0,2:-", "5 3 2,2:-"), W, W,
    raises=BAD, match=r"Slices of tensor p disagree: \[4,3\]", conformance=False,
)  # fmt: skip
case(
    "SaveV2", [strings("a", "b"), strings("w"), strings(""), (W,)], raises=BAD, match="single elem"
)


# Restoring ----------------------------------------------------------------------------------------

with BundleWriter(path("there").decode()) as writer:
    for name, value in {
        b"w": W, b"step": STEP.reshape(()), b"words": WORDS, b"bf": HALVES, b"empty": EMPTY,
    }.items():  # fmt: skip
        writer.add(name, value)
    writer.add_slice(b"p", (4, 3), TensorSlice.parse("0,2:-"), PART[:2])
    writer.add_slice(b"p", (4, 3), TensorSlice.parse("2,1:-"), PART[2:3])
    writer.add_slice(b"q", (4, 3), TensorSlice.parse("0,2:0,2"), PART[:2, :2])
    writer.add_slice(b"q", (4, 3), TensorSlice.parse("2,2:0,2"), PART[2:, :2])
    writer.add_slice(b"q", (4, 3), TensorSlice.parse("-:2,1"), PART[:, 2:])


def restore(
    names: tuple, specs: tuple, dtypes: list, *, prefix: str = "there", **options: object
) -> None:
    case(
        "RestoreV2", [path(prefix), strings(*names), strings(*specs)], dtypes=dtypes, **options
    )  # fmt: skip


restore(("w",), ("",), [float32], expect=W)
restore(
    ("words", "step", "empty", "bf"), ("", "", "", ""), [string, int64, float32, bfloat16],
    expect=(WORDS, STEP, EMPTY, HALVES),
)  # fmt: skip
restore(("w", "w"), ("2 3 1,1:-", "2 3 0,2:1,2"), [float32] * 2, expect=(W[1:], W[:, 1:]))
restore(("p", "p"), ("4 3 1,2:-", "4 3 0,2:-"), [float32] * 2, expect=(PART[1:3], PART[:2]))
restore(("q", "q"), ("", "4 3 1,2:1,2"), [float32] * 2, expect=(PART, PART[1:3, 1:]))
MISSING = errors.NotFoundError
restore(
    ("w", "x", "y"), ("",) * 3, [float32] * 3, raises=MISSING, match="^Key x not found in check"
)
restore(
    ("w",), ("",), [float32], prefix="none", raises=MISSING,
    match="TensorSliceReader constructor: Failed to find any matching files for .*/none",
)  # fmt: skip
restore(
    ("w",), ("",), [int32], raises=BAD,
    match="tensor_name = w; expected dtype int32 does not equal original dtype float",
)  # fmt: skip
restore(
    ("w",), ("2 4 0,1:-",), [float32], raises=BAD,
    match=r"w; shape in shape_and_slice spec \[2,4\] does not match the shape stored .*: \[2,3\]",
)  # fmt: skip
restore(
    ("p",), ("4 3 2,2:-",), [float32], raises=BAD,
    match="Does not have sufficient slices for partitioned tensor p to .* in slice_spec: 2,2:-",
)  # fmt: skip
restore(("p",), ("",), [float32], raises=BAD, match="sufficient slices .* in slice_spec: -:-")
restore(("w", "p"), ("",), [float32] * 2, raises=BAD, match="different number of elements: 2 vs. 1")


def damaged(name: str, suffix: str, at: int | None = None, keep: int | None = None) -> str:
    """A copy of the checkpoint with one bit of a file turned, or cut off."""
    for source in Path(DIRECTORY).glob("there.*"):
        content = bytearray(source.read_bytes())
        if source.name.endswith(suffix):
            if at is not None:
                content[at] ^= 1
            content = content[:keep]
        Path(f"{DIRECTORY}/{name}{source.name.removeprefix('there')}").write_bytes(content)
    return name


DATA = ".data-00000-of-00001"
LOST = errors.DataLossError
restore(
    ("w",), ("",), [float32], prefix=damaged("d1", DATA, at=3), raises=LOST,
    match=r"TensorBundle at .*/d1 shard 0 \(24 bytes\): Checksum does not match: stored \d+ vs",
)  # fmt: skip
restore(("words",), ("",), [string], prefix=damaged("d2", DATA, at=33), raises=LOST, match="length")
restore(
    ("words",), ("",), [string], prefix=damaged("d3", DATA, at=60), raises=LOST, match="Checksum"
)
restore(("step",), ("",), [int64], prefix="d1", expect=STEP)
restore(
    ("w",), ("",), [float32], prefix=damaged("d4", DATA, keep=20),
    raises=errors.OutOfRangeError, match="Read less bytes than requested",
)  # fmt: skip
restore(
    ("w",), ("",), [float32], prefix=damaged("d5", ".index", keep=20),
    raises=LOST, match="file is too short to be an sstable",
)  # fmt: skip
restore(
    ("w",), ("",), [float32], prefix=damaged("d6", ".index", keep=-1),
    raises=LOST, match=r"not an sstable \(bad magic number\)",
)  # fmt: skip
restore(
    ("w",), ("",), [float32], prefix=damaged("d7", ".index", at=20), raises=LOST,
    match=r"Unable to read file \(.*/d7.index\). Perhaps .*: block checksum mismatch",
)  # fmt: skip
Path(f"{DIRECTORY}/{damaged('d8', '.index')}{DATA}").unlink()
restore(
    ("w",), ("",), [float32], prefix="d8",
    raises=MISSING, match=f"d8{DATA}; No such file or directory",
)  # fmt: skip


# Shards -------------------------------------------------------------------------------------------

case("ShardedFilename", [b"/a/b", 1, 3], expect=b"/a/b-00001-of-00003")
case("ShardedFilename", [b"", 123456, -3], expect=b"-123456-of--0003")
case("ShardedFilename", [b"/a/b", np.array([1], np.int32), 3], raises=BAD, match="scalar")


def merge(parts: tuple, destination: str, **options: object) -> None:
    prefixes = np.array([path(p) for p in parts], object)
    case("MergeV2Checkpoints", [prefixes, path(destination)], **options)


merge(
    ("none",), "merged", raises=BAD,
    match="allow_missing_files was set to false and .*/none did not exist",
)  # fmt: skip
merge(
    ("none",), "merged", allow_missing_files=True, raises=BAD,
    match="At least one prefix checkpoint file must exist, but none existed",
)  # fmt: skip
# TensorFlow's text ends at the zero byte that the first key begins with.
merge(("there", "there"), "merged", raises=BAD, match="Duplicate tensor keyed by")

test_case = table_test()
