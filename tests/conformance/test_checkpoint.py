"""Checkpoints, Savers and meta graphs go both ways between flowray and TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import flowray

tf2 = pytest.importorskip("tensorflow")
tf = tf2.compat.v1
RNG = np.random.default_rng(3)
APIS = {"flowray": flowray, "tensorflow": tf}
BOTH_WAYS = pytest.mark.parametrize(
    ("writer", "reader"), [("flowray", "tensorflow"), ("tensorflow", "flowray")]
)
VALUES = {
    "a/matrix": RNG.normal(size=(3, 4)).astype(np.float32),
    "a/step": np.int64(7),
    "bfloat16": RNG.normal(size=5).astype(ml_dtypes.bfloat16),
    "complex": (RNG.normal(size=3) + 1j).astype(np.complex128),
    "empty": np.zeros((0, 3), np.float64),
    "flags": np.array([True, False]),
    "half": np.array([1.5], np.float16),
    "small": np.array([[-1], [2]], np.int8),
    "words": np.array([b"hi", b"", b"x" * 300, b"\0\xff"], object),
}
WHOLE = np.arange(36, dtype=np.float32).reshape(6, 3, 2)


@pytest.fixture(autouse=True)
def _reference_variables() -> Iterator[None]:
    """TensorFlow 2 would make resource variables where TensorFlow 1 makes references."""
    enabled = tf.resource_variables_enabled()
    tf.disable_resource_variables()
    yield
    if enabled:
        tf.enable_resource_variables()


def variables(api: Any, **options: Any) -> dict[str, Any]:
    return {
        name: api.Variable(api.constant(value), name=name, **options)
        for name, value in VALUES.items()
    }


def partitioned(api: Any, parts: int, **options: Any) -> Any:
    return api.get_variable(
        "whole", initializer=api.constant(WHOLE),
        partitioner=api.fixed_size_partitioner(parts), **options,
    )  # fmt: skip


def save(api: Any, build: Callable[[Any], Any], prefix: str, **options: Any) -> str:
    with api.Graph().as_default(), api.Session() as session:
        build(api)
        saver = api.train.Saver(**options)
        session.run(api.global_variables_initializer())
        return saver.save(session, prefix)


def assert_same(actual: Any, expected: Any) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected, strict=True)


def files(directory: Path) -> dict[str, bytes]:
    """The checkpoint files without the graph and the list, which hold names and versions."""
    names = [n for n in os.listdir(directory) if n.startswith("m.") and not n.endswith(".meta")]
    return {name: (directory / name).read_bytes() for name in names}


@pytest.mark.parametrize("use_resource", [False, True], ids=["reference", "resource"])
@pytest.mark.parametrize("sharded", [False, True])
def test_files_are_the_same(tmp_path: Path, use_resource: bool, sharded: bool) -> None:
    found = []
    for name, api in APIS.items():
        directory = tmp_path / name
        directory.mkdir()

        def build(api: Any) -> None:
            variables(api, use_resource=use_resource)
            partitioned(api, 3, use_resource=use_resource)

        save(api, build, str(directory / "m"), sharded=sharded)
        found.append(files(directory))
    assert found[0] == found[1]
    assert sorted(found[0]) == ["m.data-00000-of-00001", "m.index"]


@BOTH_WAYS
@pytest.mark.parametrize("sharded", [False, True])
def test_restore(tmp_path: Path, writer: str, reader: str, sharded: bool) -> None:
    prefix = save(APIS[writer], variables, str(tmp_path / "m"), sharded=sharded)
    api = APIS[reader]
    with api.Graph().as_default(), api.Session() as session:
        made = {
            name: api.Variable(api.zeros_like(api.constant(value)), name=name)
            for name, value in VALUES.items()
        }
        assert api.train.latest_checkpoint(str(tmp_path)) == prefix
        api.train.Saver().restore(session, prefix)
        for name, value in session.run(made).items():
            assert_same(value, VALUES[name])


@BOTH_WAYS
def test_partitioned_variables(tmp_path: Path, writer: str, reader: str) -> None:
    """A variable saved in 3 parts is restored as a whole, in 2 parts and in 3."""
    prefix = save(APIS[writer], lambda api: partitioned(api, 3), str(tmp_path / "m"))
    api = APIS[reader]
    for parts in (1, 2, 3):
        with api.Graph().as_default(), api.Session() as session:
            variable = partitioned(api, parts)
            api.train.Saver().restore(session, prefix)
            assert_same(session.run(api.convert_to_tensor(variable)), WHOLE)
    with api.Graph().as_default(), api.Session() as session:
        variable = api.Variable(api.zeros_like(api.constant(WHOLE)), name="whole")
        api.train.Saver().restore(session, prefix)
        assert_same(session.run(variable), WHOLE)


@BOTH_WAYS
def test_read_without_a_graph(tmp_path: Path, writer: str, reader: str) -> None:
    def build(api: Any) -> None:
        variables(api)
        partitioned(api, 2)

    prefix = save(APIS[writer], build, str(tmp_path / "m"))
    train = APIS[reader].train
    values = dict(sorted({**VALUES, "whole": WHOLE}.items()))
    found = train.load_checkpoint(str(tmp_path))
    assert train.list_variables(prefix) == [(n, list(np.shape(v))) for n, v in values.items()]
    for name, value in values.items():
        assert found.has_tensor(name)
        assert_same(found.get_tensor(name), value)
        assert found.get_variable_to_shape_map()[name] == list(np.shape(value))
        assert_same(train.load_variable(prefix, name + ":0"), value)


def test_readers_agree(tmp_path: Path) -> None:
    prefix = save(flowray, variables, str(tmp_path / "m"))
    ours, theirs = (api.train.NewCheckpointReader(prefix) for api in (flowray, tf))
    assert ours.debug_string() == theirs.debug_string()
    assert ours.get_variable_to_shape_map() == theirs.get_variable_to_shape_map()
    dtypes = {n: d.name for n, d in theirs.get_variable_to_dtype_map().items()}
    assert {n: d.name for n, d in ours.get_variable_to_dtype_map().items()} == dtypes
    for name in VALUES:
        assert type(ours.get_tensor(name)) is type(theirs.get_tensor(name))
    for reader in (ours, theirs):
        with pytest.raises(Exception, match="Key none not found in checkpoint"):
            reader.get_tensor("none")


# Graphs -------------------------------------------------------------------------------------------


def on_devices(api: Any, **options: Any) -> None:
    with api.device("/job:ps/task:0"):
        api.Variable([0.0, 0.0], name="a", **options)
    with api.device("/job:ps/task:1/device:GPU:0"):
        api.Variable(1, name="b", **options)


def in_parts(api: Any) -> None:
    api.get_variable("p", [4, 3], partitioner=api.fixed_size_partitioner(2))
    api.Variable(1.0, name="q")


def of_unknown_shape(api: Any) -> None:
    api.Variable(api.placeholder_with_default([1.0], [None]), validate_shape=False, name="u")


def two_savers(api: Any) -> Any:
    on_devices(api)
    api.train.Saver()
    return api.train.Saver({"x": api.global_variables()[1]}, max_to_keep=0, name="named")


def saver_of_dict(api: Any) -> Any:
    in_parts(api)
    first, second, third = api.global_variables()
    return api.train.Saver({"x": [first, second], "y": third}, filename="f", sharded=False)


GRAPHS: dict[str, Callable[[Any], Any]] = {
    "reference": lambda api: (on_devices(api), api.train.Saver())[1],
    "resource": lambda api: (on_devices(api, use_resource=True), api.train.Saver())[1],
    "sharded": lambda api: (on_devices(api), api.train.Saver(sharded=True))[1],
    "sharded resource": lambda api: (
        on_devices(api, use_resource=True), api.train.Saver(sharded=True),
    )[1],
    "reshape": lambda api: (on_devices(api), api.train.Saver(reshape=True))[1],
    "sequential": lambda api: (on_devices(api), api.train.Saver(restore_sequentially=True))[1],
    "parts": lambda api: (in_parts(api), api.train.Saver())[1],
    "unknown shape": lambda api: (of_unknown_shape(api), api.train.Saver())[1],
    "unknown shape, reshape": lambda api: (of_unknown_shape(api), api.train.Saver(reshape=True))[1],
    "two": two_savers,
    "dict": saver_of_dict,
}  # fmt: skip


def nodes_of(api: Any, build: Callable[[Any], Any]) -> tuple[Any, str]:
    with api.Graph().as_default() as graph:
        saver = build(api)
        nodes = []
        for node in graph.as_graph_def().node:
            if not node.name.startswith(("save", "named")):
                continue
            data = [i for i in node.input if not i.startswith("^")]
            controls = sorted(i for i in node.input if i.startswith("^"))
            # The others are TensorFlow 2's.
            attrs = {
                key: str(value)
                for key, value in node.attr.items()
                if key not in ("_has_manual_control_dependencies", "value")
            }
            value = (
                api.make_ndarray(node.attr["value"].tensor).tolist() if node.op == "Const" else 0
            )
            nodes.append((node.name, node.op, data, controls, node.device, attrs, value))
        return nodes, str(saver.as_saver_def())


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_are_the_same(name: str) -> None:
    assert nodes_of(flowray, GRAPHS[name]) == nodes_of(tf, GRAPHS[name])


def errors_of(build: Callable[[Any], Any]) -> list[tuple[str, str]]:
    found = []
    for api in (flowray, tf):
        with api.Graph().as_default():
            on_devices(api)
            with pytest.raises((TypeError, ValueError)) as info:
                build(api)
        found.append((type(info.value).__name__, str(info.value).replace("tf.Variable", "")))
    return found


@pytest.mark.parametrize(
    "build",
    [
        lambda api: api.train.Saver([]),
        lambda api: api.train.Saver(5),
        lambda api: api.train.Saver({5: api.global_variables()[0]}),
        lambda api: api.train.Saver(api.global_variables() * 2),
        lambda api: api.train.Saver(api.global_variables(), defer_build=True),
        lambda api: api.train.Saver({"a": api.global_variables()[:1]}),
        lambda api: api.train.Saver(dict.fromkeys("xy", api.global_variables()[0])),
        lambda api: api.train.Saver().restore(None, None),
        lambda api: api.train.Saver().restore(None, "/no/checkpoint"),
        lambda api: api.train.Saver().save(None, "/tmp/checkpoint"),
        lambda api: api.train.Saver().save(None, "/tmp/m", latest_filename="a/b"),
        lambda api: api.train.load_checkpoint("/tmp/"),
    ],
)  # fmt: skip
def test_errors_are_the_same(build: Callable[[Any], Any]) -> None:
    ours, theirs = errors_of(build)
    assert ours == theirs


@pytest.mark.parametrize("problem", ["missing", "dtype", "shape"])
def test_errors_of_restoring_are_the_same(tmp_path: Path, problem: str) -> None:
    prefix = save(flowray, lambda api: api.Variable([1.0, 2.0], name="v"), str(tmp_path / "m"))
    found = []
    for api in (flowray, tf):
        with api.Graph().as_default(), api.Session() as session:
            initial = {"missing": [1.0, 2.0], "dtype": [1, 2], "shape": [1.0]}[problem]
            api.Variable(initial, name="w" if problem == "missing" else "v")
            saver = api.train.Saver()
            with pytest.raises(api.errors.OpError) as info:
                saver.restore(session, prefix)
            # TensorFlow 2 tells the place in the script within the text.
            text = info.value.message
            before, after = text.split("Original error:\n\n")
            cause = [line for line in after.split("\n") if "[[" not in line]
            found.append((type(info.value).__name__, before, cause[-1] or cause[0]))
    (name, before, cause), theirs = found
    assert name == theirs[0]
    assert before.startswith(theirs[1].strip())  # what differs, and what to do, comes after it
    assert cause in theirs[2] or theirs[2] in cause


# Meta graphs --------------------------------------------------------------------------------------


def network(api: Any) -> None:
    with api.name_scope("in"):
        x = api.placeholder(api.float32, [None, 2], name="x")
    w = api.get_variable("w", initializer=[[1.0], [2.0]])
    step = api.train.get_or_create_global_step()
    with api.name_scope("out"):
        y = api.matmul(x, w, name="y") + api.cast(step, api.float32)
    api.add_to_collection("output", y)
    api.add_to_collection("names", "some text")
    api.add_to_collection("numbers", 3)
    api.add_to_collection("weights", 0.5)


@BOTH_WAYS
@pytest.mark.parametrize("scope", [None, "into"])
def test_import_meta_graph(tmp_path: Path, writer: str, reader: str, scope: str | None) -> None:
    prefix = save(APIS[writer], network, str(tmp_path / "m"))
    api = APIS[reader]
    within = f"{scope}/" if scope else ""
    with api.Graph().as_default() as graph, api.Session() as session:
        saver = api.train.import_meta_graph(prefix + ".meta", import_scope=scope)
        saver.restore(session, prefix)
        (y,) = api.get_collection("output")
        x = graph.get_tensor_by_name(f"{within}in/x:0")
        assert_same(session.run(y, {x: [[10.0, 100.0]]}), np.float32([[210]]))
        assert [v.name for v in api.global_variables()] == [
            f"{within}w:0",
            f"{within}global_step:0",
        ]
        assert [v.name for v in api.trainable_variables()] == [f"{within}w:0"]
        assert api.trainable_variables()[0] is api.global_variables()[0]
        assert api.get_collection("numbers") == [3]
        assert api.get_collection("weights") == [0.5]
        saver.save(session, str(tmp_path / "again"))
    assert files_equal(tmp_path, "m", "again")


def files_equal(directory: Path, first: str, second: str) -> bool:
    suffixes = (".index", ".data-00000-of-00001")
    pairs = [
        ((directory / (first + s)).read_bytes(), (directory / (second + s)).read_bytes())
        for s in suffixes
    ]
    return all(a == b for a, b in pairs)


def test_meta_graphs_are_the_same() -> None:
    exported = []
    for api in (flowray, tf):
        with api.Graph().as_default():
            network(api)
            saver = api.train.Saver()
            api.add_to_collection(api.GraphKeys.SAVERS, saver)
            exported.append(saver.export_meta_graph())
    ours, theirs = exported
    assert str(ours.saver_def) == str(theirs.saver_def)
    collections = {k: c.SerializeToString() for k, c in theirs.collection_def.items()}
    assert {k: c.SerializeToString() for k, c in ours.collection_def.items()} == collections
    names = [op.name for op in theirs.meta_info_def.stripped_op_list.op]
    assert [op.name for op in ours.meta_info_def.stripped_op_list.op] == names


def test_exported_scopes_are_the_same() -> None:
    exported = []
    for api in (flowray, tf):
        with api.Graph().as_default():
            outside = api.constant([1.0, 2.0], name="outside")
            with api.name_scope("part"):
                inside = api.Variable([1.0, 2.0], name="v")
                with api.control_dependencies([outside]):
                    total = api.add(inside, outside, name="total")
            api.add_to_collection("all", total)
            api.add_to_collection("all", outside)
            meta = api.train.export_meta_graph(export_scope="part")
            nodes = [
                (n.name, list(n.input), list(n.attr["_class"].list.s)) for n in meta.graph_def.node
            ]
            collections = {k: c.SerializeToString() for k, c in meta.collection_def.items()}
            exported.append((nodes, collections))
    assert exported[0] == exported[1]


# The list of checkpoints --------------------------------------------------------------------------


@pytest.mark.parametrize("relative", [False, True])
def test_state_files_are_the_same(
    tmp_path: Path, relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = []
    for api in (flowray, tf):
        for directory in ("run", str(tmp_path / "run")):
            (tmp_path / "run").mkdir(exist_ok=True)
            with api.Graph().as_default(), api.Session() as session:
                step = api.train.get_or_create_global_step()
                saver = api.train.Saver(
                    max_to_keep=2, save_relative_paths=relative, pad_step_number=True
                )
                for value in (5, 6, 7):
                    step.load(value, session)
                    saver.save(session, os.path.join(directory, "m"), global_step=step)
            names = sorted(os.listdir(tmp_path / "run"))
            texts.append(((tmp_path / "run/checkpoint").read_text(), names))
            latest = api.train.latest_checkpoint(directory)
            assert latest == os.path.join(directory, "m-00000007")
            for name in names:
                (tmp_path / "run" / name).unlink()
    assert texts[:2] == texts[2:]


@BOTH_WAYS
def test_init_from_checkpoint(tmp_path: Path, writer: str, reader: str) -> None:
    def build(api: Any) -> None:
        with api.variable_scope("old"):
            api.get_variable("a", initializer=[1.0, 2.0])
            api.get_variable("b", initializer=3)
            partitioned(api, 3)

    prefix = save(APIS[writer], build, str(tmp_path / "m"))
    api = APIS[reader]
    maps: list[Callable[[dict[str, Any]], dict[str, Any]]] = [
        lambda made: {"old/": "new/"},
        lambda made: {"old/a": "new/a", "old/b": made["b"], "old/whole": "new/whole"},
        lambda made: {"old/a": made["a"], "old/b": "new/b", "old/whole": list(made["whole"])},
    ]
    for use_resource in (False, True):
        for assignment in maps:
            with api.Graph().as_default(), api.Session() as session:
                with api.variable_scope("new", use_resource=use_resource):
                    made = {
                        "a": api.get_variable("a", [2]),
                        "b": api.get_variable("b", [], dtype=api.int32),
                        "whole": api.get_variable(
                            "whole", WHOLE.shape, partitioner=api.fixed_size_partitioner(2)
                        ),
                    }
                api.train.init_from_checkpoint(prefix, assignment(made))
                session.run(api.global_variables_initializer())
                assert_same(session.run(made["a"]), np.float32([1, 2]))
                assert_same(session.run(made["b"]), np.int32(3))
                assert_same(session.run(api.convert_to_tensor(made["whole"])), WHOLE)
