"""Optionals: a value, or none, as one tensor."""

from __future__ import annotations

from typing import Any

from flowray.client.data import structure
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.tf_export import tf_export


class OptionalStructure(structure.VariantStructure):
    """A component of a dataset's elements that is an optional value."""

    def from_tensor(self, tensor: Tensor) -> Optional:
        return Optional(tensor, self.inner)


@tf_export("contrib.data.Optional", "data.experimental.Optional")
class Optional:
    """A value that may be missing; ``get_next_as_optional`` gives one."""

    def __init__(self, variant_tensor: Tensor, value_structure: Any) -> None:
        self._variant_tensor = variant_tensor
        self._value_structure = value_structure

    @property
    def _component_structure(self) -> OptionalStructure:
        return OptionalStructure(self._value_structure)

    @property
    def value_structure(self) -> Any:
        """The structure of the value, if there is one."""
        return self._value_structure

    def has_value(self, name: str | None = None) -> Tensor:
        """Tells whether there is a value, as a bool scalar."""
        return output_of("OptionalHasValue", self._variant_tensor, name=name)

    def get_value(self, name: str | None = None) -> Any:
        """Returns the value; a run raises InvalidArgumentError if there is none."""
        with name_scope(name, "OptionalGetValue", [self._variant_tensor]) as scope:
            attrs = structure.flat_attrs(self._value_structure)
            tensors = apply_op("OptionalGetValue", self._variant_tensor, name=scope, **attrs)
            return structure.from_tensors(self._value_structure, tensors)

    @staticmethod
    def from_value(value: Any) -> Optional:
        """Makes the optional that has ``value``."""
        with name_scope("optional"):
            normal = structure.normalized(value)
            variant = apply_op("OptionalFromValue", structure.to_tensors(normal))
            return Optional(variant, structure.structure_of(normal))

    @staticmethod
    def none_from_structure(value_structure: Any) -> Optional:
        """Makes the optional without a value."""
        return Optional(apply_op("OptionalNone"), value_structure)


@tf_export("contrib.data.get_next_as_optional", "data.experimental.get_next_as_optional")
def get_next_as_optional(iterator: Any) -> Optional:
    """Returns the next element of ``iterator`` as an optional, without a value at the end."""
    element = iterator._structure
    variant = apply_op(
        "IteratorGetNextAsOptional", iterator._iterator_resource, **structure.flat_attrs(element)
    )
    return Optional(variant, element)
