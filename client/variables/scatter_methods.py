"""The methods of variables that write to some of their rows or elements."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.ops.state_ops import batch_scatter_update


class ScatterMethods:
    """``scatter_add`` and its like; each kind of variable implements ``_scatter``.

    Of ``sparse_delta``, IndexedSlices, each value belongs to the row that its index names. An index
    may repeat: a row takes all its values (of several assigned ones, one stays). Indices out of
    range fail the run with InvalidArgumentError.
    """

    def _scatter(
        self, kind: str, indices: Any, updates: Any, name: str | None, **attrs: Any
    ) -> Any:
        """Adds the op ``[Resource]Scatter<kind>``; ``kind`` is "Add", "NdUpdate" and the like."""
        raise NotImplementedError

    def _scatter_slices(self, kind: str, sparse_delta: Any, name: str | None) -> Any:
        indices, values = _parts(sparse_delta)
        return self._scatter(kind, indices, values, name)

    def scatter_add(
        self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None
    ) -> Any:
        """Adds the values to their rows."""
        return self._scatter_slices("Add", sparse_delta, name)

    def scatter_sub(
        self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None
    ) -> Any:
        """Subtracts the values from their rows."""
        return self._scatter_slices("Sub", sparse_delta, name)

    def scatter_mul(
        self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None
    ) -> Any:
        """Multiplies the rows by their values."""
        return self._scatter_slices("Mul", sparse_delta, name)

    def scatter_div(
        self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None
    ) -> Any:
        """Divides the rows by their values."""
        return self._scatter_slices("Div", sparse_delta, name)

    def scatter_min(
        self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None
    ) -> Any:
        """Takes the minimum of the rows and their values."""
        return self._scatter_slices("Min", sparse_delta, name)

    def scatter_max(
        self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None
    ) -> Any:
        """Takes the maximum of the rows and their values."""
        return self._scatter_slices("Max", sparse_delta, name)

    def scatter_update(
        self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None
    ) -> Any:
        """Assigns the values to their rows."""
        return self._scatter_slices("Update", sparse_delta, name)

    def batch_scatter_update(
        self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None
    ) -> Any:
        """Assigns rows in each of several batches; see ``tf.batch_scatter_update``."""
        return batch_scatter_update(self, *_parts(sparse_delta), use_locking, name)

    def scatter_nd_add(self, indices: Any, updates: Any, name: str | None = None) -> Any:
        """Adds ``updates[i]`` to the slice at index vector ``indices[i]``."""
        return self._scatter("NdAdd", indices, updates, name)

    def scatter_nd_sub(self, indices: Any, updates: Any, name: str | None = None) -> Any:
        """Subtracts ``updates[i]`` from the slice at index vector ``indices[i]``."""
        return self._scatter("NdSub", indices, updates, name)

    def scatter_nd_update(self, indices: Any, updates: Any, name: str | None = None) -> Any:
        """Assigns ``updates[i]`` to the slice at index vector ``indices[i]``."""
        return self._scatter("NdUpdate", indices, updates, name)


def _parts(sparse_delta: Any) -> tuple[Any, Any]:
    if not isinstance(sparse_delta, IndexedSlices):
        raise TypeError(f"sparse_delta is not IndexedSlices: {sparse_delta}")
    return sparse_delta.indices, sparse_delta.values
