"""The table of op cases: every row runs on numpy, on XLA, and in tests/conformance on TensorFlow.

    case("MatMul", [A, B], transpose_a=True, expect=A.T @ B)
    case("MatMul", [A, A], raises=errors.InvalidArgumentError, match="Matrix size-incompatible")
    case("AssignAdd", [variable(A), B], expect=A + B, expect_state=[A + B])

Inputs are numpy arrays (or Python values: floats are float32, ints int32), lists of these for list
arguments, or ``variable(value)`` for ``Ref``/resource arguments. A test checks dtype, shape and
value of every output, that the static shape agrees with the actual one, also when only the ranks
of the inputs are known or nothing is, and that no input was written to. Where a row states no
value, XLA must give numpy's.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import pytest

from flowray.client.framework import graph as graph_lib
from flowray.client.framework.op_builder import make_op
from flowray.proto import errors
from flowray.proto.ops import op_registry
from flowray.proto.types import dtypes, tensors
from flowray.proto.types.shapes import Shape
from flowray.worker import kernel_registry as kernels
from flowray.worker import kernels as _families  # noqa: F401 - registers them all
from flowray.worker.execution import checks, xla
from flowray.worker.state.store import KernelContext, StateStore, Variable


@dataclass
class VariableInput:
    """A variable that holds ``value`` (None: uninitialized) when the case runs.

    An uninitialized one says its dtype, and its shape where that counts (TensorFlow's ``Assign``
    takes only a value of the shape that the ``VariableV2`` declares).
    """

    value: np.ndarray | None
    dtype: Any = None
    shape: Shape = None


def variable(value: Any, dtype: Any = None, shape: Shape = None) -> VariableInput:
    return VariableInput(None if value is None else as_array(value), dtype, shape)


@dataclass
class Case:
    """One row of the table; see the module's docstring."""

    op: str
    inputs: list[Any]
    attrs: dict[str, Any]
    expect: Any = None
    raises: type[errors.OpError] | None = None
    match: str = ""
    expect_state: list[Any] = field(default_factory=list)
    rtol: float = 1e-5
    atol: float = 1e-6
    id: str = ""
    conformance: bool = True
    xla: bool = True

    def __str__(self) -> str:
        return self.id


Known = Literal["shapes", "ranks", "nothing"]
"""What shape functions know of the inputs: shapes (and values, if they ask), ranks, nothing."""

KNOWN: tuple[Known, ...] = get_args(Known)

CASES: dict[str, list[Case]] = {}
"""All cases by op type, filled by the modules ``tests/ops/test_*_ops.py``."""


def case(
    op: str,
    inputs: list[Any],
    *,
    expect: Any = None,
    raises: type[errors.OpError] | None = None,
    match: str = "",
    expect_state: list[Any] | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    id: str = "",
    conformance: bool = True,
    xla: bool = True,
    **attrs: Any,
) -> Case:
    """Adds a row for the module that calls it.

    Args:
        op: the op type.
        inputs: one value per input argument.
        expect: the output (a tuple for several); None if only dtype and shape can be checked by
            TensorFlow's side or the op has no output.
        raises, match: the error that the kernel raises, and a regex of its message.
        expect_state: the values of the variables among the inputs afterwards.
        conformance: whether TensorFlow gives the same; give the reason where it is False.
        xla: whether to run it compiled, too (host-only ops and dynamic shapes never are).
        attrs: the attributes that the inputs do not tell.
    """
    number = len(CASES.get(op, []))
    row = Case(
        op, [_as_input(i) for i in inputs], attrs, expect, raises, match, expect_state or [],
        rtol, atol, f"{op}-{id or number}", conformance, xla,
    )  # fmt: skip
    CASES.setdefault(op, []).append(row)
    sys._getframe(1).f_globals.setdefault("TABLE", []).append(row)
    return row


def as_array(value: Any) -> np.ndarray:
    """Python floats are float32 and ints int32, as in TensorFlow; strings are bytes."""
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
    else:
        return np.array(tensors.make_ndarray(tensors.make_tensor_proto(value)))
    if array.dtype.kind in "SU":
        return np.array(tensors.make_ndarray(tensors.make_tensor_proto(array)))
    return array


def _as_input(value: Any) -> Any:
    if isinstance(value, VariableInput):
        return value
    if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        return [as_array(v) for v in value]
    if isinstance(value, tuple):
        return [as_array(v) for v in value]
    return as_array(value)


