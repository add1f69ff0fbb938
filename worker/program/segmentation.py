"""Segmentation: cuts a program's instructions into segments, along the edges between them.

Segments are as few as possible, and convex: no path leaves a segment and comes back to it. To that
end every instruction gets a *mode* and a *phase*. The mode is how it runs: compiled or on the host,
on which device, and under which conditions. Its phase is one more than that of anything it depends
on that runs in another mode. Instructions of one phase and one mode make a segment: every path that
leaves the mode leads to a later phase.

An instruction depends on
* the instructions that make its inputs and its predicates;
* its control inputs;
* earlier uses of a variable or another resource that it writes, and the last write to one that it
  uses: the graph need not order these, but the master did, and segments must not undo it.

One more edge starts a phase: a value that XLA must know when it compiles (the shape of a Reshape)
and that is not known by then. It has to be computed by an earlier segment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from flowray.worker.program import branch_selection
from flowray.worker.program.branch_selection import Selection
from flowray.worker.program.instruction import Condition, Instruction, Slot, slots_of
from flowray.worker.program.segment import HostSegment, Segment, XlaSegment
from flowray.worker.state.store import Resource


class _Mode(NamedTuple):
    """The way in which an instruction runs."""

    compiled: bool
    device: str
    conditions: tuple[Condition, ...]


_Key = tuple[int, _Mode]
"""Phase and mode."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The segments of a program, in the order in which they run, and its selected conditions."""

    segments: tuple[Segment, ...]
    selection: Selection


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts one program.

    Args:
        instructions: in an order in which they can run.
        base: the slots before a run.
        outputs: the slots that are needed after all segments.
        brought: the slots of resources of which only a run knows which they are. What takes or
            makes one runs on the host.
        made: the slots of resources that a run makes. In XLA programs they never leave a segment.
        select: whether XLA programs may compute both branches of a condition.
        hosted: nodes that XLA is known not to compile.
    """

    instructions: Sequence[Instruction]
    base: Sequence[Any]
    outputs: Collection[Slot]
    brought: Collection[Slot] = ()
    made: Collection[Slot] = ()
    select: bool = True
    hosted: Collection[str] = ()

    def cut(self) -> Segmentation:
        """Returns the segmentation.

        Where a resource is made in a run, all that use it are compiled in one segment, or none is:
        groups that would be torn apart move to the host, until there are no more of them.
        """
        before = dependences(self.instructions, self.base)
        waits = self._static_producers()
        groups = self._groups()
        hosted = {i for i, n in enumerate(self.instructions) if n.node in self.hosted}
        hosted.update(self._leaving(groups))
        while True:
            compilable, selection = self._compilable(hosted, groups)
            keys = self._keys(compilable, selection, before, waits)
            torn = [
                group
                for group in groups
                if len({keys[i] for i in group}) > 1 and any(compilable[i] for i in group)
            ]
            if not torn:
                return Segmentation(self._segments(keys, selection), selection)
            hosted.update(i for group in torn for i in group)

    def _compilable(
        self, hosted: Collection[int], groups: Sequence[Collection[int]]
    ) -> tuple[list[bool], Selection]:
        """Returns whether each instruction is to be compiled, and the selection that goes with it.

        Of a group, all instructions are or none is.
        """
        on_host = set(hosted)
        while True:
            compilable = [
                index not in on_host and self._is_compilable(instruction)
                for index, instruction in enumerate(self.instructions)
            ]
            for group in groups:
                if not all(compilable[i] for i in group):
                    for i in group:
                        compilable[i] = False
            selection = branch_selection.select(self.instructions, compilable, self.select)
            compilable = [
                can_compile and not selection.needs_host(instruction)
                for can_compile, instruction in zip(compilable, self.instructions, strict=True)
            ]
            torn = [group for group in groups if len({compilable[i] for i in group}) > 1]
            if not torn:
                return compilable, selection
            on_host.update(i for group in torn for i in group)

    def _is_compilable(self, instruction: Instruction) -> bool:
        slots = (*instruction.input_slots(), *instruction.outputs)
        return instruction.is_compilable and not any(slot in self.brought for slot in slots)

    def _keys(
        self,
        compilable: Sequence[bool],
        selection: Selection,
        before: Sequence[Iterable[int]],
        waits: Sequence[Iterable[int]],
    ) -> list[_Key]:
        """Returns the phase and the mode of each instruction."""
        keys: list[_Key] = []
        for index, instruction in enumerate(self.instructions):
            mode = _Mode(compilable[index], instruction.device, selection.unmasked(instruction))
            phases = [keys[earlier][0] + (keys[earlier][1] != mode) for earlier in before[index]]
            if mode.compiled:
                phases += [keys[earlier][0] + 1 for earlier in waits[index]]
            keys.append((max(phases, default=0), mode))
        return keys

    def _static_producers(self) -> list[list[int]]:
        """Returns, for each instruction, those whose results XLA must know to compile it.

        Not those whose results every trace knows.
        """
        static = static_slots(self.instructions, self.base)
        producers = _producers(self.instructions)
        return [
            [
                producers[slot]
                for position in instruction.op.static_inputs
                for slot in slots_of(instruction.args[position])
                if slot in producers and slot not in static
            ]
            for instruction in self.instructions
        ]

    def _groups(self) -> list[set[int]]:
        """Returns the instructions that use the same resources made in the run, in groups."""
        groups: dict[Slot, set[int]] = {}
        for index, instruction in enumerate(self.instructions):
            touched = self._made_slots(instruction)
            if touched:
                group = {index}.union(*(groups.get(slot, ()) for slot in touched))
                for slot in [s for s, g in groups.items() if not g.isdisjoint(group)] + touched:
                    groups[slot] = group
        return list({id(group): group for group in groups.values()}.values())

    def _leaving(self, groups: Sequence[Collection[int]]) -> Iterable[int]:
        """Yields those that use a resource that leaves the program, which the host must make."""
        for index in {i for group in groups for i in group}:
            if any(s in self.outputs for s in self._made_slots(self.instructions[index])):
                yield index

    def _made_slots(self, instruction: Instruction) -> list[Slot]:
        slots = (*instruction.input_slots(), *instruction.outputs)
        return [slot for slot in slots if slot in self.made]

    def _segments(self, keys: Sequence[_Key], selection: Selection) -> tuple[Segment, ...]:
        members: dict[_Key, list[Instruction]] = {}
        for key, instruction in zip(keys, self.instructions, strict=True):
            members.setdefault(key, []).append(instruction)
        segments: list[Segment] = []
        needed = set(self.outputs)
        for key in reversed(sorted(members, key=lambda key: key[0])):  # noqa: C413 - a stable order
            _, mode = key
            instructions = tuple(members[key])
            inputs = _inputs_of(instructions)
            outputs = tuple(sorted(needed & {s for i in instructions for s in i.outputs}))
            needed.update(inputs)
            segments.append(
                XlaSegment(mode.device, instructions, inputs, outputs, mode.conditions, selection)
                if mode.compiled
                else HostSegment(mode.device, instructions, inputs, outputs, mode.conditions)
            )
        return tuple(segments[::-1])


def dependences(instructions: Sequence[Instruction], base: Sequence[Any]) -> list[tuple[int, ...]]:
    """Returns, for each instruction, the indices of those that must run before it."""
    every = zip(
        _data_dependences(instructions),
        _control_dependences(instructions),
        _state_dependences(instructions, base),
        strict=True,
    )
    return [tuple(dict.fromkeys((*data, *control, *state))) for data, control, state in every]


def _data_dependences(instructions: Sequence[Instruction]) -> list[list[int]]:
    producers = _producers(instructions)
    return [[producers[s] for s in i.input_slots() if s in producers] for i in instructions]


def _control_dependences(instructions: Sequence[Instruction]) -> list[list[int]]:
    indices = {instruction.node: index for index, instruction in enumerate(instructions)}
    return [[indices[name] for name in i.control_inputs if name in indices] for i in instructions]


def _state_dependences(instructions: Sequence[Instruction], base: Sequence[Any]) -> list[list[int]]:
    resources = _resources(instructions, base)
    last_write: dict[int, int] = {}
    reads_since: dict[int, list[int]] = {}
    result: list[list[int]] = []
    for index, instruction in enumerate(instructions):
        uses: dict[int, bool] = {}  # whether it writes each resource that it uses
        for slot in instruction.input_slots():
            writes = slot not in instruction.reads and not instruction.op.reads_only
            for resource in resources.get(slot, ()):
                uses[resource] = uses.get(resource, False) or writes
        before: list[int] = []
        for resource, writes in uses.items():
            if resource in last_write:
                before.append(last_write[resource])
            if writes:
                before.extend(reads_since.pop(resource, []))
                last_write[resource] = index
            else:
                reads_since.setdefault(resource, []).append(index)
        result.append(before)
    return result


def _resources(instructions: Sequence[Instruction], base: Sequence[Any]) -> dict[Slot, set[int]]:
    """Returns the ids of the resources that may be in each slot."""
    found = {slot: {id(value)} for slot, value in enumerate(base) if isinstance(value, Resource)}
    for instruction in instructions:
        passed = set[int]().union(*(found.get(s, ()) for s in instruction.forwarded_inputs()))
        if passed:
            for slot in instruction.forwarding_outputs():
                found[slot] = passed
    return found


def static_slots(instructions: Sequence[Instruction], base: Sequence[Any]) -> set[Slot]:
    """Returns the slots whose values are numpy arrays while XLA traces."""
    static = {slot for slot, value in enumerate(base) if isinstance(value, np.ndarray)}
    for instruction in instructions:
        if instruction.op.shape_only or (
            not instruction.op.stateful
            and not instruction.reads
            and instruction.args
            and all(slot in static for slot in instruction.input_slots())
        ):
            static.update(instruction.outputs)
    return static


def _producers(instructions: Sequence[Instruction]) -> Mapping[Slot, int]:
    """Returns the index of the instruction that makes each slot."""
    return {slot: index for index, i in enumerate(instructions) for slot in i.outputs}


def _inputs_of(instructions: Sequence[Instruction]) -> tuple[Slot, ...]:
    made: set[Slot] = set()
    used: dict[Slot, None] = {}
    for instruction in instructions:
        for slot in instruction.input_slots():
            if slot not in made:
                used[slot] = None
        made.update(instruction.outputs)
    return tuple(used)
