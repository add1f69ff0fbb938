"""``__getattr__`` and ``__dir__`` of the generated modules of ``client/api``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowray.client.platform import missing_names


def module_functions(
    namespace: str, names: Sequence[str], lazy: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Makes the ``__getattr__`` and ``__dir__`` of the module of a namespace.

    The first raises AttributeError for a name that flowray lacks and says what
    ``missing_names.explain`` knows about it.

    Args:
        namespace: the module's public name, without ``tf``: "nn.rnn_cell".
        names: its public names.
        lazy: names of modules that are imported when they are first asked for.
    """
    modules = lazy or {}

    def get(name: str) -> Any:
        if name in modules:
            return importlib.import_module(modules[name])
        public_name = f"{namespace}.{name}" if namespace else name
        if name.startswith("__"):  # Python asks for these; the user did not
            raise AttributeError(f"tf.{public_name}")
        raise AttributeError(missing_names.explain(public_name))

    def list_names() -> list[str]:
        return sorted(names)

    return get, list_names
