"""The typed node: a NodeDef whose op is known, with its attributes and edges decoded.

The master's passes and the worker's loader both work on these nodes. A NodeDef is decoded once on
each side, by ``Node.from_def``, which raises TensorFlow's errors for one that does not hold
together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from flowray.proto import errors
from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.messages import graph_pb2
from flowray.proto.ops import op_registry
from flowray.proto.ops.op_registry import OpDef
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType, type_name

MAX_LIST: Final = 1 << 20
"""The longest list of arguments; an attribute must not make us allocate without limit."""

_INPUT_NAME = re.compile(r"(\^)?([A-Za-z0-9._][A-Za-z0-9_.\\/>-]*)(?::(0|[1-9][0-9]{0,8}))?")


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a graph. Nodes never change, so graphs share them."""

    definition: graph_pb2.NodeDef
    """The NodeDef that was decoded. It is shared, so nobody changes it. Its inputs are those that
    the client wrote; all code goes by ``inputs`` and ``control_inputs``."""
    op: OpDef
    attrs: Mapping[str, Any]
    """The attributes of the op, as ``attr_values.from_attr_value`` gives them, defaults included.
    Attributes that the op does not have (``_class``) are only in the definition."""
    inputs: tuple[TensorId, ...]
    control_inputs: tuple[str, ...]
    """The nodes that run before this one; each is named once."""
    input_types: tuple[DType, ...]
    """The dtype that each input must have; a reference where the op takes a variable."""
    output_types: tuple[DType, ...]
    back_inputs: frozenset[str] = frozenset()
    """The NextIteration nodes among the inputs of a loop's Merge: the edges that close the loop."""

    @classmethod
    def from_def(
        cls,
        definition: graph_pb2.NodeDef,
        *,
        inputs: tuple[TensorId, ...] | None = None,
        control_inputs: tuple[str, ...] = (),
    ) -> Node:
        """Decodes a NodeDef.

        Args:
            definition: the node. It is kept, not copied.
            inputs: the edges to take in place of those that ``definition`` names; so are
                ``control_inputs``, which only count where this is given.

        Raises:
            NotFoundError: the op is unknown, or a required attribute is missing.
            InvalidArgumentError: an attribute has a bad value, an input's name is malformed, or
                the number of inputs is not that of the op. All have TensorFlow's text and name
                the node.
        """
        name = definition.name
        try:
            op = op_registry.lookup(definition.op)
            attrs = op.attr_values(definition)
        except errors.OpError as error:
            message = errors.with_node(error.message, name)
            raise errors.from_code(error.error_code, message) from None
        except (TypeError, ValueError) as error:  # what stands for a dtype or a shape is not one
            raise errors.invalid_argument(str(error), node=name) from None
        if inputs is None:
            inputs, control_inputs = _parse_inputs(definition)
        _check_list_sizes(op, attrs, name)
        input_types = tuple(op.input_types(attrs))
        if len(input_types) != len(inputs):
            expected = ", ".join(type_name(t) for t in input_types[:50])
            raise errors.invalid_argument(
                f"NodeDef expected inputs '{expected}' do not match {len(inputs)} inputs "
                f"specified; Op<name={op.name}>; NodeDef: {{{{node {name}}}}}",
                node=name,
            )
        output_types = tuple(op.output_types(attrs))
        return cls(definition, op, attrs, inputs, control_inputs, input_types, output_types)

    @property
    def name(self) -> str:
        """The node's name, unique in its graph."""
        return self.definition.name

    @property
    def device(self) -> str:
        """The device that the definition asks for, "" for none; in a stage the node's device."""
        return self.definition.device

    def output(self, index: int) -> TensorId:
        """Returns the name of output ``index``."""
        return TensorId(self.definition.name, index)

    def predecessors(self) -> list[str]:
        """Returns the nodes that run before this one, by data or control.

        The nodes of back edges are not among them.
        """
        nodes = [t.node for t in self.inputs if t.node not in self.back_inputs]
        nodes.extend(self.control_inputs)
        return nodes

    def reads_reference(self, position: int) -> bool:
        """Returns whether input ``position`` takes a variable itself, not its value."""
        return self.input_types[position]._is_ref_dtype

    def writes_variable(self) -> bool:
        """Returns whether the node changes a variable or another resource."""
        if self.op.reads_only:
            return False
        if self.op.stateful and any(a.type_list_attr for a in self.op.inputs):  # it calls functions
            return any(t is dtypes.resource or t._is_ref_dtype for t in self.input_types)
        return any(a.is_ref or a.dtype is dtypes.resource for a in self.op.inputs)


def _parse_inputs(
    definition: graph_pb2.NodeDef,
) -> tuple[tuple[TensorId, ...], tuple[str, ...]]:
    inputs: list[TensorId] = []
    control_inputs: dict[str, None] = {}
    for text in definition.input:
        match = _INPUT_NAME.fullmatch(text)
        if match is None or (match[1] and match[3]):
            raise errors.invalid_argument(f"Illegal op input name '{text}'", node=definition.name)
        if match[1]:
            control_inputs[match[2]] = None
        elif control_inputs:
            raise errors.invalid_argument(
                f"Node '{definition.name}': Control dependencies must come after regular "
                "dependencies",
                node=definition.name,
            )
        else:
            inputs.append(TensorId(match[2], int(match[3] or 0)))
    return tuple(inputs), tuple(control_inputs)


def _check_list_sizes(op: OpDef, attrs: Mapping[str, Any], name: str) -> None:
    for argument in (*op.inputs, *op.outputs):
        if argument.number_attr is not None and attrs[argument.number_attr] > MAX_LIST:
            raise errors.invalid_argument(
                f"Value for attr '{argument.number_attr}' of {attrs[argument.number_attr]} is "
                f"above the maximum {MAX_LIST}; Op<name={op.name}>",
                node=name,
            )
