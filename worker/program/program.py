"""Programs: stages and bodies of functions, made ready to run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowray.proto.types import dtypes
from flowray.proto.wire.stage import Stage
from flowray.worker.program.branch_selection import Selection
from flowray.worker.program.instruction import Condition, Instruction, Slot, conjunction
from flowray.worker.program.segment import Segment
from flowray.worker.state.store import Resource


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A loaded stage, or the loaded body of a function. ``str`` prints it, line by line::

        %0 = input x:0
        %1 = constant float32[2]
        %2 = resource v
        host on /job:worker/replica:0/task:0/device:CPU:0 (%0, %1) -> %3
            %3 = AddV2(%0, %1) 'sum'
        xla on /job:worker/replica:0/task:0/device:CPU:0 (%2, %3) -> %4
            %4 = AssignAdd(%2, %3) 'train'
        return handle %4 train:0

    A slot that is not listed as an input, a constant or a resource gets its value from an
    instruction. ``*%2`` is the value of the reference in slot 2.
    """

    stage: Stage
    base: tuple[Any, ...]
    """The slots before a run: constants and resources in their places, None elsewhere."""
    inputs: tuple[Slot, ...]
    """The slots of ``stage.inputs``."""
    input_is_handle: tuple[bool, ...]
    """For each input, whether it comes as a handle of a resource."""
    instructions: tuple[Instruction, ...]
    """All of them, in an order in which they can run."""
    segments: tuple[Segment, ...]
    """The same instructions, cut."""
    selection: Selection
    """The conditions that XLA programs select."""
    outputs: tuple[Slot, ...]
    """The slots of ``stage.outputs``."""
    output_is_handle: tuple[bool, ...]
    """For each output, whether it leaves as a handle of a resource."""
    output_conditions: tuple[tuple[Condition, ...], ...]
    """For each output, the conditions under which it is live."""

    def slots(self) -> list[Any]:
        """Returns the slots for a run, with all that is known before it."""
        return list(self.base)

    @property
    def is_traceable(self) -> bool:
        """Says whether a trace can run all instructions, as one of a function has to."""
        return all(i.is_traceable and self.selection.covers(i) for i in self.instructions)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        stage = self.stage
        for slot, name, is_handle in zip(
            self.inputs, stage.inputs, self.input_is_handle, strict=True
        ):
            yield f"%{slot} = {'handle' if is_handle else 'input'} {name}"
        made = {slot for instruction in self.instructions for slot in instruction.outputs}
        for slot, value in enumerate(self.base):
            if isinstance(value, np.ndarray):
                shape = ",".join(map(str, value.shape))
                yield f"%{slot} = constant {dtypes.as_dtype(value.dtype).name}[{shape}]"
            elif isinstance(value, Resource) and slot not in made:
                yield f"%{slot} = resource {value.name}"
        yield from map(str, self.segments)
        for slot, name, is_handle, conditions in zip(
            self.outputs, stage.outputs, self.output_is_handle, self.output_conditions, strict=True
        ):
            condition = f" if {conjunction(conditions)}" if conditions else ""
            yield f"return {'handle ' if is_handle else ''}%{slot} {name}{condition}"
