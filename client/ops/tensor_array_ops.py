"""``tf.TensorArray``: tensors that a loop writes and reads one by one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flowray.client.framework.constant_value import constant_value
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import (
    Operation,
    Tensor,
    colocate_with,
    control_dependencies,
    device,
    name_scope,
)
from flowray.client.framework.op_builder import apply_op, make_op, output_of
from flowray.client.ops.array_ops import identity
from flowray.client.ops.array_ops import shape as shape_of
from flowray.client.ops.math_ops import cast, range
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType, as_dtype
from flowray.proto.types.shapes import Shape, TensorShape, as_shape, is_compatible, merge


@tf_export("TensorArray")
class TensorArray:
    """An array of tensors. Every element can be written once, and by default read once.

    An operation gives a new TensorArray; use that, and the old one no more: the order of the
    operations is that of these objects.

    Args:
        dtype: of the elements.
        size: int32 scalar, how many there are.
        dynamic_size: whether writing beyond the end makes it longer.
        clear_after_read: whether an element may be read only once, which is the default.
        tensor_array_name: its name in error messages.
        handle, flow: tensors of an array that there is already, instead of ``size``.
        infer_shape: whether all elements have one shape.
        element_shape: that shape, as far as it is known.
        colocate_with_first_write_call: whether it is placed with the first value that is written.
    """

    def __init__(
        self,
        dtype: Any,
        size: Any = None,
        dynamic_size: bool | None = None,
        clear_after_read: bool | None = None,
        tensor_array_name: str | None = None,
        handle: Any = None,
        flow: Any = None,
        infer_shape: bool = True,
        element_shape: Any = None,
        colocate_with_first_write_call: bool = True,
        name: str | None = None,
    ) -> None:
        if handle is None and size is None:
            raise ValueError("Size must be provided if handle is not provided")
        if handle is not None:
            if tensor_array_name:
                raise ValueError("Cannot construct with both handle and tensor_array_name")
            if not isinstance(handle, Tensor):
                raise TypeError("Handle must be a Tensor")
            given = {
                "size": size,
                "element_shape": element_shape,
                "dynamic_size": dynamic_size,
                "clear_after_read": clear_after_read,
            }
            for key, value in given.items():
                if value is not None:
                    raise ValueError(f"Cannot provide both a handle and {key} at the same time")
        self._dtype = as_dtype(dtype).base_dtype
        self._infer_shape = infer_shape
        self._element_shape: Shape = as_shape(element_shape).as_tuple()
        self._size = size
        self._dynamic_size = bool(dynamic_size)
        self._colocates = colocate_with_first_write_call
        self._colocated: list[Tensor] = []
        """The first value that was written, if any; shared with the arrays made of this one."""
        with name_scope(name, "TensorArray", [handle, size, flow]) as scope:
            if handle is not None:
                self._handle: Tensor = handle
                self._flow = convert_to_tensor(0 if flow is None else flow, dtypes.float32)
                return
            size = convert_to_tensor(size, dtypes.int32, name="size")
            with device(None), colocate_with(None, ignore_existing=True):
                self._handle, self._flow = apply_op(
                    "TensorArrayV3",
                    size,
                    dtype=self._dtype,
                    element_shape=self._element_shape,
                    identical_element_shapes=infer_shape,
                    dynamic_size=self._dynamic_size,
                    clear_after_read=True if clear_after_read is None else clear_after_read,
                    tensor_array_name=tensor_array_name or "",
                    name=scope,
                )

    @property
    def dtype(self) -> DType:
        """The dtype of the elements."""
        return self._dtype

    @property
    def handle(self) -> Tensor:
        """The handle of the array."""
        return self._handle

    @property
    def flow(self) -> Tensor:
        """The tensor that is available when all operations up to this object are done."""
        return self._flow

    @property
    def op(self) -> Operation:
        """The operation that made the handle."""
        return self._handle.op

    @property
    def dynamic_size(self) -> bool:
        """True if writing beyond the end makes the array longer."""
        return self._dynamic_size

    @property
    def element_shape(self) -> TensorShape:
        """The shape of all elements, as far as it is known."""
        return TensorShape(self._element_shape)

    def _with_flow(self, flow: Tensor) -> TensorArray:
        """Returns the same array after another operation."""
        result = TensorArray.__new__(TensorArray)
        result.__dict__.update(self.__dict__)
        result._flow = flow
        return result

    def identity(self) -> TensorArray:
        """Returns the array, after the open control dependencies are done."""
        return self._with_flow(identity(self._flow))

    def grad(self, source: str, flow: Any = None, name: str | None = None) -> TensorArray:
        """Returns the array of its gradients for ``source``, a call of ``tf.gradients``."""
        flow = self._flow if flow is None else flow
        with name_scope(name, "TensorArrayGrad", [self._handle]), colocate_with(self._handle):
            handle, _ = apply_op("TensorArrayGradV3", self._handle, flow, source=source)
            with control_dependencies([handle]):
                flow = identity(flow, name="gradient_flow")
            result = TensorArray(
                self._dtype,
                handle=handle,
                flow=flow,
                infer_shape=self._infer_shape,
                colocate_with_first_write_call=False,
            )
        result._element_shape = self._element_shape
        return result

    # Elements -------------------------------------------------------------------------------

    def read(self, index: Any, name: str | None = None) -> Tensor:
        """Reads the element at ``index``, an int32 scalar."""
        value: Tensor = apply_op(
            "TensorArrayReadV3", self._handle, index, self._flow, dtype=self._dtype, name=name
        )
        value.set_shape(self._element_shape)
        return value

    def write(self, index: Any, value: Any, name: str | None = None) -> TensorArray:
        """Returns the array with ``value`` at ``index``; ValueError for another element shape."""
        with name_scope(name, "TensorArrayWrite", [self._handle, index, value]):
            value = convert_to_tensor(value, name="value", preferred_dtype=self._dtype)
            self._learn(value._shape)
            with self._beside(value):
                flow = apply_op("TensorArrayWriteV3", self._handle, index, value, self._flow)
        return self._with_flow(flow)

    def size(self, name: str | None = None) -> Tensor:
        """Returns the number of elements: an int32 scalar."""
        if self._size is not None and not self._dynamic_size:
            return convert_to_tensor(self._size, dtypes.int32)
        return output_of("TensorArraySizeV3", self._handle, self._flow, name=name)

    def close(self, name: str | None = None) -> Operation:
        """Makes an operation that ends the array."""
        return make_op("TensorArrayCloseV3", self._handle, name=name)

    # All of them ----------------------------------------------------------------------------

    def stack(self, name: str | None = None) -> Tensor:
        """Stacks all elements along a new first dimension."""
        with (
            colocate_with(self._handle),
            name_scope(name, "TensorArrayStack", [self._handle]),
        ):
            return self.gather(range(0, self.size()), name=name)

    def gather(self, indices: Any, name: str | None = None) -> Tensor:
        """Stacks the elements at ``indices``, an int32 vector, along a new first dimension."""
        value: Tensor = apply_op(
            "TensorArrayGatherV3",
            self._handle,
            indices,
            self._flow,
            dtype=self._dtype,
            element_shape=self._element_shape,
            name=name,
        )
        if self._element_shape is not None:
            value.set_shape([None, *self._element_shape])
        return value

    def concat(self, name: str | None = None) -> Tensor:
        """Concatenates all elements along their first dimension."""
        shape = self._element_shape
        value: Tensor
        value, _ = apply_op(
            "TensorArrayConcatV3",
            self._handle,
            self._flow,
            dtype=self._dtype,
            element_shape_except0=None if shape is None else shape[1:],
            name=name,
        )
        if shape is not None:
            value.set_shape([self._total_length(shape[0]), *shape[1:]])
        return value

    def _total_length(self, length: int | None) -> int | None:
        """Returns the length of all elements joined, if each has ``length``."""
        count = None if self._dynamic_size else self._size
        if isinstance(count, Tensor):
            count = constant_value(count)
        return None if length is None or count is None else length * int(count)

    def unstack(self, value: Any, name: str | None = None) -> TensorArray:
        """Returns the array with the elements of ``value`` along its first dimension."""
        with name_scope(name, "TensorArrayUnstack", [self._handle, value]):
            value = convert_to_tensor(value, name="value", preferred_dtype=self._dtype)
            return self.scatter(range(0, shape_of(value)[0]), value)

    def scatter(self, indices: Any, value: Any, name: str | None = None) -> TensorArray:
        """Returns the array with ``value[i]`` at ``indices[i]``."""
        with name_scope(name, "TensorArrayScatter", [self._handle, value, indices]):
            value = convert_to_tensor(value, name="value", preferred_dtype=self._dtype)
            if value._shape is not None:
                self._learn(value._shape[1:])
            with self._beside(value):
                flow = apply_op("TensorArrayScatterV3", self._handle, indices, value, self._flow)
        return self._with_flow(flow)

    def split(self, value: Any, lengths: Any, name: str | None = None) -> TensorArray:
        """Returns the array with parts of ``value`` of these ``lengths`` as its elements."""
        with name_scope(name, "TensorArraySplit", [self._handle, value, lengths]):
            value = convert_to_tensor(value, name="value", preferred_dtype=self._dtype)
            with self._beside(value):
                lengths = cast(lengths, dtypes.int64)
                flow = apply_op("TensorArraySplitV3", self._handle, value, lengths, self._flow)
        return self._with_flow(flow)

    def _learn(self, shape: Shape) -> None:
        """Notes the shape of an element; all have it, if shapes are inferred."""
        if not is_compatible(self._element_shape, shape):
            raise ValueError(
                f"Inconsistent shapes: saw {TensorShape(shape)} but expected "
                f"{TensorShape(self._element_shape)} (and infer_shape=True)"
            )
        if self._infer_shape:
            self._element_shape = merge(self._element_shape, shape)

    @contextmanager
    def _beside(self, value: Tensor) -> Iterator[None]:
        """Places ops made in the scope beside the value that is written first."""
        if not self._colocates:
            yield
            return
        if not self._colocated:
            self._colocated.append(value)
        with colocate_with(self._colocated[0]):
            yield
