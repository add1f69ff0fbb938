"""What the master sends to a worker: a stage, the part of a step that one task runs in one go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flowray.proto.graph.deadness import Conditions
from flowray.proto.messages import graph_pb2


@dataclass(frozen=True, slots=True)
class Stage:
    """A piece of a partition without a dependence on other tasks between its inputs and outputs.

    Tensor names are ``node:index`` throughout, index 0 included.
    """

    handle: str
    """Unique among all stages of a master."""
    session: str
    """The session's handle: owner of private state (generator counters, unnamed queues)."""
    graph: graph_pb2.GraphDef
    """Its nodes in topological order, each with its full device name; with the function library.
    Control inputs are kept only where they name a node of the stage."""
    inputs: tuple[str, ...] = ()
    """The tensors that every run brings: fed ones and those that other stages made. A node that
    reads one of these reads the run's value, even if the stage has the node that makes it."""
    outputs: tuple[str, ...] = ()
    """The tensors that leave: fetched ones and those that other stages read. A reference leaves as
    the variable's current value, a resource as its handle."""
    ref_outputs: frozenset[str] = frozenset()
    """Those of ``outputs`` that later stages of the same task read as references: they leave as
    handles of the state store."""
    blocks: bool = False
    """Whether it may wait for something outside the step (a queue, an iterator)."""
    keeps: bool = False
    """Whether later stages of the step may use resources that it made (stacks, tensor arrays): the
    worker keeps them until the step ends."""
    state_scope: str = ""
    """Where its named state lives: "" is shared by all sessions of the task; the session's handle
    with ConfigProto.isolate_session_state."""
    input_conditions: Mapping[str, Conditions] = field(default_factory=dict)
    """Of inputs that may come dead: the conditions under which they are live."""
    node_conditions: Mapping[str, Conditions] = field(default_factory=dict)
    """Of nodes that wait for nodes of other stages: the conditions that they get from these.
    Every predicate of ``input_conditions`` and ``node_conditions`` is an input or a tensor of the
    stage."""
