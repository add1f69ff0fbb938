"""tf.logging: TensorFlow's format, level and logger."""

from __future__ import annotations

import subprocess
import sys

import pytest


def stderr_of(code: str) -> list[str]:
    """Returns the stderr of a script, in a process whose logging nobody has configured."""
    done = subprocess.run(
        [sys.executable, "-c", f"import logging\nimport flowray as tf\n{code}"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return done.stderr.splitlines()


def test_the_format_and_the_levels() -> None:
    code = """
tf.logging.info("hidden")
tf.logging.warn("%d of %s", 1, "two")
tf.logging.set_verbosity(tf.logging.DEBUG)
assert tf.logging.get_verbosity() == tf.logging.DEBUG == logging.DEBUG
tf.logging.debug("d")
tf.logging.info("i")
tf.logging.warning("w")
tf.logging.error("e")
tf.logging.fatal("f")
tf.logging.log(tf.logging.INFO, "l")
tf.logging.vlog(tf.logging.INFO, "v")
tf.logging.log_if(tf.logging.INFO, "yes", True)
tf.logging.log_if(tf.logging.INFO, "no", False)
"""
    assert stderr_of(code) == [
        "WARNING:tensorflow:1 of two",
        "DEBUG:tensorflow:d",
        "INFO:tensorflow:i",
        "WARNING:tensorflow:w",
        "ERROR:tensorflow:e",
        "CRITICAL:tensorflow:f",
        "INFO:tensorflow:l",
        "INFO:tensorflow:v",
        "INFO:tensorflow:yes",
    ]


def test_counting_by_line() -> None:
    code = """
for i in range(7):
    tf.logging.log_every_n(tf.logging.ERROR, "every %d", 3, i)
    tf.logging.log_first_n(tf.logging.ERROR, "first %d", 2, i)
    tf.logging.log_first_n(tf.logging.ERROR, "also %d", 1, i)
"""
    texts = [line.removeprefix("ERROR:tensorflow:") for line in stderr_of(code)]
    assert texts == ["every 0", "first 0", "also 0", "first 1", "every 3", "every 6"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_script_may_configure_the_logger(when: str) -> None:
    configure = 'logging.basicConfig(level="INFO", format="%(name)s %(lineno)d %(message)s")\n'
    use = 'tf.logging.info("hello")\ntf.logging.log_first_n(tf.logging.INFO, "first", 1)\n'
    if when == "before":
        code = f"{configure}{use}"
    else:  # a handler of the logger itself
        code = (
            'logging.getLogger("tensorflow").addHandler(logging.NullHandler())\n'
            'tf.logging.set_verbosity("INFO")\n'
            f"{configure}{use}"
        )
    start = 3 if when == "before" else 5
    assert stderr_of(code) == [f"tensorflow {start + 1} hello", f"tensorflow {start + 2} first"]
