"""tf.data's client side: structures, static shapes, errors, and pipelines in a session."""

from __future__ import annotations

import collections
import gc
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowray as tf
from flowray.client.data import nest
from flowray.client.framework.op_builder import apply_op
from flowray.proto.graph import py_functions

D = tf.data.Dataset
Point = collections.namedtuple("Point", "x y")


@pytest.fixture(autouse=True)
def graph() -> Iterator[Any]:
    with tf.Graph().as_default() as graph:
        yield graph


def values(dataset: Any, limit: int = 50) -> list[Any]:
    """All elements; OutOfRangeError has ended them."""
    iterator = dataset.make_initializable_iterator()
    element = iterator.get_next()
    result: list[Any] = []
    with tf.Session() as session:
        session.run(iterator.initializer)
        for _ in range(limit):
            try:
                result.append(session.run(element))
            except tf.errors.OutOfRangeError:
                return result
    raise AssertionError(f"more than {limit} elements")


def data_threads() -> int:
    return sum(thread.name == "flowray-data" for thread in threading.enumerate())


def assert_no_threads() -> None:
    gc.collect()
    deadline = time.monotonic() + 10
    while data_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert data_threads() == 0


# Nested structures --------------------------------------------------------------------------------


def test_lists_are_leaves_and_dicts_are_sorted() -> None:
    structure = {"b": ([1, 2], 3), "a": Point(4, (5,))}
    assert nest.flatten(structure) == [4, 5, [1, 2], 3]
    doubled = nest.map_structure(lambda leaf: leaf * 2, structure)
    assert doubled == {"b": ([1, 2, 1, 2], 6), "a": Point(8, (10,))}
    assert list(doubled) == ["b", "a"]
    assert nest.pack_sequence_as((1, (2,)), ["x", "y"]) == ("x", ("y",))
    assert nest.flatten_up_to((1, {"k": 2}), [[7, 8], {"k": (9,)}]) == [[7, 8], (9,)]


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        ((1, 2), (1,), ValueError),
        ((1, 2), 1, ValueError),
        ({"a": 1}, {"b": 1}, ValueError),
        ((1, 2), Point(1, 2), TypeError),
    ],
)
def test_structures_that_differ(first: Any, second: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"two (structures|dictionaries) don't have the same"):
        nest.assert_same_structure(first, second)


# Static types and shapes --------------------------------------------------------------------------


def test_types_and_shapes_are_nested_like_the_elements() -> None:
    dataset = D.from_tensor_slices({"p": Point(np.zeros([4, 2], np.float32), [1, 2, 3, 4])})
    assert dataset.output_types == {"p": Point(tf.float32, tf.int32)}
    assert dataset.output_shapes == {"p": Point(tf.TensorShape([2]), tf.TensorShape([]))}
    assert dataset.output_classes == {"p": Point(tf.Tensor, tf.Tensor)}
    batched = dataset.batch(3, drop_remainder=True).map(lambda e: e["p"])
    assert batched.output_shapes == Point(tf.TensorShape([3, 2]), tf.TensorShape([3]))
    assert dataset.batch(3).output_shapes["p"].x.as_list() == [None, 2]
    size = tf.placeholder(tf.int64, [])
    assert dataset.batch(size, drop_remainder=True).output_shapes["p"].x.as_list() == [None, 2]
    element = batched.make_one_shot_iterator().get_next()
    assert isinstance(element, Point)
    assert element.x.shape.as_list() == [3, 2]


def test_what_cannot_be_built() -> None:
    numbers = D.range(3)
    with pytest.raises(ValueError, match=r"Dimensions? .* not compatible|not compatible"):
        D.from_tensor_slices(([1, 2], [1, 2, 3]))
    with pytest.raises(ValueError, match="must have rank at least 1"):
        D.from_tensor_slices(3)
    with pytest.raises(TypeError, match="different types"):
        numbers.concatenate(D.from_tensors(1.0))
    with pytest.raises(TypeError, match="must return a `Dataset` object"):
        numbers.flat_map(lambda x: x)
    with pytest.raises(ValueError, match="scalar boolean tensor"):
        numbers.filter(lambda x: x)
    with pytest.raises(TypeError, match="`transformation_func` must return a Dataset"):
        numbers.apply(lambda d: 3)
    with pytest.raises(TypeError, match="do not support Python lists"):
        D.zip((numbers, [numbers]))
    with pytest.raises(TypeError, match=r"Unsupported return value from function passed to .*map"):
        numbers.map(lambda x: None)
    with pytest.raises(TypeError, match="must match the initial state"):
        numbers.reduce(0.0, lambda s, x: x)
    with pytest.raises(ValueError, match="not compatible with the corresponding input component"):
        numbers.batch(2, drop_remainder=True).padded_batch(2, [1])
    with pytest.raises(TypeError, match="Padding value type"):
        numbers.padded_batch(2, [], tf.constant(1.0))
    with pytest.raises(RuntimeError, match="eager execution"):
        iter(numbers)
    with pytest.raises(ValueError, match="does not have an initializer"):
        _ = numbers.make_one_shot_iterator().initializer
    with pytest.raises(AttributeError, match="Cannot set the property"):
        tf.data.Options().no_such_option = 1
    shared = tf.data.Iterator.from_structure(tf.int64, [])
    with pytest.raises(TypeError, match="Expected output types"):
        shared.make_initializer(D.from_tensors(1.0))
    with pytest.raises(TypeError, match="Expected output shapes"):
        shared.make_initializer(numbers.batch(2))


