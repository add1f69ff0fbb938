"""Kernels of constants, identities, shapes, and of reshaping, joining, splitting and padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from flowray.proto import errors
from flowray.proto.types.dtypes import DType, as_dtype
from flowray.proto.types.shapes import Shape, format_shape, is_compatible
from flowray.worker.execution import xla
from flowray.worker.execution.checks import check
from flowray.worker.kernel_registry import add_kernel, kernel
from flowray.worker.state.store import KernelContext

Array = np.ndarray[Any, Any]


def zero(dtype: np.dtype[Any]) -> Any:
    """Returns the scalar zero of a numpy dtype; the empty string for strings."""
    return b"" if dtype.kind == "O" else np.zeros((), dtype)


def as_array(value: Any, dtype: Any) -> Any:
    """Returns ``value``, or a 0-d array if numpy made a scalar of one (strings become bytes)."""
    if hasattr(value, "shape"):
        return value
    result = np.empty((), dtype)
    result[()] = value
    return result


def normalized_axis(axis: int, rank: int, message: str) -> int:
    """Returns ``axis`` counted from the front.

    Args:
        message: may have the fields {axis}, {rank} and {lowest}, the lowest valid axis.

    Raises:
        InvalidArgumentError: ``axis`` is not in ``[-rank, rank)``; the text is ``message``.
    """
    if not -rank <= axis < rank:
        raise errors.invalid_argument(message.format(axis=axis, rank=rank, lowest=-rank))
    return axis % rank


def along(rank: int, axis: int, selection: slice) -> tuple[slice, ...]:
    """Returns the index that applies ``selection`` to one axis and keeps the others whole."""
    whole = slice(None)
    return (whole,) * axis + (selection,) + (whole,) * (rank - axis - 1)


# Constants and placeholders -----------------------------------------------------------------------


@kernel("Const")
def const(xp: Any, *, value: Any, dtype: DType) -> Any:
    """Returns the constant."""
    return value


@kernel("Placeholder", "PlaceholderV2")
def placeholder(xp: Any, *, dtype: DType, shape: Shape, context: KernelContext) -> Any:
    """Raises TensorFlow's error: a placeholder that is not fed has no value."""
    known = "" if shape is None else f" and shape {format_shape(shape)}"
    name = {"float16": "half", "float32": "float", "float64": "double"}.get(dtype.name, dtype.name)
    raise errors.invalid_argument(
        f"You must feed a value for placeholder tensor '{context.node}' with dtype {name}{known}"
    )


@kernel("PlaceholderWithDefault")
def placeholder_with_default(xp: Any, x: Any, *, shape: Shape) -> Any:
    """Returns the default, whose shape must be compatible with ``shape``."""
    if not is_compatible(shape, x.shape):
        raise errors.invalid_argument(
            f"The default value has shape {format_shape(x.shape)}, which is not compatible with "
            f"{format_shape(shape)}"
        )
    return x


# Identities ---------------------------------------------------------------------------------------


def identity(xp: Any, x: Any) -> Any:
    """Returns the input itself, without a copy."""
    return x


for _name in (
    "Identity", "IdentityN", "StopGradient", "Snapshot", "GuaranteeConst", "PreventGradient",
):  # fmt: skip
    add_kernel(_name, identity)


@kernel("CheckNumerics")
def check_numerics(xp: Any, x: Any, *, message: bytes) -> Any:
    """Returns ``x``; InvalidArgumentError with ``message`` if an element is infinite or NaN."""

    def bad(has_inf: Any, has_nan: Any) -> errors.OpError:
        found = " and ".join(name for name, has in (("Inf", has_inf), ("NaN", has_nan)) if has)
        return errors.invalid_argument(f"{message.decode()} : Tensor had {found} values")

    check(xp.isfinite(x).all(), bad, xp.isinf(x).any(), xp.isnan(x).any())
    return x


