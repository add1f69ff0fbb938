"""The optimizers' update steps.

The expected values come from formulas over single numbers, as the papers state them, that are
applied element by element and index by index.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from flowray.proto import errors
from flowray.proto.ops import op_registry
from flowray.proto.types import dtypes
from tests.ops.harness import CASES, case, table_test, variable

BF16 = dtypes.bfloat16.as_numpy_dtype
BAD = errors.InvalidArgumentError

Formula = Callable[..., tuple[float, ...]]
"""``(*old values, grad, **hyperparameters)`` to the new values of one element."""


@dataclass
class Step:
    """An update step: its formula, its slots' initial values, and what else it takes."""

    formula: Formula
    slots: dict[str, float]
    hyper: dict[str, float]
    variants: list[dict[str, bool]] = field(default_factory=lambda: [{}])
    not_in_tensorflow: tuple[Any, ...] = ()
    """Dtypes that the dense forms have no CPU kernel for in TensorFlow."""


def sign(x: float) -> float:
    return float(np.sign(x))


def gradient_descent(var: float, grad: float, alpha: float) -> tuple[float, ...]:
    return (var - alpha * grad,)


def momentum(
    var: float, accum: float, grad: float, lr: float, momentum: float, use_nesterov: bool = False
) -> tuple[float, ...]:
    accum = momentum * accum + grad
    return var - lr * (grad + momentum * accum if use_nesterov else accum), accum


def keras_momentum(
    var: float, accum: float, grad: float, lr: float, momentum: float, use_nesterov: bool = False
) -> tuple[float, ...]:
    accum = momentum * accum - lr * grad
    return var + (momentum * accum - lr * grad if use_nesterov else accum), accum


def adam(
    var: float, m: float, v: float, grad: float, beta1_power: float, beta2_power: float, lr: float,
    beta1: float, beta2: float, epsilon: float, use_nesterov: bool = False,
) -> tuple[float, ...]:  # fmt: skip
    rate = lr * math.sqrt(1 - beta2_power) / (1 - beta1_power)
    m, v = beta1 * m + (1 - beta1) * grad, beta2 * v + (1 - beta2) * grad**2
    step = beta1 * m + (1 - beta1) * grad if use_nesterov else m
    return var - rate * step / (math.sqrt(v) + epsilon), m, v


def adam_with_amsgrad(
    var: float, m: float, v: float, vhat: float, grad: float, lr: float, epsilon: float,
    **hyper: float,
) -> tuple[float, ...]:  # fmt: skip
    _, m, v = adam(var, m, v, grad, lr=lr, epsilon=epsilon, **hyper)
    vhat = max(vhat, v)
    rate = lr * math.sqrt(1 - hyper["beta2_power"]) / (1 - hyper["beta1_power"])
    return var - rate * m / (math.sqrt(vhat) + epsilon), m, v, vhat


def ada_max(
    var: float, m: float, v: float, grad: float, beta1_power: float, lr: float, beta1: float,
    beta2: float, epsilon: float,
) -> tuple[float, ...]:  # fmt: skip
    m, v = beta1 * m + (1 - beta1) * grad, max(beta2 * v, abs(grad))
    return var - lr / (1 - beta1_power) * m / (v + epsilon), m, v


def add_sign(
    var: float, m: float, grad: float, lr: float, alpha: float, sign_decay: float, beta: float
) -> tuple[float, ...]:
    m = beta * m + (1 - beta) * grad
    return var - lr * (alpha + sign_decay * sign(grad) * sign(m)) * grad, m


def power_sign(
    var: float, m: float, grad: float, lr: float, logbase: float, sign_decay: float, beta: float
) -> tuple[float, ...]:
    m = beta * m + (1 - beta) * grad
    return var - lr * math.exp(logbase * sign_decay * sign(grad) * sign(m)) * grad, m


def adagrad(
    var: float, accum: float, grad: float, lr: float, epsilon: float = 0, update_slots: bool = True
) -> tuple[float, ...]:
    accum += grad**2 * update_slots
    return var - lr * grad / (math.sqrt(accum) + epsilon), accum


def adagrad_da(
    var: float, accum: float, squared: float, grad: float, lr: float, l1: float, l2: float,
    global_step: int,
) -> tuple[float, ...]:  # fmt: skip
    accum, squared = accum + grad, squared + grad**2
    shrunk = sign(accum) * max(abs(accum) - l1 * global_step, 0)
    return -lr * shrunk / (l2 * global_step * lr + math.sqrt(squared)), accum, squared


def adadelta(
    var: float, accum: float, accum_update: float, grad: float, lr: float, rho: float,
    epsilon: float,
) -> tuple[float, ...]:  # fmt: skip
    accum = rho * accum + (1 - rho) * grad**2
    update = math.sqrt((accum_update + epsilon) / (accum + epsilon)) * grad
    return var - lr * update, accum, rho * accum_update + (1 - rho) * update**2


