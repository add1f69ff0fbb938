"""The worker runtime: runs the stages of one task over its devices and its state.

Plain Python, without Ray: the same runtime serves an in-process session, the Ray actor, unit tests
and a bare GPU machine.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.graph.deadness import DEAD
from flowray.proto.graph.device_names import DeviceSpec
from flowray.proto.graph.tensor_id import node_of
from flowray.proto.messages import config_pb2, tensor_pb2
from flowray.proto.wire.stage import Stage
from flowray.worker import kernels as _kernels  # noqa: F401 - registers them all
from flowray.worker.execution import tracing, xla
from flowray.worker.execution.host_segment import HostSegmentRunner, SegmentRunner
from flowray.worker.execution.interpreter import Cancellation, Interpreter
from flowray.worker.execution.tiering import STEPS, CompileMode
from flowray.worker.execution.xla_segment import XlaSegmentRunner
from flowray.worker.failures import as_op_error
from flowray.worker.memory import keep_freed_memory
from flowray.worker.program import loader as programs
from flowray.worker.program.executor import running
from flowray.worker.program.instruction import hold
from flowray.worker.program.program import Program
from flowray.worker.program.segment import XlaSegment
from flowray.worker.state.step_resources import StepResource
from flowray.worker.state.store import Resource, StateStore

logger = logging.getLogger("flowray.worker")

# The types that arrays of objects may contain when they leave; str comes from Python functions.
_PORTABLE = (bytes, str, tensor_pb2.ResourceHandleProto, tensor_pb2.VariantTensorDataProto)


@dataclass(frozen=True)
class RuntimeOptions:
    """The ways that a runtime executes segments.

    ``compile``: "background" interprets a segment's first runs and switches over once XLA has
    compiled it; "eager" compiles before the first run (for tests and measurements); "never"
    interprets.
    """

    compile: CompileMode = "background"
    gpus: int | None = None
    """The number of GPUs that the task owns; None takes all that JAX sees."""


@dataclass
class _LoadedStage:
    program: Program | None
    runners: Sequence[SegmentRunner] = ()
    """Of the program's segments, in their order."""
    xla_runners: Sequence[XlaSegmentRunner] = ()
    """Those of them that may compile."""
    select: bool = True
    hosted: frozenset[str] = frozenset()
    error: errors.OpError | None = None


class _Step(Cancellation):
    """The state that the stages of one step share on this task."""

    __slots__ = ("resources", "running")

    def __init__(self) -> None:
        super().__init__()
        self.running = 0
        """The number of its stages that run now."""
        self.resources: dict[str, StepResource] = {}
        """The resources that its stages leave for later stages, by name."""


