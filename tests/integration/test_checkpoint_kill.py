"""A process that saves is killed at random moments, 50 times, and resumes each time."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

import flowray as tf
from flowray.client.framework.meta_graph import read_meta_graph_file

KILLS = 50
SIZE = 200_000  # elements of each variable: 0.8 MB, so that writing takes its time


def train(directory: str, sharded: bool, connection: Connection) -> None:
    """Resumes, and saves after every step; reports each step that is safe."""
    with tf.Graph().as_default(), tf.Session() as sess:
        step = tf.train.get_or_create_global_step()
        with tf.device("/device:CPU:0"):
            first = tf.Variable(tf.zeros([SIZE]), name="first")
        second = tf.Variable(tf.zeros([SIZE]), name="second", use_resource=True)
        advance = tf.group(step.assign_add(1), first.assign_add(tf.ones([SIZE])),
                           second.assign_add(tf.ones([SIZE])))  # fmt: skip
        listed = tf.train.Saver(max_to_keep=2, sharded=sharded)
        same = tf.train.Saver(sharded=sharded)
        latest = tf.train.latest_checkpoint(directory)
        if latest is None:
            sess.run(tf.global_variables_initializer())
        else:
            listed.restore(sess, latest)
            state = tf.train.get_checkpoint_state(directory)
            listed.recover_last_checkpoints(state.all_model_checkpoint_paths)
        connection.send(int(sess.run(step)))
        while True:
            sess.run(advance)
            now = int(sess.run(step))
            listed.save(sess, os.path.join(directory, "model"), global_step=now)
            connection.send(now)
            # One that replaces itself, too.
            same.save(sess, os.path.join(directory, "same"), write_state=False)
            connection.send(now)


def check(prefix: str) -> int:
    """Reads all of a checkpoint, whose variables must be of one and the same step."""
    reader = tf.train.load_checkpoint(prefix)
    step = int(reader.get_tensor("global_step"))
    for name in ("first", "second"):
        np.testing.assert_array_equal(reader.get_tensor(name), np.full(SIZE, step, np.float32))
    return step


@pytest.mark.timeout(400)
@pytest.mark.parametrize("sharded", [False, True])
def test_the_last_good_checkpoint_is_never_lost(tmp_path: Path, sharded: bool) -> None:
    # The fork server has flowray imported, so that a process is there at once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["flowray", "flowray.deploy.in_process"])
    chance = random.Random(5)
    safe = same_safe = 0
    for _ in range(KILLS // 2):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=train, args=(str(tmp_path), sharded, theirs))
        process.start()
        theirs.close()
        assert ours.poll(60), "the process does not resume"
        resumed = ours.recv()
        assert resumed >= safe, "a step was lost"
        reports = []
        for _ in range(chance.randrange(5)):
            assert ours.poll(60), "the process does not save"
            reports.append(ours.recv())
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        process.join()
        while True:
            try:
                reports.append(ours.recv())
            except EOFError:
                break
        for i, step in enumerate(reports):
            safe, same_safe = step, step if i % 2 else same_safe
        latest = tf.train.latest_checkpoint(tmp_path)
        if latest is None:
            assert safe == 0
            continue
        assert check(latest) in (safe, safe + 1)
        read_meta_graph_file(latest + ".meta")
        if same_safe:
            assert same_safe <= check(str(tmp_path / "same")) <= safe + 1
    assert safe > KILLS // 4, "it hardly came to save anything"
    left = [name for name in os.listdir(tmp_path) if "unfinished" in name]
    assert len(left) <= 2, "killed processes leave their files for good"