def rms_prop(
    var: float, ms: float, mom: float, grad: float, lr: float, rho: float, momentum: float,
    epsilon: float,
) -> tuple[float, ...]:  # fmt: skip
    ms = rho * ms + (1 - rho) * grad**2
    mom = momentum * mom + lr * grad / math.sqrt(ms + epsilon)
    return var - mom, ms, mom


def centered_rms_prop(
    var: float, mg: float, ms: float, mom: float, grad: float, lr: float, rho: float,
    momentum: float, epsilon: float,
) -> tuple[float, ...]:  # fmt: skip
    mg, ms = rho * mg + (1 - rho) * grad, rho * ms + (1 - rho) * grad**2
    mom = momentum * mom + lr * grad / math.sqrt(ms - mg**2 + epsilon)
    return var - mom, mg, ms, mom


def ftrl(
    var: float, accum: float, linear: float, grad: float, lr: float, l1: float, l2: float,
    lr_power: float, l2_shrinkage: float = 0, multiply_linear_by_lr: bool = False,
) -> tuple[float, ...]:  # fmt: skip
    if multiply_linear_by_lr:
        linear /= lr
    rate, new_rate = lr * accum**lr_power, lr * (accum + grad**2) ** lr_power
    linear += grad + 2 * l2_shrinkage * var - (1 / new_rate - 1 / rate) * var
    new = 0.0 if abs(linear) <= l1 else (sign(linear) * l1 - linear) / (1 / new_rate + 2 * l2)
    return new, accum + grad**2, linear * lr if multiply_linear_by_lr else linear


def proximal(var: float, rate: float, l1: float, l2: float) -> float:
    return sign(var) * max(abs(var) - rate * l1, 0) / (1 + rate * l2)


def proximal_gradient_descent(
    var: float, grad: float, alpha: float, l1: float, l2: float
) -> tuple[float, ...]:
    return (proximal(var - alpha * grad, alpha, l1, l2),)


def proximal_adagrad(
    var: float, accum: float, grad: float, lr: float, l1: float, l2: float
) -> tuple[float, ...]:
    accum += grad**2
    rate = lr / math.sqrt(accum)
    return proximal(var - rate * grad, rate, l1, l2), accum


def either(attribute: str) -> list[dict[str, bool]]:
    """Both values of a boolean attribute, its default among them."""
    return [{attribute: True}, {attribute: False}]


_NESTEROV, _SLOTS, _LINEAR = (
    either(a) for a in ("use_nesterov", "update_slots", "multiply_linear_by_lr")
)
_ADAM = {"lr": 0.1, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-3}
_ADAM |= {"beta1_power": 0.81, "beta2_power": 0.9}
_ADA_MAX = {key: value for key, value in _ADAM.items() if key != "beta2_power"}
_RMS = {"lr": 0.1, "rho": 0.9, "momentum": 0.8, "epsilon": 1e-2}
_FTRL = {"lr": 0.2, "l1": 0.1, "l2": 0.3, "lr_power": -0.5}
_PROXIMAL = {"l1": 0.1, "l2": 0.3}

_SMALL = (np.float16, BF16)

