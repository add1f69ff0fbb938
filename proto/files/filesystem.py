"""Files as TensorFlow's ops use them: paths are bytes, errors have its codes and texts."""

from __future__ import annotations

import os
import re

from flowray.proto import errors
from flowray.proto.files.file_errors import translated

_SCHEME = re.compile(rb"([a-zA-Z][a-zA-Z0-9+.-]*)://")


def local_path(path: bytes) -> bytes:
    """Returns ``path`` without ``file://``; UnimplementedError for another file system."""
    scheme = _SCHEME.match(path)
    if scheme is None:
        return path
    if scheme[1] != b"file":
        raise errors.unimplemented(
            f"File system scheme '{scheme[1].decode()}' not implemented "
            f"(file: '{os.fsdecode(path)}')"
        )
    return path[scheme.end() :]


def read(path: bytes) -> bytes:
    """Returns the content of the file."""
    with translated(path):
        file = os.open(local_path(path), os.O_RDONLY)
        try:
            size = os.fstat(file).st_size
            contents = os.read(file, size + 1)  # a file object takes twice as long for a small file
            if len(contents) == size > 0:
                return contents
            with open(
                file, "rb", buffering=0, closefd=False
            ) as rest:  # it grew, or is not an ordinary file
                return contents + rest.readall()
        finally:
            os.close(file)


def write(path: bytes, contents: bytes) -> None:
    """Writes ``contents`` into the file, in place of its old content; makes its directories."""
    target = local_path(path)
    with translated(path):
        directory = os.path.dirname(target)
        if directory and not os.path.exists(directory):
            os.makedirs(directory, exist_ok=True)
        with open(target, "wb") as file:
            file.write(contents)


_WILDCARD = re.compile(rb"[*?\[\\]")


def matching(pattern: bytes) -> list[bytes]:
    """Returns the existing paths that match a glob pattern, in no particular order.

    ``*`` and ``?`` match all characters but ``/``, a leading dot included; ``[ab]``, ``[a-z]`` and
    ``[^a]`` match one character that is listed, or not listed. A backslash quotes a character.
    """
    scheme = _SCHEME.match(pattern)
    if scheme is not None:
        return [scheme[0] + path for path in matching(local_path(pattern))]
    wildcard = _WILDCARD.search(pattern)
    if wildcard is None:
        return [pattern] if pattern and os.path.exists(pattern) else []
    start = pattern.rfind(b"/", 0, wildcard.start()) + 1
    found = [pattern[:start] or b"./"]
    parts = pattern[start:].split(b"/")
    for depth, part in enumerate(parts):
        is_last = depth == len(parts) - 1
        found = [path for parent in found for path in _children(parent, part, is_last)]
    return found


def _children(parent: bytes, part: bytes, is_last: bool) -> list[bytes]:
    """Returns the paths below ``parent`` that match one part of a pattern.

    Parts but the last one match only directories.
    """
    if _WILDCARD.search(part) is None:
        path = parent + part
        if is_last:
            return [path] if os.path.exists(path) else []
        return [path + b"/"] if os.path.isdir(path) else []
    fits = re.compile(_translated(part), re.DOTALL).fullmatch
    try:
        names = os.listdir(parent)
    except OSError:
        return []  # it is gone, or we may not read it: nothing in it matches
    paths = [parent + name for name in names if fits(name)]
    return paths if is_last else [path + b"/" for path in paths if os.path.isdir(path)]


_GLOB_PART = re.compile(
    rb"(?P<star>\*+) | (?P<any>\?) | \[(?P<not>[!^]?)(?P<set>\]?[^\]]*)\] | \\(?P<escaped>.)"
    rb"| (?P<literal>.)",
    re.VERBOSE | re.DOTALL,
)


def _translated(part: bytes) -> bytes:
    """Returns the regular expression of one part of a glob pattern."""
    result = []
    for match in _GLOB_PART.finditer(part):
        if match["star"]:
            result.append(b".*")
        elif match["any"]:
            result.append(b".")
        elif match["set"] is not None:
            chosen = re.sub(rb"([\\\[\]^&~|])", rb"\\\1", match["set"])
            result.append(b"[" + (b"^" if match["not"] else b"") + chosen + b"]")
        else:
            result.append(re.escape(match["escaped"] or match["literal"]))
    return b"".join(result)
