"""Writes docs/api_coverage.md: which public names of TensorFlow 1.15 flowray has.

With ``--check`` it only says whether the page is stale.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flowray.client.api import generate
from flowray.client.platform import missing_names

PAGE = Path(__file__).with_name("api_coverage.md")

HEAD = """# What flowray has of TensorFlow 1.15's API

The public names of TensorFlow 1.15, by namespace. Made by `make api` from the declarations with
`tf_export` in `client/`, from `client/api/tensorflow_names.txt`, and from what
`client/platform/missing_names.py` says about names that flowray lacks. A program that uses one of
those gets the same explanation as an error.
"""


def page() -> str:
    """The text of docs/api_coverage.md."""
    contents = generate.namespaces()
    present = {
        namespace: {*names.definitions, *names.children} for namespace, names in contents.items()
    }
    for alias, target in generate.ALIASES.items():
        present[alias] = present[target] if target else set()
    wanted = {
        "" if namespace == "." else namespace: set(names)
        for namespace, names in missing_names.read_lists(missing_names.NAMES_FILE).items()
    }
    parts = [HEAD, _totals(wanted, present)]
    for namespace in sorted(present):
        if wanted.get(namespace):
            parts.append(_section(namespace, wanted[namespace], present[namespace]))
    absent = sorted(n for n in wanted if n not in present and n.rpartition(".")[0] in present)
    lines = [f"* {_described(name, _size(name, wanted))}" for name in ["keras", "raw_ops", *absent]]
    parts.append("## Namespaces that flowray lacks\n\n" + "\n".join(sorted(lines)) + "\n")
    beyond = sorted(
        _full(namespace, name)
        for namespace, names in present.items()
        for name in names - wanted.get(namespace, set())
        if _full(namespace, name) not in present and not _through_alias(namespace)
    )
    parts.append(f"## What flowray has beyond TensorFlow 1.15\n\n{', '.join(beyond)}\n")
    return "\n".join(parts)


def _totals(wanted: dict[str, set[str]], present: dict[str, set[str]]) -> str:
    everything = {_full(ns, name) for ns, names in wanted.items() for name in names}
    there = {_full(ns, name) for ns, names in present.items() for name in names} & everything
    return (
        f"{len(there)} of {len(everything)} names are there (tf.keras and tf.raw_ops count as one "
        "name each).\n"
    )


def _section(namespace: str, wanted: set[str], present: set[str]) -> str:
    there = sorted(wanted & present)
    missing = sorted(wanted - present)
    purposely = [
        n for n in missing if missing_names.about(missing_names.ON_PURPOSE, _full(namespace, n))
    ]
    later = [n for n in missing if n not in purposely]
    title = f"tf.{namespace}" if namespace else "tf"
    lines = [f"## {title}: {len(there)} of {len(wanted)}", ""]
    if there:
        lines += [f"**There:** {', '.join(there)}", ""]
    if later:
        lines += [f"**Not yet:** {', '.join(later)}", ""]
    lines += _grouped("use", missing_names.INSTEAD, namespace, later)
    lines += _grouped("not there on purpose:", missing_names.ON_PURPOSE, namespace, purposely)
    return "\n".join(lines).rstrip() + "\n"


def _grouped(
    verb: str, table: Mapping[str, str], namespace: str, names: Iterable[str]
) -> list[str]:
    """A line for each entry of a table, with the names that it is about."""
    groups: dict[str, list[str]] = {}
    for name in names:
        if entry := missing_names.about(table, _full(namespace, name)):
            groups.setdefault(entry, []).append(name)
    lines = [f"* {', '.join(names)}: {verb} {entry}" for entry, names in groups.items()]
    return [*lines, ""] if lines else []


def _described(name: str, size: int) -> str:
    reason = missing_names.about(missing_names.ON_PURPOSE, name)
    instead = missing_names.about(missing_names.INSTEAD, name)
    status = f"not there on purpose: {reason}" if reason else "not yet"
    count = f" ({size} name{'s' * (size > 1)})" if size else ""
    return f"tf.{name}{count}: {status}" + (f"; use {instead}" if instead else "")


def _size(namespace: str, wanted: dict[str, set[str]]) -> int:
    return sum(
        len(names) for n, names in wanted.items() if n == namespace or n.startswith(f"{namespace}.")
    )


def _through_alias(namespace: str) -> bool:
    return namespace in generate.ALIASES


def _full(namespace: str, name: str) -> str:
    return f"{namespace}.{name}" if namespace else name


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only report whether it is stale")
    options = parser.parse_args(arguments)
    fresh = page()
    if options.check:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != fresh:
            print("stale: docs/api_coverage.md (run make api)", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
