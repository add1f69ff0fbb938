"""User functions for ops that call Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowray.client.framework.function import FuncGraph
from flowray.client.framework.graph import get_default_graph
from flowray.client.framework.op_builder import apply_op
from flowray.client.tf_export import tf_export
from flowray.proto.graph import py_functions
from flowray.proto.types.dtypes import as_dtype


@tf_export("py_func")
def py_func(
    func: Callable[..., Any],
    inp: Sequence[Any],
    Tout: Any,
    stateful: bool = True,
    name: str | None = None,
) -> Any:
    """Calls ``func`` on numpy arrays, in this very process, when the op runs.

    It works in a ``Session`` without a target only. There is no gradient.

    Args:
        func: gets a numpy array for each input (a scalar for a scalar, strings as bytes).
        inp: the tensors.
        Tout: the dtype of the result of ``func``, or a list of dtypes.
        stateful: whether ``func`` may give other results for the same arguments.

    Returns:
        A tensor, or a list of them where ``Tout`` is a list; the operation if that is empty.

    Raises:
        ValueError: ``func`` cannot be called.
    """
    if not callable(func):
        raise ValueError(
            f"Expected func to be callable. Received func={func} of type {type(func)}."
        )
    registered = py_functions.register(func)
    graph = get_default_graph()
    root = graph.root if isinstance(graph, FuncGraph) else graph
    root._python_functions.append(registered)  # the function lives as long as the graph
    is_list = isinstance(Tout, list | tuple)
    types = [as_dtype(t) for t in (Tout if is_list else [Tout])]
    result = apply_op(
        "PyFunc" if stateful else "PyFuncStateless",
        list(inp),
        token=registered.token,
        Tout=types,
        name=name,
    )
    if not is_list:
        return result[0]
    return result


@tf_export("numpy_function")
def numpy_function(
    func: Callable[..., Any], inp: Sequence[Any], Tout: Any, name: str | None = None
) -> Any:
    """Calls a function that may have side effects; see ``py_func``."""
    return py_func(func, inp, Tout, stateful=True, name=name)
