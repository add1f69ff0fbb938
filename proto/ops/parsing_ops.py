"""Records to tensors: definitions."""

from __future__ import annotations

from flowray.proto.ops.common_shapes import scalar
from flowray.proto.ops.op_registry import ShapeContext, attr, op
from flowray.proto.types import dtypes
from flowray.proto.types.dtypes import ALL, INDEX
from flowray.proto.types.shapes import Shape, concatenate, with_rank, with_rank_at_most

_RAW = frozenset(
    {
        dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64, dtypes.complex64,
        dtypes.complex128, dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64, dtypes.uint8,
        dtypes.uint16, dtypes.bool,
    }
)  # fmt: skip


def _with_last_dimension(c: ShapeContext) -> Shape:
    return concatenate(c.inputs[0], (None,))


op(
    "DecodeRaw",
    "bytes: string -> output: out_type",
    out_type=attr("type", allowed=_RAW),
    little_endian=True,
    host_only=True,
    differentiable=False,
    shape=_with_last_dimension,
)


def _columns(c: ShapeContext) -> list[Shape]:
    records, *defaults = c.inputs
    for shape in defaults:
        with_rank_at_most(shape, 1)
        if shape and shape[0] is not None and shape[0] > 1:
            raise ValueError(
                "Shape of a default must be a length-0 or length-1 vector, or a scalar."
            )
    return [records] * len(defaults)


op(
    "DecodeCSV",
    "records: string, record_defaults: [OUT_TYPE] -> output: [OUT_TYPE]",
    OUT_TYPE=attr(
        "list(type)",
        minimum=1,
        allowed=INDEX | {dtypes.float32, dtypes.float64, dtypes.string},
    ),
    field_delim=",",
    use_quote_delim=True,
    na_value="",
    select_cols=attr("list(int)", []),
    host_only=True,
    differentiable=False,
    shape=_columns,
)


def _scalar_input(c: ShapeContext) -> Shape:
    with_rank(c.inputs[0], 0)
    return None


op(
    "ParseTensor",
    "serialized: string -> output: out_type",
    out_type=attr("type"),
    host_only=True,
    differentiable=False,
    shape=_scalar_input,
)
op(
    "SerializeTensor",
    "tensor: T -> serialized: string",
    T=ALL - {dtypes.resource, dtypes.variant},
    host_only=True,
    shape=scalar,
)

# tf.train.Example --------------------------------------------------------------------------------

_VALUES = frozenset({dtypes.float32, dtypes.int64, dtypes.string})
_COUNT = attr("int", minimum=0)
_TYPES = attr("list(type)", minimum=0, allowed=_VALUES)
_SHAPES = attr("list(shape)", minimum=0)


def _outputs(batch: Shape, sparse: int, dense_shapes: list[Shape]) -> list[Shape]:
    """Returns the shapes of sparse and dense outputs; ``batch`` comes before each dense shape."""
    rank = None if batch is None else 1 + len(batch)
    return [
        *[(None, rank)] * sparse,
        *[(None,)] * sparse,
        *[(rank,)] * sparse,
        *[concatenate(batch, shape) for shape in dense_shapes],
    ]


def _parsed(c: ShapeContext) -> list[Shape]:
    batch = with_rank(c.inputs[0], 1)
    return _outputs(batch, c.attr("Nsparse"), c.attr("dense_shapes"))


op(
    "ParseExample",
    "serialized: string, names: string, sparse_keys: Nsparse*string, dense_keys: Ndense*string, "
    "dense_defaults: [Tdense] -> sparse_indices: Nsparse*int64, sparse_values: [sparse_types], "
    "sparse_shapes: Nsparse*int64, dense_values: [Tdense]",
    Nsparse=_COUNT,
    Ndense=_COUNT,
    sparse_types=_TYPES,
    Tdense=_TYPES,
    dense_shapes=_SHAPES,
    host_only=True,
    differentiable=False,
    shape=_parsed,
)


