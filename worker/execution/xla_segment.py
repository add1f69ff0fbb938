"""Runs XLA segments: interpreted, or as XLA programs over the state store (``tiering.py``)."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from flowray.proto import errors
from flowray.proto.graph.deadness import DEAD
from flowray.proto.graph.device_names import DeviceSpec
from flowray.worker.execution import blas, checks, xla
from flowray.worker.execution.checks import CheckCollector, RunAgainError, collecting
from flowray.worker.execution.host_segment import interpret, is_dead
from flowray.worker.execution.interpreter import Interpreter
from flowray.worker.execution.native_threads import BackgroundExecutor
from flowray.worker.execution.staging import StagingBuffers
from flowray.worker.execution.structured import LazyState, NotCompilableError
from flowray.worker.execution.tiering import (
    Compile,
    Interpret,
    Run,
    SegmentHistory,
    Tier,
    Tiering,
    TieringOptions,
    Wait,
)
from flowray.worker.failures import as_op_error
from flowray.worker.program.branch_selection import Selection
from flowray.worker.program.executor import running
from flowray.worker.program.instruction import Condition, Instruction, Slot
from flowray.worker.program.program import Program
from flowray.worker.program.segment import XlaSegment
from flowray.worker.state.store import Resource, StateStore, StoredVariable, Variable

logger = logging.getLogger("flowray.worker")

Key = tuple[Any, ...]
_Avals = tuple[list["_Aval"], list["_Aval | None"], dict[Slot, Any]]

# A constant up to this size is a literal of the XLA program; a larger one is an argument, so that
# it lies in memory once and does not slow the compiler down.
_MAX_LITERAL_BYTES = 1 << 14

_SLOW_COMPILATION_SECONDS: Final = 2.0
"""A compilation that takes longer is logged, since steps take longer meanwhile."""


class SelectionError(NotCompilableError):
    """The branches of a condition cannot be computed both, as their results do not go together."""


@dataclass(slots=True)
class Compiled:
    """One XLA program: a segment compiled for one combination of shapes and static values."""

    run: Callable[..., Any]
    written: list[StoredVariable]
    static_outputs: dict[Slot, Any]
    traced_outputs: list[Slot]
    checks: list[tuple[str, Any]]
    """The node and the error function of each check on values."""


@dataclass(slots=True)
class _Version:
    """The segment for one key: its program, if it has one, and the policy that decides on it."""

    tiering: Tiering
    program: Compiled | None = None
    is_finished: threading.Event = field(default_factory=threading.Event)
    """Set when the compilation that is under way has ended."""


class XlaSegmentRunner:
    """Runs an XlaSegment, by the interpreter or by the program compiled for its inputs' key.

    Args:
        segment: the plan.
        base: the slots of its program before a run.
        store: the state that the segment reads and writes.
        options: of the policy that decides between the two.
    """

    def __init__(
        self,
        segment: XlaSegment,
        base: Sequence[Any],
        store: StateStore,
        options: TieringOptions,
    ) -> None:
        self._segment = segment
        self._store = store
        self.history = SegmentHistory(options)
        self._versions: dict[Key, _Version] = {}
        self._lock = threading.Lock()
        """Guards the versions, the history and the policies."""
        self._device = segment.device
        self._staging = StagingBuffers() if _device_type(segment.device) == "CPU" else None
        static = _static_inputs(segment)
        self._literals = {
            s: base[s]
            for s in segment.inputs
            if isinstance(base[s], np.ndarray)
            and (s in static or base[s].nbytes <= _MAX_LITERAL_BYTES)
        }
        made = {s for i in segment.instructions for s in i.outputs}
        self._resources = {
            s: base[s] for s in {*segment.inputs, *made} if isinstance(base[s], Resource)
        }
        self._large = [
            s for s in segment.inputs if isinstance(base[s], np.ndarray) and s not in self._literals
        ]
        known = {*self._literals, *self._resources, *self._large}
        self._static = [s for s in segment.inputs if s not in known and s in static]
        self._dynamic = [s for s in segment.inputs if s not in known and s not in static]
        self._large_values: list[Any] = [base[s] for s in self._large]
        variables = {id(v): v for v in self._resources.values()}
        for instruction in segment.instructions:
            variables.update((id(r), r) for r in instruction.own_resources())
        self._variables = list(variables.values())
        self._is_masked = segment.selects
        self.needs_cuts = False
        """Whether the stage should be cut at its conditions for this to be compiled."""
        self.refused = ""
        """The node, if one is to blame, without which the rest of the segment could be compiled."""
        if not all(isinstance(v, StoredVariable) for v in self._variables):
            self.history.failed()

    def __str__(self) -> str:
        nodes = [i.node for i in self._segment.instructions]
        return f"segment {nodes[0]} .. {nodes[-1]} ({len(nodes)} nodes)"

    def run(self, interpreter: Interpreter, slots: list[Any]) -> None:
        """Runs the segment (``SegmentRunner.run``). Runs whose nodes are timed are interpreted."""
        interpreter.cancellation.check()
        if is_dead(self._segment, slots):
            return
        history = self.history
        if history.is_settled:
            interpret(self._segment, interpreter, slots)
            return
        version: _Version | None = None
        if not (
            history.stays_interpreted
            or interpreter.recorder is not None
            or (self._is_masked and self._has_dead_input(slots))
        ):
            version = self._version(self._key(slots))
            if version is not None and self._run_program(version, slots):
                return
        begin = time.perf_counter()
        interpret(self._segment, interpreter, slots)
        self._note_interpreted(version, time.perf_counter() - begin)

    @property
    def is_failed(self) -> bool:
        """Tells whether XLA cannot compile the segment (see ``needs_cuts`` and ``refused``)."""
        return self.history.is_failed

    def _key(self, slots: Sequence[Any]) -> Key:
        """Returns what a program depends on: shapes, dtypes, static values, initialization."""
        dynamic: list[Any] = []
        for s in self._dynamic:
            value = slots[s]
            dynamic.append((value.shape, value.dtype))
        for variable in self._variables:
            value = variable._value
            dynamic.append(None if value is None else (value.shape, value.dtype))
        for s in self._static:
            value = np.asarray(slots[s])
            dynamic.append((value.shape, value.dtype, value.tobytes()))
        return tuple(dynamic)

    def _has_dead_input(self, slots: Sequence[Any]) -> bool:
        """Returns whether an input is DEAD: a branch that was not taken was interpreted."""
        return any(slots[s] is DEAD for s in (*self._dynamic, *self._static))

    def _version(self, key: Key) -> _Version | None:
        """Returns the version for ``key``; None if the segment has too many of them."""
        version = self._versions.get(key)
        if version is None:
            with self._lock:
                version = self._versions.get(key)
                if version is None and (tiering := self.history.add_key()) is not None:
                    version = self._versions[key] = _Version(tiering)
        return version

    def _run_program(self, version: _Version, slots: list[Any]) -> bool:
        """Runs the version's program if the policy says so; returns whether it ran to its end."""
        is_settled = version.tiering.is_settled
        program = version.program if is_settled else self._program(version, slots)
        if program is None:
            return False
        begin = time.perf_counter()
        try:
            self._execute(program, slots)
        except RunAgainError:
            self._discard(version, program)
            return False
        if not is_settled:
            seconds = time.perf_counter() - begin
            with self._lock:
                version.tiering.ran(Tier.COMPILED, seconds)
                self._drop_slower_program(version)
        return True

    def _note_interpreted(self, version: _Version | None, seconds: float) -> None:
        with self._lock:
            if version is None:
                self.history.ran(seconds)
            else:
                version.tiering.ran(Tier.INTERPRETED, seconds)
                self._drop_slower_program(version)

    def _drop_slower_program(self, version: _Version) -> None:
        """Frees a program that the policy has found to be no faster than the interpreter."""
        if version.program is not None and not version.tiering.has_program:
            version.program = None
            logger.debug("%s: %s", self, version.tiering.describe())

    def _discard(self, version: _Version, program: Compiled | None) -> None:
        with self._lock:
            if version.program is program:
                version.program = None
                version.tiering.discarded()

    def _program(self, version: _Version, slots: Sequence[Any]) -> Compiled | None:
        """Asks the policy, compiles or waits if it says so; returns the program if it is to run."""
        tiering = version.tiering
        while True:
            with self._lock:
                decision = tiering.decide()
                program = version.program
                if isinstance(decision, Compile):
                    version.is_finished.clear()
                    tiering.compiling()
            match decision:
                case Run():
                    return program
                case Interpret():
                    return None
                case Compile(in_background):
                    self._begin_compiling(version, slots, in_background)
                case Wait(seconds):
                    # Interpreting would take the time from the compiler, which may not need more.
                    begin = time.perf_counter()
                    version.is_finished.wait(None if seconds == math.inf else seconds)
                    with self._lock:
                        tiering.waited(time.perf_counter() - begin)

    def _begin_compiling(
        self, version: _Version, slots: Sequence[Any], in_background: bool
    ) -> None:
        try:
            avals = self._avals(slots)
            if in_background:
                compiler().submit(self._compile_version, version, avals)
            else:
                self._compile_version(version, avals)
        except BaseException:
            self._discard(version, None)
            version.is_finished.set()
            raise

    def _avals(self, slots: Sequence[Any]) -> _Avals:
        """Returns shapes and dtypes of dynamic inputs and variables, and the static values."""
        dynamic = [_aval(slots[s]) for s in self._dynamic]
        variables = [None if v._value is None else _aval(v._value) for v in self._variables]
        return dynamic, variables, {s: np.asarray(slots[s]) for s in self._static}

    def _compile_version(self, version: _Version, avals: _Avals) -> None:
        """Compiles the version's program and tells the policy. A failure is logged, once."""
        program = None
        begin = time.perf_counter()
        try:
            with blas.limit().one_thread():  # XLA's compiler needs the cores
                program = self._compile(*avals)
        except (NotCompilableError, errors.OpError) as error:
            self.needs_cuts = self._is_masked
            if isinstance(error, NotCompilableError):
                self.refused = error.node
            logger.info("%s stays interpreted: %s", self, error)
        except Exception:
            # Whatever XLA finds wrong, the interpreter still computes the segment.
            logger.warning("could not compile %s; it stays interpreted", self, exc_info=True)
        seconds = time.perf_counter() - begin
        with self._lock:
            if program is None:
                version.tiering.failed()
            else:
                version.program = program
                version.tiering.compiled(seconds)
        version.is_finished.set()
        if program is not None:
            level = logging.INFO if seconds > _SLOW_COMPILATION_SECONDS else logging.DEBUG
            is_eager = self.history.options.mode == "eager"
            meanwhile = "" if is_eager else "; steps were interpreted meanwhile, and took longer"
            logger.log(level, "compiled %s in %.1f s%s", self, seconds, meanwhile)

    def _compile(
        self,
        dynamic_avals: Sequence[_Aval],
        variable_avals: Sequence[_Aval | None],
        static: dict[Slot, Any],
    ) -> Compiled:
        jax = xla.jax()
        dynamic = [aval.struct() for aval in dynamic_avals]
        stored = [None if aval is None else aval.struct() for aval in variable_avals]
        size = len(stored)
        trace = _Trace(self._segment, self._variables, self._literals, self._resources)
        large = [_aval(v).struct() for v in self._large_values]
        written: list[int] = []

        def run(
            kept: list[Any], donated: list[Any], inputs: list[Any], constants: list[Any]
        ) -> Any:
            values: list[Any] = [None] * size
            for position, value in zip(read_only, kept, strict=True):
                values[position] = value
            for position, value in zip(donatable, donated, strict=True):
                values[position] = value
            slots: dict[Slot, Any] = dict(static)
            slots.update(zip(self._dynamic, inputs, strict=True))
            slots.update(zip(self._large, constants, strict=True))
            result = trace.trace(slots, values)
            written[:] = trace.written
            return result

        # A first, abstract trace finds out which variables are written and so can be donated.
        read_only, donatable = list(range(size)), []
        jax.eval_shape(run, stored, [], dynamic, large)
        donatable = [i for i in written if stored[i] is not None]
        read_only = [i for i in range(size) if i not in donatable]
        device = xla.device(_device_type(self._device))
        with jax.default_device(device):
            compiled = (
                jax.jit(run, donate_argnums=(1,), keep_unused=True)
                .lower(
                    [stored[i] for i in read_only], [stored[i] for i in donatable], dynamic, large
                )
                .compile(compiler_options=xla.compiler_options())
            )
        if self._large_values and isinstance(self._large_values[0], np.ndarray):
            self._large_values = [jax.device_put(v, device) for v in self._large_values]
        variables = self._variables
        kept_variables = [variables[i] for i in read_only]
        donated_variables = [variables[i] for i in donatable]

        def call(inputs: list[Any]) -> Any:
            return compiled(
                [v._value for v in kept_variables],
                [v._value for v in donated_variables],
                inputs,
                self._large_values,
            )

        return Compiled(
            call,
            [variables[i] for i in written],
            trace.static_outputs,
            trace.traced_outputs,
            [(node, make_error) for node, _, make_error, _ in trace.checks],
        )

    def _execute(self, program: Compiled, slots: list[Any]) -> None:
        """Runs a compiled program: inputs from ``slots``, outputs into them, variables in place.

        Raises:
            OpError: a check of the program failed, or XLA did. In the latter case the variables
                that the program would have updated may have lost their values.
        """
        inputs = [slots[s] for s in self._dynamic]
        staged = [] if self._staging is None else self._staging.stage(inputs)
        if self._variables:
            # Under the lock nobody reads a buffer that the program takes over.
            with self._store.lock:
                try:
                    outputs, updates, flags = program.run(inputs)
                    _wait_for(outputs or updates)
                except Exception as failure:
                    raise self._failure(failure) from failure
                for variable, value in zip(program.written, updates, strict=True):
                    variable.set_device_value(value)
        else:
            try:
                outputs, updates, flags = program.run(inputs)
                _wait_for(outputs)
            except Exception as failure:
                raise self._failure(failure) from failure
        if self._staging is not None and staged:
            self._staging.release(staged)
        for slot, value in zip(program.traced_outputs, outputs, strict=True):
            slots[slot] = value
        for slot, value in program.static_outputs.items():
            slots[slot] = value
        if program.checks:
            self._raise_failed(program, flags)

    def _failure(self, failure: Exception) -> errors.OpError:
        """Returns the error of a program that XLA could not run; drops the values that it lost.

        The error names the segment's last node.
        """
        lost = [v.name for v in self._variables if v.drop_lost_value()]
        nodes = [i.node for i in self._segment.instructions]
        what = f"XLA program of {len(nodes)} nodes, {nodes[0]} .. {nodes[-1]}"
        if lost:
            what += f" (which loses the values of the variables {', '.join(lost)})"
        logger.error("the %s failed: %s", what, failure)
        return as_op_error(failure, what, nodes[-1])

    def _raise_failed(self, program: Compiled, flags: Any) -> None:
        all_ok, details = flags
        if np.asarray(all_ok):
            return
        failed = [
            (node, make_error(*map(np.asarray, values)))
            for (node, make_error), (ok, values) in zip(program.checks, details, strict=True)
            if not np.asarray(ok)
        ]
        for _, error in failed:
            if isinstance(error, RunAgainError):  # what came after it is no longer true
                raise error
        node, error = failed[0]
        raise errors.at_node(error, node)


