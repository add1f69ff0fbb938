"""Stacks and tensor arrays: interpreted, in XLA programs, and from one stage to the next."""

from __future__ import annotations

import numpy as np
import pytest

from flowray.client.framework.function import trace
from flowray.client.framework.graph import Graph, control_dependencies
from flowray.client.framework.op_builder import apply_op, make_op
from flowray.proto import errors
from flowray.proto.messages import graph_pb2, tensor_pb2
from flowray.proto.types import dtypes
from flowray.proto.wire.stage import Stage
from flowray.worker.runtime import Runtime, RuntimeOptions

TASK = "/job:worker/replica:0/task:0"
V = np.float32([1, 2])
M = np.float32([[1, 2], [3, 4], [5, 6]])
BAD = errors.InvalidArgumentError


def const(value):
    array = np.asarray(value)
    return apply_op("Const", value=array, dtype=array.dtype)


class Run:
    """Runs what ``build`` makes of placeholders, interpreted or compiled."""

    def __init__(self, mode):
        self.mode = mode
        self.runtime = Runtime(TASK, RuntimeOptions(compile=mode, gpus=0))

    def __call__(self, build, *feeds):
        with Graph().as_default() as graph:
            inputs = [apply_op("Placeholder", dtype=f.dtype, shape=None) for f in feeds]
            outputs = build(*inputs)
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        nodes = [n for n in graph.as_graph_def().node if n.op != "Placeholder"]
        graph_def = graph_pb2.GraphDef(node=nodes, library=graph.as_graph_def().library)
        names = [tuple(t.name for t in tensors) for tensors in (inputs, outputs)]
        self.runtime.register(Stage("h", "s", graph_def, *names))
        results, _ = self.runtime.run("h", 1, list(feeds))
        if self.mode == "eager":
            runners = self.runtime._stages["h"].xla_runners
            self.compiled = bool(runners) and all(
                any(version.program for version in runner._versions.values()) for runner in runners
            )
        return results if len(results) > 1 else results[0]


@pytest.fixture(params=["never", "eager"])
def run(request):
    return Run(request.param)


@pytest.fixture
def interpreted():
    return Run("never")


@pytest.fixture
def compiled():
    return Run("eager")


# Stacks --------------------------------------------------------------------------------------


def stack(size=-1, dtype="float32"):
    return apply_op("StackV2", const(np.int32(size)), elem_type=dtype, stack_name="foo")


def push(handle, value):
    return apply_op("StackPushV2", handle, value)


def pop(handle, after, dtype="float32"):
    with control_dependencies(after):
        return apply_op("StackPopV2", handle, elem_type=dtype)


