"""Public names of objects of ``flowray.proto``, which cannot import the client to declare them.

Each module of proto has its public names as ``tf_export`` would have them; their last part is the
object's name there. ``client/api/generate.py`` reads the table from the source.
"""

from __future__ import annotations

from typing import Final

PROTO_EXPORTS: Final[dict[str, list[str]]] = {
    "flowray.proto.errors": [
        "OpError", "errors.ABORTED", "errors.ALREADY_EXISTS", "errors.AbortedError",
        "errors.AlreadyExistsError", "errors.CANCELLED", "errors.CancelledError",
        "errors.DATA_LOSS", "errors.DEADLINE_EXCEEDED", "errors.DataLossError",
        "errors.DeadlineExceededError", "errors.FAILED_PRECONDITION",
        "errors.FailedPreconditionError", "errors.INTERNAL", "errors.INVALID_ARGUMENT",
        "errors.InternalError", "errors.InvalidArgumentError", "errors.NOT_FOUND",
        "errors.NotFoundError", "errors.OK", "errors.OUT_OF_RANGE", "errors.OpError",
        "errors.OutOfRangeError", "errors.PERMISSION_DENIED", "errors.PermissionDeniedError",
        "errors.RESOURCE_EXHAUSTED", "errors.ResourceExhaustedError", "errors.UNAUTHENTICATED",
        "errors.UNAVAILABLE", "errors.UNIMPLEMENTED", "errors.UNKNOWN",
        "errors.UnauthenticatedError", "errors.UnavailableError", "errors.UnimplementedError",
        "errors.UnknownError", "errors.error_code_from_exception_type",
        "errors.exception_type_from_error_code",
    ],
    "flowray.proto.graph.device_names": [
        "DeviceSpec",
    ],
    "flowray.proto.messages.checkpoint_pb2": [
        "train.CheckpointState", "train.SaverDef",
    ],
    "flowray.proto.messages.config_pb2": [
        "ConfigProto", "GPUOptions", "GraphOptions", "OptimizerOptions", "RunMetadata",
        "RunOptions",
    ],
    "flowray.proto.messages.event_pb2": [
        "Event", "HistogramProto", "SessionLog", "Summary", "SummaryMetadata", "summary.Event",
        "summary.SessionLog", "summary.Summary", "summary.SummaryDescription",
        "summary.TaggedRunMetadata",
    ],
    "flowray.proto.messages.example_pb2": [
        "train.BytesList", "train.Example", "train.Feature", "train.FeatureList",
        "train.FeatureLists", "train.Features", "train.FloatList", "train.Int64List",
        "train.SequenceExample",
    ],
    "flowray.proto.messages.graph_pb2": [
        "AttrValue", "GraphDef", "NameAttrList", "NodeDef",
    ],
    "flowray.proto.types.dtypes": [
        "DType", "as_dtype", "bfloat16", "bool", "complex128", "complex64", "double", "float16",
        "float32", "float64", "half", "int16", "int32", "int64", "int8", "qint16", "qint32",
        "qint8", "quint16", "quint8", "resource", "string", "uint16", "uint32", "uint64", "uint8",
        "variant", "dtypes.DType", "dtypes.as_dtype", "dtypes.bfloat16", "dtypes.bool",
        "dtypes.complex128", "dtypes.complex64", "dtypes.double", "dtypes.float16",
        "dtypes.float32", "dtypes.float64", "dtypes.half", "dtypes.int16", "dtypes.int32",
        "dtypes.int64", "dtypes.int8", "dtypes.qint16", "dtypes.qint32", "dtypes.qint8",
        "dtypes.quint16", "dtypes.quint8", "dtypes.resource", "dtypes.string", "dtypes.uint16",
        "dtypes.uint32", "dtypes.uint64", "dtypes.uint8", "dtypes.variant",
    ],
    "flowray.proto.types.shapes": [
        "Dimension", "TensorShape", "dimension_at_index", "dimension_value",
        "compat.dimension_at_index", "compat.dimension_value",
    ],
    "flowray.proto.types.tensors": [
        "make_ndarray", "make_tensor_proto", "contrib.util.make_ndarray",
        "contrib.util.make_tensor_proto",
    ],
}  # fmt: skip
