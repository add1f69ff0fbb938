"""The stage: a part of a step that the master sends to a worker, which runs it in one go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flowray.proto.graph.deadness import Conditions
from flowray.proto.messages import graph_pb2


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a partition that depends on other tasks only through its inputs.

    Tensor names are ``node:index`` throughout, index 0 included.
    """

    handle: str
    """Unique among all stages of a master."""
    session: str
    """The session's handle: owner of private state (generator counters, unnamed queues)."""
    graph: graph_pb2.GraphDef
    """Its nodes in topological order, each with its full device name, and the function library.
    Only control inputs that name a node of the stage are kept."""
    inputs: tuple[str, ...] = ()
    """The tensors whose values come with every run: those that are fed and those that other stages
    make. A node reads the value of the run, even if the stage has the node that makes it."""
    outputs: tuple[str, ...] = ()
    """The tensors that leave the stage: those that are fetched and those that other stages read. A
    reference leaves as the variable's current value, a resource as its handle."""
    ref_outputs: frozenset[str] = frozenset()
    """The tensors among ``outputs`` that later stages of the task read as references. They leave as
    handles of the state store."""
    blocks: bool = False
    """Whether it may wait for something outside the step (a queue, an iterator)."""
    keeps_step_resources: bool = False
    """Whether later stages of the step may use resources that it made (stacks, tensor arrays): the
    worker keeps them until the step ends."""
    state_scope: str = ""
    """The scope of its named state: "" for the state that all sessions of the task share, the
    session's handle with ConfigProto.isolate_session_state."""
    input_conditions: Mapping[str, Conditions] = field(default_factory=dict)
    """The conditions under which inputs are live, for inputs that may be dead."""
    node_conditions: Mapping[str, Conditions] = field(default_factory=dict)
    """The conditions that nodes get from nodes of other stages for which they wait. Every predicate
    of ``input_conditions`` and ``node_conditions`` is an input or a tensor of the stage."""
