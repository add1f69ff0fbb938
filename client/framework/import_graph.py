"""``tf.import_graph_def``: adds the nodes of a GraphDef to the default graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flowray.client.framework import shape_inference
from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import Graph, Operation, Tensor, get_default_graph, name_scope
from flowray.client.tf_export import tf_export
from flowray.proto import errors
from flowray.proto.graph.device_names import merge as merge_devices
from flowray.proto.graph.tensor_id import TensorId, control_inputs, is_control, node_of
from flowray.proto.messages import graph_pb2
from flowray.proto.ops import op_registry
from flowray.proto.ops.array_ops import SCALAR_PLACEHOLDERS_VERSION
from flowray.proto.ops.op_registry import OpKind


@tf_export("import_graph_def", "graph_util.import_graph_def")
def import_graph_def(
    graph_def: graph_pb2.GraphDef,
    input_map: Mapping[str, Any] | None = None,
    return_elements: Sequence[str] | None = None,
    name: str | None = None,
    op_dict: Any = None,
    producer_op_list: Any = None,
) -> list[Tensor | Operation] | None:
    """Imports ``graph_def`` into the default graph, under the name scope ``name`` ("import").

    Args:
        graph_def: the nodes, in any order. Attributes that their ops do not have are kept as they
            are; missing ones take their defaults.
        input_map: tensors to read in place of those of ``graph_def`` with these names.
        return_elements: names of operations ("a") and tensors ("a:0") to return.
        name: the prefix; "" for none.
        op_dict, producer_op_list: ignored, as they are deprecated.

    Raises:
        TypeError: ``graph_def`` is not a GraphDef.
        ValueError: an unknown op or input, a cycle, a name of ``input_map`` or ``return_elements``
            that does not occur, or nodes that do not fit together.
    """
    if not isinstance(graph_def, graph_pb2.GraphDef):
        try:
            # A GraphDef of TensorFlow's own classes has the same bytes.
            graph_def = graph_pb2.GraphDef.FromString(graph_def.SerializeToString())
        except Exception:
            raise TypeError("graph_def must be a GraphDef proto.") from None
    graph = get_default_graph()
    replaced = {TensorId.parse(k): v for k, v in (input_map or {}).items()}
    with name_scope(name, "import") as scope:
        mapped = {k: convert_to_tensor(v) for k, v in replaced.items()}
        importer = _Importer(graph, graph_def, scope, mapped)
        importer.run()
    unused = [key for key in input_map or {} if TensorId.parse(key) not in importer.used]
    if unused:
        raise ValueError(
            "Attempted to map inputs that were not found in graph_def: "
            + ", ".join(f"[{key}]" for key in unused)
        )
    if return_elements is None:
        return None
    return [importer.element(str(wanted)) for wanted in return_elements]


class _Importer:
    def __init__(
        self,
        graph: Graph,
        graph_def: graph_pb2.GraphDef,
        scope: str,
        mapped: dict[TensorId, Tensor],
    ) -> None:
        self._graph = graph
        has_old_placeholders = graph_def.versions.producer < SCALAR_PLACEHOLDERS_VERSION
        self._nodes = {
            node.name: _without_scalar_shape(node) if has_old_placeholders else node
            for node in graph_def.node
        }
        if len(self._nodes) != len(graph_def.node):
            names = [node.name for node in graph_def.node]
            twice = next(n for n in names if names.count(n) > 1)
            raise ValueError(f"Node '{twice}' is not unique")
        self._library = graph_def.library
        self._scope = scope
        self._mapped = mapped
        self._made: dict[str, Operation] = {}
        self._open: list[tuple[Operation, int, str]] = []
        """The inputs of Merges that are not there yet: the values of next iterations."""
        self.used: set[TensorId] = set()

    def run(self) -> None:
        """Adds all nodes, inputs before their consumers."""
        known = {f.signature.name for f in self._graph._library.function}
        for function in self._library.function:
            if function.signature.name not in known:
                self._graph._library.function.append(function)
        for name in self._order():
            self._made[name] = self._add(self._nodes[name])
        for merge, index, text in self._open:
            merge._update_input(index, self._input(text, merge.name))

    def element(self, name: str) -> Tensor | Operation:
        if name in self._made:
            return self._made[name]
        op_name, index = TensorId.parse(name)
        if op_name not in self._made or index >= len(self._made[op_name]._outputs):
            raise ValueError(f"Requested return_element {name!r} not found in graph_def.")
        return self._made[op_name]._outputs[index]

    def _order(self) -> list[str]:
        """Topological order by depth-first search, without recursion."""
        order: list[str] = []
        state: dict[str, int] = {}
        for root in self._nodes:
            stack = [(root, iter(self._needs(root)))]
            if state.setdefault(root, 0) != 0:
                continue
            state[root] = 1
            while stack:
                name, needs = stack[-1]
                following = next((n for n in needs if state.get(n, 0) != 2), None)
                if following is None:
                    state[name] = 2
                    order.append(name)
                    stack.pop()
                elif state.get(following) == 1:
                    raise ValueError(f"graph_def has a cycle through node '{following}'")
                else:
                    state[following] = 1
                    stack.append((following, iter(self._needs(following))))
        return order

    def _needs(self, name: str) -> list[str]:
        result = []
        for text in self._nodes[name].input:
            if not is_control(text) and TensorId.parse(text) in self._mapped:
                continue
            if self._comes_back(self._nodes[name], text):
                continue
            producer = node_of(text)
            if producer not in self._nodes:
                raise ValueError(f"Node '{name}': Unknown input node '{text}'")
            result.append(producer)
        return result

    def _comes_back(self, node: graph_pb2.NodeDef, text: str) -> bool:
        """Returns True if this input of ``node`` is the one that closes a loop."""
        producer = self._nodes.get(node_of(text))
        return (
            _kind(node) is OpKind.MERGE
            and producer is not None
            and _kind(producer) is OpKind.NEXT_ITERATION
        )

    def _add(self, node: graph_pb2.NodeDef) -> Operation:
        try:
            definition = op_registry.lookup(node.op)
            attrs = definition.attr_values(node)
        except errors.OpError as error:
            raise ValueError(error.message) from None
        data = [t for t in node.input if not is_control(t)]
        back = [i for i, t in enumerate(data) if self._comes_back(node, t)]
        ready = {i: self._input(t, node.name) for i, t in enumerate(data) if i not in back}
        if back and not ready:
            raise ValueError(f"graph_def has a cycle through node '{node.name}'")
        # Until the others are there, the first one stands for them.
        inputs = [ready[i] if i in ready else next(iter(ready.values())) for i in range(len(data))]
        wanted = definition.input_types(attrs)
        if len(inputs) != len(wanted):
            raise ValueError(
                f"Node '{node.name}': expected {len(wanted)} inputs, got {len(inputs)}"
            )
        for i, (tensor, dtype) in enumerate(zip(inputs, wanted, strict=True)):
            fits = dtype.is_compatible_with(tensor.dtype)
            if not fits or (dtype._is_ref_dtype and not tensor.dtype._is_ref_dtype):
                raise ValueError(
                    f"Input {i} of node {self._scope}{node.name} was passed {tensor.dtype.name} "
                    f"from {tensor.name} incompatible with expected {dtype.name}."
                )
        controls = [self._made[name] for name in control_inputs(node.input)]
        controls += [
            op for op in self._graph._control_dependencies_for(inputs) if op not in controls
        ]
        copy = graph_pb2.NodeDef()
        copy.CopyFrom(node)
        copy.name = self._unique(node.name)
        del copy.input[:]
        copy.input.extend(t.op.name if t.value_index == 0 else t.name for t in inputs)
        copy.input.extend("^" + op.name for op in controls)
        for key, attr_def in definition.attrs.items():
            if key not in copy.attr:
                copy.attr[key].CopyFrom(op_registry.default_attr_value(attr_def))
        self._rename_colocation(copy)
        operation = Operation(
            self._graph,
            copy,
            inputs,
            controls,
            attrs,
            definition.output_types(attrs),
            wanted,
            definition,
        )
        shape_inference.infer(operation)
        if back:
            self._open += [(operation, i, data[i]) for i in back]
            operation._outputs[0]._shape = None  # unknown for later iterations
        self._graph._nodes_by_name[operation.name] = operation
        self._graph._nodes.append(operation)
        self._place(operation)
        return operation

    def _input(self, text: str, consumer: str) -> Tensor:
        source = TensorId.parse(text)
        if source in self._mapped:
            self.used.add(source)
            return self._mapped[source]
        name, index = source
        outputs = self._made[name]._outputs
        if index >= len(outputs):
            raise ValueError(
                f"Node '{consumer}': Connecting to invalid output {index} of source node {name} "
                f"which has {len(outputs)} outputs."
            )
        return outputs[index]

    def _unique(self, name: str) -> str:
        full = f"{self._scope}{name}"
        if full in self._graph._nodes_by_name:
            raise ValueError(f"Node name '{full}' already exists in the Graph")
        with self._graph.name_scope(None):
            self._graph.unique_name(full)
        return full

    def _rename_colocation(self, node: graph_pb2.NodeDef) -> None:
        if "_class" not in node.attr:
            return
        groups = node.attr["_class"].list
        renamed = [
            b"loc:@" + self._scope.encode() + group[5:] if group.startswith(b"loc:@") else group
            for group in groups.s
        ]
        del groups.s[:]
        groups.s.extend(renamed)

    def _place(self, operation: Operation) -> None:
        """Merges the node's device with that of the scopes around it; the node's own fields win."""
        own = operation.device
        operation._set_device("")
        self._graph._apply_device_functions(operation)
        if own:
            operation._set_device(merge_devices(operation.device, own))


def _without_scalar_shape(node: graph_pb2.NodeDef) -> graph_pb2.NodeDef:
    """Rewrites a placeholder of an old graph as graphs state it today.

    Old graphs write an unknown shape as the shape of a scalar.
    """
    if node.op != "Placeholder" or node.attr["shape"].shape.dim:
        return node
    result = graph_pb2.NodeDef()
    result.CopyFrom(node)
    result.attr["shape"].shape.unknown_rank = True
    return result


def _kind(node: graph_pb2.NodeDef) -> OpKind:
    definition = op_registry.registered_ops().get(node.op)
    return OpKind.OTHER if definition is None else definition.kind