def check_case(row: Case) -> None:
    """Runs ``row`` on numpy and on XLA and asserts all that the table promises."""
    definition = op_registry.lookup(row.op)
    kernel = kernels.lookup(row.op)
    attrs = complete_attrs(row)
    all_shapes = [static_shapes(row, known) for known in KNOWN]
    compilable = row.xla and not (definition.host_only or definition.dynamic_shape)
    # The results of numpy that the row says nothing about: XLA must give the same.
    numpy_outputs: dict[int, Any] = {}
    numpy_state: dict[int, Any] = {}
    for backend in ("numpy", "xla") if compilable else ("numpy",):
        run = run_numpy if backend == "numpy" else run_xla
        inputs = [copy_input(i) for i in row.inputs]
        variables = [
            Variable(f"v{i}", dtype_of(x), None if x.value is None else x.value.copy())
            for i, x in enumerate(inputs)
            if isinstance(x, VariableInput)
        ]
        if row.raises is not None:
            with pytest.raises(row.raises) as info:
                run(kernel, inputs, variables, attrs)
            assert re.search(row.match, info.value.message), info.value.message
            continue
        outputs = run(kernel, inputs, variables, attrs)
        _check_unwritten(row, inputs)
        types = definition.output_types(attrs)
        assert len(outputs) == len(types), f"{backend}: {len(outputs)} outputs"
        expected = row.expect if isinstance(row.expect, tuple) else (row.expect,) * len(types)
        for i, (output, dtype) in enumerate(zip(outputs, types, strict=True)):
            where = f"{backend}, output {i}"
            if isinstance(output, Variable):
                output = np.asarray(output.read()) if output.is_initialized else None
                if output is None:
                    continue
            assert dtypes.as_dtype(output.dtype) == dtype.base_dtype, f"{where}: {output.dtype}"
            for static in all_shapes:
                assert static is None or agrees(static[i], output.shape), (where, static[i])
            if expected[i] is not None:
                want = as_array(expected[i])
                assert want.dtype == output.dtype, f"{where}: expect is {want.dtype}"
                assert want.shape == output.shape, f"{where}: {output.shape}"
                assert_close(output, want, row.rtol, row.atol, where)
            elif backend == "numpy":
                numpy_outputs[i] = output
            else:
                assert_close(output, numpy_outputs[i], row.rtol, row.atol, f"{where} against numpy")
        for i, variable_ in enumerate(variables):
            where = f"{backend}, variable {i}"
            value = np.asarray(variable_.read()) if variable_.is_initialized else None
            if i < len(row.expect_state):
                want = as_array(row.expect_state[i])
                assert_close(value, want, row.rtol, row.atol, where)
            elif backend == "numpy":
                numpy_state[i] = value
            elif value is None or numpy_state[i] is None:
                assert value is numpy_state[i], where
            else:
                assert_close(value, numpy_state[i], row.rtol, row.atol, f"{where} against numpy")


def assert_close(actual: Any, want: Any, rtol: float, atol: float, where: str) -> None:
    actual, want = np.asarray(actual), np.asarray(want)
    if want.dtype.kind in "fcV" or want.dtype.name == "bfloat16":
        wide = np.complex128 if want.dtype.kind == "c" else np.float64
        np.testing.assert_allclose(
            actual.astype(wide), want.astype(wide), rtol, atol, err_msg=where
        )
    else:
        np.testing.assert_array_equal(actual, want, err_msg=where)


def complete_attrs(row: Case) -> dict[str, Any]:
    """The attributes of the row's node, inferred ones and defaults included."""
    with graph_lib.Graph().as_default():
        # With unknown shapes, rows that a shape function refuses are built as well.
        return dict(build(row, "nothing")._attrs)


def build(row: Case, known: Known) -> Any:
    """The row's op over placeholders; constants where the shape function may know values."""
    definition = op_registry.lookup(row.op)
    values: list[Any] = []
    for index, value in enumerate(row.inputs):
        static = index in definition.static_inputs and known == "shapes"
        values.append(_symbol(value, static, known, definition.inputs[index]))
    return make_op(row.op, *values, **row.attrs)


def _symbol(value: Any, static: bool, known: Known, arg: op_registry.ArgDef) -> Any:
    create = graph_lib.get_default_graph().create_op
    if isinstance(value, list):
        return [_symbol(v, static, known, arg) for v in value]
    if isinstance(value, VariableInput):
        shape = value.shape if value.value is None else _known_shape(value.value, known)
        if arg.is_ref:
            return create(
                "VariableV2", [], name="v", attrs={"shape": shape, "dtype": dtype_of(value)}
            ).outputs[0]
        return create(
            "VarHandleOp", [], name="v", attrs={"shape": shape, "dtype": dtype_of(value)}
        ).outputs[0]
    if static:
        proto = tensors.encode(value)
        return create(
            "Const", [], attrs={"value": proto, "dtype": dtypes.as_dtype(proto.dtype)}
        ).outputs[0]
    shape = _known_shape(value, known)
    return create(
        "Placeholder", [], attrs={"dtype": dtypes.as_dtype(value.dtype), "shape": shape}
    ).outputs[0]


def _known_shape(value: np.ndarray, known: Known) -> Shape:
    return {"shapes": value.shape, "ranks": (None,) * value.ndim, "nothing": None}[known]


def static_shapes(row: Case, known: Known) -> list[Shape] | None:
    """The statically inferred output shapes; None where a bad row is refused while building."""
    with graph_lib.Graph().as_default():
        try:
            op = build(row, known)
        except ValueError:
            if row.raises is None:
                raise
            return None
        return [t.shape_tuple for t in op.outputs]


