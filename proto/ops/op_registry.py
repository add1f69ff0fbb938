"""The registry of op definitions: all about an op but its kernel and its gradient.

A family module of ``flowray.proto.ops`` states each op in one call::

    op("MatMul", "a: T, b: T -> product: T", T=NUMERIC, transpose_a=False, transpose_b=False,
       shape=matmul_shape)

The signature is TensorFlow's OpDef written as a function type. An argument's type is

====================  ===================================================================
``float32``           a fixed dtype (a name of ``flowray.proto.types.dtypes``)
``T``                 the dtype named by the type attribute ``T``
``N*T``               a list of ``N`` tensors of dtype ``T`` (``N`` an int attribute)
``[Tin]``             a list of tensors whose dtypes are the list(type) attribute ``Tin``
``Ref(T)``            a reference to a variable of dtype ``T``; ``Ref(N*T)`` is a list of them
====================  ===================================================================

Keyword arguments are attributes: a set of dtypes makes a required type attribute with those allowed
values; a Python value makes an optional attribute with that default; ``attr(...)`` says the rest.
Type attributes that only stand in the signature admit every dtype, and ``N`` attributes are at
least 1 unless said otherwise. An attribute whose name is a parameter of ``op`` takes an underscore:
``shape_=attr("shape")``.
"""

from __future__ import annotations

import enum
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from types import FrameType, MappingProxyType
from typing import Any, Final, Literal, Protocol

import numpy as np

from flowray.proto import errors
from flowray.proto.messages import graph_pb2
from flowray.proto.types import dtypes
from flowray.proto.types.attr_values import from_attr_value, to_attr_value
from flowray.proto.types.dtypes import DType
from flowray.proto.types.shapes import Shape

AttrKind = Literal[
    "type", "int", "float", "bool", "string", "shape", "tensor", "func",
    "list(type)", "list(int)", "list(float)", "list(bool)", "list(string)", "list(shape)",
    "list(tensor)", "list(func)",
]  # fmt: skip


class _Required:
    """The default of an attribute that every node must give."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = _Required()


@dataclass(frozen=True, slots=True)
class ArgDef:
    """One input or output argument; exactly one of the three type fields is set."""

    name: str
    dtype: DType | None = None
    type_attr: str | None = None
    type_list_attr: str | None = None
    number_attr: str | None = None
    is_ref: bool = False

    @property
    def is_list(self) -> bool:
        """True if the argument is a list of tensors."""
        return self.number_attr is not None or self.type_list_attr is not None


@dataclass(frozen=True, slots=True)
class AttrDef:
    """One attribute: its kind, its default (``REQUIRED`` if it has none) and its allowed values."""

    kind: AttrKind
    default: Any = REQUIRED
    allowed: frozenset[Any] | None = None
    minimum: int | None = None


def attr(
    kind: AttrKind,
    default: Any = REQUIRED,
    *,
    allowed: frozenset[Any] | Sequence[Any] | None = None,
    minimum: int | None = None,
) -> AttrDef:
    """Makes an attribute whose default does not tell its kind."""
    return AttrDef(kind, default, None if allowed is None else frozenset(allowed), minimum)


class ShapeContext(Protocol):
    """The view of a node that its shape function gets."""

    @property
    def inputs(self) -> Sequence[Shape]:
        """The shapes of all inputs; list arguments are flattened."""

    def attr(self, name: str) -> Any:
        """Returns the value of an attribute, as ``attr_values.from_attr_value`` gives it."""

    def constant(self, index: int) -> np.ndarray[Any, Any] | None:
        """Returns the value of input ``index``; None if it is not known before the graph runs."""

    def constant_shape(self, index: int) -> Shape:
        """Returns the value of input ``index`` as a shape, as far as it is known."""

    def resource(self, index: int) -> tuple[DType, Shape] | None:
        """Returns dtype and shape of the variable of resource input ``index``; None if unknown."""


ShapeFunction = Callable[[ShapeContext], "Shape | list[Shape]"]


class OpKind(enum.Enum):
    """The kinds of ops that passes and loaders treat in a special way.

    The form of an op that takes a reference (``RefSwitch``) has the kind of the plain one.
    """

    OTHER = enum.auto()
    CONST = enum.auto()
    PLACEHOLDER = enum.auto()
    """Has no value of its own: it is fed."""
    VARIABLE = enum.auto()
    """Stands for a variable, by its reference or by its resource handle."""
    IDENTITY = enum.auto()
    """Gives its input; as the read of a reference variable it shares the variable's memory."""
    CONTROL_TRIGGER = enum.auto()
    """Runs even if what it waits for is dead."""
    SWITCH = enum.auto()
    MERGE = enum.auto()
    ENTER = enum.auto()
    EXIT = enum.auto()
    NEXT_ITERATION = enum.auto()
    LOOP_COND = enum.auto()


