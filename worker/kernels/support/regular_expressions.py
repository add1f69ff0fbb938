"""Regular expressions of TensorFlow's string ops: those of RE2, by its own Python package.

Python's ``re`` is a different language: it has look-around and back-references, lacks ``\\pL`` and
characters in UTF-8 bytes, and a pattern can make it take exponential time. The package comes with
the extra ``server``; it is imported when the first expression is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flowray.proto import errors


class RegularExpression:
    """A compiled pattern.

    Raises:
        InvalidArgumentError: RE2 rejects the pattern; the message has its reason.
        UnimplementedError: the package google-re2 is not installed.
    """

    def __init__(self, pattern: bytes) -> None:
        try:
            import re2  # noqa: PLC0415 - optional
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
        """Tells whether all of ``value`` matches."""
        return self._compiled.fullmatch(value) is not None

    def replacer(self, rewrite: bytes, replace_all: bool) -> Callable[[bytes], bytes]:
        """Returns a function that replaces the matches, or only the first, by ``rewrite``.

        In ``rewrite``, ``\\1`` to ``\\9`` stand for groups and ``\\0`` for the whole match.
        Mistakes are treated as RE2 does: with a group that the pattern lacks the function changes
        nothing; a wrong escape ends the inserted text, or, where only the first match is replaced,
        the function changes nothing.
        """
        parts, is_valid = _parse_rewrite(rewrite)
        groups = [part for part in parts if isinstance(part, int)]
        if max(groups, default=0) > self._compiled.groups or not (is_valid or replace_all):
            return lambda value: value

        def expand(match: Any) -> bytes:
            return b"".join(
                part if isinstance(part, bytes) else match.group(part) or b"" for part in parts
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
        """Yields the matches from left to right.

        An empty match right after another match or inside a UTF-8 character does not count.
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
    """Splits ``rewrite`` into literal texts and indices of groups.

    Returns:
        The parts up to the first wrong escape, and whether all of ``rewrite`` is valid.
    """
    parts: list[bytes | int] = []
    for match in _REWRITE_PART.finditer(rewrite):
        group, backslash, literal, _ = match.groups()
        if group is not None:
            parts.append(int(group))
        elif backslash is not None or literal is not None:
            parts.append(backslash or literal)
        else:
            return parts, False
    return parts, True
