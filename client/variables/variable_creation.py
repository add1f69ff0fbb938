"""``tf.variable_creator_scope``: functions that stand between ``tf.Variable`` and the variable."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flowray.client.framework.graph import Graph, get_default_graph
from flowray.client.tf_export import tf_export

Creator = Callable[..., Any]


class VariableCreators:
    """The creators of a graph, innermost last; kept in a collection of the graph."""

    _KEY = ("__variable_creators",)

    def __init__(self) -> None:
        self._creators: list[Creator] = []

    @classmethod
    def of(cls, graph: Graph) -> VariableCreators:
        """Returns the creators of ``graph``, which are made when first asked for."""
        # Keys of collections that are not strings stay out of MetaGraphs.
        held = graph.get_collection_ref(cls._KEY)
        if not held:
            held.append(cls())
        creators: VariableCreators = held[0]
        return creators

    @contextmanager
    def inside(self, creator: Creator) -> Iterator[None]:
        """Makes ``creator`` the innermost one inside the block."""
        self._creators.append(creator)
        try:
            yield
        finally:
            self._creators.pop()

    def around(self, make: Creator) -> Creator:
        """Returns a function that calls ``make`` through the creators, the innermost one first."""
        for creator in self._creators:
            make = functools.partial(creator, make)
        return make


_default_creator: Creator | None = None


def set_default_creator(creator: Creator) -> None:
    """Sets what makes the variables; ``variable_factory`` does so above the kinds of variables."""
    global _default_creator
    _default_creator = creator


def default_creator() -> Creator:
    """Returns the function that makes a variable of the kind that its arguments ask for."""
    assert _default_creator is not None
    return _default_creator


class CreatedInScope(type):
    """The type of ``Variable``: a call of it goes to the creators, at last to the default one.

    A call of a subclass makes an object of it, as usual.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if "_created_in_scope" not in vars(cls):
            return super().__call__(*args, **kwargs)
        bound = inspect.signature(cls.__init__).bind(None, *args, **kwargs)  # type: ignore[misc]
        bound.apply_defaults()
        arguments = {key: value for key, value in bound.arguments.items() if key != "self"}
        creators = VariableCreators.of(get_default_graph())
        return creators.around(default_creator())(**arguments)


@tf_export("variable_creator_scope")
def variable_creator_scope(variable_creator: Creator) -> Any:
    """Makes variables by ``variable_creator(next_creator, **arguments)`` in the scope.

    The arguments are those of ``tf.Variable``; the innermost scope's creator is called first, and
    calls ``next_creator(**arguments)`` for the next one, or makes the variable in some other way.
    """
    return VariableCreators.of(get_default_graph()).inside(variable_creator)
