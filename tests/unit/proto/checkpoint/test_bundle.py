"""Checkpoints: written, read, merged; what is left when something fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from flowray.proto import errors
from flowray.proto.files.checkpoint import BundleReader, BundleWriter, commit, merge
from flowray.proto.files.checkpoint.slices import TensorSlice
from flowray.proto.types import dtypes

VALUES = {
    b"step": np.int64(7).reshape(()),
    b"w": np.arange(6, dtype=np.float32).reshape(2, 3),
    b"transposed": np.arange(6, dtype=np.float64).reshape(2, 3).T,
    b"words": np.array([[b"hi", b""], [b"x" * 300, b"\0\xff"]], object),
    b"word": np.array(b"one", object),
    b"none": np.zeros((0, 3), np.float32),
    b"no words": np.zeros(0, object),
    b"bfloat16": np.array([1.5, -2], ml_dtypes.bfloat16),
    b"half": np.array([1.5], np.float16),
    b"flags": np.array([True, False]),
    b"complex": np.array([1 + 2j], np.complex64),
    b"quantized": np.array([(3,), (250,)], dtypes.quint8.np_dtype),
}
PART = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return str(tmp_path / "model.ckpt-1")


def write(prefix: str, values: dict[bytes, np.ndarray]) -> None:
    with BundleWriter(prefix) as writer:
        for name, value in values.items():
            writer.add(name, value)


def read(prefix: str) -> dict[bytes, np.ndarray]:
    with BundleReader(prefix) as reader:
        return {name: reader.read(name) for name in reader.names()}


def files(prefix: str) -> list[str]:
    return sorted(os.listdir(os.path.dirname(prefix)))


def assert_equal(actual: dict[bytes, np.ndarray], expected: dict[bytes, np.ndarray]) -> None:
    assert list(actual) == sorted(expected)
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype, name
        np.testing.assert_array_equal(actual[name], value, err_msg=str(name), strict=True)


def test_round_trip(prefix: str) -> None:
    write(prefix, VALUES)
    assert_equal(read(prefix), VALUES)
    with BundleReader(prefix) as reader:
        assert b"w" in reader
        assert b"" not in reader
        assert b"v" not in reader
        assert reader.shape(b"w") == (2, 3)
        assert reader.dtype(b"bfloat16") is dtypes.bfloat16
        with pytest.raises(errors.NotFoundError, match=r"^Key v not found in checkpoint$"):
            reader.read(b"v")
    assert files(prefix) == ["model.ckpt-1.data-00000-of-00001", "model.ckpt-1.index"]


def test_values_can_be_written_to(prefix: str) -> None:
    write(prefix, VALUES)
    read(prefix)[b"w"][0, 0] = 5


def test_values_larger_than_a_chunk(prefix: str) -> None:
    large = np.arange(5_000_000, dtype=np.float32)
    write(prefix, {b"a": large, b"b": large[:3]})
    assert_equal(read(prefix), {b"a": large, b"b": large[:3]})


@pytest.mark.parametrize("rows", [[4], [2, 2], [1, 2, 1], [3, 1]])
def test_slices(prefix: str, rows: list[int]) -> None:
    with BundleWriter(prefix) as writer:
        start = 0
        for count in rows:
            piece = TensorSlice(((start, count), (0, 3)))
            writer.add_slice(b"p", (4, 3), piece, PART[start : start + count])
            start += count
    assert_equal(read(prefix), {b"p": PART})
    with BundleReader(prefix) as reader:
        for text in ("0,1:-", "1,2:-", "0,4:1,1", "1,3:0,2", "-:-", "3,1:2,1"):
            piece = TensorSlice.parse(text)
            index = tuple(slice(s, s + n) for s, n in piece.bounds((4, 3)))
            np.testing.assert_array_equal(reader.read_slice(b"p", (4, 3), piece), PART[index])


def test_slices_of_strings(prefix: str) -> None:
    words = np.array([b"a", b"", b"ccc", b"dd"], object)
    with BundleWriter(prefix) as writer:
        for start in (0, 2):
            writer.add_slice(b"s", (4,), TensorSlice(((start, 2),)), words[start : start + 2])
    assert_equal(read(prefix), {b"s": words})


def test_a_tensor_is_whole_or_sliced(prefix: str) -> None:
    piece = TensorSlice.parse("0,2:-")
    with BundleWriter(prefix) as writer:
        writer.add(b"p", PART)
        with pytest.raises(errors.InvalidArgumentError, match="disagree"):
            writer.add_slice(b"p", (4, 3), piece, PART[:2])
        writer.add_slice(b"q", (4, 3), piece, PART[:2])
        with pytest.raises(errors.InvalidArgumentError, match="duplicate"):
            writer.add_slice(b"q", (4, 3), piece, PART[:2])
        with pytest.raises(errors.InvalidArgumentError, match="duplicate"):
            writer.add(b"q", PART)


def test_resources_are_not_saved(prefix: str) -> None:
    writer = BundleWriter(prefix)
    with pytest.raises(errors.UnimplementedError, match="Tensor r holds resources or variants"):
        writer.add(b"r", np.array([object()], object))
    writer.discard()
    assert files(prefix) == []


def test_a_v1_checkpoint_is_refused(prefix: str) -> None:
    Path(prefix).write_bytes(b"table")
    with pytest.raises(errors.UnimplementedError, match="V1"):
        BundleReader(prefix)


# Merging ------------------------------------------------------------------------------------------


def test_merge(tmp_path: Path) -> None:
    parts = [str(tmp_path / "temp" / f"part-{i}") for i in range(3)]
    write(parts[0], {b"a": VALUES[b"w"], b"words": VALUES[b"words"]})
    with BundleWriter(parts[1]) as writer:
        writer.add_slice(b"p", (4, 3), TensorSlice.parse("2,2:-"), PART[2:])
        writer.add(b"b", VALUES[b"step"])
    with BundleWriter(parts[2]) as writer:
        writer.add_slice(b"p", (4, 3), TensorSlice.parse("0,2:-"), PART[:2])
    destination = str(tmp_path / "model")
    merge(parts, destination)
    assert files(destination) == [
        *(f"model.data-0000{i}-of-00003" for i in range(3)), "model.index",
    ]  # fmt: skip
    expected = {
        b"a": VALUES[b"w"], b"words": VALUES[b"words"], b"p": PART, b"b": VALUES[b"step"],
    }  # fmt: skip
    assert_equal(read(destination), expected)
    # Merged ones can be merged again.
    write(str(tmp_path / "more"), {b"c": VALUES[b"half"]})
    merge([str(tmp_path / "more"), destination], str(tmp_path / "again"))
    assert_equal(read(str(tmp_path / "again")), {**expected, b"c": VALUES[b"half"]})


def test_merge_that_fails_changes_nothing(tmp_path: Path) -> None:
    parts = [str(tmp_path / "temp" / f"part-{i}") for i in range(2)]
    for part in parts:
        write(part, {b"a": VALUES[b"w"]})
    before = files(parts[0])
    with pytest.raises(errors.InvalidArgumentError, match="Duplicate tensor keyed by a encounter"):
        merge(parts, str(tmp_path / "model"))
    with pytest.raises(errors.InvalidArgumentError, match=r"and .*part-9 did not exist"):
        merge([parts[0], parts[0].replace("0", "9")], str(tmp_path / "model"))
    assert files(parts[0]) == before
    assert os.listdir(tmp_path) == ["temp"]


def test_merge_with_missing_files(tmp_path: Path) -> None:
    write(str(tmp_path / "temp/a"), {b"a": PART})
    merge(
        [str(tmp_path / "temp/a"), str(tmp_path / "temp/b")], str(tmp_path / "m"),
        allow_missing_files=True, delete_old_dirs=False,
    )  # fmt: skip
    assert_equal(read(str(tmp_path / "m")), {b"a": PART})
    assert (tmp_path / "temp").exists()


def test_slices_of_different_tensors_are_not_merged(tmp_path: Path) -> None:
    for i, shape in enumerate([(4, 3), (5, 3)]):
        with BundleWriter(str(tmp_path / f"part-{i}")) as writer:
            writer.add_slice(b"p", shape, TensorSlice(((i, 2), (0, 3))), PART[:2])
    with pytest.raises(errors.InvalidArgumentError, match=r"disagree: \[4,3\]"):
        merge([str(tmp_path / f"part-{i}") for i in range(2)], str(tmp_path / "m"))


# Safety -------------------------------------------------------------------------------------------

OLD, NEW = ({b"v": np.full(1000, x), b"w": np.full(10, x)} for x in (0.0, 1.0))


def test_a_failed_save_leaves_nothing_but_the_old_checkpoint(prefix: str) -> None:
    write(prefix, OLD)
    before = files(prefix)
    writer = BundleWriter(prefix)
    writer.add(b"w", NEW[b"w"])
    with pytest.raises(errors.InvalidArgumentError), writer:
        writer.add(b"w", NEW[b"w"])
    assert files(prefix) == before
    assert_equal(read(prefix), OLD)


class KilledError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("shards", [1, 2])
def test_killed_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool, shards: int
) -> None:
    """Whatever call to the file system is the last one, there is a whole checkpoint."""
    for point in range(1, 100):
        directory = tmp_path / str(point)
        directory.mkdir()
        prefix = str(directory / "model")
        if exists:
            save(prefix, OLD, shards)
        calls = 0

        def counted(call: object, point: int = point) -> object:
            def wrapper(*args: object, **kwargs: object) -> object:
                nonlocal calls
                calls += 1
                if calls >= point:
                    raise KilledError
                return call(*args, **kwargs)

            return wrapper

        with monkeypatch.context() as patch:
            for name in ("replace", "fsync", "remove", "rmdir", "mkdir"):
                patch.setattr(os, name, counted(getattr(os, name)))
            try:
                save(prefix, NEW, shards)
            except KilledError:
                done = False
            else:
                done = True
        if not exists and not done and not os.path.exists(commit.index_path(prefix)):
            continue
        found = read(prefix)
        expected = NEW if done or not exists or found[b"w"][0] else OLD
        assert_equal(found, expected)
        # And the next save is not disturbed by what is left.
        save(prefix, OLD, shards)
        assert_equal(read(prefix), OLD)
        if done:
            return
    raise AssertionError("the save makes more calls than expected")


def save(prefix: str, values: dict[bytes, np.ndarray], shards: int) -> None:
    if shards == 1:
        write(prefix, values)
        return
    parts = [f"{prefix}_temp/part-{i}" for i in range(shards)]
    for part, (name, value) in zip(parts, values.items(), strict=True):
        write(part, {name: value})
    merge(parts, prefix)


def test_a_full_disk(tmp_path: Path) -> None:
    """In a file system of 1 MB, a checkpoint of 4 MB fails and the one before it stays."""
    script = """
import sys, numpy as np, subprocess
from flowray.proto import errors
from flowray.proto.files.checkpoint import BundleReader, BundleWriter
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", sys.argv[1]]).returncode:
    sys.exit(77)
import os
prefix = sys.argv[1] + "/model"
def write(size):
    with BundleWriter(prefix) as writer:
        writer.add(b"w", np.full(size, 1.5))
write(1000)
before = sorted(os.listdir(sys.argv[1]))
for size in (500_000, 100_000):
    for _ in range(2):
        try:
            write(size)
        except errors.ResourceExhaustedError as error:
            assert error.message.endswith("; No space left on device"), error.message
        else:
            assert size == 100_000
    assert sorted(os.listdir(sys.argv[1])) == before
    with BundleReader(prefix) as reader:
        assert (reader.read(b"w") == 1.5).all()
        if size == 500_000:
            assert reader.shape(b"w") == (1000,)
"""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
