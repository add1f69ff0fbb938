"""flowray beside TensorFlow in one run: medians and ratios (``make bench``).

Both sides run the same graph, built by the same function, in this process and in turns, so that a
noisy machine disturbs both alike. TensorFlow's side runs if tensorflow is installed
(``make conformance`` installs it); a goal is printed with its ratio.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import flowray

ROUNDS = 7


def load_tensorflow() -> Any:
    if importlib.util.find_spec("tensorflow") is None:
        return None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    return tf


# The graphs ---------------------------------------------------------------------------------------

Run = Callable[[], Any]
SESSIONS = contextlib.ExitStack()
"""Closes the sessions of all graphs."""


def open_session(tf: Any, target: str) -> Any:
    session = tf.Session(target)
    SESSIONS.callback(session.close)
    return session


def trivial(tf: Any, target: str) -> Run:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [])
        y = x + 1.0
        session = open_session(tf, target)
    return lambda: session.run(y, {x: 2.0})


def softmax_step(tf: Any, target: str) -> Run:
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [None, 784])
        y_ = tf.placeholder(tf.float32, [None, 10])
        w = tf.Variable(tf.zeros([784, 10]))
        b = tf.Variable(tf.zeros([10]))
        y = tf.nn.softmax(tf.matmul(x, w) + b)
        loss = tf.reduce_mean(-tf.reduce_sum(y_ * tf.log(y), axis=[1]))
        step = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
        session = open_session(tf, target)
        session.run(tf.global_variables_initializer())
    random = np.random.RandomState(0)
    feed = {
        x: random.rand(100, 784).astype(np.float32),
        y_: np.eye(10, dtype=np.float32)[random.randint(0, 10, 100)],
    }
    return lambda: session.run(step, feed)


def cnn(tf: Any, target: str, train: bool) -> Run:
    def weight(name: str, shape: list[int]) -> Any:
        initializer = tf.truncated_normal_initializer(stddev=0.1)
        return tf.get_variable(name, shape, initializer=initializer)

    def bias(name: str, size: int) -> Any:
        return tf.get_variable(name, [size], initializer=tf.constant_initializer(0.1))

    def layer(h: Any, number: int, shape: list[int]) -> Any:
        h = tf.nn.conv2d(h, weight(f"w{number}", shape), strides=[1, 1, 1, 1], padding="SAME")
        h = tf.nn.relu(h + bias(f"b{number}", shape[-1]))
        return tf.nn.max_pool(h, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")

    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [None, 28, 28, 3])
        y_ = tf.placeholder(tf.float32, [None, 10])
        h = layer(layer(x, 1, [5, 5, 3, 32]), 2, [5, 5, 32, 64])
        h = tf.reshape(h, [-1, 7 * 7 * 64])
        h = tf.nn.relu(tf.matmul(h, weight("w3", [7 * 7 * 64, 1024])) + bias("b3", 1024))
        logits = tf.matmul(h, weight("w4", [1024, 10])) + bias("b4", 10)
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=y_, logits=logits))
        step = tf.train.GradientDescentOptimizer(0.01).minimize(loss)
        session = open_session(tf, target)
        session.run(tf.global_variables_initializer())
    random = np.random.RandomState(0)
    images = random.rand(64, 28, 28, 3).astype(np.float32)
    labels = np.eye(10, dtype=np.float32)[random.randint(0, 10, 64)]
    if train:
        return lambda: session.run(step, {x: images, y_: labels})
    return lambda: session.run(logits, {x: images})


def many_small_ops(tf: Any, target: str) -> Run:
    with tf.Graph().as_default():
        x = y = tf.placeholder(tf.float32, [10])
        for _ in range(1000):
            y = y * 1.0001
        session = open_session(tf, target)
    value = np.ones(10, np.float32)
    return lambda: session.run(y, {x: value})


def elementwise(tf: Any, target: str) -> Run:
    with tf.Graph().as_default():
        x = y = tf.placeholder(tf.float32, [1_000_000])
        for _ in range(20):
            y = tf.tanh(y)
        y = tf.reduce_sum(y)
        session = open_session(tf, target)
    value = np.linspace(-1, 1, 1_000_000, dtype=np.float32)
    return lambda: session.run(y, {x: value})


def lstm_step(tf: Any, target: str) -> Run:
    """A training step of an LSTM of 64 units, unrolled over 20 steps, batch 32: 1,200 nodes."""
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [32, 20, 64])
        w = tf.get_variable("w", [128, 256], initializer=tf.random_uniform_initializer(-0.1, 0.1))
        b = tf.get_variable("b", [256], initializer=tf.zeros_initializer())
        h = c = tf.zeros([32, 64])
        for x_t in tf.unstack(x, axis=1):
            i, j, f, o = tf.split(tf.matmul(tf.concat([x_t, h], 1), w) + b, 4, 1)
            c = c * tf.sigmoid(f + 1.0) + tf.sigmoid(i) * tf.tanh(j)
            h = tf.tanh(c) * tf.sigmoid(o)
        step = tf.train.GradientDescentOptimizer(0.01).minimize(tf.reduce_mean(h * h))
        session = open_session(tf, target)
        session.run(tf.global_variables_initializer())
    value = np.random.RandomState(0).rand(32, 20, 64).astype(np.float32)
    return lambda: session.run(step, {x: value})


# Measuring ----------------------------------------------------------------------------------------


def milliseconds(run: Run, seconds: float) -> float:
    """The median time of one call, over about ``seconds``."""
    times = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def compare(ours: Run, theirs: Run | None, warm_seconds: float = 3.0) -> tuple[float, float | None]:
    """Medians of both, measured in turns after warming up (and compiling) both."""
    for run in (ours, theirs):
        if run is not None:
            milliseconds(run, warm_seconds)
    mine, other = [], []
    for _ in range(ROUNDS):
        mine.append(milliseconds(ours, 0.4))
        if theirs is not None:
            other.append(milliseconds(theirs, 0.4))
    return statistics.median(mine), statistics.median(other) if other else None


def report(name: str, goal: float | None, times: tuple[float, float | None]) -> None:
    mine, other = times
    ratio = "" if other is None else f"{mine / other:8.2f}"
    theirs = "" if other is None else f"{other:9.3f}"
    shown = "" if goal is None else f"<= {goal}"
    print(f"| {name:47} | {mine:9.3f} | {theirs:>10} | {ratio:>8} | {shown:7} |", flush=True)


@contextlib.contextmanager
def flowray_cluster() -> Iterator[str]:
    """``flowray up`` with one ps and two workers; gives its target."""
    command = [
        sys.executable,
        "-m",
        "flowray.deploy.cli",
        "up",
        "--job",
        "ps=1",
        "--job",
        "worker=2",
    ]
    process = subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            match = re.search(r"target: (grpc://\S+)", line)
            if match:
                yield match.group(1)
                break
        else:
            raise RuntimeError("flowray up ended before it served")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


_TF_SERVER = """
import sys, time
import tensorflow.compat.v1 as tf
server = tf.train.Server.create_local_server()
print(server.target, flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def tensorflow_server() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _TF_SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait(10)


def first_steps() -> None:
    """The CNN's first training steps in a fresh process without any cache."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import bench, flowray, time\n"
        "run = bench.cnn(flowray, '', True)\n"
        "times = []\n"
        "end = time.perf_counter() + 15\n"
        "while time.perf_counter() < end:\n"
        "    start = time.perf_counter(); run(); times.append(time.perf_counter() - start)\n"
        "later = sorted(times)[len(times) // 4]\n"
        "print(f'{times[0]:.3f} {max(times[1:]):.3f} {later:.3f}')\n"
    )
    with tempfile.TemporaryDirectory() as cache:
        result = subprocess.run(
            [sys.executable, "-c", code, str(Path(__file__).parent)],
            env={**os.environ, "FLOWRAY_CACHE_DIR": cache},
            capture_output=True,
            text=True,
            check=True,
        )
    first, worst, later = map(float, result.stdout.split())
    print(
        f"\nCNN in a fresh process, nothing cached: first step {first * 1e3:.0f} ms (goal <= 2000), "  # noqa: E501
        f"slowest step after it {worst * 1e3:.0f} ms, later steps {later * 1e3:.0f} ms "
        f"(slowest / later {worst / later:.1f}, goal <= 3)"
    )


def steps_while_compiling() -> None:
    """Steps of the LSTM that are interpreted while XLA compiles it, with a busy process beside."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import bench, flowray, logging, time\n"
        "compiled = []\n"
        "class Handler(logging.Handler):\n"
        "    def emit(self, record):\n"
        "        if record.msg.startswith('compiled'): compiled.append(record)\n"
        "logger = logging.getLogger('flowray.worker')\n"
        "logger.setLevel(logging.INFO); logger.addHandler(Handler())\n"
        "run = bench.lstm_step(flowray, '')\n"
        "times = []\n"
        "while not compiled and len(times) < 10_000:\n"
        "    start = time.perf_counter(); run(); times.append(time.perf_counter() - start)\n"
        "times = sorted(times[:-1])\n"
        "print(len(times), times[len(times) // 2], times[int(len(times) * 0.9)], times[-1])\n"
    )
    with tempfile.TemporaryDirectory() as cache:
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            result = subprocess.run(
                [sys.executable, "-c", code, str(Path(__file__).parent)],
                env={**os.environ, "FLOWRAY_CACHE_DIR": cache},
                capture_output=True,
                text=True,
                check=True,
            )
        finally:
            busy.kill()
            busy.wait()
    count, median, high, most = map(float, result.stdout.split())
    print(
        f"LSTM while it is compiled, beside a busy process: {count:.0f} interpreted steps, median "
        f"{median * 1e3:.1f} ms (goal <= 10), nine in ten below {high * 1e3:.1f}, slowest "
        f"{most * 1e3:.0f}"
    )