STEPS = {
    "GradientDescent": Step(gradient_descent, {}, {"alpha": 0.3}),
    "Momentum": Step(momentum, {"accum": 0.5}, {"lr": 0.1, "momentum": 0.9}, variants=_NESTEROV),
    "KerasMomentum": Step(
        keras_momentum, {"accum": 0.5}, {"lr": 0.1, "momentum": 0.9}, variants=_NESTEROV
    ),
    "Adam": Step(adam, {"m": 0.2, "v": 0.3}, _ADAM, variants=_NESTEROV),
    "AdamWithAmsgrad": Step(adam_with_amsgrad, {"m": 0.2, "v": 0.3, "vhat": 0.31}, _ADAM),
    "AdaMax": Step(ada_max, {"m": 0.2, "v": 0.3}, _ADA_MAX, not_in_tensorflow=(BF16,)),
    "AddSign": Step(
        add_sign, {"m": 0.2}, {"lr": 0.1, "alpha": 1.1, "sign_decay": 0.7, "beta": 0.6}
    ),
    "PowerSign": Step(
        power_sign, {"m": 0.2}, {"lr": 0.1, "logbase": 0.9, "sign_decay": 0.7, "beta": 0.6}
    ),
    "Adagrad": Step(adagrad, {"accum": 0.5}, {"lr": 0.1}, variants=_SLOTS),
    "AdagradV2": Step(adagrad, {"accum": 0.5}, {"lr": 0.1, "epsilon": 0.01}, variants=_SLOTS),
    "AdagradDA": Step(
        adagrad_da, {"gradient_accumulator": 0.5, "gradient_squared_accumulator": 0.4},
        {"lr": 0.1, "l1": 0.2, "l2": 0.3, "global_step": 3}, not_in_tensorflow=_SMALL,
    ),
    "Adadelta": Step(
        adadelta, {"accum": 0.5, "accum_update": 0.4}, {"lr": 0.5, "rho": 0.9, "epsilon": 1e-3}
    ),
    "RMSProp": Step(rms_prop, {"ms": 0.5, "mom": 0.1}, _RMS),
    "CenteredRMSProp": Step(centered_rms_prop, {"mg": 0.1, "ms": 0.5, "mom": 0.1}, _RMS),
    "Ftrl": Step(ftrl, {"accum": 0.5, "linear": 0.2}, _FTRL, variants=_LINEAR),
    "FtrlV2": Step(
        ftrl, {"accum": 0.5, "linear": 0.2}, _FTRL | {"l2_shrinkage": 0.4}, variants=_LINEAR
    ),
    "ProximalGradientDescent": Step(
        proximal_gradient_descent, {}, _PROXIMAL | {"alpha": 0.3}, not_in_tensorflow=_SMALL
    ),
    "ProximalAdagrad": Step(
        proximal_adagrad, {"accum": 0.5}, _PROXIMAL | {"lr": 0.3}, not_in_tensorflow=_SMALL
    ),
}  # fmt: skip
FORMS = ("", "Resource", "Sparse", "ResourceSparse")

VAR = np.array([[1.0, -0.3, 0.0], [0.05, 2.0, -1.5]])
GRAD = np.array([[0.5, -0.25, 0.0], [-1.0, 0.75, 0.1]])
TABLE_OF_ROWS = np.array([[1.0, -0.3], [0.0, 0.05], [2.0, -1.5], [0.4, 0.6]])
ROWS = np.array([2, 0])
ROW_GRADS = np.array([[0.5, -0.25], [-1.0, 0.75]])
REPEATED = np.array([3, 1, 3, 0, 3])
REPEATED_GRADS = np.array([[0.5, -0.25], [0.1, 0.0], [-1.0, 0.75], [0.3, 0.2], [-0.4, -0.6]])


def slots_of(step: Step, var: np.ndarray) -> list[np.ndarray]:
    """The variable and its slots; the elements of a slot differ."""
    spread = 1 + np.arange(var.size).reshape(var.shape) / 10
    return [var, *(np.asarray(start * spread) for start in step.slots.values())]


def updated(
    step: Step, old: list[np.ndarray], grad: np.ndarray, rows: np.ndarray | None, attrs: Any
) -> list[np.ndarray]:
    new = [value.copy() for value in old]
    for place in np.ndindex(grad.shape):
        at = place if rows is None else (rows[place[0]], *place[1:])
        element = [float(value[at]) for value in new]
        for value, after in zip(
            new, step.formula(*element, float(grad[place]), **step.hyper, **attrs), strict=True
        ):
            value[at] = after
    return new


def step_case(
    op: str, step: Step, var: np.ndarray, grad: np.ndarray, rows: np.ndarray | None = None,
    dtype: Any = np.float32, index_dtype: Any = np.int32, id: str = "", tolerance: float = 1e-5,
    **attrs: bool,
) -> None:  # fmt: skip
    old = slots_of(step, var)
    given = inputs_of(op, step, old, grad, rows, dtype, index_dtype)
    # What the kernel gets is rounded to the dtype, and so should be what the formula gets.
    old = [np.asarray(value.astype(dtype), np.float64) for value in old]
    new = [v.astype(dtype) for v in updated(step, old, grad.astype(dtype), rows, attrs)]
    case(
        op, given, expect=None if op.startswith("Resource") else new[0], expect_state=new,
        rtol=tolerance, atol=tolerance, id=id, conformance=dtype not in step.not_in_tensorflow,
        **attrs,
    )  # fmt: skip


def inputs_of(
    op: str, step: Step, variables: list[Any], grad: Any, rows: Any, dtype: Any = np.float32,
    index_dtype: Any = np.int32,
) -> list[Any]:  # fmt: skip
    """The inputs by the argument names of the op's definition."""
    by_name: dict[str, Any] = dict(
        zip(("var", *step.slots), (variable(v.astype(dtype)) for v in variables), strict=True)
    )
    by_name |= {name: np.array(value, dtype) for name, value in step.hyper.items()}
    if "global_step" in by_name:
        by_name["global_step"] = np.array(step.hyper["global_step"], np.int64)
    by_name["grad"] = by_name["delta"] = grad.astype(dtype)
    if rows is not None:
        by_name["indices"] = rows.astype(index_dtype)
    return [by_name[argument.name] for argument in op_registry.lookup(op).inputs]


