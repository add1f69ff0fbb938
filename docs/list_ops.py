"""Writes docs/ops.md, the list of all ops; with ``--check`` only says whether it is stale."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from flowray.client.gradients import families as _gradients  # noqa: F401 - registers gradients
from flowray.client.gradients import registry
from flowray.proto.ops import op_registry

PAGE = Path(__file__).with_name("ops.md")

HEAD = """# Ops

The ops that flowray has, by family (`proto/ops/<family>.py`). Made by `make docs`.

* **H** runs on the host: strings, files, queues, iterators
* **D** its output's shape depends on data, so XLA programs are cut around it
* **S** stateful
* **∇** has a gradient
"""


def page() -> str:
    """The text of docs/ops.md."""
    families: dict[str, list[str]] = {}
    for name, op in op_registry.registered_ops().items():
        marks = "".join(
            mark
            for mark, holds in (
                ("H", op.host_only or op.blocks),
                ("D", op.dynamic_shape),
                ("S", op.stateful),
                ("∇", registry.is_registered(name) and registry.lookup(name) is not None),
            )
            if holds
        )
        families.setdefault(op.family, []).append(f"{name} {marks}".strip())
    parts = [HEAD, f"{sum(map(len, families.values()))} ops.\n"]
    for family in sorted(families):
        listed = ", ".join(sorted(families[family], key=str.lower))
        parts.append(f"## {family.removesuffix('_ops')}\n\n{listed}\n")
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only report whether it is stale")
    options = parser.parse_args(arguments)
    fresh = page()
    if options.check:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != fresh:
            print("stale: docs/ops.md (run make docs)", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
