"""The error boundary: turns an exception of any kind into an OpError with TensorFlow's code.

Kernels raise OpErrors for what they know to be wrong. Everything else that Python, numpy, XLA or a
callback raises while a stage is loaded or run passes through ``as_op_error``, so that a client sees
the same error in process as on a cluster, and the session goes on.
"""

from __future__ import annotations

from typing import Final

from flowray.proto import errors

_OVERFLOWS: Final = (
    "array is too big",
    "Maximum allowed dimension exceeded",
    "iterator is too large",
    "Python int too large to convert",
)
"""Texts of numpy's and Python's errors about sizes whose product has no number."""


def as_op_error(failure: Exception, what: str = "", node: str | None = None) -> errors.OpError:
    """Returns the OpError for ``failure``.

    An OpError keeps its code and text. Memory that ran out, in Python or in XLA, is
    RESOURCE_EXHAUSTED, a size that numpy cannot count INVALID_ARGUMENT. Everything else is a bug
    and becomes INTERNAL.

    Args:
        failure: the exception.
        what: what failed; the message begins with it, unless ``failure`` is an OpError.
        node: the node to name in the message, if known.
    """
    if isinstance(failure, errors.OpError):
        return failure if node is None else errors.at_node(failure, node)
    text = f"{type(failure).__name__}: {failure}"
    if what:
        text = f"{what}: {text}"
    if _is_out_of_memory(failure):
        return errors.resource_exhausted(text, node=node)
    if isinstance(failure, ValueError | OverflowError) and any(
        words in str(failure) for words in _OVERFLOWS
    ):
        return errors.invalid_argument(f"Encountered overflow in a shape. {text}", node=node)
    return errors.internal(text, node=node)


def _is_out_of_memory(failure: Exception) -> bool:
    """Python and numpy raise MemoryError, XLA a class of its own with the status in the text."""
    if isinstance(failure, MemoryError):
        return True
    is_xla = type(failure).__module__.partition(".")[0] in ("jax", "jaxlib")
    return is_xla and str(failure).startswith("RESOURCE_EXHAUSTED")
