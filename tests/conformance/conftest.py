"""Fixtures of several conformance tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def tensorflow_1() -> Iterator[None]:
    """Reference variables and Switch and Merge in TensorFlow, as in version 1."""
    import tensorflow.compat.v1 as tf1

    resources, control_flow = tf1.resource_variables_enabled(), tf1.control_flow_v2_enabled()
    tf1.disable_resource_variables()
    tf1.disable_control_flow_v2()
    yield
    if resources:
        tf1.enable_resource_variables()
    if control_flow:
        tf1.enable_control_flow_v2()
