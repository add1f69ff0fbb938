"""Summaries for TensorBoard, as serialized ``Summary`` messages: definitions."""

from __future__ import annotations

import numpy as np

from flowray.proto.ops.common_shapes import scalar
from flowray.proto.ops.op_registry import attr, op
from flowray.proto.types.dtypes import REAL, float16, float32, float64, uint8

_OPAQUE_RED = np.array([255, 0, 0, 255], np.uint8)

op(
    "ScalarSummary",
    "tags: string, values: T -> summary: string",
    T=REAL,
    host_only=True,
    shape=scalar,
)
op(
    "HistogramSummary",
    "tag: string, values: T -> summary: string",
    T=attr("type", float32, allowed=REAL),
    host_only=True,
    shape=scalar,
)
op(
    "ImageSummary",
    "tag: string, tensor: T -> summary: string",
    max_images=attr("int", 3, minimum=1),
    T=attr("type", float32, allowed=[uint8, float32, float16, float64]),
    bad_color=attr("tensor", _OPAQUE_RED),
    host_only=True,
    shape=scalar,
)
op(
    "AudioSummaryV2",
    "tag: string, tensor: float32, sample_rate: float32 -> summary: string",
    max_outputs=attr("int", 3, minimum=1),
    host_only=True,
    shape=scalar,
)
op(
    "TensorSummaryV2",
    "tag: string, tensor: T, serialized_summary_metadata: string -> summary: string",
    host_only=True,
    shape=scalar,
)
op("MergeSummary", "inputs: N*string -> summary: string", host_only=True, shape=scalar)
