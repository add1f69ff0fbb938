"""The errors of TensorFlow: one exception class per status code.

The tree::

    Exception
      OpError
        CancelledError            1
        UnknownError              2
        InvalidArgumentError      3
        DeadlineExceededError     4
        NotFoundError             5
        AlreadyExistsError        6
        PermissionDeniedError     7
        ResourceExhaustedError    8
        FailedPreconditionError   9
        AbortedError             10
        OutOfRangeError          11
        UnimplementedError       12
        InternalError            13
        UnavailableError         14
        DataLossError            15
        UnauthenticatedError     16

The codes are TensorFlow's ``error.Code``, which are gRPC's. Code that runs a graph raises through
functions, ``raise errors.invalid_argument("bad", node="a/b")``, which add the tag of the node. By
it a TensorFlow client finds the op in its graph.
"""

from __future__ import annotations

from typing import Any, Final

OK: Final = 0
CANCELLED: Final = 1
UNKNOWN: Final = 2
INVALID_ARGUMENT: Final = 3
DEADLINE_EXCEEDED: Final = 4
NOT_FOUND: Final = 5
ALREADY_EXISTS: Final = 6
PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
FAILED_PRECONDITION: Final = 9
ABORTED: Final = 10
OUT_OF_RANGE: Final = 11
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
DATA_LOSS: Final = 15
UNAUTHENTICATED: Final = 16


class OpError(Exception):
    """Any failure of a graph's execution; the subclasses stand for the single codes.

    ``op`` and ``node_def`` are the failing operation in the client's graph and its NodeDef, None
    where it is not known (always, on the server's side).
    """

    def __init__(self, node_def: Any, op: Any, message: str, error_code: int) -> None:
        super().__init__(node_def, op, message)
        self._node_def = node_def
        self._op = op
        self._message = message
        self._error_code = error_code

    @property
    def message(self) -> str:
        """The text, without the op's traceback."""
        return self._message

    @property
    def op(self) -> Any:
        """The operation that failed, if known."""
        return self._op

    @property
    def node_def(self) -> Any:
        """The NodeDef of the operation that failed, if known."""
        return self._node_def

    @property
    def error_code(self) -> int:
        """The number of TensorFlow's ``error.Code``."""
        return self._error_code

    def __str__(self) -> str:
        op = self._op
        if op is None:
            return self._message
        lines = [
            self._message,
            "",
            f"Original stack trace for {op.name!r}:",
        ]
        lines += [
            f'  File "{entry[0]}", line {entry[1]}, in {entry[2]}\n    {entry[3] or ""}'.rstrip()
            for entry in getattr(op, "traceback", None) or ()
        ]
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        # An operation belongs to its process's graph; it does not travel.
        return _rebuild, (type(self), self._node_def, self._message, self._error_code)


def _rebuild(cls: type[OpError], node_def: Any, message: str, error_code: int) -> OpError:
    if cls is OpError:
        return OpError(node_def, None, message, error_code)
    return cls(node_def, None, message)  # type: ignore[call-arg]


class _CodedError(OpError):
    """The base of the subclasses: its constructor takes no code."""

    _CODE: int

    def __init__(self, node_def: Any, op: Any, message: str) -> None:
        super().__init__(node_def, op, message, self._CODE)


class CancelledError(_CodedError):
    """The step or session was cancelled, or a queue was closed."""

    _CODE = CANCELLED


class UnknownError(_CodedError):
    """An error without a better code."""

    _CODE = UNKNOWN


class InvalidArgumentError(_CodedError):
    """A value, shape, dtype or attribute is not acceptable."""

    _CODE = INVALID_ARGUMENT


class DeadlineExceededError(_CodedError):
    """The deadline passed before the step was done."""

    _CODE = DEADLINE_EXCEEDED


class NotFoundError(_CodedError):
    """A file, op, tensor or key does not exist."""

    _CODE = NOT_FOUND


class AlreadyExistsError(_CodedError):
    """The file, table or other thing to create exists already."""

    _CODE = ALREADY_EXISTS


class PermissionDeniedError(_CodedError):
    """The caller may not do this."""

    _CODE = PERMISSION_DENIED


class ResourceExhaustedError(_CodedError):
    """Memory, disk or a quota is used up."""

    _CODE = RESOURCE_EXHAUSTED


class FailedPreconditionError(_CodedError):
    """The system is not in the state that the operation needs (an uninitialized variable)."""

    _CODE = FAILED_PRECONDITION


class AbortedError(_CodedError):
    """The operation was ended by another one, or its session is gone."""

    _CODE = ABORTED


class OutOfRangeError(_CodedError):
    """Input is exhausted: the end of a dataset or of a closed queue."""

    _CODE = OUT_OF_RANGE


class UnimplementedError(_CodedError):
    """The operation is not implemented."""

    _CODE = UNIMPLEMENTED


class InternalError(_CodedError):
    """An invariant of the system is broken."""

    _CODE = INTERNAL


class UnavailableError(_CodedError):
    """A worker or the master cannot be reached; trying again may help."""

    _CODE = UNAVAILABLE