def remote_rows(tf: Any) -> None:
    """The rows that need servers; the sessions are closed before these end.

    TensorFlow's session waits for its server without end when it is closed.
    """
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(flowray_cluster())
        other = None if tf is None else stack.enter_context(tensorflow_server())
        stack.callback(SESSIONS.close)
        reference = None if other is None else trivial(tf, other)
        report("remote: trivial, own client", 1.0, compare(trivial(flowray, ours), reference))
        if tf is not None:
            theirs = trivial(tf, ours)
            report("remote: trivial, TensorFlow's client", 1.5, compare(theirs, reference))
        report(
            "remote: softmax regression step, own client",
            None,
            compare(
                softmax_step(flowray, ours), None if other is None else softmax_step(tf, other)
            ),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--local-only", action="store_true", help="no servers, no cluster")
    args = parser.parse_args()
    tf = load_tensorflow()
    if tf is None:
        print("tensorflow is not installed: flowray's side only")
    print(f"| {'':47} | {'flowray ms':9} | TensorFlow | {'ratio':>8} | {'goal':7} |")
    print(f"|{'-' * 49}|{'-' * 11}|{'-' * 12}|{'-' * 10}|{'-' * 9}|")
    rows: list[tuple[str, float | None, Callable[[Any, str], Run]]] = [
        ("in-process: trivial session.run", 0.15, trivial),
        ("in-process: softmax regression step", 0.6, softmax_step),
        ("in-process: CNN training step, batch 64", 1.0, lambda t, g: cnn(t, g, True)),
        ("in-process: CNN inference, batch 64", 0.9, lambda t, g: cnn(t, g, False)),
        ("in-process: 1000 small ops", None, many_small_ops),
        ("in-process: 20 tanh over 1M floats and a sum", 0.7, elementwise),
        ("in-process: LSTM training step, 20x32x64", None, lstm_step),
    ]
    for name, goal, build in rows:
        theirs = None if tf is None else build(tf, "")
        report(name, goal, compare(build(flowray, ""), theirs))
    if not args.local_only:
        remote_rows(tf)
    first_steps()
    steps_while_compiling()


if __name__ == "__main__":
    main()
