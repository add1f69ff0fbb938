"""User functions for placeholders, constants, shapes, and reshaping, joining and splitting."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from flowray.client.framework.constant_value import constant_value
from flowray.client.framework.conversion import constant, convert_to_tensor
from flowray.client.framework.graph import Tensor, name_scope
from flowray.client.framework.op_builder import apply_op, output_of
from flowray.client.framework.sparse_tensor import SparseTensor
from flowray.client.tf_export import tf_export
from flowray.proto.types import dtypes, shapes
from flowray.proto.types.shapes import Dimension, TensorShape, as_shape, dimension_value

_SMALL = 1000
"""Tensors of zeros or ones with fewer elements are constants in the graph, others are filled."""


# Placeholders and identities ----------------------------------------------------------------------


@tf_export("placeholder")
def placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> Tensor:
    """Makes a tensor that every run must feed.

    Args:
        dtype: the dtype of the fed values.
        shape: the shape of the fed values; None for any.
    """
    return output_of("Placeholder", dtype=dtype, shape=as_shape(shape), name=name)


@tf_export("placeholder_with_default")
def placeholder_with_default(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """Makes a tensor with the value ``input`` unless a run feeds another one.

    A fed value must have the dtype of ``input`` and be compatible with ``shape``.
    """
    return output_of("PlaceholderWithDefault", input, shape=as_shape(shape), name=name)


@tf_export("sparse_placeholder", "sparse.placeholder")
def sparse_placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> SparseTensor:
    """Makes a SparseTensor that every run must feed: a SparseTensorValue or a tuple of three.

    Args:
        dtype: of the values that must be fed.
        shape: the dense shape: if it is fully known, or a tensor of int64, a run may, but need not,
            feed it; None for any.
        name: ``name/values``, ``name/indices`` and ``name/shape`` are the names of the three.
    """

    def part(suffix: str) -> str | None:
        return None if name is None else f"{name}/{suffix}"

    wanted = as_shape(None if isinstance(shape, Tensor) else shape)
    rank = wanted.ndims
    if isinstance(shape, Tensor):
        dense_shape = convert_to_tensor(shape, dtypes.int64)
        shape.shape.assert_has_rank(1)
        rank = shape.shape.as_list()[0]
    elif wanted.is_fully_defined():
        dense_shape = convert_to_tensor(wanted.as_list(), dtypes.int64, name=part("shape"))
    else:
        dense_shape = placeholder(dtypes.int64, shape=[rank], name=part("shape"))
    return SparseTensor(
        values=placeholder(dtype, shape=[None], name=part("values")),
        indices=placeholder(dtypes.int64, shape=[None, rank], name=part("indices")),
        dense_shape=dense_shape,
    )


@tf_export("identity")
def identity(input: Any, name: str | None = None) -> Tensor:
    """Copies ``input`` at the time and on the device of this op."""
    return output_of("Identity", input, name=name)


@tf_export("identity_n")
def identity_n(input: Sequence[Any], name: str | None = None) -> Any:
    """Copies a list of tensors; no output is available before all of the inputs are."""
    return apply_op("IdentityN", input, name=name)


@tf_export("stop_gradient")
def stop_gradient(input: Any, name: str | None = None) -> Tensor:
    """Returns ``input``; gradients do not pass through it."""
    return output_of("StopGradient", input, name=name)


def prevent_gradient(input: Any, message: str = "", name: str | None = None) -> Tensor:
    """Returns ``input``; asking for a gradient through it is a LookupError with ``message``."""
    return output_of("PreventGradient", input, message=message, name=name)


@tf_export("check_numerics", "debugging.check_numerics")
def check_numerics(tensor: Any, message: str, name: str | None = None) -> Tensor:
    """Returns ``tensor``; a run fails with InvalidArgumentError if it has an infinity or a NaN."""
    return output_of("CheckNumerics", tensor, message=message, name=name)


@tf_export("guarantee_const")
def guarantee_const(input: Any, name: str | None = None) -> Tensor:
    """Returns ``input``, with the promise that it never changes."""
    return output_of("GuaranteeConst", input, name=name)


@tf_export("ensure_shape")
def ensure_shape(x: Any, shape: Any, name: str | None = None) -> Tensor:
    """Returns ``x``; a run fails with InvalidArgumentError if its shape is not ``shape``."""
    return output_of("EnsureShape", x, shape=as_shape(shape), name=name)


# Filling ------------------------------------------------------------------------------------------


def _filled(number: int, shape: Any, dtype: Any, name: str) -> Tensor:
    dtype = dtypes.as_dtype(dtype).base_dtype
    value: Any = number
    if dtype == dtypes.bool:
        value = bool(number)
    elif dtype == dtypes.string:
        value = ""
    if not isinstance(shape, Tensor):
        try:
            static = as_shape(shape)
            count = static.num_elements()
            if count is not None and count < _SMALL:
                return constant(value, dtype, shape=static, name=name)
            shape = convert_to_tensor(static)
        except (TypeError, ValueError):
            shape = convert_to_tensor(shape, dtypes.int32)
    if shape.shape_tuple == ():
        shape = reshape(shape, [-1])
    return fill(shape, constant(value, dtype), name=name)


@tf_export("zeros")
def zeros(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """Makes a tensor of zeros (False, empty strings).

    Args:
        shape: a list of integers and integer tensors, a TensorShape, or an integer vector.
    """
    with name_scope(name, "zeros", [shape]) as scope:
        return _filled(0, shape, dtype, scope)


@tf_export("ones")
def ones(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """Makes a tensor of ones (True); ``shape`` as in ``zeros``. TypeError for strings."""
    if dtypes.as_dtype(dtype) == dtypes.string:
        raise TypeError("there are no strings of ones")
    with name_scope(name, "ones", [shape]) as scope:
        return _filled(1, shape, dtype, scope)


@tf_export("zeros_like")
def zeros_like(
    tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True
) -> Any:
    """Makes zeros in the shape of ``tensor``.

    Args:
        dtype: their dtype; that of ``tensor`` if None.
        optimize: whether to make a constant where the shape is known.
    """
    with name_scope(name, "zeros_like", [tensor]) as scope:
        tensor = convert_to_tensor(tensor, name="tensor")
        wanted = tensor.dtype.base_dtype if dtype is None else dtypes.as_dtype(dtype).base_dtype
        if optimize and shapes.is_fully_defined(tensor.shape_tuple):
            return zeros(tensor.shape, wanted, scope)
        if wanted != tensor.dtype.base_dtype:
            return zeros(shape_internal(tensor, optimize=optimize), wanted, scope)
        return apply_op("ZerosLike", tensor, name=scope)


@tf_export("ones_like")
def ones_like(
    tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True
) -> Any:
    """Makes ones in the shape of ``tensor``; the arguments are those of ``zeros_like``."""
    with name_scope(name, "ones_like", [tensor]) as scope:
        tensor = convert_to_tensor(tensor, name="tensor")
        shape_of = shape_internal(tensor, optimize=optimize)
        result = ones(shape_of, tensor.dtype if dtype is None else dtype, scope)
        result.set_shape(tensor.shape)
        return result


@tf_export("fill")
def fill(dims: Any, value: Any, name: str | None = None) -> Tensor:
    """Makes a tensor of shape ``dims``, all of whose elements are the scalar ``value``."""
    return output_of("Fill", dims, value, name=name)


@tf_export("one_hot")
def one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: int | None = None,
    dtype: Any = None,
    name: str | None = None,
) -> Tensor:
    """Puts ``on_value`` at the index along a new axis and ``off_value`` elsewhere.

    Args:
        indices: integer tensor; an index outside [0, depth) gives only ``off_value``.
        depth: scalar, the size of the new axis.
        on_value, off_value: scalars of one dtype; 1 and 0 if None.
        axis: where the new axis goes; last if None.
        dtype: the result's dtype; that of the values, else float32.

    Raises:
        TypeError: ``on_value``, ``off_value`` and ``dtype`` do not agree.
    """
    with name_scope(name, "one_hot", [indices, depth, on_value, off_value]) as scope:
        wanted = None if dtype is None else dtypes.as_dtype(dtype).base_dtype
        values = {}
        for key, value in (("on_value", on_value), ("off_value", off_value)):
            if value is None:
                continue
            values[key] = convert_to_tensor(value, preferred_dtype=wanted, name=key)
            actual = values[key].dtype.base_dtype
            if wanted is not None and actual != wanted:
                raise TypeError(
                    f"dtype {actual} of {key} does not match "
                    + (f"dtype parameter {wanted}" if dtype is not None else f"dtype {wanted}")
                )
            wanted = actual
        wanted = wanted or dtypes.float32
        for key, number in (("on_value", 1), ("off_value", 0)):
            if key not in values:
                values[key] = convert_to_tensor(number, wanted, name=key)
        return output_of(
            "OneHot",
            indices,
            depth,
            values["on_value"],
            values["off_value"],
            axis=-1 if axis is None else axis,
            name=scope,
        )


@tf_export("meshgrid")
def meshgrid(*args: Any, indexing: str = "xy", name: str = "meshgrid") -> list[Any]:
    """Makes N tensors of rank N, each of which varies along one axis like one of the N vectors.

    Args:
        indexing: ``"xy"`` swaps the first two axes (rows are y), ``"ij"`` does not.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError("indexing parameter must be either 'xy' or 'ij'")
    with name_scope(name, "meshgrid", args):
        count = len(args)
        outputs = []
        for i, vector in enumerate(args):
            dims = [1] * count
            at = 1 - i if indexing == "xy" and count > 1 and i < 2 else i
            dims[at] = -1
            outputs.append(reshape(stack(vector), dims))
        lengths = [size(vector) for vector in args]
        if indexing == "xy" and count > 1:
            lengths[:2] = lengths[1], lengths[0]
        factor = ones(lengths, convert_to_tensor(args[0]).dtype.base_dtype)
        return [output * factor for output in outputs]


