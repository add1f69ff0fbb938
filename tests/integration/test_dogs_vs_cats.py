"""The dogs-and-cats program as its users run it: here, on a cluster, and with TensorFlow's name."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import flowray as tf
from flowray.proto.files.records import RecordReader
from tests.dogs_and_cats import EXAMPLES, draw
from tests.integration.cluster import ENVIRONMENT, Cluster, command

TRAIN, VALID, BATCH, EPOCHS = 320, 80, 16, 8
STEPS = TRAIN // BATCH * EPOCHS
GOAL = 0.9
"""The accuracy to reach; 97.5 % to 99 % are usual."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("images"), TRAIN, VALID)


class Outcome(NamedTuple):
    accuracy: float
    step: int
    log: str


def run(
    program: list[str], images: Path, model_dir: Path, epochs: int = EPOCHS, target: str = ""
) -> Outcome:
    """Runs the program's command line with small images."""
    options = {
        "data_dir": images, "model_dir": model_dir, "image_size": 32, "batch_size": BATCH,
        "num_epochs": epochs, **({"target": target} if target else {}),
    }  # fmt: skip
    done = subprocess.run(
        [*program, *(f"--{name}={value}" for name, value in options.items())],
        capture_output=True, text=True, env=ENVIRONMENT, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    accuracy = re.fullmatch(r"accuracy on the validation images: ([\d.]+)%\n", done.stdout)
    assert accuracy, done.stdout
    step = tf.train.load_variable(str(model_dir), "global_step")
    return Outcome(float(accuracy[1]) / 100, int(step), done.stderr)


HERE = [sys.executable, str(EXAMPLES / "dogs_vs_cats.py")]


def steps_of(model_dir: Path, tag: str) -> list[int]:
    """The steps at which the scalar ``tag`` was written, file by file."""
    found = []
    for path in sorted(model_dir.glob("events.*")):
        reader = RecordReader(str(path))
        for record in iter(reader.read, None):
            event = tf.Event.FromString(record)
            found += [event.step for value in event.summary.value if value.tag == tag]
    return found


def test_trains_and_goes_on_when_it_is_run_again(images: Path, tmp_path: Path) -> None:
    first = run(HERE, images, tmp_path / "model")
    assert first.accuracy >= GOAL
    assert first.step == STEPS
    assert "Restoring parameters" not in first.log.split("Loss for final step")[0]
    again = run(HERE, images, tmp_path / "model", epochs=1)
    assert f"Restoring parameters from {tmp_path}/model/model.ckpt-{STEPS}\n" in again.log
    assert again.step == STEPS + TRAIN // BATCH
    assert again.accuracy >= GOAL
    steps = steps_of(tmp_path / "model", "loss")
    assert steps == sorted(set(steps)), "a step was counted twice"
    assert steps[0] == 1
    assert STEPS < steps[-1] <= again.step


def assert_trained_there(cluster: Cluster, model_dir: Path) -> None:
    """A cluster's tasks keep variables: they are those that were saved last."""
    saved = tf.train.load_variable(str(model_dir), "dense_1/kernel")
    with tf.Graph().as_default(), tf.Session(cluster.target) as session:
        kept = tf.get_variable("dense_1/kernel", saved.shape)
        np.testing.assert_array_equal(session.run(kept), saved)


def test_on_a_cluster(cluster: Cluster, images: Path, tmp_path: Path) -> None:
    tf.Session.reset(cluster.target)
    there = run(HERE, images, tmp_path / "model", target=cluster.target)
    assert there.accuracy >= GOAL
    assert there.step == STEPS
    assert_trained_there(cluster, tmp_path / "model")
    # What a cluster has trained goes on here, and the other way round.
    here = run(HERE, images, tmp_path / "model", epochs=1)
    assert here.accuracy >= GOAL
    tf.Session.reset(cluster.target)
    back = run(HERE, images, tmp_path / "model", epochs=1, target=cluster.target)
    assert back.accuracy >= GOAL
    assert back.step == STEPS + 2 * TRAIN // BATCH


@pytest.fixture
def unmodified(tmp_path: Path) -> Path:
    """The program as it is written for TensorFlow."""
    source = (EXAMPLES / "dogs_vs_cats.py").read_text()
    assert source.count("import flowray as tf\n") == 1
    path = tmp_path / "dogs_vs_cats.py"
    path.write_text(source.replace("import flowray as tf\n", "import tensorflow as tf\n"))
    assert "flowray" not in path.read_text()
    shutil.copy(EXAMPLES / "animal_images.py", tmp_path)
    return path


def test_unmodified_under_flowray_run(unmodified: Path, images: Path, tmp_path: Path) -> None:
    outcome = run([*command("run"), str(unmodified)], images, tmp_path / "model")
    assert outcome.accuracy >= GOAL
    assert outcome.step == STEPS


def test_unmodified_under_flowray_run_on_a_cluster(
    cluster: Cluster, unmodified: Path, images: Path, tmp_path: Path
) -> None:
    tf.Session.reset(cluster.target)
    program = [*command("run", "--target", cluster.target), str(unmodified)]
    outcome = run(program, images, tmp_path / "model")
    assert outcome.accuracy >= GOAL
    assert outcome.step == STEPS
    assert_trained_there(cluster, tmp_path / "model")


def test_a_fault_ends_the_program(images: Path, tmp_path: Path) -> None:
    """A user's view of it: no accuracy, the error last, and an exit status."""
    shutil.copytree(images, tmp_path / "images")
    bad = tmp_path / "images" / "train" / "cats" / "0007.jpg"
    bad.unlink()
    bad.mkdir()
    done = subprocess.run(
        [*HERE, f"--data_dir={tmp_path}/images", f"--model_dir={tmp_path}/model"],
        capture_output=True, text=True, env=ENVIRONMENT, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"FailedPreconditionError: {bad}; Is a directory\n" in done.stderr
