"""The Estimator: training, resuming, evaluating, predicting, and what it refuses."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import flowray as tf

RANDOM = np.random.RandomState(0)
X = RANDOM.randn(200, 4).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    yield
    tf.summary.FileWriterCache.clear()


def model_fn(features, labels, mode, params):
    w = tf.get_variable("w", [4, 2], initializer=tf.zeros_initializer())
    logits = tf.matmul(features["x"], w)
    predictions = {"class": tf.argmax(logits, 1), "logits": logits}
    if mode == tf.estimator.ModeKeys.PREDICT:
        return tf.estimator.EstimatorSpec(mode, predictions=predictions)
    loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )
    accuracy = tf.metrics.accuracy(labels, predictions["class"])
    if mode == tf.estimator.ModeKeys.EVAL:
        return tf.estimator.EstimatorSpec(mode, loss=loss, eval_metric_ops={"accuracy": accuracy})
    step = tf.train.GradientDescentOptimizer(params["rate"]).minimize(
        loss, global_step=tf.train.get_global_step()
    )
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=step)


def estimator(directory, **config):
    return tf.estimator.Estimator(
        model_fn,
        config=tf.estimator.RunConfig(model_dir=str(directory), **config),
        params={"rate": 0.5},
    )


def arrays(num_epochs=1, shuffle=False, x=X, y=Y):
    return tf.estimator.inputs.numpy_input_fn(
        {"x": x}, y, batch_size=20, num_epochs=num_epochs, shuffle=shuffle
    )


def test_trains_evaluates_predicts_and_resumes(tmp_path):
    model = estimator(tmp_path)
    assert model.train(arrays(num_epochs=3, shuffle=True)) is model
    assert model.get_variable_value("global_step") == 30
    result = model.evaluate(arrays())
    assert result["accuracy"] > 0.9
    assert result["global_step"] == 30
    classes = [p["class"] for p in model.predict(arrays(x=X[:7], y=None))]
    assert len(classes) == 7
    logits = X @ model.get_variable_value("w")
    np.testing.assert_array_equal(classes, np.argmax(logits[:7], 1))
    loss = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(200), Y])
    assert result["loss"] == pytest.approx(loss, rel=1e-5)
    again = estimator(tmp_path)
    again.train(arrays(num_epochs=None), steps=4)
    assert again.get_variable_value("global_step") == 34
    again.train(arrays(num_epochs=None), max_steps=34)  # there already
    assert again.get_variable_value("global_step") == 34
    assert sorted(again.get_variable_names()) == ["global_step", "w"]


def test_the_events_are_there(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = estimator(tmp_path, save_summary_steps=2, log_step_count_steps=2)
    model.train(arrays(num_epochs=1))
    model.evaluate(arrays())
    tf.summary.FileWriterCache.clear()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [e.step for e in events.Scalars("loss")] == [1, 3, 5, 7, 9]
    assert "global_step/sec" in events.Tags()["scalars"]
    assert events.Tags()["graph"]
    evaluated = EventAccumulator(str(tmp_path / "eval")).Reload()
    assert {"accuracy", "loss"} <= set(evaluated.Tags()["scalars"])


def test_only_as_many_checkpoints_as_asked_for(tmp_path):
    model = estimator(tmp_path, save_checkpoints_steps=2, keep_checkpoint_max=2)
    model.train(arrays(num_epochs=1))
    kept = sorted(name for name in os.listdir(tmp_path) if name.endswith(".index"))
    assert kept == ["model.ckpt-10.index", "model.ckpt-8.index"]


def test_an_input_function_may_return_a_dataset(tmp_path):
    def input_fn(mode, params, config):
        assert (mode, params["rate"], config.model_dir) == ("train", 0.5, str(tmp_path))
        return tf.data.Dataset.from_tensor_slices(({"x": X}, Y)).batch(50)

    model = estimator(tmp_path).train(input_fn)
    assert model.get_variable_value("global_step") == 4


def test_hooks_and_listeners(tmp_path):
    saved: list[int] = []

    class Listener(tf.train.CheckpointSaverListener):
        def after_save(self, session, global_step_value):
            saved.append(global_step_value)
            return global_step_value >= 4

    model = estimator(tmp_path, save_checkpoints_steps=2)
    model.train(arrays(num_epochs=None), saving_listeners=[Listener()])
    assert saved == [0, 2, 4]


def test_train_and_evaluate(tmp_path):
    result, _ = tf.estimator.train_and_evaluate(
        estimator(tmp_path, save_checkpoints_steps=10),
        tf.estimator.TrainSpec(arrays(num_epochs=None, shuffle=True), max_steps=30),
        tf.estimator.EvalSpec(arrays(), steps=None, throttle_secs=0),
    )
    assert result["global_step"] == 30
    assert result["accuracy"] > 0.9


def test_what_a_model_function_must_return(tmp_path):
    def without_loss(features, labels, mode):
        return tf.estimator.EstimatorSpec(mode, predictions=features["x"])

    with pytest.raises(ValueError, match="Missing train_op"):
        tf.estimator.Estimator(without_loss, str(tmp_path)).train(arrays())
    with pytest.raises(ValueError, match="Missing loss"):
        tf.estimator.Estimator(without_loss, str(tmp_path)).evaluate(arrays())

    def nothing(features, labels, mode):
        return None

    with pytest.raises(ValueError, match="should return an EstimatorSpec"):
        tf.estimator.Estimator(nothing, str(tmp_path)).train(arrays())


def test_arguments_are_checked(tmp_path):
    with pytest.raises(ValueError, match="not expected args"):
        tf.estimator.Estimator(lambda features, other: None, str(tmp_path))
    with pytest.raises(ValueError, match="does not include params"):
        tf.estimator.Estimator(lambda features: None, str(tmp_path), params={"a": 1})
    model = estimator(tmp_path)
    with pytest.raises(ValueError, match="both steps and max_steps"):
        model.train(arrays(), steps=1, max_steps=1)
    with pytest.raises(ValueError, match="steps > 0"):
        model.evaluate(arrays(), steps=0)
    with pytest.raises(TypeError, match="SessionRunHook"):
        model.train(arrays(), hooks=["a hook"])
    with pytest.raises(ValueError, match="has not been trained"):
        model.get_variable_names()
    with pytest.raises(ValueError, match="save_checkpoints_secs"):
        tf.estimator.RunConfig(save_checkpoints_secs=1, save_checkpoints_steps=1)
    with pytest.raises(ValueError, match="shuffle must be provided"):
        tf.estimator.inputs.numpy_input_fn(X, Y)


def test_the_target_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"session_master": "grpc://localhost:1"}))
    config = tf.estimator.RunConfig(model_dir=str(tmp_path))
    assert config.master == config.evaluation_master == "grpc://localhost:1"
    assert config.is_chief
    monkeypatch.setenv(
        "TF_CONFIG",
        json.dumps(
            {
                "cluster": {"chief": ["a:1"], "ps": ["b:1", "c:1"], "worker": ["d:1"]},
                "task": {"type": "worker", "index": 0},
            }
        ),
    )
    config = tf.estimator.RunConfig()
    assert (config.master, config.is_chief, config.num_ps_replicas) == ("grpc://d:1", False, 2)


def test_variables_go_to_the_parameter_servers():
    setter = tf.train.replica_device_setter(ps_tasks=2, worker_device="/job:worker/task:3")
    with tf.Graph().as_default(), tf.device(setter):
        a, b, c = (tf.get_variable(name, []) for name in "abc")
        total = a + b + c
    assert [v.device for v in (a, b, c)] == [
        "/job:ps/task:0", "/job:ps/task:1", "/job:ps/task:0",
    ]  # fmt: skip
    assert total.device == "/job:worker/task:3"
