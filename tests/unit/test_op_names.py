"""No code keeps a set of op names: what it must know about an op is in the op's definition."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from flowray.proto import ops as _definitions  # noqa: F401 - registers all ops
from flowray.proto.ops.op_registry import registered_ops

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("proto", "master", "worker", "client", "deploy")

KERNELS = "worker/kernels/"
"""A kernel of several ops may tell them apart."""

ALLOWED = {
    ("client/framework/meta_graph.py", "RestoreV2 SaveV2"): (
        "the ops of Savers, with those of TensorFlow's older format, which have no definition here"
    ),
    ("client/gradients/nn_ops.py", "Const Fill"): "the two forms of a gradient that is all zeros",
    ("worker/program/rewrites.py", "ResizeArea ResizeBicubic ResizeBilinear"): (
        "the pattern of a rewrite, as the ops Cast and Mul in it"
    ),
}


def sets_of(tree: ast.AST) -> Iterator[list[str]]:
    """The strings of set literals, and of tuples and lists that ``in`` looks into."""
    for node in ast.walk(tree):
        found: list[ast.expr] = []
        if isinstance(node, ast.Set):
            found = [node]
        elif isinstance(node, ast.Compare):
            found = [
                c
                for op, c in zip(node.ops, node.comparators, strict=True)
                if isinstance(op, ast.In | ast.NotIn) and isinstance(c, ast.Tuple | ast.List)
            ]
        for collection in found:
            elements = getattr(collection, "elts", [])
            yield [e.value for e in elements if isinstance(e, ast.Constant)]


def kept_sets(text: str) -> Iterator[str]:
    """The sets of a module that have two op names or more."""
    for values in sets_of(ast.parse(text)):
        names = sorted(v for v in values if isinstance(v, str) and v in registered_ops())
        if len(names) > 1:
            yield " ".join(names)


def test_sets_are_found() -> None:
    text = 'A = frozenset({"Switch", "Merge"})\nif op in ("Exit", "Enter", "x"): pass\nB = {"Exit"}'
    assert sorted(kept_sets(text)) == ["Enter Exit", "Merge Switch"]


def test_no_module_keeps_a_set_of_op_names() -> None:
    paths = {
        str(path.relative_to(ROOT)): path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if not path.name.endswith("_pb2.py")
    }
    kept = {
        (name, names)
        for name, path in paths.items()
        if not name.startswith(KERNELS)
        for names in kept_sets(path.read_text(encoding="utf-8"))
    }
    assert kept == set(ALLOWED)
