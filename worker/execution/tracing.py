"""Timing of single nodes, for ``RunOptions(trace_level=FULL_TRACE)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flowray.proto.messages import config_pb2
from flowray.proto.types import dtypes, shapes
from flowray.worker.program.instruction import Instruction


class Recorder:
    """Collects the NodeExecStats of one run of a stage, by device."""

    def __init__(self) -> None:
        self._by_device: dict[str, config_pb2.DeviceStepStats] = {}

    def add(self, instruction: Instruction, slots: Sequence[Any], begin: float, end: float) -> None:
        """Notes one node that ran from ``begin`` to ``end`` (seconds since the epoch)."""
        device = self._by_device.get(instruction.device)
        if device is None:
            device = config_pb2.DeviceStepStats(device=instruction.device)
            self._by_device[instruction.device] = device
        micros = max(1, round((end - begin) * 1e6))
        stats = device.node_stats.add(
            node_name=instruction.node,
            all_start_micros=int(begin * 1e6),
            op_end_rel_micros=micros,
            all_end_rel_micros=micros,
            all_start_nanos=int(begin * 1e9),
            op_end_rel_nanos=round((end - begin) * 1e9),
            all_end_rel_nanos=round((end - begin) * 1e9),
            scheduled_micros=int(begin * 1e6),
            scheduled_nanos=int(begin * 1e9),
            timeline_label=f"{instruction.node} = {instruction.op.name}()",
        )
        for index, slot in enumerate(instruction.outputs):
            value = slots[slot]
            if isinstance(value, np.ndarray):
                description = stats.output.add(slot=index).tensor_description
                dtype = dtypes.as_dtype(value.dtype).as_datatype_enum
                description.dtype = dtype
                description.shape.CopyFrom(shapes.to_proto(value.shape))

    def stats(self) -> list[config_pb2.DeviceStepStats]:
        """Returns the records so far, one message for each device."""
        return list(self._by_device.values())
