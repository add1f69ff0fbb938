"""Kernels of iterators over datasets, and of optionals."""

from __future__ import annotations

from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from flowray.proto import errors
from flowray.proto.messages import tensor_pb2
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import Shape
from flowray.worker.data import states
from flowray.worker.data.dataset import as_variant, check_shapes, check_types, dataset_of
from flowray.worker.data.elementwise import as_element
from flowray.worker.data.resource import IteratorResource
from flowray.worker.kernel_registry import kernel
from flowray.worker.program.function import Function
from flowray.worker.state.store import KernelContext, Resource

Array = np.ndarray[Any, Any]


@kernel("Iterator", "IteratorV2")
def iterator(
    xp: Any,
    *,
    shared_name: bytes,
    container: bytes,
    output_types: list[DType],
    output_shapes: list[Shape],
    context: KernelContext,
) -> IteratorResource:
    """Looks the iterator up in the state store, or makes one there that has no dataset yet.

    Raises:
        InvalidArgumentError: it exists with other types or shapes.
    """
    found = context.resource(
        container,
        shared_name,
        IteratorResource,
        lambda where, name: IteratorResource(where, name, output_types, output_shapes),
    )
    found.check_signature(output_types, output_shapes)
    return found


@kernel("OneShotIterator")
def one_shot_iterator(
    xp: Any,
    *,
    dataset_factory: Function,
    output_types: list[DType],
    output_shapes: list[Shape],
    container: bytes,
    shared_name: bytes,
    context: KernelContext,
) -> IteratorResource:
    """Looks the iterator up; the first time it starts on the dataset of ``dataset_factory``."""
    found = iterator(
        xp,
        shared_name=shared_name,
        container=container,
        output_types=output_types,
        output_shapes=output_shapes,
        context=context,
    )
    if not found.is_initialized:
        result = dataset_factory()
        if len(result) != 1:
            raise errors.invalid_argument(
                "The `dataset_factory` function must return a single dataset."
            )
        found.begin_once(dataset_of(result[0]))
    return found


@kernel("MakeIterator")
def make_iterator(xp: Any, dataset: Array, iterator: Resource) -> None:
    """Starts the iterator on a dataset, from the beginning."""
    _opened(iterator).begin(dataset_of(dataset))


def _opened(resource: Resource) -> IteratorResource:
    if not isinstance(resource, IteratorResource):
        raise errors.invalid_argument(
            f"Trying to access resource {resource.name} located in container "
            f"{resource.container} as an iterator, but it is a {type(resource).__name__}"
        )
    return resource


@kernel("IteratorGetNext", "IteratorGetNextSync")
def get_next(
    xp: Any, iterator: Resource, *, output_types: list[DType], output_shapes: list[Shape]
) -> list[Array]:
    """Returns the components of the next element; OutOfRangeError at the end. It may block."""
    element = _opened(iterator).get_next(output_types, output_shapes)
    if element is None:
        raise errors.out_of_range("End of sequence")
    return list(element)


@kernel("IteratorGetNextAsOptional")
def get_next_as_optional(
    xp: Any, iterator: Resource, *, output_types: list[DType], output_shapes: list[Shape]
) -> Array:
    """Returns the next element as an optional, which has no value at the end."""
    return as_variant(Optional(_opened(iterator).get_next(output_types, output_shapes)))


# Handles ------------------------------------------------------------------------------------------


@kernel("IteratorToStringHandle")
def to_string_handle(xp: Any, resource_handle: Resource, *, context: KernelContext) -> Array:
    """Returns the iterator's ResourceHandleProto, serialized to a string scalar."""
    handle = context.handle(_opened(resource_handle))
    return np.array(handle.SerializeToString(deterministic=True), object)


@kernel("IteratorFromStringHandle", "IteratorFromStringHandleV2")
def from_string_handle(
    xp: Any,
    string_handle: Array,
    *,
    output_types: list[DType],
    output_shapes: list[Shape],
    context: KernelContext,
) -> IteratorResource:
    """Looks up the iterator of a string handle.

    Raises:
        InvalidArgumentError: the string is not a handle, or names another device, or the iterator
            has other types or shapes.
    """
    handle = tensor_pb2.ResourceHandleProto()
    try:
        handle.ParseFromString(string_handle[()])
    except DecodeError:
        raise errors.invalid_argument(
            "Could not parse string_handle as a valid ResourceHandle"
        ) from None
    if context.device and handle.device and context.device != handle.device:
        raise errors.invalid_argument(
            f'Attempted create an iterator on device "{context.device}" from handle defined on '
            f'device "{handle.device}"'
        )
    found = _opened(context.by_handle(handle))
    if output_types:
        found.check_signature(output_types, output_shapes)
    return found


# State --------------------------------------------------------------------------------------------


@kernel("SerializeIterator")
def serialize_iterator(xp: Any, resource_handle: Resource) -> Array:
    """Saves the state of the iterator in a variant scalar that only flowray reads."""
    proto = tensor_pb2.VariantTensorDataProto(type_name="flowray.IteratorState")
    proto.metadata = states.dump(_opened(resource_handle).save())
    return as_variant(proto)


@kernel("DeserializeIterator")
def deserialize_iterator(xp: Any, resource_handle: Resource, serialized: Array) -> None:
    """Restores a state that ``serialize_iterator`` saved."""
    proto: Any = serialized[()]
    if proto.type_name != "flowray.IteratorState":
        raise errors.invalid_argument("The given variant tensor holds no state of an iterator.")
    _opened(resource_handle).restore(states.load(proto.metadata))


# Optionals ----------------------------------------------------------------------------------------


class Optional:
    """An element, or None: the value of a variant tensor."""

    __slots__ = ("element",)

    def __init__(self, element: Any) -> None:
        self.element = element


def _optional(variant: Array) -> Optional:
    value = variant[()]
    if not isinstance(value, Optional):
        raise errors.invalid_argument("The given variant tensor holds no optional.")
    return value


@kernel("OptionalFromValue")
def optional_from_value(xp: Any, components: list[Array]) -> Array:
    """Makes an optional of the components of an element."""
    return as_variant(Optional(as_element(components)))


@kernel("OptionalNone")
def optional_none(xp: Any) -> Array:
    """Makes an optional without a value."""
    return as_variant(Optional(None))


@kernel("OptionalHasValue")
def optional_has_value(xp: Any, optional: Array) -> Array:
    """Tells whether the optional has a value, as a bool scalar."""
    return np.array(_optional(optional).element is not None)


@kernel("OptionalGetValue")
def optional_get_value(
    xp: Any, optional: Array, *, output_types: list[DType], output_shapes: list[Shape]
) -> list[Array]:
    """Returns the components of the value; InvalidArgumentError if there is no value."""
    element = _optional(optional).element
    if element is None:
        raise errors.invalid_argument("The given optional does not have a value.")
    check_types(output_types, output_types if len(element) == len(output_types) else element)
    check_shapes(output_shapes, [component.shape for component in element])
    return list(element)