@tf_export("sequence_mask")
def sequence_mask(
    lengths: Any, maxlen: Any = None, dtype: Any = dtypes.bool, name: str | None = None
) -> Any:
    """Makes a vector for each length that is True in its first ``length`` elements.

    Args:
        lengths: integer tensor of any shape.
        maxlen: scalar; the greatest length if None.
    """
    with name_scope(name, "SequenceMask", [lengths, maxlen]):
        lengths = convert_to_tensor(lengths)
        if maxlen is None:
            rank_of = lengths.shape.rank
            axes: Any = (
                apply_op("Range", 0, rank(lengths), 1)
                if rank_of is None
                else constant(np.arange(rank_of, dtype=np.int32))
            )
            longest = apply_op("Max", lengths, axes)
            maxlen = apply_op("Maximum", constant(0, longest.dtype), longest)
        else:
            maxlen = convert_to_tensor(maxlen)
        if maxlen.shape.rank not in (None, 0):
            raise ValueError("maxlen must be scalar for sequence_mask")
        row = apply_op("Range", constant(0, maxlen.dtype), maxlen, constant(1, maxlen.dtype))
        column = apply_op("Cast", expand_dims(lengths, -1), DstT=maxlen.dtype)
        result = apply_op("Less", row, column)
        if dtype is None or dtypes.as_dtype(dtype) == dtypes.bool:
            return result
        return apply_op("Cast", result, DstT=dtypes.as_dtype(dtype))


