"""Functions, which a kernel gets for an attribute of kind "func"."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowray.proto import errors
from flowray.proto.graph import functions
from flowray.proto.messages import graph_pb2
from flowray.worker.program.executor import Executor, current
from flowray.worker.state.store import Resource

if TYPE_CHECKING:
    from flowray.worker.program.program import Program


class Function:
    """A function of a stage's library, ready to be called.

    A call runs the body on the executor that runs the calling kernel: on numpy arrays, or on
    tracers while a segment is compiled. Several threads may call it at the same time.

    Args:
        name: the name of the function.
        load: makes the program of the body.
        definitions: the library that it is in, with its own definition and those of what it calls;
            None for one that has no definition.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Program],
        definitions: Mapping[str, graph_pb2.FunctionDef] | None = None,
    ) -> None:
        self.name = name
        self.definitions = definitions or {}
        self._load = load
        self._program: Program | None = None
        self._lock = threading.RLock()
        self._is_compilable: bool | None = None

    @property
    def program(self) -> Program:
        """The body, which is loaded at first use; OpError if something is wrong with it."""
        if self._program is None:
            with self._lock:
                if self._program is None:
                    self._program = self._load()
        return self._program

    def __call__(self, *arguments: Any) -> list[Any]:
        """Returns the results, for arrays (or resources) as arguments.

        Raises:
            InvalidArgumentError: there are too many arguments, or too few.
            OpError: of the node of the body that failed.
        """
        executor = current()
        if executor is None:
            raise RuntimeError(
                f"function {self.name} is called by a thread that runs no instructions"
            )
        slots = self.slots(executor, arguments)
        executor.run_program(self.program, slots)
        return [slots[slot] for slot in self.program.outputs]

    def slots(self, executor: Executor, arguments: Sequence[Any]) -> list[Any]:
        """Returns the slots before a call, with the arguments in them. Raises as a call does."""
        program = self.program
        if len(arguments) != len(program.inputs):
            raise errors.invalid_argument(
                f"Function {self.name} takes {len(program.inputs)} arguments, not {len(arguments)}"
            )
        slots = executor.slots(program)
        for slot, argument in zip(program.inputs, arguments, strict=True):
            slots[slot] = argument
        return slots

    @property
    def is_compilable(self) -> bool:
        """Says whether XLA can compile the body. It cannot compile a recursive one."""
        if self._is_compilable is None:
            self._is_compilable = False  # so a body that calls itself finds
            self._is_compilable = self.program.is_traceable
        return self._is_compilable

    def resources(self) -> Iterable[Resource]:
        """Yields the resources that the body, and the functions that it calls, name themselves."""
        program = self.program
        yield from (value for value in program.base if isinstance(value, Resource))
        for instruction in program.instructions:
            yield from instruction.own_resources()


class FunctionLibrary:
    """The functions of one stage.

    Args:
        definitions: the FunctionDefs by name.
        load: makes a program of a body, for the function of the given name.
    """

    def __init__(
        self,
        definitions: Mapping[str, graph_pb2.FunctionDef],
        load: Callable[[str, functions.FunctionBody], Program],
    ) -> None:
        self._definitions = definitions
        self._load = load
        self._functions: dict[bytes, Function] = {}

    def get(self, call: graph_pb2.NameAttrList) -> Function:
        """Returns the function that an attribute names; NotFoundError if there is no such one."""
        key = call.SerializeToString(deterministic=True)
        found = self._functions.get(key)
        if found is None:
            definition = self._definitions.get(call.name)
            if definition is None:
                raise errors.not_found(f"Function {call.name} is not defined.")
            found = self._functions[key] = Function(
                call.name,
                lambda: self._load(
                    call.name, functions.body_of(definition, call.attr, self._definitions)
                ),
                self._definitions,
            )
        return found
