"""Summaries as operations: ``tf.summary.scalar`` and the others.

Each gives a scalar string, a serialized ``Summary`` message for ``FileWriter.add_summary``, and
joins the collection ``GraphKeys.SUMMARIES``, which ``merge_all`` merges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flowray.client.framework.conversion import convert_to_tensor
from flowray.client.framework.graph import (
    GraphKeys,
    Tensor,
    add_to_collections,
    get_collection,
    name_scope,
)
from flowray.client.framework.op_builder import apply_op
from flowray.client.platform import logging
from flowray.client.tf_export import tf_export
from flowray.proto.messages import event_pb2
from flowray.proto.types import dtypes

_NOT_IN_TAGS = re.compile(r"[^-/\w\.]")


@tf_export("summary.scalar")
def scalar(
    name: str, tensor: Any, collections: Sequence[str] | None = None, family: str | None = None
) -> Tensor:
    """Makes a summary of a scalar.

    Args:
        name: of the op, and with its name scope the tag.
        tensor: a real number.
        collections: the collections to join; ``[GraphKeys.SUMMARIES]`` if None.
        family: comes before the tag, which groups tags in TensorBoard.
    """
    with _scope(name, family, None, tensor) as (tag, scope):
        return _collected(apply_op("ScalarSummary", tag, tensor, name=scope), collections)


@tf_export("summary.histogram")
def histogram(
    name: str, values: Any, collections: Sequence[str] | None = None, family: str | None = None
) -> Tensor:
    """Makes a summary of the distribution of a real tensor. NaN and infinity make the run fail."""
    with _scope(name, family, "HistogramSummary", values) as (tag, scope):
        return _collected(apply_op("HistogramSummary", tag, values, name=scope), collections)


@tf_export("summary.image")
def image(
    name: str,
    tensor: Any,
    max_outputs: int = 3,
    collections: Sequence[str] | None = None,
    family: str | None = None,
) -> Tensor:
    """Makes a summary of images, as PNG.

    Args:
        name: of the op, and with its name scope the tag: ``tag/image`` for ``max_outputs`` 1, else
            ``tag/image/0`` and so on.
        tensor: uint8, or floats, which are scaled: [batch, height, width, 1, 3 or 4 channels].
        max_outputs: how many of the batch.
        collections, family: as for ``scalar``.
    """
    with _scope(name, family, None, tensor) as (tag, scope):
        summary = apply_op("ImageSummary", tag, tensor, max_images=max_outputs, name=scope)
        return _collected(summary, collections)


@tf_export("summary.audio")
def audio(
    name: str,
    tensor: Any,
    sample_rate: Any,
    max_outputs: int = 3,
    collections: Sequence[str] | None = None,
    family: str | None = None,
) -> Tensor:
    """Makes a summary of sound, as WAV.

    Args:
        name: of the op, and with its name scope the tag: ``tag/audio`` for ``max_outputs`` 1, else
            ``tag/audio/0`` and so on.
        tensor: float32, -1 to 1: [batch, frames, channels] or [batch, frames].
        sample_rate: frames per second, a float32 scalar.
        max_outputs: how many of the batch.
        collections, family: as for ``scalar``.
    """
    with _scope(name, family, None, tensor) as (tag, scope):
        rate = convert_to_tensor(sample_rate, dtypes.float32, name="sample_rate")
        summary = apply_op("AudioSummaryV2", tag, tensor, rate, max_outputs=max_outputs, name=scope)
        return _collected(summary, collections)


@tf_export("summary.text")
def text(name: str, tensor: Any, collections: Sequence[str] | None = None) -> Tensor:
    """Makes a summary of text, which TensorBoard shows as Markdown; of several strings a table.

    Raises:
        ValueError: ``tensor`` is not of strings.
    """
    tensor = convert_to_tensor(tensor)
    if tensor.dtype.base_dtype != dtypes.string:
        raise ValueError(f"Expected tensor {tensor.name} to have dtype string, got {tensor.dtype}")
    metadata = event_pb2.SummaryMetadata()
    metadata.plugin_data.plugin_name = "text"
    return tensor_summary(name, tensor, summary_metadata=metadata, collections=collections)


@tf_export("summary.tensor_summary")
def tensor_summary(
    name: str,
    tensor: Any,
    summary_description: str | None = None,
    collections: Sequence[str] | None = None,
    summary_metadata: event_pb2.SummaryMetadata | None = None,
    family: str | None = None,
    display_name: str | None = None,
) -> Tensor:
    """Makes a summary of a tensor.

    Args:
        name: of the op, and with its name scope the tag.
        tensor: of any dtype.
        summary_description: a text for TensorBoard, in Markdown.
        summary_metadata: says which plugin of TensorBoard shows the tensor.
        collections, family: as for ``scalar``.
        display_name: the name that TensorBoard shows instead of the tag.
    """
    metadata = event_pb2.SummaryMetadata()
    if summary_metadata is not None:
        metadata.CopyFrom(summary_metadata)
    if summary_description is not None:
        metadata.summary_description = summary_description
    if display_name is not None:
        metadata.display_name = display_name
    with _scope(name, family, None, tensor) as (tag, scope):
        summary = apply_op("TensorSummaryV2", tag, tensor, metadata.SerializeToString(), name=scope)
        return _collected(summary, collections)


@tf_export("summary.merge")
def merge(
    inputs: Sequence[Any], collections: Sequence[str] | None = None, name: str | None = None
) -> Tensor:
    """Merges summaries into one; a run fails if two of them have the same tag.

    Args:
        inputs: summaries.
        collections: the collections to join; none if None.
        name: of the op.
    """
    with name_scope(name, "Merge", inputs):
        # The op takes the name once more inside its scope, as in TensorFlow: "Merge/MergeSummary".
        return _collected(apply_op("MergeSummary", inputs, name=name), collections or [])


@tf_export("summary.merge_all")
def merge_all(
    key: str = GraphKeys.SUMMARIES, scope: str | None = None, name: str | None = None
) -> Tensor | None:
    """Merges all summaries of the collection ``key``; None if it has none.

    Args:
        scope: only those whose names match this (a regular expression).
    """
    summaries = get_collection(key, scope)
    return merge(summaries, name=name) if summaries else None


@contextmanager
def _scope(
    name: str | None, family: str | None, default_name: str | None, values: Any
) -> Iterator[tuple[str, str]]:
    """Opens the scope of a summary op and gives its tag and its name.

    With a family the tag begins with it twice, as TensorFlow's does: TensorBoard groups by what is
    before the first slash, and the second one comes with the name scope.
    """
    name, family = _clean(name), _clean(family)
    base = name if family is None else f"{family}/{name}"
    with name_scope(base, default_name, [values]) as scope:
        tag = scope.rstrip("/")
        yield tag if family is None else f"{family}/{tag}", scope


def _clean(name: str | None) -> str | None:
    """Replaces the characters of ``name`` that a tag may not have by underscores."""
    if name is None:
        return None
    clean = _NOT_IN_TAGS.sub("_", name).lstrip("/")
    if clean != name:
        logging.info("Summary name %s is illegal; using %s instead.", name, clean)
    return clean


def _collected(summary: Tensor, collections: Sequence[str] | None) -> Tensor:
    add_to_collections([GraphKeys.SUMMARIES] if collections is None else collections, summary)
    return summary