class Runtime:
    """Runs stages. Thread-safe: stages of different steps may run at the same time.

    Args:
        task: the task's name, ``/job:J/replica:0/task:N``; the job's name is the default container.
        options: see ``RuntimeOptions``.
    """

    def __init__(self, task: str, options: RuntimeOptions | None = None) -> None:
        keep_freed_memory()
        self.task = task
        self.options = options or RuntimeOptions()
        self._tiering = replace(STEPS, mode=self.options.compile)
        job = DeviceSpec.from_string(task).job or "localhost"
        self.state = StateStore(default_container=job)
        self._stages: dict[str, _LoadedStage] = {}
        self._steps: dict[int, _Step] = {}
        self._lock = threading.Lock()
        self._incarnation = int.from_bytes(np.random.default_rng().bytes(8), "little")

    def devices(self) -> list[config_pb2.DeviceAttributes]:
        """Returns the task's devices: its CPU, and the GPUs that it owns."""
        names = ["CPU:0", *(f"GPU:{i}" for i in range(xla.gpu_count(self.options.gpus)))]
        return [
            config_pb2.DeviceAttributes(
                name=f"{self.task}/device:{name}",
                device_type=name.split(":")[0],
                memory_limit=xla.memory_limit(name),
                incarnation=(self._incarnation + i) % 2**64,
            )
            for i, name in enumerate(names)
        ]

    # Stages ---------------------------------------------------------------------------------

    def register(self, stage: Stage) -> None:
        """Loads ``stage``; never raises.

        If the stage has an error, ``run`` raises it, as in TensorFlow.
        """
        self._load(stage)

    def _load(
        self, stage: Stage, *, select: bool = True, hosted: frozenset[str] = frozenset()
    ) -> None:
        try:
            program = programs.load(stage, self.state, select=select, hosted=hosted)
        except Exception as failure:
            if not isinstance(failure, errors.OpError):
                logger.exception("%s: loading stage %s failed", self.task, stage.handle)
            error = as_op_error(failure, f"loading stage {stage.handle}")
            loaded = _LoadedStage(None, error=error)
        else:
            runners: list[SegmentRunner] = [
                XlaSegmentRunner(segment, program.base, self.state, self._tiering)
                if isinstance(segment, XlaSegment)
                else HostSegmentRunner(segment)
                for segment in program.segments
            ]
            xla_runners = [r for r in runners if isinstance(r, XlaSegmentRunner)]
            loaded = _LoadedStage(program, runners, xla_runners, select, hosted)
            logger.debug("%s: stage %s is loaded:\n%s", self.task, stage.handle, program)
        self._stages[stage.handle] = loaded

    def _load_otherwise(self, loaded: _LoadedStage) -> None:
        """Loads a stage again if that lets more of it be compiled."""
        runners = loaded.xla_runners
        assert loaded.program is not None
        if any(runner.needs_cuts for runner in runners) and loaded.select:
            self._load(loaded.program.stage, select=False, hosted=loaded.hosted)
            return
        refused = loaded.hosted.union(r.refused for r in runners if r.refused)
        if len(refused) > len(loaded.hosted):
            self._load(loaded.program.stage, select=loaded.select, hosted=refused)

    def end_session(self, session: str, handles: Sequence[str]) -> None:
        """Forgets a session's stages and its private state."""
        for handle in handles:
            self._stages.pop(handle, None)
        self.state.remove_scope(f"private:{session}")
        self.state.remove_scope(session)

    def reset(self, containers: Sequence[str]) -> None:
        """Clears resource containers; with none named, the task's default one."""
        self.state.reset(containers)

    # Steps ----------------------------------------------------------------------------------

    def cancel(self, step_id: int) -> None:
        """Ends the step's stages with CancelledError, at the next instruction or wait.

        Until ``end_step``, that is also true of stages that have not begun yet, because a call of
        ``run`` may arrive later.
        """
        with self._lock:
            step = self._steps.get(step_id)
            if step is None:
                step = self._steps[step_id] = _Step()
        step.cancel()

    def end_step(self, step_id: int) -> None:
        """Forgets a step: the resources that its stages left, and a cancellation."""
        self._steps.pop(step_id, None)

    def run(
        self, handle: str, step_id: int, inputs: Sequence[Any], *, trace: bool = False
    ) -> tuple[list[Any], list[config_pb2.DeviceStepStats]]:
        """Runs a registered stage.

        Args:
            handle: the handle of the stage.
            step_id: the step that it runs for; ``cancel`` takes the same.
            inputs: numpy arrays (or resource handles) in the order of ``Stage.inputs``. Nothing
                writes to them or keeps them.
            trace: whether to time every node (which then run one by one).

        Returns:
            The outputs in the order of ``Stage.outputs``: numpy arrays that the caller owns; and
            the statistics, if asked for.

        Raises:
            OpError: of the first node that failed, with the node's tag. Exceptions of every kind
                arrive as OpErrors; only those that end a program (KeyboardInterrupt) pass through.
        """
        loaded = self._stages.get(handle)
        if loaded is None:
            raise errors.aborted(
                f"Graph handle is not found: {handle}. Possibly, this worker just restarted."
            )
        if loaded.error is not None:
            raise loaded.error
        step = self._begin(step_id)
        try:
            return self._run_stage(loaded, step, inputs, trace)
        except errors.OpError:
            raise
        except Exception as failure:
            logger.exception("%s: stage %s failed", self.task, handle)
            raise as_op_error(failure, f"stage {handle}") from failure
        finally:
            self._end(step_id, step)

    def _run_stage(
        self, loaded: _LoadedStage, step: _Step, inputs: Sequence[Any], trace: bool
    ) -> tuple[list[Any], list[config_pb2.DeviceStepStats]]:
        if step.cancelled:
            step.check()
        program = loaded.program
        assert program is not None
        slots = program.slots()
        for slot, value in zip(program.inputs, inputs, strict=True):
            if type(value) is np.ndarray:
                # Kernels that keep a read-only view copy it.
                value = value.view()
                value.flags.writeable = False
            slots[slot] = value
        if any(program.input_is_handle):
            self._open_handles(program, slots, step)
        recorder = tracing.Recorder() if trace else None
        interpreter = Interpreter(step, recorder, self.options.compile)
        with np.errstate(all="ignore"), running(interpreter):
            for runner in loaded.runners:
                runner.run(interpreter, slots)
        if any(program.output_conditions):
            for slot, conditions in zip(program.outputs, program.output_conditions, strict=True):
                if not hold(conditions, slots):
                    slots[slot] = DEAD
        if any(runner.is_failed for runner in loaded.xla_runners):
            self._load_otherwise(loaded)
        outputs = self._outputs(program, slots, step)
        return outputs, recorder.stats() if recorder is not None else []

    def _outputs(self, program: Program, slots: Sequence[Any], step: _Step) -> list[Any]:
        outputs: list[Any] = []
        try:
            for slot, as_handle in zip(program.outputs, program.output_is_handle, strict=True):
                value = slots[slot]
                outputs.append(self._handle(value, step) if as_handle else _leave(value))
        except Exception as failure:
            name = program.stage.outputs[len(outputs)]
            raise as_op_error(failure, f"reading {name}", node_of(name)) from failure
        return outputs

    def _begin(self, step_id: int) -> _Step:
        with self._lock:
            step = self._steps.get(step_id)
            if step is None:
                step = self._steps[step_id] = _Step()
            step.running += 1
            return step

    def _end(self, step_id: int, step: _Step) -> None:
        with self._lock:
            step.running -= 1
            if step.running == 0 and not step.cancelled and not step.resources:
                self._steps.pop(step_id, None)  # nothing to remember until end_step

    # Resource handles -----------------------------------------------------------------------

    def _open_handles(self, program: Program, slots: list[Any], step: _Step) -> None:
        """Puts resources into the slots of inputs that came as handles."""
        names = program.stage.inputs
        for name, slot, is_handle in zip(
            names, program.inputs, program.input_is_handle, strict=True
        ):
            if is_handle:
                try:
                    slots[slot] = self._resource(slots[slot], step, program.stage.state_scope)
                except Exception as failure:
                    raise as_op_error(failure, f"opening {name}", node_of(name)) from failure

    def _resource(self, value: Any, step: _Step, scope: str) -> Resource:
        array = np.asarray(value, dtype=object)
        handle = array.item() if array.size == 1 else None
        if not isinstance(handle, tensor_pb2.ResourceHandleProto):
            raise errors.invalid_argument("Trying to access a handle that is not a resource")
        return step.resources.get(handle.name) or self.state.by_handle(handle, scope)

    def _handle(self, value: Any, step: _Step) -> Any:
        """Returns the resource handle of ``value``; a resource of the step is kept for the step."""
        if not isinstance(value, Resource):
            return _leave(value)
        if isinstance(value, StepResource):
            step.resources[value.name] = value
        handle = np.empty((), object)
        handle[()] = tensor_pb2.ResourceHandleProto(
            device=f"{self.task}/device:CPU:0",
            container=value.container,
            name=value.name,
            hash_code=id(value),
            maybe_type_name=type(value).__name__,
        )
        return handle


def _leave(value: Any) -> Any:
    """Returns a value for the caller: a numpy array that nobody else holds, or DEAD.

    Raises:
        UnimplementedError: it contains an object of this process, such as a dataset.
    """
    if value is DEAD:
        return value
    if isinstance(value, Resource):
        value = value.read()  # type: ignore[attr-defined]
    array = np.asarray(value)
    if array.dtype == object and array.size and not isinstance(array.flat[0], _PORTABLE):
        raise errors.unimplemented(
            f"A variant tensor that holds a {type(array.flat[0]).__name__} cannot leave its task, "
            "neither to be fetched nor to be used elsewhere: place what uses it on the same task"
        )
    return array if array.flags.writeable and array.flags.owndata else np.array(array)
