"""Generates the modules of this directory: the public names, one module for each namespace.

``python client/api/generate.py`` reads the declarations (``tf_export`` in the modules of client/,
and the table of ``client/proto_exports.py``) from the source and writes the modules; with
``--check`` it writes nothing, names the files that are missing, stale or left over, and exits with
1 if there are any.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent
CLIENT = DIRECTORY.parent
PACKAGE = "flowray.client.api"

NAMESPACES = {
    "": "the TensorFlow 1 API, as ``import flowray as tf`` gives it",
    "app": "the frame of a script that has flags and a ``main``",
    "compat": "text and bytes; ``tf.compat.v1`` is ``tf`` itself",
    "contrib": "the parts of ``tf.contrib`` that flowray has",
    "contrib.data": "functions that moved to ``tf.data.experimental``, and a few that did not",
    "contrib.framework": "default arguments by scope, and names that moved to the core",
    "contrib.framework.nest": "nested structures",
    "contrib.hooks": "hooks that moved to the core",
    "contrib.layers": "layers as functions, initializers and regularizers of weights",
    "contrib.layers.utils": "collections of layers' outputs",
    "contrib.rnn": "the cells and functions of ``tf.nn`` for recurrent networks",
    "contrib.slim": "the layers of ``tf.contrib.layers`` with argument scopes",
    "contrib.util": "tensors as protocol buffers",
    "data": "input pipelines",
    "data.experimental": "transformations for ``Dataset.apply``, and other things of datasets",
    "debugging": "checks at run time",
    "dtypes": "the types of elements",
    "errors": "the exceptions of a run, and their codes",
    "estimator": "models that train, evaluate and predict by themselves",
    "estimator.inputs": "input functions over arrays of this process",
    "flags": "command line flags",
    "gfile": "files of this process",
    "graph_util": "functions of GraphDefs",
    "image": "images, in files and as tensors",
    "initializers": "functions of a shape that give a variable its initial value",
    "io": "files and records, and the parsing of their contents",
    "io.gfile": "files of this process",
    "layers": "layers of neural networks, as classes and as functions",
    "layers.experimental": "named, but not there",
    "linalg": "linear algebra",
    "logging": "a script's messages",
    "losses": "weighted losses, collected in ``GraphKeys.LOSSES``",
    "manip": "rearranged tensors",
    "math": "mathematics",
    "metrics": "values that add up over many runs",
    "nest": "nested structures",
    "nn": "neural network functions",
    "nn.rnn_cell": "the cells of recurrent networks",
    "python_io": "TFRecord files, read and written by this process itself",
    "random": "random numbers",
    "sparse": "sparse tensors",
    "strings": "strings",
    "summary": "values for TensorBoard, as operations and in event files",
    "train": "optimizers, checkpoints, training sessions and their hooks",
    "train.queue_runner": "threads that fill queues",
    "version": "which TensorFlow this is, for scripts that ask",
}
"""The namespaces, each with the docstring of its module."""

ALIASES = {
    "app.flags": "flags",
    "compat.v1": "",
    "contrib.slim.losses": "losses",
    "contrib.slim.utils": "contrib.layers.utils",
}
"""Namespaces that are the same module as another one."""

LAZY = frozenset({"", "app", "contrib", "estimator", "flags"})
"""Namespaces that are imported when a name for them is first used: those that few scripts use,
and the root, which imports the others."""


@dataclass(frozen=True)
class Definition:
    """The definition of a public object: its module and its name there."""

    module: str
    name: str


@dataclass
class Namespace:
    """The names of one namespace, and the namespaces in it with the names of their own."""

    definitions: dict[str, Definition] = field(default_factory=dict)
    children: dict[str, str] = field(default_factory=dict)


def declarations() -> dict[str, Definition]:
    """Returns all public names that are declared.

    Raises:
        ValueError: a declaration is not literal, not at the top level, or declares a name again.
    """
    found: dict[str, Definition] = {}
    for path in sorted(CLIENT.rglob("*.py")):
        if DIRECTORY in path.parents:
            continue
        relative = path.relative_to(CLIENT)
        module = ".".join(("flowray.client", *relative.with_suffix("").parts)).removesuffix(
            ".__init__"
        )
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name, exported in (
            _proto_exports(tree) if relative.name == "proto_exports.py" else _exports(tree, module)
        ):
            if exported in found:
                raise ValueError(f"{exported} is declared by {found[exported]} and by {name}")
            found[exported] = name
    return found


def _exports(tree: ast.Module, module: str) -> Iterator[tuple[Definition, str]]:
    """Yields the definition and name of each declaration with ``tf_export`` in a module."""
    seen = set()
    for node in tree.body:
        for call, name in _declared(node):
            seen.add(call)
            for argument in call.args:
                if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
                    raise ValueError(f"{module}:{call.lineno}: tf_export wants literal names")
                yield Definition(module, name), argument.value
    for other in ast.walk(tree):
        if isinstance(other, ast.Call) and _is_tf_export(other) and other not in seen:
            raise ValueError(
                f"{module}:{other.lineno}: tf_export stands where generate.py does not look: it "
                "must decorate a function or class of the module, or be called with the value of "
                "one of its variables"
            )


def _declared(node: ast.stmt) -> Iterator[tuple[ast.Call, str]]:
    """The calls of ``tf_export`` in a statement, each with the name of the object it is for."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and _is_tf_export(decorator):
                    yield decorator, name
        case ast.Assign(targets=[*_, ast.Name(id=name)], value=ast.Call(func=ast.Call() as call)):
            if _is_tf_export(call):
                yield call, name
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(func=ast.Call() as call)):
            if _is_tf_export(call):
                yield call, name


