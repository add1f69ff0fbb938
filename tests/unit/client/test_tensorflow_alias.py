"""``import tensorflow`` gets flowray, in a process that asked for it."""

from __future__ import annotations

import subprocess
import sys


def check(code: str) -> None:
    """Runs statements after ``install()`` in a process of their own; they assert."""
    prelude = "from flowray.client.platform import tensorflow_alias\ntensorflow_alias.install()\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_the_public_names() -> None:
    check("""
import flowray
import tensorflow as tf
import tensorflow.compat.v1 as v1
import tensorflow.train
import tensorflow.contrib.layers as layers
from tensorflow import flags
from tensorflow.contrib import framework
assert tf is v1 is flowray
assert tensorflow.train is flowray.train and flags is flowray.flags
assert layers is flowray.contrib.layers and framework is flowray.contrib.framework
""")


def test_flowrays_own_modules_stay_what_they_are() -> None:
    check("""
import importlib
import flowray
import tensorflow.train
assert flowray.__spec__.name == flowray.__name__ == "flowray"
assert flowray.train.__spec__.name == "flowray.client.api.train"
tensorflow_alias.install()
finders = [f.root for f in __import__("sys").meta_path if type(f).__name__ == "ModuleFinder"]
assert finders == ["tensorflow", "flowray"]
""")


def test_what_there_is_not() -> None:
    check("""
import importlib
for name in ("tensorflow.pyton", "tensorflow.keras", "tensorflow.contrib.tpu", "tensorflow.add",
             "tensorflow.compat.v2", "tensorflow.cores.framework"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        parent = name.rpartition(".")[0]
        assert error.name in (name, parent), error.name
        assert f"flowray has no module {error.name}" in str(error), str(error)
    else:
        raise AssertionError(name)
""")


def test_another_tensorflow_is_not_replaced() -> None:
    code = """
import sys, types
sys.modules["tensorflow"] = types.ModuleType("tensorflow")
from flowray.client.platform import tensorflow_alias
try:
    tensorflow_alias.install()
except RuntimeError as error:
    assert "imported already" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_sessions_without_a_target_go_where_the_environment_says() -> None:
    check("""
import os
import tensorflow as tf
os.environ["FLOWRAY_TARGET"] = "nowhere"
try:
    tf.Session()
except tf.errors.NotFoundError as error:
    assert '{target: "nowhere"}' in error.message
else:
    raise AssertionError
tf.Session("local").close()
""")
