"""Regular expressions of TensorFlow's string ops: RE2's, by its own Python package.

Python's ``re`` knows more (look-around, back-references) and less (``\\pL``, characters in UTF-8
bytes), and a pattern can make it take exponential time. The package comes with the extra
``server``; it is imported when the first expression is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flowray.proto import errors


class RegularExpression:
    """A compiled pattern; InvalidArgumentError with RE2's reason if it is none."""

    def __init__(self, pattern: bytes) -> None:
        try:
            import re2
        except ImportError:
            raise errors.unimplemented(
                "regular expressions need the package google-re2, which comes with flowray[server]"
            ) from None
        options = re2.Options()
        options.log_errors = False
        try:
            self._compiled: Any = re2.compile(pattern, options)
        except re2.error as error:
            reason = error.args[0]
            if isinstance(reason, bytes):
                reason = reason.decode("utf-8", "replace")
            raise errors.invalid_argument(
                f"Invalid pattern: {pattern.decode('utf-8', 'replace')}, error: {reason}"
            ) from None

    def matches(self, value: bytes) -> bool:
        """Whether all of ``value`` matches."""
        return self._compiled.fullmatch(value) is not None

    def replacer(self, rewrite: bytes, replace_all: bool) -> Callable[[bytes], bytes]:
        """A function that replaces the matches, or only the first, by ``rewrite``.

        In ``rewrite``, ``\\1`` to ``\\9`` stand for groups and ``\\0`` for the whole match. RE2's
        way with mistakes: a group that the pattern lacks makes the function change nothing; a wrong
        escape ends the text that is put in, or, where only the first match is replaced, changes
        nothing, too.
        """
        pieces, is_valid = _parse_rewrite(rewrite)
        groups = [piece for piece in pieces if isinstance(piece, int)]
        if max(groups, default=0) > self._compiled.groups or not (is_valid or replace_all):
            return lambda value: value

        def expand(match: Any) -> bytes:
            return b"".join(
                piece if isinstance(piece, bytes) else match.group(piece) or b"" for piece in pieces
            )

        def replace(value: bytes) -> bytes:
            result, end = [], 0
            for match in self._matches(value):
                result += [value[end : match.start()], expand(match)]
                end = match.end()
                if not replace_all:
                    break
            return b"".join([*result, value[end:]])

        return replace

    def _matches(self, value: bytes) -> Any:
        """The matches from left to right.

        An empty one counts neither right after another match nor inside a UTF-8 character.
        """
        end = -1
        for match in self._compiled.finditer(value):
            start = match.start()
            if start == match.end() and (
                start == end or (start < len(value) and value[start] & 0xC0 == 0x80)
            ):
                continue
            end = match.end()
            yield match


_REWRITE_PART = re.compile(rb"\\([0-9])|\\(\\)|([^\\]+)|(\\)", re.DOTALL)


def _parse_rewrite(rewrite: bytes) -> tuple[list[bytes | int], bool]:
    """Literal texts and group numbers, up to the first wrong escape, and whether there is none."""
    pieces: list[bytes | int] = []
    for match in _REWRITE_PART.finditer(rewrite):
        group, backslash, literal, _ = match.groups()
        if group is not None:
            pieces.append(int(group))
        elif backslash is not None or literal is not None:
            pieces.append(backslash or literal)
        else:
            return pieces, False
    return pieces, True