class DataLossError(_CodedError):
    """Data is corrupted or lost beyond recovery."""

    _CODE = DATA_LOSS


class UnauthenticatedError(_CodedError):
    """The caller's credentials are missing or wrong."""

    _CODE = UNAUTHENTICATED


_CLASSES: Final[dict[int, type[_CodedError]]] = {
    cls._CODE: cls
    for cls in (
        CancelledError,
        UnknownError,
        InvalidArgumentError,
        DeadlineExceededError,
        NotFoundError,
        AlreadyExistsError,
        PermissionDeniedError,
        ResourceExhaustedError,
        FailedPreconditionError,
        AbortedError,
        OutOfRangeError,
        UnimplementedError,
        InternalError,
        UnavailableError,
        DataLossError,
        UnauthenticatedError,
    )
}


def exception_type_from_error_code(error_code: int) -> type[OpError]:
    """The class of an error code. KeyError for OK and unknown codes."""
    return _CLASSES[error_code]


def error_code_from_exception_type(cls: type[OpError]) -> int:
    """The error code of a class. KeyError for ``OpError`` itself and foreign classes."""
    for code, known in _CLASSES.items():
        if known is cls:
            return code
    raise KeyError(cls)


def from_code(error_code: int, message: str) -> OpError:
    """The exception of an error code; a code that this version does not know gives UnknownError."""
    return _CLASSES.get(error_code, UnknownError)(None, None, message)


def with_node(message: str, node: str | None) -> str:
    """``message`` ending with the tag of ``node``, unless that tag is in it already."""
    if node is None:
        return message
    tag = f"{{{{node {node}}}}}"
    return message if f"[[{tag}" in message else f"{message}\n\t [[{tag}]]"


def at_node(error: OpError, node: str) -> OpError:
    """``error`` with the tag of ``node`` at its end, where TensorFlow's clients look for it."""
    return from_code(error.error_code, with_node(error.message, node))


def cancelled(message: str, *, node: str | None = None) -> CancelledError:
    """A CancelledError, tagged with ``node``."""
    return CancelledError(None, None, with_node(message, node))


def unknown(message: str, *, node: str | None = None) -> UnknownError:
    """An UnknownError, tagged with ``node``."""
    return UnknownError(None, None, with_node(message, node))


def invalid_argument(message: str, *, node: str | None = None) -> InvalidArgumentError:
    """An InvalidArgumentError, tagged with ``node``."""
    return InvalidArgumentError(None, None, with_node(message, node))


def deadline_exceeded(message: str, *, node: str | None = None) -> DeadlineExceededError:
    """A DeadlineExceededError, tagged with ``node``."""
    return DeadlineExceededError(None, None, with_node(message, node))


def not_found(message: str, *, node: str | None = None) -> NotFoundError:
    """A NotFoundError, tagged with ``node``."""
    return NotFoundError(None, None, with_node(message, node))


def already_exists(message: str, *, node: str | None = None) -> AlreadyExistsError:
    """An AlreadyExistsError, tagged with ``node``."""
    return AlreadyExistsError(None, None, with_node(message, node))


def permission_denied(message: str, *, node: str | None = None) -> PermissionDeniedError:
    """A PermissionDeniedError, tagged with ``node``."""
    return PermissionDeniedError(None, None, with_node(message, node))


def resource_exhausted(message: str, *, node: str | None = None) -> ResourceExhaustedError:
    """A ResourceExhaustedError, tagged with ``node``."""
    return ResourceExhaustedError(None, None, with_node(message, node))


def failed_precondition(message: str, *, node: str | None = None) -> FailedPreconditionError:
    """A FailedPreconditionError, tagged with ``node``."""
    return FailedPreconditionError(None, None, with_node(message, node))


def aborted(message: str, *, node: str | None = None) -> AbortedError:
    """An AbortedError, tagged with ``node``."""
    return AbortedError(None, None, with_node(message, node))


def out_of_range(message: str, *, node: str | None = None) -> OutOfRangeError:
    """An OutOfRangeError, tagged with ``node``."""
    return OutOfRangeError(None, None, with_node(message, node))


def unimplemented(message: str, *, node: str | None = None) -> UnimplementedError:
    """An UnimplementedError, tagged with ``node``."""
    return UnimplementedError(None, None, with_node(message, node))


def internal(message: str, *, node: str | None = None) -> InternalError:
    """An InternalError, tagged with ``node``."""
    return InternalError(None, None, with_node(message, node))


def unavailable(message: str, *, node: str | None = None) -> UnavailableError:
    """An UnavailableError, tagged with ``node``."""
    return UnavailableError(None, None, with_node(message, node))


def data_loss(message: str, *, node: str | None = None) -> DataLossError:
    """A DataLossError, tagged with ``node``."""
    return DataLossError(None, None, with_node(message, node))


def unauthenticated(message: str, *, node: str | None = None) -> UnauthenticatedError:
    """An UnauthenticatedError, tagged with ``node``."""
    return UnauthenticatedError(None, None, with_node(message, node))
