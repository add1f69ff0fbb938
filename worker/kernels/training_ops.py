"""Kernels of the optimizers' update steps.

Each step is one formula from old values to new ones. It serves all forms of the op: for reference
and for resource variables, for dense gradients and, on the rows that they name, for sparse ones.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.ops import op_registry
from flowray.proto.ops.op_registry import OpDef
from flowray.proto.types.dtypes import resource
from flowray.proto.types.shapes import format_shape
from flowray.worker.execution import xla
from flowray.worker.execution.checks import check
from flowray.worker.kernel_registry import add_kernel
from flowray.worker.kernels.state_ops import replaced
from flowray.worker.state.store import Variable

Formula = Callable[..., tuple[Any, ...]]
"""A function of ``(xp, *old values, *other inputs, **attributes)`` that returns the new values."""

_STEPS: dict[str, Formula] = {}


def _step(name: str) -> Callable[[Formula], Formula]:
    def register(formula: Formula) -> Formula:
        _STEPS[name] = formula
        return formula

    return register


# The formulas -------------------------------------------------------------------------------------


@_step("GradientDescent")
def _gradient_descent(xp: Any, var: Any, alpha: Any, delta: Any) -> Any:
    return (var - alpha * delta,)


@_step("Momentum")
def _momentum(
    xp: Any, var: Any, accum: Any, lr: Any, grad: Any, momentum: Any, *, use_nesterov: bool
) -> Any:
    accum = accum * momentum + grad
    if use_nesterov:
        return var - (grad * lr + accum * momentum * lr), accum
    return var - accum * lr, accum


@_step("KerasMomentum")
def _keras_momentum(
    xp: Any, var: Any, accum: Any, lr: Any, grad: Any, momentum: Any, *, use_nesterov: bool
) -> Any:
    accum = accum * momentum - grad * lr
    return (var + (accum * momentum - grad * lr) if use_nesterov else var + accum), accum


@_step("Adam")
def _adam(
    xp: Any,
    var: Any,
    m: Any,
    v: Any,
    beta1_power: Any,
    beta2_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    grad: Any,
    *,
    use_nesterov: bool,
) -> Any:
    alpha = lr * xp.sqrt(1 - beta2_power) / (1 - beta1_power)
    m = m + (grad - m) * (1 - beta1)
    v = v + (grad * grad - v) * (1 - beta2)
    direction = m * beta1 + (1 - beta1) * grad if use_nesterov else m
    return var - direction * alpha / (xp.sqrt(v) + epsilon), m, v


@_step("AdamWithAmsgrad")
def _adam_with_amsgrad(
    xp: Any,
    var: Any,
    m: Any,
    v: Any,
    vhat: Any,
    beta1_power: Any,
    beta2_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    grad: Any,
) -> Any:
    alpha = lr * xp.sqrt(1 - beta2_power) / (1 - beta1_power)
    m = m + (grad - m) * (1 - beta1)
    v = v + (grad * grad - v) * (1 - beta2)
    vhat = xp.maximum(vhat, v)
    return var - m * alpha / (xp.sqrt(vhat) + epsilon), m, v, vhat


@_step("AdaMax")
def _ada_max(
    xp: Any,
    var: Any,
    m: Any,
    v: Any,
    beta1_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    grad: Any,
) -> Any:
    m = m + (grad - m) * (1 - beta1)
    v = xp.maximum(beta2 * v, abs(grad))
    return var - lr / (1 - beta1_power) * (m / (v + epsilon)), m, v


@_step("AddSign")
def _add_sign(
    xp: Any, var: Any, m: Any, lr: Any, alpha: Any, sign_decay: Any, beta: Any, grad: Any
) -> Any:
    m = m * beta + grad * (1 - beta)
    return var - lr * (alpha + sign_decay * xp.sign(grad) * xp.sign(m)) * grad, m


@_step("PowerSign")
def _power_sign(
    xp: Any, var: Any, m: Any, lr: Any, logbase: Any, sign_decay: Any, beta: Any, grad: Any
) -> Any:
    m = m * beta + grad * (1 - beta)
    return var - lr * xp.exp(logbase * sign_decay * xp.sign(grad) * xp.sign(m)) * grad, m


@_step("Adagrad")
def _adagrad(xp: Any, var: Any, accum: Any, lr: Any, grad: Any, *, update_slots: bool) -> Any:
    if update_slots:
        accum = accum + grad * grad
    return var - grad * lr / xp.sqrt(accum), accum


@_step("AdagradV2")
def _adagrad_v2(
    xp: Any, var: Any, accum: Any, lr: Any, epsilon: Any, grad: Any, *, update_slots: bool
) -> Any:
    if update_slots:
        accum = accum + grad * grad
    return var - grad * lr / (xp.sqrt(accum) + epsilon), accum


@_step("AdagradDA")
def _adagrad_da(
    xp: Any,
    var: Any,
    gradient_accumulator: Any,
    gradient_squared_accumulator: Any,
    grad: Any,
    lr: Any,
    l1: Any,
    l2: Any,
    global_step: Any,
) -> Any:
    total = gradient_accumulator + grad
    total_squared = gradient_squared_accumulator + grad * grad
    steps = global_step.astype(lr.dtype)
    shrunk = xp.sign(total) * xp.maximum(abs(total) - steps * l1, xp.zeros_like(total))
    new = -lr * shrunk / (l2 * steps * lr + xp.sqrt(total_squared))
    return new, total, total_squared


@_step("Adadelta")
def _adadelta(
    xp: Any, var: Any, accum: Any, accum_update: Any, lr: Any, rho: Any, epsilon: Any, grad: Any
) -> Any:
    accum = accum * rho + grad * grad * (1 - rho)
    update = xp.sqrt(accum_update + epsilon) / xp.sqrt(accum + epsilon) * grad
    return var - update * lr, accum, accum_update * rho + update * update * (1 - rho)


@_step("RMSProp")
def _rms_prop(
    xp: Any, var: Any, ms: Any, mom: Any, lr: Any, rho: Any, momentum: Any, epsilon: Any, grad: Any
) -> Any:
    ms = ms + (grad * grad - ms) * (1 - rho)
    mom = mom * momentum + grad * lr / xp.sqrt(ms + epsilon)
    return var - mom, ms, mom


@_step("CenteredRMSProp")
def _centered_rms_prop(
    xp: Any,
    var: Any,
    mg: Any,
    ms: Any,
    mom: Any,
    lr: Any,
    rho: Any,
    momentum: Any,
    epsilon: Any,
    grad: Any,
) -> Any:
    ms = ms + (grad * grad - ms) * (1 - rho)
    mg = mg + (grad - mg) * (1 - rho)
    mom = mom * momentum + grad * lr / xp.sqrt(ms - mg * mg + epsilon)
    return var - mom, mg, ms, mom


def _follow_leader(
    xp: Any,
    old: tuple[Any, Any, Any],
    grad: Any,
    shrunk_grad: Any,
    lr: Any,
    l1: Any,
    l2: Any,
    lr_power: Any,
    linear_has_lr: bool,
) -> Any:
    """Computes the step of FTRL-proximal (McMahan et al. 2013).

    Args:
        linear_has_lr: whether the slot ``linear`` holds its value times ``lr``.
    """
    var, accum, linear = old
    new_accum = accum + grad * grad
    power, new_power = accum**-lr_power, new_accum**-lr_power
    scale = lr if linear_has_lr else xp.ones_like(lr)
    linear = linear + shrunk_grad * scale - (new_power - power) * (scale / lr) * var
    threshold = l1 * scale
    quadratic = new_power * (scale / lr) + 2 * l2 * scale
    moved = (threshold * xp.sign(linear) - linear) / quadratic
    return xp.where(abs(linear) > threshold, moved, xp.zeros_like(var)), new_accum, linear


@_step("Ftrl")
def _ftrl(
    xp: Any,
    var: Any,
    accum: Any,
    linear: Any,
    grad: Any,
    lr: Any,
    l1: Any,
    l2: Any,
    lr_power: Any,
    *,
    multiply_linear_by_lr: bool,
) -> Any:
    old = (var, accum, linear)
    return _follow_leader(xp, old, grad, grad, lr, l1, l2, lr_power, multiply_linear_by_lr)


@_step("FtrlV2")
def _ftrl_v2(
    xp: Any,
    var: Any,
    accum: Any,
    linear: Any,
    grad: Any,
    lr: Any,
    l1: Any,
    l2: Any,
    l2_shrinkage: Any,
    lr_power: Any,
    *,
    multiply_linear_by_lr: bool,
) -> Any:
    old, shrunk = (var, accum, linear), grad + 2 * l2_shrinkage * var
    return _follow_leader(xp, old, grad, shrunk, lr, l1, l2, lr_power, multiply_linear_by_lr)


def _proximal(xp: Any, var: Any, lr: Any, l1: Any, l2: Any) -> Any:
    """Applies the proximal operator of L1 and L2 regularization: shrinks towards 0."""
    return xp.sign(var) * xp.maximum(abs(var) - lr * l1, xp.zeros_like(var)) / (1 + l2 * lr)


@_step("ProximalGradientDescent")
def _proximal_gradient_descent(xp: Any, var: Any, alpha: Any, l1: Any, l2: Any, delta: Any) -> Any:
    return (_proximal(xp, var - alpha * delta, alpha, l1, l2),)


@_step("ProximalAdagrad")
def _proximal_adagrad(xp: Any, var: Any, accum: Any, lr: Any, l1: Any, l2: Any, grad: Any) -> Any:
    accum = accum + grad * grad
    rate = lr / xp.sqrt(accum)
    return _proximal(xp, var - grad * rate, rate, l1, l2), accum


# From formulas to kernels -------------------------------------------------------------------------


def _slots_of(definition: OpDef) -> int:
    """Counts the inputs that are variables."""
    return sum(a.is_ref or a.dtype == resource for a in definition.inputs)


def _check_shapes(definition: OpDef, old: Sequence[Any], rest: Sequence[Any]) -> None:
    """Checks that all variables (and a dense gradient) have one shape, and all else is a scalar."""
    names = [a.name for a in definition.inputs]
    sparse = "indices" in names
    for name, value in zip(names, [*old, *rest], strict=True):
        is_grad = name in ("grad", "delta")
        if name in names[: len(old)] or (is_grad and not sparse):
            if value.shape != old[0].shape:
                raise errors.invalid_argument(
                    f"var and {name} do not have the same shape{format_shape(old[0].shape)} "
                    f"{format_shape(value.shape)}"
                )
        elif name != "indices" and not is_grad and value.shape:
            raise errors.invalid_argument(f"{name} is not a scalar: {format_shape(value.shape)}")


def _value(variable: Variable, is_ref: bool) -> Any:
    """Returns the value to update.

    A resource without one is an InternalError with TensorFlow's text.
    """
    if not is_ref and not variable.is_initialized:
        raise errors.internal("Invalid variable reference.")
    return variable.read()


def _dense_kernel(definition: OpDef, formula: Formula) -> Callable[..., Any]:
    slots = _slots_of(definition)
    is_ref = definition.inputs[0].is_ref

    @functools.wraps(formula)
    def step(xp: Any, *inputs: Any, **attrs: Any) -> Variable | None:
        variables, rest = inputs[:slots], inputs[slots:]
        old = [_value(v, is_ref) for v in variables]
        _check_shapes(definition, old, rest)
        new = formula(xp, *old, *rest, **attrs)
        for variable, before, after in zip(variables, old, new, strict=True):
            replaced(xp, variable, after, before.dtype)
        return variables[0] if is_ref else None

    return step


def _sparse_kernel(definition: OpDef, formula: Formula) -> Callable[..., Any]:
    slots = _slots_of(definition)
    is_ref = definition.inputs[0].is_ref
    at_indices = [a.name for a in definition.inputs].index("indices") - slots

    def step(xp: Any, *inputs: Any, **attrs: Any) -> Variable | None:
        variables, rest = inputs[:slots], list(inputs[slots:])
        old = [_value(v, is_ref) for v in variables]
        _check_shapes(definition, old, rest)
        indices = rest.pop(at_indices)
        grad = rest[at_indices - 1]
        _check_rows(xp, old[0], grad, indices)
        if grad.size:

            def update(values: Sequence[Any], rows: Any, grad_rows: Any) -> list[Any]:
                inputs = [*rest[: at_indices - 1], grad_rows, *rest[at_indices:]]
                taken = [v[rows] if xp is np else v.at[rows].get(mode="clip") for v in values]
                return list(formula(xp, *taken, *inputs, **attrs))

            new = _update_in_rounds(xp, old, indices, grad, update)
            for variable, after in zip(variables, new, strict=True):
                variable.assign(after)
        return variables[0] if is_ref else None

    # The registry checks the parameters of the formula and ``indices``.
    signature = inspect.signature(formula)
    parameters = list(signature.parameters.values())
    extra = inspect.Parameter("indices", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters.insert(1 + slots + at_indices, extra)
    step.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return step


def _check_rows(xp: Any, var: Any, grad: Any, indices: Any) -> None:
    if not var.shape:
        raise errors.invalid_argument("var must be at least 1 dimensional")
    if indices.ndim != 1:
        raise errors.invalid_argument("indices must be one-dimensional")
    if grad.shape[:1] != indices.shape:
        raise errors.invalid_argument(
            "grad must be the same size as indices in the first dimension."
        )
    if grad.shape[1:] != var.shape[1:]:
        raise errors.invalid_argument("var and grad must match in all dimensions but the first")
    limit = var.shape[0]

    def out_of_range(indices: np.ndarray[Any, Any]) -> errors.OpError:
        i = int(np.argmax((indices < 0) | (indices >= limit)))
        return errors.invalid_argument(
            f"Index {indices[i]} at offset {i} in indices is out of range"
        )

    check(((indices >= 0) & (indices < limit)).all(), out_of_range, indices)


def _update_in_rounds(
    xp: Any, old: Sequence[Any], indices: Any, grad: Any, update: Callable[..., list[Any]]
) -> list[Any]:
    """Updates the rows ``indices``; a repeated row is updated again, from its last value.

    That takes as many rounds as a row is named at most: round k does each row's k-th update.
    """
    order = xp.argsort(indices, stable=True)
    ordered = indices[order]
    rounds = xp.arange(indices.size) - xp.searchsorted(ordered, ordered)
    if xp is np:
        new = [value.copy() for value in old]
        for k in range(int(rounds.max()) + 1):
            chosen = order[rounds == k]
            rows = indices[chosen]
            for value, after in zip(new, update(new, rows, grad[chosen]), strict=True):
                value[rows] = after
        return new
    ordered_grad = grad[order]

    def one_round(k: Any, values: list[Any]) -> list[Any]:
        # Rows that have no update in this round are written past the last row and so dropped.
        rows = xp.where((rounds == k) & (ordered >= 0), ordered, old[0].shape[0])
        after = update(values, rows, ordered_grad)
        return [
            v.at[rows].set(a.astype(v.dtype), mode="drop")
            for v, a in zip(values, after, strict=True)
        ]

    result: list[Any] = xla.jax().lax.fori_loop(0, rounds.max() + 1, one_round, list(old))
    return result


for _name, _formula in _STEPS.items():
    for _form in ("", "Resource", "Sparse", "ResourceSparse"):
        _definition = op_registry.registered_ops().get(f"{_form}Apply{_name}")
        if _definition is not None:
            _make = _sparse_kernel if "Sparse" in _form else _dense_kernel
            add_kernel(_definition.name, _make(_definition, _formula))
