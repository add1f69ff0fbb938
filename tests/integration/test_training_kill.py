"""The training of dogs and cats is killed at random moments, 10 times, and goes on each time."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowray as tf
from flowray.proto.files.records import RecordReader
from tests.dogs_and_cats import draw, example, input_fn

KILLS = 10
SAVE_STEPS = 3
IMAGES = 320
GOAL = 0.9
LAST_STEP = 200


def estimator(directory: str) -> Any:
    config = tf.estimator.RunConfig(
        directory, tf_random_seed=1, save_checkpoints_steps=SAVE_STEPS, save_summary_steps=1,
        log_step_count_steps=2, keep_checkpoint_max=3,
    )  # fmt: skip
    model_fn = example("dogs_vs_cats").model_fn
    return tf.estimator.Estimator(model_fn, config=config, params={"learning_rate": 0.1})


def images_of(data_dir: str, part: str, **options: Any) -> Any:
    return input_fn(f"{data_dir}/{part}/*/*.jpg", image_size=(32, 32), batch_size=16, **options)


class Reporter(tf.train.CheckpointSaverListener):
    """Tells each step that is safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def after_save(self, session: Any, global_step_value: int) -> None:
        self._connection.send(global_step_value)


def train(directory: str, data_dir: str, connection: Connection) -> None:
    estimator(directory).train(
        images_of(data_dir, "train", shuffle=True, num_epochs=None),
        max_steps=LAST_STEP,
        saving_listeners=[Reporter(connection)],
    )


def check_checkpoint(directory: Path) -> int:
    """Reads all of the last checkpoint; gives its step."""
    latest = tf.train.latest_checkpoint(directory)
    assert latest is not None
    reader = tf.train.load_checkpoint(latest)
    values = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    assert {"global_step", "conv2d/kernel", "dense_1/bias"} <= set(values)
    assert all(np.all(np.isfinite(value)) for value in values.values())
    return int(values["global_step"])


def summary_steps(path: Path) -> list[int]:
    """The steps whose loss is in an event file, which may end in the middle of an event."""
    reader = RecordReader(str(path))
    events = [tf.Event.FromString(record) for record in iter(reader.read, None)]
    return [e.step for e in events if any(v.tag == "loss" for v in e.summary.value)]


@pytest.mark.timeout(400)
def test_no_checkpoint_is_lost_and_the_training_succeeds(tmp_path: Path) -> None:
    data_dir, model_dir = draw(tmp_path / "images", IMAGES, 80), tmp_path / "model"
    # The fork server has flowray imported, so that a process is there at once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["flowray", "flowray.deploy.in_process", "PIL.Image"])
    chance = random.Random(11)
    safe = 0
    safe_after: list[int] = []
    for kill in range(KILLS + 1):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=train, args=(str(model_dir), str(data_dir), theirs))
        process.start()
        theirs.close()
        reports = []
        if kill < KILLS:
            # Without a report it may still start; the first comes when it is ready to train.
            for _ in range(chance.randrange(5)):
                assert ours.poll(60), "the process does not train"
                reports.append(ours.recv())
            time.sleep(chance.uniform(0, 0.5))
            process.kill()
        try:
            while True:
                reports.append(ours.recv())
        except EOFError:
            ours.close()
        process.join(60)
        if reports:
            assert reports[0] >= safe, "steps were lost"
            safe = reports[-1]
        if safe or reports:
            step = check_checkpoint(model_dir)
            # It may have been killed between a save and the report of it.
            assert safe <= step <= safe + SAVE_STEPS
            safe_after.append(step)
    assert process.exitcode == 0
    assert step == LAST_STEP
    assert len(set(safe_after)) > KILLS // 2, f"it hardly came to train: {safe_after}"
    files = sorted(model_dir.glob("events.*"), key=os.path.getmtime)
    assert len(files) > KILLS // 2
    told = {step for path in files for step in summary_steps(path)}
    assert LAST_STEP in told
    assert not list(model_dir.glob("*unfinished*"))
    kept = tf.train.get_checkpoint_state(model_dir).all_model_checkpoint_paths
    there = {str(path.with_suffix("")) for path in model_dir.glob("*.index")}
    assert len(kept) == 3
    assert there >= set(kept)
    # An old checkpoint is first struck off the list, then removed; a kill may come between the two.
    assert len(there) <= 3 + KILLS
    result = estimator(str(model_dir)).evaluate(images_of(str(data_dir), "valid"))
    assert result["accuracy"] >= GOAL
    tf.summary.FileWriterCache.clear()
