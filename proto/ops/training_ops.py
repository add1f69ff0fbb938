"""The optimizers' update steps: definitions.

Each step has a form for reference variables and a form for resource variables. Most have both forms
for sparse gradients, too: their rows belong to the rows ``indices`` of the variable.
"""

from __future__ import annotations

from typing import Any

from flowray.proto.ops.op_registry import ShapeContext, ShapeFunction, op
from flowray.proto.types.dtypes import INDEX, NUMERIC
from flowray.proto.types.shapes import (
    Shape,
    merge_all,
    merge_dims,
    with_rank,
    with_rank_at_least,
)

_DENSE = ("", "Resource")
_ALL = (*_DENSE, "Sparse", "ResourceSparse")
_ADAGRAD = {"update_slots": True}
_FTRL = {"multiply_linear_by_lr": False}
_NESTEROV = {"use_nesterov": False}

# Each step's variables, its other inputs, its attributes, and the forms that it has.
_STEPS: list[tuple[str, str, str, dict[str, bool], tuple[str, ...]]] = [
    ("GradientDescent", "var", "alpha delta", {}, _DENSE),
    ("Momentum", "var accum", "lr grad momentum", _NESTEROV, _ALL),
    ("KerasMomentum", "var accum", "lr grad momentum", _NESTEROV, ("Resource", "ResourceSparse")),
    ("Adam", "var m v", "beta1_power beta2_power lr beta1 beta2 epsilon grad", _NESTEROV, _DENSE),
    (
        "AdamWithAmsgrad", "var m v vhat", "beta1_power beta2_power lr beta1 beta2 epsilon grad",
        {}, ("Resource",),
    ),
    ("AdaMax", "var m v", "beta1_power lr beta1 beta2 epsilon grad", {}, _DENSE),
    ("AddSign", "var m", "lr alpha sign_decay beta grad", {}, _DENSE),
    ("PowerSign", "var m", "lr logbase sign_decay beta grad", {}, _DENSE),
    ("Adagrad", "var accum", "lr grad", _ADAGRAD, _ALL),
    ("AdagradV2", "var accum", "lr epsilon grad", _ADAGRAD, _ALL),
    (
        "AdagradDA", "var gradient_accumulator gradient_squared_accumulator",
        "grad lr l1 l2 global_step", {}, _ALL,
    ),
    ("Adadelta", "var accum accum_update", "lr rho epsilon grad", {}, _ALL),
    ("RMSProp", "var ms mom", "lr rho momentum epsilon grad", {}, _ALL),
    ("CenteredRMSProp", "var mg ms mom", "lr rho momentum epsilon grad", {}, _ALL),
    ("Ftrl", "var accum linear", "grad lr l1 l2 lr_power", _FTRL, _ALL),
    ("FtrlV2", "var accum linear", "grad lr l1 l2 l2_shrinkage lr_power", _FTRL, _ALL),
    ("ProximalAdagrad", "var accum", "lr l1 l2 grad", {}, _ALL),
    ("ProximalGradientDescent", "var", "alpha l1 l2 delta", {}, _DENSE),
    ("ProximalGradientDescent", "var", "alpha l1 l2 grad", {}, ("Sparse", "ResourceSparse")),
]  # fmt: skip

_OTHER_TYPES = {"indices": "Tindices", "global_step": "int64"}


def _step_shape(slots: int, names: list[str], resource: bool) -> ShapeFunction:
    """Makes the shape function of a step.

    Variables and a dense gradient have one shape; all hyperparameters are scalars.
    """

    def shape(c: ShapeContext) -> Shape | list[Shape]:
        if resource:
            found = [c.resource(i) for i in range(slots)]
            shapes = [None if variable is None else variable[1] for variable in found]
        else:
            shapes = list(c.inputs[:slots])
        sparse = "indices" in names
        for name, given in zip(names, c.inputs[slots:], strict=True):
            if name == "indices":
                with_rank(given, 1)
            elif name not in ("grad", "delta"):
                with_rank(given, 0)
            elif not sparse:
                shapes.append(given)
        var = merge_all(shapes)
        if sparse:
            at = slots + names.index("grad")
            grad, (count,) = with_rank_at_least(c.inputs[at], 1), with_rank(c.inputs[at + 1], 1)
            if grad is not None:
                merge_dims(count, grad[0])
                var = merge_all([var, (None, *grad[1:])])
        return [] if resource else var

    return shape


def _define(form: str, step: str, variables: str, inputs: str, attrs: dict[str, bool]) -> None:
    slots, names = variables.split(), inputs.split()
    all_attrs: dict[str, Any] = {"T": NUMERIC, "use_locking": False, **attrs}
    if "Sparse" in form:
        names.insert(names.index("grad") + 1, "indices")
        all_attrs["Tindices"] = INDEX
    resource = form.startswith("Resource")
    arguments = [f"{s}: {'resource' if resource else 'Ref(T)'}" for s in slots]
    arguments += [f"{n}: {_OTHER_TYPES.get(n, 'T')}" for n in names]
    op(
        f"{form}Apply{step}",
        f"{', '.join(arguments)} -> {'' if resource else 'out: Ref(T)'}",
        **all_attrs,
        hints=["use_locking"],
        stateful=resource,
        differentiable=False,
        shape=_step_shape(len(slots), names, resource),
    )


for _step, _variables, _inputs, _attrs, _forms in _STEPS:
    for _form in _forms:
        _define(_form, _step, _variables, _inputs, _attrs)
