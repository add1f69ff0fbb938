"""Records of comma-separated values, as RFC 4180 and TensorFlow define them."""

from __future__ import annotations

import re
from collections.abc import Callable

from flowray.proto import errors

_LINE_ENDS = (b"\n", b"\r")


def splitter(delimiter: bytes, quotes: bool) -> Callable[[bytes], list[bytes]]:
    """Returns a function that splits a record into its fields.

    With ``quotes``, a field may stand in double quotes: then it may have delimiters and line ends,
    and two quotes stand for one. The function raises InvalidArgumentError for a record with quotes
    or line ends elsewhere.
    """
    mark = re.escape(delimiter)
    # A field in quotes and the text behind it, or a field without quotes.
    field = re.compile(rb'"((?:[^"]|"")*)("?)([^%b]*)|([^%b]*)' % (mark, mark), re.DOTALL)

    def split(record: bytes) -> list[bytes]:
        if not record:
            return []
        if b'"' not in record or not quotes:
            if any(end in record for end in _LINE_ENDS):
                raise _unquoted()
            return record.split(delimiter)
        fields, position = [], 0
        while position <= len(record):
            match = field.match(record, position)
            assert match is not None
            quoted, closed, rest, plain = match.groups()
            if quoted is None:
                if b'"' in plain or any(end in plain for end in _LINE_ENDS):
                    raise _unquoted()
                fields.append(plain)
            else:
                if not closed:
                    raise errors.invalid_argument(
                        "Quoted field has to end with quote followed by delim or end"
                    )
                if rest:
                    raise errors.invalid_argument(
                        "Quote inside a string has to be escaped by another quote"
                    )
                fields.append(quoted.replace(b'""', b'"'))
            position = match.end() + 1
        return fields

    return split


def _unquoted() -> errors.OpError:
    return errors.invalid_argument("Unquoted fields cannot have quotes/CRLFs inside")
