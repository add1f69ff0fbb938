"""Gives every node a device, by TensorFlow's rules.

Nodes that must share a device form a group (union-find): the ends of reference and resource edges,
and nodes with ``_class: ["loc:@name"]``. A group goes to the best device that its requests admit:
accelerators before CPUs, the master's own task before others, then by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flowray.master.passes.graph import Graph
from flowray.proto import errors
from flowray.proto.graph import device_names
from flowray.proto.graph.device_names import DeviceSpec
from flowray.proto.graph.node import Node
from flowray.proto.messages import config_pb2
from flowray.proto.ops.op_registry import OpKind
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import DType

_ANYWHERE = DeviceSpec()
_PRIORITY = {"TPU": 300, "GPU": 210, "CPU": 70}
_HOST_TYPES = frozenset({dtypes.string, dtypes.variant})


def place(
    graph: Graph,
    added: Iterable[Node],
    placed: Mapping[str, str],
    devices: Sequence[config_pb2.DeviceAttributes],
    *,
    default_task: str,
    allow_soft_placement: bool = False,
) -> dict[str, str]:
    """Returns the full device name of each node in ``added``.

    ``placed`` is what earlier calls gave for the rest of the graph: it stays. The result also has
    the names that only ``loc:@`` mentions, so that such a node joins its group when it comes.

    Raises:
        InvalidArgumentError: requests contradict each other, or no device meets them (TensorFlow's
            texts, which name the node).
    """
    return _Placer(graph, placed, devices, default_task, allow_soft_placement).place(list(added))


def usable_devices(
    devices: Sequence[config_pb2.DeviceAttributes], filters: Sequence[str], default_task: str
) -> list[config_pb2.DeviceAttributes]:
    """Returns the devices that ``ConfigProto.device_filters`` leave.

    The master's task always stays.
    """
    if not filters:
        return list(devices)
    specs = [device_names.parse(f) for f in filters]
    return [
        d
        for d in devices
        if device_names.task_name(d.name) == default_task
        or any(device_names.matches(spec, d.name) for spec in specs)
    ]


@dataclass(slots=True)
class _Group:
    """The constraints of the nodes that share a device."""

    name: str
    """The node that stands for the group in messages."""
    requested: DeviceSpec = field(default_factory=DeviceSpec)
    binding: DeviceSpec = field(default_factory=DeviceSpec)
    """Where the group's resource is made, or where its placed nodes are."""
    on_host: str = ""
    """A member that only a CPU can run."""
    parent: _Group | None = None

    def root(self) -> _Group:
        group = self
        while group.parent is not None:
            group = group.parent
        if group is not self:
            self.parent = group
        return group


