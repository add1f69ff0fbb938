"""The client stays light: numpy, protobuf, grpcio, ml_dtypes, and nothing slow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def _run(code: str, environment: Mapping[str, str] | None = None) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=environment,
    )
    return result.stdout.strip()


def test_importing_flowray_loads_neither_jax_nor_ray() -> None:
    heavy = ("jax", "ray", "tensorflow", "tensorboard", "scipy", "matplotlib", "click")
    code = f"import flowray, sys; print([m for m in {heavy!r} if m in sys.modules])"
    assert _run(code) == "[]"


def test_importing_flowray_takes_less_than_half_a_second(tmp_path: Path) -> None:
    code = "import time; t = time.process_time(); import flowray; print(time.process_time() - t)"
    # As installed: with the bytecode that Python keeps, and may be told here not to write.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    _run(code, environment)
    # CPU time, the best of a few: the machine's other work is not what this is about.
    assert min(float(_run(code, environment)) for _ in range(5)) < 0.5


def test_a_session_without_a_target_needs_no_ray() -> None:
    code = (
        "import flowray as tf, sys\n"
        "x = tf.placeholder(tf.float32)\n"
        "with tf.Session() as s: print(s.run(x + 1.0, {x: 2.0}))\n"
        "print('ray' in sys.modules, 'jax' in sys.modules)\n"
    )
    assert _run(code).split() == ["3.0", "False", "False"]
