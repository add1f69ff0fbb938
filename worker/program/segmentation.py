"""Segmentation: cuts a program's instructions into segments, along the edges between them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from flowray.worker.program import branch_selection
from flowray.worker.program.instruction import Condition, Instruction, Slot, slots_of
from flowray.worker.program.segment import HostSegment, Segment, XlaSegment
from flowray.worker.state.store import Resource

_Way = tuple[bool, str, tuple[Condition, ...]]
"""How an instruction runs: compiled or on the host, on which device, under which conditions."""
_Key = tuple[int, _Way]


class Cutter:
    """Finds out how the instructions of one program run.

    Args:
        instructions: in an order in which they can run; ``after`` may get more entries.
        base: the slots before a run.
        producers: the instruction that makes a slot, by index.
        given: the slots of resources that a run brings: which these are shows only then.
        made: the slots of resources that a run makes. In XLA programs they never leave a segment.
        select: whether programs may compute both branches of a condition.
        hosted: nodes that XLA is known not to compile.
    """

    def __init__(
        self,
        instructions: Sequence[Instruction],
        base: Sequence[Any],
        producers: Mapping[Slot, int],
        given: Collection[Slot],
        made: Collection[Slot],
        select: bool,
        hosted: Collection[str],
    ) -> None:
        self._instructions = instructions
        self._base = base
        self._producers = producers
        self._given = given
        self._made = made
        self._select = select
        self._hosted = {i for i, n in enumerate(instructions) if n.node in hosted}
        self._static = self._static_slots()

    def cut(self, outputs: Collection[Slot]) -> list[Segment]:
        """As few segments as possible. ``outputs``: the slots that are needed after all of them.

        An instruction's phase is one more than that of anything it needs that runs in another way
        (host or compiled, or on another device); those of one phase and one way make a segment,
        which is convex because every path that leaves the segment's way leads to a later phase.
        """
        self._order_state()
        groups = self._sharing(outputs)
        while True:
            compilable = self._compilable(groups)
            keys = self._keys(compilable)
            apart = [group for group in groups if len({keys[i] for i in group}) > 1]
            apart = [group for group in apart if any(compilable[i] for i in group)]
            if not apart:
                break
            self._hosted.update(i for group in apart for i in group)
        members: dict[_Key, list[Instruction]] = {}
        for key, instruction in zip(keys, self._instructions, strict=True):
            members.setdefault(key, []).append(instruction)
        ordered = sorted(members, key=lambda key: key[0])
        return _segments([(way, members[phase, way]) for phase, way in ordered], outputs)

    def _compilable(self, groups: Sequence[Collection[int]]) -> list[bool]:
        """Whether each instruction can be compiled; of a group, all are or none."""
        while True:
            compilable = [
                index not in self._hosted and self._is_compilable(instruction)
                for index, instruction in enumerate(self._instructions)
            ]
            for group in groups:
                if not all(compilable[i] for i in group):
                    self._hosted.update(group)
                    for i in group:
                        compilable[i] = False
            if any(i.conditions or i.input_conditions for i in self._instructions):
                branch_selection.choose(self._instructions, compilable, self._select)
            torn = [g for g in groups if len({compilable[i] for i in g}) > 1]
            if not torn:
                return compilable
            self._hosted.update(i for group in torn for i in group)

    def _is_compilable(self, instruction: Instruction) -> bool:
        if any(slot in self._given for slot in instruction.input_slots()):
            return False
        return instruction.is_compilable

    def _keys(self, compilable: Sequence[bool]) -> list[_Key]:
        """Phase and way of each instruction."""
        keys: list[_Key] = []
        for instruction, can_compile in zip(self._instructions, compilable, strict=True):
            unmasked = [g for g in instruction.conditions if g not in instruction.masks]
            way = (can_compile, instruction.device, tuple(unmasked))
            phase = 0
            for index in instruction.after:
                before, way_before = keys[index]
                phase = max(phase, before + (way_before != way))
            if can_compile:
                for position in instruction.op.static_inputs:
                    for slot in slots_of(instruction.args[position]):
                        if slot in self._producers and slot not in self._static:
                            # Its value must be there before XLA can compile this instruction.
                            phase = max(phase, keys[self._producers[slot]][0] + 1)
            keys.append((phase, way))
        return keys

    def _sharing(self, outputs: Collection[Slot]) -> list[set[int]]:
        """The instructions that use the same resources made in the run, in groups.

        What leaves the program is made on the host.
        """
        groups: dict[Slot, set[int]] = {}
        for index, instruction in enumerate(self._instructions):
            touched = [
                slot
                for slot in (*instruction.input_slots(), *instruction.outputs)
                if slot in self._made
            ]
            if touched:
                group = {index}.union(*(groups.get(slot, ()) for slot in touched))
                if any(slot in outputs for slot in touched):
                    self._hosted.add(index)
                for slot in [s for s, g in groups.items() if not g.isdisjoint(group)] + touched:
                    groups[slot] = group
        return list({id(group): group for group in groups.values()}.values())

    def _order_state(self) -> None:
        """Keeps the stage's order among the instructions that touch a variable one of them writes.

        The graph need not order them; the master did, and segments must not undo it.
        """
        last_write: dict[int, int] = {}
        reads_since: dict[int, list[int]] = {}
        for index, instruction in enumerate(self._instructions):
            for slot in dict.fromkeys(instruction.input_slots()):
                resource = self._base[slot]
                if not isinstance(resource, Resource):
                    continue
                key = id(resource)
                if key in last_write:
                    instruction.after.append(last_write[key])
                if slot not in instruction.reads and not instruction.op.reads_only:
                    instruction.after.extend(reads_since.pop(key, []))
                    last_write[key] = index
                else:
                    reads_since.setdefault(key, []).append(index)

    def _static_slots(self) -> set[Slot]:
        """Slots whose values are numpy arrays while XLA traces."""
        static = {slot for slot, value in enumerate(self._base) if isinstance(value, np.ndarray)}
        for instruction in self._instructions:
            if instruction.op.shape_only or (
                not instruction.op.stateful
                and not instruction.reads
                and instruction.args
                and all(slot in static for slot in instruction.input_slots())
            ):
                static.update(instruction.outputs)
        return static


def _segments(
    parts: Sequence[tuple[_Way, Sequence[Instruction]]], outputs: Iterable[Slot]
) -> list[Segment]:
    """The segments of these instructions, in order; each with the outputs that are needed."""
    segments: list[Segment] = []
    needed = set(outputs)
    for (compilable, device, conditions), instructions in reversed(parts):
        kind = XlaSegment if compilable else HostSegment
        inputs = _inputs_of(instructions)
        made = {slot for i in instructions for slot in i.outputs}
        segments.append(
            kind(device, tuple(instructions), inputs, tuple(sorted(made & needed)), conditions)
        )
        needed.update(inputs)
    return segments[::-1]


def _inputs_of(instructions: Sequence[Instruction]) -> tuple[Slot, ...]:
    made: set[Slot] = set()
    used: dict[Slot, None] = {}
    for instruction in instructions:
        for slot in instruction.input_slots():
            if slot not in made:
                used[slot] = None
        made.update(instruction.outputs)
    return tuple(used)
