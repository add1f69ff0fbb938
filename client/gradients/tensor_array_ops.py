"""Gradients of tensor arrays: they are in arrays, too, one for each call of ``tf.gradients``.

What is read from an array adds its gradient to an element of the array of gradients; what was
written gets it from there. As forward, flow orders that.
"""

from __future__ import annotations

from typing import Any

from flowray.client.framework.graph import Operation, Tensor, control_dependencies
from flowray.client.gradients.registry import gradient
from flowray.client.ops.array_ops import identity
from flowray.client.ops.tensor_array_ops import TensorArray


def _source(grad: Tensor) -> str:
    """Returns the call of ``tf.gradients`` that makes ``grad``: the name scope of its ops.

    Raises:
        ValueError: it is in no such scope.
    """
    parts = grad.name.split("/")
    found = [i for i, part in enumerate(parts) if part.startswith("gradients")]
    if not found:
        raise ValueError(
            "Expected op/tensor name to start with gradients (excluding scope), got: "
            f"{grad.name}. This means that a tf.gradients op with this op in its dependency path "
            "has a custom name that does not start with 'gradients'. Please make sure all calls to "
            "tf.gradients that include TensorArrays either have no name, or a name that begins "
            "with 'gradients'."
        )
    return "/".join(parts[: found[-1] + 1])


def _array(op: Operation, dtype: Any, flow: Tensor, grad: Tensor) -> TensorArray:
    """Returns the array of gradients of the one that ``op`` uses."""
    array = TensorArray(dtype, handle=op.inputs[0], flow=flow, colocate_with_first_write_call=False)
    return array.grad(_source(grad), flow)


def _after(op: Operation, flow: Tensor) -> Tensor:
    """Returns ``flow`` after the write of ``op``, whose shape counts."""
    done = identity(op.outputs[0], name="flow_out")
    with control_dependencies([done]):
        return identity(flow, name="write_barrier")


@gradient("TensorArrayReadV3")
def read(op: Operation, grad: Any) -> Any:
    """Writes the gradient to the array of gradients."""
    array = _array(op, op.get_attr("dtype"), op.inputs[2], grad)
    return None, None, array.write(op.inputs[1], grad).flow


@gradient("TensorArrayWriteV3")
def write(op: Operation, flow: Any) -> Any:
    """Reads the gradient from the array of gradients."""
    array = _array(op, op.get_attr("T"), _after(op, flow), flow)
    return None, None, array.read(op.inputs[1]), flow


@gradient("TensorArrayGatherV3")
def gather(op: Operation, grad: Any) -> Any:
    """Scatters the gradient into the array of gradients."""
    array = _array(op, op.get_attr("dtype"), op.inputs[2], grad)
    return None, None, array.scatter(op.inputs[1], grad).flow


@gradient("TensorArrayScatterV3")
def scatter(op: Operation, flow: Any) -> Any:
    """Gathers the gradient from the array of gradients."""
    array = _array(op, op.get_attr("T"), _after(op, flow), flow)
    return None, None, array.gather(op.inputs[1]), flow


@gradient("TensorArrayConcatV3")
def concat(op: Operation, grad: Any, _: Any) -> Any:
    """Splits the gradient into the array of gradients."""
    array = _array(op, op.get_attr("dtype"), op.inputs[1], grad)
    return None, array.split(grad, lengths=op.outputs[1]).flow


@gradient("TensorArraySplitV3")
def split(op: Operation, flow: Any) -> Any:
    """Concatenates the array of gradients."""
    array = _array(op, op.get_attr("T"), _after(op, flow), flow)
    return None, array.concat(), None, flow
