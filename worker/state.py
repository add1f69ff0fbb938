"""State that outlives a step: variables and other resources, by container and name.

As TensorFlow's ResourceMgr: the state belongs to the task, not to a session; sessions that use the
same names share it, and it lives until ``reset`` or the end of the task.
"""

from __future__ import annotations

import threading
from typing import Any

from flowray.proto import errors
from flowray.proto.dtypes import DType


class Variable:
    """A variable's value: a numpy or JAX array, or (while a segment is traced) a tracer.

    Values are immutable: ``assign`` replaces the array and never writes into it, so what ``read``
    returned stays what it was.
    """

    __slots__ = ("_value", "dtype", "name", "shape")

    def __init__(self, name: str, dtype: DType, value: Any = None, shape: Any = None) -> None:
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self._value = value

    @property
    def is_initialized(self) -> bool:
        return self._value is not None

    def read(self) -> Any:
        """The value; FailedPreconditionError if there is none yet."""
        if self._value is None:
            raise errors.failed_precondition(
                f"Attempting to use uninitialized value {self.name}"
            )
        return self._value

    def assign(self, value: Any) -> None:
        self._value = value

    def clear(self) -> None:
        """Makes the variable uninitialized again."""
        self._value = None
