"""Graphs from text, and workers that run in this process, for the tests of the master."""

from __future__ import annotations

import ast
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flowray.master.worker_api import StageResult
from flowray.proto import errors
from flowray.proto import ops as _definitions  # noqa: F401 - registers all ops
from flowray.proto.graph.tensor_id import data_inputs
from flowray.proto.messages import config_pb2, graph_pb2
from flowray.proto.ops import op_registry
from flowray.proto.types import attr_values, dtypes, tensors
from flowray.proto.wire.stage import Stage

PS = "/job:ps/replica:0/task:0"
W0 = "/job:worker/replica:0/task:0"
W1 = "/job:worker/replica:0/task:1"

_LINE = re.compile(r"(\S+) = (\w+)\((.*?)\)\s*([^@]*?)\s*(?:@(\S*))?$")


def graph_def(text: str, producer: int = 134) -> graph_pb2.GraphDef:
    """The GraphDef of lines ``name = Op(a, b:1, ^c) attr=value @device``.

    Values are dtype names or Python literals without spaces. Type attributes that are not given
    are float32, and a Const's value is 1.0.
    """
    result = graph_pb2.GraphDef()
    result.versions.producer = producer
    for line in filter(None, (line.strip() for line in text.splitlines())):
        match = _LINE.match(line)
        assert match is not None, line
        name, op, inputs, attrs, device = match.groups()
        node = result.node.add(name=name, op=op, device=device or "")
        node.input.extend(i.strip() for i in inputs.split(",") if i.strip())
        if op not in op_registry.registered_ops():
            continue
        given = dict(part.split("=", 1) for part in attrs.split())
        _fill_attrs(node, op_registry.lookup(op), given)
    return result


def _fill_attrs(
    node: graph_pb2.NodeDef, definition: op_registry.OpDef, given: dict[str, str]
) -> None:
    for name, attr in definition.attrs.items():
        if name in given:
            text = given[name]
            value: Any = dtypes.BY_NAME[text] if text in dtypes.BY_NAME else ast.literal_eval(text)
        elif attr.default is op_registry.REQUIRED and attr.kind == "type":
            value = dtypes.float32
        elif attr.default is op_registry.REQUIRED and attr.kind == "tensor":
            value = 1.0
        elif attr.default is op_registry.REQUIRED and attr.kind == "shape":
            value = ()
        else:
            continue
        if attr.kind == "tensor":
            dtype = dtypes.BY_NAME[given.get("dtype", "float32")]
            value = np.asarray(value, dtype.as_numpy_dtype)
        node.attr[name].CopyFrom(attr_values.to_attr_value(value, attr.kind))
    if "class" in given:
        node.attr["_class"].list.s.append(f"loc:@{given['class']}".encode())


def describe(graph: graph_pb2.GraphDef, devices: bool = False) -> list[str]:
    """One line per node, as ``graph_def`` takes them, without attributes."""
    return [
        f"{node.name} = {node.op}({', '.join(node.input)})"
        + (f" @{node.device}" if devices and node.device else "")
        for node in graph.node
    ]


