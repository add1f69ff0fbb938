"""Input pipelines on flowray beside TensorFlow, in one run: elements per second, and their ratio.

The pipeline of images reads, decodes and resizes JPEG files; the others show the cost of an element
almost without work. Both sides run the same program on the same files, in turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench import load_tensorflow
from PIL import Image

import flowray

BATCH = 64
GOAL = 0.9
"""The goal for flowray's throughput over TensorFlow's."""

Pipeline = Callable[[Any], Any]


def write_images(directory: Path, count: int, width: int, height: int, vary: bool = False) -> None:
    """Writes images that JPEG treats as photographs: smooth shapes with some noise.

    With ``vary`` each has a size of its own, down to half as wide and half as high.
    """
    random = np.random.default_rng(0)
    largest = np.array([width, height])
    for i in range(count):
        if vary:
            width, height = random.integers(largest // 2, largest, endpoint=True).tolist()
        rough = random.integers(0, 255, (height // 32 + 1, width // 32 + 1, 3), np.uint8)
        smooth = np.asarray(
            Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)
        )
        noise = random.normal(0, 8, smooth.shape)
        pixels = np.clip(smooth + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(directory / f"{'cat' if i % 2 else 'dog'}.{i}.jpg", quality=90)


def images(directory: Path, calls: int) -> Pipeline:
    """Returns the pipeline of the goal: files to batches of resized images and labels."""

    def build(tf: Any) -> Any:
        def parse(name: Any) -> tuple[Any, Any]:
            stem = tf.string_split([tf.string_split([name], "/").values[-1]], ".").values[0]
            label = tf.cond(tf.equal(stem, "cat"), lambda: 1, lambda: 0)
            image = tf.image.decode_jpeg(tf.read_file(name), channels=3)
            image = tf.image.convert_image_dtype(image, tf.float32)
            return tf.image.resize_images(image, [224, 224]), label

        files = tf.data.Dataset.list_files(f"{directory}/*.jpg", shuffle=True)
        files = files.apply(tf.data.experimental.shuffle_and_repeat(1000, -1))
        return files.map(parse, num_parallel_calls=calls).batch(BATCH).prefetch(2)

    return build


def rows(tf: Any) -> Any:
    data = np.zeros((20000, 784), np.float32), np.zeros(20000, np.int64)
    dataset = tf.data.Dataset.from_tensor_slices(data).shuffle(10000).repeat()
    return dataset.batch(BATCH).prefetch(2)


def numbers(tf: Any) -> Any:
    return tf.data.Dataset.range(10**9).map(lambda x: x * 2 + 1).batch(BATCH)


def numbers_in_parallel(tf: Any) -> Any:
    dataset = tf.data.Dataset.range(10**9).map(lambda x: x * 2 + 1, num_parallel_calls=2)
    return dataset.batch(BATCH).prefetch(2)


def reader(tf: Any, pipeline: Pipeline) -> Callable[[], None]:
    """Returns a function that reads a batch without fetching it, which would copy it once more."""
    with tf.Graph().as_default():
        iterator = tf.data.make_initializable_iterator(pipeline(tf))
        element = iterator.get_next()
        first = element[0] if isinstance(element, tuple) else element
        session = tf.Session()
        session.run(iterator.initializer)
    return lambda: session.run(first.op)


def rate(read: Callable[[], None], seconds: float) -> float:
    """Measures elements per second."""
    begin, count = time.perf_counter(), 0
    while time.perf_counter() < begin + seconds:
        read()
        count += BATCH
    return count / (time.perf_counter() - begin)


def compare(name: str, pipeline: Pipeline, tf: Any, seconds: float, rounds: int) -> None:
    ours = reader(flowray, pipeline)
    theirs = None if tf is None else reader(tf, pipeline)
    mine, other = [], []
    for _ in range(rounds):
        # The prefetched batches of the last turn do not count.
        for read, rates in ((ours, mine), (theirs, other)):
            if read is not None:
                for _ in range(3):
                    read()
                rates.append(rate(read, seconds))
    flow, flow_best = statistics.median(mine), max(mine)
    line = f"| {name:40} | {flow:11.0f} |"
    if other:
        line += f" {statistics.median(other):11.0f} | {flow / statistics.median(other):6.2f} |"
        line += f" {flow_best / max(other):6.2f} |"
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--size", default="500x375", help="width x height of the JPEG files")
    parser.add_argument("--calls", type=int, default=4, help="num_parallel_calls")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only-images", action="store_true")
    args = parser.parse_args()
    tf = load_tensorflow()
    width, height = map(int, args.size.split("x"))
    print(
        f"| {'elements per second':40} | {'flowray':>11} | {'TensorFlow':>11} |  ratio | best/b |"
    )
    print(f"|{'-' * 42}|{'-' * 13}|{'-' * 13}|{'-' * 8}|{'-' * 8}|")
    for vary, sizes in ((False, args.size), (True, f"up to {args.size}")):
        with tempfile.TemporaryDirectory() as directory:
            write_images(Path(directory), args.images, width, height, vary)
            name = f"JPEG {sizes} -> 224x224 (goal {GOAL})"
            compare(name, images(Path(directory), args.calls), tf, args.seconds, args.rounds)
    if not args.only_images:
        for label, build in (
            ("rows of 784 floats, shuffled", rows),
            ("numbers, mapped", numbers),
            ("numbers, mapped in parallel", numbers_in_parallel),
        ):
            compare(label, build, tf, 1.0, args.rounds)


if __name__ == "__main__":
    main()
