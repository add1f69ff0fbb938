"""Finds the modules of the public API under the names by which scripts import them.

``import flowray.nn`` gets the module ``tf.nn``; after ``tensorflow_alias.install()``, ``import
tensorflow.nn`` does, too, and ``tensorflow.python.ops.math_ops`` is a module of
``tensorflow_modules``. For what flowray lacks, the import fails with an explanation: this also is
what ``from flowray.contrib import seq2seq`` asks for, because Python looks for a submodule when a
package has no such attribute.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from flowray.client.platform import missing_names, tensorflow_modules

_API = "flowray.client.api"
_OWN_PACKAGES = frozenset({"client", "deploy", "master", "proto", "worker"})


class ModuleFinder(MetaPathFinder):
    """Finds the modules of the API below one package.

    Args:
        root: "flowray" or "tensorflow".
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        name = self._public_name(fullname)
        if name is None:
            return None
        found = _namespace(name) or self._tensorflow_module(name)
        if found is None:
            text = tensorflow_modules.explain(name) or missing_names.explain(name)
            if _public_object(name) is not None:
                text = f"tf.{name} is not a module"
            if fullname.startswith(f"{self.root}.") and not _from_import(fullname):
                raise ModuleNotFoundError(
                    f"flowray has no module {fullname} ({text})", name=fullname
                )
            raise ModuleNotFoundError(text)  # Python would drop one with the name
        return importlib.util.spec_from_loader(fullname, _Alias(found), is_package=True)

    def _public_name(self, fullname: str) -> str | None:
        """Returns the name below the root; None if another finder is responsible for the module."""
        if fullname == self.root == "tensorflow":
            return ""
        name = fullname.removeprefix(f"{self.root}.")
        if self.root == "flowray":
            if fullname.startswith(f"{_API}."):
                name = fullname.removeprefix(f"{_API}.")
            elif name.partition(".")[0] in _OWN_PACKAGES:
                return None
        if name == fullname or name.rpartition(".")[2].startswith("__"):
            return None
        return name

    def _tensorflow_module(self, name: str) -> ModuleType | None:
        return tensorflow_modules.find(name) if self.root == "tensorflow" else None


def _namespace(name: str) -> ModuleType | None:
    """Returns the module of a public namespace; None if there is no such namespace."""
    found = _public_object(name)
    return found if isinstance(found, ModuleType) else None


def _public_object(name: str) -> object:
    """Returns the public object of a name; None if there is none, or if it is None."""
    found: object = importlib.import_module("flowray")
    for part in name.split(".") if name else ():
        found = getattr(found, part, None)
    return found


def _from_import(fullname: str) -> bool:
    """Returns whether a user may have written ``from package import name``.

    Python drops an error with that name and raises one of its own.
    """
    parent, _, name = fullname.rpartition(".")
    module = sys.modules.get(parent)
    return module is not None and f"{module.__name__}.{name}" == fullname


class _Alias(Loader):
    """Loads a module that is there already, and leaves it as it was."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        if self._spec is not None:  # the import system has set it to that of the alias
            module.__spec__ = self._spec


def install(finder: ModuleFinder, first: bool = False) -> None:
    """Lets Python ask ``finder``: after all others, or before them. Once for each root."""
    if not any(isinstance(f, ModuleFinder) and f.root == finder.root for f in sys.meta_path):
        sys.meta_path.insert(0 if first else len(sys.meta_path), finder)
