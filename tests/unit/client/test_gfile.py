"""``tf.gfile``: what tests/conformance/test_gfile.py cannot compare."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import flowray as tf


def test_paths_of_any_kind(tmp_path: Path) -> None:
    for path in (str(tmp_path / "f"), os.fsencode(tmp_path / "f"), tmp_path / "f"):
        with tf.gfile.GFile(path, "w") as file:
            file.write("text")
        assert tf.gfile.Exists(path)
        assert tf.gfile.Stat(path).length == 4
        tf.gfile.Remove(path)
    assert os.listdir(tmp_path) == []


def test_schemes(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("text")
    assert tf.gfile.GFile(f"file://{tmp_path}/f").read() == "text"
    assert tf.gfile.Glob(f"file://{tmp_path}/*") == [f"file://{tmp_path}/f"]
    with pytest.raises(tf.errors.UnimplementedError, match="File system scheme 's3' not implement"):
        tf.gfile.Exists("s3://bucket/f")


def test_deleting_a_link_spares_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").touch()
    (tmp_path / "link").symlink_to(tmp_path / "d")
    tf.gfile.DeleteRecursively(tmp_path / "link")
    assert sorted(os.listdir(tmp_path)) == ["d"]
    assert os.listdir(tmp_path / "d") == ["f"]


def test_binary_files_keep_their_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10
    with tf.gfile.GFile(tmp_path / "f", "wb") as file:
        file.write(content)
    with tf.gfile.GFile(tmp_path / "f", "rb") as file:
        assert file.read() == content
        file.seek(5)
        assert file.read(3) == content[5:8]
