"""XLA's options on CPUs: what each choice costs, over the shapes that programs are made of.

jaxlib 0.10 can give parts of a program to the library YNNPACK
(``xla_cpu_experimental_ynn_fusion_type``, a list of kinds of operations). Each workload is compiled
once with every choice; the choices then run in turns, so that a noisy machine disturbs all alike.
The table has the median milliseconds of a run with flowray's choice (``xla.compiler_options``), and
for the other choices the ratio to it: above 1 means that flowray's choice is faster.

    python benchmarks/xla_options.py [--rounds 15] [--only conv] [--compile-times]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from flowray.worker.execution import xla

OPTION = "xla_cpu_experimental_ynn_fusion_type"
KINDS = {
    "dot": "INDIVIDUAL_DOT",
    "dot+elt": "INDIVIDUAL_DOT,ELTWISE",
    "dot+reduce": "INDIVIDUAL_DOT,REDUCE",
    "dot+elt+reduce": "INDIVIDUAL_DOT,ELTWISE,REDUCE",
}
"""The choices beside flowray's own and XLA's default."""

Workload = tuple[Callable[..., Any], tuple[Any, ...]]


def choices() -> dict[str, Mapping[str, str]]:
    """Compiler options by the name of the choice; the first one is flowray's."""
    result: dict[str, Mapping[str, str]] = {"flowray": xla.compiler_options(), "default": {}}
    for name, kinds in KINDS.items():
        value = ",".join(f"LIBRARY_FUSION_TYPE_{kind}" for kind in kinds.split(",") if kind)
        result[name] = {OPTION: value}
    return result


