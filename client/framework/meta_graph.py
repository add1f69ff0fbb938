"""MetaGraphDefs: graphs with their collections, exported to and imported from protos and files."""

from __future__ import annotations

import numbers
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from google.protobuf import text_format
from google.protobuf.any_pb2 import Any as AnyProto
from google.protobuf.message import DecodeError

from flowray.client.framework.collection_protos import proto_functions
from flowray.client.framework.graph import Graph, GraphKeys, get_default_graph
from flowray.client.framework.graph_io import write_graph
from flowray.client.framework.import_graph import import_graph_def
from flowray.client.platform import logging, version
from flowray.proto.graph.tensor_id import is_control, node_of
from flowray.proto.messages import graph_pb2
from flowray.proto.messages.checkpoint_pb2 import SaverDef
from flowray.proto.messages.meta_graph_pb2 import CollectionDef, MetaGraphDef, VariableDef
from flowray.proto.ops import op_def_protos, op_registry

UNBOUND_PREFIX = "$unbound_inputs_"
UNBOUND_INPUTS = "unbound_inputs"
"""The collection that names the inputs which an exported scope has from outside."""

_VARIABLE_COLLECTIONS = frozenset(
    {
        GraphKeys.GLOBAL_VARIABLES,
        GraphKeys.LOCAL_VARIABLES,
        GraphKeys.METRIC_VARIABLES,
        GraphKeys.MODEL_VARIABLES,
        GraphKeys.MOVING_AVERAGE_VARIABLES,
        GraphKeys.TRAINABLE_VARIABLES,
    }
)
_SAVE_AND_RESTORE_OPS = frozenset(
    {"SaveV2", "Save", "SaveSlices", "RestoreV2", "Restore", "RestoreSlice"}
)


# Name scopes --------------------------------------------------------------------------------------


def strip_name_scope(name: str, export_scope: str | None) -> str:
    """Returns ``name`` without the scope; the name may begin with ``^`` or ``loc:@``."""
    if not export_scope:
        return name
    scope = re.escape(export_scope.rstrip("/"))
    return re.sub(rf"^(\^|loc:@|){scope}/+", r"\1", name)


def prepend_name_scope(name: str, import_scope: str | None) -> str:
    """Returns ``name`` within the scope; the name may begin with ``^`` or ``loc:@``."""
    if not import_scope:
        return name
    prefix = next((p for p in ("^", "loc:@") if name.startswith(p)), "")
    return f"{prefix}{import_scope.rstrip('/')}/{name.removeprefix(prefix)}"


def _is_within(name: str, scope: str | None) -> bool:
    return not scope or name.startswith((scope + "/", UNBOUND_PREFIX))


# Files --------------------------------------------------------------------------------------------


def as_meta_graph_def(meta_graph_or_file: Any) -> MetaGraphDef:
    """Returns a MetaGraphDef (also one of TensorFlow's own class) as ours, or reads it from a file.

    Raises:
        OSError: the file does not exist, or holds no MetaGraphDef.
    """
    if isinstance(meta_graph_or_file, MetaGraphDef):
        return meta_graph_or_file
    if hasattr(meta_graph_or_file, "SerializeToString"):
        return MetaGraphDef.FromString(meta_graph_or_file.SerializeToString())
    return read_meta_graph_file(meta_graph_or_file)


def read_meta_graph_file(filename: str | os.PathLike[str]) -> MetaGraphDef:
    """Reads the MetaGraphDef in a file, which may be binary or text.

    Raises:
        OSError: the file does not exist, or cannot be understood.
    """
    path = os.fspath(filename)
    if not os.path.exists(path):
        raise OSError(f"File does not exist. Received: {path}.")
    with open(path, "rb") as file:
        content = file.read()
    try:
        return MetaGraphDef.FromString(content)
    except DecodeError:
        result = MetaGraphDef()
    try:
        return text_format.Parse(content.decode(), result)
    except (UnicodeDecodeError, text_format.ParseError) as error:
        raise OSError(f"Cannot parse file {path}: {error}.") from None


# Export -------------------------------------------------------------------------------------------


