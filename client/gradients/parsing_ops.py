"""Records to tensors: gradients, of which there are none."""

from __future__ import annotations

from flowray.client.gradients.registry import not_differentiable

not_differentiable(
    "DecodeCSV",
    "DecodeRaw",
    "ParseExample",
    "ParseExampleV2",
    "ParseSingleExample",
    "ParseSingleSequenceExample",
    "ParseTensor",
    "SerializeTensor",
)
