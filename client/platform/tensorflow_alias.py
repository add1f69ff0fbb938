"""``import tensorflow`` gets flowray: for scripts that were written for TensorFlow 1.

After ``install()``, ``tensorflow`` is the module ``flowray`` in this process, ``tensorflow.train``
is ``flowray.train`` and so on. What flowray does not have raises ImportError and says so.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

NAME = "tensorflow"

_HINTS = {
    "contrib": "flowray has parts of tf.contrib only: {contrib}",
    "core": "tensorflow.core is TensorFlow's own code; protos are public names of tf",
    "examples": "TensorFlow's examples are no part of its API",
    "python": "tensorflow.python is TensorFlow's own code; use the public names of tf",
}


def install() -> None:
    """Makes ``import tensorflow`` get flowray. Doing it twice changes nothing.

    Raises:
        RuntimeError: another TensorFlow has been imported already.
    """
    flowray = importlib.import_module("flowray")
    if sys.modules.get(NAME, flowray) is not flowray:
        raise RuntimeError("TensorFlow has been imported already; flowray cannot take its place")
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(flowray))


class _Finder(MetaPathFinder):
    """Finds flowray's modules under TensorFlow's names."""

    def __init__(self, flowray: ModuleType) -> None:
        self._flowray = flowray

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        first, *parts = fullname.split(".")
        if first != NAME:
            return None
        found: object = self._flowray
        for part in parts:
            found = getattr(found, part, None)
        if not isinstance(found, ModuleType):
            raise ModuleNotFoundError(self._missing(fullname, parts), name=fullname)
        return importlib.util.spec_from_loader(
            fullname, _Alias(found), is_package=hasattr(found, "__path__")
        )

    def _missing(self, fullname: str, parts: Sequence[str]) -> str:
        hint = _HINTS.get(parts[0])
        contrib = ", ".join(getattr(self._flowray, "contrib").__all__)  # noqa: B009
        explained = f" ({hint.format(contrib=contrib)})" if hint else ""
        return f"flowray has no module {fullname}{explained}"


class _Alias(Loader):
    """Gives a module that is there already, and leaves it as it was."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has set the spec to that of the alias.
        module.__spec__ = self._spec
