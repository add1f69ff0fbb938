"""Kernels that print values and read the clock. They print on the worker, not on the client."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.files.file_errors import translated
from flowray.proto.types.shapes import format_shape
from flowray.worker.kernel_registry import kernel
from flowray.worker.kernels.support.value_text import summarize_nested, summarize_value
from flowray.worker.state.store import Variable

Array = np.ndarray[Any, Any]

_FILE = "file://"


def _no_prints_yet(message: bytes, first_n: int, summarize: int) -> Array:
    return np.zeros((), np.int64)


@kernel("Print", state=_no_prints_yet)
def print_(
    xp: Any,
    input: Array,
    data: list[Array],
    *,
    message: bytes,
    first_n: int,
    summarize: int,
    state: Variable,
) -> Array:
    """Prints ``message`` and the values to stderr, at most ``first_n`` times (always if negative).

    The number of prints is private state of the session and node.
    """
    if first_n >= 0:
        printed = int(state.read())
        if printed >= first_n:
            return input
        state.assign(np.array(printed + 1, np.int64))
    text = "".join(f"[{summarize_value(np.asarray(d), summarize)}]" for d in data)
    print(message.decode(errors="replace") + text, file=sys.stderr, flush=True)
    return input


@kernel("PrintV2")
def print_v2(xp: Any, input: Array, *, output_stream: bytes, end: bytes) -> None:
    """Prints the string scalar to stdout, stderr, a file (``file://PATH``) or with a log level."""
    if input.shape:
        raise errors.invalid_argument(
            f"Input is expected to be scalar, but got {format_shape(input.shape)}"
        )
    text = (input.item() + end).decode(errors="replace")
    stream = output_stream.decode(errors="replace")
    if stream.startswith(_FILE):
        path = stream.removeprefix(_FILE)
        with translated(path), open(path, "a") as file:
            file.write(text)
    elif stream == "stdout":
        print(text, end="", flush=True)
    elif stream == "stderr":
        print(text, end="", file=sys.stderr, flush=True)
    elif stream in _LOG_LETTER:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        print(f"{stamp}: {_LOG_LETTER[stream]} {text}", end="", file=sys.stderr, flush=True)
    else:
        raise errors.invalid_argument(
            f"Unknown output stream: {stream}, Valid streams are: "
            f"{' '.join(['stdout', 'stderr', *_LOG_LETTER])}"
        )


_LOG_LETTER = {"log(info)": "I", "log(warning)": "W", "log(error)": "E"}


@kernel("StringFormat")
def string_format(
    xp: Any, inputs: list[Array], *, template: bytes, placeholder: bytes, summarize: int
) -> Array:
    """Puts the values into ``template`` at each ``placeholder``, as tf.print formats them."""
    parts = template.split(placeholder)
    if len(parts) != len(inputs) + 1:
        raise errors.invalid_argument(
            f"num placeholders in template and num inputs must match: {len(parts) - 1} vs. "
            f"{len(inputs)}"
        )
    text = [parts[0]]
    for value, part in zip(inputs, parts[1:], strict=True):
        text += [summarize_nested(np.asarray(value), summarize), part]
    return np.array(b"".join(text), object)


@kernel("Timestamp")
def timestamp(xp: Any) -> Array:
    """Returns the seconds since the epoch as a float64 scalar."""
    return np.array(time.time())
