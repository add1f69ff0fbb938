"""Kernels of ops that call Python functions of the client's process."""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.graph import py_functions
from flowray.proto.types import tensors
from flowray.proto.types.dtypes import DType, as_dtype, string
from flowray.worker.data.dataset import type_name
from flowray.worker.kernel_registry import kernel

Array = np.ndarray[Any, Any]


@kernel("PyFunc", "PyFuncStateless")
def py_func(xp: Any, input: list[Array], *, token: bytes, Tout: list[DType]) -> list[Array]:
    """Calls the function registered as ``token``; its results must have the dtypes ``Tout``.

    Scalars go in as numpy scalars, strings as bytes. An exception becomes TensorFlow's error for
    it.

    Raises:
        UnimplementedError: the function belongs to another process.
    """
    name = token.decode(errors="replace")
    function = py_functions.lookup(name)
    if function is None:
        raise errors.unimplemented(
            f"tf.py_func and Dataset.from_generator call Python functions of the client's process, "
            f"and {name} belongs to another process. They work only in a Session without a target."
        )
    try:
        result = function(*[value[()] if value.ndim == 0 else value for value in input])
        values = _as_arrays(result)
    except Exception as error:
        raise _as_op_error(error) from error
    if len(values) != len(Tout):
        raise errors.invalid_argument(
            f"{name} returns {len(values)} values, but expects to see {len(Tout)} values."
        )
    for i, (value, dtype) in enumerate(zip(values, Tout, strict=True)):
        given = string if value.dtype == object else as_dtype(value.dtype)
        if given != dtype:
            raise errors.invalid_argument(
                f"{i}-th value returned by {name} is {type_name(given)}, but expects "
                f"{type_name(dtype)}"
            )
    return values


def _as_arrays(result: Any) -> list[Array]:
    if result is None:
        return []
    parts = result if isinstance(result, list | tuple) else [result]
    return [_as_array(part) for part in parts]


def _as_array(value: Any) -> Array:
    array = np.array(value, order="C")  # a copy: Python may go on writing into its own
    if array.dtype.kind in "SU":
        # numpy's own strings drop zeros at their ends, so they are not used.
        array = np.array(value, dtype=object)
    if array.dtype == object:
        result = np.empty(array.size, object)
        result[:] = [tensors.string_bytes(element) for element in array.reshape(-1)]
        array = result.reshape(array.shape)
    return array


_CODES: list[tuple[type[Exception], int]] = [
    (StopIteration, errors.OUT_OF_RANGE),
    (MemoryError, errors.RESOURCE_EXHAUSTED),
    (NotImplementedError, errors.UNIMPLEMENTED),
    (ValueError, errors.INVALID_ARGUMENT),
    (TypeError, errors.INVALID_ARGUMENT),
]


def _as_op_error(error: Exception) -> errors.OpError:
    """Returns TensorFlow's error for a Python function's exception."""
    if isinstance(error, errors.OpError):
        return error
    code = next((code for kind, code in _CODES if isinstance(error, kind)), errors.UNKNOWN)
    where = "".join(traceback.format_exception(error))
    return errors.from_code(code, f"{type(error).__name__}: {error}\n{where}".rstrip())