def test_sparse_tensors_are_elements_like_others() -> None:
    sparse = tf.SparseTensor([[0, 1], [2, 0]], ["a", "b"], [3, 4])
    dataset = D.from_tensor_slices({"s": sparse, "n": [1, 2, 3]})
    assert dataset.output_classes == {"n": tf.Tensor, "s": tf.SparseTensor}
    assert dataset.output_types == {"n": tf.int32, "s": tf.string}
    assert dataset.output_shapes["s"].as_list() == [4]
    rows = values(dataset)
    assert [row["s"].values.tolist() for row in rows] == [[b"a"], [], [b"b"]]
    assert [row["s"].dense_shape.tolist() for row in rows] == [[4]] * 3
    (batch,) = values(dataset.batch(3))
    assert batch["s"].indices.tolist() == [[0, 1], [2, 0]]
    assert batch["s"].dense_shape.tolist() == [3, 4]
    again = values(dataset.batch(3).unbatch())
    assert [row["s"].values.tolist() for row in again] == [[b"a"], [], [b"b"]]
    shared = tf.data.Iterator.from_structure(
        dataset.output_types, dataset.output_shapes, output_classes=dataset.output_classes
    )
    start, element = shared.make_initializer(dataset), shared.get_next()
    with tf.Session() as session:
        session.run(start)
        assert session.run(element["s"]).values.tolist() == [b"a"]
    with pytest.raises(TypeError, match="Padded batching"):
        dataset.padded_batch(2)


def test_many_calls_of_get_next_are_warned_of() -> None:
    iterator = D.range(2).make_one_shot_iterator()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(32):
            iterator.get_next()
    with pytest.warns(UserWarning, match="unusually high number"):
        iterator.get_next()


def test_options_merge() -> None:
    first, second = tf.data.Options(), tf.data.Options()
    first.experimental_deterministic = False
    second.experimental_threading.max_intra_op_parallelism = 1
    dataset = D.range(3).with_options(first).map(lambda x: x).with_options(second)
    options = dataset.options()
    assert options.experimental_deterministic is False
    assert options.experimental_threading.max_intra_op_parallelism == 1
    assert options != first
    assert values(dataset) == [0, 1, 2]


# In a session -------------------------------------------------------------------------------------


def test_the_goal_program(tmp_path: Path) -> None:
    for i in range(7):
        (tmp_path / f"img_{i}.txt").write_bytes(b"%d" % i)

    def parse(name: Any) -> Any:
        stem = tf.string_split([tf.string_split([name], "/").values[-1]], "_").values[0]
        number = tf.string_to_number(tf.read_file(name), tf.int32)
        return tf.cond(tf.equal(stem, "img"), lambda: number * 2, lambda: -number)

    dataset = D.list_files(f"{tmp_path}/*.txt", shuffle=True)
    dataset = dataset.apply(tf.contrib.data.shuffle_and_repeat(4, 3))
    dataset = dataset.map(parse, num_parallel_calls=4).batch(4).prefetch(2)
    element = dataset.make_one_shot_iterator().get_next()
    with tf.Session() as session:
        batches = [session.run(element) for _ in range(6)]
        with pytest.raises(tf.errors.OutOfRangeError, match="End of sequence"):
            session.run(element)
    assert [len(b) for b in batches] == [4, 4, 4, 4, 4, 1]
    drawn = np.concatenate(batches).tolist()
    for epoch in (drawn[:7], drawn[7:14], drawn[14:]):
        assert sorted(epoch) == [0, 2, 4, 6, 8, 10, 12]


