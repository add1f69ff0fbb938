"""Objects that a Saver saves, each with the tensors to store and the op that restores them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import GraphKeys, Operation, Tensor, device, get_default_graph
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.ops.array_ops import reshape
from flowray.client.variables.partitioned_variables import PartitionedVariable
from flowray.client.variables.ref_variable import RefVariable
from flowray.client.variables.resource_variable import ResourceVariable
from flowray.client.variables.variables import Variable
from flowray.proto.types.dtypes import DType, as_dtype


class SaveSpec:
    """One tensor to store.

    Args:
        tensor: the tensor, or a function without arguments that makes it.
        slice_spec: which slice of the stored tensor it is (``4 3 0,2:-``); "" for the whole.
        name: the key in the checkpoint.
        dtype, device: have to be given where ``tensor`` is a function.
    """

    def __init__(
        self,
        tensor: Any,
        slice_spec: str,
        name: str,
        dtype: DType | None = None,
        device: str | None = None,
    ) -> None:
        if callable(tensor) and (dtype is None or device is None):
            raise AssertionError(
                "When passing a callable `tensor` to a SaveSpec, an explicit dtype and device must "
                "be provided."
            )
        self._tensor = tensor
        self.slice_spec = slice_spec
        self.name = name
        self.dtype = as_dtype(tensor.dtype if dtype is None else dtype)
        self.device: str = tensor.device if device is None else device

    @property
    def tensor(self) -> Any:
        """The tensor; a new one each time where it is made by a function."""
        return self._tensor() if callable(self._tensor) else self._tensor


class SaveableObject:
    """The base class of what can be saved and is not a variable.

    Args:
        op: the object that is saved.
        specs: the ``SaveSpec`` of its tensors, all on one device.
        name: the name to save it under.
    """

    def __init__(self, op: Any, specs: Sequence[SaveSpec], name: str) -> None:
        self.op = op
        self.specs = specs
        self.name = name

    @property
    def device(self) -> str:
        """The device that its tensors are on."""
        return self.specs[0].device

    def restore(self, restored_tensors: Sequence[Tensor], restored_shapes: Any) -> Operation | Any:
        """Makes the op that gives the object the values of ``restored_tensors``.

        Args:
            restored_tensors: the value in the checkpoint for each of ``specs``.
            restored_shapes: the shapes to give to them, or None.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to restore it")


class _ReferenceSaveable(SaveableObject):
    """A reference variable, or one of its references."""

    op: Any

    def __init__(self, variable: Any, slice_spec: str, name: str) -> None:
        super().__init__(variable, [SaveSpec(variable, slice_spec, name, variable.dtype)], name)

    def restore(self, restored_tensors: Sequence[Tensor], restored_shapes: Any) -> Operation | Any:
        (value,) = restored_tensors
        if restored_shapes is not None:
            value = reshape(value, restored_shapes[0])
        fixed = restored_shapes is None and self.op.get_shape().is_fully_defined()
        return apply_op("Assign", self.op, value, validate_shape=fixed)


class _ResourceSaveable(SaveableObject):
    """A resource variable. ``read`` is the tensor to save, if there is one already."""

    op: ResourceVariable

    def __init__(
        self, variable: ResourceVariable, slice_spec: str, name: str, read: Tensor | None = None
    ) -> None:
        def make_read() -> Tensor:
            with device(variable.device):
                value = variable.read_value()
                # A file is written by the CPU, even where the variable is not on it.
                with device("/device:CPU:0"):
                    return output_of("Identity", value)

        spec = SaveSpec(
            make_read if read is None else read, slice_spec, name, variable.dtype, variable.device
        )
        super().__init__(variable, [spec], name)

    def restore(self, restored_tensors: Sequence[Tensor], restored_shapes: Any) -> Operation | Any:
        (value,) = restored_tensors
        if restored_shapes is not None:
            value = reshape(value, restored_shapes[0])
        with device(self.op.handle.device):
            value = apply_op("Identity", value)
            self.op.shape.assert_is_compatible_with(value.get_shape())
            return apply_op("AssignVariableOp", self.op.handle, value)


