"""A script ends soon after its last line, whatever it left open, and its sessions end with it.

Each case is a process of its own, because what is tested is how the interpreter exits.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.cluster import ENVIRONMENT, ROOT, eventually
from tests.wire.conftest import Service

_SECONDS = 1.0
"""How much later than an interpreter that has nothing to close a script may end."""
_HANGS_SECONDS = 30

_BEGIN = """
import os, signal, sys, threading, time
import numpy as np
import flowray as tf

target, server_pid = sys.argv[1], int(sys.argv[2])
x = tf.placeholder(tf.float32)
y = x + 1
endless = tf.while_loop(lambda n: n < 1e30, lambda n: n + 0, [x])

def last_line():
    print(f"last line {time.time():.4f}", flush=True)

def session(**options):
    session = tf.Session(target, **options)
    assert session.run(y, {x: 1}) == 2
    return session

def run_endless(session):
    session.run(endless, {x: 1})

def start_queue_runner(session):
    class Queue: name = "queue"
    ops = {"close_op": tf.no_op(), "cancel_op": tf.no_op()}
    enqueue = tf.group(tf.random_uniform([]))
    tf.train.add_queue_runner(tf.train.QueueRunner(Queue, [enqueue] * 2, **ops))
    tf.train.start_queue_runners(session, tf.train.Coordinator())
    session.run(y, {x: 1})
"""

_SCRIPTS = {
    "nothing special": """
        sess = session()
        last_line()
    """,
    "created only": """
        sess = tf.Session(target)
        sess.list_devices()
        last_line()
    """,
    "several sessions": """
        sessions = [session() for _ in range(5)]
        last_line()
    """,
    "a function that keeps the globals": """
        import builtins
        sess = session()
        def main():
            return sess
        builtins.kept = main
        last_line()
    """,
    "a session that is garbage in a cycle": """
        class Holder: pass
        holder = Holder()
        holder.self, holder.session = holder, session()
        del holder
        last_line()
    """,
    "a thread that runs steps": """
        sess = session()
        def work():
            while True:
                sess.run(y, {x: 1})
        threading.Thread(target=work, daemon=True).start()
        last_line()
    """,
    "threads that wait in a step": """
        sess = session()
        for _ in range(3):
            threading.Thread(target=run_endless, args=(sess,), daemon=True).start()
        sess.run(y, {x: 1})
        last_line()
    """,
    "a thread that waits with a timeout": """
        sess = session(config=tf.ConfigProto(operation_timeout_in_ms=60_000))
        threading.Thread(target=run_endless, args=(sess,), daemon=True).start()
        sess.run(y, {x: 1})
        last_line()
    """,
    "sys.exit in a thread": """
        sess = session()
        def work():
            sess.run(y, {x: 1})
            sys.exit(5)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        last_line()
    """,
    "the main thread ends first": """
        sess = session()
        main = threading.main_thread()
        def work():
            main.join()
            assert sess.run(y, {x: 2}) == 3
            last_line()
        threading.Thread(target=work).start()
    """,
    "a queue runner": """
        sess = session()
        start_queue_runner(sess)
        last_line()
    """,
    "a prefetching iterator": """
        data = tf.data.Dataset.range(10**9).map(lambda n: n + 1, num_parallel_calls=2).prefetch(4)
        following = tf.data.make_one_shot_iterator(data).get_next()
        sess = session()
        assert sess.run(following) == 1
        last_line()
    """,
    "a step at exit": """
        import atexit
        sess = session()
        def step():
            assert sess.run(y, {x: 3}) == 4
            last_line()
        atexit.register(step)
    """,
    "a closed session": """
        with session():
            pass
        last_line()
    """,
}

_FAILING_SCRIPTS = {
    "an exception": (
        """
        sess = session()
        last_line()
        raise ValueError("as planned")
        """,
        1,
    ),
    "sys.exit": (
        """
        def main():
            sess = session()
            last_line()
            sys.exit(3)
        main()
        """,
        3,
    ),
    "Ctrl-C in a step": (
        """
        sess = session()
        def interrupt():
            last_line()
            os.kill(os.getpid(), signal.SIGINT)
        threading.Timer(0.1, interrupt).start()
        run_endless(sess)
        """,
        -signal.SIGINT,
    ),
    "an exception with threads in a step": (
        """
        sess = session()
        start_queue_runner(sess)
        last_line()
        raise ValueError("as planned")
        """,
        1,
    ),
}

_SERVER = """
import sys
from tests.wire.conftest import Service, ThreadWorker
from tests.unit.master.fakes import W0

