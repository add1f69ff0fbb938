"""The scripts of tests/integration print on TensorFlow what they print under ``flowray run``."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.integration.cluster import ENVIRONMENT, ROOT, command

pytest.importorskip("tensorflow")

# TensorFlow 2 has TensorFlow 1 inside, which is what such a script has to find.
ON_TENSORFLOW = """
import runpy, sys
import tensorflow
tensorflow.compat.v1.disable_v2_behavior()
sys.modules["tensorflow"] = tensorflow.compat.v1
sys.argv[:] = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def output(*arguments: str) -> str:
    done = subprocess.run(
        arguments, capture_output=True, text=True, env=ENVIRONMENT, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["matmul.py", "device.py", "softmax.py"])
def test_the_same_output(name: str) -> None:
    script = str(ROOT / "tests/integration/scripts" / name)
    ours = output(*command("run", script))
    assert ours == output(sys.executable, "-c", ON_TENSORFLOW, script)
