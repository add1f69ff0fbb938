"""The default session, and the little that graph elements need of a session to run in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from flowray.client.framework.stacks import DefaultStack
from flowray.client.tf_export import tf_export

if TYPE_CHECKING:
    from flowray.client.framework.graph import Graph


class SessionLike(Protocol):
    """Runs parts of one graph, as ``tf.Session`` and the sessions that wrap one do."""

    @property
    def graph(self) -> Graph:
        """The graph that the session runs."""

    def run(
        self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None
    ) -> Any:
        """Returns the values of ``fetches``, as ``tf.Session.run`` does."""


default_sessions: DefaultStack[Any] = DefaultStack("session")
"""The sessions of this thread's ``with`` blocks, innermost last."""


@tf_export("get_default_session")
def get_default_session() -> Any:
    """Returns the innermost ``tf.Session`` of this thread's ``with`` blocks, or None."""
    return default_sessions.get_or_none()


def session_for(graph: Graph, session: SessionLike | None, what: str, method: str) -> SessionLike:
    """Returns ``session`` or, if that is None, the default session.

    Args:
        graph: the graph that is to run.
        session: the session that the user passed, if any.
        what: "evaluate tensor", "execute operation": for the error texts.
        method: the name of the user's call, for the error texts.

    Raises:
        ValueError: there is neither, or the session runs another graph.
    """
    if session is None:
        session = default_sessions.get_or_none()
        if session is None:
            raise ValueError(
                f"Cannot {what} using `{method}()`: No default session is registered. Use "
                f"`with sess.as_default()` or pass an explicit session to `{method}(session=sess)`"
            )
    if session.graph is not graph:
        raise ValueError(
            f"Cannot use the given session to {what}: the graph is different from the session's "
            "graph."
        )
    return session