def test_what_checks_a_dataset_comes_along_into_a_one_shot_iterator() -> None:
    size = tf.constant(3) * 2
    with tf.control_dependencies([tf.Assert(size < 6, ["too large"])]):
        dataset = D.from_tensors(tf.identity(size))
    element = dataset.make_one_shot_iterator().get_next()
    with (
        tf.Session() as session,
        pytest.raises(tf.errors.InvalidArgumentError, match="too large"),
    ):
        session.run(element)


def test_an_iterator_belongs_to_its_session_unless_it_is_shared() -> None:
    element = D.range(9).make_one_shot_iterator().get_next()
    with tf.Session() as first, tf.Session() as second:
        assert [first.run(element), first.run(element), second.run(element)] == [0, 1, 0]


def test_a_dataset_itself_cannot_be_fetched() -> None:
    with (
        tf.Session() as session,
        pytest.raises(tf.errors.UnimplementedError, match="a Dataset cannot leave its task"),
    ):
        session.run(D.range(3)._variant_tensor)


def test_one_element_a_step_however_many_fetches() -> None:
    element = D.range(9).make_one_shot_iterator().get_next()
    with tf.Session() as session:
        assert session.run([element, element + 10, element * 2]) == [0, 10, 0]
        assert session.run([element, element * 2]) == [1, 2]


def test_captures_are_read_when_the_iterator_is_initialized() -> None:
    v = tf.get_variable("v", initializer=np.int64(5), use_resource=True)
    scale = tf.placeholder(tf.int64, [])
    iterator = D.range(2).map(lambda x: x * scale + v).make_initializable_iterator()
    element = iterator.get_next()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        with pytest.raises(tf.errors.FailedPreconditionError, match="has not been initialized"):
            session.run(element)
        for factor in (10, 100):
            session.run(iterator.initializer, {scale: factor})
            assert [session.run(element), session.run(element)] == [5, factor + 5]
        # A resource variable is captured itself: its value is read for each element.
        session.run(iterator.initializer, {scale: 1})
        assert session.run(element) == 5
        session.run(v.assign(7))
        assert session.run(element) == 8


def test_an_error_names_the_node_in_the_function_and_the_one_that_asked() -> None:
    dataset = D.range(2).map(lambda x: tf.check_numerics(1.0 / tf.to_float(x), "inf", name="chk"))
    element = dataset.make_one_shot_iterator().get_next()
    with tf.Session() as session:
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=r"(?s)inf : Tensor had Inf values.*node chk\}\}.*\{node IteratorGetNext\}\}",
        ):
            session.run(element)
        assert session.run(element) == 1.0


def test_a_random_function_draws_anew_for_each_element_and_is_seeded() -> None:
    tf.set_random_seed(3)
    drawn = values(D.range(6).map(lambda _: tf.random_uniform([])))
    assert len(set(drawn)) == 6
    with tf.Graph().as_default():
        tf.set_random_seed(3)
        assert values(D.range(6).map(lambda _: tf.random_uniform([]))) == drawn


def test_seeds_of_shuffling() -> None:
    def order(seed: Any, graph_seed: Any = None) -> list[Any]:
        with tf.Graph().as_default():
            tf.set_random_seed(graph_seed)
            return values(D.range(30).shuffle(30, seed=seed))

    assert order(1) == order(1) != order(2)
    assert order(None, 4) == order(None, 4) != order(None, 5)
    assert order(None) != order(None)
    assert order(tf.int64.as_numpy_dtype(1)) == order(1)
    with_tensor = values(D.range(30).shuffle(30, seed=tf.constant(1, tf.int64)))
    assert sorted(with_tensor) == list(range(30))
    assert with_tensor == values(D.range(30).shuffle(30, seed=tf.constant(1, tf.int64)))


@pytest.mark.parametrize("exhaust", [False, True])
def test_no_thread_outlives_the_session(exhaust: bool) -> None:
    dataset = D.range(40).map(lambda x: x * 2, num_parallel_calls=3)
    dataset = dataset.interleave(lambda x: D.from_tensors(x).prefetch(1), 3, num_parallel_calls=2)
    element = dataset.batch(2).prefetch(2).make_one_shot_iterator().get_next()
    with tf.Session() as session:
        for _ in range(20 if exhaust else 3):
            session.run(element)
        if exhaust:
            with pytest.raises(tf.errors.OutOfRangeError):
                session.run(element)
        else:
            assert data_threads() > 0
    assert_no_threads()