@kernel("EnsureShape")
def ensure_shape(xp: Any, x: Any, *, shape: Shape) -> Any:
    """Returns ``x``; InvalidArgumentError if its shape is not compatible with ``shape``."""
    if not is_compatible(shape, x.shape):
        raise errors.invalid_argument(
            f"Shape of tensor {format_shape(x.shape)} is not compatible with expected shape "
            f"{format_shape(shape)}."
        )
    return x


# Shapes as values ---------------------------------------------------------------------------------


@kernel("Shape")
def shape(xp: Any, x: Any, *, out_type: DType) -> Any:
    """Returns the shape as a vector of ``out_type``. It is a numpy array also in a trace."""
    return np.array(x.shape, out_type.as_numpy_dtype)


@kernel("ShapeN")
def shape_n(xp: Any, xs: list[Any], *, out_type: DType) -> Any:
    """Returns the shape of each input as a vector of ``out_type``."""
    return [np.array(x.shape, out_type.as_numpy_dtype) for x in xs]


@kernel("Size")
def size(xp: Any, x: Any, *, out_type: DType) -> Any:
    """Returns the number of elements; InvalidArgumentError if ``out_type`` cannot hold it."""
    count = math.prod(x.shape)
    if count > out_type.max:
        raise errors.invalid_argument(
            f"Number of elements was larger than representable by {out_type.as_datatype_enum} bit "
            "output type"
        )
    return np.array(count, out_type.as_numpy_dtype)


@kernel("Rank")
def rank(xp: Any, x: Any) -> Any:
    """Returns the number of dimensions as an int32 scalar."""
    return np.array(len(x.shape), np.int32)


@kernel("BroadcastArgs")
def broadcast_args(xp: Any, s0: Any, s1: Any) -> Any:
    """Returns the shape to which shapes ``s0`` and ``s1``, vectors, broadcast.

    Raises:
        InvalidArgumentError: they do not broadcast.
    """
    length = max(len(s0), len(s1))
    a, b = (xp.concatenate([np.ones(length - len(s), s.dtype), s]) for s in (s0, s1))
    check(
        ((a == b) | (a == 1) | (b == 1)).all(),
        lambda x, y: errors.invalid_argument(
            f"Incompatible shapes: {format_shape(tuple(x))} vs. {format_shape(tuple(y))}"
        ),
        s0,
        s1,
    )
    return xp.where(a == 1, b, a)


@kernel("ConcatOffset")
def concat_offset(xp: Any, concat_dim: Array, shapes: list[Any]) -> Any:
    """Returns, for each of ``shapes``, the offset at which a concatenation puts that input.

    Raises:
        InvalidArgumentError: the axis is out of range, or sizes differ along other axes.
    """
    first = shapes[0]
    length = len(first)
    axis = normalized_axis(
        int(concat_dim),
        length,
        "Concat dim is out of range: {axis} vs. {rank}",
    )
    at_axis = np.arange(length) == axis
    offsets = []
    offset = xp.zeros_like(first)
    for i, part in enumerate(shapes):
        check(
            ((part == first) | at_axis).all(),
            lambda a, b, i=i: errors.invalid_argument(
                f"All dimensions except {axis} must match. Input {i} has shape "
                f"[{' '.join(map(str, a))}] and doesn't match input 0 with shape "
                f"[{' '.join(map(str, b))}]."
            ),
            part,
            first,
        )
        offsets.append(offset)
        offset = xp.where(at_axis, offset + part, offset)
    return offsets


@kernel("InvertPermutation")
def invert_permutation(xp: Any, x: Any) -> Any:
    """Returns ``y`` with ``y[x[i]] == i``.

    Raises:
        InvalidArgumentError: ``x`` is not a vector, or has a value out of range or twice.
    """
    if x.ndim != 1:
        raise errors.invalid_argument("invert_permutation expects a 1D vector.")
    count = len(x)

    def out_of_range(values: Array) -> errors.OpError:
        bad = values[(values < 0) | (values >= count)][0]
        return errors.invalid_argument(f"{bad} is not between 0 and {count}")

    def duplicated(values: Array) -> errors.OpError:
        unique, counts = np.unique(values, return_counts=True)
        return errors.invalid_argument(f"{unique[counts > 1][0]} is duplicated in the input.")

    check(((x >= 0) & (x < count)).all(), out_of_range, x)
    ordered = xp.argsort(x).astype(x.dtype)
    check((x[ordered] == np.arange(count)).all(), duplicated, x)
    return ordered


