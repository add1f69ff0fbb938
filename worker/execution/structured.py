"""Conditions and loops over functions, inside an XLA program.

Effects of a function (assignments to variables, checks of values) change the current trace, which
``lax.switch`` and ``lax.while_loop`` do not see. So this module makes variables and checks
arguments and results of the functions that it passes to them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flowray.worker.execution import checks, xla
from flowray.worker.execution.checks import CheckCollector, ErrorFunction, collecting
from flowray.worker.program.executor import current
from flowray.worker.program.function import Function
from flowray.worker.state.store import Resource, Variable


class NotCompilableError(Exception):
    """Raised while tracing what XLA cannot compile; the segment stays interpreted."""

    node = ""
    """The node of the segment that it was raised in; ``_Trace.run`` sets it."""


class LazyState:
    """A variable of a trace that has no value before the first write.

    Where a loop or condition needs a value before, zeros of the shape that is written serve.
    """

    belongs_to: Any = None
    """The resource whose life it shares; None: it lives as long as the function that made it."""


@dataclass(slots=True)
class _Outcome:
    """The results and effects of a call of a function."""

    outputs: list[Any]
    written: dict[int, Any]
    """The new values of variables, by the number of their proxy: arrays, or trees of them."""
    checks: list[tuple[str, Any, ErrorFunction, tuple[Any, ...]]]


def _proxies() -> list[Variable]:
    """Returns the variables of the current trace."""
    trace: Any = current()
    return list(trace.proxies.values())


def _call(function: Function, arguments: Sequence[Any]) -> _Outcome:
    """Calls ``function`` and undoes its effects on the trace."""
    trace: Any = current()
    jnp, outer = xla.numpy(), {key: variable._value for key, variable in trace.proxies.items()}
    try:
        with collecting(CheckCollector()) as collector:
            outputs = function(*arguments)
        if any(isinstance(output, Resource) for output in outputs):
            raise NotCompilableError(f"function {function.name} returns a resource")
        _leave(trace.proxies, outer)
        written = {
            i: variable._value
            for i, (key, variable) in enumerate(trace.proxies.items())
            if variable._value is not outer.get(key)
        }
        for i, variable in enumerate(_proxies()):
            is_new = i in written and outer.get(id(variable)) is None
            if is_new and not isinstance(variable, LazyState):
                raise NotCompilableError(f"function {function.name} initializes a variable")
    finally:
        _leave(trace.proxies, outer)
        for key, variable in trace.proxies.items():
            variable._value = outer.get(key)
    return _Outcome([jnp.asarray(o) for o in outputs], written, collector.checks)


def _leave(proxies: dict[int, Any], outer: Container[int]) -> None:
    """Drops the resources that a function made for itself."""
    for key, variable in list(proxies.items()):
        if key not in outer and id(getattr(variable, "belongs_to", None)) not in proxies:
            del proxies[key]


def _outline(function: Function, arguments: Sequence[Any]) -> _Outcome:
    """Calls ``function`` abstractly: the outcome has shapes and dtypes in place of values."""
    kept: list[_Outcome] = []

    def run() -> Any:
        outcome = _call(function, arguments)
        kept.append(outcome)
        return outcome.outputs, outcome.written, [(ok, list(v)) for _, ok, _, v in outcome.checks]

    outputs, written, flags = xla.jax().eval_shape(run)
    found = [
        (node, ok, make_error, tuple(values))
        for (node, _, make_error, _), (ok, values) in zip(kept[0].checks, flags, strict=True)
    ]
    return _Outcome(outputs, written, found)


def choose(index: Any, branches: Sequence[Function], inputs: Sequence[Any]) -> Any:
    """Returns ``branches[index](*inputs)``, for a traced int32 scalar ``index``.

    Raises:
        NotCompilableError: the branches' results differ in shape or dtype, or a branch cannot be
            part of an XLA program.
    """
    outlines = [_outline(branch, inputs) for branch in branches]
    for branch, outline in zip(branches[1:], outlines[1:], strict=True):
        if _signature(outline.outputs) != _signature(outlines[0].outputs):
            raise NotCompilableError(
                f"the branches {branches[0].name} and {branch.name} give different shapes"
            )
    proxies = _proxies()
    written = sorted({i for outline in outlines for i in outline.written})
    begin = [_begin(proxies[i], outlines, i) for i in written]

    def taking(chosen: int) -> Callable[[], Any]:
        def run() -> Any:
            outcome = _call(branches[chosen], inputs)
            values = [outcome.written.get(i, v) for i, v in zip(written, begin, strict=True)]
            flags = [
                _flags(outcome if number == chosen else None, outline)
                for number, outline in enumerate(outlines)
            ]
            return outcome.outputs, values, flags

        return run

    outputs, values, flags = xla.jax().lax.switch(index, list(map(taking, range(len(branches)))))
    _write(written, values, proxies)
    for outline, found in zip(outlines, flags, strict=True):
        _report(outline, found)
    return outputs


def while_loop(condition: Function, body: Function, inputs: Sequence[Any]) -> list[Any]:
    """Runs ``body`` while ``condition`` is true, from ``inputs`` on; returns the loop variables.

    Raises:
        NotCompilableError: a loop variable changes its shape or dtype, or a function cannot
            be part of an XLA program.
    """
    jax, jnp = xla.jax(), xla.numpy()
    # Loops do not change resources, and XLA must not see them.
    carried = [i for i, value in enumerate(inputs) if not isinstance(value, Resource)]
    start = [jnp.asarray(inputs[i]) for i in carried]

    def arguments(loop: Sequence[Any]) -> list[Any]:
        result = list(inputs)
        for i, value in zip(carried, loop, strict=True):
            result[i] = value
        return result

    turn = _PassingOn(body, carried)
    tested = _outline(condition, arguments(start))
    outline = _outline(turn, arguments(start))
    if tested.written or tested.checks:
        raise NotCompilableError(f"the condition {condition.name} has effects")
    if _signature([outline.outputs[i] for i in carried]) != _signature(start):
        raise NotCompilableError(f"the loop variables of {body.name} change their shapes")
    proxies, written = _proxies(), sorted(outline.written)

    def holds(carry: Any) -> Any:
        loop, values, _ = carry
        with _holding(written, values, proxies):
            outcome = _call(condition, arguments(loop))
        return jnp.asarray(outcome.outputs[0], bool).reshape(())

    def step(carry: Any) -> Any:
        loop, values, flags = carry
        with _holding(written, values, proxies):
            outcome = _call(turn, arguments(loop))
        after = [outcome.written.get(i, v) for i, v in zip(written, values, strict=True)]
        return [outcome.outputs[i] for i in carried], after, _first(flags, outcome)

    begin = [_begin(proxies[i], [outline], i) for i in written]
    loop, values, flags = jax.lax.while_loop(holds, step, (start, begin, _flags(None, outline)))
    _write(written, values, proxies)
    _report(outline, flags)
    return arguments(loop)


class _PassingOn(Function):
    """A loop's body without its results that are resources."""

    def __init__(self, body: Function, carried: Sequence[int]) -> None:
        super().__init__(body.name, lambda: body.program)
        self._body = body
        self._carried = set(carried)

    def __call__(self, *arguments: Any) -> list[Any]:
        outputs = self._body(*arguments)
        for i, output in enumerate(outputs):
            if i not in self._carried and output is not arguments[i]:
                raise NotCompilableError(f"{self.name} replaces a resource")
        return [o if i in self._carried else False for i, o in enumerate(outputs)]