def lines(text: str) -> list[str]:
    """Returns the result of ``describe`` for the graph that ``text`` describes."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def device(task: str, kind: str = "CPU", index: int = 0) -> config_pb2.DeviceAttributes:
    return config_pb2.DeviceAttributes(
        name=f"{task}/device:{kind}:{index}", device_type=kind, incarnation=1
    )


class FakeWorker:
    """A task that computes a few ops with numpy.

    Stages that have a node in ``held`` do not end before ``release`` or ``cancel``; ``calls`` tells
    what the master asked for. ``threads``: stages run in threads of their own.
    """

    def __init__(self, task: str = W0, gpus: int = 0, threads: bool = False) -> None:
        self.task = task
        self.devices = [device(task), *(device(task, "GPU", i) for i in range(gpus))]
        self.calls: list[tuple[Any, ...]] = []
        self.held: set[str] = set()
        self.variables: dict[str, Any] = {}
        self.stages: dict[str, Stage] = {}
        self.dead: errors.OpError | None = None
        self._threads = threads
        self._waiting: dict[int, Callable[[], None]] = {}
        self._failing: dict[int, Callable[[StageResult], None]] = {}
        self.waiting = threading.Condition()

    def register(self, stage: Stage) -> None:
        self.calls.append(("register", stage.handle))
        self.stages[stage.handle] = stage

    def run(
        self,
        handle: str,
        step_id: int,
        inputs: Sequence[Any],
        done: Callable[[StageResult], None],
        *,
        trace: bool = False,
    ) -> None:
        stage = self.stages[handle]
        self.calls.append(("run", [n.name for n in stage.graph.node]))

        def compute() -> None:
            done(self._evaluate(stage, inputs, trace))

        if self.held & {node.name for node in stage.graph.node}:
            with self.waiting:
                self._waiting[step_id] = compute
                self._failing[step_id] = done
                self.waiting.notify_all()
        elif self._threads:
            threading.Thread(target=compute).start()
        else:
            compute()

    def wait_until_held(self, count: int = 1) -> None:
        with self.waiting:
            assert self.waiting.wait_for(lambda: len(self._waiting) >= count, timeout=30)

    def release(self) -> None:
        """Lets the held stages go on."""
        with self.waiting:
            pending = list(self._waiting.values())
            self._waiting.clear()
        for compute in pending:
            compute()

    def cancel(self, step_id: int) -> None:
        self.calls.append(("cancel",))
        with self.waiting:
            held = self._waiting.pop(step_id, None)
            self.waiting.notify_all()
        if held is not None:
            self._failing[step_id](StageResult(error=errors.cancelled("cancelled")))

    def end_step(self, step_id: int) -> None:
        self._note("end_step")

    def end_session(self, session: str, handles: Sequence[str]) -> None:
        self._note("end_session", session, sorted(handles))

    def _note(self, *call: Any) -> None:
        with self.waiting:
            self.calls.append(call)
            self.waiting.notify_all()

    def wait_for(self, name: str, count: int = 1) -> None:
        """Until the master has asked for ``name`` so often: "end_step" or "end_session"."""
        with self.waiting:
            assert self.waiting.wait_for(
                lambda: sum(call[0] == name for call in self.calls) >= count, timeout=30
            )

    def reset(self, containers: Sequence[str]) -> None:
        self.calls.append(("reset", list(containers)))
        self.variables.clear()

    def _evaluate(self, stage: Stage, inputs: Sequence[Any], trace: bool) -> StageResult:
        if self.dead is not None:
            return StageResult(error=self.dead)
        values = dict(zip(stage.inputs, inputs, strict=True))
        try:
            for node in stage.graph.node:
                read = [str(tensor) for tensor in data_inputs(node.input)]
                # A fed or shipped value comes before that of a node of the stage.
                result = self._compute(node, [values[name] for name in read])
                for i, value in enumerate(result):
                    values.setdefault(f"{node.name}:{i}", value)
        except errors.OpError as error:
            text = errors.with_node(error.message, node.name)
            return StageResult(error=errors.from_code(error.error_code, text))
        outputs = [
            values[name]
            if name in stage.ref_outputs or not isinstance(values[name], _Ref)
            else self._value(values[name])
            for name in stage.outputs
        ]
        stats = [config_pb2.DeviceStepStats(device=f"{self.task}/device:CPU:0")] if trace else []
        return StageResult(outputs, step_stats=stats)

    def _value(self, value: Any) -> Any:
        if isinstance(value, _Ref):
            if value.name not in self.variables:
                raise errors.failed_precondition(
                    f"Attempting to use uninitialized value {value.name}"
                )
            return self.variables[value.name]
        return value

    def _compute(self, node: graph_pb2.NodeDef, inputs: list[Any]) -> list[Any]:
        match node.op, inputs:
            case "Const", []:
                return [tensors.decode(node.attr["value"].tensor)]
            case "VariableV2", []:
                return [_Ref(node.name)]
            case "NoOp", []:
                return []
            case "Placeholder", []:
                raise errors.invalid_argument(
                    f"You must feed a value for placeholder tensor '{node.name}'"
                )
            case "Assign", [ref, value]:
                self.variables[ref.name] = self._value(value)
                return [ref]
            case "AssignAdd", [ref, value]:
                self.variables[ref.name] = self._value(ref) + self._value(value)
                return [ref]
            case _, _:
                arrays = [self._value(i) for i in inputs]
                return [np.asarray(_FUNCTIONS[node.op](*arrays))]


class _Ref:
    def __init__(self, name: str) -> None:
        self.name = name


def _check_numerics(x: Any) -> Any:
    if not np.isfinite(x).all():
        raise errors.invalid_argument("Tensor had NaN values")
    return x


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "AddV2": np.add,
    "Mul": np.multiply,
    "MatMul": np.matmul,
    "Neg": np.negative,
    "Identity": lambda x: x,
    "AddN": lambda *xs: sum(xs),
    "CheckNumerics": _check_numerics,
}