def export_scoped_meta_graph(
    filename: str | None = None,
    graph_def: graph_pb2.GraphDef | None = None,
    graph: Graph | None = None,
    export_scope: str | None = None,
    as_text: bool = False,
    unbound_inputs_col_name: str | None = UNBOUND_INPUTS,
    clear_devices: bool = False,
    saver_def: SaverDef | None = None,
    clear_extraneous_savers: bool = False,
    strip_default_attrs: bool = False,
    meta_info_def: MetaGraphDef.MetaInfoDef | None = None,
    collection_list: Sequence[str] | None = None,
) -> tuple[MetaGraphDef, dict[str, Any]]:
    """Returns the MetaGraphDef of a graph, or of a name scope in it, and its variables by name.

    See ``tf.train.export_meta_graph`` for the arguments. Inputs from outside of the scope get names
    with ``UNBOUND_PREFIX`` and are listed in the collection ``unbound_inputs_col_name``.
    """
    graph = graph or get_default_graph()
    scope = export_scope.rstrip("/") if export_scope else None
    nodes = graph.as_graph_def(add_shapes=True) if graph_def is None else graph_def
    left_out: set[str] = set()
    if clear_extraneous_savers:
        left_out = _nodes_of_other_savers(nodes, saver_def)
    if scope or left_out or clear_devices:
        nodes, unbound = _selected(nodes, scope, left_out, clear_devices)
        if unbound_inputs_col_name:
            graph.clear_collection(unbound_inputs_col_name)
            for name in unbound:
                graph.add_to_collection(unbound_inputs_col_name, name)

    def is_wanted(item: Any) -> bool:
        name = item if isinstance(item, str) else getattr(item, "name", None)
        if not isinstance(name, str):
            return True
        return node_of(name) not in left_out and _is_within(name, scope)

    result = MetaGraphDef(graph_def=nodes)
    if meta_info_def is not None:
        result.meta_info_def.CopyFrom(meta_info_def)
    result.meta_info_def.tensorflow_version = version.VERSION
    result.meta_info_def.tensorflow_git_version = version.GIT_VERSION
    if not result.meta_info_def.stripped_op_list.op:
        result.meta_info_def.stripped_op_list.CopyFrom(op_def_protos.op_list(_used_ops(nodes)))
    if strip_default_attrs:
        _strip_defaults(result)
    if saver_def is not None:
        result.saver_def.CopyFrom(saver_def)
    keys = graph.get_all_collection_keys() if collection_list is None else collection_list
    for key in keys:
        items: list[Any] = [item for item in graph.get_collection(key) if is_wanted(item)]
        if clear_extraneous_savers and key == GraphKeys.SAVERS:
            items = [i for i in items if i.as_saver_def() == saver_def]
        _add_collection(result, key, items, scope)
    variables = {
        strip_name_scope(v.name, scope): v
        for v in graph.get_collection(GraphKeys.GLOBAL_VARIABLES)
        if is_wanted(v)
    }
    if filename:
        write_graph(result, os.path.dirname(filename), os.path.basename(filename), as_text)
    return result, variables


def _selected(
    graph_def: graph_pb2.GraphDef, scope: str | None, left_out: set[str], clear_devices: bool
) -> tuple[graph_pb2.GraphDef, list[str]]:
    """Returns the nodes in the scope, named relative to it, and the names of unbound inputs."""
    result = graph_pb2.GraphDef(versions=graph_def.versions, library=graph_def.library)
    unbound: list[str] = []
    for node in graph_def.node:
        if node.name in left_out or not _is_within(node.name, scope):
            continue
        copy = result.node.add()
        copy.CopyFrom(node)
        copy.name = strip_name_scope(node.name, scope)
        if clear_devices:
            copy.device = ""
        for i, text in enumerate(node.input):
            if _is_within(text.removeprefix("^"), scope):
                copy.input[i] = strip_name_scope(text, scope)
            else:
                control = "^" if is_control(text) else ""
                copy.input[i] = f"{control}{UNBOUND_PREFIX}{text.removeprefix('^')}"
                unbound.append(copy.input[i])
        if scope:
            _strip_attrs(copy, scope)
    return result, unbound


