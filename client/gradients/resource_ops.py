"""Resource variables: gradients.

The gradient by a variable goes to its handle: a read passes it on, a gather gives the rows it took.
"""

from __future__ import annotations

from typing import Any

from flowray.client.framework.indexed_slices import IndexedSlices
from flowray.client.framework.op_builder import apply_op
from flowray.client.gradients.array_ops import dense
from flowray.client.gradients.registry import gradient
from flowray.client.ops import array_ops
from flowray.client.variables.resource_variable import variable_shape
from flowray.proto import errors


@gradient("ReadVariableOp")
def read(op: Any, grad: Any) -> Any:
    """Passes the gradient to the handle."""
    return grad


@gradient("ResourceGather")
def resource_gather(op: Any, grad: Any) -> Any:
    """Returns one row for each index; the variable itself is not read."""
    if op.get_attr("batch_dims"):
        raise errors.unimplemented("the gradient of ResourceGather with batch_dims", node=op.name)
    handle, indices = op.inputs
    shape: Any = variable_shape(handle)
    count = array_ops.expand_dims(array_ops.size(indices), 0)
    values = array_ops.reshape(dense(grad), array_ops.concat([count, shape[1:]], 0))
    return IndexedSlices(values, array_ops.reshape(indices, count), shape), None


@gradient("ResourceGatherNd")
def resource_gather_nd(op: Any, grad: Any) -> Any:
    """Returns one row for each index vector of length 1, else scatters into zeros."""
    handle, indices = op.inputs
    dtype = indices.dtype.base_dtype
    shape = variable_shape(handle, dtype)
    if indices.shape.rank == 2 and indices.shape_tuple[1] == 1:
        return IndexedSlices(grad, array_ops.squeeze(indices, axis=-1), shape), None
    return apply_op("ScatterNd", indices, dense(grad), shape), None
