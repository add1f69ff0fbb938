"""Training on a disk that becomes full, which goes on once there is space again."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowray as tf
from flowray.proto.files.records import RecordReader

SIZE = 4000  # elements: 16 kB in each checkpoint
LARGE = 512
"""The kilobytes that all written files take."""


class Disk:
    """A small file system, whose size can be changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        _mount("-t", "tmpfs", "-o", f"size={LARGE}k", "tmpfs", str(path))

    def resize(self, kilobytes: int) -> None:
        _mount("-o", f"remount,size={kilobytes}k", str(self.path))

    def remove(self) -> None:
        subprocess.run(["umount", str(self.path)], check=True, timeout=20)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, timeout=20, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    try:
        disk = Disk(tmp_path / "disk")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a file system cannot be mounted here: {error}")
    yield disk
    tf.summary.FileWriterCache.clear()
    disk.remove()


def train(directory: Path, steps: int) -> None:
    """Trains that many steps more, with a checkpoint every second one and events for each."""
    with tf.Graph().as_default():
        step = tf.train.get_or_create_global_step()
        weights = tf.get_variable("weights", [SIZE], initializer=tf.zeros_initializer())
        tf.summary.histogram("weights", weights)
        with tf.control_dependencies([weights.assign_add(tf.ones([SIZE]))]):
            advance = step.assign_add(1)
        with tf.train.MonitoredTrainingSession(
            checkpoint_dir=str(directory), hooks=[tf.train.StopAtStepHook(num_steps=steps)],
            save_checkpoint_steps=2, save_summaries_steps=1, log_step_count_steps=None,
        ) as session:  # fmt: skip
            while not session.should_stop():
                session.run(advance)


def saved_step(directory: Path) -> int | None:
    """The step of the last checkpoint, all of which must be there."""
    latest = tf.train.latest_checkpoint(str(directory))
    if latest is None:
        return None
    step = int(re.sub(r".*-", "", latest))
    reader = tf.train.load_checkpoint(latest)
    assert reader.get_tensor("global_step") == step
    np.testing.assert_array_equal(reader.get_tensor("weights"), np.full(SIZE, step, np.float32))
    return step


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_wherever_the_disk_gets_full(disk: Disk) -> None:
    begun = disk.path / "model"
    train(begun, 2)
    used = sum(f.stat().st_blocks for f in begun.iterdir()) // 2
    failed: list[Any] = []
    last = 2
    for space in range(0, 140, 4):
        disk.resize(used + space)
        try:
            train(begun, 4)
        except tf.errors.ResourceExhaustedError as error:
            failed.append(error.message)
        else:
            break
        finally:
            tf.summary.FileWriterCache.clear()
        # What was there before is there still, or more of it.
        step = saved_step(begun)
        assert step is not None
        assert step >= last
        last = step
        disk.resize(LARGE)
        for events in begun.glob("events*"):
            events.unlink()
        used = sum(f.stat().st_blocks for f in begun.iterdir()) // 2
    else:
        pytest.fail("there is never enough space")
    assert len(failed) > 5
    for message in failed:
        assert message.startswith(str(begun)), message
        assert "; No space left on device" in message
    # Different files were the ones that did not fit.
    assert len({re.sub(r"[-.].*", "", m.removeprefix(f"{begun}/")) for m in failed}) > 2, failed
    assert saved_step(begun) == last + 4
    assert not list(begun.glob("*unfinished*"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("by_worker", [False, True])
def test_events_on_a_full_disk(disk: Disk, by_worker: bool) -> None:
    disk.resize(64)
    summary = tf.Summary(value=[tf.Summary.Value(tag="x" * 1000, simple_value=1.0)])
    with tf.Graph().as_default(), tf.Session() as session:
        writer = tf.summary.FileWriter(
            str(disk.path), max_queue=5, session=session if by_worker else None
        )
        refused = []
        for step in range(100):
            try:
                writer.add_summary(summary, step)
                writer.flush()
            except tf.errors.ResourceExhaustedError as error:
                refused.append(error.message)
        assert 30 < len(refused) < 60
        for message in refused:
            assert message.startswith(str(disk.path))
            assert "; No space left on device" in message
        disk.resize(LARGE)
        writer.add_summary(summary, 100)
        writer.close()
    steps = [event.step for event in events(disk.path) if event.HasField("summary")]
    assert steps == sorted(set(steps))
    assert steps[:40] == list(range(40))
    assert steps[-1] == 100


def events(directory: Path) -> Iterator[Any]:
    """The events of all files, whose last ones may be cut off."""
    for path in sorted(directory.glob("events*")):
        reader = RecordReader(str(path))
        yield from map(tf.Event.FromString, iter(reader.read, None))