def agrees(static: Any, actual: tuple[int, ...]) -> bool:
    if static is None:
        return True
    return len(static) == len(actual) and all(
        s is None or s == a for s, a in zip(static, actual, strict=True)
    )


def dtype_of(value: VariableInput) -> dtypes.DType:
    if value.dtype is not None:
        return dtypes.as_dtype(value.dtype)
    assert value.value is not None, "an uninitialized variable needs a dtype"
    return dtypes.as_dtype(value.value.dtype)


def copy_input(value: Any) -> Any:
    if isinstance(value, list):
        return [v.copy() for v in value]
    return value if isinstance(value, VariableInput) else value.copy()


def _check_unwritten(row: Case, inputs: list[Any]) -> None:
    for before, after in zip(row.inputs, inputs, strict=True):
        if isinstance(before, VariableInput):
            continue
        pairs = zip(before, after, strict=True) if isinstance(before, list) else [(before, after)]
        for b, a in pairs:
            # Bytes, since NaN is not equal to itself (numpy excepts only its own dtypes).
            same = np.array_equal(b, a) if b.dtype == object else b.tobytes() == a.tobytes()
            assert same, f"the kernel wrote into an input: {b} became {a}"


def _as_tuple(result: Any) -> tuple[Any, ...]:
    if result is None:
        return ()
    flat: list[Any] = []
    for item in result if isinstance(result, tuple) else (result,):
        flat.extend(item if isinstance(item, list) else [item])
    return tuple(flat)


def _kernel_attrs(kernel: Any, attrs: dict[str, Any]) -> dict[str, Any]:
    chosen = {name: attrs[name] for name in kernel.attrs}
    if kernel.make_state is not None:
        # The state exists before a segment is traced, as in the runtime.
        chosen["state"] = Variable("state", dtypes.uint32, kernel.make_state(**chosen))
    if kernel.wants_context:
        device = "/job:localhost/replica:0/task:0/device:CPU:0"
        chosen["context"] = KernelContext(StateStore("localhost"), device, "", "session", "op")
    return chosen


def run_numpy(
    kernel: Any, inputs: list[Any], variables: list[Variable], attrs: dict[str, Any]
) -> tuple[Any, ...]:
    remaining = iter(variables)
    values = [next(remaining) if isinstance(i, VariableInput) else i for i in inputs]
    with np.errstate(all="ignore"):
        outputs = _as_tuple(kernel.function(np, *values, **_kernel_attrs(kernel, attrs)))
    return tuple(o if isinstance(o, Variable) else np.asarray(o) for o in outputs)


def run_xla(
    kernel: Any, inputs: list[Any], variables: list[Variable], attrs: dict[str, Any]
) -> tuple[Any, ...]:
    """Compiles the kernel with every non-static input traced and variables as arguments."""
    jax, jnp = xla.jax(), xla.numpy()
    definition = kernel.op
    traced = [
        i
        for i, value in enumerate(inputs)
        if not isinstance(value, VariableInput) and i not in definition.static_inputs
    ]
    collector = checks.CheckCollector()
    layout: list[Any] = []
    chosen = _kernel_attrs(kernel, attrs)
    private = [chosen["state"]] if "state" in chosen else []

    def program(arrays: list[Any], stored: list[Any]) -> Any:
        local = [Variable(v.name, v.dtype, s) for v, s in zip(variables, stored, strict=False)]
        values: list[Any] = list(inputs)
        for i, array in zip(traced, arrays, strict=True):
            values[i] = array
        remaining = iter(local)
        values = [next(remaining) if isinstance(v, VariableInput) else v for v in values]
        arguments = dict(chosen)
        if private:
            arguments["state"] = Variable("state", dtypes.uint32, stored[-1])
        with checks.collecting(collector):
            outputs = _as_tuple(kernel.function(jnp, *values, **arguments))
        layout[:] = [local.index(o) if isinstance(o, Variable) else None for o in outputs]
        flags = [(c[1], c[3]) for c in collector.checks]
        arrays_out = [None if isinstance(o, Variable) else jnp.asarray(o) for o in outputs]
        return arrays_out, [v.read() if v.is_initialized else None for v in local], flags

    stored = [v.read() if v.is_initialized else None for v in [*variables, *private]]
    outputs, after, flags = jax.jit(program)([inputs[i] for i in traced], stored)
    for (_, _, make_error, _), (ok, values) in zip(collector.checks, flags, strict=True):
        if not ok:
            raise make_error(*(np.asarray(v) for v in values))
    for variable_, value in zip(variables, after, strict=True):
        if value is not None:
            variable_.assign(np.asarray(value))
    return tuple(
        np.asarray(o) if at is None else variables[at]
        for o, at in zip(outputs, layout, strict=True)
    )


def table_test() -> Any:
    """The test of a module: ``test_case = table_test()`` after its last row."""

    @pytest.mark.parametrize("row", sys._getframe(1).f_globals["TABLE"], ids=str)
    def test_case(row: Case) -> None:
        check_case(row)

    return test_case
