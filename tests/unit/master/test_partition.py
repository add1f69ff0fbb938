from __future__ import annotations

from flowray.master.passes.partition import by_device
from flowray.master.passes.placer import place
from flowray.master.passes.validate import validate
from tests.unit.master.fakes import PS, W0, W1, describe, device, graph_def, lines

DEVICES = [device(PS), device(W0), device(W0, "GPU", 0), device(W1)]

GRAPH = validate(
    graph_def("""
        v = VariableV2() @/job:ps
        r = Identity(v) @/job:ps
        x = Neg(r) @/job:worker/task:0/gpu:0
        y = Neg(x, ^r) @/job:worker/task:0/cpu:0
        a = AssignAdd(v, y) @/job:ps
    """)
)
PLACES = place(GRAPH, GRAPH.nodes.values(), {}, DEVICES, default_task=W0)


def test_every_device_gets_a_graph_with_full_names() -> None:
    ps, cpu, gpu = (f"{PS}/device:CPU:0", f"{W0}/device:CPU:0", f"{W0}/device:GPU:0")
    assert [describe(part, devices=True) for part in by_device(GRAPH, PLACES)] == [
        lines(f"""
            v = VariableV2() @{ps}
            r = Identity(v) @{ps}
            a = AssignAdd(v, y) @{ps}
        """),
        [f"y = Neg(x, ^r) @{cpu}"],
        [f"x = Neg(r) @{gpu}"],
    ]


def test_parts_have_the_library_and_the_versions() -> None:
    given = graph_def("a = Const()", producer=99)
    given.library.function.add().signature.name = "f"
    graph = validate(given)
    places = place(graph, graph.nodes.values(), {}, DEVICES, default_task=W0)
    (part,) = by_device(graph, places)
    assert [f.signature.name for f in part.library.function] == ["f"]
    assert part.versions.producer == 99
