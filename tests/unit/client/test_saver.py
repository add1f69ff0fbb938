"""``tf.train.Saver``: what it keeps, what it removes, what it refuses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flowray as tf
from flowray.client.train.checkpoints import checkpoint_management, saver
from flowray.client.train.checkpoints.saveable import SaveableObject, SaveSpec


@pytest.fixture(autouse=True)
def _graph() -> Any:
    with tf.Graph().as_default():
        yield


def checkpoints(directory: Path) -> list[str]:
    return sorted(p.name.removesuffix(".index") for p in directory.glob("*.index"))


def counter() -> tuple[Any, Any]:
    v = tf.Variable(0, name="v")
    return v, v.assign_add(1)


def test_restores_what_was_saved(tmp_path: Path) -> None:
    v, add = counter()
    matrix = tf.Variable(np.arange(6.0).reshape(2, 3), name="m", use_resource=True)
    made = tf.train.Saver()
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(add)
        prefix = made.save(sess, str(tmp_path / "model"), global_step=3)
        assert prefix == str(tmp_path / "model-3")
    with tf.Session() as sess:
        made.restore(sess, prefix)
        assert sess.run(v) == 1
        np.testing.assert_array_equal(sess.run(matrix), np.arange(6.0).reshape(2, 3))
    assert sorted(os.listdir(tmp_path)) == [
        "checkpoint", "model-3.data-00000-of-00001", "model-3.index", "model-3.meta",
    ]  # fmt: skip


@pytest.mark.parametrize("step", ["tensor", "name", "number", "numpy"])
def test_global_step(tmp_path: Path, step: str) -> None:
    v, _ = counter()
    with tf.Session() as sess:
        v.load(12, sess)
        given = {"tensor": v, "name": "v:0", "number": 12, "numpy": np.int32(12)}[step]
        for padded, expected in ((False, "m-12"), (True, "m-00000012")):
            made = tf.train.Saver(pad_step_number=padded)
            assert made.save(sess, tmp_path / "m", global_step=given) == str(tmp_path / expected)


@pytest.mark.parametrize("sharded", [False, True])
def test_max_to_keep(tmp_path: Path, sharded: bool) -> None:
    counter()
    made = tf.train.Saver(max_to_keep=2, sharded=sharded)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for step in range(4):
            made.save(sess, str(tmp_path / "m"), global_step=step)
        assert checkpoints(tmp_path) == ["m-2", "m-3"]
        assert made.last_checkpoints == [str(tmp_path / f"m-{i}") for i in (2, 3)]
        # To save one again makes it the latest.
        made.save(sess, str(tmp_path / "m"), global_step=2)
        assert made.last_checkpoints == [str(tmp_path / f"m-{i}") for i in (3, 2)]
    state = tf.train.get_checkpoint_state(tmp_path)
    assert list(state.all_model_checkpoint_paths) == made.last_checkpoints
    assert len(list(tmp_path.iterdir())) == 2 * 3 + 1  # index, data, meta each; the list


@pytest.mark.parametrize("keep", [None, 0])
def test_all_are_kept(tmp_path: Path, keep: int | None) -> None:
    counter()
    made = tf.train.Saver(max_to_keep=keep)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for step in range(7):
            made.save(sess, str(tmp_path / "m"), global_step=step)
    assert len(checkpoints(tmp_path)) == 7
    assert made.last_checkpoints == []
    assert tf.train.latest_checkpoint(tmp_path) == str(tmp_path / "m-6")


def test_keep_checkpoint_every_n_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter()
    now = 1000.0
    monkeypatch.setattr(saver.time, "time", lambda: now)
    made = tf.train.Saver(max_to_keep=1, keep_checkpoint_every_n_hours=1.0)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for step in range(10):
            made.save(sess, str(tmp_path / "m"), global_step=step)
            now += 20 * 60
    # Saved after 0, 20, 40... minutes: the first one after each full hour stays.
    assert checkpoints(tmp_path) == ["m-4", "m-7", "m-9"]


def test_recover_last_checkpoints(tmp_path: Path) -> None:
    counter()
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        first = tf.train.Saver(max_to_keep=3)
        for step in range(3):
            first.save(sess, str(tmp_path / "m"), global_step=step)
        second = tf.train.Saver(max_to_keep=3)
        second.recover_last_checkpoints([*first.last_checkpoints, str(tmp_path / "gone")])
        assert second.last_checkpoints == first.last_checkpoints
        second.save(sess, str(tmp_path / "m"), global_step=3)
        assert checkpoints(tmp_path) == ["m-1", "m-2", "m-3"]
        third = tf.train.Saver(max_to_keep=1)
        third.set_last_checkpoints(second.last_checkpoints[:1])
        third.save(sess, str(tmp_path / "m"), global_step=4)
        assert "m-1" in checkpoints(tmp_path), "what is set without a time is never removed"


def test_reshape(tmp_path: Path) -> None:
    with tf.Session() as sess:
        v = tf.Variable(np.arange(6.0), name="v")
        w = tf.Variable(np.arange(6.0), name="w", use_resource=True)
        sess.run(tf.global_variables_initializer())
        prefix = tf.train.Saver().save(sess, str(tmp_path / "m"))
    with tf.Graph().as_default(), tf.Session() as sess:
        v = tf.Variable(np.zeros((2, 3)), name="v")
        w = tf.Variable(np.zeros((3, 2)), name="w", use_resource=True)
        with pytest.raises(tf.errors.InvalidArgumentError, match="Assign requires shapes of both"):
            tf.train.Saver([v]).restore(sess, prefix)
        tf.train.Saver(reshape=True).restore(sess, prefix)
        np.testing.assert_array_equal(sess.run(v), np.arange(6.0).reshape(2, 3))
        np.testing.assert_array_equal(sess.run(w), np.arange(6.0).reshape(3, 2))


def test_names_of_a_dict(tmp_path: Path) -> None:
    v, _ = counter()
    with tf.Session() as sess:
        v.load(3, sess)
        prefix = tf.train.Saver({"other": v}).save(sess, str(tmp_path / "m"))
        assert tf.train.list_variables(prefix) == [("other", [])]
        with pytest.raises(tf.errors.NotFoundError, match="Key v not found in checkpoint"):
            tf.train.Saver().restore(sess, prefix)
        v.load(0, sess)
        tf.train.Saver({"other": v}).restore(sess, prefix)
        assert sess.run(v) == 3


def test_own_saveables(tmp_path: Path) -> None:
    """An object that is not a variable can tell what to save and how to restore it."""

    class Halved(SaveableObject):
        def restore(self, restored_tensors: Any, restored_shapes: Any) -> Any:
            return self.op.assign(restored_tensors[0] / 2)

    v = tf.Variable(3.0, name="v", collections=[])
    spec = SaveSpec(lambda: v * 2, "", "double", dtype=tf.float32, device="")
    tf.add_to_collection(tf.GraphKeys.SAVEABLE_OBJECTS, Halved(v, [spec], "halved"))
    made = tf.train.Saver()
    with tf.Session() as sess:
        sess.run(v.initializer)
        prefix = made.save(sess, str(tmp_path / "m"))
        assert tf.train.load_variable(prefix, "double") == 6
        v.load(0.0, sess)
        made.restore(sess, prefix)
        assert sess.run(v) == 3


def test_empty(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No variables to save"):
        tf.train.Saver()
    made = tf.train.Saver(allow_empty=True)
    with tf.Session() as sess:
        assert made.save(sess, str(tmp_path / "m")) is None
        made.restore(sess, "anything")
    assert os.listdir(tmp_path) == ["m.meta"]


def test_deferred(tmp_path: Path) -> None:
    made = tf.train.Saver(defer_build=True)
    v, _ = counter()
    with tf.Session() as sess:
        v.load(1, sess)
        with pytest.raises(RuntimeError, match=r"`build\(\)` should be called before save"):
            made.save(sess, str(tmp_path / "m"))
        made.build()
        made.save(sess, str(tmp_path / "m"))
    assert checkpoints(tmp_path) == ["m"]


def test_refused(tmp_path: Path) -> None:
    counter()
    made = tf.train.Saver()
    with pytest.raises(tf.errors.UnimplementedError, match="format V2 only"):
        tf.train.Saver(write_version=tf.train.SaverDef.V1)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        with pytest.raises(TypeError, match="'sess' must be a Session"):
            made.save(None, str(tmp_path / "m"))
        with pytest.raises(ValueError, match="'latest_filename' collides with 'save_path'"):
            made.save(sess, str(tmp_path / "checkpoint"))
        with pytest.raises(ValueError, match=r"Parent directory of .* doesn't exist, can't save"):
            made.save(sess, str(tmp_path / "no/such/m"))
        with pytest.raises(ValueError, match="The passed save_path is not a valid checkpoint"):
            made.restore(sess, str(tmp_path / "none"))
        with pytest.raises(tf.errors.UnimplementedError, match="save_debug_info"):
            made.save(sess, str(tmp_path / "m"), save_debug_info=True)
        v = tf.Variable(1.0, name="uninitialized")
        with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized"):
            tf.train.Saver([v]).save(sess, str(tmp_path / "u"))
    assert "u.index" not in os.listdir(tmp_path)


def test_a_moved_directory(tmp_path: Path) -> None:
    v, _ = counter()
    (tmp_path / "run").mkdir()
    with tf.Session() as sess:
        v.load(4, sess)
        made = tf.train.Saver(save_relative_paths=True)
        made.save(sess, str(tmp_path / "run/m"), global_step=1)
        (tmp_path / "run").rename(tmp_path / "moved")
        latest = tf.train.latest_checkpoint(tmp_path / "moved")
        assert latest == str(tmp_path / "moved/m-1")
        v.load(0, sess)
        made.restore(sess, latest)
        assert sess.run(v) == 4


def test_saver_def_round_trip(tmp_path: Path) -> None:
    v, _ = counter()
    with tf.name_scope("outer"):
        made = tf.train.Saver(name="mine")
    assert made.to_proto() is made.as_saver_def()
    assert made.to_proto("elsewhere") is None
    inner = made.to_proto("outer")
    assert inner.restore_op_name == "mine/restore_all"
    again = tf.train.Saver.from_proto(inner, import_scope="outer")
    assert again.as_saver_def() == made.as_saver_def()
    with tf.Session() as sess:
        v.load(2, sess)
        assert again.save(sess, str(tmp_path / "m")) == str(tmp_path / "m")
    with pytest.raises(ValueError, match="saver_def must specify the save_tensor_name"):
        tf.train.Saver(saver_def=tf.train.SaverDef(restore_op_name="r"))


def test_default_saver_of_a_graph() -> None:
    counter()
    made = saver.get_saver_or_default()
    assert made.as_saver_def().sharded
    assert saver.get_saver_or_default() is made
    tf.add_to_collection(tf.GraphKeys.SAVERS, made)
    with pytest.raises(RuntimeError, match="More than one item in collection savers"):
        saver.get_saver_or_default()


# Managing checkpoints -----------------------------------------------------------------------------


def test_state(tmp_path: Path) -> None:
    assert tf.train.get_checkpoint_state(tmp_path) is None
    assert tf.train.latest_checkpoint(tmp_path) is None
    tf.train.update_checkpoint_state(
        str(tmp_path), str(tmp_path / "b"), [str(tmp_path / "a")],
        all_model_checkpoint_timestamps=[1.0, 2.0], last_preserved_timestamp=3.0,
    )  # fmt: skip
    state = tf.train.get_checkpoint_state(tmp_path)
    assert list(state.all_model_checkpoint_paths) == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert list(state.all_model_checkpoint_timestamps) == [1, 2]
    assert tf.train.latest_checkpoint(tmp_path) is None, "its files do not exist"
    (tmp_path / "b.index").touch()
    assert tf.train.latest_checkpoint(tmp_path) == str(tmp_path / "b")
    with pytest.raises(ValueError, match="timestamps, if provided, must match"):
        tf.train.generate_checkpoint_state_proto("", "b", ["b"], [1.0, 2.0])
    with pytest.raises(RuntimeError, match="conflicts with path used for checkpoint state"):
        tf.train.update_checkpoint_state(str(tmp_path), str(tmp_path / "checkpoint"))


@pytest.mark.parametrize("content", [b"junk", b"\xff\xfe", b"model_checkpoint_path: 5"])
def test_a_broken_state_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint").write_bytes(content)
    assert tf.train.get_checkpoint_state(tmp_path) is None


def test_a_state_file_without_a_path(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text('all_model_checkpoint_paths: "a"')
    with pytest.raises(ValueError, match="Invalid checkpoint state loaded from"):
        tf.train.get_checkpoint_state(tmp_path)


def test_remove_checkpoint(tmp_path: Path) -> None:
    v, _ = counter()
    made = tf.train.Saver(max_to_keep=None)
    with tf.Session() as sess:
        v.load(1, sess)
        for name in ("m", "m-1", "m2"):
            made.save(sess, str(tmp_path / name))
    before = tf.train.get_checkpoint_mtimes([str(tmp_path / n) for n in ("m", "none", "m2")])
    assert len(before) == 2
    assert before[0] == os.stat(tmp_path / "m.index").st_mtime_ns / 1e9
    tf.train.remove_checkpoint(str(tmp_path / "m"))
    tf.train.remove_checkpoint(str(tmp_path / "m"))
    assert not tf.train.checkpoint_exists(str(tmp_path / "m"))
    assert checkpoints(tmp_path) == ["m-1", "m2"]
    assert not list(tmp_path.glob("m.*"))


def test_meta_graph_filename() -> None:
    name = checkpoint_management.meta_graph_filename
    assert name("dir/m-5") == "dir/m-5.meta"
    assert name("dir/m-5-00001-of-00002") == "dir/m-5.meta"
    assert name("dir/m-5-?????-of-00002", "m") == "dir/m-5.m"


# Reading ------------------------------------------------------------------------------------------


def test_reader(tmp_path: Path) -> None:
    v, _ = counter()
    whole = tf.get_variable(
        "p", initializer=tf.constant([[1.0], [2.0]]), partitioner=tf.fixed_size_partitioner(2)
    )
    assert len(whole) == 2
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        v.load(5, sess)
        tf.train.Saver().save(sess, str(tmp_path / "m"))
    reader = tf.train.load_checkpoint(tmp_path)
    assert reader.get_variable_to_shape_map() == {"p": [2, 1], "v": []}
    assert reader.get_variable_to_dtype_map() == {"p": tf.float32, "v": tf.int32}
    assert reader.has_tensor("v")
    assert not reader.has_tensor("")
    np.testing.assert_array_equal(reader.get_tensor("p"), [[1], [2]])
    assert tf.train.load_variable(tmp_path, "v:0") == 5
    assert b"v (DT_INT32) []\n" in reader.debug_string()
    assert reader.debug_string().count(b"part") == 0
    with pytest.raises(tf.errors.NotFoundError, match="Key w not found in checkpoint"):
        reader.get_tensor("w")
    with pytest.raises(tf.errors.NotFoundError, match="Failed to find any matching files for"):
        tf.train.NewCheckpointReader(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="Couldn't find 'checkpoint' file or checkpoints in given"):
        tf.train.list_variables(os.path.dirname(__file__))


def test_init_from_checkpoint(tmp_path: Path) -> None:
    with tf.variable_scope("old"):
        tf.get_variable("a", initializer=[1.0, 2.0])
        tf.get_variable("sub/b", initializer=3)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, str(tmp_path / "m"))
    with tf.Graph().as_default(), tf.Session() as sess:
        with tf.variable_scope("new"):
            a, b = tf.get_variable("a", [2]), tf.get_variable("sub/b", [], tf.int32)
        other = tf.get_variable("other", initializer=[7.0])
        tf.train.init_from_checkpoint(tmp_path, {"old/": "new/"})
        sess.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(sess.run(a), [1, 2])
        assert sess.run(b) == 3
        np.testing.assert_array_equal(sess.run(other), [7])
        with pytest.raises(ValueError, match="Tensor old/c is not found in"):
            tf.train.init_from_checkpoint(tmp_path, {"old/c": a})
        with pytest.raises(ValueError, match=r"Shape of variable other \(\(1,\)\) doesn't match"):
            tf.train.init_from_checkpoint(tmp_path, {"old/a": "other"})
        with pytest.raises(ValueError, match="Should be 'scope/': 'other_scope/'"):
            tf.train.init_from_checkpoint(tmp_path, {"old/": "new"})
        with pytest.raises(ValueError, match=r"maps to none, but tf.get_variable has made no such"):
            tf.train.init_from_checkpoint(tmp_path, {"old/a": "none"})
