from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from flowray.master.passes.graph import Graph
from flowray.master.passes.placer import place, usable_devices
from flowray.master.passes.validate import validate
from flowray.proto import errors
from flowray.proto.messages import config_pb2
from tests.unit.master.fakes import PS, W0, W1, device, graph_def

CPUS = [device(PS), device(W0), device(W1)]
GPUS = [*CPUS, device(W0, "GPU", 0), device(W0, "GPU", 1), device(W1, "GPU", 0)]
# GPUs on the workers that the master does not run on.
FAR_GPU = [*CPUS, device(W1, "GPU", 0)]

_TASKS = {PS: "ps", W0: "w0", W1: "w1"}


class Placing:
    """A graph that grows, with the places of its nodes in short: "w0", "w1/GPU:0"."""

    def __init__(
        self, devices: Sequence[config_pb2.DeviceAttributes] = CPUS, soft: bool = False
    ) -> None:
        self._devices = devices
        self._soft = soft
        self._graph = Graph()
        self._placed: dict[str, str] = {}

    def add(self, text: str) -> dict[str, str]:
        """Returns the devices of the new nodes."""
        known = self._graph.nodes
        graph = validate(graph_def(text), self._graph)
        added = [node for name, node in graph.nodes.items() if name not in known]
        placed = place(
            graph,
            added,
            self._placed,
            self._devices,
            default_task=W0,
            allow_soft_placement=self._soft,
        )
        self._placed.update(placed)
        self._graph = graph
        return {node.name: _short(placed[node.name]) for node in added}


def _short(name: str) -> str:
    task, _, kind = name.partition("/device:")
    return _TASKS[task] if kind == "CPU:0" else f"{_TASKS[task]}/{kind}"


def placed(
    text: str, devices: Sequence[config_pb2.DeviceAttributes] = CPUS, soft: bool = False
) -> dict[str, str]:
    return Placing(devices, soft).add(text)


# Requests


def test_without_a_request_nodes_go_to_the_default_task() -> None:
    assert placed("p = Placeholder()\na = Neg(p)\nv = VariableV2()\nn = NoOp()") == {
        "p": "w0", "a": "w0", "v": "w0", "n": "w0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "place_"),
    [
        ("/job:worker/replica:0/task:1/device:CPU:0", "w1"),
        ("/job:worker/task:1/cpu:0", "w1"),
        ("/job:worker/task:1", "w1/GPU:0"),
        ("/job:worker/task:1/device:GPU:0", "w1/GPU:0"),
        ("/job:worker/task:1/device:GPU:*", "w1/GPU:0"),
        ("/job:ps", "ps"),
        ("/task:1", "w1/GPU:0"),  # GPUs come first
        ("/job:worker", "w0/GPU:0"),  # then the default task
        ("/gpu:1", "w0/GPU:1"),
        ("/cpu:0", "w0"),
        ("/device:CPU:0", "w0"),
        ("", "w0/GPU:0"),
    ],
)
def test_a_request_in_part_takes_the_best_device_that_it_admits(request_: str, place_: str) -> None:
    assert placed(f"p = Placeholder() @{request_}\na = Neg(p) @{request_}", GPUS) == {
        "p": place_, "a": place_,
    }  # fmt: skip


def test_a_gpu_elsewhere_comes_before_the_own_cpu() -> None:
    assert placed("p = Placeholder()\na = Neg(p)\nb = Neg(p) @/job:worker/task:0", FAR_GPU) == {
        "p": "w1/GPU:0", "a": "w1/GPU:0", "b": "w0",
    }  # fmt: skip


def test_without_a_device_of_the_default_task_names_decide() -> None:
    assert placed("p = Placeholder()\na = Neg(p)", [device(W1), device(PS)])["a"] == "ps"


def test_what_a_gpu_cannot_do_stays_on_the_cpu() -> None:
    assert placed(
        """
        s = Placeholder() dtype=string
        i = Identity(s) T=string
        v = VariableV2() dtype=string
        p = Placeholder() dtype=bool
        w = Where(p)
        """,
        FAR_GPU,
    ) == {"s": "w0", "i": "w0", "v": "w0", "p": "w1/GPU:0", "w": "w1/GPU:0"}


def test_asking_about_a_variable_does_not_pull_it_to_the_host() -> None:
    text = """
        v = VariableV2()
        i = IsVariableInitialized(v)
        h = VarHandleOp() dtype=float32 shape=()
        j = VarIsInitializedOp(h)
        d = DestroyResourceOp(h)
    """
    assert set(placed(text, FAR_GPU).values()) == {"w1/GPU:0"}


# Groups


def test_a_reference_pulls_its_users_along() -> None:
    """Whatever they asked for: TensorFlow overrides it without a word."""
    assert placed("""
        v = VariableV2() @/job:ps
        p = Placeholder() @/job:worker/task:1
        a = Assign(v, p) @/job:worker/task:1
        b = AssignAdd(a, p)
        r = Identity(v) @/job:worker/task:1
    """) == {"v": "ps", "p": "w1", "a": "ps", "b": "ps", "r": "w1"}