@dataclass(frozen=True, slots=True)
class OpDef:
    """An op definition. Flags say what the placer, the master and the worker need to know."""

    name: str
    inputs: tuple[ArgDef, ...]
    outputs: tuple[ArgDef, ...]
    attrs: Mapping[str, AttrDef]
    shape: ShapeFunction
    stateful: bool = False
    """Has or touches state: never folded, deduplicated or pruned as a duplicate."""
    blocks: bool = False
    """May wait for something outside the step (queues, iterators): runs on the slow lane."""
    host_only: bool = False
    """Cannot be compiled by XLA (strings, files, checks of the state store)."""
    static_inputs: frozenset[int] = frozenset()
    """Input arguments whose values must be known when the op is compiled (a shape, an axis)."""
    dynamic_shape: bool = False
    """The output's shape depends on data, so XLA cannot compile it."""
    allows_uninitialized_input: bool = False
    reads_only: bool = False
    """Takes a variable (``Ref`` or resource) but never writes it."""
    hints: frozenset[str] = frozenset()
    """Attributes that do not change the result; kernels do not see them."""
    kind: OpKind = OpKind.OTHER
    differentiable: bool = True
    """Gradients flow through it, or its lack of a gradient function is an error; False where the
    outputs do not vary with the inputs. ``op`` sets it to False, too, where no output can have a
    dtype that gradients flow through."""
    shape_only: bool = False
    """Its outputs tell the shapes of its inputs, which are known while XLA traces."""
    forwards_resource: bool = False
    """Its outputs are its first input: given a resource, they are that resource."""
    multi_device: bool = False
    """Takes resources of several devices, so the placer does not bind it to any of theirs."""
    step_state: bool = False
    """Makes or uses a resource that lives as long as a step (a stack, a tensor array)."""
    expensive: bool = False
    """Takes so long that an XLA program should not compute it for a branch that is not taken."""
    defined_at: str = field(default="", compare=False)
    """The file and line of the definition: of the statement at module level that makes it."""

    @property
    def family(self) -> str:
        """The family that the op belongs to: the name of the module that defines it."""
        return PurePath(self.defined_at.rpartition(":")[0]).stem

    @property
    def is_ref_variable(self) -> bool:
        """True if the op stands for a variable by its reference."""
        return self.kind is OpKind.VARIABLE and self.outputs[0].is_ref

    def kernel_attrs(self) -> frozenset[str]:
        """Returns the attributes that a kernel must take: not hints, nor those that inputs tell."""
        told = {
            a
            for arg in self.inputs
            for a in (arg.type_attr, arg.type_list_attr, arg.number_attr)
            if a is not None
        }
        return frozenset(self.attrs) - told - self.hints

    def attr_values(self, node: graph_pb2.NodeDef) -> dict[str, Any]:
        """Returns the values of the op's attributes in ``node``, with defaults where it has none.

        Raises:
            NotFoundError: a required attribute is missing (TensorFlow's code and text).
            InvalidArgumentError: a value has the wrong kind or is not allowed.
        """
        return {name: self.attr_value(node, name) for name in self.attrs}

    def attr_value(self, node: graph_pb2.NodeDef, name: str) -> Any:
        """Returns the value of one attribute, as ``attr_values`` does."""
        definition = self.attrs[name]
        if name in node.attr:
            value = from_attr_value(node.attr[name], definition.kind)
            if value is None and definition.kind not in ("shape", "list(shape)"):
                raise errors.invalid_argument(
                    f"AttrValue of attr '{name}' of op {self.name} is not of type "
                    f"{definition.kind}",
                    node=node.name,
                )
            check_attr(self.name, name, definition, value, node.name)
            return value
        if definition.default is REQUIRED:
            raise errors.not_found(f"No attr named '{name}' in NodeDef:", node=node.name)
        return definition.default

    def input_types(self, attrs: Mapping[str, Any]) -> list[DType]:
        """Returns the dtype of each flattened input, a reference for ``Ref`` arguments."""
        return _types(self.inputs, attrs)

    def output_types(self, attrs: Mapping[str, Any]) -> list[DType]:
        """Returns the dtype of each flattened output, a reference for ``Ref`` arguments."""
        return _types(self.outputs, attrs)