# Shapes as values ---------------------------------------------------------------------------------


def shape_internal(
    input: Any, name: str | None = None, optimize: bool = True, out_type: Any = dtypes.int32
) -> Any:
    """Returns the shape of ``input`` as a vector; a constant if it is known and ``optimize``."""
    with name_scope(name, "Shape", [input]) as scope:
        input = convert_to_tensor(input)
        if optimize and shapes.is_fully_defined(input.shape_tuple):
            return constant(np.array(input.shape_tuple, np.int64), out_type, name=scope)
        return apply_op("Shape", input, out_type=out_type, name=scope)


@tf_export("shape")
def shape(input: Any, name: str | None = None, out_type: Any = dtypes.int32) -> Any:
    """Returns the shape of ``input`` as an integer vector of ``out_type``."""
    return shape_internal(input, name, True, out_type)


@tf_export("shape_n")
def shape_n(input: Sequence[Any], out_type: Any = dtypes.int32, name: str | None = None) -> Any:
    """Returns the shapes of several tensors of one dtype."""
    return apply_op("ShapeN", input, out_type=out_type, name=name)


@tf_export("size")
def size(input: Any, name: str | None = None, out_type: Any = dtypes.int32) -> Any:
    """Returns the number of elements of ``input``, a scalar of ``out_type``."""
    with name_scope(name, "Size", [input]) as scope:
        input = convert_to_tensor(input)
        count = shapes.num_elements(input.shape_tuple)
        if count is not None:
            return constant(count, out_type, name=scope)
        return apply_op("Size", input, out_type=out_type, name=scope)


@tf_export("rank")
def rank(input: Any, name: str | None = None) -> Any:
    """Returns the number of dimensions of ``input``, an int32 scalar."""
    with name_scope(name, "Rank", [input]) as scope:
        input = convert_to_tensor(input)
        if input.shape_tuple is not None:
            return constant(len(input.shape_tuple), dtypes.int32, name=scope)
        return apply_op("Rank", input, name=scope)