def test_a_resource_pulls_its_users_along() -> None:
    assert placed("""
        h = VarHandleOp() dtype=float32 shape=() @/job:ps
        p = Placeholder()
        r = ReadVariableOp(h) @/job:worker/task:1
        w = AssignVariableOp(h, p) @/job:worker/task:0
    """) == {"h": "ps", "p": "ps", "r": "ps", "w": "ps"}


def test_a_users_request_helps_a_variable_without_one() -> None:
    assert placed("""
        v = VariableV2()
        p = Placeholder()
        a = Assign(v, p) @/job:worker/task:1
    """) == {"v": "w1", "p": "w1", "a": "w1"}


def test_an_identity_of_a_reference_follows_it_if_it_may() -> None:
    assert placed("v = VariableV2() @/job:ps\nr = Identity(v)\ns = Identity(v) @/task:1") == {
        "v": "ps", "r": "ps", "s": "w1",
    }  # fmt: skip


def test_a_dataset_and_its_users_share_a_device_if_they_may() -> None:
    def pipeline(of_repeat: str = "", of_start: str = "") -> dict[str, str]:
        elements = "output_types=[9] output_shapes=[()]"
        return placed(f"""
            n = Const() dtype=int64
            d = RangeDataset(n, n, n) {elements}
            r = RepeatDataset(d, n) {elements} {of_repeat}
            i = IteratorV2() {elements} shared_name="" container="" @/job:worker/task:1
            m = MakeIterator(r, i) {of_start}
        """)

    at_the_iterator = dict.fromkeys("ndrim", "w1")
    assert pipeline() == at_the_iterator
    assert pipeline(of_start="@/job:ps") == at_the_iterator
    # Requests that contradict each other stay, as in TensorFlow: the edge fails when it is run.
    assert pipeline("@/job:ps") == {"n": "ps", "d": "ps", "r": "ps", "i": "w1", "m": "w1"}


def test_nodes_are_colocated_by_class() -> None:
    assert placed(
        """
        v = VariableV2() @/job:ps
        i = Const() class='v'
        n = Neg(i) class='i'
        m = Neg(i)
    """.replace("'", "")
    ) == {"v": "ps", "i": "ps", "n": "ps", "m": "w0"}


def test_requests_of_a_colocated_group_add_up() -> None:
    assert placed(
        """
        a = Neg(p) @/job:worker
        b = Neg(p) class=a @/task:1
        c = Neg(p) class=b @/gpu:*
        p = VariableV2() @/job:ps
        """,
        GPUS,
    ) == {"a": "w1/GPU:0", "b": "w1/GPU:0", "c": "w1/GPU:0", "p": "ps"}


def test_a_group_with_a_node_for_the_host_goes_to_the_host() -> None:
    assert placed(
        """
        s = Placeholder() dtype=string
        p = Placeholder()
        a = Neg(p) class=s
        b = Neg(p)
        """,
        GPUS,
    ) == {"s": "w0", "p": "w0/GPU:0", "a": "w0", "b": "w0/GPU:0"}


def test_an_unknown_name_of_a_class_is_a_group_of_its_own() -> None:
    placing = Placing()
    assert placing.add("""
        p = VariableV2()
        a = Neg(p) class=later @/task:1
        b = Neg(p) class=later
    """) == {"p": "w0", "a": "w1", "b": "w1"}
    # It joins its group when it comes.
    assert placing.add("later = Neg(p)\nc = Neg(p) class=later") == {"later": "w1", "c": "w1"}


# Heuristics


def test_a_constant_or_placeholder_goes_where_it_is_used() -> None:
    assert placed("""
        one = Placeholder()
        a = Neg(one) @/task:1
        b = Neg(one) @/task:1
        other = Const()
        c = Neg(other) @/task:1
        d = Neg(other) @/job:ps
        fixed = Const() @/job:ps
        e = Neg(fixed) @/task:1
    """) == {
        "one": "w1", "a": "w1", "b": "w1",
        "other": "w0", "c": "w1", "d": "ps",
        "fixed": "ps", "e": "w1",
    }  # fmt: skip


def test_metadata_follows_its_input_if_it_may() -> None:
    assert placed("""
        p = VariableV2()
        x = Neg(p) @/task:1
        i = Identity(x)
        s = Shape(i)
        t = Rank(x) @/job:ps
    """) == {"p": "w0", "x": "w1", "i": "w1", "s": "w1", "t": "ps"}


# Growing


def test_what_is_placed_stays_and_pulls_what_comes() -> None:
    placing = Placing()
    placing.add("v = VariableV2() @/job:ps\np = Placeholder()")
    assert placing.add("""
        a = Assign(v, p) @/job:worker/task:1
        n = Neg(p) class=v
    """) == {"a": "ps", "n": "ps"}


