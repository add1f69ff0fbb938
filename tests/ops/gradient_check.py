"""Checks symbolic gradients against numerical ones, running graphs op by op on numpy kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flowray.client.framework.graph import Graph, Tensor
from flowray.client.gradients.engine import gradients
from flowray.proto.types import dtypes
from flowray.worker import kernel_registry as kernels

Feeds = dict[Tensor, np.ndarray]


def evaluate(fetches: Sequence[Tensor], feeds: Feeds) -> list[np.ndarray]:
    """The values of ``fetches``, by the kernels of the ops that they depend on."""
    values: dict[Tensor, Any] = dict(feeds)
    stack = list(fetches)
    while stack:
        tensor = stack[-1]
        if tensor in values:
            stack.pop()
            continue
        missing = [t for t in tensor.op.inputs if t not in values]
        if missing:
            stack.extend(missing)
            continue
        stack.pop()
        kernel = kernels.lookup(tensor.op.type)
        all_attrs = kernel.op.attr_values(tensor.op.node_def)
        flat = iter(values[t] for t in tensor.op.inputs)
        arguments = [
            [next(flat) for _ in range(all_attrs[arg.number_attr])]
            if arg.number_attr is not None
            else next(flat)
            for arg in kernel.op.inputs
        ]
        attrs = {name: all_attrs[name] for name in kernel.attrs}
        with np.errstate(all="ignore"):
            results = kernel.function(np, *arguments, **attrs)
        results = results if isinstance(results, tuple) else (results,)
        for output, value in zip(tensor.op.outputs, results, strict=True):
            values[output] = np.asarray(value)
            assert values[output].dtype == output.dtype.base_dtype.as_numpy_dtype, output
    return [values[t] for t in fetches]


def assert_gradient(
    function: Callable[..., Tensor], *inputs: Any, differentiable: Sequence[int] | None = None
) -> None:
    """Compares ``tf.gradients`` of ``function`` with its derivative in a random direction.

    The graph is built twice: with the inputs' shapes known and unknown.

    Args:
        function: takes one Tensor per input, returns one Tensor.
        inputs: float64 or complex128 arrays; or others, which count as constants.
        differentiable: which inputs have a gradient; by default those of float64 or complex128.
    """
    arrays = [np.asarray(x) for x in inputs]
    if differentiable is None:
        differentiable = [i for i, x in enumerate(arrays) if x.dtype.kind in "fc"]
    for known in (True, False):
        generator = np.random.default_rng(7)
        graph = Graph()
        with graph.as_default():
            xs = [
                graph.create_op(
                    "Placeholder",
                    [],
                    attrs={
                        "dtype": dtypes.as_dtype(x.dtype), "shape": x.shape if known else None,
                    },
                ).outputs[0]
                for x in arrays
            ]  # fmt: skip
            y = function(*xs)
            seed = graph.create_op(
                "Placeholder", [], attrs={"dtype": y.dtype.base_dtype, "shape": y.shape_tuple}
            ).outputs[0]
            wanted = [xs[i] for i in differentiable]
            results = gradients(y, wanted, grad_ys=seed)
        feeds: Feeds = dict(zip(xs, arrays, strict=True))
        feeds[seed] = _random(generator, evaluate([y], feeds)[0])
        symbolic = evaluate([g for g in results if g is not None], feeds)
        assert len(symbolic) == len(wanted), "an input has no gradient"
        directions = [_random(generator, feeds[x]) for x in wanted]
        for x, g in zip(wanted, symbolic, strict=True):
            assert g.shape == feeds[x].shape, f"gradient {g.shape} of an input {feeds[x].shape}"
        expected = sum(
            np.sum((np.conj(g) * d).real) for g, d in zip(symbolic, directions, strict=True)
        )
        step = 1e-6
        ends = []
        for sign in (1, -1):
            moved = feeds | {
                x: feeds[x] + sign * step * d for x, d in zip(wanted, directions, strict=True)
            }
            ends.append(np.sum((np.conj(feeds[seed]) * evaluate([y], moved)[0]).real))
        numerical = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(expected, numerical, rtol=1e-5, atol=1e-6)


def _random(generator: np.random.Generator, like: np.ndarray) -> np.ndarray:
    values = generator.normal(size=like.shape)
    if like.dtype.kind == "c":
        values = values + 1j * generator.normal(size=like.shape)
    return np.asarray(values).astype(like.dtype)
