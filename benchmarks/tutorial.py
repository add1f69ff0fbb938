"""The dogs-and-cats program on flowray beside TensorFlow, in one run and in turns.

Its own input and model functions run on both sides, in a MonitoredTrainingSession (TensorFlow 2 has
no Estimator). It measures the pipeline alone, an epoch of training from the start of the program,
the same on images in memory, and the cost of events and checkpoints in 1,000 steps.
TensorFlow's side runs if tensorflow and tf_keras are installed (``make conformance`` installs
them).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from bench import load_tensorflow

import flowray

EXAMPLES = Path(__file__).parents[1] / "examples"
BATCH = 64
SIZE = (64, 64)
RATE = 0.05
CHUNK = 100
SAVING = {
    f"ms of a step on a batch of {BATCH}, the median of {CHUNK} steps": None,
    f"... with events and a checkpoint every {CHUNK} steps": CHUNK,
    "... with events and a checkpoint every 10 steps": 10,
}
"""The steps between checkpoints, by row of the table."""

Sides = dict[str, SimpleNamespace]
Measure = Callable[[SimpleNamespace], float]


def program(tf: Any) -> SimpleNamespace:
    """Runs the program with ``tf`` for its ``import flowray as tf`` and returns its names."""
    source = (EXAMPLES / "dogs_vs_cats.py").read_text().replace("import flowray as tf\n", "\n")
    names = {"tf": tf, "__name__": "dogs_vs_cats"}
    exec(compile(source, "dogs_vs_cats.py", "exec"), names)
    return SimpleNamespace(**names)


class Completed:
    """TensorFlow 2's ``compat.v1`` with what it lacks of TensorFlow 1."""

    def __init__(self, tf: Any) -> None:
        import tf_keras.api._v1.keras.__internal__.legacy.layers as layers

        self._tf = tf
        self.layers = layers
        self.contrib = SimpleNamespace(data=tf.data.experimental)
        # Both sides' flags are absl's, which flowray's side has defined already.
        nothing: Callable[..., None] = lambda *_: None  # noqa: E731
        self.flags = SimpleNamespace(
            FLAGS=flowray.flags.FLAGS,
            DEFINE_string=nothing,
            DEFINE_integer=nothing,
            DEFINE_float=nothing,
        )
        self.estimator = SimpleNamespace(
            ModeKeys=flowray.estimator.ModeKeys,
            EstimatorSpec=lambda mode, **parts: SimpleNamespace(**parts),
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tf, name)


def sides() -> Sides:
    found = {"flowray": program(flowray)}
    tensorflow = load_tensorflow()
    if tensorflow is not None:
        tensorflow.logging.set_verbosity(tensorflow.logging.ERROR)
        found["TensorFlow"] = program(Completed(tensorflow))
    return found


def inputs(side: SimpleNamespace, data_dir: Path, epochs: int | None) -> Any:
    return side.get_input_fn(
        f"{data_dir}/train/*/*.jpg",
        image_size=SIZE,
        shuffle=True,
        batch_size=BATCH,
        num_epochs=epochs,
    )()


def training(side: SimpleNamespace, features: Any, labels: Any) -> Any:
    """Builds a step: the op that trains, and its loss."""
    side.tf.train.get_or_create_global_step()
    spec = side.model_fn(features, labels, "train", {"learning_rate": RATE})
    side.tf.summary.scalar("loss", spec.loss)
    return [spec.train_op, spec.loss]


@contextmanager
def temporary_directory(tf: Any) -> Iterator[str]:
    """A directory for checkpoints and events, whose writers are closed before it is removed."""
    with tempfile.TemporaryDirectory() as directory:
        yield directory
        tf.summary.FileWriterCache.clear()


def images_per_second(data_dir: Path, seconds: float) -> Measure:
    def measure(side: SimpleNamespace) -> float:
        tf = side.tf
        with tf.Graph().as_default(), tf.Session() as session:
            features, _ = inputs(side, data_dir, None)
            read = features["image"].op
            for _ in range(5):  # what has been prefetched does not count
                session.run(read)
            begin, count = time.perf_counter(), 0
            while time.perf_counter() < begin + seconds:
                session.run(read)
                count += BATCH
            return count / (time.perf_counter() - begin)

    return measure


def epochs(data_dir: Path, count: int) -> Measure:
    """Returns a measure of the seconds of ``count`` epochs, with the start."""

    def measure(side: SimpleNamespace) -> float:
        return seconds_of_training(side, lambda: inputs(side, data_dir, count))

    return measure


