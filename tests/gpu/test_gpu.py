"""The runtime on a GPU: skips itself where there is none, and needs no Ray."""

from __future__ import annotations

import numpy as np
import pytest

from flowray.client.framework.graph import Graph
from flowray.client.framework.op_builder import apply_op
from flowray.proto.messages import graph_pb2
from flowray.proto.wire.stage import Stage
from flowray.worker.execution import xla
from flowray.worker.runtime import Runtime, RuntimeOptions

TASK = "/job:worker/replica:0/task:0"

pytestmark = pytest.mark.skipif(xla.gpu_count(None) == 0, reason="no GPU")


def test_a_segment_on_the_gpu_gives_what_the_cpu_gives() -> None:
    with Graph().as_default() as graph:
        x = apply_op("Placeholder", dtype="float32", shape=[None, 64], name="x")
        v = apply_op("VariableV2", shape=[64, 32], dtype="float32", name="v")
        apply_op("Assign", v, apply_op("Placeholder", dtype="float32", name="w"), name="init")
        hidden = apply_op("Tanh", apply_op("MatMul", x, v, name="mm"), name="y")
        apply_op("AssignAdd", v, apply_op("MatMul", x, hidden, transpose_a=True), name="up")
    results = {}
    for device in ("CPU:0", "GPU:0"):
        runtime = Runtime(TASK, RuntimeOptions(compile="eager"))
        nodes = [n for n in graph.as_graph_def().node if n.op != "Placeholder"]
        for node in nodes:
            node.device = f"{TASK}/device:{device}"

        def stage(
            handle: str,
            names: set[str],
            inputs: tuple[str, ...],
            outputs: tuple[str, ...],
            nodes: list[graph_pb2.NodeDef] = nodes,
        ) -> Stage:
            chosen = [n for n in nodes if n.name in names]
            return Stage(handle, "s", graph_pb2.GraphDef(node=chosen), inputs, outputs)

        runtime.register(stage("init", {"v", "init"}, ("w:0",), ()))
        everything = {n.name for n in nodes} - {"init"}
        runtime.register(stage("step", everything, ("x:0",), ("y:0", "up:0")))
        random = np.random.RandomState(0)
        runtime.run("init", 1, [random.randn(64, 32).astype(np.float32) / 8])
        batch = random.randn(16, 64).astype(np.float32)
        for step in range(3):
            outputs, _ = runtime.run("step", 2 + step, [batch])
        results[device] = outputs
        if device == "GPU:0":
            (value,) = [
                r.device_value()
                for r in runtime.state._resources.values()  # type: ignore[attr-defined]
            ]
            assert {d.platform for d in value.devices()} == {"gpu"}
    for cpu, gpu in zip(results["CPU:0"], results["GPU:0"], strict=True):
        np.testing.assert_allclose(gpu, cpu, rtol=2e-2, atol=1e-3)  # the GPU multiplies in TF32


def test_the_task_lists_its_gpus() -> None:
    names = [d.name for d in Runtime(TASK).devices()]
    assert f"{TASK}/device:GPU:0" in names
