"""Static shapes of the rows of tests/ops: the client's are TensorFlow's, or say more that is true.

(tests/ops checks that they are true.) Each row is built three times, with ever less known.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from flowray.client.framework import shape_inference
from flowray.client.framework.graph import Graph, Operation
from tests.ops import harness
from tests.ops.harness import Case, Known

pytest.importorskip("tensorflow")

from tests.conformance import tensorflow_side
from tests.conformance.tensorflow_side import message_of, tf

# Outputs of which TensorFlow says more than is true.
WRONG = {
    "Equal-17": "shapes that differ give a scalar",
    "NotEqual-10": "shapes that differ give a scalar",
    "FusedBatchNormGrad": "oneDNN's kernel gives scalars for [0]",
    "FusedBatchNormGradV2": "oneDNN's kernel gives scalars for [0]",
    "FusedBatchNormGradV3": "oneDNN's kernel gives scalars for [0]",
    "MaxPool3D-9": "a window over channels, which no kernel takes, changes nothing",
    "MaxPool-depth-stride": "the stride over channels counts, which no kernel takes",
    "GatherV2-16": "a negative batch_dims counts as none",
}
# Refusals in words of flowray's own.
OWN_WORDS = {
    "ReverseV2-5": "TensorFlow forgets a bracket",
    "TopKV2-16": "TensorFlow has other words for a constant k",
}
# Ops that TensorFlow refuses unless it knows the shape of block_shape.
DEMANDING = {"BatchToSpaceND", "SpaceToBatchND"}


@pytest.mark.parametrize("row", tensorflow_side.all_rows(), ids=str)
def test_shapes(row: Case) -> None:
    for known in harness.KNOWN:
        check_shapes(row, known)


def check_shapes(row: Case, known: Known) -> None:
    op, refusal = build(row, known)
    assert refusal is None or row.raises is not None, f"knowing {known}: {refusal}"
    find, their_refusal = theirs(op.graph)
    if their_refusal is not None:
        if row.raises is not None and row.op not in DEMANDING:
            assert refusal is not None, f"knowing {known}: TensorFlow says {their_refusal}"
            if row.id not in OWN_WORDS:
                assert message_of(refusal) == message_of(their_refusal)
        return
    if refusal is not None or {row.id, row.op} & WRONG.keys():
        # A bad row may be refused by flowray's shape function, by TensorFlow's kernel.
        return
    for i, output in enumerate(op.outputs):
        shape, wanted = output.shape, find(output).shape
        assert says_as_much(shape, wanted), f"knowing {known}, output {i}: {shape}, not {wanted}"


def build(row: Case, known: Known) -> tuple[Operation, ValueError | None]:
    """The row's op, and why its shape function refuses it, if it does."""
    with Graph().as_default():
        try:
            return harness.build(row, known), None
        except ValueError as error:
            refusal = error
    with Graph().as_default(), mock.patch.object(shape_inference, "infer"):
        return harness.build(row, known), refusal


def theirs(graph: Graph) -> tuple[tensorflow_side.Find, ValueError | None]:
    """Returns a function that finds counterparts in TensorFlow's graph, or TensorFlow's refusal."""
    try:
        return tensorflow_side.import_into(tf.Graph(), graph, "row"), None
    except ValueError as error:
        return lambda item: None, error


def says_as_much(ours: Any, theirs: Any) -> bool:
    """Tells whether our shape contains all that theirs does."""
    if theirs.rank is None:
        return True
    if ours.rank != theirs.rank:
        return False
    pairs = zip(ours.as_list(), theirs.as_list(), strict=True)
    return all(b is None or a == b for a, b in pairs)
