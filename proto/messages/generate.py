"""Generates the Python code of the .proto files of this directory.

``python proto/messages/generate.py`` writes ``*_pb2.py`` and ``*_pb2.pyi`` beside them; with
``--check`` it writes nothing, names the files that are missing, stale or left over, and exits with
1 if there are any. Both need the release of grpcio-tools that pyproject.toml pins: a newer one
writes code that the oldest supported protobuf refuses.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent
PACKAGE = Path("flowray/proto/messages")


def generate() -> dict[str, bytes]:
    """Returns the generated files by name.

    Raises:
        RuntimeError: the compiler reports an error.
    """
    from grpc_tools import protoc  # type: ignore[import-untyped]  # noqa: PLC0415 - of developers

    with tempfile.TemporaryDirectory() as temporary:
        # The compiler wants the files under the names by which they import each other.
        source, output = Path(temporary, "source"), Path(temporary, "output")
        (source / PACKAGE).mkdir(parents=True)
        output.mkdir()
        names = []
        for path in sorted(DIRECTORY.glob("*.proto")):
            shutil.copy(path, source / PACKAGE)
            names.append(str(PACKAGE / path.name))
        status = protoc.main(
            [
                "protoc",
                f"-I{source}",
                f"-I{resources.files('grpc_tools') / '_proto'}",
                f"--python_out={output}",
                f"--pyi_out={output}",
                *names,
            ]
        )
        if status != 0:
            raise RuntimeError(f"protoc failed with status {status}")
        # protoc leaves Mapping without arguments, which mypy refuses in strict mode.
        return {
            path.name: path.read_bytes().replace(b"_Mapping]", b"_Mapping[str, object]]")
            for path in (output / PACKAGE).iterdir()
        }


def stale_files(fresh: dict[str, bytes]) -> list[str]:
    """Returns the names of generated files in this directory that differ from ``fresh``."""
    present = {path.name: path.read_bytes() for path in DIRECTORY.glob("*_pb2.py*")}
    return sorted(n for n in fresh.keys() | present.keys() if fresh.get(n) != present.get(n))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit status."""
    parser = argparse.ArgumentParser(description="Generates Python code from the .proto files.")
    parser.add_argument("--check", action="store_true", help="only report stale files")
    options = parser.parse_args(arguments)
    fresh = generate()
    stale = stale_files(fresh)
    if options.check:
        for name in stale:
            print(
                f"stale: proto/messages/{name} (run python proto/messages/generate.py)",
                file=sys.stderr,
            )
        return 1 if stale else 0
    for name in stale:
        if name in fresh:
            (DIRECTORY / name).write_bytes(fresh[name])
        else:
            (DIRECTORY / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
