"""The iterators over datasets: what they give, how they fail and go on, their state, their ends.

Datasets are made by the kernels themselves, with Python functions in the place of the graph's.
"""

from __future__ import annotations

import functools
import gc
import pickle
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowray.proto import errors
from flowray.proto.files.records import RecordReader, RecordWriter
from flowray.proto.ops import op_registry
from flowray.proto.types import dtypes
from flowray.worker import kernel_registry as kernels
from flowray.worker import kernels as _kernels  # noqa: F401 - registers them all
from flowray.worker.data import states
from flowray.worker.data.dataset import DatasetIterator, dataset_of
from flowray.worker.data.resource import IteratorResource
from flowray.worker.execution.interpreter import Cancellation, Interpreter
from flowray.worker.program.executor import running


def make(op: str, *inputs: Any, **attrs: Any) -> np.ndarray:
    """Calls the kernel of ``op``; elements are int64 of any shape unless attributes tell."""
    definition = op_registry.lookup(op)
    kernel = kernels.lookup(op)
    types = attrs.setdefault("output_types", [dtypes.int64])
    attrs.setdefault("Toutput_types", types)
    attrs.setdefault("output_shapes", [None] * len(attrs["Toutput_types"]))
    given = {
        name: attrs.get(name, definition.attrs[name].default)
        for name in definition.attrs
        if name in kernel.attrs
    }
    arrays = [
        [np.asarray(v) for v in value] if isinstance(value, list) else np.asarray(value)
        for value in inputs
    ]
    return kernel.function(np, *arrays, **given)


def count(n: int) -> np.ndarray:
    return make("RangeDataset", np.int64(0), np.int64(n), np.int64(1))


def text(value: str) -> np.ndarray:
    return np.array(value.encode(), object)


def rest(iterator: DatasetIterator) -> list[Any]:
    """Returns the remaining elements as Python values; tuples for several components."""
    result = []
    while (element := iterator.get_next()) is not None:
        values = tuple(component.tolist() for component in element)
        result.append(values[0] if len(values) == 1 else values)
    return result


def values(dataset: np.ndarray) -> list[Any]:
    iterator = dataset_of(dataset).iterator()
    try:
        return rest(iterator)
    finally:
        iterator.close()


def outcomes(dataset: np.ndarray, limit: int = 20) -> list[Any]:
    """Elements and the classes of errors, to the end."""
    iterator, result = dataset_of(dataset).iterator(), []
    for _ in range(limit):
        try:
            element = iterator.get_next()
        except errors.OpError as error:
            result.append(type(error))
            continue
        if element is None:
            break
        result.append(element[0].tolist())
    iterator.close()
    return result