def _wait_for(results: Sequence[Any]) -> None:
    """Waits for a program's results; they are there all at once.

    A program reads numpy feeds in place, and the caller may change them when the step is over. XLA
    on CPUs mostly computes before it returns (``xla.jax`` asks for that), but not always.
    """
    if results:
        results[0].block_until_ready()


class _Trace:
    """Runs the segment's kernels on tracers; what jax.jit sees as the segment's function."""

    def __init__(
        self,
        segment: XlaSegment,
        variables: Sequence[Variable],
        literals: dict[Slot, Any],
        resources: dict[Slot, Variable],
    ) -> None:
        self._segment = segment
        self._variables = variables
        self._literals = literals
        self._resources = resources
        self.written: list[int] = []
        self.static_outputs: dict[Slot, Any] = {}
        self.traced_outputs: list[Slot] = []
        self.checks: list[Any] = []
        self.proxies: dict[int, Any] = {}

    def trace(self, slots: dict[Slot, Any], stored: list[Any]) -> Any:
        """Runs the whole segment; gives its outputs, the variables' new values and the checks."""
        jnp = xla.numpy()
        proxies = self.proxies = {
            id(v): Variable(v.name, v.dtype, value, v.shape, v.container)
            for v, value in zip(self._variables, stored, strict=True)
        }
        values: dict[Slot, Any] = dict(self._literals)
        values.update(slots)
        values.update((slot, proxies[id(v)]) for slot, v in self._resources.items())
        with collecting(CheckCollector()) as collector, running(self):
            self._run(self._segment.instructions, self._segment.selection, values)
        self.written = [
            i for i, v in enumerate(self._variables) if proxies[id(v)]._value is not stored[i]
        ]
        updates = [proxies[id(self._variables[i])]._value for i in self.written]
        self.checks = collector.checks
        flags: Any = None
        if self.checks:
            all_ok = self.checks[0][1]
            for check in self.checks[1:]:
                all_ok = jnp.logical_and(all_ok, check[1])
            flags = (all_ok, [(ok, list(values_)) for _, ok, _, values_ in self.checks])
            # A failed check must leave no trace in the variables.
            updates = [
                new
                if stored[i] is None or stored[i].shape != new.shape
                else jnp.where(all_ok, new, stored[i])
                for i, new in zip(self.written, updates, strict=True)
            ]
        self.static_outputs, self.traced_outputs, outputs = {}, [], []
        for slot in self._segment.outputs:
            value = values[slot]
            if value is DEAD:
                self.static_outputs[slot] = value
            elif isinstance(value, np.ndarray | np.generic):
                self.static_outputs[slot] = np.asarray(value)
            elif isinstance(value, Resource):
                self.static_outputs[slot] = next(
                    v for v in self._variables if proxies[id(v)] is value
                )
            else:
                self.traced_outputs.append(slot)
                outputs.append(value)
        return outputs, [jnp.asarray(u) for u in updates], flags

    def slots(self, program: Program) -> list[Any]:
        """Returns the slots of a function that is called while this traces."""
        return [
            self.proxies[id(value)] if isinstance(value, Resource) else value
            for value in program.base
        ]

    def run_program(self, program: Program, slots: Any) -> None:
        """Runs all instructions on tracers, or on numpy if all values are known."""
        self._run(program.instructions, program.selection, slots)

    def _run(self, instructions: Sequence[Instruction], selection: Selection, slots: Any) -> None:
        for instruction in instructions:
            checks.current().node = instruction.node
            try:
                self._run_one(instruction, selection, slots)
            except NotCompilableError as error:
                error.node = instruction.node  # the outermost one, in the end
                raise

    def _run_one(self, instruction: Instruction, selection: Selection, slots: Any) -> None:
        masks = selection.masks.get(instruction.node)
        mask = _mask(masks, slots) if masks is not None else None
        if mask is DEAD:
            for slot in instruction.outputs:
                slots[slot] = DEAD
        elif mask is None:
            self._step(instruction, selection, slots)
        else:
            with self._effects_under(mask):
                self._step(instruction, selection, slots)

    @contextmanager
    def _effects_under(self, mask: Any) -> Iterator[None]:
        """Masks effects in the scope, new values of variables and checks, by ``mask``."""
        jax, jnp, collector = xla.jax(), xla.numpy(), checks.current()
        before = {key: variable._value for key, variable in self.proxies.items()}
        count = len(collector.checks)
        yield
        for key, variable in self.proxies.items():
            old, new = before.get(key), variable._value
            if new is old or (key not in before and variable.belongs_to is None):
                continue
            if old is None and isinstance(variable, LazyState):
                old = jax.tree.map(jnp.zeros_like, new)
            if _shapes(old) != _shapes(new):
                raise SelectionError(f"a branch initializes variable {variable.name}")
            variable.assign(jax.tree.map(lambda a, b: jnp.where(mask, a, b), new, old))
        collector.checks[count:] = [
            (node, jnp.logical_or(jnp.logical_not(mask), ok), *rest)
            for node, ok, *rest in collector.checks[count:]
        ]

    def _step(self, instruction: Instruction, selection: Selection, values: Any) -> None:
        choice = selection.choices.get(instruction.node)
        if choice is not None:
            instruction.store(_selected(instruction, choice, values), values)
            return
        arguments = instruction.arguments(values)
        for position in instruction.op.static_inputs:
            if not _is_static(arguments[position]):
                raise NotCompilableError(
                    f"input {position} of {instruction.op.name} '{instruction.node}' is not known "
                    "when the segment is compiled"
                )
        if instruction.op.dynamic_shape and not all(map(_is_static_or_list, arguments)):
            raise NotCompilableError(
                f"the output shape of {instruction.op.name} '{instruction.node}' depends on data"
            )
        attrs = instruction.attrs
        if instruction.state is not None:
            attrs = {**attrs, "state": self.proxies[id(instruction.state)]}
        traced = instruction.state is not None or not all(map(_is_static_or_list, arguments))
        namespace = xla.numpy() if traced or instruction.op.stateful else np
        try:
            result = instruction.function(namespace, *arguments, **attrs)
        except errors.OpError as error:
            raise errors.at_node(error, instruction.node) from None
        instruction.store(result, values)