service = Service([ThreadWorker(W0)])
print(service.target, flush=True)
sys.stdin.read()
"""

_LOST_SERVER_SCRIPTS = {
    "idle": """
        sess = session()
        os.kill(server_pid, LOST)
        last_line()
    """,
    "several sessions": """
        sessions = [session() for _ in range(5)]
        os.kill(server_pid, LOST)
        last_line()
    """,
    "threads that wait in a step": """
        sess = session()
        for _ in range(3):
            threading.Thread(target=run_endless, args=(sess,), daemon=True).start()
        sess.run(y, {x: 1})
        os.kill(server_pid, LOST)
        last_line()
    """,
    "a failed step": """
        sess = session(config=tf.ConfigProto(operation_timeout_in_ms=100))
        os.kill(server_pid, LOST)
        try:
            with sess:
                sess.run(y, {x: 1})
        except tf.errors.OpError:
            last_line()
    """,
}


@dataclass
class _Ended:
    """The end of a script: its exit code, time and errors."""

    code: int
    seconds: float
    """From its last line to the end of its process."""
    errors: str


def _run(script: str, target: str, server_pid: int = 0, **environment: str) -> _Ended:
    text = _BEGIN + textwrap.dedent(script)
    process = subprocess.Popen(
        [sys.executable, "-c", text, target, str(server_pid)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, **environment},
        cwd=ROOT,
    )
    try:
        output, errors = process.communicate(timeout=_HANGS_SECONDS)
        end = time.time()
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        pytest.fail(f"The script does not end.\n{output}{errors}")
    *_, last = output.rpartition("last line ")
    assert last, errors
    return _Ended(process.returncode, end - float(last), errors)


def _run_quickest(script: str, target: str, **environment: str) -> _Ended:
    """Runs the script again, twice at most, while it ends late: the machine may have been busy."""
    ended = _run(script, target, **environment)
    for _ in range(2):
        if ended.seconds < _SECONDS:
            break
        ended = _run(script, target, **environment)
    return ended


def _ends_soon(ended: _Ended) -> bool:
    """Tells whether it ended in time, measured on this machine as busy as it is now."""
    return ended.seconds < _SECONDS or ended.seconds < _SECONDS + _run("last_line()", "").seconds


@pytest.mark.parametrize("name", _SCRIPTS)
def test_a_client_ends(name: str, service: Service) -> None:
    ended = _run_quickest(_SCRIPTS[name], service.target)
    assert (ended.code, ended.errors.replace("\n", "")) == (0, ""), ended.errors
    assert _ends_soon(ended), ended
    eventually(lambda: not service.master.sessions, "the master closed the client's sessions", 10)


@pytest.mark.parametrize("name", _FAILING_SCRIPTS)
def test_a_client_that_fails_ends(name: str, service: Service) -> None:
    script, code = _FAILING_SCRIPTS[name]
    ended = _run_quickest(script, service.target)
    assert ended.code == code, ended.errors
    assert _ends_soon(ended), ended
    eventually(lambda: not service.master.sessions, "the master closed the client's sessions", 10)


@pytest.mark.parametrize("name", [*_SCRIPTS, *_FAILING_SCRIPTS])
def test_a_process_with_a_session_of_its_own_ends(name: str) -> None:
    script, code = _FAILING_SCRIPTS.get(name) or (_SCRIPTS[name], 0)
    ended = _run_quickest(script, "")
    assert ended.code == code, ended.errors
    assert _ends_soon(ended), ended


@pytest.mark.parametrize("delay", [0.0, 0.3, 1.0])
def test_a_process_ends_while_xla_compiles(delay: float, tmp_path: Path) -> None:
    """With its exit status, and without a word about threads that were at work."""
    script = f"""
        a, h = tf.placeholder(tf.float32, [64, 64]), tf.ones([64, 64])
        for _ in range(80):
            h = tf.tanh(tf.matmul(h, a)) * tf.sigmoid(h) + tf.nn.softmax(h)
        sess = session()
        for _ in range(4):
            sess.run(h, {{a: np.ones((64, 64))}})
        time.sleep({delay})
        last_line()
        sys.exit(3)
    """
    # Nothing is in the compiler's cache.
    ended = _run_quickest(script, "", HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    assert (ended.code, ended.errors) == (3, "")
    # The compiler, which goes on for many seconds, uses the cores that the end needs.
    assert ended.seconds < 3 * _SECONDS, ended


@pytest.fixture
def server() -> Iterator[subprocess.Popen[str]]:
    """A server in a process of its own, which a script may kill."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        cwd=ROOT,
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("name", _LOST_SERVER_SCRIPTS)
@pytest.mark.parametrize("lost", [signal.SIGKILL, signal.SIGSTOP])
def test_a_client_of_a_lost_server_ends(
    name: str, lost: signal.Signals, server: subprocess.Popen[str]
) -> None:
    assert server.stdout is not None
    target = server.stdout.readline().strip()
    script = _LOST_SERVER_SCRIPTS[name].replace("LOST", f"signal.{lost.name}")
    ended = _run(script, target, server.pid)
    assert ended.code == 0, ended.errors
    assert _ends_soon(ended), ended


def test_the_end_of_a_forked_process_leaves_the_sessions_open(service: Service) -> None:
    script = """
        sess = session()
        child = os.fork()
        if child:
            assert os.waitpid(child, 0) == (child, 0)
            assert sess.run(y, {x: 1}) == 2
        last_line()
    """
    ended = _run_quickest(script, service.target)
    assert ended.code == 0, ended.errors


def test_a_garbage_session_is_closed_without_waiting(service: Service) -> None:
    import flowray as tf

    with tf.Graph().as_default():
        session = tf.Session(service.target)
        session.run(tf.constant(1))
        assert len(service.master.sessions) == 1
        del session
    eventually(lambda: not service.master.sessions, "the master closed the session")
