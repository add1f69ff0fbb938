"""Public names: declared at their definitions, generated into client/api, explained if missing."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import flowray as tf
from flowray.client.api import generate
from flowray.client.platform import missing_names

PINNED = Path(__file__).with_name("public_names.txt")


def declared(source: str) -> list[tuple[str, str]]:
    return [(d.name, name) for d, name in generate._exports(ast.parse(source), "flowray.x")]


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


# Declarations -------------------------------------------------------------------------------------


def test_the_forms_of_a_declaration() -> None:
    source = """
@tf_export("a", "x.b")
@other
def f(): ...

@tf_export("C")
class C: ...

g = h = tf_export("h")(make("h"))
K: Final = tf_export("K")(-1)
"""
    assert declared(source) == [("f", "a"), ("f", "x.b"), ("C", "C"), ("h", "h"), ("K", "K")]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ('tf_export("a")', "stands where"),
        ('if True:\n    @tf_export("a")\n    def f(): ...', "stands where"),
        ('class A:\n    @tf_export("a")\n    def f(self): ...', "stands where"),
        ("@tf_export(NAME)\ndef f(): ...", "literal names"),
    ],
)
def test_a_declaration_that_the_generator_cannot_read(source: str, problem: str) -> None:
    with pytest.raises(ValueError, match=rf"flowray\.x:\d+: .*{problem}"):
        declared(source)


def test_a_namespace_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    definition = generate.Definition("flowray.x", "f")
    monkeypatch.setattr(generate, "declarations", lambda: {"mth.f": definition})
    with pytest.raises(ValueError, match=r"mth\.f: there is no namespace 'mth'"):
        generate.namespaces()


def test_a_name_that_is_declared_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in ("one", "two"):
        (tmp_path / f"{module}.py").write_text('@tf_export("f")\ndef f(): ...\n')
    monkeypatch.setattr(generate, "CLIENT", tmp_path)
    with pytest.raises(ValueError, match=r"f is declared by .*one.* and by .*two"):
        generate.declarations()


# The generated modules ----------------------------------------------------------------------------


def test_the_generated_modules_are_fresh() -> None:
    assert generate.main(["--check"]) == 0


def test_stale_modules_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    everything = generate.declarations()
    del everything["nn.relu"]
    everything["math.new"] = generate.Definition("flowray.client.ops.math_ops", "abs")
    monkeypatch.setattr(generate, "declarations", lambda: everything)
    assert generate.main(["--check"]) == 1
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == [
        "client/api/math.py", "client/api/nn/__init__.py"
    ]  # fmt: skip


def test_the_generator_writes_and_removes_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(generate, "DIRECTORY", tmp_path)
    monkeypatch.setattr(generate, "generate", lambda: {"nn/__init__.py": "# nn\n"})
    (tmp_path / "old.py").write_text("")
    assert generate.main([]) == 0
    assert (tmp_path / "nn/__init__.py").read_text() == "# nn\n"
    assert not (tmp_path / "old.py").exists()
    assert generate.main(["--check"]) == 0


def test_each_name_is_the_object_where_it_is_declared() -> None:
    for name, definition in generate.declarations().items():
        found: object = tf
        for part in name.split("."):
            found = getattr(found, part)
        assert found is getattr(importlib.import_module(definition.module), definition.name), name


def test_no_public_name_goes() -> None:
    """Names may be added; a program may rely on those that have been there."""
    aliases = {
        f"{alias}.{name}"
        for alias, target in generate.ALIASES.items()
        if target
        for name in generate.namespaces()[target].definitions
    }
    assert set(PINNED.read_text().split()) <= generate.declarations().keys() | aliases


def test_dir_and_star_import_know_all_names() -> None:
    names: dict[str, object] = {}
    exec("from flowray import *", names)
    assert {"contrib", "estimator", "matmul", "nn"} <= set(dir(tf)) == set(tf.__all__)
    assert set(tf.__all__) <= names.keys()
    assert {"v1", "as_str"} <= set(dir(tf.compat))


def test_rarely_used_namespaces_are_imported_when_they_are_used() -> None:
    code = """
import sys
import flowray as tf
assert not [m for m in sys.modules if m.startswith(("flowray.client.estimator", "flowray.client.contrib"))]
assert tf.estimator.Estimator and tf.contrib.slim.conv2d
"""  # noqa: E501
    run(code)


def test_namespaces_are_modules() -> None:
    import flowray.contrib.slim as slim
    import flowray.nn.rnn_cell
    from flowray.contrib import rnn

    assert slim is tf.contrib.slim
    assert rnn is tf.contrib.rnn
    assert flowray.nn.rnn_cell is tf.nn.rnn_cell
    assert tf.compat.v1 is tf
    assert tf.app.flags is tf.flags


# Names that flowray lacks -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "name", "text"),
    [
        (tf, "fft", "flowray does not have tf.fft yet. Use numpy's function through tf.py_func. "
         "docs/api_coverage.md lists"),
        (tf, "lite", "flowray does not have tf.lite: flowray does not make models for phones."),
        (tf, "keras", "flowray does not have tf.keras yet. Use tf.layers."),
        (tf.train, "Supervisor", "tf.train.Supervisor yet. Use tf.train.MonitoredTrainingSession."),
        (tf.contrib, "seq2seq", "flowray does not have tf.contrib.seq2seq yet. Use "),
        (tf.nn, "ctc_loss", "flowray does not have tf.nn.ctc_loss yet. docs/api_coverage.md lists"),
        (tf.nn, "sofmax", "flowray has no tf.nn.sofmax, nor has TensorFlow 1.15"),
        (tf.nn.rnn_cell, "Cell", "flowray has no tf.nn.rnn_cell.Cell, nor"),
    ],
)  # fmt: skip
def test_a_name_that_is_missing(module: ModuleType, name: str, text: str) -> None:
    assert not hasattr(module, name)
    with pytest.raises(AttributeError, match=re.escape(text)):
        getattr(module, name)
    public = "flowray" + module.__name__.removeprefix("flowray").removeprefix(".client.api")
    with pytest.raises(ImportError, match=re.escape(text)) as caught:
        exec(f"from {public} import {name}")
    assert "flowray.client" not in str(caught.value)


def test_every_name_of_tensorflow_is_there_or_explained() -> None:
    for name in missing_names.tensorflow_names():
        namespace, _, last = name.rpartition(".")
        found: object = tf
        for part in namespace.split(".") if namespace else ():
            found = getattr(found, part, None)
        if isinstance(found, ModuleType) and not hasattr(found, last):
            with pytest.raises(AttributeError, match=rf"flowray does not have tf\.{name}[ :]"):
                getattr(found, last)


@pytest.mark.parametrize("table", [missing_names.ON_PURPOSE, missing_names.INSTEAD])
def test_the_tables_are_about_missing_names(table: dict[str, str]) -> None:
    known = missing_names.tensorflow_names()
    assert set(table) - known == set()
    partly_there = {"debugging"}
    present = generate.declarations().keys() | generate.NAMESPACES.keys()
    assert present & table.keys() - partly_there == set()


def test_the_list_of_names_is_fresh() -> None:
    root = Path(__file__).parents[3]
    listing = subprocess.run(
        [sys.executable, root / "docs" / "list_api.py", "--check"], timeout=120
    )
    assert listing.returncode == 0


def test_a_missing_module_of_flowray_itself_is_not_explained() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'flowray\.client\.foo'"):
        importlib.import_module("flowray.client.foo")
