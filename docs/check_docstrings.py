"""Checks that public functions and classes have docstrings: a floor for each package.

Public are the functions and classes of a module, and the methods of its public classes, whose names
do not begin with an underscore. A method that overrides one with a docstring needs none of its own,
nor do the overloads of a function and the setter of a property.

    python docs/check_docstrings.py          # fails if a package is below its floor
    python docs/check_docstrings.py --list   # prints every name without a docstring
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

FLOORS: Mapping[str, int] = {
    "client": 98,
    "deploy": 55,
    "master": 80,
    "proto": 98,
    "worker": 95,
    "worker/data": 98,
    "worker/formats": 98,
    "worker/kernels": 98,
    "worker/program": 100,
    "worker/state": 98,
}
"""The least share of public names with a docstring, in percent, by the longest prefix of a path."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass
class Package:
    """The public names of one package: their number and those without a docstring."""

    total: int = 0
    missing: list[str] = field(default_factory=list)

    @property
    def percent(self) -> float:
        """The share of names with a docstring; 100 if there are no names."""
        return 100.0 * (1 - len(self.missing) / self.total) if self.total else 100.0


class Modules:
    """The parsed modules below a directory, by path relative to it."""

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        self._trees = {p: ast.parse((root / p).read_text(encoding="utf-8")) for p in paths}
        self._classes: dict[str, list[ast.ClassDef]] = {}
        for tree in self._trees.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    self._classes.setdefault(node.name, []).append(node)

    def packages(self, floors: Mapping[str, int]) -> dict[str, Package]:
        """The public names by the keys of ``floors``, each path under its longest prefix."""
        packages = {name: Package() for name in floors}
        for path, tree in self._trees.items():
            package = packages[max((n for n in floors if path.startswith(n)), key=len)]
            for name, node, owner in _public(tree):
                package.total += 1
                if ast.get_docstring(node) is None and not self._inherits(name, owner):
                    package.missing.append(f"{path}:{node.lineno} {name}")
        return packages

    def _inherits(self, name: str, owner: ast.ClassDef | None, depth: int = 0) -> bool:
        """Tells whether a base class of ``owner`` documents the method ``name``."""
        if owner is None or depth > 10:
            return False
        method = name.rpartition(".")[2]
        for base in owner.bases:
            base = base.value if isinstance(base, ast.Subscript) else base
            base_name = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
            for parent in self._classes.get(base_name, ()):
                for node in parent.body:
                    same = isinstance(node, Definition) and node.name == method
                    if same and ast.get_docstring(node) is not None:
                        return True
                if parent is not owner and self._inherits(name, parent, depth + 1):
                    return True
        return False


def _public(
    node: ast.Module | ast.ClassDef, prefix: str = ""
) -> Iterator[tuple[str, Definition, ast.ClassDef | None]]:
    """The public definitions of a module or class: full name, node and class."""
    owner = node if isinstance(node, ast.ClassDef) else None
    for item in node.body:
        if not isinstance(item, Definition) or item.name.startswith("_"):
            continue
        if any(ast.unparse(d).endswith(("overload", ".setter")) for d in item.decorator_list):
            continue
        yield prefix + item.name, item, owner
        if isinstance(item, ast.ClassDef):
            yield from _public(item, prefix + item.name + ".")


def main(arguments: Sequence[str]) -> int:
    """Prints the packages below their floors; with ``--list`` all names that have no docstring."""
    paths = [
        str(path.relative_to(ROOT))
        for name in {name.split("/")[0] for name in FLOORS}
        for path in sorted((ROOT / name).rglob("*.py"))
        if not path.name.endswith("_pb2.py")
    ]
    status = 0
    for name, package in sorted(Modules(ROOT, paths).packages(FLOORS).items()):
        if "--list" in arguments:
            print(*package.missing, sep="\n")
        if package.percent < FLOORS[name]:
            status = 1
            print(
                f"{name}: {package.percent:.1f} % of {package.total} public names have a "
                f"docstring, and the floor is {FLOORS[name]} %; --list names those without"
            )
        elif "--list" in arguments:
            print(f"{name}: {package.percent:.1f} % of {package.total}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