def test_closing_the_session_ends_a_blocked_get_next() -> None:
    go_on, entered = threading.Event(), threading.Event()

    def stuck(x: Any) -> Any:
        entered.set()
        assert go_on.wait(20)
        return x

    dataset = D.range(3).map(lambda x: tf.py_func(stuck, [x], tf.int64), num_parallel_calls=2)
    element = dataset.prefetch(1).make_one_shot_iterator().get_next()
    session = tf.Session()
    caught: list[Any] = []

    def get() -> None:
        try:
            session.run(element)
        except tf.OpError as error:
            caught.append(type(error))

    thread = threading.Thread(target=get)
    thread.start()
    assert entered.wait(10)
    session.close()
    thread.join(10)
    assert caught == [tf.errors.CancelledError]
    go_on.set()
    assert_no_threads()


def test_a_timeout_ends_a_blocked_get_next_and_loses_nothing() -> None:
    go_on = threading.Event()

    def stuck(x: Any) -> Any:
        assert go_on.wait(20)
        return x

    dataset = D.range(3).map(lambda x: tf.py_func(stuck, [x], tf.int64)).prefetch(1)
    element = dataset.make_one_shot_iterator().get_next()
    with tf.Session() as session:
        with pytest.raises(tf.errors.DeadlineExceededError):
            session.run(element, options=tf.RunOptions(timeout_in_ms=100))
        go_on.set()
        assert [session.run(element) for _ in range(3)] == [0, 1, 2]


def test_the_state_of_an_iterator_goes_through_a_session() -> None:
    def pipeline() -> tuple[Any, Any]:
        iterator = D.range(20).shuffle(5, seed=3).batch(2).prefetch(1).make_initializable_iterator()
        return iterator, iterator.get_next()

    first, taken = pipeline()
    second, later = pipeline()
    saved = apply_op("SerializeIterator", first._iterator_resource)
    state = tf.placeholder(tf.variant, [])
    restore = apply_op("DeserializeIterator", second._iterator_resource, state)
    with tf.Session() as session:
        session.run([first.initializer, second.initializer])
        session.run([taken, taken])
        session.run(restore, {state: session.run(saved)})
        for _ in range(9):
            np.testing.assert_array_equal(session.run(later), session.run(taken))
        with pytest.raises(tf.errors.OutOfRangeError):
            session.run(later)
        session.run(restore, {state: session.run(saved)})  # a state at the end
        with pytest.raises(tf.errors.OutOfRangeError):
            session.run(later)


# Python functions ---------------------------------------------------------------------------------


def test_py_func_takes_a_function_only() -> None:
    with pytest.raises(ValueError, match=r"Expected func to be callable\. Received func=3 of type"):
        tf.py_func(3, [], tf.float32)


def test_py_func() -> None:
    seen: list[Any] = []

    def split(number: Any, text: Any, matrix: Any) -> Any:
        seen.extend([number, text, matrix])
        return matrix.T, [text.upper(), "z"], np.float64(number)

    results = tf.py_func(
        split, [tf.constant(2.5), tf.constant("a"), tf.constant([[1, 2]])],
        [tf.int32, tf.string, tf.float64],
    )  # fmt: skip
    with tf.Session() as session:
        matrix, texts, number = session.run(results)
        assert isinstance(seen[0], np.float32)
        assert seen[1] == b"a"
        assert matrix.tolist() == [[1], [2]]
        assert texts.tolist() == [b"A", b"z"]
        assert number == 2.5
        wrong = tf.py_func(lambda: np.float64(1), [], tf.int64)
        with pytest.raises(tf.errors.InvalidArgumentError, match="is double, but expects int64"):
            session.run(wrong)
        with pytest.raises(tf.errors.InvalidArgumentError, match="returns 1 values, but expects"):
            session.run(tf.py_func(lambda: 1, [], [tf.int64, tf.int64]))
        for error, code in (
            (ValueError, tf.errors.InvalidArgumentError),
            (StopIteration, tf.errors.OutOfRangeError),
            (NotImplementedError, tf.errors.UnimplementedError),
            (RuntimeError, tf.errors.UnknownError),
        ):

            def fails(error: Any = error) -> Any:
                raise error("why")

            with pytest.raises(code, match=f"{error.__name__}: why"):
                session.run(tf.py_func(fails, [], tf.int64))


def test_a_python_function_lives_as_long_as_its_graph() -> None:
    def noted() -> int:
        return 1

    with tf.Graph().as_default() as graph:
        token = tf.py_func(noted, [], tf.int64).op.get_attr("token").decode()
        assert py_functions.lookup(token) is noted
        del graph
    gc.collect()
    assert py_functions.lookup(token) is None
    with tf.Session() as session:
        foreign = tf.py_func(noted, [], tf.int64)
        foreign.op._node_def.attr["token"].s = token.encode()
        with pytest.raises(tf.errors.UnimplementedError, match=r"tf\.py_func"):
            session.run(foreign)