def bad_case(op: str, match: str, id: str, raises: Any = BAD, **changed: Any) -> None:
    """The usual case with some inputs replaced, which the kernel refuses."""
    form, _, name = op.partition("Apply")
    step = STEPS[name]
    sparse = "Sparse" in form
    var, grad, rows = (TABLE_OF_ROWS, ROW_GRADS, ROWS) if sparse else (VAR, GRAD, None)
    given = inputs_of(op, step, slots_of(step, var), grad, rows)
    for i, argument in enumerate(op_registry.lookup(op).inputs):
        given[i] = changed.get(argument.name, given[i])
    case(op, given, raises=raises, match=match, id=id)


def float32(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


_OUTSIDE = "is out of range|is not in"

for _name, _step in STEPS.items():
    for _form in FORMS:
        _op = f"{_form}Apply{_name}"
        if _op not in op_registry.registered_ops():
            continue
        _slot = next(iter(_step.slots), None)
        _rate = next(name for name in ("lr", "alpha") if name in _step.hyper)
        if "Sparse" not in _form:
            for _attrs in _step.variants:
                _id = "-".join(f"{k}={v}" for k, v in _attrs.items()) or "usual"
                step_case(_op, _step, VAR, GRAD, id=_id, **_attrs)
            step_case(_op, _step, VAR, GRAD, dtype=np.float64, id="float64")
            step_case(_op, _step, VAR, GRAD, dtype=np.float16, id="float16", tolerance=1e-2)
            step_case(_op, _step, VAR, GRAD, dtype=BF16, id="bfloat16", tolerance=1e-1)
            step_case(_op, _step, np.array(2.0), np.array(0.5), id="scalar")
            step_case(_op, _step, np.zeros((0, 3)), np.zeros((0, 3)), id="empty")
            _grad = op_registry.lookup(_op).inputs[-1].name
            _grad = _grad if _grad in ("grad", "delta") else "grad"
            bad_case(
                _op, "do(es)? not have the same shape", "other_shape", **{_grad: float32(3, 2)}
            )
        else:
            for _attrs in _step.variants:
                _id = "-".join(f"{k}={v}" for k, v in _attrs.items()) or "usual"
                step_case(_op, _step, TABLE_OF_ROWS, ROW_GRADS, ROWS, id=_id, **_attrs)
            step_case(_op, _step, TABLE_OF_ROWS, REPEATED_GRADS, REPEATED, id="repeated_indices")
            step_case(_op, _step, TABLE_OF_ROWS, ROW_GRADS, ROWS, dtype=np.float64,
                      index_dtype=np.int64, id="float64_int64")  # fmt: skip
            step_case(_op, _step, np.array([1.0, -2.0, 3.0]), np.array([0.5, -0.25]), ROWS,
                      id="vector")  # fmt: skip
            step_case(_op, _step, TABLE_OF_ROWS, np.zeros((0, 2)), np.zeros(0), id="empty")
            bad_case(_op, _OUTSIDE, "index_too_large", indices=np.array([0, 4], np.int32))
            bad_case(_op, _OUTSIDE, "index_negative", indices=np.array([0, -1], np.int32))
            bad_case(_op, "must be the same size as indices in the first dimension",
                     "too_few_indices", indices=np.array([0], np.int32))  # fmt: skip
            bad_case(_op, "must match in", "other_row_size", grad=float32(2, 3))
            bad_case(_op, "indices must be one-dimensional", "indices_matrix",
                     indices=np.zeros((2, 1), np.int32))  # fmt: skip
        bad_case(_op, "is not a (positive )?scalar", "rate_not_scalar", **{_rate: float32(2)})
        _text, _error = ("uninitialized value", errors.FailedPreconditionError)
        if "Resource" in _form:
            _text, _error = ("Invalid variable reference", errors.InternalError)
        bad_case(_op, _text, "uninitialized", _error, var=variable(None, np.float32))
        if _slot is not None:
            bad_case(_op, "do not have the same shape", "slot_of_other_shape",
                     **{_slot: variable(float32(5, 7))})  # fmt: skip

test_case = table_test()


def test_every_step_has_cases() -> None:
    ops = {n for n, op in op_registry.registered_ops().items() if op.family == "training_ops"}
    assert ops <= set(CASES)
    assert len(ops) == 57  # as many as TensorFlow has


@pytest.mark.parametrize("name", STEPS)
def test_steps_move_the_variable(name: str) -> None:
    """The formulas of this file do something, so that an idle kernel would not pass."""
    step = STEPS[name]
    old = slots_of(step, VAR)
    assert not np.allclose(updated(step, old, GRAD, None, {})[0], VAR)
