"""Makes a node that reads a variable see what the step wrote before the node runs.

A reference is read when its reader runs, after the reader's other inputs. Within a stage that comes
by itself. A value that arrives from another stage, though, was read when that one ended; what a
write in between did would be missed.

The Identity of a reference, as which programs read variables, is in TensorFlow no copy but the same
memory: who uses it on the same task after a write sees what was written. Programs count on that
(``with tf.control_dependencies([train_op]): averages.apply()``).

The inputs of a Merge stay as they are. It waits for none of them but the live one, and what comes
after a write in the branch that is not taken must not keep it from running. So what it passes on is
read in the branch, or, in the stage of the branch, when the Merge runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from flowray.master.passes.graph import Graph
from flowray.proto.graph import device_names
from flowray.proto.graph.node import Node
from flowray.proto.graph.tensor_id import TensorId
from flowray.proto.messages import graph_pb2
from flowray.proto.ops.op_registry import OpKind


def order_reads(
    graph: Graph, devices: Mapping[str, str], feeds: Collection[TensorId]
) -> tuple[Graph, Mapping[str, str]]:
    """Returns the graph, and its devices, in which no read of a reference comes too early.

    Where inputs of a reader come after a write, it reads the variable itself, of which every stage
    of the task has its own; or, on another task, an Identity beside the variable, which waits for
    these inputs.
    """
    orderer = _Orderer(graph, devices, frozenset(feeds))
    nodes = [part for node in graph.nodes.values() for part in orderer.ordered(node)]
    return graph.with_nodes(nodes), {**devices, **orderer.reads}


class _Orderer:
    """Takes the nodes in topological order."""

    def __init__(
        self, graph: Graph, devices: Mapping[str, str], feeds: frozenset[TensorId]
    ) -> None:
        self.reads: dict[str, str] = {}
        """The devices of the added nodes."""
        self._nodes = graph.nodes
        self._devices = devices
        self._feeds = feeds
        self._variable: dict[
            TensorId, TensorId
        ] = {}  # what a reference, or its Identity, refers to
        self._late: set[str] = set()  # writes, and what comes after one

    def ordered(self, node: Node) -> list[Node]:
        """Returns the node with its ordered inputs, after the nodes added for them."""
        before = [t.node for t in node.inputs if t not in self._feeds]
        before += [name for name in node.control_inputs if name in self._nodes]
        late = dict.fromkeys(name for name in before if name in self._late)
        if late or node.writes_variable():
            self._late.add(node.name)
        self._note_references(node)
        added: list[Node] = []
        is_merge = node.op.kind is OpKind.MERGE
        for position, tensor in enumerate(node.inputs if late and not is_merge else ()):
            variable = self._variable_of(tensor)
            waits = [name for name in late if name != tensor.node]
            if variable is not None and waits and not node.reads_reference(position):
                node = self._later(node, position, variable, waits, added)
        return [*added, node]

    def _note_references(self, node: Node) -> None:
        if node.op.kind is OpKind.MERGE:  # only a step shows which of its inputs it refers to
            return
        passes = bool(node.inputs) and node.reads_reference(0)
        for slot, dtype in enumerate(node.output_types):
            made = TensorId(node.name, slot)
            variable = None
            if dtype._is_ref_dtype and not passes:
                variable = made
            elif dtype._is_ref_dtype or (
                node.op.kind is OpKind.IDENTITY and self._is_reference(node.inputs[0])
            ):
                variable = self._variable_of(node.inputs[0])
            if variable is not None:
                self._variable[made] = variable

    def _is_reference(self, tensor: TensorId) -> bool:
        """Tells whether ``tensor`` has a reference type; an Identity's output does not."""
        return (
            self._variable_of(tensor) is not None
            and self._nodes[tensor.node].output_types[tensor.index]._is_ref_dtype
        )

    def _variable_of(self, tensor: TensorId) -> TensorId | None:
        """Returns the variable that ``tensor`` refers to; None if it is a value."""
        return None if tensor in self._feeds else self._variable.get(tensor)

    def _later(
        self, node: Node, position: int, variable: TensorId, waits: list[str], added: list[Node]
    ) -> Node:
        made_by = node.inputs[position].node
        home = self._devices[variable.node]
        here = device_names.task_name(home) == device_names.task_name(self._devices[node.name])
        if here and made_by == variable.node:
            return node
        if not here and not self._is_reference(node.inputs[position]):
            return node  # the memory is not that of this task
        controls = () if made_by == variable.node else (made_by,)
        inputs = list(node.inputs)
        if here:
            inputs[position] = variable
            controls = tuple(dict.fromkeys((*node.control_inputs, *controls)))
            return replace(node, inputs=tuple(inputs), control_inputs=controls)
        read = self._read(f"_read/{node.name}_{position}", variable, (*controls, *waits))
        self.reads[read.name] = home
        added.append(read)
        inputs[position] = TensorId(read.name, 0)
        return replace(node, inputs=tuple(inputs))

    def _read(self, name: str, variable: TensorId, waits: tuple[str, ...]) -> Node:
        dtype = self._nodes[variable.node].output_types[variable.index].base_dtype
        definition = graph_pb2.NodeDef(name=name, op="Identity")
        definition.attr["T"].type = dtype.as_datatype_enum
        return Node.from_def(definition, inputs=(variable,), control_inputs=waits)