# Filling ------------------------------------------------------------------------------------------


@kernel("ZerosLike")
def zeros_like(xp: Any, x: Any) -> Any:
    """Returns zeros of the shape and dtype of ``x``; empty strings for strings."""
    return np.full(x.shape, b"", object) if x.dtype == object else xp.zeros(x.shape, x.dtype)


@kernel("OnesLike")
def ones_like(xp: Any, x: Any) -> Any:
    """Returns ones of the shape and dtype of ``x``."""
    return xp.ones(x.shape, x.dtype)


@kernel("Fill")
def fill(xp: Any, dims: Array, value: Any) -> Any:
    """Returns an array of shape ``dims`` filled with the scalar ``value``.

    Raises:
        InvalidArgumentError: ``dims`` is not a vector or has a negative size, or ``value`` is not a
            scalar.
    """
    if dims.ndim != 1:
        raise errors.invalid_argument(
            f"dims must be a vector, got shape {format_shape(dims.shape)}"
        )
    if value.shape:
        raise errors.invalid_argument(
            f"value must represent a scalar, got shape {format_shape(value.shape)}"
        )
    sizes = tuple(dims.tolist())
    if any(d < 0 for d in sizes):
        bad = next(i for i, d in enumerate(sizes) if d < 0)
        raise errors.invalid_argument(f"Dimension {sizes[bad]} must be >= 0")
    return xp.full(sizes, value, dtype=value.dtype)


@kernel("OneHot")
def one_hot(xp: Any, indices: Any, depth: Array, on: Any, off: Any, *, axis: int) -> Any:
    """Puts ``on`` at the place of each index along a new axis of size ``depth``, ``off`` elsewhere.

    An index outside ``[0, depth)`` gives only ``off``.
    """
    if depth.shape:
        raise errors.invalid_argument(
            f"depth must be a scalar, but got: {format_shape(depth.shape)}"
        )
    if depth < 0:
        raise errors.invalid_argument(f"depth must be non-negative, got: {int(depth)}")
    if not -1 <= axis <= indices.ndim:
        raise errors.invalid_argument(
            f"Expected axis to be -1 or between [0, {indices.ndim + 1}).  But received: {axis}"
        )
    at = indices.ndim if axis == -1 else axis
    classes = np.arange(int(depth)).reshape((-1,) + (1,) * (indices.ndim - at))
    return xp.where(xp.expand_dims(indices, at) == classes, on, off)


# Reshaping ----------------------------------------------------------------------------------------


@kernel("Reshape")
def reshape(xp: Any, x: Any, shape: Array) -> Any:
    """Reshapes ``x``; one size of ``shape`` may be -1 and is then inferred.

    Differs from numpy for empty arrays: there the sizes that are not 0 give the one for the -1.

    Raises:
        InvalidArgumentError: several sizes are -1, one is below -1, or the number of elements does
            not fit.
    """
    if shape.ndim != 1:
        raise errors.invalid_argument(f"sizes input must be 1-D, not {format_shape(shape.shape)}")
    target = shape.tolist()
    count = math.prod(x.shape)
    if -1 in target:
        missing = target.index(-1)
        if target.count(-1) > 1:
            second = target.index(-1, missing + 1)
            raise errors.invalid_argument(
                f"Only one input size may be -1, not both {missing} and {second}"
            )
        known = math.prod(d for d in target if d != -1)
        if known == 0 and count:
            raise errors.invalid_argument(
                "reshape cannot infer the missing input size for an empty tensor unless all "
                "specified input sizes are non-zero"
            )
        if known and count % known:
            raise errors.invalid_argument(
                f"Input to reshape is a tensor with {count} values, but the requested shape "
                f"requires a multiple of {known}"
            )
        # Beside a size of 0, the sizes that are not 0 decide.
        target[missing] = (
            count // known
            if known
            else math.prod(d for d in x.shape if d) // math.prod(d for d in target if d > 0)
        )
    for i, dim in enumerate(target):
        if dim < 0:
            raise errors.invalid_argument(f"Size {i} must be non-negative, not {dim}")
    if math.prod(target) != count:
        raise errors.invalid_argument(
            f"Input to reshape is a tensor with {count} values, but the requested shape has "
            f"{math.prod(target)}"
        )
    return x.reshape(tuple(target))


