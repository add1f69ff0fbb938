"""Datasets on a cluster: they live on the task that reads them, and end with their session."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

import flowray as tf
from tests.integration.cluster import Cluster, eventually

D = tf.data.Dataset


def test_a_pipeline_on_a_worker(cluster: Cluster, tmp_path: Path) -> None:
    for i in range(6):
        (tmp_path / f"{i}.txt").write_bytes(b"%d" % i)
    with tf.Graph().as_default():
        with tf.device("/job:worker/task:1"):
            dataset = D.list_files(f"{tmp_path}/*.txt", shuffle=True, seed=1)
            dataset = dataset.apply(tf.contrib.data.shuffle_and_repeat(3, 2))
            dataset = dataset.map(
                lambda f: tf.string_to_number(tf.read_file(f)), num_parallel_calls=2
            )
            batch = dataset.batch(4).prefetch(2).make_one_shot_iterator().get_next()
        with tf.device("/job:worker/task:0"):
            total = tf.reduce_sum(batch)
        with tf.Session(cluster.target) as session:
            totals = [session.run(total) for _ in range(3)]
            assert sum(totals) == 2 * sum(range(6))
            with pytest.raises(tf.errors.OutOfRangeError, match="End of sequence"):
                session.run(total)


def test_iterators_of_two_tasks_by_handle(cluster: Cluster) -> None:
    with tf.Graph().as_default():
        handles = []
        for task in range(2):
            with tf.device(f"/job:worker/task:{task}"):
                iterator = D.range(10 * task, 10 * task + 2).make_one_shot_iterator()
                handles.append(iterator.string_handle())
        fed = tf.placeholder(tf.string, [])
        with tf.device("/job:worker/task:1"):
            element = tf.data.Iterator.from_string_handle(fed, tf.int64, []).get_next()
        with tf.Session(cluster.target) as session:
            near, far = session.run(handles[::-1])
            assert [session.run(element, {fed: near}) for _ in range(2)] == [10, 11]
            with pytest.raises(tf.errors.InvalidArgumentError, match="from handle defined on"):
                session.run(element, {fed: far})


def test_sessions_share_an_iterator_by_its_name(cluster: Cluster) -> None:
    with tf.Graph().as_default():
        iterator = D.range(9).make_initializable_iterator(shared_name="numbers")
        element = iterator.get_next()
        with tf.Session(cluster.target) as first, tf.Session(cluster.target) as second:
            first.run(iterator.initializer)
            assert [first.run(element), second.run(element), first.run(element)] == [0, 1, 2]
        with tf.Session(cluster.target) as third:
            assert third.run(element) == 3


def test_python_functions_stay_at_home(cluster: Cluster) -> None:
    with tf.Graph().as_default():
        element = D.from_generator(lambda: [1], tf.int64).make_one_shot_iterator().get_next()
        with (
            tf.Session(cluster.target) as session,
            pytest.raises(tf.errors.UnimplementedError, match=r"tf\.py_func.*from_generator"),
        ):
            session.run(element)


def test_a_dataset_cannot_leave_its_task(cluster: Cluster) -> None:
    with tf.Graph().as_default():
        with tf.device("/job:worker/task:0"):
            here = D.range(3)
        with tf.device("/job:worker/task:1"):
            iterator = tf.data.Iterator.from_structure(tf.int64, [])
            start = iterator.make_initializer(here)
        with tf.Session(cluster.target) as session:
            with pytest.raises(tf.errors.UnimplementedError, match="cannot leave its task"):
                session.run(start)
            assert session.run(tf.constant(np.int64(1))) == 1


def test_closing_a_session_ends_a_blocked_get_next(cluster: Cluster) -> None:
    with tf.Graph().as_default():
        endless = D.range(3).repeat().filter(lambda x: x < 0)
        steps = tf.Variable(0)
        with tf.control_dependencies([steps.assign_add(1)]):
            element = endless.prefetch(1).make_one_shot_iterator().get_next()
        session, other = tf.Session(cluster.target), tf.Session(cluster.target)
        session.run(steps.initializer)
        caught: list[type[BaseException]] = []

        def get() -> None:
            try:
                session.run(element)
            except tf.OpError as error:
                caught.append(type(error))

        thread = threading.Thread(target=get)
        thread.start()
        eventually(lambda: other.run(steps) == 1, "the step runs")
        other.close()
        session.close()
        thread.join(20)
        assert caught == [tf.errors.CancelledError]
