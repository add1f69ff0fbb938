"""``tf.gfile`` does and refuses what TensorFlow's does, in the same words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flowray

tf = pytest.importorskip("tensorflow").compat.v1


def fill(directory: Path) -> None:
    (directory / "a/b").mkdir(parents=True)
    (directory / "f").write_bytes("l1\nl2 ü\r\n\nl4".encode())
    (directory / "a/x.txt").touch()
    (directory / "a/b/.hidden").touch()
    (directory / "a/b/y").touch()
    (directory / "link").symlink_to(directory / "f")


def outcome(action: Callable[[Any], Any], api: Any) -> Any:
    """The result (with lists of names sorted), or the error."""
    try:
        result = action(api.gfile)
    except (api.errors.OpError, TypeError) as error:
        return type(error).__name__, getattr(error, "message", str(error))
    if isinstance(result, list) and all(isinstance(item, str) for item in result):
        return sorted(result)
    return result


def tree() -> list[str]:
    return sorted(os.path.join(d, n) for d, ds, fs in os.walk(".") for n in (*ds, *fs))


def walked(g: Any, *arguments: Any, **options: Any) -> Any:
    return [(d, sorted(ds), sorted(fs)) for d, ds, fs in g.Walk(*arguments, **options)]


def file(name: str, mode: str, *steps: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Opens a file and takes steps with it; gives all results."""

    def action(g: Any) -> list[Any]:
        with g.GFile(name, mode) as opened:
            return [step(opened) for step in steps]

    return action


ACTIONS: list[Callable[[Any], Any]] = [
    lambda g: [g.Exists(name) for name in ("f", b"f", "a", "link", "", "none", "none/f")],
    lambda g: g.Exists(5),
    lambda g: [g.IsDirectory(name) for name in ("f", "a", "link", "", "none")],
    *(
        lambda g, p=p: g.Glob(p)
        for p in ("*", "a/*", "**", "none*", "no/ne*", "a/b/.*", "[fa]", "{f,a}", "f")
    ),
    lambda g: g.Glob(["f", "a/b/*"]),
    *(lambda g, d=d: g.ListDirectory(d) for d in ("a", "a/b", "f", "none")),
    *(lambda g, d=d: g.MakeDirs(d) for d in ("m/n/o", "a", "a/b/c", "f", "f/n")),
    *(lambda g, d=d: g.MkDir(d) for d in ("m", "a", "f", "m/n/o")),
    *(lambda g, f=f: g.Remove(f) for f in ("f", "none", "a", "link")),
    *(lambda g, d=d: g.DeleteRecursively(d) for d in ("a", "none", "a/b")),
    lambda g: g.Copy("f", "new"),
    lambda g: g.Copy("f", "a/x.txt"),
    lambda g: g.Copy("f", "a/x.txt", overwrite=True),
    lambda g: g.Copy("none", "new"),
    lambda g: g.Copy("f", "no/new"),
    lambda g: g.Copy("f", "a"),
    lambda g: g.Rename("f", "new"),
    lambda g: g.Rename("f", "a/x.txt"),
    lambda g: g.Rename("f", "a/x.txt", overwrite=True),
    lambda g: g.Rename("none", "new"),
    lambda g: g.Rename("a", "new"),
    lambda g: (g.Stat("f").length, g.Stat("f").is_directory, g.Stat("f").mtime_nsec > 10**18),
    lambda g: g.Stat("a").is_directory,
    lambda g: g.Stat("none"),
    lambda g: walked(g, "."),
    lambda g: walked(g, "a", in_order=False),
    lambda g: walked(g, "none"),
    lambda g: walked(g, "f"),
    lambda g: [g.GFile("f", mode).read() for mode in ("r", "rb", "r+")],
    lambda g: [g.GFile("f").readlines(), list(g.GFile("f", "rb")), next(g.GFile("f"))],
    lambda g: [g.FastGFile("f").read(2), g.Open("f").name, g.Open("f", "rb").mode],
    *(lambda g, m=m: g.GFile("f", m) and None for m in ("x", "rt", "rw", "", "br")),
    *(lambda g, f=f: g.GFile(f).read() for f in ("none", "a")),
    *(lambda g, f=f: g.GFile(f, "w").write("x") for f in ("no/new", "a")),
    lambda g: g.GFile("f", "w").read(),
    lambda g: g.GFile("f", "r").write("x"),
    lambda g: g.GFile("f", "w").write(5),
    lambda g: g.GFile("none", "w").close(),
    file("f", "r", lambda f: f.seek(3), lambda f: f.read(2), lambda f: f.tell(),
         lambda f: f.seek(-2, 2), lambda f: f.read(), lambda f: f.seek(1), lambda f: f.readline(),
         lambda f: f.seek(1, 1), lambda f: f.tell(), lambda f: f.seek(position=4),
         lambda f: f.read(1), lambda f: f.size(), lambda f: f.seekable(), lambda f: f.seek(13),
         lambda f: f.read()),
    file("f", "r", lambda f: f.seek(100)),
    file("f", "r", lambda f: f.seek(-1)),
    file("f", "r", lambda f: f.seek(0, 5)),
    file("f", "r", lambda f: f.seek()),
    file("new", "w", lambda f: f.write("abü"), lambda f: f.write(b"de"), lambda f: f.tell(),
         lambda f: f.flush(), lambda f: f.size()),
    file("f", "a", lambda f: f.write("end")),
    file("f", "wb", lambda f: f.write("ü")),
    file("f", "r", lambda f: f.read(), lambda f: f.close(), lambda f: f.read(2)),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(ACTIONS)))
def test_does_the_same(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for api in (flowray, tf):
        directory = tmp_path / api.__name__
        fill(directory)
        monkeypatch.chdir(directory)
        found.append((outcome(ACTIONS[number], api), tree(), contents()))
    assert found[0] == found[1]


def contents() -> dict[str, bytes]:
    return {name: Path(name).read_bytes() for name in tree() if os.path.isfile(name)}
