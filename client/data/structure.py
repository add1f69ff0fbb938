"""Structures of the elements of a dataset: nested specifications, and values of them.

A specification (a leaf of such a structure) says what one component is, and which tensor carries
it: itself, or a variant scalar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowray.client.data import nest
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.sparse_tensor import SparseTensor, SparseTensorValue
from flowray.client.ops.sparse_ops import (
    deserialize_sparse,
    serialize_many_sparse,
    serialize_sparse,
)
from flowray.proto import errors
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType, as_dtype
from flowray.proto.types.shapes import Shape, TensorShape, as_shape


class TensorStructure:
    """A component that is a tensor."""

    def __init__(self, dtype: Any, shape: Any) -> None:
        self.dtype: DType = as_dtype(dtype).base_dtype
        self.shape: TensorShape = as_shape(shape)

    legacy_type = property(lambda self: self.dtype, doc="What ``output_types`` has for it.")
    legacy_shape = property(lambda self: self.shape)
    legacy_class = property(lambda self: Tensor)
    flat_type = property(lambda self: self.dtype, doc="The dtype of what carries it.")

    @property
    def flat_shape(self) -> Shape:
        """The shape of the component."""
        return self.shape.as_tuple()

    def from_tensor(self, tensor: Tensor) -> Any:
        """Returns the component that ``tensor`` carries."""
        tensor.set_shape(self.shape)
        return tensor

    def batched(self, rows: int | None) -> TensorStructure:
        """Returns the structure of a batch of such components."""
        return TensorStructure(self.dtype, as_shape([rows]).concatenate(self.shape))

    def unbatched(self) -> TensorStructure:
        """Returns the structure of a row. ValueError for a scalar."""
        if self.shape.rank is None:
            return TensorStructure(self.dtype, None)
        if self.shape.rank == 0:
            raise ValueError("Unbatching a tensor is only supported for rank >= 1")
        return TensorStructure(self.dtype, self.shape[1:])

    def is_compatible_with(self, other: Any) -> bool:
        """Tells whether a component may have both structures."""
        return (
            isinstance(other, TensorStructure)
            and self.dtype == other.dtype
            and self.shape.is_compatible_with(other.shape)
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TensorStructure)
            and self.dtype == other.dtype
            and self.flat_shape == other.flat_shape
        )

    def __hash__(self) -> int:
        return hash((self.dtype, self.flat_shape))

    def __repr__(self) -> str:
        return f"TensorStructure({self.dtype!r}, {self.shape})"


class SparseTensorStructure:
    """A component that is a sparse tensor: a variant vector carries it, or several of a batch."""

    flat_type = dtypes.variant
    flat_shape: Shape = None

    def __init__(self, dtype: Any, shape: Any) -> None:
        self.dtype: DType = as_dtype(dtype).base_dtype
        self.shape: TensorShape = as_shape(shape)

    legacy_type = property(lambda self: self.dtype)
    legacy_shape = property(lambda self: self.shape)
    legacy_class = property(lambda self: SparseTensor)

    def from_tensor(self, tensor: Tensor) -> SparseTensor:
        """Returns the SparseTensor that ``tensor`` carries."""
        result = deserialize_sparse(tensor, self.dtype, self.shape.rank)
        result.set_shape(self.shape)
        return result

    def batched(self, rows: int | None) -> SparseTensorStructure:
        """Returns the structure of a batch of such sparse tensors."""
        return SparseTensorStructure(self.dtype, as_shape([rows]).concatenate(self.shape))

    def unbatched(self) -> SparseTensorStructure:
        """Returns the structure of a row. ValueError for a scalar."""
        if self.shape.rank is None:
            return SparseTensorStructure(self.dtype, None)
        if self.shape.rank == 0:
            raise ValueError("Unbatching a sparse tensor is only supported for rank >= 1")
        return SparseTensorStructure(self.dtype, self.shape[1:])

    def is_compatible_with(self, other: Any) -> bool:
        """Tells whether a component may have both structures."""
        return (
            isinstance(other, SparseTensorStructure)
            and self.dtype == other.dtype
            and self.shape.is_compatible_with(other.shape)
        )

    def __repr__(self) -> str:
        return f"SparseTensorStructure({self.dtype!r}, {self.shape})"


class VariantStructure:
    """A component that a variant scalar carries; ``inner`` is the structure of what is in it.

    Its subclasses stand beside the classes of such components (``Dataset``, ``Optional``), whose
    instances have a ``_variant_tensor`` and a ``_component_structure``.
    """

    flat_type = dtypes.variant
    flat_shape: Shape = ()

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    legacy_type = property(lambda self: self)
    legacy_shape = property(lambda self: self)
    legacy_class = property(lambda self: self)

    def from_tensor(self, tensor: Tensor) -> Any:
        """Returns the component that ``tensor`` carries."""
        raise NotImplementedError

    def batched(self, rows: int | None) -> Any:
        """Returns the structure of a batch of such components."""
        raise errors.unimplemented(f"flowray cannot batch elements of {self}")

    def unbatched(self) -> Any:
        """Returns the structure of a row."""
        raise errors.unimplemented(f"flowray cannot unbatch elements of {self}")

    def is_compatible_with(self, other: Any) -> bool:
        """Tells whether a component may have both structures."""
        return type(other) is type(self) and are_compatible(self.inner, other.inner)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner})"


# Values -------------------------------------------------------------------------------------------


def normalized(value: Any) -> Any:
    """Converts the leaves of ``value`` to tensors or sparse tensors; datasets and optionals stay.

    Raises:
        TypeError, ValueError: a leaf has no tensor form.
    """
    leaves = []
    with name_scope("normalize_element"):
        for i, leaf in enumerate(nest.flatten(value)):
            if isinstance(leaf, SparseTensorValue):
                leaf = SparseTensor.from_value(leaf)
            elif not isinstance(leaf, SparseTensor) and not hasattr(leaf, "_variant_tensor"):
                leaf = convert_to_tensor(leaf, name=f"component_{i}")
            leaves.append(leaf)
    return nest.pack_sequence_as(value, leaves)


def structure_of(value: Any) -> Any:
    """Returns the structure of a normalized value."""
    return nest.map_structure(_leaf_structure, value)


def _leaf_structure(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return TensorStructure(leaf.dtype, leaf.get_shape())
    if isinstance(leaf, SparseTensor):
        return SparseTensorStructure(leaf.dtype, leaf.get_shape())
    return leaf._component_structure


def to_tensors(value: Any) -> list[Tensor]:
    """Returns the tensors that carry a normalized value."""
    return [_carrier(leaf, serialize_sparse) for leaf in nest.flatten(value)]


def to_rows(value: Any) -> list[Tensor]:
    """Returns the tensors whose rows carry the rows of a normalized value."""
    return [_carrier(leaf, serialize_many_sparse) for leaf in nest.flatten(value)]


def _carrier(leaf: Any, serialize: Callable[..., Tensor]) -> Tensor:
    if isinstance(leaf, SparseTensor):
        return serialize(leaf, out_type=dtypes.variant)
    carrier: Tensor = getattr(leaf, "_variant_tensor", leaf)
    return carrier


def from_tensors(structure: Any, tensors: Sequence[Tensor]) -> Any:
    """Returns the value of ``structure`` that ``tensors`` carry."""
    leaves = [
        leaf.from_tensor(tensor)
        for leaf, tensor in zip(nest.flatten(structure), tensors, strict=True)
    ]
    return nest.pack_sequence_as(structure, leaves)


# Structures ---------------------------------------------------------------------------------------


def flat_attrs(structure: Any) -> dict[str, Any]:
    """Returns the attributes ``output_types`` and ``output_shapes`` for such elements."""
    leaves = nest.flatten(structure)
    return {
        "output_types": [leaf.flat_type for leaf in leaves],
        "output_shapes": [leaf.flat_shape for leaf in leaves],
    }


def legacy_types(structure: Any) -> Any:
    """Returns the nested ``output_types`` of a dataset."""
    return nest.map_structure(lambda leaf: leaf.legacy_type, structure)


def legacy_shapes(structure: Any) -> Any:
    """Returns the nested ``output_shapes`` of a dataset."""
    return nest.map_structure(lambda leaf: leaf.legacy_shape, structure)


def legacy_classes(structure: Any) -> Any:
    """Returns the nested ``output_classes`` of a dataset."""
    return nest.map_structure(lambda leaf: leaf.legacy_class, structure)


def from_legacy(types: Any, shapes: Any = None, classes: Any = None) -> Any:
    """Returns the structure of nested types, shapes (None: unknown), classes (None: tensors).

    Raises:
        TypeError, ValueError: the three differ in form.
    """
    flat_types = nest.flatten(types)
    unknown = [None] * len(flat_types)
    flat_shapes = unknown if shapes is None else nest.flatten_up_to(types, shapes)
    flat_classes = unknown if classes is None else nest.flatten_up_to(types, classes)
    leaves: list[Any] = []
    for dtype, shape, cls in zip(flat_types, flat_shapes, flat_classes, strict=True):
        if isinstance(dtype, VariantStructure):
            leaves.append(dtype)
        elif cls is SparseTensor:
            leaves.append(SparseTensorStructure(dtype, shape))
        else:
            leaves.append(TensorStructure(dtype, shape))
    return nest.pack_sequence_as(types, leaves)


def are_compatible(first: Any, second: Any) -> bool:
    """Tells whether an element may have both structures."""
    try:
        nest.assert_same_structure(first, second)
    except (TypeError, ValueError):
        return False
    return all(
        a.is_compatible_with(b)
        for a, b in zip(nest.flatten(first), nest.flatten(second), strict=True)
    )


def most_specific_compatible(first: Any, second: Any) -> Any:
    """Returns the most specific structure that covers both; of equal types."""

    def merged(a: Any, b: Any) -> Any:
        if isinstance(a, VariantStructure):
            return a
        return type(a)(a.dtype, a.shape.most_specific_compatible_shape(b.shape))

    return nest.map_structure(merged, first, second)
