"""Whole files. The cases use a temporary directory that exists while the module is imported."""

import os
import tempfile
from pathlib import Path

import numpy as np

from flowray.proto import errors
from tests.ops.harness import case, table_test

# The table is made at import and read by others (tests/conformance), so no fixture can own this.
_directory = tempfile.TemporaryDirectory(prefix="flowray-io-")
ROOT = Path(_directory.name)
for _path, _contents in {
    "a.txt": b"hel\0lo\n",
    "b.txt": b"",
    ".hidden.txt": b"",
    "[x].txt": b"",
    "sub/c.txt": b"c",
    "sub/deep/d.txt": b"",
    "é.bin": b"\xff",
}.items():
    (ROOT / _path).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / _path).write_bytes(_contents)

BAD = errors.InvalidArgumentError
MISSING = errors.NotFoundError
STATE = errors.FailedPreconditionError


def path(*parts: str) -> np.ndarray:
    """The scalar string tensor of a path in the directory."""
    return np.array(os.fsencode(ROOT.joinpath(*parts)), object)


def paths(*names: str) -> np.ndarray:
    result = np.empty(len(names), object)
    result[:] = [path(name)[()] for name in names]
    return result


case("ReadFile", [path("a.txt")], expect=np.array(b"hel\0lo\n", object))
case("ReadFile", [path("b.txt")], expect=np.array(b"", object), id="empty")
case("ReadFile", [path("é.bin")], expect=np.array(b"\xff", object), id="unicode")
case("ReadFile", [f"file://{ROOT}/sub/c.txt"], expect=np.array(b"c", object), id="scheme")
case("ReadFile", ["/nonexistent/x"], raises=MISSING, match="/nonexistent/x; No such file or dir")
case("ReadFile", [""], raises=MISSING, match="; No such file or directory", id="no path")
case("ReadFile", [path()], raises=STATE, match=f"{ROOT}; Is a directory")
case("ReadFile", [paths("a.txt")], raises=BAD, match=r"must be scalar, but had shape: \[1\]")
case(
    "ReadFile",
    ["foo://x/y"],
    raises=errors.UnimplementedError,
    match=r"File system scheme 'foo' not implemented \(file: 'foo://x/y'\)",
)
case("WriteFile", [path("new/deep/x.txt"), "abc"])
case("WriteFile", [path("sub"), "abc"], raises=STATE, match="sub; Is a directory")
case("WriteFile", [path("a.txt", "x"), "abc"], raises=STATE, match="a.txt/x; Not a directory")
case("WriteFile", ["", "abc"], raises=MISSING, match="; No such file or directory")
case("WriteFile", [paths("a.txt"), "abc"], raises=BAD, match="Input filename tensor must be scalar")
case(
    "WriteFile", [path("w"), ["abc"]], raises=BAD, match=r"Contents tensor must be scalar, but had"
)

for _pattern, _found in {
    "*.txt": [".hidden.txt", "[x].txt", "a.txt", "b.txt"],
    "sub/*": ["sub/c.txt", "sub/deep"],
    "s?b": ["sub"],
    "[ab].txt": ["a.txt", "b.txt"],
    "[b-z].txt": ["b.txt"],
    "[^a].txt": ["b.txt"],
    "[!a].txt": ["b.txt"],
    "\\[x\\].txt": ["[x].txt"],
    "[[]x].txt": ["[x].txt"],
    "*/*.txt": ["sub/c.txt"],
    "s*/d*/*": ["sub/deep/d.txt"],
    "a.txt": ["a.txt"],
    "é*": ["é.bin"],
    "no*": [],
    "no/*": [],
    "a.txt/*": [],
    "{a,b}.txt": [],
}.items():
    case("MatchingFiles", [f"{ROOT}/{_pattern}"], expect=paths(*_found), id=_pattern)
case(
    "MatchingFiles",
    [paths("a*", "sub/*", "a.txt")],
    expect=paths("a.txt", "a.txt", "sub/c.txt", "sub/deep"),
    id="several",
)
case(
    "MatchingFiles",
    [f"file://{ROOT}/a*"],
    expect=np.array([f"file://{ROOT}/a.txt".encode()], object),
    id="scheme",
)
case("MatchingFiles", [""], expect=np.zeros(0, object), id="no pattern")
case("MatchingFiles", [np.zeros(0, object)], expect=np.zeros(0, object), id="no patterns")
case("MatchingFiles", [[["a"]]], raises=BAD, match=r"must be scalar or vector, but had shape")

test_case = table_test()


def test_written_files_are_there() -> None:
    assert not (ROOT / "written").exists()
    from flowray.proto.files import filesystem

    filesystem.write(bytes(path("written", "x")[()]), b"first, longer")
    filesystem.write(bytes(path("written", "x")[()]), b"second")
    assert (ROOT / "written" / "x").read_bytes() == b"second"


def test_relative_patterns(monkeypatch) -> None:
    from flowray.proto.files import filesystem

    monkeypatch.chdir(ROOT)
    assert filesystem.matching(b"b*") == [b"./b.txt"]
    assert filesystem.matching(b"sub/c*") == [b"sub/c.txt"]
    assert filesystem.matching(b"./sub/c*") == [b"./sub/c.txt"]
    assert filesystem.matching(b"a.txt") == [b"a.txt"]
