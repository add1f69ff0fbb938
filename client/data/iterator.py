"""``tf.data.Iterator``, through which a graph reads a dataset."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

from flowray.client.data import nest, structure
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.function import TracedFunction, trace
from flowray.client.framework.graph import (
    Operation,
    Tensor,
    colocate_with,
    control_dependencies,
    get_default_graph,
    name_scope,
)
from flowray.client.framework.op_builder import apply_op, make_op, output_of
from flowray.client.tf_export import tf_export
from flowray.proto.ops.op_registry import OpKind
from flowray.proto.types import dtypes
from flowray.proto.types.attr_values import from_attr_value

if TYPE_CHECKING:
    from flowray.client.data.dataset import Dataset

_MANY_CALLS: Final = 32
_CHECK: Final = "Assert"


@tf_export("data.Iterator")
class Iterator:
    """A place in a dataset; ``get_next`` gives ops that take an element from it."""

    def __init__(
        self, iterator_resource: Tensor, initializer: Operation | None, element: Any
    ) -> None:
        self._iterator_resource = iterator_resource
        self._initializer = initializer
        self._structure = element
        self._string_handle: Tensor = apply_op("IteratorToStringHandle", iterator_resource)
        self._calls = 0

    @staticmethod
    def from_structure(
        output_types: Any,
        output_shapes: Any = None,
        shared_name: str | None = None,
        output_classes: Any = None,
    ) -> Iterator:
        """Makes an iterator without a dataset; ``make_initializer`` gives it one.

        Args:
            output_types: nested dtypes of the elements.
            output_shapes: their shapes; unknown if None.
            shared_name: sessions share the iterator under this name.
        """
        element = structure.from_legacy(output_types, output_shapes, output_classes)
        return Iterator(_new_resource(element, shared_name), None, element)

    @staticmethod
    def from_string_handle(
        string_handle: Any, output_types: Any, output_shapes: Any = None, output_classes: Any = None
    ) -> Iterator:
        """Makes the iterator that a handle names, the value of ``string_handle()``."""
        element = structure.from_legacy(output_types, output_shapes, output_classes)
        handle = convert_to_tensor(string_handle, dtypes.string)
        resource = apply_op("IteratorFromStringHandleV2", handle, **structure.flat_attrs(element))
        return Iterator(resource, None, element)

    @property
    def initializer(self) -> Operation:
        """The op that starts the iterator, over again. ValueError if there is none."""
        if self._initializer is None:
            raise ValueError("Iterator does not have an initializer.")
        return self._initializer

    def make_initializer(self, dataset: Dataset, name: str | None = None) -> Operation:
        """Makes an op that starts the iterator at the beginning of ``dataset``.

        Raises:
            TypeError: the elements of ``dataset`` are not what this iterator gives.
        """
        with name_scope(name, "make_initializer") as scope:
            for what, mine, theirs in (
                ("types", self.output_types, dataset.output_types),
                ("classes", self.output_classes, dataset.output_classes),
            ):
                nest.assert_same_structure(mine, theirs)
                if nest.flatten(mine) != nest.flatten(theirs) and not _all_variants(mine):
                    raise TypeError(
                        f"Expected output {what} {mine!r} but got dataset with output {what} "
                        f"{theirs!r}."
                    )
            if not structure.are_compatible(self._structure, dataset._structure):
                raise TypeError(
                    f"Expected output shapes compatible with {self.output_shapes!r} but got "
                    f"dataset with output shapes {dataset.output_shapes!r}."
                )
            with colocate_with(self._iterator_resource):
                return make_op(
                    "MakeIterator", dataset._variant_tensor, self._iterator_resource, name=scope
                )

    def get_next(self, name: str | None = None) -> Any:
        """Returns the next element in its structure; at the end a run raises OutOfRangeError.

        Every call makes an op that takes an element of its own: call it once, outside of loops.
        """
        self._calls += 1
        if self._calls > _MANY_CALLS:
            warnings.warn(
                "An unusually high number of `Iterator.get_next()` calls was detected. This often "
                "indicates that `Iterator.get_next()` is being called inside a training loop, "
                "which will cause gradual slowdown and eventual resource exhaustion. If this is "
                "the case, restructure your code to call `next_element = iterator.get_next()` "
                "once outside the loop, and use `next_element` as the input to some computation "
                "that is invoked inside the loop.",
                stacklevel=2,
            )
        with colocate_with(self._iterator_resource):
            tensors = apply_op(
                "IteratorGetNext",
                self._iterator_resource,
                name=name,
                **structure.flat_attrs(self._structure),
            )
        return structure.from_tensors(self._structure, tensors)

    def string_handle(self, name: str | None = None) -> Tensor:
        """Returns a string scalar for ``from_string_handle``."""
        if name is None:
            return self._string_handle
        return output_of("IteratorToStringHandle", self._iterator_resource, name=name)

    @property
    def output_types(self) -> Any:
        """The nested dtypes of an element."""
        return structure.legacy_types(self._structure)

    @property
    def output_shapes(self) -> Any:
        """The nested shapes of an element."""
        return structure.legacy_shapes(self._structure)

    @property
    def output_classes(self) -> Any:
        """The nested Python classes of an element."""
        return structure.legacy_classes(self._structure)


def _all_variants(types: Any) -> bool:
    return all(isinstance(t, structure.VariantStructure) for t in nest.flatten(types))


def _new_resource(element: Any, shared_name: str | None) -> Tensor:
    return output_of(
        "IteratorV2", container="", shared_name=shared_name or "", **structure.flat_attrs(element)
    )


@tf_export("data.make_initializable_iterator")
def make_initializable_iterator(dataset: Dataset, shared_name: str | None = None) -> Iterator:
    """Makes an iterator over ``dataset`` that starts whenever its ``initializer`` runs."""
    with colocate_with(dataset._variant_tensor):
        resource = _new_resource(dataset._structure, shared_name)
        initializer = apply_op("MakeIterator", dataset._variant_tensor, resource)
        return Iterator(resource, initializer, dataset._structure)


@tf_export("data.make_one_shot_iterator")
def make_one_shot_iterator(dataset: Dataset) -> Iterator:
    """Makes an iterator over ``dataset`` that starts by itself, once in a session.

    Raises:
        ValueError: the dataset depends on state (a variable, a table) or on a placeholder.
    """
    factory = _factory(dataset)
    with colocate_with(dataset._variant_tensor):
        resource = apply_op(
            "OneShotIterator",
            dataset_factory=factory,
            container="",
            shared_name="",
            **structure.flat_attrs(dataset._structure),
        )
        return Iterator(resource, None, dataset._structure)


def _factory(dataset: Dataset) -> TracedFunction:
    """Makes a function without arguments that returns ``dataset``: its ops once more."""
    try:
        return trace(
            lambda: _Copier().tensor(dataset._variant_tensor),
            [],
            "_make_dataset",
        )
    except _NotCopiableError as error:
        raise ValueError(
            "Failed to create a one-shot iterator for a dataset. "
            "`Dataset.make_initializable_iterator()` is often preferred over "
            f"`Dataset.make_one_shot_iterator()`.  Original error: {error}"
        ) from None


class _NotCopiableError(Exception):
    """A tensor's op may not run twice."""


