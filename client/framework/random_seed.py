"""Seeds of random ops, by TensorFlow 1.15's rules."""

from __future__ import annotations

from flowray.client.framework.graph import get_default_graph
from flowray.client.tf_export import tf_export

DEFAULT_GRAPH_SEED = 87654321
_MAX_INT32 = 2**31 - 1


@tf_export("get_seed", "random.get_seed")
def get_seed(op_seed: int | None) -> tuple[int | None, int | None]:
    """Returns the attributes ``seed`` and ``seed2`` of a random op that is made now.

    Args:
        op_seed: the seed that the user gave the op, or None.

    Returns:
        ``(graph seed, op seed)``. Where only the graph has a seed, the id of the graph's last op
        stands for the op's; where neither has, both are None: each session draws its own.
    """
    graph = get_default_graph()
    graph_seed = graph.seed
    if graph_seed is not None:
        op_seed = graph._last_id if op_seed is None else op_seed
        seeds = graph_seed % _MAX_INT32, op_seed % _MAX_INT32
    elif op_seed is not None:
        seeds = DEFAULT_GRAPH_SEED, op_seed % _MAX_INT32
    else:
        return None, None
    # To a kernel two zeros mean "not seeded".
    return (0, _MAX_INT32) if seeds == (0, 0) else seeds


@tf_export("set_random_seed", "random.set_random_seed")
def set_random_seed(seed: int | None) -> None:
    """Sets the seed of the default graph; see ``get_seed`` for what an op makes of it."""
    get_default_graph().seed = seed