def _parsed_v2(c: ShapeContext) -> list[Shape]:
    batch = with_rank_at_most(c.inputs[0], 1)
    splits = (None if batch is None else 0 if batch == () else _plus_one(batch[0]),)
    ragged = len(c.attr("ragged_value_types"))
    return [
        *_outputs(batch, c.attr("num_sparse"), c.attr("dense_shapes")),
        *[(None,)] * ragged,
        *[splits] * ragged,
    ]


def _plus_one(size: int | None) -> int | None:
    return None if size is None else size + 1


op(
    "ParseExampleV2",
    "serialized: string, names: string, sparse_keys: string, dense_keys: string, "
    "ragged_keys: string, dense_defaults: [Tdense] -> sparse_indices: num_sparse*int64, "
    "sparse_values: [sparse_types], sparse_shapes: num_sparse*int64, dense_values: [Tdense], "
    "ragged_values: [ragged_value_types], ragged_row_splits: [ragged_split_types]",
    Tdense=_TYPES,
    num_sparse=_COUNT,
    sparse_types=_TYPES,
    ragged_value_types=_TYPES,
    ragged_split_types=attr("list(type)", minimum=0, allowed=INDEX),
    dense_shapes=_SHAPES,
    host_only=True,
    differentiable=False,
    shape=_parsed_v2,
)


def _parsed_single(c: ShapeContext) -> list[Shape]:
    with_rank(c.inputs[0], 0)
    return _outputs((), c.attr("num_sparse"), c.attr("dense_shapes"))


op(
    "ParseSingleExample",
    "serialized: string, dense_defaults: [Tdense] -> sparse_indices: num_sparse*int64, "
    "sparse_values: [sparse_types], sparse_shapes: num_sparse*int64, dense_values: [Tdense]",
    num_sparse=_COUNT,
    sparse_keys=attr("list(string)", minimum=0),
    dense_keys=attr("list(string)", minimum=0),
    sparse_types=_TYPES,
    Tdense=_TYPES,
    dense_shapes=_SHAPES,
    host_only=True,
    differentiable=False,
    shape=_parsed_single,
)


def _parsed_sequence(c: ShapeContext) -> list[Shape]:
    with_rank(c.inputs[0], 0)
    context = _outputs((), c.attr("Ncontext_sparse"), c.attr("context_dense_shapes"))
    lists = _outputs((None,), c.attr("Nfeature_list_sparse"), c.attr("feature_list_dense_shapes"))
    return context + lists


_NO_TYPES = attr("list(type)", [], minimum=0, allowed=_VALUES)
_NO_SHAPES = attr("list(shape)", [], minimum=0)
_NONE = attr("int", 0, minimum=0)

op(
    "ParseSingleSequenceExample",
    "serialized: string, feature_list_dense_missing_assumed_empty: string, "
    "context_sparse_keys: Ncontext_sparse*string, context_dense_keys: Ncontext_dense*string, "
    "feature_list_sparse_keys: Nfeature_list_sparse*string, "
    "feature_list_dense_keys: Nfeature_list_dense*string, "
    "context_dense_defaults: [Tcontext_dense], debug_name: string -> "
    "context_sparse_indices: Ncontext_sparse*int64, "
    "context_sparse_values: [context_sparse_types], "
    "context_sparse_shapes: Ncontext_sparse*int64, context_dense_values: [Tcontext_dense], "
    "feature_list_sparse_indices: Nfeature_list_sparse*int64, "
    "feature_list_sparse_values: [feature_list_sparse_types], "
    "feature_list_sparse_shapes: Nfeature_list_sparse*int64, "
    "feature_list_dense_values: [feature_list_dense_types]",
    Ncontext_sparse=_NONE,
    Ncontext_dense=_NONE,
    Nfeature_list_sparse=_NONE,
    Nfeature_list_dense=_NONE,
    context_sparse_types=_NO_TYPES,
    Tcontext_dense=_NO_TYPES,
    feature_list_dense_types=_NO_TYPES,
    context_dense_shapes=_NO_SHAPES,
    feature_list_sparse_types=_NO_TYPES,
    feature_list_dense_shapes=_NO_SHAPES,
    host_only=True,
    differentiable=False,
    shape=_parsed_sequence,
)