@kernel("ExpandDims")
def expand_dims(xp: Any, x: Any, dim: Array) -> Any:
    """Inserts a dimension of size 1 at ``dim``, a tensor with one element; -1 inserts it last."""
    if dim.size != 1:
        raise errors.invalid_argument("'dim' input must be a tensor with a single value")
    axis = int(dim.item())
    if not -x.ndim - 1 <= axis <= x.ndim:
        raise errors.invalid_argument(
            f"Tried to expand dim index {axis} for tensor with {x.ndim} dimensions."
        )
    axis %= x.ndim + 1
    return x.reshape((*x.shape[:axis], 1, *x.shape[axis:]))


@kernel("Squeeze")
def squeeze(xp: Any, x: Any, *, squeeze_dims: Sequence[int]) -> Any:
    """Removes the dimensions ``squeeze_dims``, or all of size 1 if there are none.

    Raises:
        InvalidArgumentError: an axis is out of range, or its size is not 1.
    """
    shape, ndim = x.shape, x.ndim
    if not squeeze_dims:
        return x.reshape([dim for dim in shape if dim != 1])
    axes = set()
    for dim in squeeze_dims:
        axis = normalized_axis(
            dim, ndim, "Tried to squeeze dim index {axis} for tensor with {rank} dimensions."
        )
        if shape[axis] != 1:
            raise errors.invalid_argument(
                f"Can not squeeze dim[{axis}], expected a dimension of 1, got {shape[axis]}"
            )
        axes.add(axis)
    return x.reshape([dim for i, dim in enumerate(shape) if i not in axes])


@kernel("Transpose")
def transpose(xp: Any, x: Any, perm: Array) -> Any:
    """Permutes the dimensions by ``perm``, a vector.

    Raises:
        InvalidArgumentError: ``perm`` is not a permutation of ``range(rank)``.
    """
    if perm.ndim != 1 or len(perm) != x.ndim:
        raise errors.invalid_argument(
            f"transpose expects a vector of size {x.ndim}. But input(1) is a vector of size "
            f"{perm.size}"
        )
    axes = [
        normalized_axis(p, x.ndim, "{axis} is out of range [0 .. {rank})") for p in perm.tolist()
    ]
    if len(set(axes)) != x.ndim:
        missing = next(i for i in range(x.ndim) if i not in axes)
        raise errors.invalid_argument(f"{missing} is missing from {{{','.join(map(str, axes))}}}.")
    return xp.transpose(x, axes)


@kernel("ConjugateTranspose")
def conjugate_transpose(xp: Any, x: Any, perm: Array) -> Any:
    """Permutes the dimensions by ``perm`` and conjugates complex numbers."""
    result = transpose(xp, x, perm)
    return xp.conj(result) if result.dtype.kind == "c" else result


@kernel("BroadcastTo")
def broadcast_to(xp: Any, x: Any, shape: Array) -> Any:
    """Broadcasts ``x`` to ``shape``; InvalidArgumentError if it does not broadcast."""
    target = tuple(shape.tolist())
    fits = len(target) >= x.ndim and all(
        a in (1, b) for a, b in zip(reversed(x.shape), reversed(target), strict=False)
    )
    if not fits:
        raise errors.invalid_argument(
            f"Incompatible shapes: {format_shape(x.shape)} vs. {format_shape(target)}"
        )
    return xp.broadcast_to(x, target)


