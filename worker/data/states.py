"""Saved states of iterators as bytes. Reading them runs no code, whoever wrote them."""

from __future__ import annotations

import io
import pickle
from typing import Any, Final

from flowray.proto import errors

_MODULES: Final = frozenset({"ml_dtypes"})
_NAMES: Final = frozenset(
    {
        ("collections", "deque"),
        ("flowray.proto.errors", "_rebuild"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
    }
)
"""The functions and types in a state, besides Python's plain values."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        is_error = module == "flowray.proto.errors" and name.endswith("Error")
        if module in _MODULES or (module, name) in _NAMES or is_error:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name}")


def dump(state: Any) -> bytes:
    """Serializes a state.

    Raises:
        UnimplementedError: it holds a value that cannot be serialized, such as a dataset.
    """
    try:
        return pickle.dumps(state, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise errors.unimplemented(f"flowray cannot save this iterator: {error}") from None


def load(content: bytes) -> Any:
    """Reads a state that ``dump`` wrote; InvalidArgumentError if the bytes are something else."""
    try:
        return _Reader(io.BytesIO(content)).load()
    except Exception as error:  # damaged bytes can make a pickle fail in any way
        raise errors.invalid_argument(
            f"The given variant tensor holds no state of an iterator: {error}"
        ) from None