class _Copier:
    """Makes ops of a graph, and those that they need, once more in the default graph."""

    def __init__(self) -> None:
        self._copies: dict[Operation, Operation] = {}

    def tensor(self, tensor: Tensor) -> Tensor:
        return self._operation(tensor.op)._outputs[tensor.value_index]

    def _operation(self, op: Operation) -> Operation:
        copy = self._copies.get(op)
        if copy is None:
            copy = self._copies[op] = self._made(op)
        return copy

    def _made(self, op: Operation) -> Operation:
        definition = op.op_def
        assert definition is not None
        if op._kind is OpKind.PLACEHOLDER:
            raise _NotCopiableError(
                f"Cannot capture a placeholder (name:{op.name}, type:{op.type}) by value."
            )
        makes_dataset = [t.dtype for t in op._outputs] == [dtypes.variant]
        if definition.stateful and not makes_dataset and op.type != _CHECK:
            raise _NotCopiableError(
                f"Cannot capture a stateful node (name:{op.name}, type:{op.type}) by value."
            )
        inputs = [self.tensor(t) for t in op._inputs]
        # Nothing but the values is wanted, and what checks them: TensorFlow drops that, so that
        # files that are not there just end its training before the first step.
        checks = [self._operation(c) for c in op.control_inputs if c.type == _CHECK]
        attrs = {
            key: from_attr_value(op.node_def.attr[key], attr.kind)
            for key, attr in definition.attrs.items()
            if key in op.node_def.attr
        }
        with control_dependencies(checks):
            return get_default_graph().create_op(op.type, inputs, name=op.name, attrs=attrs)
