"""Imports inside functions: ruff's PLC0415 finds them, and each that stays says why."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_NOQA = re.compile(r"# noqa: [A-Z0-9, ]*PLC0415(?P<reason>.*)")


def test_each_import_inside_a_function_states_its_reason() -> None:
    found = []
    for package in ("client", "deploy", "master", "proto", "worker"):
        for path in (_ROOT / package).rglob("*.py"):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = _NOQA.search(line)
                if match:
                    found.append((f"{path.relative_to(_ROOT)}:{number}", match["reason"]))
    assert found
    assert [where for where, reason in found if not re.match(r" - \w{2,}", reason)] == []
