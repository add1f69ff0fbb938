"""Meta graphs: graphs with collections in protos and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowray as tf
from flowray.client.framework import collection_protos
from flowray.client.framework.meta_graph import (
    export_scoped_meta_graph,
    import_scoped_meta_graph,
    prepend_name_scope,
    read_meta_graph_file,
    strip_name_scope,
)
from flowray.proto.messages.meta_graph_pb2 import MetaGraphDef, VariableDef
from flowray.proto.ops import op_def_protos, op_registry


@pytest.fixture(autouse=True)
def _graph() -> Any:
    with tf.Graph().as_default():
        yield


def names(meta_graph: MetaGraphDef) -> list[str]:
    return [node.name for node in meta_graph.graph_def.node]


def test_scopes_of_names() -> None:
    for name in ("a/b", "^a/b", "loc:@a/b"):
        assert prepend_name_scope(strip_name_scope(name, "a"), "x/y") == name.replace("a", "x/y")
    assert strip_name_scope("a/b", "a/") == "b"
    assert strip_name_scope("ab/b", "a") == "ab/b"
    assert strip_name_scope("x/a/b", "a") == "x/a/b"
    assert strip_name_scope("a.b/c", "a.b") == "c"
    assert strip_name_scope("axb/c", "a.b") == "axb/c"
    assert strip_name_scope("a", None) == prepend_name_scope("a", None) == "a"


@pytest.mark.parametrize("as_text", [False, True])
def test_files(tmp_path: Path, as_text: bool) -> None:
    v = tf.Variable([1.0, 2.0], name="v")
    tf.identity(v * 2, name="double")
    path = str(tmp_path / "made" / "graph.meta")
    written = tf.train.export_meta_graph(path, as_text=as_text)
    assert read_meta_graph_file(path) == written
    with tf.Graph().as_default(), tf.Session() as sess:
        made = tf.train.import_meta_graph(path)
        assert isinstance(made, tf.train.Saver)
        (imported,) = tf.global_variables()
        assert tf.trainable_variables() == [imported]
        sess.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(sess.run("double:0"), [2, 4])


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File does not exist"):
        tf.train.import_meta_graph(str(tmp_path / "none"))
    (tmp_path / "junk").write_bytes(b"\xffjunk")
    with pytest.raises(OSError, match="Cannot parse file"):
        tf.train.import_meta_graph(tmp_path / "junk")


def test_without_variables() -> None:
    tf.constant(1)
    exported = tf.train.export_meta_graph()
    with tf.Graph().as_default():
        assert tf.train.import_meta_graph(exported) is None


def test_importing_twice_numbers_the_scopes() -> None:
    tf.Variable(1, name="v")
    exported = tf.train.Saver().export_meta_graph()
    with tf.Graph().as_default():
        for scope in ("s", "s_1"):
            made = tf.train.import_meta_graph(exported, import_scope="s")
            assert made.as_saver_def().restore_op_name == f"{scope}/save/restore_all"
        assert [v.name for v in tf.global_variables()] == ["s/v:0", "s_1/v:0"]
    assert exported.saver_def.restore_op_name == "save/restore_all"


def test_unbound_inputs() -> None:
    outside = tf.constant(3.0, name="outside")
    with tf.name_scope("part"):
        tf.multiply(outside, 2.0, name="product")
    exported, variables = export_scoped_meta_graph(export_scope="part")
    assert variables == {}
    assert names(exported) == ["product/y", "product"]
    with tf.Graph().as_default(), tf.Session() as sess:
        with pytest.raises(ValueError, match=r"unbound inputs: \$unbound_inputs_outside. Must"):
            import_scoped_meta_graph(exported)
        mapped = {"$unbound_inputs_outside": tf.constant(5.0)}
        import_scoped_meta_graph(exported, import_scope="to", input_map=mapped)
        assert sess.run("to/product:0") == 10


def test_clear_devices() -> None:
    with tf.device("/job:ps"):
        tf.constant(1, name="c")
    exported = tf.train.export_meta_graph()
    assert exported.graph_def.node[0].device == "/job:ps"
    assert tf.train.export_meta_graph(clear_devices=True).graph_def.node[0].device == ""
    with tf.Graph().as_default() as graph:
        tf.train.import_meta_graph(exported, clear_devices=True)
        assert graph.get_operation_by_name("c").device == ""
    assert exported.graph_def.node[0].device == "/job:ps", "what is imported stays as it is"


def test_strip_default_attrs() -> None:
    a = tf.placeholder(tf.float32, [2, 2], name="a")
    tf.matmul(a, a, transpose_b=True, name="m")
    exported = tf.train.export_meta_graph(strip_default_attrs=True)
    node = next(n for n in exported.graph_def.node if n.name == "m")
    assert exported.meta_info_def.stripped_default_attrs
    assert set(node.attr) == {"T", "transpose_b", "_output_shapes"}
    with tf.Graph().as_default() as graph:
        tf.train.import_meta_graph(exported)
        operation = graph.get_operation_by_name("m")
        assert operation.get_attr("transpose_a") is False
        assert operation.get_attr("transpose_b") is True


def test_clear_extraneous_savers() -> None:
    tf.Variable(1, name="v")
    first, second = tf.train.Saver(), tf.train.Saver()
    for made in (first, second):
        tf.add_to_collection(tf.GraphKeys.SAVERS, made)
    everything = names(second.export_meta_graph())
    assert "save/SaveV2" in everything
    exported = second.export_meta_graph(clear_extraneous_savers=True)
    assert names(exported) == [n for n in everything if not n.startswith("save/")]
    assert list(exported.collection_def["savers"].bytes_list.value) == [
        second.as_saver_def().SerializeToString()
    ]


def test_collections() -> None:
    x = tf.constant(1.0, name="x")
    contents: dict[str, list[Any]] = {
        "tensors": [x], "operations": [x.op], "texts": ["a", "b"], "bytes": [b"\xff"],
        "integers": [1, 2], "floats": [0.5],
    }  # fmt: skip
    for key, items in contents.items():
        for item in items:
            tf.add_to_collection(key, item)
    tf.add_to_collection("unsupported", object())
    tf.add_to_collection("mixed", 1)
    tf.add_to_collection("mixed", "a")
    tf.add_to_collection(("not", "a", "string"), 1)
    exported = tf.train.export_meta_graph()
    assert set(exported.collection_def) == set(contents)
    only = tf.train.export_meta_graph(collection_list=["floats"])
    assert set(only.collection_def) == {"floats"}
    for scope in ("", "s/"):
        with tf.Graph().as_default() as graph:
            tf.train.import_meta_graph(exported, import_scope=scope.rstrip("/"))
            assert tf.get_collection("tensors") == [graph.get_tensor_by_name(f"{scope}x:0")]
            assert tf.get_collection("operations") == [graph.get_operation_by_name(f"{scope}x")]
            assert tf.get_collection("integers") == [1, 2]
            assert tf.get_collection("floats") == [0.5]
            assert tf.get_collection("bytes") == [b"\xff"]
            texts = [t if isinstance(t, str) else t.decode() for t in tf.get_collection("texts")]
            assert texts == [f"{scope}a", f"{scope}b"]


def test_old_variable_defs_do_not_say_whether_they_are_trained() -> None:
    tf.Variable(1.0, name="trained")
    tf.Variable(1.0, name="fixed", trainable=False)
    exported = tf.train.export_meta_graph()
    exported.meta_info_def.tensorflow_version = "1.4.0"
    for collection in exported.collection_def.values():
        values = collection.bytes_list.value
        for i, content in enumerate(values):
            proto = VariableDef.FromString(content)
            proto.trainable = False
            values[i] = proto.SerializeToString()
    with tf.Graph().as_default():
        tf.train.import_meta_graph(exported)
        assert [v.name for v in tf.trainable_variables()] == ["trained:0"]
        assert [v.trainable for v in tf.global_variables()] == [True, False]


def test_parts_of_variables_stay_parts() -> None:
    tf.get_variable("p", [4, 3], partitioner=tf.fixed_size_partitioner(2))
    exported = tf.train.export_meta_graph()
    with tf.Graph().as_default():
        tf.train.import_meta_graph(exported, import_scope="s")
        infos = [v._save_slice_info for v in tf.global_variables()]
        assert [(i.full_name, i.spec) for i in infos] == [
            ("s/p", "4 3 0,2:0,3"), ("s/p", "4 3 2,2:0,3"),
        ]  # fmt: skip
        made = tf.train.Saver()
        assert made.as_saver_def() is not None


def test_registering_protos() -> None:
    with pytest.raises(ValueError, match="'variables' are registered twice"):
        collection_protos.register_proto_function("variables", int, str, str)
    with pytest.raises(TypeError, match="to_proto must be callable"):
        collection_protos.register_proto_function("new", int, None, str)
    with pytest.raises(TypeError, match="from_proto must be callable"):
        collection_protos.register_proto_function("new", int, str)
    assert collection_protos.proto_functions("new") is None


def test_write_graph(tmp_path: Path) -> None:
    tf.constant(1, name="c")
    graph = tf.get_default_graph()
    text = tf.train.write_graph(graph, str(tmp_path / "a/b"), "g.pbtxt")
    assert text == str(tmp_path / "a/b/g.pbtxt")
    assert 'name: "c"' in Path(text).read_text()
    binary = tf.train.write_graph(graph.as_graph_def(), tmp_path, "g.pb", as_text=False)
    assert tf.GraphDef.FromString(Path(binary).read_bytes()) == graph.as_graph_def()


def test_op_defs() -> None:
    matmul = op_def_protos.to_proto(op_registry.lookup("MatMul"))
    assert [a.name for a in matmul.input_arg] == ["a", "b"]
    assert {a.name: a.type for a in matmul.attr}["transpose_a"] == "bool"
    assign = op_def_protos.to_proto(op_registry.lookup("Assign"))
    assert assign.input_arg[0].is_ref
    assert assign.allows_uninitialized_input
    assert [d.name for d in op_def_protos.op_list(["Pack", "MatMul", "Pack", "None"]).op] == [
        "MatMul", "Pack",
    ]  # fmt: skip