@tf_export("broadcast_static_shape")
def broadcast_static_shape(shape_x: TensorShape, shape_y: TensorShape) -> TensorShape:
    """Returns the shape to which two static shapes broadcast. ValueError if they do not."""
    x, y = as_shape(shape_x), as_shape(shape_y)
    try:
        return TensorShape(shapes.broadcast(x.as_tuple(), y.as_tuple()))
    except ValueError:
        raise ValueError(f"Incompatible shapes for broadcasting: {x} and {y}") from None


@tf_export("broadcast_dynamic_shape")
def broadcast_dynamic_shape(shape_x: Any, shape_y: Any) -> Tensor:
    """Returns the shape to which two shapes, integer vectors, broadcast."""
    x = convert_to_tensor(shape_x, name="shape_x")
    y = convert_to_tensor(shape_y, name="shape_y")
    return output_of("BroadcastArgs", x, y)


@tf_export("invert_permutation", "math.invert_permutation")
def invert_permutation(x: Any, name: str | None = None) -> Tensor:
    """Returns ``y`` with ``y[x[i]] = i`` for a vector ``x``, a permutation."""
    return output_of("InvertPermutation", x, name=name)


# Reshaping ----------------------------------------------------------------------------------------


def _one_of(name: str, value: Any, old_name: str, old_value: Any) -> Any:
    """Returns the value of an argument that also has an older name."""
    if old_value is None:
        return value
    if value is not None:
        raise ValueError(f"Cannot specify both '{name}' and '{old_name}'")
    return old_value


@tf_export("reshape", "manip.reshape")
def reshape(tensor: Any, shape: Any, name: str | None = None) -> Tensor:
    """Reshapes ``tensor``; one -1 in ``shape`` stands for the size that remains."""
    return output_of("Reshape", tensor, shape, name=name)


