"""Compiles XLA segments, and runs their programs over the state store."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.graph.deadness import DEAD
from flowray.proto.graph.device_names import DeviceSpec
from flowray.worker.execution import blas, checks, xla
from flowray.worker.execution.checks import CheckCollector, RunAgainError, collecting
from flowray.worker.execution.structured import LazyState, NotCompilableError
from flowray.worker.failures import as_op_error
from flowray.worker.program.branch_selection import Selection
from flowray.worker.program.executor import running
from flowray.worker.program.instruction import Condition, Instruction, Slot
from flowray.worker.program.program import Program
from flowray.worker.program.segment import XlaSegment
from flowray.worker.state.store import Resource, StateStore, StoredVariable, Variable

logger = logging.getLogger("flowray.worker")

Key = tuple[Any, ...]

# A constant up to this size is a literal of the XLA program; a larger one is an argument, so that
# it lies in memory once and does not slow the compiler down.
_MAX_LITERAL_BYTES = 1 << 14

# An interpreted run that takes as long may be put off until its program is there, but all waits of
# a segment may not have cost more than so much.
_LONG_RUN_SECONDS = 20e-3
_PATIENCE_SECONDS = 1.0


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


class XlaSegmentRunner:
    """Runs an XlaSegment: the XLA programs compiled for it so far, by shapes and static values."""

    def __init__(self, segment: XlaSegment, base: Sequence[Any], store: StateStore) -> None:
        self._segment = segment
        self._store = store
        self._programs: dict[Key, Compiled | None] = {}
        self._pending: dict[Key, Future[None]] = {}
        """What is being compiled."""
        self._patience = _PATIENCE_SECONDS
        """What waits may still cost, in seconds."""
        self._lock = threading.Lock()
        self._device = segment.device
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
        self.masked = segment.selects
        self.needs_cuts = False
        """Whether the stage should be cut at its conditions for this to be compiled."""
        self.refused = ""
        """The node, if one is to blame, without which the rest of the segment could be compiled."""
        self.runs = 0
        self.interpreted_seconds = math.inf
        """The quickest interpreted run."""
        self.compilable = all(isinstance(v, StoredVariable) for v in self._variables)

    def key(self, slots: Sequence[Any]) -> Key:
        """What a compiled program depends on: shapes, dtypes, static values, initialization."""
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

    def has_dead_input(self, slots: Sequence[Any]) -> bool:
        """Returns whether an input is DEAD: a branch that was not taken was interpreted."""
        return any(slots[s] is DEAD for s in (*self._dynamic, *self._static))

    def forget(self, key: Key) -> None:
        """Drops the program for ``key``, so that it gets compiled anew."""
        with self._lock:
            self._programs.pop(key, None)

    def program(self, key: Key) -> Compiled | None:
        """The program for ``key`` if it is compiled."""
        return self._programs.get(key)

    def compile_in_background(self, key: Key, slots: Sequence[Any], executor: Executor) -> None:
        """Starts compiling for ``key`` unless that has begun; a failure is logged, once."""
        with self._lock:
            if key in self._programs or not self.compilable:
                return
            self._programs[key] = None
        pending = executor.submit(self._compile_quietly, key, self._avals(slots))
        self._pending[key] = pending
        pending.add_done_callback(lambda _: self._pending.pop(key, None))

    def await_program(self, key: Key) -> Compiled | None:
        """The program for ``key``; waits if it is being compiled and a run without it is long.

        Interpreting would take the time from the compiler, which may not need more than that. None
        if there is no program yet, or if waits have cost this segment enough.
        """
        pending = self._pending.get(key)
        if pending is None or self.interpreted_seconds < _LONG_RUN_SECONDS or self._patience <= 0:
            return self._programs.get(key)
        begin = time.monotonic()
        wait([pending], self._patience)
        lost = time.monotonic() - begin
        program = self._programs.get(key)
        if program is not None:
            lost = max(lost - self.interpreted_seconds, 0.0)
        self._patience -= lost
        return program

    def compile_now(self, key: Key, slots: Sequence[Any]) -> Compiled | None:
        """Compiles for ``key`` in the calling thread; None if the segment cannot be compiled."""
        if self._programs.get(key) is None and self.compilable:
            self._compile_quietly(key, self._avals(slots))
        return self._programs.get(key)

    def _avals(self, slots: Sequence[Any]) -> tuple[list[Any], list[Any], dict[Slot, Any]]:
        """Shapes and dtypes of dynamic inputs and variables, and the static values."""
        dynamic = [_aval(slots[s]) for s in self._dynamic]
        variables = [None if v._value is None else _aval(v._value) for v in self._variables]
        return dynamic, variables, {s: np.asarray(slots[s]) for s in self._static}

    def _compile_quietly(
        self, key: Key, avals: tuple[list[Any], list[Any], dict[Slot, Any]]
    ) -> None:
        start = time.monotonic()
        nodes = [i.node for i in self._segment.instructions]
        what = f"{len(nodes)} nodes, {nodes[0]} .. {nodes[-1]}"
        try:
            with blas.limit().one_thread():  # XLA's compiler needs the cores
                self._programs[key] = self._compile(*avals)
        except (NotCompilableError, errors.OpError) as error:
            self.compilable = False
            self.needs_cuts = self.masked
            if isinstance(error, NotCompilableError):
                self.refused = error.node
            logger.info("stays interpreted: %s: %s", what, error)
        except Exception:
            # Whatever XLA finds wrong, the interpreter still computes the segment.
            self.compilable = False
            logger.warning("could not compile %s; it stays interpreted", what, exc_info=True)
        else:
            logger.info("compiled %s in %.2f s", what, time.monotonic() - start)

    def _compile(self, dynamic: list[Any], stored: list[Any], static: dict[Slot, Any]) -> Compiled:
        jax = xla.jax()
        size = len(stored)
        trace = _Trace(self._segment, self._variables, self._literals, self._resources)
        large = [_aval(v) for v in self._large_values]
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

    def execute(self, program: Compiled, slots: list[Any]) -> None:
        """Runs a compiled program: inputs from ``slots``, outputs into them, variables in place.

        Raises:
            OpError: a check of the program failed, or XLA did. In the latter case the variables
                that the program would have updated may have lost their values.
        """
        inputs = [slots[s] for s in self._dynamic]
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
        """As ``Executor.slots``, for a function that is called while this traces."""
        return [
            self.proxies[id(value)] if isinstance(value, Resource) else value
            for value in program.base
        ]

    def run_program(self, program: Program, slots: Any) -> None:
        """As ``Executor.run_program``: on tracers, or on numpy where all values are known."""
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
        """What is done here counts only if ``mask`` is true: new values of variables, checks."""
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
    """Whether the conditions hold: a traced bool, None if they do, or DEAD if they do not."""
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
    """The output and the index of a Merge, both of whose inputs a trace has computed."""
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
    """The shapes of an array, or of a tree of them; None for no value."""
    return None if value is None else xla.jax().tree.map(lambda leaf: leaf.shape, value)


def _is_static(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic)


def _is_static_or_list(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_static, value))
    return _is_static(value)


def _static_inputs(segment: XlaSegment) -> set[Slot]:
    """The segment's inputs whose values XLA must know: static inputs, and what computes them."""
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
    """ "CPU" or "GPU"; a node without a device runs on the CPU."""
    return DeviceSpec.from_string(device).device_type or "CPU" if device else "CPU"


def _aval(value: Any) -> Any:
    return xla.jax().ShapeDtypeStruct(value.shape, value.dtype)


_compiler_lock = threading.Lock()
_compiler_pool: Executor | None = None


def compiler() -> Executor:
    """One background thread compiles for the whole process: XLA itself uses several."""
    global _compiler_pool
    with _compiler_lock:
        if _compiler_pool is None:
            _compiler_pool = ThreadPoolExecutor(1, thread_name_prefix="flowray-compile")
        return _compiler_pool