@kernel("Bitcast")
def bitcast(xp: Any, x: Any, *, type: DType) -> Any:
    """Reinterprets the bytes of ``x`` as ``type``, without conversion.

    A smaller type adds a last dimension; for a larger one the last dimension must have the ratio of
    the sizes, and goes. numpy's ``view`` scales the last dimension instead.
    """
    target = np.dtype(type.as_numpy_dtype)
    before, after = x.dtype.itemsize, target.itemsize
    ratio = after // before
    if ratio > 1 and (not x.ndim or x.shape[-1] != ratio):
        raise errors.invalid_argument(
            f"Cannot bitcast from {as_dtype(x.dtype).as_datatype_enum} to {type.as_datatype_enum}"
        )
    if xp is np:
        data = np.ascontiguousarray(x)
        if before >= after:
            result = data.reshape((*x.shape, 1)).view(target)
            return result.reshape(x.shape) if before == after else result
        return data.view(target).reshape(x.shape[:-1])
    return _bitcast_traced(xp, x, target)


def _bitcast_traced(xp: Any, x: Any, target: np.dtype[Any]) -> Any:
    """Bitcasts under XLA.

    XLA has no bitcast of complex numbers: they go by the bytes of their parts.
    """
    convert = xla.jax().lax.bitcast_convert_type
    if "c" not in (x.dtype.kind, target.kind):
        return convert(x, target)
    shape, size = x.shape, x.dtype.itemsize
    if x.dtype.kind == "c":
        x = xp.stack([x.real, x.imag], axis=-1)
    stored = convert(x, np.uint8).reshape((*shape, size))
    after = target.itemsize
    if size > after:
        stored = stored.reshape((*shape, size // after, after))
    elif size < after:
        stored = stored.reshape((*shape[:-1], after))
    if target.kind != "c":
        return stored[..., 0].astype(target) if after == 1 else convert(stored, target)
    parts = convert(stored.reshape((*stored.shape[:-1], 2, after // 2)), f"float{after * 4}")
    return xla.jax().lax.complex(parts[..., 0], parts[..., 1])


# Joining and splitting ----------------------------------------------------------------------------


_NO_SUCH_AXIS = "axis = {axis} not in [{lowest}, {rank})"


@kernel("Pack")
def pack(xp: Any, values: list[Any], *, axis: int) -> Any:
    """Stacks arrays of one shape along a new axis; strings, too."""
    first = values[0]
    for i, value in enumerate(values):
        if value.shape != first.shape:
            raise errors.invalid_argument(
                f"Shapes of all inputs must match: values[0].shape = {format_shape(first.shape)} "
                f"!= values[{i}].shape = {format_shape(value.shape)}"
            )
    ndim = len(first.shape) + 1
    axis = normalized_axis(axis, ndim, _NO_SUCH_AXIS)
    if xp is np and ndim == 1:  # several times faster than np.stack
        return _vector(values)
    return xp.stack(values, axis=axis)


def _vector(scalars: list[Array]) -> Array:
    if not scalars[0].dtype.hasobject:
        return np.array(scalars, scalars[0].dtype)
    result = np.empty(len(scalars), object)
    for i, scalar in enumerate(scalars):
        result[i] = scalar[()]
    return result


@kernel("Unpack")
def unpack(xp: Any, value: Any, *, num: int, axis: int) -> Any:
    """Splits an array along ``axis`` into ``num`` arrays without that axis."""
    ndim = value.ndim
    axis = normalized_axis(axis, ndim, _NO_SUCH_AXIS)
    if value.shape[axis] != num:
        raise errors.invalid_argument(
            f"Input shape axis {axis} must equal {num}, got shape {format_shape(value.shape)}"
        )
    rest = value.shape[:axis] + value.shape[axis + 1 :]
    return [value[along(ndim, axis, slice(i, i + 1))].reshape(rest) for i in range(num)]


def _concatenate(xp: Any, values: list[Any], axis: Array) -> Any:
    if axis.size != 1:
        raise errors.invalid_argument(
            "Concat axis tensor should be a scalar integer, but got shape "
            f"{format_shape(axis.shape)}"
        )
    first = values[0]
    at = int(axis.reshape(()))
    normal = normalized_axis(
        at,
        first.ndim,
        "ConcatOp : Expected concatenating dimensions in the range "
        "[{lowest}, {rank}), but got {axis}",
    )
    for i, value in enumerate(values):
        shapes = (
            f"shape[0] = {format_shape(first.shape)} vs. shape[{i}] = {format_shape(value.shape)}"
        )
        if value.ndim != first.ndim:
            raise errors.invalid_argument(
                f"ConcatOp : Ranks of all input tensors should match: {shapes}"
            )
        for dim, (a, b) in enumerate(zip(first.shape, value.shape, strict=True)):
            if a != b and dim != normal:
                raise errors.invalid_argument(
                    f"ConcatOp : Dimension {dim} in both shapes must be equal: {shapes}"
                )
    return xp.concatenate(values, axis=normal)


@kernel("ConcatV2")
def concat_v2(xp: Any, values: list[Any], axis: Array) -> Any:
    """Concatenates along ``axis``, a tensor with one element.

    Raises:
        InvalidArgumentError: the axis is out of range, or ranks or other sizes differ.
    """
    return _concatenate(xp, values, axis)


@kernel("Concat")
def concat(xp: Any, concat_dim: Array, values: list[Any]) -> Any:
    """Concatenates along ``concat_dim``: ConcatV2 with the axis in front."""
    return _concatenate(xp, values, concat_dim)


def _split_axis(value: Any, split_dim: Array) -> int:
    at, ndim = int(split_dim.reshape(())), value.ndim
    return normalized_axis(
        at, ndim, "-input rank(-{rank}) <= split_dim < input rank ({rank}), but got {axis}"
    )


@kernel("Split")
def split(xp: Any, split_dim: Array, value: Any, *, num_split: int) -> Any:
    """Splits along an axis into ``num_split`` parts of the same size.

    Raises:
        InvalidArgumentError: ``num_split`` does not divide the axis.
    """
    axis = _split_axis(value, split_dim)
    size = value.shape[axis]
    if size % num_split:
        raise errors.invalid_argument(
            "Number of ways to split should evenly divide the split dimension, but got split_dim "
            f"{axis} (size = {size}) and num_split {num_split}"
        )
    step = size // num_split
    return [
        value[along(value.ndim, axis, slice(i * step, (i + 1) * step))] for i in range(num_split)
    ]


@kernel("SplitV")
def split_v(xp: Any, value: Any, size_splits: Array, split_dim: Array, *, num_split: int) -> Any:
    """Splits along an axis into parts of ``size_splits``, one of which may be -1: the rest."""
    axis = _split_axis(value, split_dim)
    size = value.shape[axis]
    sizes = size_splits.tolist()
    if len(sizes) != num_split:
        raise errors.invalid_argument(
            "size of the split_tensor must be 1-D and have the same elements as outputs got "
            f"{format_shape(size_splits.shape)}"
        )
    if -1 in sizes:
        if sizes.count(-1) > 1:
            raise errors.invalid_argument("There can only be one -1 in the input.")
        left = size - sum(s for s in sizes if s != -1)
        sizes[sizes.index(-1)] = left
    if any(s < 0 for s in sizes) or sum(sizes) != size:
        raise errors.invalid_argument(
            "Determined shape must either match input shape along split_dim exactly if fully "
            "specified, or be less than the size of the input along split_dim if not fully "
            f"specified.  Got: {sum(s for s in size_splits.tolist() if s != -1)}"
        )
    ends = np.cumsum(sizes).tolist()
    return [
        value[along(value.ndim, axis, slice(end - length, end))]
        for end, length in zip(ends, sizes, strict=True)
    ]