def workloads() -> dict[str, Workload]:
    """Returns functions of jax.numpy with arguments, by what they compute."""
    jax, jnp = xla.jax(), xla.numpy()
    lax = jax.lax
    random = np.random.default_rng(0)

    def floats(*shape: int) -> Any:
        return random.standard_normal(shape, dtype=np.float32)

    def repeated(function: Callable[[Any], Any], times: int) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for _ in range(times):
                x = function(x)
            return x

        return run

    def convolution(strides: int = 1, groups: int = 1) -> Callable[[Any, Any], Any]:
        return lambda x, w: lax.conv_general_dilated(
            x,
            w,
            (strides, strides),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    def lstm(x: Any, w: Any, b: Any) -> Any:
        h = c = jnp.zeros((x.shape[0], 64), np.float32)
        for t in range(x.shape[1]):
            i, j, f, o = jnp.split(jnp.concatenate([x[:, t], h], 1) @ w + b, 4, 1)
            c = c * jax.nn.sigmoid(f + 1) + jax.nn.sigmoid(i) * jnp.tanh(j)
            h = jnp.tanh(c) * jax.nn.sigmoid(o)
        return h

    def softmax_step(x: Any, y: Any, w: Any, b: Any) -> Any:
        def loss(w: Any, b: Any) -> Any:
            return -jnp.mean(jnp.sum(y * jnp.log(jax.nn.softmax(x @ w + b)), 1))

        dw, db = jax.grad(loss, (0, 1))(w, b)
        return w - 0.5 * dw, b - 0.5 * db

    def adam(w: Any, m: Any, v: Any, g: Any) -> Any:
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        return w - 0.001 * m / (jnp.sqrt(v) + 1e-8), m, v

    def batch_norm(x: Any) -> Any:
        mean = x.sum(0).sum(0).sum(0) / (x.size // x.shape[-1])
        variance = ((x - mean) ** 2).sum(0).sum(0).sum(0) / (x.size // x.shape[-1])
        return (x - mean) * lax.rsqrt(variance + 1e-3)

    def layer_norm(x: Any) -> Any:
        mean = jnp.mean(x, -1, keepdims=True)
        return (x - mean) * lax.rsqrt(jnp.mean((x - mean) ** 2, -1, keepdims=True) + 1e-6)

    def max_pool(x: Any) -> Any:
        return lax.reduce_window(x, -np.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    return {
        "20 tanh and a sum, 1M": (
            lambda x: jnp.sum(repeated(jnp.tanh, 20)(x)),
            (floats(1_000_000),),
        ),
        "20 tanh, 1M": (repeated(jnp.tanh, 20), (floats(1_000_000),)),
        "20 sigmoid, 1M": (repeated(jax.nn.sigmoid, 20), (floats(1_000_000),)),
        "gelu, 1M": (jax.nn.gelu, (floats(1_000_000),)),
        "gradient of relu, 1M": (lambda x, g: jnp.where(x > 0, g, 0), (floats(1_000_000),) * 2),
        "Adam's update, 1M": (
            adam,
            (floats(1_000_000), floats(1_000_000), floats(1_000_000) ** 2, floats(1_000_000)),
        ),
        "20 mul, add, 1M": (repeated(lambda x: x * 0.999 + 0.001, 10), (floats(1_000_000),)),
        "10 mul, add, 1M of float64": (
            repeated(lambda x: x * 0.999 + 0.001, 5),
            (floats(1_000_000).astype(np.float64),),
        ),
        "10 mul, add, 1M of int32": (
            repeated(lambda x: x * 3 + 1, 5),
            (np.arange(1_000_000, dtype=np.int32),),
        ),
        "exp, 1M": (jnp.exp, (floats(1_000_000),)),
        "tanh, 1,000": (jnp.tanh, (floats(1_000),)),
        "add, 64x1024 and a bias": (
            lambda x, b: jax.nn.relu(x + b),
            (floats(64, 1024), floats(1024)),
        ),
        "transpose, NHWC to NCHW, 64x28x28x32": (
            lambda x: x.transpose(0, 3, 1, 2),
            (floats(64, 28, 28, 32),),
        ),
        "concatenate and add, 1000x500 twice": (
            lambda x, y: jnp.concatenate([x, y], 1) + 1,
            (floats(1000, 500), floats(1000, 500)),
        ),
        "batch norm, training, 64x28x28x32": (batch_norm, (floats(64, 28, 28, 32),)),
        "transpose and add, 1000x1000": (lambda x: x + x.T, (floats(1000, 1000),)),
        "sum over rows, 1000x1000": (lambda x: x.sum(0), (floats(1000, 1000),)),
        "sum over columns, 1000x1000": (lambda x: x.sum(1), (floats(1000, 1000),)),
        "sum over images, 64x28x28x32": (
            lambda x: x.sum(0).sum(0).sum(0),
            (floats(64, 28, 28, 32),),
        ),
        "max over columns, 1000x1000": (lambda x: x.max(1), (floats(1000, 1000),)),
        "softmax, 128x10000": (jax.nn.softmax, (floats(128, 10_000),)),
        "softmax, 64x10": (jax.nn.softmax, (floats(64, 10),)),
        "layer norm, 512x768": (layer_norm, (floats(512, 768),)),
        "product, 512x512x512": (jnp.matmul, (floats(512, 512), floats(512, 512))),
        "product, 64x3136x1024": (jnp.matmul, (floats(64, 3136), floats(3136, 1024))),
        "product, 32x128x256": (jnp.matmul, (floats(32, 128), floats(128, 256))),
        "batched product, 96x64x64x64": (jnp.matmul, (floats(96, 64, 64), floats(96, 64, 64))),
        "conv 5x5, 64x14x14x32 to 64": (
            convolution(),
            (floats(64, 14, 14, 32), floats(5, 5, 32, 64)),
        ),
        "conv 3x3, 8x56x56x64 to 64": (
            convolution(),
            (floats(8, 56, 56, 64), floats(3, 3, 64, 64)),
        ),
        "conv 1x1, 8x28x28x256 to 64": (
            convolution(),
            (floats(8, 28, 28, 256), floats(1, 1, 256, 64)),
        ),
        "conv 3x3 stride 2, 8x56x56x64 to 128": (
            convolution(2),
            (floats(8, 56, 56, 64), floats(3, 3, 64, 128)),
        ),
        "max pool 2x2, 64x28x28x32": (max_pool, (floats(64, 28, 28, 32),)),
        "LSTM, 20 steps, 32x64": (lstm, (floats(32, 20, 64), floats(128, 256), floats(256))),
        "softmax regression step": (
            softmax_step,
            (
                floats(100, 784),
                np.eye(10, dtype=np.float32)[random.integers(0, 10, 100)],
                floats(784, 10),
                floats(10),
            ),
        ),
    }


def measure(workload: Workload, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds of a run, and the seconds of the compilation, by choice."""
    jax = xla.jax()
    function, arguments = workload
    programs: dict[str, Any] = {}
    compile_seconds: dict[str, float] = {}
    for name, options in choices().items():
        begin = time.perf_counter()
        programs[name] = jax.jit(function).lower(*arguments).compile(compiler_options=options)
        compile_seconds[name] = time.perf_counter() - begin
    values = [jax.device_put(a) for a in arguments]

    def seconds(program: Any, calls: int) -> float:
        begin = time.perf_counter()
        for _ in range(calls):
            jax.block_until_ready(program(*values))
        return (time.perf_counter() - begin) / calls

    once = min(seconds(programs["flowray"], 2) for _ in range(3))
    calls = max(1, int(0.005 / once))
    runs: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            runs[name].append(seconds(program, calls))
    return {name: statistics.median(times) for name, times in runs.items()}, compile_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="workloads with this text in their names")
    parser.add_argument("--compile-times", action="store_true", help="seconds of compilations")
    options = parser.parse_args()
    others = [name for name in choices() if name != "flowray"]
    print(f"{'':38s} {'ms':>8s} " + " ".join(f"{name:>14s}" for name in others))
    ratios: dict[str, list[float]] = {name: [] for name in others}
    for title, workload in workloads().items():
        if options.only not in title:
            continue
        medians, compile_seconds = measure(workload, options.rounds)
        shown = compile_seconds if options.compile_times else medians
        row = [shown[name] / shown["flowray"] for name in others]
        for name, ratio in zip(others, row, strict=True):
            ratios[name].append(ratio)
        cells = " ".join(f"{ratio:14.2f}" for ratio in row)
        print(f"{title:38s} {shown['flowray'] * 1e3:8.3f} {cells}", flush=True)
    means = [statistics.geometric_mean(ratios[name]) for name in others]
    print(f"{'geometric mean':38s} {'':8s} " + " ".join(f"{mean:14.2f}" for mean in means))


if __name__ == "__main__":
    main()
