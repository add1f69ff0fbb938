"""Loops: graphs that TensorFlow built, with its gradients, give on flowray what they give there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flowray.deploy.in_process import InProcessTransport
from flowray.proto import config_pb2, graph_pb2
from flowray.worker.runtime import RuntimeOptions
from tests.conformance.loop_programs import PROGRAMS, Built

tensorflow = pytest.importorskip("tensorflow")
tf = tensorflow.compat.v1


@pytest.fixture(autouse=True)
def control_flow_of_version_1():
    was_enabled, resources = tf.control_flow_v2_enabled(), tf.resource_variables_enabled()
    tf.disable_control_flow_v2()
    tf.disable_resource_variables()
    with tf.Graph().as_default():
        yield
    if was_enabled:
        tf.enable_control_flow_v2()
    if resources:
        tf.enable_resource_variables()


def tensors_of(tf: Any, built: Built) -> list[Any]:
    return [
        tf.convert_to_tensor(item) if hasattr(item, "values") else item for item in built.fetches
    ]


class Runner:
    """Runs a GraphDef, whoever made it, on a flowray of this process."""

    def __init__(self, graph_def: Any, mode: Any) -> None:
        self._transport = InProcessTransport(
            config_pb2.ConfigProto(), RuntimeOptions(compile=mode, gpus=0)
        )
        parsed = graph_pb2.GraphDef.FromString(graph_def.SerializeToString())
        self._handle = self._transport.create_session(parsed, config_pb2.ConfigProto())

    def __call__(self, fetches: list[Any], feeds: dict[Any, Any], targets: list[Any] = []) -> Any:  # noqa: B006
        values = {t.name: np.asarray(v, t.dtype.as_numpy_dtype) for t, v in feeds.items()}
        fetched, _ = self._transport.run_step(
            self._handle, list(values), list(values.values()), [t.name for t in fetches],
            [op.name for op in targets], None,
        )  # fmt: skip
        return fetched

    def initialize(self, built: Built) -> None:
        if built.variables:
            self([], {}, [variable.initializer for variable in built.variables])


def theirs(name: str) -> tuple[Built, list[Any], list[Any]]:
    """A program built by TensorFlow, its tensors to fetch, and what they are there."""
    built = PROGRAMS[name](tf)
    fetches = tensors_of(tf, built)
    with tf.Session() as session:
        for variable in built.variables:
            session.run(variable.initializer)
        return built, fetches, session.run(fetches, built.feeds)


def check(ours: list[Any], expected: list[Any]) -> None:
    for i, (mine, wanted) in enumerate(zip(ours, expected, strict=True)):
        assert mine.dtype == wanted.dtype, i
        assert mine.shape == wanted.shape, i
        np.testing.assert_allclose(mine, wanted, rtol=2e-5, atol=1e-6, err_msg=str(i))


@pytest.mark.parametrize("mode", ["never", "eager"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_tensorflow_built(name, mode):
    built, fetches, expected = theirs(name)
    run = Runner(tf.get_default_graph().as_graph_def(), mode)
    run.initialize(built)
    check(run(fetches, built.feeds), expected)