def check_attr(op_name: str, name: str, definition: AttrDef, value: Any, node: str) -> None:
    """Raises InvalidArgumentError if ``definition`` does not allow ``value``."""
    if definition.allowed is not None:
        for item in value if definition.kind.startswith("list(") else (value,):
            if item not in definition.allowed:
                shown = item.name if isinstance(item, DType) else repr(item)
                listed = ", ".join(
                    sorted(a.name if isinstance(a, DType) else str(a) for a in definition.allowed)
                )
                raise errors.invalid_argument(
                    f"Value for attr '{name}' of {shown} is not in the list of allowed values: "
                    f"{listed}\n\t; NodeDef: {{{{node {node}}}}}; Op<name={op_name}>",
                    node=node,
                )
    if definition.minimum is not None:
        size = len(value) if definition.kind.startswith("list(") else value
        if size < definition.minimum:
            raise errors.invalid_argument(
                f"Value for attr '{name}' of {size} must be at least minimum "
                f"{definition.minimum}\n\t; NodeDef: {{{{node {node}}}}}; Op<name={op_name}>",
                node=node,
            )


def _types(args: Sequence[ArgDef], attrs: Mapping[str, Any]) -> list[DType]:
    result: list[DType] = []
    for arg in args:
        if arg.type_list_attr is not None:
            result.extend(attrs[arg.type_list_attr])
            continue
        if arg.type_attr is not None:
            dtype = attrs[arg.type_attr]
        else:
            assert arg.dtype is not None
            dtype = arg.dtype
        if arg.is_ref:
            dtype = dtype._as_ref
        result.extend([dtype] * (attrs[arg.number_attr] if arg.number_attr is not None else 1))
    return result


_VARYING: Final = dtypes.FLOATING | dtypes.COMPLEX | {dtypes.resource, dtypes.variant}

_registry: dict[str, OpDef] = {}


def op(
    name: str,
    signature: str,
    *,
    shape: ShapeFunction,
    stateful: bool = False,
    blocks: bool = False,
    host_only: bool = False,
    static_inputs: Sequence[int] = (),
    dynamic_shape: bool = False,
    allows_uninitialized_input: bool = False,
    reads_only: bool = False,
    hints: Sequence[str] = (),
    kind: OpKind = OpKind.OTHER,
    differentiable: bool = True,
    shape_only: bool = False,
    forwards_resource: bool = False,
    multi_device: bool = False,
    step_state: bool = False,
    expensive: bool = False,
    **attributes: Any,
) -> OpDef:
    """Registers an op definition (see the module's docstring) and returns it.

    Raises:
        ValueError: the name is taken (the message names the earlier file and line), or the
            signature and the attributes do not fit.
    """
    if name in _registry:
        raise ValueError(f"op {name!r} is already defined at {_registry[name].defined_at}")
    left, arrow, right = signature.partition("->")
    if not arrow:
        raise ValueError(f"op {name!r}: signature {signature!r} has no '->'")
    inputs, outputs = _parse_args(name, left), _parse_args(name, right)
    attrs = {key.removesuffix("_"): _attr_of(name, key, value) for key, value in attributes.items()}
    for arg in inputs + outputs:
        if arg.type_attr is not None:
            attrs.setdefault(arg.type_attr, AttrDef("type"))
        if arg.type_list_attr is not None:
            attrs.setdefault(arg.type_list_attr, AttrDef("list(type)"))
        if arg.number_attr is not None:
            attrs.setdefault(arg.number_attr, AttrDef("int", minimum=1))
    unknown = set(hints) - set(attrs)
    if unknown:
        raise ValueError(f"op {name!r}: hints {sorted(unknown)} are not attributes")
    definition = OpDef(
        name,
        inputs,
        outputs,
        MappingProxyType(attrs),
        shape,
        stateful=stateful,
        blocks=blocks,
        host_only=host_only,
        static_inputs=frozenset(static_inputs),
        dynamic_shape=dynamic_shape,
        allows_uninitialized_input=allows_uninitialized_input,
        reads_only=reads_only,
        hints=frozenset(hints),
        kind=kind,
        differentiable=differentiable and any(_may_vary(output, attrs) for output in outputs),
        shape_only=shape_only,
        forwards_resource=forwards_resource,
        multi_device=multi_device,
        step_state=step_state,
        expensive=expensive,
        defined_at=_definition_site(sys._getframe(1)),
    )
    _registry[name] = definition
    return definition


