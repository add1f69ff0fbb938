"""``tf.map_fn``, ``tf.scan``, ``tf.foldl``, ``tf.foldr``: loops over the rows of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from flowray.client.control_flow.while_loop import while_loop
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.nest import (
    assert_same_structure,
    flatten,
    pack_sequence_as,
)
from flowray.client.framework.sparse_tensor import SparseTensor
from flowray.client.ops.array_ops import shape as shape_of
from flowray.client.ops.tensor_array_ops import TensorArray
from flowray.client.tf_export import tf_export
from flowray.proto.types.shapes import Shape, merge

LoopScope = Callable[[], AbstractContextManager[None]]

_loop_scopes: list[LoopScope] = []


def register_loop_scope(scope: LoopScope) -> LoopScope:
    """Lets ``map_fn`` and its like call their functions inside ``scope()``."""
    _loop_scopes.append(scope)
    return scope


@contextmanager
def _in_loop_scopes() -> Iterator[None]:
    with ExitStack() as stack:
        for scope in _loop_scopes:
            stack.enter_context(scope())
        yield


class _Rows:
    """The rows of tensors of one length, in arrays.

    Raises:
        ValueError: a tensor has no rows, or the lengths are known to differ.
        NotImplementedError: one is sparse.
    """

    def __init__(self, elems: Any) -> None:
        self.structure = elems
        leaves = flatten(elems)
        if any(isinstance(leaf, SparseTensor) for leaf in leaves):
            raise NotImplementedError("elems must not be sparse")
        self.tensors = [convert_to_tensor(leaf, name="elem") for leaf in leaves]
        first = self.tensors[0]
        if first._shape == ():
            raise ValueError("elems must be a 1+ dimensional Tensor, not a scalar")
        self.static_length = None if first._shape is None else first._shape[0]
        self.length: Any = self.static_length
        if self.length is None:
            self.length = shape_of(first)[0]
        for tensor in self.tensors[1:]:
            mine = None if self.static_length is None else (self.static_length,)
            theirs = None if tensor._shape is None else tensor._shape[:1]
            merge(mine, theirs)
        self._arrays = [
            TensorArray(t.dtype, self.length, dynamic_size=False, infer_shape=True).unstack(t)
            for t in self.tensors
        ]

    def row(self, index: Any) -> Any:
        """Returns the rows at ``index``, in the structure of the tensors."""
        return pack_sequence_as(self.structure, [array.read(index) for array in self._arrays])


def _with_length(length: int | None, tensor: Tensor) -> Tensor:
    """Returns ``tensor``, whose first dimension is known to be ``length``."""
    shape: Shape = tensor._shape
    tensor.set_shape(None if shape is None else [length, *shape[1:]])
    return tensor


@tf_export("map_fn")
def map_fn(
    fn: Callable[[Any], Any],
    elems: Any,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    name: str | None = None,
) -> Any:
    """Returns the results of ``fn`` for every row of ``elems``, stacked.

    Args:
        fn: gets a row: one Tensor, or the structure of ``elems`` with them.
        elems: a tensor, or a structure of tensors of one length.
        dtype: the dtypes of the results of ``fn``, in their structure; None: those of ``elems``.
        parallel_iterations, swap_memory: hints.
        back_prop: whether gradients flow through it.
        infer_shape: whether the results for all rows have one shape.

    Raises:
        TypeError: ``fn`` is not callable, or its result has another structure than ``dtype``.
        ValueError: ``elems`` are scalars or of different lengths.
    """
    if not callable(fn):
        raise TypeError("fn must be callable.")
    with name_scope(name, "map", flatten(elems)), _in_loop_scopes():
        rows = _Rows(elems)
        types = [t.dtype for t in rows.tensors] if dtype is None else flatten(dtype)
        form = elems if dtype is None else dtype
        begin = convert_to_tensor(0)
        results = [
            TensorArray(t, rows.length, dynamic_size=False, infer_shape=infer_shape) for t in types
        ]

        def compute(i: Any, arrays: Sequence[TensorArray]) -> Any:
            value = fn(rows.row(i))
            assert_same_structure(form, value)
            written = [a.write(i, v) for a, v in zip(arrays, flatten(value), strict=True)]
            return i + 1, written

        _, results = while_loop(
            lambda i, _: i < rows.length,
            compute,
            (begin, results),
            parallel_iterations=parallel_iterations or 10,
            back_prop=back_prop,
            swap_memory=swap_memory,
            maximum_iterations=rows.length,
        )
        stacked = [_with_length(rows.static_length, array.stack()) for array in results]
        return pack_sequence_as(form, stacked)


@tf_export("scan")
def scan(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    reverse: bool = False,
    name: str | None = None,
) -> Any:
    """Computes ``a = fn(a, row)`` for one row after the other and stacks all values of ``a``.

    Args:
        fn: gets the accumulated value and a row.
        elems: a tensor, or a structure of tensors of one length.
        initializer: the first value; the first row by default.
        parallel_iterations, swap_memory: hints.
        back_prop: whether gradients flow through it.
        infer_shape: whether the values have one shape.
        reverse: whether to go from the last row to the first one.

    Raises:
        TypeError: ``fn`` is not callable, or its result has another structure than the first value.
        ValueError: ``elems`` are scalars or of different lengths.
    """
    if not callable(fn):
        raise TypeError("fn must be callable.")
    with name_scope(name, "scan", flatten(elems)), _in_loop_scopes():
        rows = _Rows(elems)
        first, begin = _start(rows, initializer, reverse)
        form = elems if initializer is None else initializer
        results = [
            TensorArray(
                value.dtype,
                rows.length,
                element_shape=value._shape if infer_shape else None,
                dynamic_size=False,
                infer_shape=infer_shape,
            )
            for value in first
        ]
        if begin:
            at = rows.length - 1 if reverse else 0
            results = [a.write(at, v) for a, v in zip(results, first, strict=True)]

        def compute(i: Any, values: Sequence[Tensor], arrays: Sequence[TensorArray]) -> Any:
            value = fn(pack_sequence_as(form, values), rows.row(i))
            assert_same_structure(form, value)
            leaves = flatten(value)
            written = [a.write(i, v) for a, v in zip(arrays, leaves, strict=True)]
            return (i - 1 if reverse else i + 1), leaves, written

        if reverse:
            i, holds = rows.length - 1 - begin, lambda i, *_: i >= 0
        else:
            i, holds = begin, lambda i, *_: i < rows.length
        _, _, results = while_loop(
            holds,
            compute,
            (i, first, results),
            parallel_iterations=parallel_iterations,
            back_prop=back_prop,
            swap_memory=swap_memory,
            maximum_iterations=rows.length,
        )
        stacked = [_with_length(rows.static_length, array.stack()) for array in results]
        return pack_sequence_as(form, stacked)


def _start(rows: _Rows, initializer: Any, reverse: bool) -> tuple[list[Tensor], int]:
    """Returns the first value, and how many rows it takes up."""
    if initializer is None:
        return flatten(rows.row(rows.length - 1 if reverse else 0)), 1
    return [convert_to_tensor(leaf) for leaf in flatten(initializer)], 0


@tf_export("foldl")
def foldl(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
) -> Any:
    """Computes ``a = fn(a, row)`` from the first row to the last; returns the last ``a``.

    For the arguments see ``scan``.
    """
    return _fold(
        fn, elems, initializer, False, parallel_iterations, back_prop, swap_memory, name or "foldl"
    )


@tf_export("foldr")
def foldr(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
) -> Any:
    """Computes ``a = fn(a, row)`` from the last row to the first; returns the last ``a``.

    For the arguments see ``scan``.
    """
    return _fold(
        fn, elems, initializer, True, parallel_iterations, back_prop, swap_memory, name or "foldr"
    )


def _fold(
    fn: Callable[[Any, Any], Any],
    elems: Any,
    initializer: Any,
    reverse: bool,
    parallel_iterations: int,
    back_prop: bool,
    swap_memory: bool,
    name: str,
) -> Any:
    if not callable(fn):
        raise TypeError("fn must be callable.")
    with name_scope(None, name, flatten(elems)), _in_loop_scopes():
        rows = _Rows(elems)
        first, begin = _start(rows, initializer, reverse)
        form = elems if initializer is None else initializer

        def compute(i: Any, values: Sequence[Tensor]) -> Any:
            if reverse:
                i -= 1
            value = fn(pack_sequence_as(form, values), rows.row(i))
            assert_same_structure(form, value)
            return (i if reverse else i + 1), flatten(value)

        _, values = while_loop(
            (lambda i, _: i > 0) if reverse else (lambda i, _: i < rows.length),
            compute,
            (rows.length - begin if reverse else convert_to_tensor(begin), first),
            parallel_iterations=parallel_iterations,
            back_prop=back_prop,
            swap_memory=swap_memory,
            maximum_iterations=rows.length,
        )
        return pack_sequence_as(form, values)
