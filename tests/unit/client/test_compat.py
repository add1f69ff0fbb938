"""tf.compat, tf.version and the switches between TensorFlow 1 and 2."""

from __future__ import annotations

import pathlib
import tomllib
from typing import Any

import pytest

import flowray as tf
from flowray.proto import errors


def test_bytes_and_text() -> None:
    assert tf.compat.as_bytes("é") == tf.compat.as_bytes(b"\xc3\xa9") == b"\xc3\xa9"
    assert tf.compat.as_text(b"\xc3\xa9") == tf.compat.as_str("é") == "é"
    assert (tf.compat.as_str_any(3), tf.compat.as_str_any(b"x")) == ("3", "x")
    for convert in (tf.compat.as_bytes, tf.compat.as_text):
        with pytest.raises(TypeError, match="Expected binary or unicode string, got 3"):
            convert(3)
    assert tf.compat.path_to_str(pathlib.Path("/x")) == "/x"
    assert tf.compat.path_to_str(b"y") == b"y"


def test_v1_is_the_public_module() -> None:
    assert tf.compat.v1 is tf
    with pytest.raises(AttributeError, match=r"flowray has no tf\.compat\.v2"):
        _ = tf.compat.v2


def test_scripts_that_ask_for_the_version_find_tensorflow_1() -> None:
    assert tf.__version__ == tf.VERSION == tf.version.VERSION
    assert "1.0" <= tf.__version__ < "2"
    assert [int(part) for part in tf.__version__.split(".")] >= [1, 4]


def test_the_version_of_flowray_itself() -> None:
    project = tomllib.loads((pathlib.Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert f"flowray-{project['project']['version']}" == tf.GIT_VERSION


def test_tensorflow_1_behavior_is_all_there_is() -> None:
    assert not tf.executing_eagerly()
    tf.enable_resource_variables()
    tf.disable_v2_behavior()
    assert not tf.resource_variables_enabled()
    tf.disable_eager_execution()
    switches: tuple[Any, ...] = (
        tf.enable_eager_execution,
        tf.enable_v2_behavior,
        tf.enable_v2_tensorshape,
        tf.enable_tensor_equality,
        tf.enable_control_flow_v2,
    )
    for switch in switches:
        with pytest.raises(errors.UnimplementedError, match=switch.__name__):
            switch()
