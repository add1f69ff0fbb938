"""The condition that a layer is training: known now, or known in a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowray.client.control_flow.cond import cond
from flowray.client.framework.constant_value import constant_value
from flowray.client.framework.graph import Tensor
from flowray.client.variables.variables import Variable


def known(training: Any) -> bool | None:
    """Returns ``training`` as a bool; None for a tensor whose value only a run tells."""
    if isinstance(training, Variable):
        return None
    if not isinstance(training, Tensor):
        return bool(training)
    value = constant_value(training)
    return None if value is None else bool(value)


def smart_cond(training: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """Calls ``tf.cond``, or just one of the functions if it is known which."""
    value = known(training)
    if value is None:
        return cond(training, true_fn, false_fn)
    return true_fn() if value else false_fn()
