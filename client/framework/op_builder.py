"""``apply_op``: makes an operation from Python values, by its definition.

Converts the inputs, infers the type attributes, fills in the defaults and names the node, as
TensorFlow's op_def_library does, with its error texts.
"""

from __future__ import annotations

import functools
from collections import namedtuple
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from flowray.client.framework.conversion import convert_n_to_tensor, convert_to_tensor, own_dtype
from flowray.client.framework.graph import Operation, Tensor, get_default_graph, name_scope
from flowray.client.framework.graph import _graph_of as graph_of
from flowray.proto import errors
from flowray.proto.ops import op_registry
from flowray.proto.ops.op_registry import REQUIRED, ArgDef, OpDef
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import as_shape


def apply_op(op_type: str, *inputs: Any, name: str | None = None, **attrs: Any) -> Any:
    """Adds an op of type ``op_type`` to the graph of its inputs (or the default graph).

    Args:
        op_type: the registered name.
        inputs: one value per input argument; list arguments take a list.
        name: the op's name; its type if None. A trailing ``/`` takes it as it stands.
        attrs: attributes that the inputs do not tell.

    Returns:
        The Operation if it has no outputs; its one output (a Tensor, or a list of them); or a
        named tuple of its outputs.

    Raises:
        TypeError, ValueError: an input or attribute does not fit the definition.
    """
    operation = make_op(op_type, *inputs, name=name, **attrs)
    definition = operation.op_def
    assert definition is not None
    if not definition.outputs:
        return operation
    values = _structure(definition.outputs, operation)
    if len(values) == 1:
        return values[0]
    return _result_type(op_type)(*values)


def output_of(op_type: str, *inputs: Any, name: str | None = None, **attrs: Any) -> Tensor:
    """Adds an op with one output, as ``apply_op`` does, and returns that output."""
    result = apply_op(op_type, *inputs, name=name, **attrs)
    assert isinstance(result, Tensor), f"{op_type} has not one output"
    return result


def make_op(op_type: str, *inputs: Any, name: str | None = None, **attrs: Any) -> Operation:
    """Adds an op as ``apply_op`` does, and returns the Operation."""
    definition = op_registry.lookup(op_type)
    if len(inputs) != len(definition.inputs):
        raise TypeError(
            f"{op_type}: expected {len(definition.inputs)} inputs "
            f"({', '.join(a.name for a in definition.inputs)}), got {len(inputs)}"
        )
    unknown = set(attrs) - set(definition.attrs)
    if unknown:
        raise TypeError(
            f"apply_op() got unexpected keyword arguments: {', '.join(sorted(unknown))}"
        )
    with graph_of(_flat(inputs)).as_default(), name_scope(name, op_type) as scope:
        values = {key: value for key, value in attrs.items() if value is not None}
        flat: list[Tensor] = []
        references: list[Tensor] = []
        for arg, value in zip(definition.inputs, inputs, strict=True):
            tensors = _convert(definition, arg, value, values, inputs)
            flat.extend(tensors)
            references.extend(tensors if arg.is_ref else ())
        attr_protos = _complete(definition, values, scope or op_type)
        graph = get_default_graph()
        with ExitStack() as places:
            # What writes to a variable must be where the variable is.
            for reference in references:
                places.enter_context(graph.colocate_with(reference))
            return graph.create_op(
                op_type, flat, definition.output_types(attr_protos), None, scope, attr_protos
            )


def _flat(values: Sequence[Any]) -> list[Any]:
    result = []
    for value in values:
        result.extend(_flat(value) if isinstance(value, list | tuple) else [value])
    return result


