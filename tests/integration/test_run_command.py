"""``flowray run``: scripts of TensorFlow 1 as its tutorials have them, unmodified."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.cluster import ENVIRONMENT, Cluster, command

SCRIPTS = Path(__file__).parent / "scripts"


def run(script: Path | str, *arguments: str, target: str = "") -> subprocess.CompletedProcess[str]:
    options = ["--target", target] if target else []
    return subprocess.run(
        command("run", *options, str(SCRIPTS / script), *arguments),
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=150,
        check=False,
    )


MATMUL_OUTPUT = """\
[[12.]]
[array([[24.]], dtype=float32)]
0
1
2
3
[array([14.], dtype=float32)]
[-2. -1.]
"""


def test_constants_variables_placeholders() -> None:
    done = run("matmul.py")
    assert (done.returncode, done.stdout) == (0, MATMUL_OUTPUT), done.stderr


def test_a_device_that_is_not_there() -> None:
    done = run("device.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "InvalidArgumentError True True\n[[12.]]\n"


def test_softmax_regression_with_flags_and_summaries(tmp_path: Path) -> None:
    done = run("softmax.py", "--steps", "60", f"--logdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    accuracy, cross_entropy = (float(line.split()[-1]) for line in done.stdout.splitlines())
    assert accuracy > 0.98
    assert cross_entropy < 0.1
    (events,) = tmp_path.iterdir()
    assert events.stat().st_size > 60 * len("cross_entropy")


def test_a_convolutional_network() -> None:
    done = run("cnn.py")
    assert (done.returncode, done.stdout) == (0, "accuracy above 95 %: True\n"), done.stderr


def test_the_names_of_tensorflow_compat_and_contrib() -> None:
    done = run("compat_v1.py")
    assert (done.returncode, done.stdout) == (0, "scope/w ()\n"), done.stderr


def test_a_script_finds_what_python_gives_it() -> None:
    done = run("arguments.py", "--flag", "value", "--help")
    assert done.returncode == 4, done.stderr
    assert done.stdout == (
        "__main__ ['--flag', 'value', '--help'] neighbour 1.15.0\n"
        "['/job:localhost/replica:0/task:0/device:CPU:0']\n"
    )
    assert done.stderr == "INFO:tensorflow:told\n"


def test_on_a_cluster(cluster: Cluster) -> None:
    done = run("arguments.py", target=cluster.target)
    assert done.returncode == 4, done.stderr
    assert "/job:worker/replica:0/task:1/device:CPU:0" in done.stdout
    done = run("softmax.py", "--steps=20", target=cluster.target)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("accuracy 0.9") or done.stdout.startswith("accuracy 1.0")


def test_a_traceback_begins_in_the_script(tmp_path: Path) -> None:
    script = tmp_path / "bad.py"
    script.write_text("import tensorflow as tf\ntf.constant('x') + 1\n")
    done = run(script)
    assert done.returncode == 1
    first, second, *_ = done.stderr.splitlines()
    assert first == "Traceback (most recent call last):"
    assert second == f'  File "{script}", line 2, in <module>'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("from tensorflow.python.keras import layers", "flowray has no tensorflow.python.keras: "),
        (
            "import tensorflow.contrib.tpu",
            "flowray has no module tensorflow.contrib.tpu (flowray does not have tf.contrib.tpu: ",
        ),
        ("from tensorflow import fft", "flowray does not have tf.fft yet. Use numpy's function"),
    ],
)
def test_what_flowray_does_not_have_is_named(tmp_path: Path, line: str, message: str) -> None:
    script = tmp_path / "bad.py"
    script.write_text(f"{line}\n")
    done = run(script)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError")


def test_the_modules_that_scripts_import_beside_tensorflow(tmp_path: Path) -> None:
    script = tmp_path / "loop.py"
    script.write_text("""
import tensorflow as tf
from tensorflow.core.framework import graph_pb2
from tensorflow.python.framework import ops
from tensorflow.python.ops import control_flow_ops, tensor_array_ops

ops.reset_default_graph()
array = tensor_array_ops.TensorArray(tf.float32, 3)
_, array = control_flow_ops.while_loop(
    lambda i, t: i < 3, lambda i, t: (i + 1, t.write(i, 1.0)), [0, array]
)
graph_pb2.GraphDef().MergeFrom(ops.get_default_graph().as_graph_def())
print(tf.Session().run(tf.reduce_sum(array.stack())))
""")
    done = run(script)
    assert done.stdout == "3.0\n", done.stderr


def test_no_such_script() -> None:
    done = run("nothing.py")
    assert done.returncode == 2
    assert "nothing.py' does not exist" in done.stderr