class _Placer:
    def __init__(
        self,
        graph: Graph,
        placed: Mapping[str, str],
        devices: Sequence[config_pb2.DeviceAttributes],
        default_task: str,
        soft: bool,
    ) -> None:
        self._graph = graph
        self._placed = placed
        self._soft = soft
        self._groups: dict[str, _Group] = {}
        self._devices: dict[str, str] = {}  # of groups, by their name
        self._candidates: dict[tuple[DeviceSpec, bool], list[str]] = {}
        types = {d.name: d.device_type for d in devices}
        self._is_cpu = {d.name: d.device_type == "CPU" for d in devices}
        self._sorted = sorted(
            types,
            key=lambda name: (
                -_PRIORITY.get(types[name], 100),
                device_names.task_name(name) != default_task,
                name,
            ),
        )
        self._listed = "[ " + ", ".join(sorted(types)) + " ]"
        self._has_gpu = "GPU" in types.values()

    def place(self, added: list[Node]) -> dict[str, str]:
        for node in added:
            self._add(node)
        for node in added:
            self._follow_resources(node)
        for node in added:
            for name in _colocated_with(node):
                self._colocate(node.name, name)
        for node in added:
            self._follow_variants(node)
        generators = []
        for node in added:
            if _is_generator(node):
                generators.append(node)
            elif _follows_input(node):
                self._assign(node, self._device_of(node.inputs[0].node))
            else:
                self._assign(node)
        self._assign_generators(generators, added)
        result = {node.name: self._devices[self._group(node.name).name] for node in added}
        for name in self._groups:
            if name not in self._graph.nodes:
                result[name] = self._devices[self._group(name).name]
        return result

    # Groups

    def _add(self, node: Node) -> None:
        name = node.name
        try:
            requested = device_names.parse(node.device)
        except errors.InvalidArgumentError as error:
            raise errors.invalid_argument(error.message, node=name) from None
        group = _Group(name, requested, on_host="" if _runs_on_accelerators(node) else name)
        if _makes_resource(node):
            group.binding = requested
        if name in self._placed:  # its group was placed before it came
            group.binding = device_names.parse(self._placed[name])
        self._groups[name] = group

    def _group(self, name: str) -> _Group:
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Group(name)
            device = self._placed.get(name)
            if device is not None:
                group.binding = device_names.parse(device)
        return group.root()

    def _follow_resources(self, node: Node) -> None:
        """Moves the users of a reference or resource to its device, whatever they asked for."""
        if node.op.multi_device:
            return
        for tensor, dtype in zip(node.inputs, node.input_types, strict=True):
            if not _is_resource(dtype):
                continue
            source, user = self._group(tensor.node), self._group(node.name)
            if source is user:
                continue
            try:
                binding = device_names.intersect(source.binding, user.binding)
            except errors.InvalidArgumentError:
                raise errors.invalid_argument(
                    "Cannot place the graph because a reference or resource edge connects "
                    f"colocation groups with incompatible resource devices: {source.binding} and "
                    f"{user.binding}. The edge src node is {{{{node {tensor.node}}}}} , and the "
                    f"dst node is {{{{node {node.name}}}}}",
                    node=node.name,
                ) from None
            try:
                requested = device_names.intersect(source.requested, user.requested)
                device_names.intersect(requested, binding)
            except errors.InvalidArgumentError:
                requested = source.requested
            _join(source, user, requested, binding)

    def _follow_variants(self, node: Node) -> None:
        """Keeps datasets, objects of one process, on the device of their users."""
        for tensor, dtype in zip(node.inputs, node.input_types, strict=True):
            if dtype is not dtypes.variant:
                continue
            source, user = self._group(tensor.node), self._group(node.name)
            if source is user:
                continue
            try:
                requested = device_names.intersect(source.requested, user.requested)
                binding = device_names.intersect(source.binding, user.binding)
                device_names.intersect(requested, binding)
            except errors.InvalidArgumentError:
                continue  # as in TensorFlow, it fails only where the edge is run
            _join(source, user, requested, binding)

    def _colocate(self, name: str, other: str) -> None:
        a, b = self._group(name), self._group(other)
        if a is b:
            return
        try:
            requested = device_names.intersect(a.requested, b.requested)
            binding = device_names.intersect(a.binding, b.binding)
            device_names.intersect(requested, binding)
        except errors.InvalidArgumentError as error:
            if self._soft:
                return
            raise errors.invalid_argument(
                f"Cannot colocate nodes {{{{colocation_node {name}}}}} and "
                f"{{{{colocation_node {other}}}}}: {error.message}",
                node=name,
            ) from None
        _join(b, a, requested, binding)

    # Devices

    def _device_of(self, name: str) -> str | None:
        if name in self._groups:
            return self._devices.get(self._group(name).name)
        return self._placed.get(name)

    def _assign(self, node: Node, preferred: str | None = None) -> None:
        group = self._group(node.name)
        if group.name in self._devices:
            return
        candidates = self._find(group)
        if not candidates:
            raise self._no_device(node, group)
        self._devices[group.name] = preferred if preferred in candidates else candidates[0]

    def _assign_generators(self, generators: list[Node], added: list[Node]) -> None:
        """Places constants where they are used, if that is one device."""
        uses: dict[str, set[str | None]] = {node.name: set() for node in generators}
        for node in added:
            for name in (*(t.node for t in node.inputs), *node.control_inputs):
                if name in uses:
                    uses[name].add(self._device_of(node.name))
        for node in generators:
            used = uses[node.name]
            self._assign(node, next(iter(used)) if len(used) == 1 else None)
        for name in self._groups:  # names that only a loc:@ mentions
            group = self._group(name)
            if group.name not in self._devices:
                self._devices[group.name] = self._find(group)[0]

    def _find(self, group: _Group) -> list[str]:
        spec = device_names.merge(group.requested, group.binding)
        found = self._matching(spec, bool(group.on_host))
        if not found and self._soft:
            relaxed = DeviceSpec(job=spec.job, replica=spec.replica, task=spec.task)
            found = self._matching(relaxed, bool(group.on_host))
        return found

    def _matching(self, spec: DeviceSpec, on_host: bool) -> list[str]:
        found = self._candidates.get((spec, on_host))
        if found is None:
            found = self._candidates[spec, on_host] = [
                name
                for name in self._sorted
                if device_names.matches(spec, name) and (self._is_cpu[name] or not on_host)
            ]
        return found

    def _no_device(self, node: Node, group: _Group) -> errors.InvalidArgumentError:
        """Returns the error of a node without a device: its own request, or its group's."""
        request = device_names.parse(node.device)
        start = f"Cannot assign a device for operation {node.name}: "
        if request == _ANYWHERE and group.name != node.name and group.name in self._graph.nodes:
            leader = self._graph.nodes[group.name]
            leading = device_names.parse(leader.device)
            if not self._matching(leading, False):
                node, request = leader, leading
                start = f"Cannot assign a device for operation {node.name}: "
        if not self._matching(request, False):
            gpu = ""
            if request.device_type == "GPU" and not self._has_gpu:
                gpu = " The requested device appears to be a GPU, but there is none in the cluster."
            return errors.invalid_argument(
                f"{start}{{{{node {node.name}}}}} was explicitly assigned to "
                f"{node.device} but available devices are {self._listed}. Make sure the "
                f"device specification refers to a valid device.{gpu}",
                node=node.name,
            )
        wanted = device_names.merge(group.requested, group.binding)
        explicit = f"{start}Could not satisfy explicit device specification '{request}' because "
        if group.on_host == node.name and request.device_type not in (None, "CPU"):
            return errors.invalid_argument(
                f"{explicit}no supported kernel for {request.device_type} devices is available.\n"
                f"Op: {node.op.name}\nRegistered kernels:\n  device='CPU'",
                node=node.name,
            )
        culprit = group.on_host or group.name
        return errors.invalid_argument(
            f"{explicit}the node {{{{colocation_node {culprit}}}}} was colocated with a group of "
            f"nodes that required incompatible device '{wanted}'. All available devices "
            f"{self._listed}. ",
            node=node.name,
        )