def _convert(
    definition: OpDef, arg: ArgDef, value: Any, attrs: dict[str, Any], inputs: Sequence[Any]
) -> list[Tensor]:
    if arg.is_list:
        return _convert_list(definition, arg, value, attrs)
    wanted = arg.dtype
    if wanted is None and arg.type_attr in attrs:
        wanted = dtypes.as_dtype(attrs[arg.type_attr])
    default = None if wanted is not None else _default_type(definition, arg, value)
    if wanted is None and default is None:
        default = _dtype_of_peers(definition, arg, inputs)
    try:
        tensor = convert_to_tensor(
            value, wanted, name=arg.name, preferred_dtype=default, as_ref=arg.is_ref
        )
    except (TypeError, ValueError) as error:
        raise _mismatch(definition, arg, wanted, value, attrs, error) from None
    if arg.is_ref and not tensor.dtype._is_ref_dtype:
        raise TypeError(
            f"'{definition.name}' Op requires that input '{arg.name}' be a mutable tensor "
            "(e.g.: a tf.Variable)"
        )
    if arg.type_attr is not None:
        attrs.setdefault(arg.type_attr, tensor.dtype.base_dtype)
        _check_allowed(definition, arg, tensor.dtype.base_dtype)
    return [tensor]


def _convert_list(
    definition: OpDef, arg: ArgDef, value: Any, attrs: dict[str, Any]
) -> list[Tensor]:
    if not isinstance(value, list | tuple):
        raise TypeError(
            f"Expected list for '{arg.name}' argument to '{definition.name}' Op, not {value!r}."
        )
    wanted = arg.dtype
    if wanted is None and arg.type_attr in attrs:
        wanted = dtypes.as_dtype(attrs[arg.type_attr])
    if wanted is None and arg.type_attr is not None:
        # The first item that knows its dtype speaks for the others.
        known = (getattr(item, "dtype", None) for item in value)
        first = next((d for d in known if d is not None), None)
        wanted = None if first is None else dtypes.as_dtype(first).base_dtype
    if arg.type_list_attr is not None:
        types = attrs.get(arg.type_list_attr)
        if types is not None and len(types) != len(value):
            raise ValueError(
                f"'{definition.name}': {len(value)} values for {len(types)} types of "
                f"'{arg.type_list_attr}'"
            )
        tensors = [
            convert_to_tensor(item, None if types is None else types[i], f"{arg.name}_{i}")
            for i, item in enumerate(value)
        ]
        attrs[arg.type_list_attr] = [t.dtype.base_dtype for t in tensors]
        return tensors
    try:
        tensors = convert_n_to_tensor(value, wanted, name=arg.name, as_ref=arg.is_ref)
        if wanted is None and tensors:
            tensors = convert_n_to_tensor(tensors, tensors[0].dtype.base_dtype)
    except (TypeError, ValueError):
        shown = [_dtype_text(item) for item in value]
        raise TypeError(
            f"Tensors in list passed to '{arg.name}' of '{definition.name}' Op have types "
            f"[{', '.join(shown)}] that don't all match."
        ) from None
    assert arg.number_attr is not None
    number = definition.attrs[arg.number_attr]
    given = attrs.setdefault(arg.number_attr, len(tensors))
    if given != len(tensors):
        raise ValueError(
            f"List argument '{arg.name}' to '{definition.name}' Op with length {len(tensors)} "
            f"must match attr '{arg.number_attr}' of {given}"
        )
    if number.minimum is not None and len(tensors) < number.minimum:
        raise ValueError(
            f"List argument '{arg.name}' to '{definition.name}' Op with length {len(tensors)} "
            f"shorter than minimum length {number.minimum}."
        )
    if arg.type_attr is not None:
        if tensors:
            attrs.setdefault(arg.type_attr, tensors[0].dtype.base_dtype)
        if arg.type_attr in attrs:
            _check_allowed(definition, arg, dtypes.as_dtype(attrs[arg.type_attr]))
    return tensors


def _default_type(definition: OpDef, arg: ArgDef, value: Any) -> DType | None:
    """Returns the attribute's default for a value whose own dtype the attribute does not allow."""
    if arg.type_attr is None:
        return None
    attr = definition.attrs[arg.type_attr]
    if not isinstance(attr.default, DType):
        return None
    if attr.allowed is not None and own_dtype(value) in attr.allowed:
        return None
    return attr.default


def _dtype_of_peers(definition: OpDef, arg: ArgDef, inputs: Sequence[Any]) -> DType | None:
    """Returns the dtype of another operand; unlike TensorFlow 1.15, ``tf.add(1, x)`` uses it."""
    if arg.type_attr is None:
        return None
    for peer, value in zip(definition.inputs, inputs, strict=True):
        if peer.type_attr == arg.type_attr and isinstance(value, Tensor):
            return value.dtype.base_dtype
    return None