def _mask(conditions: Sequence[Condition], values: Any) -> Any:
    """Returns whether the conditions hold: a traced bool, None if they do, or DEAD if not."""
    jnp, mask = xla.numpy(), None
    for slot, wanted in conditions:
        predicate = values[slot]
        if predicate is DEAD:
            return DEAD
        if _is_static(predicate):
            if bool(predicate) is not wanted:
                return DEAD
            continue
        holds = predicate if wanted else jnp.logical_not(predicate)
        mask = holds if mask is None else jnp.logical_and(mask, holds)
    return mask


def _selected(merge: Instruction, choice: Condition, values: Any) -> tuple[Any, Any]:
    """Returns output and index of a Merge, both of whose inputs a trace has computed."""
    slot, wanted = choice
    (inputs,) = merge.args
    assert isinstance(inputs, tuple)
    first, second = (merge.value(values, s) for s in inputs)
    predicate = values[slot]
    if _is_static(predicate):
        index = 0 if bool(predicate) is wanted else 1
        return (first, second)[index], np.int32(index)
    if isinstance(first, Resource) and first is second:
        return first, xla.numpy().where(predicate == wanted, 0, 1).astype(np.int32)
    if first is DEAD or second is DEAD or isinstance(first, Resource):
        raise SelectionError(f"Merge '{merge.node}' has nothing to select from")
    if first.shape != second.shape:
        raise SelectionError(
            f"the branches that Merge '{merge.node}' joins give shapes {first.shape} and "
            f"{second.shape}"
        )
    jnp = xla.numpy()
    takes_first = predicate if wanted else jnp.logical_not(predicate)
    return jnp.where(takes_first, first, second), jnp.where(takes_first, 0, 1).astype(np.int32)