def test_a_class_cannot_move_what_is_placed() -> None:
    placing = Placing()
    placing.add("v = VariableV2() @/job:ps")
    with pytest.raises(errors.InvalidArgumentError, match=r"Cannot colocate nodes .*\n.*node n\}"):
        placing.add("p = Placeholder()\nn = Neg(p) class=v @/job:worker")


# Soft placement


def test_soft_placement_relaxes_type_and_number() -> None:
    text = "p = Placeholder()\na = Neg(p) @/job:worker/task:1/device:GPU:7"
    assert placed(text, CPUS, soft=True)["a"] == "w1"
    assert placed(text, GPUS, soft=True)["a"] == "w1/GPU:0"


def test_soft_placement_does_not_change_the_task() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="was explicitly assigned to /job:worker"):
        placed("p = Placeholder() @/job:worker/task:7", soft=True)


def test_soft_placement_drops_a_colocation_that_cannot_be() -> None:
    text = "p = Placeholder()\nb = Neg(p) @/job:ps\nc = Neg(p) class=b @/task:1/job:worker"
    assert placed(text, soft=True) == {"p": "w0", "b": "ps", "c": "w1"}


# Errors

ALL = (
    "[ /job:ps/replica:0/task:0/device:CPU:0, /job:worker/replica:0/task:0/device:CPU:0, "
    "/job:worker/replica:0/task:1/device:CPU:0 ]"
)
NO_TASK = f"""Cannot assign a device for operation u: {{{{node u}}}} was explicitly assigned to \
/job:worker/task:7 but available devices are {ALL}. Make sure the device specification refers to a \
valid device.
\t [[{{{{node u}}}}]]"""

BAD: Mapping[str, tuple[str, str]] = {
    "no such task": ("u = Placeholder() @/job:worker/task:7", NO_TASK),
    "no such job": (
        "u = Const() @/job:nobody",
        "Cannot assign a device for operation u: {{node u}} was explicitly assigned to /job:nobody",
    ),
    "no GPU": (
        "u = Placeholder() @/gpu:0",
        "The requested device appears to be a GPU, but there is none in the cluster.",
    ),
    "malformed": ("u = Placeholder() @/job:a/tusk:1", "Malformed device specification"),
    "not a number": ("u = Placeholder() @/task:x", "Malformed device specification '/task:x'"),
    "class": (
        "a = Placeholder() @/job:ps/task:0\nu = Neg(a) class=a @/job:worker/task:1",
        "Cannot colocate nodes {{colocation_node u}} and {{colocation_node a}}: Cannot merge "
        "devices with incompatible jobs: '/job:worker/task:1' and '/job:ps/task:0'",
    ),
    "a member of a group": (
        "a = Placeholder() @/job:worker\nu = Neg(a) class=a @/task:7",
        "was explicitly assigned to /task:7 but available devices are",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_impossible_requests_name_the_node(case: str) -> None:
    text, message = BAD[case]
    with pytest.raises(errors.InvalidArgumentError) as info:
        placed(text)
    assert message in info.value.message
    assert info.value.message.endswith("\n\t [[{{node u}}]]")


def test_what_has_no_kernel_for_a_gpu() -> None:
    with pytest.raises(errors.InvalidArgumentError) as info:
        placed("u = Placeholder() dtype=string @/gpu:0", GPUS)
    assert info.value.message == (
        "Cannot assign a device for operation u: Could not satisfy explicit device specification "
        "'/device:GPU:0' because no supported kernel for GPU devices is available.\n"
        "Op: Placeholder\nRegistered kernels:\n  device='CPU'\n\t [[{{node u}}]]"
    )


def test_a_group_of_which_one_has_no_kernel_for_a_gpu() -> None:
    with pytest.raises(errors.InvalidArgumentError) as info:
        placed("p = Placeholder() dtype=string\nu = Neg(q) class=p @/gpu:0\nq = Const()", GPUS)
    assert (
        "because the node {{colocation_node p}} was colocated with a group of nodes that required "
        "incompatible device '/device:GPU:0'"
    ) in info.value.message
    assert info.value.message.endswith("\n\t [[{{node u}}]]")


# Filters


def test_device_filters_leave_the_own_task() -> None:
    def usable(*filters: str) -> list[str]:
        return [_short(d.name) for d in usable_devices(GPUS, filters, W0)]

    assert usable() == ["ps", "w0", "w1", "w0/GPU:0", "w0/GPU:1", "w1/GPU:0"]
    assert usable("/job:ps") == ["ps", "w0", "w0/GPU:0", "w0/GPU:1"]
    assert usable("/job:worker/task:1", "/job:ps") == [_short(d.name) for d in GPUS]
    assert usable("/gpu:0") == ["w0", "w0/GPU:0", "w0/GPU:1", "w1/GPU:0"]
    with pytest.raises(errors.InvalidArgumentError, match="Malformed device specification"):
        usable("/job:ps/what")