def _strip_attrs(node: graph_pb2.NodeDef, scope: str) -> None:
    """Removes the scope from colocation groups and names of frames; drops groups outside of it."""
    if "_class" in node.attr:
        groups = node.attr["_class"].list
        groups.s[:] = [
            strip_name_scope(group.decode(), scope).encode()
            for group in groups.s
            if _is_within(group.decode().removeprefix("loc:@"), scope)
        ]
    if "frame_name" in node.attr:
        frame = node.attr["frame_name"]
        frame.s = strip_name_scope(frame.s.decode(), scope).encode()


def _nodes_of_other_savers(graph_def: graph_pb2.GraphDef, saver_def: SaverDef | None) -> set[str]:
    """Returns the nodes in the name scopes of the Savers other than that of ``saver_def``."""

    def scope_of(name: str) -> str:
        return name.rpartition("/")[0]

    scopes = {scope_of(n.name) for n in graph_def.node if n.op in _SAVE_AND_RESTORE_OPS}
    if saver_def is not None:
        scopes -= {
            scope_of(node_of(saver_def.save_tensor_name)),
            scope_of(saver_def.restore_op_name),
        }
    prefixes = tuple(f"{scope}/" for scope in scopes)
    return {n.name for n in graph_def.node if n.name.startswith(prefixes)}


def _used_ops(graph_def: graph_pb2.GraphDef) -> Iterable[str]:
    for node in graph_def.node:
        yield node.op
    for function in graph_def.library.function:
        for node in function.node_def:
            yield node.op


def _strip_defaults(meta_graph_def: MetaGraphDef) -> None:
    """Removes attributes with default values, so that older readers accept the nodes."""
    graph_def = meta_graph_def.graph_def
    bodies = [graph_def.node, *(f.node_def for f in graph_def.library.function)]
    known = op_registry.registered_ops()
    for node in (node for body in bodies for node in body):
        if node.op not in known:
            continue
        for name, attr in known[node.op].attrs.items():
            if (
                name in node.attr
                and attr.default is not op_registry.REQUIRED
                and node.attr[name] == op_registry.default_attr_value(attr)
            ):
                del node.attr[name]
    meta_graph_def.meta_info_def.stripped_default_attrs = True


def _add_collection(
    meta_graph_def: MetaGraphDef, key: str, items: Sequence[Any], scope: str | None
) -> None:
    if not items:
        return
    try:
        collection = _collection_def(key, items, scope)
    except (AttributeError, TypeError, ValueError) as error:
        logging.warning(
            "Issue encountered when serializing %s.\nType is unsupported, or the types of the "
            "items don't match field type in CollectionDef. Note this is a warning and probably "
            "safe to ignore.\n%s",
            key,
            error,
        )
        return
    meta_graph_def.collection_def[key].CopyFrom(collection)


def _collection_def(key: str, items: Sequence[Any], scope: str | None) -> CollectionDef:
    """Converts the items by the functions of the collection, or by the type of the first one."""
    result = CollectionDef()
    functions = proto_functions(key)
    if functions is not None:
        protos = [functions.to_proto(item, export_scope=scope) for item in items]
        result.bytes_list.value.extend(p.SerializeToString() for p in protos if p is not None)
        return result
    first = items[0]
    if isinstance(first, str | bytes):
        result.bytes_list.value.extend(i.encode() if isinstance(i, str) else i for i in items)
    elif isinstance(first, numbers.Integral):
        result.int64_list.value.extend(items)
    elif isinstance(first, numbers.Real):
        result.float_list.value.extend(items)
    elif isinstance(first, AnyProto):
        result.any_list.value.extend(items)
    else:
        result.node_list.value.extend(strip_name_scope(item.name, scope) for item in items)
    return result


# Import -------------------------------------------------------------------------------------------


