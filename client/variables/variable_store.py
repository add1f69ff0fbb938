"""The store behind ``tf.get_variable``: the variables of a graph by name, and making new ones."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.function import init_scope
from flowray.client.framework.graph import (
    GraphKeys,
    Tensor,
    add_to_collection,
    colocate_with,
    name_scope,
)
from flowray.client.framework.op_builder import apply_op
from flowray.client.variables import initializers
from flowray.client.variables.partitioned_variables import (
    PartitionedVariable,
    PartitionInfo,
    partitions_for,
    slice_axis,
    slices,
)
from flowray.client.variables.resource_variable import ResourceVariable
from flowray.client.variables.save_slice_info import SaveSliceInfo
from flowray.client.variables.variable_modes import (
    as_aggregation,
    as_synchronization,
    default_trainable,
)
from flowray.client.variables.variables import Variable
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import TensorShape, as_shape


class VariableStore:
    """The variables of a graph that ``tf.get_variable`` made, by their full names.

    Its methods take the arguments of ``tf.get_variable``, with the scope's defaults filled in.
    ``reuse`` is True: the variable must be there; False: it must not; or neither (``AUTO_REUSE``,
    None): it is made if it is not there.
    """

    def __init__(self) -> None:
        self._variables: dict[str, Variable] = {}
        self._partitioned: dict[str, PartitionedVariable] = {}

    def get_variable(
        self,
        name: str,
        *,
        custom_getter: Any,
        synchronization: Any,
        aggregation: Any,
        trainable: bool | None,
        dtype: Any,
        **arguments: Any,
    ) -> Any:
        """Returns the variable, by the custom getter if there is one."""
        if custom_getter is not None and not callable(custom_getter):
            raise ValueError(f"Passed a custom_getter which is not callable: {custom_getter}")
        synchronization = as_synchronization(synchronization, name)
        arguments.update(
            dtype=getattr(dtype, "base_dtype", dtype),
            synchronization=synchronization,
            aggregation=as_aggregation(aggregation, name),
            trainable=default_trainable(synchronization) if trainable is None else trainable,
        )
        if custom_getter is None:
            return self._true_getter(name=name, **arguments)
        # Getters were written before there was the last argument.
        if not _takes(custom_getter, "constraint"):
            del arguments["constraint"]
        return custom_getter(getter=self._true_getter, name=name, **arguments)

    def _true_getter(
        self,
        name: str,
        shape: Any = None,
        dtype: Any = dtypes.float32,
        initializer: Any = None,
        regularizer: Any = None,
        reuse: Any = None,
        trainable: bool | None = None,
        collections: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        validate_shape: bool = True,
        use_resource: bool | None = None,
        constraint: Any = None,
        synchronization: Any = None,
        aggregation: Any = None,
    ) -> Any:
        """Makes or finds the variable: the ``getter`` that a custom getter is passed."""
        arguments = {
            "initializer": initializer, "regularizer": regularizer, "reuse": reuse,
            "trainable": trainable, "collections": collections, "caching_device": caching_device,
            "validate_shape": validate_shape, "use_resource": use_resource,
            "constraint": constraint, "synchronization": synchronization,
            "aggregation": aggregation,
        }  # fmt: skip
        dtype = dtypes.as_dtype(dtype)
        is_scalar = isinstance(shape, Sequence) and not shape
        if partitioner is not None and not is_scalar:
            if not callable(partitioner):
                raise ValueError(f"Partitioner must be callable, but received: {partitioner}")
            return self._get_partitioned(name, as_shape(shape), dtype, partitioner, **arguments)
        if partitioner is None and reuse is True and name in self._partitioned:
            return self._get_partitioned(name, as_shape(shape), dtype, None, **arguments)
        if f"{name}/part_0" in self._variables:
            raise ValueError(
                "No partitioner was provided, but a partitioned version of the variable was "
                f"found: {name}/part_0. Perhaps a variable of the same name was already created "
                "with partitioning?"
            )
        return self._get_single(name, shape, dtype, None, **arguments)

    # One variable ---------------------------------------------------------------------------

    def _get_single(
        self,
        name: str,
        shape: Any,
        dtype: DType,
        partition_info: PartitionInfo | None,
        *,
        initializer: Any,
        regularizer: Any,
        reuse: Any,
        **arguments: Any,
    ) -> Variable:
        if shape is not None and initializer is not None and not callable(initializer):
            raise ValueError("If initializer is a constant, do not specify shape.")
        wanted = as_shape(shape)
        if name in self._variables:
            return self._existing(name, wanted, dtype, reuse)
        if reuse is True:
            raise ValueError(
                f"Variable {name} does not exist, or was not created with tf.get_variable(). Did "
                "you mean to set reuse=tf.AUTO_REUSE in VarScope?"
            )
        if initializer is None:
            if shape is None:
                raise ValueError(
                    f"Variable {name} did not get an initializer, so its `shape` argument must be "
                    "specified."
                )
            initializer = default_initializer(name, dtype)
        value, variable_dtype = _initial_value(initializer, wanted, dtype, partition_info)
        variable = Variable(initial_value=value, name=name, dtype=variable_dtype, **arguments)
        self._variables[name] = variable
        if regularizer:
            with (
                colocate_with(variable),
                name_scope(f"{name}/Regularizer/"),
                init_scope(),
            ):
                loss = regularizer(variable)
            if loss is not None:
                add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)
        return variable

    def _existing(self, name: str, shape: TensorShape, dtype: DType, reuse: Any) -> Variable:
        found = self._variables[name]
        if reuse is False:
            raise ValueError(
                f"Variable {name} already exists, disallowed. Did you mean to set reuse=True or "
                f"reuse=tf.AUTO_REUSE in VarScope?{_origin(found)}"
            )
        if not shape.is_compatible_with(found.shape):
            raise ValueError(
                f"Trying to share variable {name}, but specified shape {shape} and found shape "
                f"{found.shape}."
            )
        if not dtype.is_compatible_with(found.dtype):
            raise ValueError(
                f"Trying to share variable {name}, but specified dtype {dtype.name} and found "
                f"dtype {found.dtype.name}."
            )
        return found

    # A variable in parts --------------------------------------------------------------------

    def _get_partitioned(
        self,
        name: str,
        shape: TensorShape,
        dtype: DType,
        partitioner: Any,
        *,
        initializer: Any,
        reuse: Any,
        **arguments: Any,
    ) -> PartitionedVariable:
        if name in self._variables:
            raise ValueError(
                "A partitioner was provided, but an unpartitioned version of the variable was "
                f"found: {name}.  Perhaps a variable of the same name was already created without "
                "partitioning?"
            )
        if isinstance(initializer, Tensor):
            shape = shape.merge_with(initializer.get_shape())
        partitions = None
        if not reuse or partitioner:
            partitions = partitions_for(partitioner, shape, dtype)
        if name in self._partitioned:
            return self._existing_partitioned(name, shape, dtype, partitions, reuse)
        if reuse is True:
            raise ValueError(
                f"PartitionedVariable {name} does not exist, or was not created with "
                "tf.get_variable(). Did you mean to set reuse=False or reuse=tf.AUTO_REUSE in "
                "VarScope?"
            )
        assert partitions is not None
        axis, count = slice_axis(partitions)
        self._check_parts(name, count)
        sizes = [size or 0 for size in shape.as_list()]
        parts = []
        for index, (offset, part_shape) in enumerate(slices(sizes, axis, count)):
            part_name = f"{name}/part_{index}"
            info = PartitionInfo(sizes, offset)
            if initializer is None or callable(initializer):
                part = self._get_single(
                    part_name,
                    part_shape,
                    dtype,
                    info,
                    initializer=initializer,
                    reuse=reuse,
                    **arguments,
                )
            else:
                with name_scope(f"{part_name}/PartitionedInitializer"):
                    # Tensors keep their dtype; other values take the one that is asked for.
                    wanted = None if isinstance(initializer, Tensor) else dtype
                    whole_value = convert_to_tensor(initializer, wanted)
                    value = apply_op("Slice", whole_value, offset, part_shape)
                part = self._get_single(
                    part_name,
                    None,
                    value.dtype.base_dtype,
                    info,
                    initializer=value,
                    reuse=reuse,
                    **arguments,
                )
            part._set_save_slice_info(SaveSliceInfo(name, sizes, offset, part_shape))
            parts.append(part)
        whole = PartitionedVariable(name, shape, parts[0].dtype.base_dtype, parts, partitions)
        self._partitioned[name] = whole
        return whole

    def _existing_partitioned(
        self, name: str, shape: TensorShape, dtype: DType, partitions: list[int] | None, reuse: Any
    ) -> PartitionedVariable:
        found = self._partitioned[name]
        if reuse is False:
            raise ValueError(
                f"Partitioned variable with name {name} already exists. Did you mean to set "
                "reuse=True or reuse=tf.AUTO_REUSE in VarScope?"
            )
        trying = f"Trying to reuse partitioned variable {name}, but specified"
        if not shape.is_compatible_with(found.shape):
            raise ValueError(f"{trying} shape {shape} and found shape {found.shape}.")
        if not dtype.is_compatible_with(found.dtype):
            raise ValueError(f"{trying} dtype {dtype.name} and found dtype {found.dtype.name}.")
        if partitions is not None and partitions != found._get_partitions():
            raise ValueError(
                f"{trying} partitions {partitions} and found partitions {found._get_partitions()}."
            )
        return found

    def _check_parts(self, name: str, count: int) -> None:
        """Raises ValueError if the parts exist with another partitioning."""
        if f"{name}/part_0" not in self._variables:
            return
        prefix = (
            "Partitioner returned a different partitioning than what was already found.  "
            f"Partitioner returned {count} shards, and shard {name}/part_0 was found, but"
        )
        if f"{name}/part_{count - 1}" not in self._variables:
            raise ValueError(f"{prefix} {name}/part_{count - 1} was not.")
        if f"{name}/part_{count}" in self._variables:
            raise ValueError(f"{prefix} so was the extra shard {name}/part_{count}.")


# Initial values -----------------------------------------------------------------------------------


def default_initializer(name: str, dtype: DType) -> Callable[..., Tensor]:
    """Returns the initial value of a variable without an initializer.

    Raises:
        ValueError: there is no default for ``dtype``.
    """
    if dtype.is_floating:
        return initializers.glorot_uniform()
    if dtype.is_integer or dtype.is_bool or dtype == dtypes.string:
        return initializers.zeros()
    raise ValueError(f"An initializer for variable {name} of {dtype.base_dtype} is required")


def _initial_value(
    initializer: Any, shape: TensorShape, dtype: DType, partition_info: PartitionInfo | None
) -> tuple[Any, DType | None]:
    """Returns the arguments ``initial_value`` and ``dtype`` for ``tf.Variable``."""
    if not callable(initializer):
        return initializer, None
    if inspect.isclass(initializer):
        initializer = initializer()
    if shape.is_fully_defined():
        known: dict[str, Any] = {"dtype": dtype}
        if "partition_info" in inspect.signature(initializer).parameters:
            known["partition_info"] = partition_info
        return functools.partial(initializer, shape.as_list(), **known), dtype.base_dtype
    if all(
        parameter.default is not parameter.empty or parameter.kind in _VARIADIC
        for parameter in inspect.signature(initializer).parameters.values()
    ):
        return initializer, None
    raise ValueError(
        "The initializer passed is not valid. It should be a callable with no arguments and the "
        "shape should not be provided or an instance of `tf.keras.initializers.*' and `shape` "
        "should be fully defined."
    )


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _takes(function: Callable[..., Any], argument: str) -> bool:
    parameters = inspect.signature(function).parameters
    return argument in parameters or any(
        p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()
    )


def _origin(variable: Variable) -> str:
    """Describes where a reference variable was made, for an error message."""
    if isinstance(variable, ResourceVariable):
        return ""
    lines = traceback.format_list(variable.op.traceback[::-1][:5])
    return f" Originally defined at:\n\n{''.join(lines)}"