def test_generators() -> None:
    finished: list[int] = []

    def generate(limit: Any) -> Any:
        try:
            for i in range(limit):
                yield {"n": i, "t": ["x"] * i}
        finally:
            finished.append(int(limit))

    dataset = D.from_generator(
        generate, {"n": tf.int64, "t": tf.string}, {"n": [], "t": [None]}, args=[3]
    )
    got = values(dataset.repeat(2))
    assert [e["n"] for e in got] == [0, 1, 2, 0, 1, 2]
    assert got[2]["t"].tolist() == [b"x", b"x"]
    assert finished == [3, 3]
    assert values(dataset.take(1))[0]["n"] == 0
    assert finished == [3, 3, 3]


@pytest.mark.parametrize(
    ("element", "match"),
    [
        ("text", "could not be converted to the expected type"),
        ((1, 2), "could not be converted|did not match the expected structure|shape"),
        ([1, 2], r"element of shape \(2,\) where an element of shape \(\) was expected"),
    ],
)
def test_generators_that_give_something_else(element: Any, match: str) -> None:
    dataset = D.from_generator(lambda: [element], tf.int64, [])
    with pytest.raises(tf.errors.InvalidArgumentError, match=match):
        values(dataset)
    with pytest.raises(TypeError, match="must be callable"):
        D.from_generator([1], tf.int64)


# Transformations of tf.data.experimental and tf.contrib.data --------------------------------------


def test_counter_and_sampling() -> None:
    counter = tf.data.experimental.Counter(5, 2)
    assert values(counter.take(3)) == [5, 7, 9]
    parts = [D.from_tensors(i).repeat() for i in range(3)]
    sampled = tf.data.experimental.sample_from_datasets(parts, [0.5, 0.0, 0.5], seed=1)
    drawn = values(sampled.take(40))
    assert set(drawn) == {0, 2}
    with pytest.raises(ValueError, match="`weights` must be a vector of length"):
        tf.data.experimental.sample_from_datasets(parts, [1.0])


def test_contrib() -> None:
    contrib = tf.contrib.data
    numbers = D.range(7)
    full = numbers.apply(contrib.batch_and_drop_remainder(3))
    assert full.output_shapes.as_list() == [3]
    assert [v.tolist() for v in values(full)] == [[0, 1, 2], [3, 4, 5]]
    windows = numbers.apply(contrib.sliding_window_batch(3, window_shift=2))
    assert [v.tolist() for v in values(windows)] == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    vague = numbers.map(lambda x: tf.py_func(lambda v: v, [x], tf.int64))
    assert vague.output_shapes.rank is None
    stated = vague.apply(contrib.assert_element_shape([]))
    assert stated.output_shapes.rank == 0
    assert values(stated) == list(range(7))
    with pytest.raises(tf.errors.InvalidArgumentError):
        values(vague.apply(contrib.assert_element_shape([2])))


def test_cardinality() -> None:
    cardinality = tf.data.experimental.cardinality
    numbers = D.range(10)
    datasets = {
        10: numbers, 3: numbers.batch(4), 2: numbers.batch(4, drop_remainder=True),
        20: numbers.repeat(2), -1: numbers.repeat(), 4: numbers.repeat().take(4),
        7: numbers.skip(3), 11: numbers.concatenate(D.from_tensors(np.int64(1))),
        5: D.zip((numbers, D.range(5))), -2: numbers.filter(lambda x: x > 1),
    }  # fmt: skip
    with tf.Session() as session:
        got = session.run([cardinality(d) for d in datasets.values()])
    assert got == list(datasets)


def test_records_of_a_writer(tmp_path: Path) -> None:
    path = str(tmp_path / "r")
    strings = D.from_tensor_slices(["a", "bc"])
    with tf.Session() as session:
        session.run(tf.data.experimental.TFRecordWriter(path, "GZIP").write(strings))
    options = tf.python_io.TFRecordOptions(tf.python_io.TFRecordCompressionType.GZIP)
    assert list(tf.python_io.tf_record_iterator(path, options)) == [b"a", b"bc"]
    with pytest.raises(tf.errors.DataLossError):
        list(tf.python_io.tf_record_iterator(path))
    with pytest.raises(TypeError, match="must produce scalar"):
        tf.data.experimental.TFRecordWriter(path).write(D.range(2))
    with pytest.raises(ValueError, match="Not a valid compression_type"):
        tf.python_io.TFRecordOptions("LZ4")