def import_scoped_meta_graph(
    meta_graph_or_file: Any,
    clear_devices: bool = False,
    graph: Graph | None = None,
    import_scope: str | None = None,
    input_map: Mapping[str, Any] | None = None,
    unbound_inputs_col_name: str | None = UNBOUND_INPUTS,
    restore_collections_predicate: Callable[[str], bool] = lambda key: True,
) -> dict[str, Any]:
    """Adds the nodes and collections of a MetaGraphDef to a graph (the default one if None).

    Args:
        meta_graph_or_file: the MetaGraphDef, or the file that it is in.
        clear_devices: whether to forget where the nodes were placed.
        import_scope: a name scope to put them in; it gets a number if it exists.
        input_map: tensors to read in place of those with these names.
        unbound_inputs_col_name: the collection of the inputs that ``input_map`` must give.
        restore_collections_predicate: tells by the key which collections to restore.

    Returns:
        The global variables in the scope, by their names without it.

    Raises:
        ValueError: an input is not given, or the nodes cannot be imported.
        OSError: the file does not exist or holds no MetaGraphDef.
    """
    definition = as_meta_graph_def(meta_graph_or_file)
    if unbound_inputs_col_name and unbound_inputs_col_name in definition.collection_def:
        _check_bound(definition.collection_def[unbound_inputs_col_name], input_map or {})
    graph = graph or get_default_graph()
    with graph.as_default():
        scope = graph.unique_name(import_scope, mark_as_used=False) if import_scope else ""
        nodes = graph_pb2.GraphDef()
        nodes.CopyFrom(definition.graph_def)
        for node in nodes.node:
            # Shapes are inferred anew.
            node.attr.pop("_output_shapes", None)
            if clear_devices:
                node.device = ""
        import_graph_def(nodes, name=import_scope or "", input_map=input_map)
        _import_collections(
            graph, definition, scope, {unbound_inputs_col_name}, restore_collections_predicate
        )
        pattern = re.escape(f"{scope}/") if scope else None
        return {
            strip_name_scope(v.name, scope): v
            for v in graph.get_collection(GraphKeys.GLOBAL_VARIABLES, pattern)
        }


def _check_bound(unbound: CollectionDef, input_map: Mapping[str, Any]) -> None:
    names = [value.decode() for value in unbound.bytes_list.value]
    if names and sorted(names) != sorted(input_map):
        missing = ",".join(name for name in names if name not in input_map)
        raise ValueError(
            f"Graph contains unbound inputs: {missing}. Must provide these inputs through "
            "input_map."
        )


def _import_collections(
    graph: Graph,
    definition: MetaGraphDef,
    scope: str,
    skipped: set[str | None],
    is_wanted: Callable[[str], bool],
) -> None:
    trains_by_collection = _is_before_1_9(definition.meta_info_def.tensorflow_version)
    variables: dict[bytes, Any] = {}
    # Where VariableDefs do not say whether they are trained, that collection does: it comes first.
    keys = sorted(definition.collection_def, key=lambda k: (k != GraphKeys.TRAINABLE_VARIABLES, k))
    for key in keys:
        if key in skipped or not is_wanted(key):
            continue
        collection = definition.collection_def[key]
        kind = collection.WhichOneof("kind")
        if kind is None:
            continue
        functions = proto_functions(key)
        if functions is None or kind != "bytes_list":
            for item in _plain_items(graph, collection, kind, scope):
                graph.add_to_collection(key, item)
            continue
        for content in collection.bytes_list.value:
            item = variables.get(content) if key in _VARIABLE_COLLECTIONS else None
            if item is None:
                proto = functions.proto_type.FromString(content)
                if trains_by_collection and isinstance(proto, VariableDef):
                    proto.trainable = key == GraphKeys.TRAINABLE_VARIABLES
                item = functions.from_proto(proto, import_scope=scope)
                if key in _VARIABLE_COLLECTIONS:
                    variables[content] = item
            graph.add_to_collection(key, item)


def _plain_items(graph: Graph, collection: CollectionDef, kind: str, scope: str) -> Iterable[Any]:
    values: Iterable[Any] = getattr(collection, kind).value
    if kind == "node_list":
        return [graph.as_graph_element(prepend_name_scope(value, scope)) for value in values]
    if kind == "bytes_list" and scope:
        return [_in_scope(value, scope) for value in values]
    return list(values)


def _in_scope(value: bytes, scope: str) -> str | bytes:
    """Prepends the scope to a name; bytes that are not text are not names."""
    try:
        return prepend_name_scope(value.decode(), scope)
    except UnicodeDecodeError:
        return value


def _is_before_1_9(version: str) -> bool:
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) < (1, 9)
