"""Files that are there completely or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowray.proto.files import durable_files


def test_replace(tmp_path: Path) -> None:
    path = str(tmp_path / "f")
    for content in (b"first", b"second, longer", b""):
        durable_files.replace(path, content)
        assert Path(path).read_bytes() == content
        assert os.listdir(tmp_path) == ["f"]


def test_what_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "f")
    durable_files.replace(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match="No space left"):
                durable_files.replace(path, b"new")
        assert Path(path).read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["f"]


def test_what_is_abandoned_is_removed(tmp_path: Path) -> None:
    """A process that is killed leaves its file; one that still writes keeps it."""
    script = """
import os, sys
from flowray.proto.files import durable_files
file = durable_files.create_temporary(sys.argv[1])
file.write(b"half")
file.flush()
print("written", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", script, str(tmp_path / "model")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"written\n"
            durable_files.replace(str(tmp_path / "other"), b"")
            assert len(os.listdir(tmp_path)) == 2, "it is being written"
        finally:
            process.kill()
    durable_files.replace(str(tmp_path / "other"), b"")
    assert os.listdir(tmp_path) == ["other"]


def test_other_files_are_let_be(tmp_path: Path) -> None:
    for name in ("model.tempstate123", "unfinished", "f"):
        (tmp_path / name).touch()
    durable_files.remove_abandoned(str(tmp_path))
    assert len(os.listdir(tmp_path)) == 3
    durable_files.remove_abandoned(str(tmp_path / "none"))