def _is_tf_export(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "tf_export"


def _proto_exports(tree: ast.Module) -> Iterator[tuple[Definition, str]]:
    table = next(n.value for n in tree.body if isinstance(n, ast.AnnAssign) and n.value is not None)
    for module, names in ast.literal_eval(table).items():
        for exported in names:
            yield Definition(module, exported.rpartition(".")[2]), exported


def namespaces() -> dict[str, Namespace]:
    """Returns the declared names by namespace.

    Raises:
        ValueError: a name is declared in a namespace that is not in ``NAMESPACES``.
    """
    result = {name: Namespace() for name in NAMESPACES}
    for exported, definition in declarations().items():
        namespace, _, name = exported.rpartition(".")
        if namespace not in result:
            raise ValueError(f"{exported}: there is no namespace {namespace!r} (see NAMESPACES)")
        result[namespace].definitions[name] = definition
    for child, target in [*((n, n) for n in NAMESPACES if n), *ALIASES.items()]:
        parent, _, name = child.rpartition(".")
        if name in result[parent].definitions:
            raise ValueError(f"{child} is a namespace and an object")
        result[parent].children[name] = target
    return result


def generate() -> dict[str, str]:
    """Returns the generated files, by their path in this directory."""
    everything = namespaces()
    return {_file(name): _source(name, everything[name]) for name in everything}


def _file(namespace: str) -> str:
    path = namespace.replace(".", "/")
    return f"{path}/__init__.py".removeprefix("/") if _is_package(namespace) else f"{path}.py"


def _is_package(namespace: str) -> bool:
    return not namespace or any(name.startswith(f"{namespace}.") for name in NAMESPACES)


def _source(namespace: str, contents: Namespace) -> str:
    title = f"``tf.{namespace}``" if namespace else "``tf``"
    children = sorted(contents.children.items())
    eager = [(name, target) for name, target in children if target not in LAZY]
    lazy = {name: target for name, target in children if target in LAZY}
    imports = sorted(
        ["from flowray.client.platform.public_names import module_functions"]
        + [_import(d.module, d.name, name) for name, d in contents.definitions.items()]
        + [_import_namespace(target, name) for name, target in eager]
    )
    names = sorted([*contents.definitions, *contents.children])
    lines = [
        f'"""{title}: {NAMESPACES[namespace]}.',
        "",
        "Generated by client/api/generate.py from the declarations with tf_export. Do not edit.",
        '"""',
        "",
        "from typing import TYPE_CHECKING",
        "",
        *imports,
        "",
        "__all__ = [",
        *(f'    "{name}",' for name in names),
        "]",
        "",
    ]
    if not _is_package(namespace):
        lines += ["__path__: list[str] = []", ""]  # modules in it can be asked for
    if lazy:
        lines += [
            "if TYPE_CHECKING:",
            *(f"    {_import_namespace(target, name)}" for name, target in sorted(lazy.items())),
            "else:",
        ]
    else:
        lines.append("if not TYPE_CHECKING:")
    arguments = [f'"{namespace}"', "__all__"]
    if lazy:
        lines.append("    _LAZY = {")
        lines += [f'        "{name}": "{_module(target)}",' for name, target in lazy.items()]
        lines.append("    }")
        arguments.append("_LAZY")
    lines.append(f"    __getattr__, __dir__ = module_functions({', '.join(arguments)})")
    return "\n".join(lines) + "\n"


def _module(namespace: str) -> str:
    """Returns the module that a user gets for a namespace."""
    return f"{PACKAGE}.{namespace}" if namespace else "flowray"


def _import(module: str, name: str, public_name: str) -> str:
    line = f"from {module} import {name} as {public_name}"
    return line if len(line) <= 100 else f"from {module} import (\n    {name} as {public_name},\n)"


def _import_namespace(target: str, name: str) -> str:
    parent, _, last = f"{PACKAGE}.{target}".removesuffix(".").rpartition(".")
    return _import(parent, last, name)


def stale_files(fresh: dict[str, str]) -> list[str]:
    """Returns the generated files of this directory that differ from ``fresh``."""
    present = {
        str(path.relative_to(DIRECTORY)): path.read_text(encoding="utf-8")
        for path in DIRECTORY.rglob("*.py")
        if path != Path(__file__).resolve()
    }
    return sorted(n for n in fresh.keys() | present.keys() if fresh.get(n) != present.get(n))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit status."""
    parser = argparse.ArgumentParser(description="Generates the modules of the public API.")
    parser.add_argument("--check", action="store_true", help="only report stale files")
    options = parser.parse_args(arguments)
    fresh = generate()
    stale = stale_files(fresh)
    if options.check:
        for name in stale:
            print(f"stale: client/api/{name} (run python client/api/generate.py)", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        path = DIRECTORY / name
        if name in fresh:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(fresh[name], encoding="utf-8")
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
