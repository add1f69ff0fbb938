"""The checks of words and docstrings in ``make check``."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def load(name: str) -> ModuleType:
    """Imports a script of docs/, which is not a package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


words = load("check_words")
docstrings = load("check_docstrings")


def found(text: str, path: str = "worker/some.py") -> list[tuple[int, str]]:
    return [(f.line, f.text) for f in words.check_text(path, text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("holds Python's lock", [(1, "Python's lock")]),
        ("self.held_part = 0", [(1, "held_part")]),
        ("class HeldPart:", [(1, "HeldPart")]),
        ("def call_off(): pass\n# it was called\n# off", [(1, "call_off"), (2, "called # off")]),
        ("bad_pictures(PICTURE)", [(1, "pictures"), (1, "PICTURE")]),
        ("two parts run\ntogether", [(1, "run together")]),
        ("a value that is none of these", [(1, "is none")]),
        ("class _Piece:", [(1, "_Piece")]),
        ("it is no string", [(1, "is no string")]),
    ],
)
def test_denied_words_are_found_in_texts_and_identifiers(
    text: str, expected: list[tuple[int, str]]
) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "if x is None:",
        "the classroom",
        "None if there is none",
        "a piece of text",
        "recalled off-by-one",
        "it is no longer there; there is no string",
    ],
)
def test_other_words_are_not_found(text: str) -> None:
    assert found(text) == []


def test_rule_holds_within_its_paths() -> None:
    assert found("a unit", "worker/program/loader.py") == [(1, "unit")]
    assert found("a unit", "client/rnn/cells.py") == []


def test_finding_says_where_and_what_to_write() -> None:
    (finding,) = words.check_text("worker/x.py", "\n# a folder")
    assert str(finding) == "worker/x.py:2: 'folder'; write: directory"


def test_allowed_lines_are_not_found() -> None:
    allowed = [words.Allowed("worker/", r"tf\.folder", "a public name")]
    text = "tf.folder\nmy.folder"
    assert [f.line for f in words.check_text("worker/x.py", text, allowed=allowed)] == [2]
    assert [f.line for f in words.check_text("client/x.py", text, allowed=allowed)] == [1, 2]
    assert all(entry.reason for entry in words.ALLOWED)


def test_docstring_begins_with_a_verb_or_a_noun_phrase() -> None:
    text = (
        '"""Whether it is so."""\ndef f():\n    """What it does."""\ndef g():\n    """Does it."""'
    )
    assert [(f.line, f.text) for f in words.check_openings("x.py", text)] == [
        (1, "Whether"), (3, "What"),
    ]  # fmt: skip


def test_pending_paths_exist() -> None:
    assert [path for path in words.PENDING if not (DOCS.parent / path).exists()] == []


MODULE = '''
class Base:
    """A base."""

    def method(self):
        """Does it."""

    def bare(self): ...

    def _private(self): ...

class Derived(Base):
    def method(self): ...
    def other(self): ...

def function(): ...
'''


def test_public_names_without_docstring_are_listed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/module.py").write_text(MODULE)
    packages = docstrings.Modules(tmp_path, ["a/module.py"]).packages({"a": 50, "a/b": 50})
    missing = [entry.rpartition(" ")[2] for entry in packages["a"].missing]
    assert missing == ["Base.bare", "Derived", "Derived.other", "function"]
    assert packages["a"].total == 7
    assert packages["a/b"].percent == 100.0


def test_package_below_its_floor_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/module.py").write_text(MODULE)
    monkeypatch.setattr(docstrings, "ROOT", tmp_path)
    monkeypatch.setattr(docstrings, "FLOORS", {"a": 42})
    assert docstrings.main([]) == 0
    monkeypatch.setattr(docstrings, "FLOORS", {"a": 43})
    assert docstrings.main([]) == 1
    assert "a: 42.9 % of 7 public names have a docstring" in capsys.readouterr().out