@tf_export("expand_dims")
def expand_dims(input: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """Inserts a dimension of size 1 before ``axis`` (once called ``dim``)."""
    axis = _one_of("axis", axis, "dim", dim)
    if axis is None:
        raise ValueError("Must specify an axis argument to tf.expand_dims()")
    return output_of("ExpandDims", input, axis, name=name)


@tf_export("squeeze")
def squeeze(
    input: Any, axis: Any = None, name: str | None = None, squeeze_dims: Any = None
) -> Tensor:
    """Removes dimensions of size 1: all of them, or those that ``axis`` lists."""
    axis = _one_of("axis", axis, "squeeze_dims", squeeze_dims)
    axes: list[Any] = [axis] if np.isscalar(axis) else list(axis or ())
    return output_of("Squeeze", input, squeeze_dims=[int(a) for a in axes], name=name)


@tf_export("transpose")
def transpose(a: Any, perm: Any = None, name: str = "transpose", conjugate: bool = False) -> Tensor:
    """Permutes the dimensions of ``a`` by ``perm``; reverses them if None.

    Args:
        conjugate: whether to conjugate complex numbers, too.
    """
    with name_scope(name, "transpose", [a]) as scope:
        a = convert_to_tensor(a, name="a")
        op_type = "ConjugateTranspose" if conjugate and a.dtype.is_complex else "Transpose"
        if perm is None:
            known = a.shape.rank
            if known:
                perm = np.arange(known - 1, -1, -1, dtype=np.int32)
            else:
                count = apply_op("Rank", a)
                perm = (count - 1) - apply_op("Range", 0, count, 1)
        return output_of(op_type, a, perm, name=scope)


@tf_export("matrix_transpose", "linalg.matrix_transpose", "linalg.transpose")
def matrix_transpose(a: Any, name: str = "matrix_transpose", conjugate: bool = False) -> Any:
    """Swaps the last two dimensions of ``a``. ValueError below rank 2."""
    with name_scope(name, "matrix_transpose", [a]):
        a = convert_to_tensor(a, name="a")
        known = a.shape.rank
        if known is None:
            count = apply_op("Rank", a)
            perm = concat([apply_op("Range", 0, count - 2, 1), [count - 1, count - 2]], 0)
        elif known < 2:
            raise ValueError(
                "Argument 'a' should be a (batch) matrix, with rank >= 2.  Found: " + str(a.shape)
            )
        else:
            perm = [*range(known - 2), known - 1, known - 2]
        return transpose(a, perm, conjugate=conjugate)


@tf_export("broadcast_to")
def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """Broadcasts ``input`` to ``shape``, by numpy's rules."""
    return output_of("BroadcastTo", input, shape, name=name)


@tf_export("bitcast")
def bitcast(input: Any, type: Any, name: str | None = None) -> Tensor:
    """Reinterprets the bytes of ``input`` as another dtype.

    A smaller dtype adds a last dimension; a larger one takes the last dimension away.
    """
    return output_of("Bitcast", input, type=type, name=name)


# Joining and splitting ----------------------------------------------------------------------------


def _axis_out_of_range(axis: int, rank: int) -> ValueError:
    return ValueError(f"axis = {axis} not in [{-rank}, {rank})")


@tf_export("stack")
def stack(values: Any, axis: int = 0, name: str = "stack") -> Any:
    """Stacks tensors of one shape along a new axis.

    Raises:
        ValueError: ``axis`` is out of range, or the shapes differ.
    """
    if axis == 0:
        try:
            return convert_to_tensor(values, name=name)
        except (TypeError, ValueError):
            pass  # the op reports the mismatch
    first = convert_to_tensor(values[0], name=name).shape.rank
    if first is not None and not -first - 1 <= axis <= first:
        raise _axis_out_of_range(axis, first + 1)
    return apply_op("Pack", list(values), axis=axis, name=name)


@tf_export("unstack")
def unstack(value: Any, num: int | None = None, axis: int = 0, name: str = "unstack") -> Any:
    """Splits ``value`` into its slices along ``axis``, a list.

    Args:
        num: how many there are; needed where the static shape does not tell.
    """
    if num is None:
        value = convert_to_tensor(value)
        known = value.shape_tuple
        if known is not None:
            if not -len(known) <= axis < len(known):
                raise _axis_out_of_range(axis, len(known))
            num = known[axis]
        if num is None:
            raise ValueError(f"Cannot infer num from shape {value.shape}")
    return apply_op("Unpack", value, num=num, axis=axis, name=name)


@tf_export("concat")
def concat(values: Any, axis: Any, name: str = "concat") -> Any:
    """Concatenates tensors along ``axis``; their other dimensions must be equal."""
    if not isinstance(values, list | tuple):
        values = [values]
    if len(values) == 1:
        with name_scope(name) as scope:
            convert_to_tensor(axis, dtypes.int32, name="concat_dim").shape.assert_has_rank(0)
            return identity(values[0], name=scope)
    return apply_op("ConcatV2", list(values), axis, name=name)


@tf_export("split")
def split(
    value: Any,
    num_or_size_splits: Any,
    axis: Any = 0,
    num: int | None = None,
    name: str = "split",
) -> Any:
    """Splits ``value`` along ``axis`` into a list of tensors.

    Args:
        num_or_size_splits: how many pieces of one size, or a vector of sizes (one may be -1).
        num: the number of sizes, where they are a tensor of unknown length.
    """
    if isinstance(num_or_size_splits, numbers.Integral | Dimension):
        count = int(num_or_size_splits)
        return apply_op("Split", axis, value, num_split=count, name=name)
    sizes = convert_to_tensor(num_or_size_splits)
    if sizes.shape.rank == 0:
        raise ValueError(
            "Rank-0 tensors are not supported as the num_or_size_splits argument to split. "
            f"Argument provided: {num_or_size_splits}"
        )
    if num is None:
        num = None if not sizes.shape_tuple else sizes.shape_tuple[0]
        if num is None:
            raise ValueError(f"Cannot infer num from shape {num_or_size_splits}")
    return apply_op("SplitV", value, sizes, axis, num_split=num, name=name)


def static_axis(axis: Any) -> int | None:
    """Returns the value of an axis that is an int, a Dimension or a constant tensor; else None."""
    if isinstance(axis, Tensor):
        value = constant_value(axis)
        return None if value is None else int(value)
    return int(dimension_value(axis))


__all__ = [
    "bitcast", "broadcast_dynamic_shape", "broadcast_static_shape", "broadcast_to",
    "check_numerics", "concat", "constant", "ensure_shape", "expand_dims", "fill",
    "guarantee_const", "identity", "identity_n", "invert_permutation", "matrix_transpose",
    "meshgrid", "one_hot", "ones", "ones_like", "placeholder", "placeholder_with_default",
    "prevent_gradient", "rank", "reshape", "sequence_mask", "shape", "shape_internal", "shape_n",
    "size", "split", "squeeze", "stack", "static_axis", "stop_gradient", "transpose", "unstack",
    "zeros", "zeros_like",
]  # fmt: skip
