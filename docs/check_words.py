"""Checks the words of code and documents: the deny list of ``make check``.

flowray uses the words of TensorFlow, JAX and Ray; docs/glossary.md defines the few of its own. Each
rule below names a word that is not used here and the word to use instead. A rule finds its words in
.py, .md and .proto files: in comments, docstrings, texts and identifiers (``held_part`` and
``HeldPart`` are both found by ``held part``), also across the end of a line.

To add a word, add a ``Rule``. To allow a true use, such as a name of TensorFlow's API, add an
``Allowed`` with the reason.

A second check: a docstring begins with a verb or a noun phrase, so not with "What" or "Whether".
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = (".md", ".proto", ".py")
GENERATED = re.compile(r"_pb2\.py$|^docs/ops\.md$")

PENDING: tuple[str, ...] = ()
"""Files and directories (with a slash at the end) that are not clean yet. The goal is none."""


@dataclass(frozen=True)
class Rule:
    """A word that is not used, in the paths that start with one of ``within``.

    Attributes:
        words: words with single spaces between them, each of which is a regular expression.
        instead: the words to use instead.
        exact: whether upper and lower case differ.
        within: prefixes of paths.
    """

    words: str
    instead: str
    exact: bool = False
    within: tuple[str, ...] = ("",)

    def pattern(self) -> re.Pattern[str]:
        """Returns the expression that finds the words in a text and in identifiers."""
        flags = "" if self.exact else "i"
        between = r"(?:[\s_#-]+|(?<=[a-z])(?=[A-Z]))"
        words = between.join(f"(?{flags}:{word})" for word in self.words.split(" "))
        start = r"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))"
        end = r"(?:(?![A-Za-z])|(?<=[a-z])(?=[A-Z]))"
        return re.compile(f"{start}(?:{words}){end}")


@dataclass(frozen=True)
class Allowed:
    """Lines that may have a denied word: those of ``path`` (a prefix) that match ``line``."""

    path: str
    line: str
    reason: str


_SEGMENTS = ("docs/architecture.md", "docs/decisions/", "worker/execution/", "worker/program/")
"""The paths that are about segments; "unit" is a true word in layers, pixels and strings."""

RULES = (
    Rule("(?:python|interpreter)(?:'s)? lock", "GIL"),
    Rule("held part", "gil_fraction"),
    Rule("call(?:s|ed|ing)? off", "cancel"),
    Rule("alarms?", "deadline timer"),
    Rule(
        "_(?:Piece|Race)",
        "a name from worker/execution/tiering.py",
        exact=True,
        within=("worker/",),
    ),
    Rule("(?:in|is|are) one piece", "atomic, or whole"),
    Rule("(?:helper|helping) process(?:es)?", "worker process of the process pool"),
    Rule("helpers", "worker processes of the process pool", within=("worker/data/",)),
    Rule("pictures?", "image"),
    Rule("folders?", "directory"),
    Rule("(?:ran|runs?|running) together", "fused, or batched"),
    Rule("rooms?", "package, or capacity or space"),
    Rule("units?", "segment", within=_SEGMENTS),
    Rule("(?:is|are|was|were|be) none", "'is not a …'; None is only Python's None", exact=True),
    Rule(
        r"(?<!here\s)(?:is|are|was|were) no (?!faster|larger|less|longer|more|slower)\w+",
        "'is not a …'",
        exact=True,
    ),
    Rule("(?:its|their) kin", "others, similar ones"),
    Rule("(?:go|goes|going|went) round", "iterate, stay"),
    Rule(
        "alive", "live (a value that is not dead)", within=("master/passes/", "proto/", "worker/")
    ),
)

ALLOWED: tuple[Allowed, ...] = (
    Allowed("docs/check_words.py", "", "the list itself"),
    Allowed("tests/unit/test_words.py", "", "the test of the list"),
    Allowed("client/estimator/", "Using temporary folder as", "TensorFlow's text"),
    Allowed("worker/execution/native_threads.py", "alive", "threads and processes are alive"),
    Allowed("docs/", r"\btests/unit/", "the directory"),
    Allowed("", r"\bthere (is|are|was|were) none\b", "plain English for an absence"),
)

OPENINGS = ("How", "What", "When", "Where", "Whether", "Which", "Who", "Why")


@dataclass(frozen=True)
class Finding:
    """A denied word at a line of a file."""

    path: str
    line: int
    text: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text!r}; write: {self.instead}"


def check_text(
    path: str, text: str, rules: Iterable[Rule] = RULES, allowed: Iterable[Allowed] = ALLOWED
) -> Iterator[Finding]:
    """Yields what a file with this path and content uses of the denied words."""
    allowed = [entry for entry in allowed if path.startswith(entry.path)]
    lines = text.splitlines()
    for rule in rules:
        if not path.startswith(rule.within):
            continue
        for match in rule.pattern().finditer(text):
            number = text.count("\n", 0, match.start()) + 1
            if any(re.search(entry.line, lines[number - 1]) for entry in allowed):
                continue
            yield Finding(path, number, " ".join(match[0].split()), rule.instead)


def check_openings(path: str, text: str) -> Iterator[Finding]:
    """Yields the docstrings of a Python file that begin with a question word."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, kinds) or ast.get_docstring(node) is None:
            continue
        expression = node.body[0]
        assert isinstance(expression, ast.Expr)
        assert isinstance(expression.value, ast.Constant)
        first, *_ = str(expression.value.value).split() or [""]
        if first.strip("`,:") in OPENINGS:
            yield Finding(
                path, expression.lineno, first, "a verb or a noun phrase at the beginning"
            )


def check_files(paths: Iterable[str], pending: Sequence[str] = PENDING) -> list[Finding]:
    """The findings in those of ``paths`` (relative to the repository) that are not pending."""
    findings: list[Finding] = []
    for path in paths:
        if not path.endswith(SUFFIXES) or GENERATED.search(path):
            continue
        if path.startswith(tuple(pending)):
            continue
        text = (ROOT / path).read_text(encoding="utf-8")
        findings += check_text(path, text)
        if path.endswith(".py"):
            findings += check_openings(path, text)
    return findings


def tracked_files() -> list[str]:
    """The files of the repository, as git lists them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return sorted(path for path in set(listed.stdout.splitlines()) if (ROOT / path).is_file())


def main(arguments: Sequence[str]) -> int:
    """Prints the findings. ``--pending`` also looks into the pending directories."""
    pending = () if "--pending" in arguments else PENDING
    findings = check_files(tracked_files(), pending)
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