def _dtype_text(item: Any) -> str:
    dtype = getattr(item, "dtype", None)
    if dtype is not None:
        return str(dtypes.as_dtype(dtype).base_dtype.name)
    try:
        return str(convert_to_tensor(item).dtype.base_dtype.name)
    except (TypeError, ValueError):
        return f"<NOT CONVERTIBLE TO TENSOR: {type(item).__name__}>"


def _mismatch(
    definition: OpDef,
    arg: ArgDef,
    wanted: DType | None,
    value: Any,
    attrs: dict[str, Any],
    error: Exception,
) -> Exception:
    if wanted is None:
        return error
    actual = getattr(value, "dtype", None)
    if actual is None:
        return TypeError(
            f"Expected {wanted.name} passed to parameter '{arg.name}' of op '{definition.name}', "
            f"got {value!r} of type '{type(value).__name__}' instead. Error: {error}"
        )
    prefix = (
        f"Input '{arg.name}' of '{definition.name}' Op has type "
        f"{dtypes.as_dtype(actual).base_dtype.name} that does not match"
    )
    if arg.dtype is not None:
        return TypeError(f"{prefix} expected type of {wanted.name}.")
    source = next(a.name for a in definition.inputs if a.type_attr == arg.type_attr)
    if source == arg.name:
        return TypeError(f"{prefix} type {wanted.name} of attribute '{arg.type_attr}'.")
    return TypeError(f"{prefix} type {wanted.name} of argument '{source}'.")


def _check_allowed(definition: OpDef, arg: ArgDef, dtype: DType) -> None:
    assert arg.type_attr is not None
    allowed = definition.attrs[arg.type_attr].allowed
    if allowed is not None and dtype not in allowed:
        raise TypeError(
            f"Value passed to parameter '{arg.name}' has DataType {dtype.name} not in list of "
            f"allowed values: {', '.join(sorted(d.name for d in allowed))}"
        )


def _complete(definition: OpDef, attrs: dict[str, Any], node: str) -> dict[str, Any]:
    """Checks the attributes that are given or inferred, and adds the defaults of the others."""
    result: dict[str, Any] = {}
    for key, attr_def in definition.attrs.items():
        if key not in attrs:
            if attr_def.default is REQUIRED:
                raise TypeError(f"No argument for attr '{key}' of op '{definition.name}'")
            result[key] = attr_def.default
            continue
        value = _python_value(attrs[key], attr_def.kind)
        if attr_def.allowed is not None or attr_def.minimum is not None:
            try:
                op_registry.check_attr(definition.name, key, attr_def, value, node)
            except errors.InvalidArgumentError as error:
                raise ValueError(error.message) from None
        result[key] = value
    return result


def _python_value(value: Any, kind: str) -> Any:
    """Returns an attribute in its canonical form: a str as bytes, a numpy int as an int."""
    if kind == "type":
        return dtypes.as_dtype(value).base_dtype
    if kind == "string" and isinstance(value, str):
        return value.encode()
    if kind == "int":
        return int(value)
    if kind == "float":
        return float(value)
    if kind == "shape":
        return as_shape(value).as_tuple()
    if kind == "func" and hasattr(value, "as_attr"):  # a TracedFunction
        return value.as_attr()
    if kind.startswith("list("):
        if not isinstance(value, list | tuple):
            raise TypeError(f"Expected list for attribute, got {value!r}")
        return [_python_value(item, kind[5:-1]) for item in value]
    return value


def _structure(args: Sequence[ArgDef], operation: Operation) -> list[Any]:
    """Returns the outputs of ``operation``, list arguments as lists."""
    outputs = iter(operation._outputs)
    result: list[Any] = []
    for arg in args:
        if arg.number_attr is not None:
            count = operation._attrs[arg.number_attr]
        elif arg.type_list_attr is not None:
            count = len(operation._attrs[arg.type_list_attr])
        else:
            result.append(next(outputs))
            continue
        result.append([next(outputs) for _ in range(count)])
    return result


@functools.cache
def _result_type(op_type: str) -> Any:
    names = [arg.name for arg in op_registry.lookup(op_type).outputs]
    return namedtuple(op_type, names)