def _join(leader: _Group, other: _Group, requested: DeviceSpec, binding: DeviceSpec) -> None:
    other.parent = leader
    leader.requested, leader.binding = requested, binding
    leader.on_host = leader.on_host or other.on_host


def _runs_on_accelerators(node: Node) -> bool:
    """Tells whether a node can run there: strings, files and queues need the host.

    What asks about a resource or destroys it is wherever the resource is.
    """
    if node.op.blocks or (node.op.host_only and not _takes_resource(node)):
        return False
    if not _HOST_TYPES.isdisjoint(t.base_dtype for t in (*node.input_types, *node.output_types)):
        return False
    return not (_makes_resource(node) and node.attrs.get("dtype") is dtypes.string)


def _takes_resource(node: Node) -> bool:
    return any(map(_is_resource, node.input_types))


def _makes_resource(node: Node) -> bool:
    if node.inputs or len(node.output_types) != 1:
        return False
    return _is_resource(node.output_types[0])


def _is_resource(dtype: DType) -> bool:
    return dtype is dtypes.resource or dtype._is_ref_dtype


def _follows_input(node: Node) -> bool:
    """Tells whether a node goes to the device of its input, which saves a copy."""
    return len(node.inputs) == 1 and (node.op.shape_only or node.op.kind is OpKind.IDENTITY)


def _is_generator(node: Node) -> bool:
    return (
        not node.inputs and len(node.output_types) == 1 and not node.output_types[0]._is_ref_dtype
    )


def _colocated_with(node: Node) -> Iterator[str]:
    if "_class" in node.definition.attr:
        for value in node.definition.attr["_class"].list.s:
            if value.startswith(b"loc:@"):
                yield value[5:].decode(errors="replace")