@contextmanager
def _holding(
    numbers: Sequence[int], values: Sequence[Any], proxies: Sequence[Variable]
) -> Iterator[None]:
    """Sets the proxies to the values that a loop carries, in the scope."""
    held = [proxies[i] for i in numbers]
    before = [variable._value for variable in held]
    for variable, value in zip(held, values, strict=True):
        variable._value = value
    try:
        yield
    finally:
        for variable, old in zip(held, before, strict=True):
            variable._value = old


def _begin(variable: Variable, outlines: Sequence[_Outcome], number: int) -> Any:
    """Returns the value of proxy ``number`` before the functions of ``outlines`` are called."""
    jax, jnp = xla.jax(), xla.numpy()
    if variable._value is not None:
        return jax.tree.map(jnp.asarray, variable._value)
    after = next(o.written[number] for o in outlines if number in o.written)
    return jax.tree.map(lambda aval: jnp.zeros(aval.shape, aval.dtype), after)


def _write(numbers: Sequence[int], values: Sequence[Any], proxies: Sequence[Variable]) -> None:
    for i, value in zip(numbers, values, strict=True):
        proxies[i].assign(value)


def _flags(outcome: _Outcome | None, outline: _Outcome) -> list[Any]:
    """Returns ``(ok, values)`` of each check; ok is true if the function is not called."""
    jnp = xla.numpy()
    if outcome is not None:
        return [
            (jnp.asarray(ok, bool), [jnp.asarray(v) for v in values])
            for _, ok, _, values in outcome.checks
        ]
    return [
        (jnp.asarray(True), [jnp.zeros(v.shape, v.dtype) for v in values])
        for _, _, _, values in outline.checks
    ]


def _first(flags: Sequence[Any], outcome: _Outcome) -> list[Any]:
    """Returns the flags of a loop after one more iteration: the first failure stays."""
    jnp = xla.numpy()
    result = []
    for (ok, values), (_, new_ok, _, new_values) in zip(flags, outcome.checks, strict=True):
        kept = [jnp.where(ok, new, old) for old, new in zip(values, new_values, strict=True)]
        result.append((jnp.logical_and(ok, new_ok), kept))
    return result


def _report(outline: _Outcome, flags: Sequence[Any]) -> None:
    """Adds the checks of a function to the current trace."""
    collector = checks.current()
    for (node, _, make_error, _), (ok, values) in zip(outline.checks, flags, strict=True):
        collector.checks.append((node, ok, make_error, tuple(values)))


def _signature(values: Sequence[Any]) -> list[Any]:
    return [(tuple(v.shape), v.dtype) for v in values]
