"""Whatever fails in a worker is an OpError with the node's name, and the runtime goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flowray.client.framework.op_builder import apply_op
from flowray.proto import errors
from flowray.worker import kernel_registry
from flowray.worker.execution import xla
from flowray.worker.failures import as_op_error
from flowray.worker.runtime import Runtime
from tests.unit.worker.test_runtime import (
    constant,
    placeholder,
    runtime,
    stage_of,
    variable,
)

NODE = r"\[\[\{\{node layer/t\}\}\]\]"
X = np.ones(3, np.float32)


def replace_kernel(monkeypatch: pytest.MonkeyPatch, op: str, function: Callable[..., Any]) -> None:
    """Makes ``function`` the kernel of ``op`` for one test."""
    registered = kernel_registry._registry
    monkeypatch.setitem(registered, op, replace(registered[op], function=function))


def tanh_stage(run: Runtime, handle: str = "h") -> None:
    """Registers a stage that computes tanh(-x) as layer/t."""
    run.register(
        stage_of(
            lambda: apply_op("Tanh", apply_op("Neg", placeholder("x"), name="n"), name="layer/t"),
            ("x:0",),
            ("layer/t:0",),
            handle=handle,
        )
    )


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (ValueError("a bug"), errors.InternalError),
        (ZeroDivisionError("a bug"), errors.InternalError),
        (RecursionError("a bug"), errors.InternalError),
        (OverflowError("a bug"), errors.InternalError),
        (MemoryError("a bug"), errors.ResourceExhaustedError),
        (errors.data_loss("a bug"), errors.DataLossError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_a_failing_kernel(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, error: type[errors.OpError]
) -> None:
    calls: list[int] = []

    def fail_once(xp: Any, x: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise failure
        return xp.tanh(x)

    replace_kernel(monkeypatch, "Tanh", fail_once)
    run = runtime()
    tanh_stage(run)
    with pytest.raises(error, match=rf"(?s)a bug.*{NODE}"):
        run.run("h", 1, [X])
    np.testing.assert_allclose(run.run("h", 2, [X])[0][0], np.tanh(-X))
    assert not run._steps


def test_memory_that_numpy_does_not_get() -> None:
    run = runtime()
    run.register(
        stage_of(
            lambda: apply_op(
                "Fill", placeholder("n", dtype="int64"), constant(np.float32(1), "one"), name="big"
            ),
            ("n:0",),
            ("big:0",),
        )
    )
    with pytest.raises(errors.ResourceExhaustedError, match=r"(?s)Unable to allocate.*node big"):
        run.run("h", 1, [np.int64([1 << 45])])
    assert run.run("h", 2, [np.int64([2])])[0][0].tolist() == [1, 1]


def test_a_kernel_that_xla_cannot_trace_is_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_tracing(xp: Any, x: Any) -> Any:
        if xp is not np:
            raise KeyError("cannot be traced")
        return np.tanh(x)

    replace_kernel(monkeypatch, "Tanh", no_tracing)
    run = runtime("eager")
    tanh_stage(run)
    for step in (1, 2):
        np.testing.assert_allclose(run.run("h", step, [X])[0][0], np.tanh(-X))


def failing_in_xla(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Makes compiled programs with a Tanh fail when they run, as long as the list is not empty."""
    left = [1]

    def host_tanh(x: Any) -> Any:
        if left:
            raise ValueError("failed within XLA")
        return np.tanh(x)

    def tanh(xp: Any, x: Any) -> Any:
        if xp is np:
            return np.tanh(x)
        jax = xla.jax()
        return jax.pure_callback(host_tanh, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    replace_kernel(monkeypatch, "Tanh", tanh)
    return left


def test_a_failing_xla_program(monkeypatch: pytest.MonkeyPatch) -> None:
    left = failing_in_xla(monkeypatch)
    run = runtime("eager")
    tanh_stage(run)
    for step in (1, 2):
        with pytest.raises(
            errors.InternalError, match=rf"(?s)XLA program of 2 nodes, n \.\. layer/t: .*{NODE}"
        ):
            run.run("h", step, [X])
    left.clear()
    np.testing.assert_allclose(run.run("h", 3, [X])[0][0], np.tanh(-X), rtol=1e-6)
    assert not run._steps


@pytest.mark.parametrize("was_read", [False, True])
def test_a_failing_xla_program_that_updates_a_variable(
    monkeypatch: pytest.MonkeyPatch, was_read: bool
) -> None:
    """XLA takes the variable's buffer over, so the value is lost, unless there is a copy of it."""
    run = runtime("eager")
    run.register(
        stage_of(
            lambda: apply_op("Assign", variable("v", [3]), placeholder("x"), name="a"),
            ("x:0",),
            handle="init",
        )
    )
    run.register(
        stage_of(
            lambda: apply_op("Identity", variable("v", [3]), name="r"), (), ("r:0",), handle="read"
        )
    )

    def build() -> None:
        change = apply_op("Tanh", placeholder("x"), name="t")
        apply_op("AssignAdd", variable("v", [3]), change, name="add")

    left = failing_in_xla(monkeypatch)
    output = "add:0" if was_read else "t:0"
    run.register(stage_of(build, ("x:0",), (output,), handle="step"))
    run.run("init", 1, [X])
    left.clear()
    (before,), _ = run.run("step", 2, [X])  # now the value lies on the device
    left.append(1)
    with pytest.raises(errors.InternalError, match=r"(?s)XLA program.*\[\[\{\{node add\}\}\]\]"):
        run.run("step", 4, [X])
    left.clear()
    if was_read:
        np.testing.assert_array_equal(run.run("read", 5, [])[0][0], before)
    else:
        with pytest.raises(errors.FailedPreconditionError, match="uninitialized value v"):
            run.run("read", 5, [])
    run.run("init", 6, [X])
    run.run("step", 7, [X])
    (after,), _ = run.run("read", 8, [])
    np.testing.assert_allclose(after, X + np.tanh(X), rtol=1e-6)


def test_memory_that_xla_does_not_get() -> None:
    jax = xla.jax()
    with pytest.raises(jax.errors.JaxRuntimeError) as info:
        jax.jit(lambda x: xla.numpy().broadcast_to(x, (1 << 45,)) * 2.0)(np.float32(1))
    error = as_op_error(info.value, "an XLA program", "n")
    assert isinstance(error, errors.ResourceExhaustedError)
    assert error.message.startswith("an XLA program: ")
    assert error.message.endswith("[[{{node n}}]]")


def test_a_node_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(op: str) -> Any:
        if op == "Tanh":
            raise KeyError("a bug of the loader")
        return found(op)

    found = kernel_registry.lookup
    monkeypatch.setattr(kernel_registry, "lookup", lookup)
    run = runtime()
    tanh_stage(run)
    for step in (1, 2):
        with pytest.raises(errors.InternalError, match=rf"(?s)a bug of the loader.*{NODE}"):
            run.run("h", step, [X])
    monkeypatch.undo()
    tanh_stage(run, "other")
    np.testing.assert_allclose(run.run("other", 3, [X])[0][0], np.tanh(-X))


def test_an_output_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreadable:
        def __array__(self, *arguments: Any, **keywords: Any) -> Any:
            raise ValueError("cannot be read")

    replace_kernel(monkeypatch, "Tanh", lambda xp, x: Unreadable())
    run = runtime()
    tanh_stage(run)
    with pytest.raises(errors.InternalError, match=rf"(?s)cannot be read.*{NODE}"):
        run.run("h", 1, [X])


def test_an_input_that_is_not_a_handle() -> None:
    def build() -> None:
        handle = placeholder("h", dtype="resource")
        apply_op("ReadVariableOp", handle, dtype="float32", name="r")

    run = runtime()
    run.register(stage_of(build, ("h:0",), ("r:0",)))
    with pytest.raises(errors.InvalidArgumentError, match=r"(?s)not a resource.*\{\{node h\}\}"):
        run.run("h", 1, [X])


# Cancelled steps


def test_a_step_that_is_cancelled_before_its_stage_comes() -> None:
    run = runtime()
    tanh_stage(run)
    run.cancel(7)
    for _ in range(2):
        with pytest.raises(errors.CancelledError, match=r"Step was cancelled\."):
            run.run("h", 7, [X])
    run.run("h", 8, [X])
    run.end_step(7)
    run.run("h", 7, [X])
    assert not run._steps


@pytest.mark.parametrize("size", [[2**31 - 1] * 4, [2**40, 2**40], [2**63 - 1]])
def test_a_shape_with_more_elements_than_numbers(size: list[int]) -> None:
    run = runtime()
    run.register(
        stage_of(
            lambda: apply_op(
                "Fill", placeholder("s", dtype="int64"), constant(1.0, "one"), name="layer/t"
            ),
            ("s:0",),
            ("layer/t:0",),
        )
    )
    with pytest.raises(errors.InvalidArgumentError, match=rf"(?s)Encountered overflow.*{NODE}"):
        run.run("h", 1, [np.array(size)])
