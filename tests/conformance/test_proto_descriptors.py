"""Our messages against TensorFlow's own descriptors: names, numbers, types, oneofs, reserved."""

import importlib
import mmap
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from flowray.proto.messages import (
    checkpoint_pb2,
    config_pb2,
    error_pb2,
    event_pb2,
    example_pb2,
    graph_pb2,
    master_pb2,
    meta_graph_pb2,
    tensor_pb2,
    types_pb2,
)
from flowray.proto.types import dtypes

tensorflow = pytest.importorskip("tensorflow")

OURS = (
    checkpoint_pb2, config_pb2, error_pb2, event_pb2, example_pb2, graph_pb2, master_pb2,
    meta_graph_pb2, tensor_pb2, types_pb2,
)  # fmt: skip

# TensorFlow's files whose messages are not reached by `import tensorflow` alone.
THEIRS = (
    "tensorflow.core.framework.reader_base_pb2",
    "tensorflow.core.protobuf.cluster_pb2",
    "tensorflow.core.protobuf.queue_runner_pb2",
    "tensorflow.core.protobuf.saver_pb2",
    "tensorflow.core.protobuf.tensor_bundle_pb2",
    "tensorflow.core.protobuf.tensorflow_server_pb2",
    "tensorflow.python.training.checkpoint_state_pb2",
    "tensorflow.core.example.example_pb2",
    "tensorflow.core.util.event_pb2",
    "tensorflow.core.util.saved_tensor_slice_pb2",
    "tensorflow.core.protobuf.named_tensor_pb2",
)

# TensorFlow has no Python code for these; their descriptors stand in its C++ libraries only.
IN_LIBRARIES = {
    "tensorflow/core/protobuf/master.proto": "libtensorflow_cc",
    "xla/tsl/protobuf/distributed_runtime_payloads.proto": "libtensorflow_framework",
}
# Declared without fields: they only pass through.
OPAQUE = frozenset({"SavedObjectGraph", "TypeSpecProto"})


def top_level():
    for module in OURS:
        yield from module.DESCRIPTOR.message_types_by_name.values()
        yield from module.DESCRIPTOR.enum_types_by_name.values()


def add_from_libraries(pool):
    """Adds the files of IN_LIBRARIES, read out of the C++ libraries, to TensorFlow's own pool."""
    directory = Path(tensorflow.__file__).parent
    for name, library in IN_LIBRARIES.items():
        with next(directory.glob(f"{library}.so*")).open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # A serialized FileDescriptorProto: the name first, the syntax last.
        start = data.find(b"\n" + bytes([len(name)]) + name.encode() + b"\x12")
        end = data.find(b"b\x06proto3", start) + 8
        assert 0 <= start < end, f"{name} is not in {library}"
        pool.AddSerializedFile(data[start:end])


@pytest.fixture(scope="module")
def pool():
    for module in THEIRS:
        importlib.import_module(module)
    pool = descriptor_pool.Default()
    add_from_libraries(pool)
    return pool


def their_type(pool, name):
    for package in ("tensorflow", "tensorflow.error", "tensorflow.distributed_runtime"):
        for find in (pool.FindMessageTypeByName, pool.FindEnumTypeByName):
            try:
                return find(f"{package}.{name}")
            except KeyError:
                pass
    return pytest.fail(f"TensorFlow has no descriptor of {name}")


def local(full_name):
    for prefix in (
        "tensorflow.error.",
        "tensorflow.distributed_runtime.",
        "tensorflow.",
        "flowray.",
    ):
        if full_name.startswith(prefix):
            return full_name.removeprefix(prefix)
    return full_name


def enum_values(enum: EnumDescriptor):
    return {value.name: value.number for value in enum.values}


def field_facts(field: FieldDescriptor):
    named = field.message_type or field.enum_type
    oneof = field.containing_oneof
    # A synthetic oneof stands for an `optional` field.
    real_oneof = oneof is not None and len(oneof.fields) + (not oneof.name.startswith("_")) > 1
    return {
        "name": field.name,
        "type": field.type,
        "repeated": field.is_repeated,
        "packed": field.is_packed,
        "of": local(named.full_name) if named is not None else None,
        "oneof": oneof.name if oneof is not None and real_oneof else None,
        "deprecated": field.GetOptions().deprecated,
        # In proto2 the entries of maps have presence; on the wire that means nothing.
        "presence": field.has_presence and not field.containing_type.GetOptions().map_entry,
    }


def reserved(message: Descriptor):
    proto = descriptor_pb2.DescriptorProto()
    message.CopyToProto(proto)
    return {n for r in proto.reserved_range for n in range(r.start, r.end)}


def differences(ours, theirs):
    if isinstance(ours, EnumDescriptor):
        mine, other = enum_values(ours), enum_values(theirs)
        return [f"{ours.full_name}: {mine} != {other}"] if mine != other else []
    found = []
    mine = {f.number: field_facts(f) for f in ours.fields}
    other = {f.number: field_facts(f) for f in theirs.fields}
    if ours.name not in OPAQUE:
        for number in sorted(mine.keys() | other.keys()):
            if mine.get(number) != other.get(number):
                found.append(
                    f"{ours.full_name} {number}: {mine.get(number)} != {other.get(number)}"
                )
        if reserved(ours) != reserved(theirs):
            found.append(f"{ours.full_name} reserved: {reserved(ours)} != {reserved(theirs)}")
        nested = {t.name: t for t in (*theirs.nested_types, *theirs.enum_types)}
        for child in (*ours.nested_types, *ours.enum_types):
            if child.name not in nested:
                found.append(f"{child.full_name}: TensorFlow has no such type")
            else:
                found += differences(child, nested.pop(child.name))
        found += [f"{ours.full_name}.{name} is missing" for name in nested]
    return found


@pytest.mark.parametrize("ours", list(top_level()), ids=lambda t: t.name)
def test_message_is_tensorflows(pool, ours):
    assert differences(ours, their_type(pool, ours.name)) == []


def test_dtypes_are_tensorflows():
    for dtype in dtypes.BY_ENUM.values():
        theirs = tensorflow.dtypes.DType(dtype.as_datatype_enum)
        assert dtype.name == theirs.name
        assert repr(dtype) == repr(theirs)
        for attribute in (
            "is_integer", "is_floating", "is_complex", "is_bool", "is_unsigned", "is_quantized",
            "is_numpy_compatible", "_is_ref_dtype",
        ):  # fmt: skip
            assert getattr(dtype, attribute) == getattr(theirs, attribute), (dtype, attribute)
        if dtype.is_numpy_compatible:
            assert dtype.np_dtype == theirs.as_numpy_dtype
