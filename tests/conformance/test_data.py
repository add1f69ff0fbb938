"""Pipelines on flowray and on TensorFlow: the same program, and each other's graphs.

Every row of the table runs three ways: by flowray's client on flowray, by TensorFlow on TensorFlow,
and TensorFlow's graph on flowray. All must give the same elements, dtypes, shapes and errors.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowray
from flowray.client.data import nest
from flowray.deploy.in_process import InProcessTransport
from flowray.proto.messages import graph_pb2
from tests.steps import run_step

tensorflow = pytest.importorskip("tensorflow")
TF = tensorflow.compat.v1

LIMIT = 40


def reciprocal(tf: Any) -> Callable[[Any], Any]:
    """Fails at 2."""
    return lambda x: tf.check_numerics(1.0 / tf.cast(x - 2, tf.float32), "bad")


def up_to(tf: Any) -> Callable[[Any], Any]:
    return lambda x: tf.data.Dataset.range(x * 10, x * 10 + (x * 7) % 4)


def filled(tf: Any) -> Callable[[Any], Any]:
    return lambda x: tf.fill([x], x)


def capturing(tf: Any) -> Any:
    factor = tf.constant([2, 3], tf.int64)
    return tf.data.Dataset.range(3).map(lambda x: x * factor)


def strings(tf: Any) -> Any:
    slices = tf.data.Dataset.from_tensor_slices({"s": ["a b", "c", ""], "n": [1.5, 2.5, 3.5]})
    return slices.map(lambda e: (tf.strings.length(e["s"]), tf.strings.join([e["s"], "!"]), e["n"]))


def conditional(tf: Any) -> Any:
    return tf.data.Dataset.range(4).map(
        lambda x: tf.cond(tf.equal(x % 2, 0), lambda: x * 10, lambda: x - 100)
    )


def nested(tf: Any) -> Any:
    d = tf.data.Dataset
    return d.zip((d.range(3), {"b": d.range(5, 9), "a": d.from_tensors(["x"]).repeat()}))


def reduced(tf: Any) -> Any:
    total = tf.data.Dataset.range(5).reduce(
        (np.int64(0), np.int64(1)), lambda s, x: (s[0] + x, s[1] * 2)
    )
    return tf.data.Dataset.from_tensors(total)


def grouped(tf: Any) -> Any:
    return tf.data.Dataset.range(9).apply(
        tf.data.experimental.group_by_window(
            lambda x: x % 3, lambda key, window: window.batch(2), window_size=3
        )
    )


def bucketed(tf: Any) -> Any:
    lengths = tf.data.Dataset.from_tensor_slices([1, 5, 2, 7, 3, 1, 6, 9])
    return lengths.map(lambda n: tf.range(n)).apply(
        tf.data.experimental.bucket_by_sequence_length(lambda e: tf.shape(e)[0], [3, 6], [2, 2, 2])
    )


def sliding(tf: Any) -> Any:
    return tf.data.Dataset.range(7).window(3, 2, 1, True).flat_map(lambda w: w.batch(3))


def padded(tf: Any) -> Any:
    d = tf.data.Dataset.range(5).map(lambda x: {"v": tf.fill([x], x), "s": tf.as_string(x)})
    return d.padded_batch(2, {"v": [None], "s": []}, {"v": np.int64(-1), "s": "?"})


def growing(tf: Any) -> Any:
    return tf.data.Dataset.range(3).apply(
        tf.data.experimental.scan(
            tf.constant([0], tf.int64), lambda s, x: (tf.concat([s, [x]], 0), tf.reduce_sum(s))
        )
    )


def sparse(tf: Any) -> Any:
    slices = tf.data.Dataset.from_tensor_slices(
        tf.SparseTensor([[0, 1], [2, 0], [2, 1]], [1.0, 2.0, 3.0], [4, 2])
    )
    return slices.map(lambda s: (s, tf.shape(s.values)[0])).filter(lambda s, n: n > 0)


def parsed(tf: Any) -> Any:
    feature = flowray.train.Feature

    def example(*words: bytes) -> bytes:
        features = {"w": feature(bytes_list=flowray.train.BytesList(value=words))}
        return flowray.train.Example(
            features=flowray.train.Features(feature=features)
        ).SerializeToString()

    records = [example(b"a"), example(), example(b"b", b"c")]
    return (
        tf.data.Dataset.from_tensor_slices(records)
        .map(lambda r: tf.parse_single_example(r, {"w": tf.VarLenFeature(tf.string)}))
        .batch(2)
    )


PIPELINES: dict[str, Callable[[Any], Any]] = {
    "range": lambda tf: tf.data.Dataset.range(2, 11, 3),
    "range down": lambda tf: tf.data.Dataset.range(3, -2, -2),
    "tensors": lambda tf: tf.data.Dataset.from_tensors((1, [2.0, 3.0], "x")),
    "slices": lambda tf: tf.data.Dataset.from_tensor_slices((np.eye(3), [True, False, True])),
    "strings": strings,
    "nested": nested,
    "map": lambda tf: tf.data.Dataset.range(5).map(lambda x: (x * x, tf.cast(x, tf.float32))),
    "map to a list": lambda tf: tf.data.Dataset.range(3).map(lambda x: [x, -x]),
    "map in parallel": lambda tf: tf.data.Dataset.range(9).map(
        lambda x: x * x, num_parallel_calls=3
    ),
    "captures": capturing,
    "condition": conditional,
    "filter": lambda tf: tf.data.Dataset.range(9).filter(lambda x: tf.equal(x % 3, 1)),
    "take, skip": lambda tf: tf.data.Dataset.range(9).skip(2).take(4),
    "take all, skip all": lambda tf: (
        tf.data.Dataset.range(3).take(-1).concatenate(tf.data.Dataset.range(9).skip(-1))
    ),
    "shard": lambda tf: tf.data.Dataset.range(10).shard(3, 1),
    "repeat": lambda tf: tf.data.Dataset.range(3).repeat(2),
    "repeat nothing": lambda tf: tf.data.Dataset.range(0).repeat(),
    "cache": lambda tf: tf.data.Dataset.range(3).cache().repeat(2),
    "enumerate": lambda tf: tf.data.Dataset.from_tensor_slices(["a", "b"]).enumerate(5),
    "batch": lambda tf: tf.data.Dataset.range(7).batch(3),
    "batch, no remainder": lambda tf: tf.data.Dataset.range(7).batch(3, drop_remainder=True),
    "padded": padded,
    "padded to a size": lambda tf: tf.data.Dataset.range(4).map(filled(tf)).padded_batch(2, [3]),
    "unbatch": lambda tf: tf.data.Dataset.range(7).batch(3).apply(tf.data.experimental.unbatch()),
    "windows": lambda tf: tf.data.Dataset.range(7).window(2, 3, 2).flat_map(lambda w: w.batch(2)),
    "sliding windows": sliding,
    "flat map": lambda tf: tf.data.Dataset.range(6).flat_map(up_to(tf)),
    "interleave": lambda tf: tf.data.Dataset.range(9).interleave(up_to(tf), 3, 2),
    "interleave in parallel": lambda tf: tf.data.Dataset.range(9).interleave(
        up_to(tf), 2, 1, num_parallel_calls=2
    ),
    "parallel_interleave": lambda tf: tf.data.Dataset.range(9).apply(
        tf.data.experimental.parallel_interleave(up_to(tf), 2, 2)
    ),
    "map and batch": lambda tf: tf.data.Dataset.range(7).apply(
        tf.data.experimental.map_and_batch(lambda x: x * 2, 3)
    ),
    "prefetch": lambda tf: tf.data.Dataset.range(7).prefetch(2),
    "reduce": reduced,
    "group by window": grouped,
    "buckets": bucketed,
    "scan": lambda tf: tf.data.Dataset.range(5).apply(
        tf.data.experimental.scan(np.int64(0), lambda s, x: (s + x, s * 2))
    ),
    "scan of a growing state": growing,
    "take while": lambda tf: tf.data.Dataset.range(9).apply(
        tf.data.experimental.take_while(lambda x: x < 4)
    ),
    "unique": lambda tf: tf.data.Dataset.from_tensor_slices(np.int64([1, 2, 1, 3, 2])).apply(
        tf.data.experimental.unique()
    ),
    "choose": lambda tf: tf.data.experimental.choose_from_datasets(
        [tf.data.Dataset.range(3), tf.data.Dataset.range(10, 13)],
        tf.data.Dataset.from_tensor_slices(np.int64([0, 1, 1, 0])),
    ),
    "single element": lambda tf: tf.data.Dataset.from_tensors(
        tf.data.experimental.get_single_element(tf.data.Dataset.range(8).batch(9))
    ),
    "generator": lambda tf: tf.data.Dataset.from_generator(
        lambda n: ((i, ["a"] * i) for i in range(n)), (tf.int32, tf.string), ([], [None]), (3,)
    ),
    "python": lambda tf: tf.data.Dataset.range(3).map(
        lambda x: tf.py_func(lambda v: v + np.int64(1), [x], tf.int64)
    ),
    "sparse": sparse,
    "sparse, batched": lambda tf: sparse(tf).batch(2),
    "sparse, unbatched": lambda tf: sparse(tf).batch(3).apply(tf.data.experimental.unbatch()),
    "parsed": parsed,
    # Errors
    "failing map": lambda tf: tf.data.Dataset.range(5).map(reciprocal(tf)),
    "failing parallel map": lambda tf: tf.data.Dataset.range(5).map(
        reciprocal(tf), num_parallel_calls=2
    ),
    "failing map in a batch": lambda tf: tf.data.Dataset.range(5).map(reciprocal(tf)).batch(2),
    "failing map and batch": lambda tf: tf.data.Dataset.range(7).apply(
        tf.data.experimental.map_and_batch(reciprocal(tf), 2)
    ),
    "failing map, ignored": lambda tf: (
        tf.data.Dataset.range(5).map(reciprocal(tf)).apply(tf.data.experimental.ignore_errors())
    ),
    "unequal shapes": lambda tf: tf.data.Dataset.range(1, 6).map(filled(tf)).batch(2),
    "padded too small": lambda tf: tf.data.Dataset.range(1, 6).map(filled(tf)).padded_batch(2, [2]),
    "missing file": lambda tf: tf.data.TFRecordDataset(["/nowhere/to/be/found"]).take(1),
    "bad shard": lambda tf: tf.data.Dataset.range(5).shard(2, 5),
    "bad batch size": lambda tf: tf.data.Dataset.range(5).batch(0),
    "bad buffer size": lambda tf: tf.data.Dataset.range(5).shuffle(0),
    "bad prefetching": lambda tf: tf.data.Dataset.range(5).prefetch(-2),
    "bad step": lambda tf: tf.data.Dataset.range(0, 5, 0),
    "bad parallelism": lambda tf: tf.data.Dataset.range(5).map(lambda x: x, num_parallel_calls=0),
    "bad cycle": lambda tf: tf.data.Dataset.range(5).interleave(up_to(tf), 0),
    "bad window": lambda tf: tf.data.Dataset.range(5).window(0).flat_map(lambda w: w),
    "not one element": lambda tf: tf.data.Dataset.from_tensors(
        tf.data.experimental.get_single_element(tf.data.Dataset.range(8))
    ),
}

PYTHON = {"generator", "python"}
"""TensorFlow's graphs of these call TensorFlow's process."""

TEXTS = {
    "bad shard": "Index must be between 0 and 1 (currently index = 5).",
    "bad batch size": "Batch size must be greater than zero.",
    "bad step": "step must be a non-zero integer.",
    "bad parallelism": "num_parallel_calls must be greater than zero.",
    "bad cycle": "cycle_length must be greater than zero.",
    "missing file": "/nowhere/to/be/found; No such file or directory",
    "failing map": "bad : Tensor had Inf values",
    "failing parallel map": "bad : Tensor had Inf values",
    "unequal shapes": "First element had shape [1] and element 1 had shape [2].",
    "padded too small": "Attempted to pad to a smaller size than the input element.",
    "not one element": "Dataset had more than one element.",
}


def plain(value: Any) -> Any:
    """A fetched structure as comparable values: dtype, shape and content of every array."""
    if hasattr(value, "dense_shape"):
        return [plain(part) for part in (value.indices, value.values, value.dense_shape)]
    if isinstance(value, dict):
        return {key: plain(part) for key, part in sorted(value.items())}
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    array = np.asarray(value)
    kind = "string" if array.dtype.kind in "OS" else array.dtype.name
    return kind, array.shape, array.tolist()


def outcomes(run: Callable[[], Any], base_error: type[Exception]) -> list[Any]:
    """Elements, and the names and texts of errors; up to the end, which is among them."""
    result: list[Any] = []
    for _ in range(LIMIT):
        try:
            result.append(plain(run()))
        except base_error as error:
            result.append(error)
            if type(error).__name__ == "OutOfRangeError" or len(result) > 9:
                break
    return result


def program(tf: Any, pipeline: Callable[[Any], Any]) -> tuple[Any, Any, Any, Any]:
    """The graph of a pipeline with both kinds of iterators: one-shot, initializer, initialized."""
    graph = tf.Graph()
    with graph.as_default():
        dataset = pipeline(tf)
        # TensorFlow rewrites `batch` into one that loses more elements where one fails.
        options = tf.data.Options()
        options.experimental_optimization.apply_default_optimizations = False
        dataset = dataset.with_options(options)
        iterator = tf.data.make_initializable_iterator(dataset)
        return graph, dataset, iterator.initializer, iterator.get_next()


def initialized(run: Callable[[Any], Any], initializer: Any, element: Any, error: Any) -> list[Any]:
    try:
        run(initializer)
    except error as failure:
        return [failure]
    return outcomes(lambda: run(element), error)


def assert_same(ours: list[Any], theirs: list[Any], name: str) -> None:
    def kinds(items: list[Any]) -> list[Any]:
        return [type(i).__name__ if isinstance(i, Exception) else i for i in items]

    assert kinds(ours) == kinds(theirs)
    if name in TEXTS:
        for side in (ours, theirs):
            found = [i for i in side if isinstance(i, Exception)]
            assert TEXTS[name] in found[0].message  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", PIPELINES)
def test_same_elements(name: str) -> None:
    pipeline = PIPELINES[name]
    graph, dataset, initializer, element = program(flowray, pipeline)
    with flowray.Session(graph=graph) as session:
        ours = initialized(session.run, initializer, element, flowray.OpError)
    their_graph, their_dataset, their_initializer, their_element = program(TF, pipeline)
    with TF.Session(graph=their_graph) as their_session:
        theirs = initialized(
            their_session.run, their_initializer, their_element, tensorflow.errors.OpError
        )
    assert_same(ours, theirs, name)
    for what in ("types", "shapes"):
        get = f"get_output_{what}"
        mine, yours = getattr(flowray.data, get)(dataset), getattr(TF.data, get)(their_dataset)
        assert described(mine) == described(yours)
    if name not in PYTHON:
        on_flowray = run_their_graph(their_graph, their_initializer, their_element)
        assert_same(on_flowray, [flat(t) if not isinstance(t, Exception) else t for t in theirs],
                    name)  # fmt: skip


def described(structure: Any) -> Any:
    """Nested types or shapes as text; what both sides call alike."""
    if isinstance(structure, dict):
        return {key: described(part) for key, part in structure.items()}
    if isinstance(structure, tuple):
        return tuple(described(part) for part in structure)
    if hasattr(structure, "as_list"):
        return None if structure.rank is None else structure.as_list()
    return getattr(structure, "name", "a structure")


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in flat(value[key])]
    if isinstance(value, list):
        return [leaf for part in value for leaf in flat(part)]
    return [value]


def run_their_graph(graph: Any, initializer: Any, element: Any) -> list[Any]:
    """TensorFlow's GraphDef on flowray's master and worker."""
    transport = InProcessTransport(flowray.ConfigProto())
    graph_def = graph_pb2.GraphDef.FromString(graph.as_graph_def().SerializeToString())
    handle = transport.create_session(graph_def, flowray.ConfigProto())
    names = [tensor.name for tensor in tensorflow.nest.flatten(element, expand_composites=True)]
    try:
        run_step(transport, handle, [], [], [], [initializer.name], None)
        return outcomes(
            lambda: run_step(transport, handle, [], [], names, [], None)[0], flowray.OpError
        )
    except flowray.OpError as error:
        return [error]
    finally:
        transport.close_session(handle)


def one_shot(tf: Any, pipeline: Callable[[Any], Any]) -> tuple[Any, Any]:
    graph = tf.Graph()
    with graph.as_default():
        return graph, tf.data.make_one_shot_iterator(pipeline(tf)).get_next()


@pytest.mark.parametrize(
    "name", ["nested", "captures", "condition", "flat map", "failing map", "padded", "windows"]
)
def test_one_shot_iterators(name: str) -> None:
    graph, element = one_shot(flowray, PIPELINES[name])
    with flowray.Session(graph=graph) as session:
        ours = outcomes(lambda: session.run(element), flowray.OpError)
    their_graph, their_element = one_shot(TF, PIPELINES[name])
    with TF.Session(graph=their_graph) as their_session:
        theirs = outcomes(lambda: their_session.run(their_element), tensorflow.errors.OpError)
    assert_same(ours, theirs, name)
    # Our graph on TensorFlow: the names, attributes and functions that we send are TensorFlow's.
    definition = TF.GraphDef.FromString(graph.as_graph_def().SerializeToString())
    with TF.Graph().as_default() as imported:
        TF.import_graph_def(definition, name="")
        names = [t.name for t in nest.flatten(element)]
        with TF.Session() as their_session:
            crossed = outcomes(lambda: their_session.run(names), tensorflow.errors.OpError)
        assert imported is not None
    assert_same(crossed, [flat(o) if not isinstance(o, Exception) else o for o in ours], name)


def test_one_shot_iterators_refuse_the_same_datasets() -> None:
    def with_variable(tf: Any) -> Any:
        v = tf.get_variable("v", [], tf.int64, use_resource=True)
        return tf.data.Dataset.range(3).map(lambda x: x + v)

    def with_placeholder(tf: Any) -> Any:
        return tf.data.Dataset.from_tensors(tf.placeholder(tf.int64, [], name="p"))

    def with_random(tf: Any) -> Any:
        return tf.data.Dataset.from_tensors(tf.random_uniform([], name="r"))

    for build in (with_variable, with_placeholder, with_random):
        texts = []
        for tf in (flowray, TF):
            with tf.Graph().as_default(), pytest.raises(ValueError, match="Cannot capture") as i:
                tf.data.make_one_shot_iterator(build(tf))
            texts.append(re.search(r"Cannot capture a .* by value\.", str(i.value))[0])  # type: ignore[index]
        assert texts[0] == texts[1]


def test_files(tmp_path: Path) -> None:
    paths = []
    for n in range(3):
        path = tmp_path / f"{n}.tfrecord"
        with flowray.python_io.TFRecordWriter(str(path)) as writer:
            for i in range(n + 2):
                writer.write(b"%d-%d" % (n, i))
        paths.append(str(path))
        assert list(flowray.python_io.tf_record_iterator(str(path))) == list(
            TF.io.tf_record_iterator(str(path))
        )
    zipped = str(tmp_path / "z")
    with TF.io.TFRecordWriter(zipped, "GZIP") as writer:
        writer.write(b"from TensorFlow")
    text = tmp_path / "t.txt"
    text.write_bytes(b"one\r\ntwo\n\nthree")

    pipelines: list[Callable[[Any], Any]] = [
        lambda tf: tf.data.TFRecordDataset(paths),
        lambda tf: tf.data.TFRecordDataset(paths, num_parallel_reads=2),
        lambda tf: tf.data.TFRecordDataset(tf.data.Dataset.from_tensor_slices(paths)),
        lambda tf: tf.data.TFRecordDataset(zipped, "GZIP"),
        lambda tf: tf.data.TextLineDataset([str(text)] * 2),
        lambda tf: tf.data.FixedLengthRecordDataset([str(text)], 4, 2, 0),
        lambda tf: tf.data.FixedLengthRecordDataset([str(text)], 5),
        lambda tf: tf.data.Dataset.list_files(f"{tmp_path}/*.tfrecord", shuffle=False),
        lambda tf: (
            tf.data.Dataset.list_files(f"{tmp_path}/*.tfrecord", shuffle=False)
            .map(lambda f: tf.string_split([f], "/").values[-1])
            .interleave(
                lambda f: tf.data.TFRecordDataset(tf.strings.join([f"{tmp_path}/", f])), 2, 1
            )
        ),
        lambda tf: tf.data.Dataset.list_files(f"{tmp_path}/*.nothing", shuffle=False),
    ]
    for i, pipeline in enumerate(pipelines):
        graph, _, initializer, element = program(flowray, pipeline)
        with flowray.Session(graph=graph) as session:
            ours = initialized(session.run, initializer, element, flowray.OpError)
        their_graph, _, their_initializer, their_element = program(TF, pipeline)
        with TF.Session(graph=their_graph) as their_session:
            theirs = initialized(
                their_session.run, their_initializer, their_element, tensorflow.errors.OpError
            )
        assert_same(ours, theirs, "")
        crossed = run_their_graph(their_graph, their_initializer, their_element)
        wrapped = [t if isinstance(t, Exception) else [t] for t in theirs]
        assert_same(crossed, wrapped, ""), i


def test_file_caches_are_read_both_ways(tmp_path: Path) -> None:
    def cached(tf: Any, path: str, n: int) -> list[Any]:
        graph, _, initializer, element = program(
            tf,
            lambda tf: tf.data.Dataset.range(n).map(lambda x: (x, tf.as_string(x))).cache(path),
        )
        errors = flowray.OpError if tf is flowray else tensorflow.errors.OpError
        with tf.Session(graph=graph) as session:
            return initialized(session.run, initializer, element, errors)[:-1]

    ours, theirs = str(tmp_path / "ours"), str(tmp_path / "theirs")
    expected = cached(flowray, ours, 12)
    assert cached(TF, theirs, 12) == expected
    assert cached(TF, ours, 3) == expected
    assert cached(flowray, theirs, 3) == expected


def test_shuffling_gives_all_elements_once() -> None:
    for build in (
        lambda tf: tf.data.Dataset.range(30).shuffle(7, seed=3),
        lambda tf: tf.data.Dataset.range(10).apply(
            tf.data.experimental.shuffle_and_repeat(7, 3, seed=3)
        ),
    ):
        for tf in (flowray, TF):
            graph, _, initializer, element = program(tf, build)
            with tf.Session(graph=graph) as session:
                session.run(initializer)
                drawn = [int(session.run(element)) for _ in range(30)]
            assert sorted(drawn) in (list(range(30)), sorted(list(range(10)) * 3))
            assert drawn != sorted(drawn)


def test_iterators_of_a_structure_and_of_a_handle() -> None:
    def outcomes_of(tf: Any, error: Any) -> list[Any]:
        with tf.Graph().as_default():
            d = tf.data.Dataset
            first, second = d.range(3), d.range(10, 12).map(lambda x: x * 2)
            shared = tf.data.Iterator.from_structure(
                tf.data.get_output_types(first), tf.data.get_output_shapes(first)
            )
            starts = [shared.make_initializer(first), shared.make_initializer(second)]
            element = shared.get_next()
            handle = tf.placeholder(tf.string, [])
            fed = tf.data.Iterator.from_string_handle(handle, tf.int64, []).get_next()
            one_shot = tf.data.make_one_shot_iterator(d.range(100, 102))
            floats = tf.data.make_one_shot_iterator(d.from_tensors(1.0))
            log: list[Any] = []

            with tf.Session() as session:

                def run(fetch: Any, feed: Any = None) -> None:
                    try:
                        log.append(np.asarray(session.run(fetch, feed)).tolist())
                    except error as failure:
                        log.append(type(failure).__name__)

                run(element)
                for start in starts:
                    session.run(start)
                    for _ in range(4):
                        run(element)
                session.run(starts[0])
                mine, other, bad = session.run(
                    [shared.string_handle(), one_shot.string_handle(), floats.string_handle()]
                )
                for which in (mine, other, mine, other, other, mine, bad, b"nonsense"):
                    run(fed, {handle: which})
            return log

    ours = outcomes_of(flowray, flowray.OpError)
    assert ours == outcomes_of(TF, tensorflow.errors.OpError)
    assert ours[0] == "FailedPreconditionError"


def test_optionals() -> None:
    def values(tf: Any) -> list[Any]:
        with tf.Graph().as_default():
            iterator = tf.data.make_one_shot_iterator(tf.data.Dataset.range(2))
            optional = tf.data.experimental.get_next_as_optional(iterator)
            value = tf.cond(
                optional.has_value(), optional.get_value, lambda: tf.constant(-1, tf.int64)
            )
            with tf.Session() as session:
                return [session.run([optional.has_value(), value]) for _ in range(3)]

    assert values(flowray) == values(TF) == [[True, 0], [True, 1], [False, -1]]


def test_several_threads_share_an_iterator() -> None:
    with flowray.Graph().as_default():
        dataset = flowray.data.Dataset.range(200).map(lambda x: x + 1, num_parallel_calls=2)
        element = dataset.prefetch(4).make_one_shot_iterator().get_next()
        drawn: list[int] = []
        with flowray.Session() as session:

            def take() -> None:
                try:
                    while True:
                        drawn.append(int(session.run(element)))
                except flowray.errors.OutOfRangeError:
                    return

            threads = [threading.Thread(target=take) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
    assert sorted(drawn) == list(range(1, 201))