def _shapes(value: Any) -> Any:
    """Returns the shapes of an array, or of a pytree of them; None for no value."""
    return None if value is None else xla.jax().tree.map(lambda leaf: leaf.shape, value)


def _is_static(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic)


def _is_static_or_list(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_static, value))
    return _is_static(value)


def _static_inputs(segment: XlaSegment) -> set[Slot]:
    """Returns the inputs whose values XLA must know: static ones and their sources."""
    wanted: set[Slot] = set()
    for instruction in reversed(segment.instructions):
        if any(slot in wanted for slot in instruction.outputs):  # noqa: SIM102
            if not instruction.op.shape_only:
                wanted.update(instruction.input_slots())
        for position in instruction.op.static_inputs:
            arg = instruction.args[position]
            wanted.update(arg if isinstance(arg, tuple) else (arg,))
    return wanted & set(segment.inputs)


def _device_type(device: str) -> str:
    """Returns "CPU" or "GPU"; a node without a device runs on the CPU."""
    return DeviceSpec.from_string(device).device_type or "CPU" if device else "CPU"


@dataclass(frozen=True, slots=True)
class _Aval:
    """The shape and dtype of an array: JAX's ShapeDtypeStruct, for threads that must not wait for
    the import of JAX."""

    shape: tuple[int, ...]
    dtype: Any

    def struct(self) -> Any:
        return xla.jax().ShapeDtypeStruct(self.shape, self.dtype)


def _aval(value: Any) -> _Aval:
    return _Aval(value.shape, value.dtype)


_compiler_lock = threading.Lock()
_compiler_pool: Executor | None = None


def compiler() -> Executor:
    """Returns the one background thread that compiles for the process; XLA itself uses several."""
    global _compiler_pool
    with _compiler_lock:
        if _compiler_pool is None:
            _compiler_pool = BackgroundExecutor("flowray-compile")
        return _compiler_pool