def all_saveable_objects(scope: str | None = None) -> list[Any]:
    """Returns the objects that a Saver saves by default: global variables, ``SAVEABLE_OBJECTS``."""
    graph = get_default_graph()
    return graph.get_collection(GraphKeys.GLOBAL_VARIABLES, scope) + graph.get_collection(
        GraphKeys.SAVEABLE_OBJECTS, scope
    )


def named(items: Iterable[Any]) -> dict[str, Any]:
    """Returns the items under the names that they are saved by; parts of a variable in one list.

    Raises:
        TypeError: an item cannot be saved.
        ValueError: two have the same name.
    """
    result: dict[str, Any] = {}
    for item in items:
        if isinstance(item, SaveableObject | PartitionedVariable):
            _add(result, item.name, item)
        elif isinstance(item, Variable) and item._save_slice_info is not None:
            name = str(item._save_slice_info.full_name)
            parts = result.setdefault(name, [])
            if not isinstance(parts, list):
                raise ValueError(f"Mixing slices and non-slices with the same name: {name}")
            parts.append(item)
        else:
            _add(result, _variable_of(item).op.name, item)
    return result


def _add(result: dict[str, Any], name: str, item: Any) -> None:
    if name in result:
        raise ValueError(f"At least two variables have the same name: {name}")
    result[name] = item


def _variable_of(item: Any) -> Any:
    """Returns ``item`` if it is a variable or a reference to one. TypeError otherwise."""
    if isinstance(item, Variable):
        return item
    if isinstance(item, Tensor) and item.dtype._is_ref_dtype:
        return item
    raise TypeError(f"Variable to save is not a Variable: {item}")


def saveable_objects(var_list: Any) -> list[SaveableObject]:
    """Returns the saveables of a Saver's ``var_list`` (list or dict), sorted by name.

    Raises:
        TypeError, ValueError: something cannot be saved, or twice under different names.
    """
    if isinstance(var_list, Mapping):
        items = dict(var_list)
    elif isinstance(var_list, Iterable):
        items = named(var_list)
    else:
        raise TypeError(f"Variables to save should be passed in a dict or a list. Got {var_list}")
    for name in items:
        if not isinstance(name, str):
            raise TypeError(
                "names_to_saveables must be a dict mapping string names to trackable operations. "
                f"Name is not a string: {name}"
            )
    result: list[SaveableObject] = []
    seen: set[Any] = set()
    for name in sorted(items):
        for saveable in saveables_of(items[name], name):
            if saveable.op in seen:
                raise ValueError(
                    f"The same saveable will be restored with two names: {saveable.name}"
                )
            seen.add(saveable.op)
            result.append(saveable)
    return result


def saveables_of(item: Any, name: str) -> Iterator[SaveableObject]:
    """Returns the saveables of ``item``, to be saved as ``name``: one for each part."""
    if isinstance(item, SaveableObject):
        yield item
    elif isinstance(item, list | tuple | PartitionedVariable):
        yield from _saveables_of_parts(list(item), name)
    elif isinstance(item, ResourceVariable):
        yield _ResourceSaveable(item, "", name, item._graph_element)
    elif isinstance(item, RefVariable):
        yield _ReferenceSaveable(item._ref(), "", name)
    else:
        yield _ReferenceSaveable(_variable_of(item), "", name)


def _saveables_of_parts(parts: list[Any], name: str) -> Iterator[SaveableObject]:
    whole: str | None = None
    for part in parts:
        if not isinstance(part, Variable):
            raise ValueError(f"Slices must all be Variables: {part}")
        info = part._save_slice_info
        if info is None:
            raise ValueError(f"Slices must all be slices: {part}")
        if whole is not None and whole != info.full_name:
            raise ValueError(
                f"Slices must all be from the same tensor: {whole} != {info.full_name}"
            )
        whole = info.full_name
        if isinstance(part, ResourceVariable):
            yield _ResourceSaveable(part, info.spec, name)
        else:
            yield _ReferenceSaveable(part, info.spec, name)


def shapes_for_reshape(saveable: SaveableObject) -> list[Any]:
    """Returns the shapes that restored tensors are to take: static ones if known."""
    shapes = []
    for spec in saveable.specs:
        tensor = convert_to_tensor(spec.tensor)
        shape = tensor.get_shape()
        shapes.append(shape.as_list() if shape.is_fully_defined() else apply_op("Shape", tensor))
    return shapes