def test_the_last_value_pushed_is_popped_first(run):
    def build(x, y):
        handle = stack()
        first = push(handle, x)
        with control_dependencies([first]):
            second = push(handle, y)
        third = pop(handle, [second])
        return third, pop(handle, [third]), first

    results = run(build, V, V * 3)
    for result, expected in zip(results, (V * 3, V, V), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_what_is_wrong_with_stacks(run):
    with pytest.raises(BAD, match=r"Stack\[foo_\d+\] is empty when calling Pop\(\)"):
        run(lambda x: pop(stack(), [x]), V)

    def overflow(x):
        handle = stack(1)
        with control_dependencies([push(handle, x)]):
            return push(handle, x)

    with pytest.raises(BAD, match=r"Stack\[foo_\d+\] overflowed its max_size \(1\)"):
        run(overflow, V)
    with pytest.raises(BAD, match="Must have type float but got int32"):
        run(lambda x: push(stack(), x), np.int32(1))

    def closed(x):
        handle = stack()
        with control_dependencies([make_op("StackCloseV2", handle)]):
            return push(handle, x)

    with pytest.raises(BAD, match="has already been closed"):
        run(closed, V)


def counted(body, condition, inputs):
    """A While of functions that take and give what ``inputs`` are."""
    signature = [(t.dtype, None) for t in inputs]
    loop = make_op(
        "While", inputs, T=[t.dtype for t in inputs], cond=trace(condition, signature, "c"),
        body=trace(body, signature, "b"),
    )  # fmt: skip
    return loop.outputs


def there_and_back(x, n):
    """Pushes x, 2x, 4x, ... n times in one loop; adds up what it pops with weights in another."""
    handle = stack()
    one, two = const(np.int32(1)), const(np.float32(2))

    def forward(i, value, handle, one, two, n):
        with control_dependencies([push(handle, value)]):
            following = apply_op("AddV2", i, one)
        return following, apply_op("Mul", value, two), handle, one, two, n

    def more(i, value, handle, one, two, n):
        return apply_op("Less", i, n)

    zero = const(np.int32(0))
    count, *_ = counted(forward, more, [zero, x, handle, one, two, n])

    def backward(i, total, handle, one):
        value = apply_op("StackPopV2", handle, elem_type="float32")
        weight = apply_op("Cast", i, DstT="float32")
        added = apply_op("AddV2", total, apply_op("Mul", weight, value))
        return apply_op("Sub", i, one), added, handle, one

    def left(i, total, handle, one):
        return apply_op("Greater", i, apply_op("Sub", one, one))

    return counted(backward, left, [count, apply_op("ZerosLike", x), handle, one])[1]


def expected(n):
    return sum((i + 1) * V * 2.0**i for i in range(n)).astype(np.float32)


def test_a_stack_between_two_loops(run):
    np.testing.assert_allclose(run(there_and_back, V, np.int32(5)), expected(5))
    if run.mode == "eager":
        assert run.compiled


def test_a_compiled_stack_that_is_too_small_makes_the_stage_run_interpreted(compiled):
    """The first program has capacity for as many values as were ever seen, or 64."""
    np.testing.assert_allclose(compiled(there_and_back, V, np.int32(3)), expected(3))
    (runner,) = compiled.runtime._stages["h"].xla_runners
    (version,) = runner._versions.values()
    first = version.program
    for n in (70, 70):
        (result,), _ = compiled.runtime.run("h", 2, [V, np.int32(n)])
        np.testing.assert_allclose(result, expected(n), rtol=1e-6)
    assert max(compiled.runtime.state.stack_sizes.values()) == 70
    assert version.program is not None, "it was not compiled again, with more capacity"
    assert version.program is not first
    (again,) = runner._versions.values()
    assert again is version


# Tensor arrays -------------------------------------------------------------------------------


class Array:
    """A tensor array as a chain of ops, each of which takes the flow of the one before."""

    def __init__(self, size=3, dtype="float32", **attrs):
        self.dtype = dtype
        size = const(np.int32(size)) if isinstance(size, int) else size
        self.handle, self.flow = apply_op(
            "TensorArrayV3", size, dtype=dtype, tensor_array_name="bar", **attrs
        )

    def write(self, index, value):
        self.flow = apply_op("TensorArrayWriteV3", self.handle, _index(index), value, self.flow)
        return self

    def scatter(self, indices, value):
        indices = const(np.int32(indices))
        self.flow = apply_op("TensorArrayScatterV3", self.handle, indices, value, self.flow)
        return self

    def split(self, value, lengths):
        lengths = const(np.int64(lengths))
        self.flow = apply_op("TensorArraySplitV3", self.handle, value, lengths, self.flow)
        return self

    def read(self, index, dtype=None):
        return self._then(
            apply_op(
                "TensorArrayReadV3", self.handle, _index(index), self.flow,
                dtype=dtype or self.dtype,
            )
        )  # fmt: skip

    def gather(self, indices, **attrs):
        indices = const(np.int32(indices))
        return self._then(
            apply_op(
                "TensorArrayGatherV3", self.handle, indices, self.flow, dtype=self.dtype, **attrs
            )
        )

    def concat(self, **attrs):
        value, lengths = apply_op(
            "TensorArrayConcatV3", self.handle, self.flow, dtype=self.dtype, **attrs
        )
        return self._then(value), lengths

    def size(self):
        return apply_op("TensorArraySizeV3", self.handle, self.flow)

    def grad(self, source="g"):
        result = Array.__new__(Array)
        result.dtype = self.dtype
        result.handle, result.flow = apply_op(
            "TensorArrayGradV3", self.handle, self.flow, source=source
        )
        return result

    def _then(self, value):
        with control_dependencies([value]):
            self.flow = apply_op("Identity", self.flow)
        return value


def _index(index):
    return const(np.int32(index)) if isinstance(index, int) else index


def test_writes_and_reads(run):
    def build(x, i):
        array = Array(clear_after_read=False).write(i, x).write(2, apply_op("Neg", x))
        return array.read(2), array.read(i), array.size(), array.read(i)

    for result, wanted in zip(run(build, V, np.int32(1)), (-V, V, 3, V), strict=True):
        np.testing.assert_array_equal(result, wanted)
        assert result.dtype == np.asarray(wanted, result.dtype).dtype


@pytest.mark.parametrize("indices", [[0, 1, 2], [2, 0, 1], [1, 2]])
def test_scatter_and_gather(run, indices):
    def build(x):
        return Array(element_shape=[2]).scatter([2, 0, 1], x).gather(indices)

    np.testing.assert_array_equal(run(build, M), M[[1, 2, 0]][indices])


def test_split_and_concat(run):
    def build(x):
        return Array(3).split(x, [2, 2, 2]).concat()

    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    value, lengths = run(build, x)
    np.testing.assert_array_equal(value, x)
    np.testing.assert_array_equal(lengths, [2, 2, 2])
    assert lengths.dtype == np.int64
    value, lengths = run(lambda x: Array(3).split(x, [1, 5, 0]).concat(), x)
    np.testing.assert_array_equal(value, x)
    np.testing.assert_array_equal(lengths, [1, 5, 0])


def test_an_array_that_grows(run):
    def build(x):
        array = Array(1, dynamic_size=True).write(4, x).write(0, x)
        for i in (1, 2, 3):
            array.write(i, apply_op("Neg", x))
        return array.gather([0, 1, 4]), array.size()

    value, size = run(build, V)
    np.testing.assert_array_equal(value, [V, -V, V])
    assert size == 5


def test_an_array_whose_size_is_computed(run):
    def build(x, n):
        return Array(apply_op("AddV2", n, n)).write(0, x).size()

    assert run(build, V, np.int32(2)) == 4


def test_gradients_add_up(run):
    def build(x):
        array = Array().write(0, x).write(1, x)
        gradient = array.grad().write(0, x).write(0, apply_op("Mul", x, x))
        gradient.write(2, x)
        same = array.grad()
        with control_dependencies([gradient.flow]):
            same.flow = apply_op("Identity", same.flow)
        return same.gather([2, 0, 1]), array.grad("other").read(0)

    value, other = run(build, V)
    np.testing.assert_array_equal(value, [V, V + V * V, 0 * V])
    np.testing.assert_array_equal(other, 0 * V)


def test_unwritten_elements_of_a_known_shape_are_zeros(run):
    np.testing.assert_array_equal(
        run(lambda x: Array(element_shape=[2]).write(1, x).gather([0, 1]), V), [0 * V, V]
    )
    assert run(lambda x: Array(2, element_shape=[]).write(1, x).read(0), np.float32(3)) == 0
    with pytest.raises(BAD, match=r"TensorArray bar_\d+: Could not read from TensorArray index 0."):
        run(lambda x: Array().write(1, x).read(0), V)


def test_no_elements(run):
    assert run(lambda x: [Array(0).gather([], element_shape=[4]), x], V)[0].shape == (0, 4)
    assert run(lambda x: [Array(0).concat(element_shape_except0=[4])[0], x], V)[0].shape == (0, 4)
    with pytest.raises(errors.UnimplementedError, match="has size zero, but element shape"):
        run(lambda x: [Array(0).gather([]), x], V)


def test_strings_are_kept_by_the_interpreter(run):
    words = np.array([b"a", b"b"], object)
    result = run(lambda w: Array(2, "string").scatter([1, 0], w).gather([0, 1]), words)
    np.testing.assert_array_equal(result, words[::-1])


WRONG = {
    "size": (lambda x: Array(-1).size(), "Size should be >= 0."),
    "beyond": (lambda x: Array().write(5, x).flow,
               r"bar_\d+: Tried to write to index 5 but array is not resizeable and size is: 3"),
    "before": (lambda x: Array().write(-1, x).flow, "Tried to write to index -1 but"),
    "twice": (lambda x: Array().write(1, x).write(1, x).flow,
              "Could not write to TensorArray index 1 because it has already been written to"),
    "after_read": (lambda x: (a := Array().write(1, x), a.read(1), a.write(1, x).flow)[2],
                   "Could not write to TensorArray index 1 because it has already been read"),
    "read_twice": (lambda x: (a := Array().write(1, x), a.read(1), a.read(1))[2],
                   "Could not read index 1 twice because it was cleared"),
    "gather_twice": (lambda x: Array().write(1, x).gather([1, 1]), "Could not read index 1 twice"),
    "read_beyond": (lambda x: Array().write(1, x).read(3),
                    "Tried to read from index 3 but array size is: 3"),
    "gather_beyond": (lambda x: Array().write(1, x).gather([1, 7]), "Tried to read from index 7"),
    "dtype": (lambda x: Array(dtype="int32").write(1, x).flow,
              "TensorArray dtype is int32 but Op is trying to write dtype float"),
    "read_dtype": (lambda x: Array().write(1, x).read(1, "int32"),
                   "TensorArray dtype is float but Op requested dtype int32"),
    "shape": (lambda x: Array(element_shape=[3]).write(0, x).flow,
              r"index 0 because the value shape is \[2\] which is incompatible with the "
              r"TensorArray's inferred element shape: \[3\]"),
    "shapes": (lambda x: Array().write(0, x).write(1, const(M)).gather([0, 1]),
               r"TensorArray has inconsistent shapes.  Index 0 has shape: \[2\] but index 1"
               r" has shape: \[3,2\]"),
    "identical": (
        lambda x: Array(identical_element_shapes=True).write(0, x).write(1, const(M)).flow,
        "inferred element shape",
    ),
    "gather_shape": (lambda x: Array().write(1, x).gather([1], element_shape=[3]),
                     r"passed element_shape \[3\] which does not match the Tensor at index 0"),
    "scatter": (lambda x: Array(2).scatter([0, 2], x).flow,
                r"Max scatter index must be < array size \(2 vs. 2\)"),
    "scatter_twice": (lambda x: Array(2).scatter([0, 0], x).flow, "already been written to"),
    "concat_scalar": (lambda x: Array(2).scatter([0, 1], x).concat()[0],
                      "Concat saw a scalar shape at index 0"),
    "concat_part": (lambda x: Array(1).write(0, x).concat(element_shape_except0=[1])[0],
                    r"passed element_shape_except0 \[1\] but index 0 has"),
    "split_sum": (lambda x: Array(2).split(x, [1, 2]).flow,
                  r"sum of lengths is 3 and value's shape is: \[2\]"),
    "split_count": (lambda x: Array(3).split(x, [1, 1]).flow,
                    r"not equal to the size of lengths \(3 vs. 2\)"),
    "aggregate": (lambda x: Array().write(0, x).grad().write(0, x).write(0, const(M)).flow,
                  r"existing shape is \[2\] but the new input shape is \[3,2\]"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_tensor_arrays(run, what):
    build, message = WRONG[what]
    with pytest.raises(BAD, match=message):
        run(build, V)


def test_a_closed_array(run):
    def build(x):
        array = Array()
        with control_dependencies([make_op("TensorArrayCloseV3", array.handle)]):
            return array.write(0, x).flow

    with pytest.raises(BAD, match=r"TensorArray bar_\d+ has already been closed"):
        run(build, V)


def test_an_array_in_a_loop(run):
    """Writes i * x to element i, through the flow; reads them all afterwards."""

    def build(x, n):
        array, one = Array(4), const(np.int32(1))

        def body(i, flow, handle, x, one, n):
            value = apply_op("Mul", x, apply_op("Cast", i, DstT="float32"))
            flow = apply_op("TensorArrayWriteV3", handle, i, value, flow)
            return apply_op("AddV2", i, one), flow, handle, x, one, n

        def more(i, flow, handle, x, one, n):
            return apply_op("Less", i, n)

        inputs = [const(np.int32(0)), array.flow, array.handle, x, one, n]
        array.flow = counted(body, more, inputs)[1]
        return array.gather([0, 1, 2, 3])

    np.testing.assert_array_equal(run(build, V, np.int32(4)), [V * i for i in range(4)])
    if run.mode == "eager":
        assert run.compiled
        with pytest.raises(BAD, match="Could not read from TensorArray index 3"):
            run(build, V, np.int32(3))


# Stages --------------------------------------------------------------------------------------


def test_a_handle_goes_from_one_stage_to_the_next_until_the_step_ends(run):
    runtime = run.runtime

    def register(handle, build, inputs, outputs, **keywords):
        with Graph().as_default() as graph:
            build()
        nodes = [n for n in graph.as_graph_def().node if n.op != "Placeholder"]
        runtime.register(
            Stage(handle, "s", graph_pb2.GraphDef(node=nodes), inputs, outputs, **keywords)
        )

    def first():
        x = apply_op("Placeholder", dtype="float32", shape=None, name="x")
        size = const(np.int32(-1))
        handle = apply_op("StackV2", size, elem_type="float32", name="stack")
        apply_op("StackPushV2", handle, x, name="push")

    def second():
        handle = apply_op("Placeholder", dtype=dtypes.resource, shape=None, name="stack")
        apply_op("StackPopV2", handle, elem_type="float32", name="pop")

    register("a", first, ("x:0",), ("stack:0",), keeps_step_resources=True)
    register("b", second, ("stack:0",), ("pop:0",))
    (handle,), _ = runtime.run("a", 7, [V])
    assert isinstance(handle[()], tensor_pb2.ResourceHandleProto)
    np.testing.assert_array_equal(runtime.run("b", 7, [handle])[0][0], V)
    with pytest.raises(BAD, match="is empty"):
        runtime.run("b", 7, [handle])
    with pytest.raises(errors.NotFoundError):
        runtime.run("b", 8, [handle])  # another step's
    runtime.end_step(7)
    with pytest.raises(errors.NotFoundError):
        runtime.run("b", 7, [handle])