def _definition_site(frame: FrameType) -> str:
    """Returns the file and line of the statement at module level from which ``frame`` was called.

    A family may define its ops through a function, even one of another family.
    """
    site = frame
    while site.f_code.co_name != "<module>" and site.f_back is not None:
        site = site.f_back
    if site.f_code.co_name != "<module>":  # called from an embedded interpreter
        site = frame
    return f"{site.f_code.co_filename}:{site.f_lineno}"


def _may_vary(output: ArgDef, attrs: Mapping[str, AttrDef]) -> bool:
    """Returns whether an output can have a dtype that gradients flow through."""
    if output.dtype is not None:
        return output.dtype in _VARYING
    allowed = attrs[output.type_attr or output.type_list_attr or ""].allowed
    return allowed is None or not _VARYING.isdisjoint(allowed)


def default_attr_value(definition: AttrDef) -> graph_pb2.AttrValue:
    """Returns the default of an attribute as an AttrValue. The attribute must have one."""
    return to_attr_value(definition.default, definition.kind)


def lookup(name: str) -> OpDef:
    """Returns the definition of op ``name``; NotFoundError, with TensorFlow's text, if unknown."""
    try:
        return _registry[name]
    except KeyError:
        raise errors.not_found(
            f"Op type not registered '{name}' in binary running on flowray. Make sure the Op is "
            "one that flowray has (docs/ops.md lists them)."
        ) from None


def registered_ops() -> Mapping[str, OpDef]:
    """Returns all definitions by name, in a view that follows new ones."""
    return MappingProxyType(_registry)


_ARG = re.compile(
    r"""(?P<name>\w+)\s*:\s*
        (?: \[(?P<list>\w+)\]
          | (?P<ref>Ref\()? (?:(?P<number>\w+)\s*\*\s*)? (?P<type>\w+) (?(ref)\)) )
        \s*$""",
    re.VERBOSE,
)


def _parse_args(op_name: str, text: str) -> tuple[ArgDef, ...]:
    args = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        match = _ARG.match(part)
        if match is None:
            raise ValueError(f"op {op_name!r}: cannot read the argument {part!r}")
        name, number = match["name"], match["number"]
        if match["list"] is not None:
            args.append(ArgDef(name, type_list_attr=match["list"]))
            continue
        type_name = match["type"]
        fixed = dtypes.BY_NAME.get(type_name)
        args.append(
            ArgDef(
                name,
                dtype=fixed,
                type_attr=None if fixed is not None else type_name,
                number_attr=number,
                is_ref=match["ref"] is not None,
            )
        )
    return tuple(args)


def _attr_of(op_name: str, name: str, value: Any) -> AttrDef:
    match value:
        case AttrDef():
            return value
        case frozenset() | set():
            return AttrDef("type", allowed=frozenset(value))
        case DType():
            return AttrDef("type", value)
        case bool():
            return AttrDef("bool", value)
        case int():
            return AttrDef("int", value)
        case float():
            return AttrDef("float", value)
        case str():
            return AttrDef("string", value.encode())
        case bytes():
            return AttrDef("string", value)
        case list() if all(isinstance(item, int) for item in value):
            return AttrDef("list(int)", value)
        case list() if all(isinstance(item, float) for item in value):
            return AttrDef("list(float)", value)
    raise ValueError(f"op {op_name!r}: cannot tell the kind of attribute {name!r}: use attr(...)")