def epoch_from_memory(data_dir: Path) -> Measure:
    """Returns a measure of the seconds of an epoch on decoded images, with the start."""
    decoded: list[Any] = []

    def measure(side: SimpleNamespace) -> float:
        tf = side.tf
        if not decoded:
            with tf.Graph().as_default(), tf.Session() as session:
                features, labels = inputs(side, data_dir, 1)
                with suppress(tf.errors.OutOfRangeError):
                    while True:
                        decoded.append(session.run([features["image"], labels]))
        images, classes = map(np.concatenate, zip(*decoded, strict=True))

        def from_memory() -> tuple[Any, Any]:
            rows = tf.data.Dataset.range(len(images)).batch(BATCH)
            batches = rows.map(
                lambda row: tf.py_func(
                    lambda i: (images[i], classes[i]), [row], [tf.float32, tf.int32]
                )
            )
            image, label = batches.prefetch(4).make_one_shot_iterator().get_next()
            image.set_shape([None, *SIZE, 3])
            label.set_shape([None])
            return {"image": image}, label

        return seconds_of_training(side, from_memory)

    return measure


def seconds_of_training(side: SimpleNamespace, make_inputs: Callable[[], Any]) -> float:
    """Trains until the inputs end and returns the seconds that it took."""
    tf = side.tf
    begin = time.perf_counter()
    with temporary_directory(tf) as directory, tf.Graph().as_default():
        step = training(side, *make_inputs())
        with tf.train.MonitoredTrainingSession(checkpoint_dir=directory) as session:
            while not session.should_stop():
                session.run(step)
    return time.perf_counter() - begin


@contextmanager
def stepping(
    side: SimpleNamespace, data_dir: Path, every: int | None
) -> Iterator[Callable[[], None]]:
    """Gives a function that runs ``CHUNK`` steps and saves every ``every`` steps."""
    tf = side.tf
    with temporary_directory(tf) as directory, tf.Graph().as_default():
        with tf.Session() as session:  # one batch, so that reading is not measured
            features, labels = inputs(side, data_dir, None)
            image, label = session.run([features["image"], labels])
        step = training(side, {"image": tf.constant(image)}, tf.constant(label))
        saving = (
            {}
            if every is None
            else {
                "checkpoint_dir": directory,
                "save_checkpoint_steps": every,
                "save_summaries_steps": every,
                "log_step_count_steps": every,
            }
        )
        with tf.train.MonitoredTrainingSession(**saving) as session:

            def run() -> None:
                for _ in range(CHUNK):
                    session.run(step)

            yield run


def compare(
    name: str, measure: Measure, found: Sides, rounds: int, more_is_better: bool = False
) -> None:
    """Prints a row of the table: medians."""
    values: dict[str, list[float]] = {label: [] for label in found}
    for _ in range(rounds):
        for label, side in found.items():
            values[label].append(measure(side))
    print_row(name, {k: statistics.median(v) for k, v in values.items()}, more_is_better)


def compare_steps(found: Sides, data_dir: Path, count: int) -> None:
    """Rows for the steps of each way of saving, a chunk of each in turns."""
    with ExitStack() as stack:
        runs = {
            (name, label): stack.enter_context(stepping(side, data_dir, every))
            for name, every in SAVING.items()
            for label, side in found.items()
        }
        times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
        for turn in range(count // CHUNK + 1):
            for key, run in runs.items():
                begin = time.perf_counter()
                run()
                if turn:  # before, programs are compiled
                    times[key].append((time.perf_counter() - begin) / CHUNK * 1e3)
    bare, *_ = SAVING
    for name in SAVING:
        print_row(name, {label: statistics.median(times[name, label]) for label in found})
        if name != bare:
            pairs = {k: zip(times[name, k], times[bare, k], strict=True) for k in found}
            added = {k: statistics.median(a - b for a, b in v) for k, v in pairs.items()}
            print_row("    ms that they add to a step", added)


def print_row(name: str, values: dict[str, float], more_is_better: bool = False) -> None:
    line = f"| {name:58} |" + "".join(f" {value:11.2f} |" for value in values.values())
    if len(values) == 2:
        ours, theirs = values.values()
        line += f" {ours / theirs if more_is_better else theirs / ours:6.2f} |"
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    sys.path.insert(0, str(EXAMPLES))
    from animal_images import draw

    warnings.simplefilter("ignore")  # the one that tf.layers are deprecated
    found = sides()
    print("Ratios above 1 are flowray's.\n")
    print(f"| {'':58} |" + "".join(f" {label:>11} |" for label in found) + "  ratio |")
    print(f"|{'-' * 60}|" + f"{'-' * 13}|" * len(found) + f"{'-' * 8}|")
    with tempfile.TemporaryDirectory() as name:
        data_dir = Path(name)
        draw(str(data_dir), args.images, 0)
        what = f"images a second, read, decoded, resized to {SIZE[0]}x{SIZE[1]}"
        compare(what, images_per_second(data_dir, args.seconds), found, args.rounds, True)
        what = f"seconds of one epoch over {args.images} images, with the start"
        compare(what, epochs(data_dir, 1), found, args.rounds)
        compare("... on images in memory", epoch_from_memory(data_dir), found, args.rounds)
        compare("seconds of four epochs", epochs(data_dir, 4), found, args.rounds)
        compare_steps(found, data_dir, args.steps)


if __name__ == "__main__":
    main()
