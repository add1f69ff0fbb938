"""``Timeline``: the statistics of a traced step as a Chrome trace (chrome://tracing).

Format: the Trace Event Format's JSON object form; complete events ("X"), times in microseconds.
"""

from __future__ import annotations

import json
import re
from typing import Any

from flowray.proto.graph.tensor_id import node_of
from flowray.proto.messages import config_pb2

_INPUTS = re.compile(r"^[^=]* = (\w+)\((.*)\)")


class Timeline:
    """The trace of ``RunMetadata.step_stats`` (of a run with ``trace_level=FULL_TRACE``)."""

    def __init__(self, step_stats: config_pb2.StepStats, graph: Any = None) -> None:
        self._step_stats = step_stats

    def generate_chrome_trace_format(
        self, show_dataflow: bool = True, show_memory: bool = False
    ) -> str:
        """Returns the JSON text: a process per device, an event per node, arrows along the edges.

        ``show_memory`` is accepted; the statistics have no allocations.
        """
        events: list[dict[str, Any]] = []
        ended: dict[str, tuple[int, int]] = {}  # by node: its process, and when it was done
        for process, device in enumerate(self._step_stats.dev_stats):
            events.append(
                {"name": "process_name", "ph": "M", "pid": process, "args": {"name": device.device}}
            )
            for stats in device.node_stats:
                ended[stats.node_name] = (
                    process,
                    stats.all_start_micros + stats.all_end_rel_micros,
                )
        arrows = 0
        for process, device in enumerate(self._step_stats.dev_stats):
            for stats in device.node_stats:
                match = _INPUTS.match(stats.timeline_label)
                op, inputs = (match[1], match[2]) if match else (stats.node_name, "")
                names = [name.strip() for name in inputs.split(",") if name.strip()]
                arguments = {"name": stats.node_name, "op": op}
                arguments.update({f"input{i}": name for i, name in enumerate(names)})
                events.append(
                    {
                        "name": op,
                        "cat": "Op",
                        "ph": "X",
                        "pid": process,
                        "tid": 0,
                        "ts": stats.all_start_micros,
                        "dur": stats.all_end_rel_micros,
                        "args": arguments,
                    }
                )
                if not show_dataflow:
                    continue
                for name in names:
                    source = ended.get(node_of(name))
                    if source is None:
                        continue
                    flow = {"cat": "DataFlow", "name": name, "id": arrows, "tid": 0}
                    events.append({**flow, "ph": "s", "pid": source[0], "ts": source[1]})
                    events.append({**flow, "ph": "t", "pid": process, "ts": stats.all_start_micros})
                    arrows += 1
        return json.dumps({"traceEvents": events}, indent=2)
