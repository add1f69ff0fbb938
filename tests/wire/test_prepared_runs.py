"""flowray's own client prepares a run once: what travels with a step, and what it remembers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import flowray as tf
from flowray.client.session import session as session_module
from flowray.master.master import Master
from flowray.worker import kernel_registry
from tests.wire.conftest import Service


@pytest.fixture
def prepared(service: Service, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The signatures that masters were asked to prepare, in order."""
    signatures: list[Any] = []
    prepare = Master.prepare_run

    def prepare_run(master: Master, handle: str, signature: Any) -> int:
        signatures.append(signature)
        return prepare(master, handle, signature)

    monkeypatch.setattr(Master, "prepare_run", prepare_run)
    return signatures


@pytest.fixture(params=["", "grpc"])
def target(request: pytest.FixtureRequest, service: Service) -> str:
    return service.target if request.param else ""


def test_a_signature_is_prepared_once(target: str, prepared: list[Any]) -> None:
    with tf.Graph().as_default(), tf.Session(target) as sess:
        p = tf.placeholder(tf.float32, name="p")
        y = tf.negative(p, name="y")
        call = sess.make_callable(y, [p])
        for value in (1.0, 2.0):
            assert sess.run(y, {p: value}) == -value
            assert sess.run({"y": y}, {p: value}) == {"y": -value}
            assert call(value) == -value
            # A named tuple is flattened anew in each run.
            assert sess.run(tf.SparseTensorValue(y, y, y), {p: value}).values == -value
        assert [(s.feeds, s.fetches, s.targets) for s in prepared] == [(("p:0",), ("y:0",), ())]
        more = y * 2.0  # a handle outlives an extension of the graph
        assert sess.run(more, {p: 1.0}) == -2
        assert sess.run(y, {p: 3.0}) == -3
        assert len(prepared) == 2


def test_a_run_that_the_master_forgot_is_prepared_again(
    target: str, prepared: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was run, so the client may repeat the step; it counts once."""
    with tf.Graph().as_default(), tf.Session(target) as sess:
        v = tf.get_variable("v", [], initializer=tf.zeros_initializer())
        add = v.assign_add(1.0)
        sess.run(v.initializer)
        assert sess.run(add) == 1
        transport: Any = sess._transport
        run = transport.run
        given: list[int] = []

        def with_stale_handle(session: str, handle: int, *rest: Any) -> Any:
            given.append(handle)
            return run(session, handle + 1000 if len(given) == 1 else handle, *rest)

        monkeypatch.setattr(transport, "run", with_stale_handle)
        assert sess.run(add) == 2
        assert len(given) == 2
        assert len(prepared) == 3
        assert sess.run(add) == 3
        assert len(prepared) == 3


def test_a_session_remembers_a_bounded_number_of_signatures(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_MAX_PREPARED", 5)
    with tf.Graph().as_default(), tf.Session(target) as sess:
        p = tf.placeholder(tf.float32)
        first = -p
        for i in range(20):
            assert sess.run(p + float(i), {p: 1.0}) == 1 + i
            assert sess.run(first, {p: 1.0}) == -1
        assert len(sess._prepared) == len(sess._run_handles) == 5


@pytest.mark.parametrize("text", ["Tanh", "Neg"])
def test_an_exception_in_a_kernel_is_an_op_error_and_the_session_goes_on(
    target: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(xp: Any, x: Any) -> Any:
        raise MemoryError("no memory") if text == "Tanh" else KeyError("a bug")

    registered = kernel_registry._registry
    error = tf.errors.ResourceExhaustedError if text == "Tanh" else tf.errors.InternalError
    with tf.Graph().as_default(), tf.Session(target) as sess:
        p = tf.placeholder(tf.float32)
        bad, good = (tf.tanh(p, name="bad") if text == "Tanh" else -p), tf.exp(p)
        with monkeypatch.context() as patch:
            patch.setitem(registered, text, replace(registered[text], function=fail))
            for _ in range(2):
                with pytest.raises(error, match=r"no memory|a bug") as info:
                    sess.run(bad, {p: 1.0})
                assert info.value.op is bad.op
        np.testing.assert_allclose(sess.run(good, {p: 0.0}), 1)


def test_an_interrupt_in_process_ends_the_step() -> None:
    def interrupt(x: Any) -> Any:
        raise KeyboardInterrupt

    with tf.Graph().as_default():
        sess = tf.Session()
        y = tf.py_func(interrupt, [tf.constant(1.0)], tf.float32)
        z = tf.constant(2.0)
        with pytest.raises(KeyboardInterrupt):
            sess.run(y)
        assert sess.run(z) == 2
        transport: Any = sess._transport
        (session,) = transport._master.sessions.values()
        (worker,) = transport._master._workers.values()
        assert session.is_idle
        assert not worker._runtime._steps
        sess.close()
        assert not worker._runtime._stages
