"""User functions that print values and read the clock."""

from __future__ import annotations

import itertools
import pprint
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from flowray.client.framework.graph import Operation, Tensor
from flowray.client.framework.op_builder import apply_op
from flowray.client.platform import logging as tf_logging
from flowray.client.tf_export import tf_export


@tf_export("Print")
def Print(
    input_: Any,
    data: Sequence[Any],
    message: str | None = None,
    first_n: int | None = None,
    summarize: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Returns ``input_``, and prints ``data`` to the worker's stderr whenever it is computed.

    Args:
        input_: the tensor to pass on.
        data: the tensors to print.
        message: comes before the values.
        first_n: how many times it prints; always if None or negative.
        summarize: how many elements of each tensor; 3 if None, all if negative.
        name: of the op.
    """
    result: Tensor = apply_op(
        "Print",
        input_,
        list(data),
        message=message,
        first_n=first_n,
        summarize=summarize,
        name=name,
    )
    return result


@tf_export("timestamp")
def timestamp(name: str | None = None) -> Tensor:
    """Returns the seconds since the epoch at the time when it runs, a float64 scalar."""
    result: Tensor = apply_op("Timestamp", name=name)
    return result


# print --------------------------------------------------------------------------------------------

_FILE = "file://"
_GAP = "\N{OBJECT REPLACEMENT CHARACTER}"


@tf_export("print")
def print(
    *inputs: Any,
    output_stream: Any = None,
    summarize: int | None = None,
    sep: str = " ",
    end: str = "\n",
    name: str | None = None,
) -> Operation:
    """Makes an operation that prints values, formatted as Python's ``print`` does.

    It prints where it runs, on the worker; it runs when it is fetched or a control dependency.

    Args:
        inputs: tensors, Python values, and nested lists, tuples and dicts of these.
        output_stream: ``sys.stderr`` (the default), ``sys.stdout``, ``tf.logging.info``,
            ``tf.logging.warning``, ``tf.logging.error``, or ``"file://"`` and a path to append to.
        summarize: how many elements at each end of each dimension; 3 if None, all if -1.
        sep: between the inputs.
        end: after the last one.
        name: of the op.

    Raises:
        ValueError: another output stream.
    """
    stream = _stream_name(output_stream)
    tensors: list[Any] = []
    pieces = sep.join(_piece(item, tensors) for item in inputs).split(_GAP)
    if len(pieces) != len(tensors) + 1:
        raise ValueError(f"tf.print cannot print the character {_GAP!r}")
    placeholder = _unused_in(pieces)
    text = apply_op(
        "StringFormat",
        tensors,
        template=placeholder.join(pieces),
        placeholder=placeholder,
        summarize=summarize,
        name=None if name is None else f"{name}_format",
    )
    operation: Operation = apply_op("PrintV2", text, output_stream=stream, end=end, name=name)
    return operation


def _stream_name(stream: Any) -> str:
    known = {
        None: "stderr",
        sys.stderr: "stderr",
        sys.stdout: "stdout",
        tf_logging.info: "log(info)",
        tf_logging.warn: "log(warning)",
        tf_logging.warning: "log(warning)",
        tf_logging.error: "log(error)",
        tf_logging.INFO: "log(info)",
        tf_logging.WARN: "log(warning)",
        tf_logging.ERROR: "log(error)",
    }
    if isinstance(stream, str) and stream.startswith(_FILE):
        return stream
    if stream in known:
        return known[stream]
    raise ValueError(
        f"Unsupported output stream, logging level, or file.{stream}. Supported streams are "
        "sys.stdout, sys.stderr, tf.logging.info, tf.logging.warning, tf.logging.error. File needs "
        f"to be in the form of '{_FILE}<filepath>'."
    )


class _Gap:
    """Stands for the text of tensors; ``repr`` gives it with a gap for each of them."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _piece(item: Any, tensors: list[Any]) -> str:
    """Returns the text of one input with gaps for its tensors, which are added to ``tensors``."""
    if isinstance(item, str):
        return item
    return pprint.pformat(_with_gaps(item, tensors))


def _with_gaps(item: Any, tensors: list[Any]) -> Any:
    if isinstance(item, Mapping):
        # In the order in which pprint shows them.
        return {key: _with_gaps(item[key], tensors) for key in sorted(item)}
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(*(_with_gaps(part, tensors) for part in item))
    if isinstance(item, list | tuple):
        return type(item)(_with_gaps(part, tensors) for part in item)
    if hasattr(item, "indices") and hasattr(item, "dense_shape"):  # sparse, or IndexedSlices
        fields = {"indices": item.indices, "values": item.values, "shape": item.dense_shape}
        parts = [f"{key}={_with_gaps(part, tensors)!r}" for key, part in fields.items()]
        return _Gap(f"{type(item).__name__}({', '.join(parts)})")
    if isinstance(item, Tensor) or hasattr(item, "_as_graph_element"):
        tensors.append(item)
        return _Gap(_GAP)
    return item


def _unused_in(pieces: Sequence[str]) -> str:
    """Returns a placeholder that does not occur in the text."""
    candidates = itertools.chain(["{}"], (f"{{}}{i}" for i in itertools.count()))
    return next(c for c in candidates if not any(c in piece for piece in pieces))
