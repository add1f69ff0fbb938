"""The modes of replicated variables: they are checked, but change nothing, as there is one copy."""

from __future__ import annotations

import enum
from typing import Any

from flowray.client.tf_export import tf_export


@tf_export("VariableSynchronization")
class VariableSynchronization(enum.Enum):
    """The time at which the copies of a replicated variable are brought together."""

    AUTO = 0
    NONE = 1
    ON_WRITE = 2
    ON_READ = 3


@tf_export("VariableAggregation")
class VariableAggregation(enum.Enum):
    """The way in which the values that replicas write to one variable are combined."""

    NONE = 0
    SUM = 1
    MEAN = 2
    ONLY_FIRST_REPLICA = 3
    ONLY_FIRST_TOWER = 3  # noqa: PIE796 - the older name


def as_synchronization(mode: Any, variable: str | None) -> VariableSynchronization:
    """Returns the mode that a user named, or its number; AUTO for None."""
    try:
        return VariableSynchronization.AUTO if mode is None else VariableSynchronization(mode)
    except ValueError:
        raise ValueError(
            f"Invalid variable synchronization mode: {mode} for variable: {variable}"
        ) from None


def as_aggregation(mode: Any, variable: str | None) -> VariableAggregation:
    """Returns the mode that a user named, or its number; NONE for None."""
    try:
        return VariableAggregation.NONE if mode is None else VariableAggregation(mode)
    except ValueError:
        raise ValueError(
            f"Invalid variable aggregation mode: {mode} for variable: {variable}"
        ) from None


def default_trainable(synchronization: VariableSynchronization) -> bool:
    """Returns False for a variable that is synchronized when it is read: it holds a statistic."""
    return synchronization is not VariableSynchronization.ON_READ
