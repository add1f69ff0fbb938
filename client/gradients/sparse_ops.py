"""Sparse tensors in one tensor, which have no gradients, and as dense ones: gradients."""

from __future__ import annotations

from typing import Any

from flowray.client.framework.op_builder import apply_op
from flowray.client.gradients.registry import gradient
from flowray.client.ops.reduction_ops import reduce_sum


@gradient("SparseToDense")
def sparse_to_dense(op: Any, grad: Any) -> Any:
    """Gathers the gradient at the indices; the default value gets the sum of the rest."""
    indices, shape, _, _ = op.inputs
    of_values = apply_op("GatherNd", grad, indices)
    of_default = apply_op("Sub", reduce_sum(grad), reduce_sum(of_values))
    # Zeros, and not None, as TensorFlow has it.
    zeros = (apply_op("ZerosLike", indices), apply_op("ZerosLike", shape))
    return *zeros, of_values, of_default