def wait_until(condition: Callable[[], bool]) -> None:
    """Returns when ``condition()`` holds; fails after ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def data_threads() -> int:
    return sum(thread.name == "flowray-data" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    yield
    gc.collect()
    deadline = time.monotonic() + 10
    while data_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert data_threads() == 0


def square(x: np.ndarray) -> list[Any]:
    return [x * x]


def fails_at_2(x: np.ndarray) -> list[Any]:
    if x == 2:
        raise errors.invalid_argument("not 2")
    return [x * 10]


def up_to(x: np.ndarray) -> list[Any]:
    return [make("RangeDataset", x * 10, x * 10 + x, np.int64(1))]


I = np.int64  # noqa: E741

# Each row: a dataset, and what it gives (None: only that it is the same every time).
TABLE: dict[str, tuple[Callable[[], np.ndarray], Any]] = {
    "tensor": (lambda: make("TensorDataset", [I([1, 2])]), [[1, 2]]),
    "slices": (lambda: make("TensorSliceDataset", [I([[1, 2], [3, 4]])]), [[1, 2], [3, 4]]),
    "range": (lambda: make("RangeDataset", I(5), I(-2), I(-3)), [5, 2, -1]),
    "map": (lambda: make("MapDataset", count(4), [], f=square), [0, 1, 4, 9]),
    "map with a capture": (
        lambda: make("MapDataset", count(3), [I(7)], f=lambda x, c: [x + c]),
        [7, 8, 9],
    ),
    "parallel map": (
        lambda: make("ParallelMapDatasetV2", count(20), [], I(3), f=square),
        [i * i for i in range(20)],
    ),
    "parallel map of the first version": (
        lambda: make("ParallelMapDataset", count(5), [], np.int32(2), f=square),
        [0, 1, 4, 9, 16],
    ),
    "map and batch": (
        lambda: make("MapAndBatchDataset", count(5), [], I(2), I(3), np.array(False), f=square),
        [[0, 1], [4, 9], [16]],
    ),
    "map and full batches": (
        lambda: make("MapAndBatchDataset", count(5), [], I(2), I(1), np.array(True), f=square),
        [[0, 1], [4, 9]],
    ),
    "filter": (
        lambda: make("FilterDataset", count(6), [], predicate=lambda x: [x % 2 == 1]),
        [1, 3, 5],
    ),
    "filter by last component": (
        lambda: make(
            "FilterByLastComponentDataset",
            make("MapDataset", count(4), [], f=lambda x: [x, x > 1],
                 output_types=[dtypes.int64, dtypes.bool]),
        ),
        [2, 3],
    ),
    "take while": (
        lambda: make("TakeWhileDataset", count(9), [], predicate=lambda x: [x < 3]),
        [0, 1, 2],
    ),
    "scan": (
        lambda: make("ScanDataset", count(4), [I(100)], [], f=lambda s, x: [s + x, s]),
        [100, 100, 101, 103],
    ),
    "flat map": (lambda: make("FlatMapDataset", count(4), [], f=up_to), [10, 20, 21, 30, 31, 32]),
    "interleave": (
        lambda: make("InterleaveDataset", count(5), [], I(2), I(1), f=up_to),
        [10, 20, 21, 30, 31, 40, 32, 41, 42, 43],
    ),
    "interleave in blocks": (
        lambda: make("InterleaveDataset", count(5), [], I(3), I(2), f=up_to),
        [10, 20, 21, 30, 31, 40, 41, 32, 42, 43],
    ),
    "parallel interleave": (
        lambda: make("ParallelInterleaveDatasetV2", count(5), [], I(2), I(1), I(2), f=up_to),
        [10, 20, 21, 30, 31, 40, 32, 41, 42, 43],
    ),
    "parallel interleave, newer": (
        lambda: make("ParallelInterleaveDatasetV3", count(5), [], I(2), I(1), I(-1), f=up_to),
        [10, 20, 21, 30, 31, 40, 32, 41, 42, 43],
    ),
    "parallel interleave, newest": (
        lambda: make("ParallelInterleaveDatasetV4", count(5), [], I(2), I(1), I(2), I(1), I(2),
                     f=up_to),
        [10, 20, 21, 30, 31, 40, 32, 41, 42, 43],
    ),
    "legacy parallel interleave, newer": (
        lambda: make("LegacyParallelInterleaveDatasetV2", count(5), [], I(2), I(1), I(-1), I(-1),
                     f=up_to),
        [10, 20, 21, 30, 31, 40, 32, 41, 42, 43],
    ),
    "legacy parallel interleave": (
        lambda: make("ParallelInterleaveDataset", count(5), [], I(2), I(1), np.array(True), I(2),
                     I(2), f=up_to),
        [10, 20, 21, 30, 31, 40, 32, 41, 42, 43],
    ),
    "group by window": (
        lambda: make(
            "GroupByWindowDataset", count(7), [], [], [],
            key_func=lambda x: [x % 2],
            reduce_func=lambda key, window: [make("BatchDataset", window, I(10))],
            window_size_func=lambda key: [key + 2],
        ),
        [[0, 2], [1, 3, 5], [4, 6]],
    ),
    "repeat": (lambda: make("RepeatDataset", count(2), I(3)), [0, 1] * 3),
    "repeat for ever, nothing": (lambda: make("RepeatDataset", count(0), I(-1)), []),
    "repeat not at all": (lambda: make("RepeatDataset", count(2), I(0)), []),
    "take": (lambda: make("TakeDataset", count(9), I(3)), [0, 1, 2]),
    "take all": (lambda: make("TakeDataset", count(3), I(-1)), [0, 1, 2]),
    "take of an endless one": (
        lambda: make("TakeDataset", make("RepeatDataset", count(2), I(-1)), I(5)),
        [0, 1, 0, 1, 0],
    ),
    "skip": (lambda: make("SkipDataset", count(5), I(3)), [3, 4]),
    "skip all": (lambda: make("SkipDataset", count(5), I(-1)), []),
    "skip more than there is": (lambda: make("SkipDataset", count(5), I(9)), []),
    "concatenate": (lambda: make("ConcatenateDataset", count(2), count(3)), [0, 1, 0, 1, 2]),
    "zip": (
        lambda: make("ZipDataset", [count(3), make("SkipDataset", count(9), I(5))],
                     output_types=[dtypes.int64] * 2),
        [(0, 5), (1, 6), (2, 7)],
    ),
    "directed interleave": (
        lambda: make("DirectedInterleaveDataset",
                     make("TensorSliceDataset", [I([1, 0, 1, 1, 0, 0])]),
                     [count(9), make("SkipDataset", count(7), I(5))]),
        [5, 0, 6, 1, 2],
    ),
    "shard": (lambda: make("ShardDataset", count(8), I(3), I(1)), [1, 4, 7]),
    "cache": (lambda: make("CacheDataset", count(3), text("")), [0, 1, 2]),
    "cache, repeated": (
        lambda: make("RepeatDataset", make("CacheDataset", count(3), text("")), I(2)),
        [0, 1, 2] * 2,
    ),
    "shuffle": (lambda: make("ShuffleDataset", count(20), I(5), I(1), I(2)), None),
    "shuffle and repeat": (
        lambda: make("ShuffleAndRepeatDataset", count(8), I(5), I(1), I(2), I(3)),
        None,
    ),
    "random": (
        lambda: make("TakeDataset", make("RandomDataset", I(1), I(2)), I(10)),
        None,
    ),
    "prefetch": (lambda: make("PrefetchDataset", count(9), I(2)), list(range(9))),
    "prefetch nothing": (lambda: make("PrefetchDataset", count(3), I(0)), [0, 1, 2]),
    "batch": (lambda: make("BatchDataset", count(5), I(2)), [[0, 1], [2, 3], [4]]),
    "full batches": (
        lambda: make("BatchDatasetV2", count(5), I(2), np.array(True)), [[0, 1], [2, 3]]
    ),
    "padded batch": (
        lambda: make(
            "PaddedBatchDatasetV2",
            make("MapDataset", count(4), [], f=lambda x: [np.full(x, x)]),
            I(2), [I([-1])], [I(-9)], np.array(False),
        ),
        [[[-9], [1]], [[2, 2, -9], [3, 3, 3]]],
    ),
    "batch padded to a size": (
        lambda: make(
            "PaddedBatchDataset",
            make("MapDataset", count(2), [], f=lambda x: [np.full(x, x)]),
            I(2), [I([2])], [I(0)],
        ),
        [[[0, 0], [1, 0]]],
    ),
    "unbatch": (
        lambda: make("UnbatchDataset", make("BatchDataset", count(5), I(2))), [0, 1, 2, 3, 4]
    ),
    "window": (
        lambda: make(
            "FlatMapDataset",
            make("WindowDataset", count(7), I(2), I(3), I(2), np.array(False)),
            [], f=lambda window: [make("BatchDataset", window, I(9))],
        ),
        [[0, 2], [3, 5], [6]],
    ),
    "sliding window": (
        lambda: make("SlidingWindowDataset", count(6), I(3), I(2), I(1), drop_remainder=True),
        [[0, 1, 2], [2, 3, 4]],
    ),
    "older names": (
        lambda: make(
            "ExperimentalSlidingWindowDataset",
            make("ExperimentalDirectedInterleaveDataset",
                 make("TensorSliceDataset", [I([0, 0, 1])]), [count(5), count(1)]),
            I(2), I(1), I(1),
        ),
        [[0, 1], [1, 0]],
    ),
    "unique": (
        lambda: make("UniqueDataset", make("TensorSliceDataset", [I([3, 1, 3, 2, 1])])), [3, 1, 2]
    ),
    "how to run": (
        lambda: functools.reduce(
            lambda dataset, wrap: wrap(dataset),
            [
                lambda d: make("OptimizeDataset", d, np.array([], object)),
                lambda d: make("OptimizeDatasetV2", d, *[np.array([], object)] * 3),
                lambda d: make("ModelDataset", d),
                lambda d: make("MaxIntraOpParallelismDataset", d, I(1)),
                lambda d: make("PrivateThreadPoolDataset", d, I(1)),
                lambda d: make("RewriteDataset", d, text("replicate_on_split")),
                lambda d: make("OptionsDataset", d),
            ],
            count(2),
        ),
        [0, 1],
    ),
}  # fmt: skip


def test_every_dataset_op_is_in_this_file() -> None:
    """Those of other names for the same kernel excepted."""
    named = set(re.findall(r'make\(\s*"(\w+)"', Path(__file__).read_text()))
    tried = {kernels.lookup(name).function for name in named}
    missing = {
        name
        for name in op_registry.registered_ops()
        if "Dataset" in name and kernels.lookup(name).function not in tried
    }
    assert not missing


@pytest.mark.parametrize("name", TABLE)
def test_elements(name: str) -> None:
    build, expected = TABLE[name]
    dataset = build()
    first = values(dataset)
    if expected is not None:
        assert first == expected
        assert values(dataset) == expected
        size = dataset_of(dataset).cardinality
        assert size in (len(expected), -2)
    else:
        assert first == values(build())
        assert len(first) > 5


@pytest.mark.parametrize("name", TABLE)
def test_state_can_be_saved_and_restored(name: str) -> None:
    holds_datasets = "window" in name
    build, _ = TABLE[name]
    expected = values(build())
    for taken in {0, min(1, len(expected)), len(expected) // 2, len(expected)}:
        iterator = dataset_of(build()).iterator()
        for _ in range(taken):
            assert iterator.get_next() is not None
        state = iterator.save()
        if not holds_datasets:
            state = states.load(states.dump(state))
        later = dataset_of(build()).iterator()
        later.restore(state)
        assert rest(later) == expected[taken:], taken
        assert rest(iterator) == expected[taken:], f"saving disturbed it after {taken}"
        later.close()
        iterator.close()


def test_saved_failures_come_again_and_foreign_states_run_no_code() -> None:
    failing = make("MapDataset", count(4), [], f=fails_at_2)
    dataset = make("PrefetchDataset", failing, I(4))
    iterator = dataset_of(dataset).iterator()
    iterator.get_next()
    work = iterator._work  # type: ignore[attr-defined]
    wait_until(lambda: [slot.is_ready for slot in work._slots] == [True] * 3)
    state = states.load(states.dump(iterator.save()))
    later = dataset_of(dataset).iterator()
    later.restore(state)
    assert later.get_next()[0] == 10  # type: ignore[index]
    with pytest.raises(errors.InvalidArgumentError, match="not 2"):
        later.get_next()
    assert rest(later) == [30]
    iterator.close()
    for foreign in (pickle.dumps(time.sleep), pickle.dumps([np.zeros(3), print]), b"nonsense", b""):
        with pytest.raises(errors.InvalidArgumentError, match="holds no state of an iterator"):
            states.load(foreign)
    with pytest.raises(errors.UnimplementedError, match="cannot save this iterator"):
        states.dump(dataset_of(dataset))


def test_a_failing_function_costs_its_element_only() -> None:
    cls = errors.InvalidArgumentError
    mapped = make("MapDataset", count(5), [], f=fails_at_2)
    assert outcomes(mapped) == [0, 10, cls, 30, 40]
    assert outcomes(make("ParallelMapDatasetV2", count(5), [], I(2), f=fails_at_2)) == [
        0, 10, cls, 30, 40,
    ]  # fmt: skip
    assert outcomes(make("PrefetchDataset", mapped, I(2))) == [0, 10, cls, 30, 40]
    assert outcomes(make("BatchDataset", mapped, I(2))) == [[0, 10], cls, [30, 40]]
    assert outcomes(make("IgnoreErrorsDataset", mapped)) == [0, 10, 30, 40]
    zipped = make("ZipDataset", [mapped, count(5)], output_types=[dtypes.int64] * 2)
    assert outcomes(zipped) == [0, 10, cls, 30, 40]
    assert outcomes(make("FilterDataset", count(4), [], predicate=fails_at_2))[2] is cls
    shuffled = make("ShuffleDataset", mapped, I(3), I(1), I(1))
    got = outcomes(shuffled)
    assert got.count(cls) == 1
    assert sorted(v for v in got if v is not cls) == [0, 10, 30, 40]


@pytest.mark.parametrize("parallel", [False, True])
def test_a_function_may_end_the_sequence(parallel: bool) -> None:
    def stops(x: np.ndarray) -> list[Any]:
        if x == 2:
            raise errors.out_of_range("enough")
        return [x]

    def mapped(keep: bool) -> np.ndarray:
        if parallel:
            return make("ParallelMapDatasetV2", count(9), [], I(3), f=stops,
                        preserve_cardinality=keep)  # fmt: skip
        return make("MapDataset", count(9), [], f=stops, preserve_cardinality=keep)

    resource = IteratorResource("c", "n", [dtypes.int64], [None])
    resource.begin(dataset_of(mapped(keep=False)))
    got = [resource.get_next([dtypes.int64], [()]) for _ in range(4)]
    assert [g if g is None else g[0].item() for g in got] == [0, 1, None, None]
    resource.close()
    # Where the number of elements is promised, ending is the function's mistake.
    assert outcomes(mapped(keep=True))[2] is errors.InvalidArgumentError


def test_batches_of_unequal_shapes_are_refused_and_the_next_one_comes() -> None:
    unequal = make("MapDataset", count(5), [], f=lambda x: [np.zeros(x // 3)])
    with pytest.raises(
        errors.InvalidArgumentError, match="Cannot batch tensors with different shapes"
    ):
        values(make("BatchDataset", unequal, I(4)))
    assert outcomes(make("BatchDataset", unequal, I(4))) == [errors.InvalidArgumentError, [[0.0]]]


def test_a_batch_that_nobody_has_any_more_lends_its_memory_to_a_later_one() -> None:
    rows = make("MapDataset", count(12), [], f=lambda x: [np.full(1 << 18, x)])
    iterator = dataset_of(make("BatchDataset", rows, I(2))).iterator()
    first = iterator.get_next()[0]  # type: ignore[index]
    held = first[1]  # a view holds it, too
    number = id(first)
    del first
    assert id(iterator.get_next()[0]) != number  # type: ignore[index]
    assert held[0] == 1
    del held
    numbers = {id(iterator.get_next()[0]) for _ in range(3)}  # type: ignore[index]
    assert number in numbers
    small = dataset_of(make("BatchDataset", count(4), I(2))).iterator()
    assert [small.get_next()[0].tolist() for _ in range(2)] == [[0, 1], [2, 3]]  # type: ignore[index]


def test_strings_and_scalars_keep_their_types() -> None:
    strings = np.array([b"a", b"bc"], object)
    dataset = make("TensorSliceDataset", [strings, np.float32([1, 2])],
                   output_types=[dtypes.string, dtypes.float32])  # fmt: skip
    batch = make("BatchDataset", dataset, I(2), output_types=[dtypes.string, dtypes.float32])
    for source, shape in ((dataset, ()), (batch, (2,))):
        element = dataset_of(source).iterator().get_next()
        assert element is not None
        assert [c.dtype for c in element] == [np.dtype(object), np.dtype(np.float32)]
        assert [c.shape for c in element] == [shape, shape]
        assert all(type(c) is np.ndarray for c in element)
        assert type(element[0].reshape(-1)[0]) is bytes


def test_shuffling_keeps_the_elements_of_a_repetition_together() -> None:
    got = values(make("ShuffleAndRepeatDataset", count(6), I(4), I(3), I(4), I(3)))
    parts = [got[i : i + 6] for i in (0, 6, 12)]
    assert [sorted(part) for part in parts] == [list(range(6))] * 3
    assert parts[0] != parts[1]


def test_reshuffling() -> None:
    def twice(fresh: bool) -> tuple[list[int], list[int]]:
        shuffled = make("ShuffleDataset", count(30), I(30), I(5), I(6),
                        reshuffle_each_iteration=fresh)  # fmt: skip
        got = values(make("RepeatDataset", shuffled, I(2)))
        return got[:30], got[30:]

    first, second = twice(fresh=True)
    assert first != second
    assert twice(fresh=True) == (first, second)
    first, second = twice(fresh=False)
    assert first == second
    unseeded = [values(make("ShuffleDataset", count(30), I(30), I(0), I(0))) for _ in range(2)]
    assert unseeded[0] != unseeded[1]


def test_a_cache_goes_through_its_source_once() -> None:
    calls: list[int] = []

    def note(x: np.ndarray) -> list[Any]:
        calls.append(int(x))
        return [x]

    cached = make("CacheDataset", make("MapDataset", count(3), [], f=note), text(""))
    iterator = dataset_of(cached).iterator()
    iterator.get_next()
    iterator.close()  # a pass that does not reach the end keeps nothing
    for _ in range(3):
        assert values(cached) == [0, 1, 2]
    assert calls == [0, 0, 1, 2]


def test_a_file_cache(tmp_path: Path) -> None:
    path = text(str(tmp_path / "cache"))
    types = [dtypes.int64, dtypes.string]

    def pairs(x: np.ndarray) -> list[Any]:
        return [x, np.array(b"s%d" % int(x), object)]

    source = make("MapDataset", count(12), [], f=pairs, output_types=types)
    expected = [(i, b"s%d" % i) for i in range(12)]
    cached = make("CacheDataset", source, path, output_types=types)
    unfinished = dataset_of(cached).iterator()
    unfinished.get_next()
    with pytest.raises(errors.AlreadyExistsError, match="concurrent caching iterator"):
        dataset_of(cached).iterator().get_next()
    unfinished.close()
    assert not list(tmp_path.iterdir())
    assert values(cached) == expected
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "cache.data-00000-of-00001", "cache.index",
    ]  # fmt: skip
    one = make("MapDataset", count(1), [], f=pairs, output_types=types)
    other = make("CacheDataset", one, path, output_types=types)
    assert values(other) == expected
    later = dataset_of(other).iterator()
    iterator = dataset_of(other).iterator()
    iterator.get_next()
    later.restore(iterator.save())
    assert rest(later) == expected[1:]


# Files --------------------------------------------------------------------------------------------


def strings_of(paths: list[Path]) -> np.ndarray:
    return np.array([str(p).encode() for p in paths], object)


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
def test_records(tmp_path: Path, compression: str) -> None:
    records = [b"one", b"", b"three" * 10000]
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        writer = RecordWriter(str(path), compression)
        for record in records:
            writer.write(record)
        writer.close()
        writer.close()
    dataset = make("TFRecordDataset", strings_of(paths), text(compression), I(100))
    assert values(dataset) == records * 2
    for taken in range(7):
        iterator, later = (dataset_of(dataset).iterator() for _ in range(2))
        for _ in range(taken):
            iterator.get_next()
        later.restore(iterator.save())
        assert rest(later) == (records * 2)[taken:]


def test_damaged_records(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    writer = RecordWriter(str(good))
    for record in (b"abc", b"defg"):
        writer.write(record)
    writer.close()
    content = bytearray(good.read_bytes())

    def got() -> list[Any]:
        return outcomes(make("TFRecordDataset", strings_of([bad, good]), text(""), I(0)))

    content[13] ^= 1
    bad.write_bytes(content)
    assert got() == [errors.DataLossError, b"abc", b"defg"]
    bad.write_bytes(good.read_bytes()[:25])  # cut off: what is whole comes
    assert got() == [b"abc", b"abc", b"defg"]
    bad.write_bytes(b"x" * 40)
    with pytest.raises(errors.DataLossError, match=r"corrupted record at 0 \(Is this even a TF"):
        RecordReader(str(bad)).read()
    missing = make("TFRecordDataset", strings_of([tmp_path / "no", good]), text(""), I(0))
    iterator = dataset_of(missing).iterator()
    for _ in range(2):
        with pytest.raises(errors.NotFoundError, match="no; No such file or directory"):
            iterator.get_next()


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
def test_lines_and_fixed_lengths(tmp_path: Path, compression: str) -> None:
    import gzip
    import zlib

    packers: dict[str, Any] = {"": bytes, "GZIP": gzip.compress, "ZLIB": zlib.compress}
    path = tmp_path / "text"
    path.write_bytes(packers[compression](b"a\r\nb\rc\n\nd"))
    lines = make("TextLineDataset", strings_of([path]), text(compression), I(0))
    assert values(lines) == [b"a", b"bc", b"", b"d"]
    path.write_bytes(packers[compression](b"HHaabbccF"))

    def pieces(size: int) -> np.ndarray:
        return make("FixedLengthRecordDatasetV2", strings_of([path]), I(2), I(size), I(1), I(0),
                    text(compression))  # fmt: skip

    assert values(pieces(2)) == [b"aa", b"bb", b"cc"]
    if not compression:
        args = strings_of([path]), I(2), I(2), I(1), I(0)
        assert values(make("FixedLengthRecordDataset", *args)) == [b"aa", b"bb", b"cc"]
    assert values(pieces(3)) == [b"aab", b"bcc"]
    with pytest.raises(errors.InvalidArgumentError, match="not an exact multiple of the record"):
        values(pieces(4))
    iterator, later = (dataset_of(pieces(2)).iterator() for _ in range(2))
    iterator.get_next()
    later.restore(iterator.save())
    assert rest(later) == [b"bb", b"cc"]
    iterator.close()


def test_compressed_nonsense_is_data_loss(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"no gzip, this")
    for compression in ("GZIP", "ZLIB"):
        with pytest.raises(errors.DataLossError, match="inflate"):
            values(make("TextLineDataset", strings_of([path]), text(compression), I(0)))
    with pytest.raises(errors.InvalidArgumentError, match="Unsupported compression_type"):
        make("TextLineDataset", strings_of([path]), text("LZ4"), I(0))


def test_matching_files_are_looked_up_by_the_iterator(tmp_path: Path) -> None:
    dataset = make("MatchingFilesDataset", text(f"{tmp_path}/*.txt"))
    assert values(dataset) == []
    for name in ("b.txt", "a.txt", "c.dat"):
        (tmp_path / name).write_bytes(b"")
    assert values(dataset) == [str(tmp_path / n).encode() for n in ("a.txt", "b.txt")]


# Arguments ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: make("ShardDataset", count(5), I(0), I(0)), "Number of shards must be greater"),
        (lambda: make("ShardDataset", count(5), I(2), I(5)), "Index must be between 0 and 1"),
        (lambda: make("BatchDataset", count(5), I(0)), "Batch size must be greater than zero"),
        (lambda: make("ShuffleDataset", count(5), I(0), I(0), I(0)), "buffer_size must be greater"),
        (lambda: make("PrefetchDataset", count(5), I(-2)), "buffer_size must be >= 0"),
        (lambda: make("RangeDataset", I(0), I(5), I(0)), "step must be a non-zero integer"),
        (
            lambda: make("ParallelMapDatasetV2", count(5), [], I(0), f=square),
            "num_parallel_calls must be greater than zero",
        ),
        (
            lambda: make("InterleaveDataset", count(5), [], I(0), I(1), f=up_to),
            "cycle_length must be greater than zero",
        ),
        (
            lambda: make("ShuffleAndRepeatDataset", count(5), I(3), I(0), I(0), I(0)),
            "count must be greater than zero or equal to -1",
        ),
        (
            lambda: make("TensorSliceDataset", [I([1, 2]), I([1])]),
            "same size in the 0th dimension",
        ),
        (
            lambda: make("WindowDataset", count(5), I(0), I(1), I(1), np.array(True)),
            "Window size must be greater than zero",
        ),
        (lambda: make("TakeDataset", I(3), I(1)), "holds no dataset"),
        (
            lambda: values(make("FlatMapDataset", count(1), [], f=lambda x: [x])),
            "holds no dataset",
        ),
    ],
)  # fmt: skip
def test_bad_arguments(build: Callable[[], Any], match: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=match):
        build()


# Threads ------------------------------------------------------------------------------------------


def test_parallel_calls_run_at_the_same_time_and_in_bounds() -> None:
    together = threading.Barrier(2, timeout=20)
    pulled: list[int] = []

    def note(x: np.ndarray) -> list[Any]:
        pulled.append(int(x))
        return [x]

    def meets(x: np.ndarray) -> list[Any]:
        together.wait()
        return [x]

    source = make("MapDataset", count(40), [], f=note)
    iterator = dataset_of(make("ParallelMapDatasetV2", source, [], I(2), f=meets)).iterator()
    assert data_threads() == 0, "the first get_next starts them"
    for expected in range(40):
        element = iterator.get_next()
        assert element is not None
        assert element[0] == expected
        assert len(pulled) <= expected + 1 + 2
    assert iterator.get_next() is None


def test_out_of_order_where_that_is_allowed() -> None:
    first_may_go = threading.Event()

    def slow_first(x: np.ndarray) -> list[Any]:
        if x == 0:
            assert first_may_go.wait(20)
        return [x]

    dataset = make("ParallelMapDatasetV2", count(6), [], I(2), f=slow_first,
                   deterministic=b"false")  # fmt: skip
    iterator = dataset_of(dataset).iterator()
    got = [int(iterator.get_next()[0]) for _ in range(5)]  # type: ignore[index]
    assert 0 not in got
    first_may_go.set()
    assert rest(iterator) == [0]


def test_a_forgotten_iterator_takes_its_threads_along() -> None:
    dataset = make("PrefetchDataset", make("RepeatDataset", count(5), I(-1)), I(3))
    iterator = dataset_of(dataset).iterator()
    iterator.get_next()
    assert data_threads() == 1
    del iterator  # the fixture waits for the end


def test_threads_of_inner_iterators_end_with_the_outer_one() -> None:
    def endless(x: np.ndarray) -> list[Any]:
        return [make("PrefetchDataset", make("RepeatDataset", count(3), I(-1)), I(2))]

    flat = make("InterleaveDataset", count(4), [], I(3), I(1), f=endless)
    parallel = make("ParallelMapDatasetV2", flat, [], I(2), f=square)
    iterator = dataset_of(make("PrefetchDataset", parallel, I(2))).iterator()
    for _ in range(5):
        iterator.get_next()
    assert data_threads() >= 5
    iterator.close()  # the fixture waits for the end


def test_waiting_for_an_element_ends_with_the_step() -> None:
    go_on = threading.Event()

    def stuck(x: np.ndarray) -> list[Any]:
        assert go_on.wait(20)
        return [x]

    resource = IteratorResource("c", "n", [dtypes.int64], [None])
    resource.begin(dataset_of(make("ParallelMapDatasetV2", count(3), [], I(1), f=stuck)))
    step, caught = Cancellation(), []

    def get() -> None:
        with running(Interpreter(step)):
            try:
                resource.get_next([dtypes.int64], [()])
            except errors.OpError as error:
                caught.append(type(error))

    threads = [threading.Thread(target=get) for _ in range(2)]  # one waits for the other
    for thread in threads:
        thread.start()
    while data_threads() == 0:
        time.sleep(0.005)
    step.cancel()
    for thread in threads:
        thread.join(10)
    assert caught == [errors.CancelledError] * 2
    go_on.set()
    # Nothing is lost: what the cancelled step waited for comes to the next one.
    assert resource.get_next([dtypes.int64], [()])[0] == 0  # type: ignore[index]
    resource.close()


def test_a_loop_that_gives_nothing_ends_with_the_step() -> None:
    step = Cancellation()
    endless = make("RepeatDataset", count(3), I(-1))
    is_running = threading.Event()

    def refuse(x: np.ndarray) -> list[Any]:
        is_running.set()
        return [np.array(False)]

    nothing = make("FilterDataset", endless, [], predicate=refuse)
    iterator = dataset_of(nothing).iterator()
    caught: list[Any] = []

    def get() -> None:
        with running(Interpreter(step)):
            try:
                iterator.get_next()
            except errors.OpError as error:
                caught.append(type(error))

    thread = threading.Thread(target=get)
    thread.start()
    assert is_running.wait(10)
    assert thread.is_alive()
    step.cancel()
    thread.join(10)
    assert caught == [errors.CancelledError]


# The resource -------------------------------------------------------------------------------------


def test_the_iterator_resource() -> None:
    types, shapes = [dtypes.int64], [()]
    resource = IteratorResource("c", "n", types, shapes)
    with pytest.raises(errors.FailedPreconditionError, match="has not been initialized"):
        resource.get_next(types, shapes)
    resource.begin(dataset_of(count(2)))
    assert [resource.get_next(types, shapes) for _ in range(4)][2:] == [None, None]
    resource.begin(dataset_of(count(3)))
    assert resource.get_next(types, shapes)[0] == 0  # type: ignore[index]
    state = resource.save()
    assert resource.get_next(types, shapes)[0] == 1  # type: ignore[index]
    resource.restore(state)
    assert resource.get_next(types, shapes)[0] == 1  # type: ignore[index]
    with pytest.raises(errors.InvalidArgumentError, match="expected int64 but got float"):
        resource.begin(
            dataset_of(make("TensorDataset", [np.float32(1)], output_types=[dtypes.float32]))
        )
    vectors = make("TensorDataset", [I([1])], output_shapes=[(1,)])
    with pytest.raises(errors.InvalidArgumentError, match=r"expected \[\] but got \[1\]"):
        resource.begin(dataset_of(vectors))
    two = make("ZipDataset", [count(1), count(1)], output_types=types * 2)
    with pytest.raises(errors.InvalidArgumentError, match="expected 1 types but got 2"):
        resource.begin(dataset_of(two))
    # An element that is not what the op promises: the shape shows only when it is there.
    resource = IteratorResource("c", "n", types, [None])
    resource.begin(dataset_of(make("TensorDataset", [I([1])])))
    with pytest.raises(errors.InvalidArgumentError, match="Incompatible shapes at component 0"):
        resource.get_next(types, shapes)


def test_beginning_again_and_closing_end_what_ran_before() -> None:
    endless = make("PrefetchDataset", make("RepeatDataset", count(5), I(-1)), I(2))
    resource = IteratorResource("c", "n", [dtypes.int64], [None])
    for _ in range(3):
        resource.begin(dataset_of(endless))
        resource.get_next([dtypes.int64], [None])
    resource.close()
    with pytest.raises(errors.FailedPreconditionError):
        resource.get_next([dtypes.int64], [None])


def test_a_generator_is_finished_at_its_end_and_when_it_is_closed() -> None:
    log: list[str] = []

    def begin() -> list[Any]:
        log.append("begin")
        return [I(len(log))]

    def produce(state: np.ndarray) -> list[Any]:
        if log.count("next") % 3 == 2:
            log.append("next")
            raise errors.out_of_range("end")
        log.append("next")
        return [state]

    def finish(state: np.ndarray) -> list[Any]:
        log.append("finish")
        return [state]

    dataset = make("GeneratorDataset", [], [], [], init_func=begin, next_func=produce,
                   finalize_func=finish)  # fmt: skip
    assert values(dataset) == [1, 1]
    assert log == ["begin", "next", "next", "next", "finish"]
    iterator = dataset_of(dataset).iterator()
    iterator.get_next()
    iterator.close()
    assert log[5:] == ["begin", "next", "finish"]


def test_reducing_and_single_elements() -> None:
    assert make("DatasetCardinality", count(3)) == 3
    total = make("ReduceDataset", count(5), [I(10)], [], f=lambda s, x: [s + x])
    assert [t.item() for t in total] == [20]
    assert [v.item() for v in make("DatasetToSingleElement", count(1))] == [0]
    for size, match in ((0, "Dataset was empty"), (2, "more than one element")):
        with pytest.raises(errors.InvalidArgumentError, match=match):
            make("DatasetToSingleElement", count(size))


def test_a_dataset_goes_into_a_record_file(tmp_path: Path) -> None:
    path = tmp_path / "out"
    strings = make("TensorSliceDataset", [np.array([b"a", b"b"], object)])
    make("DatasetToTFRecord", strings, text(str(path)), text("GZIP"))
    assert values(make("TFRecordDataset", strings_of([path]), text("GZIP"), I(0))) == [b"a", b"b"]
