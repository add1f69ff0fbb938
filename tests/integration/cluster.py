"""A cluster in processes of its own: ``flowray up`` and what it started."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_SECONDS = 90
STOP_SECONDS = 20

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")])),
}


def eventually(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Waits until ``condition()`` holds; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def command(*arguments: str) -> list[str]:
    """The command line of ``flowray``."""
    return [sys.executable, "-m", "flowray.deploy.cli", *arguments]


class Cluster:
    """A running ``flowray up``. ``log`` is what it wrote to stderr so far."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            command("up", "--port", "0", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        self.log: list[str] = []
        self.output: list[str] = []
        self._readers = [
            threading.Thread(target=_collect, args=args, daemon=True)
            for args in ((self.process.stderr, self.log), (self.process.stdout, self.output))
        ]
        for reader in self._readers:
            reader.start()
        try:
            eventually(
                lambda: bool(self.output) or self.process.poll() is not None,
                "the cluster says where it serves",
                START_SECONDS,
            )
            assert self.output, "".join(self.log)
        except BaseException:
            self.stop()
            raise
        found = re.fullmatch(r"target: (grpc://\S+)\n", self.output[0])
        assert found, self.output
        self.target = found[1]

    def pid(self, task: str) -> int:
        """The process of ``/job:J/replica:0/task:N``, the last one that was started for it."""
        pids = re.findall(rf"{re.escape(task)}: pid (\d+)", "".join(self.log))
        return int(pids[-1])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Ends it; gives its exit code and the seconds that took. Nothing of it is left."""
        begin = time.monotonic()
        family = {self.process.pid, *descendants(self.process.pid)}
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in family:
                _kill(pid)
            self.process.wait()
            raise
        seconds = time.monotonic() - begin
        try:
            eventually(lambda: not any(map(_alive, family)), "all of its processes are gone", 10)
        finally:
            for pid in family:
                _kill(pid)
        for reader in self._readers:
            reader.join(5)
        return code, seconds


@contextmanager
def running(*arguments: str) -> Iterator[Cluster]:
    """A cluster of the given options that ends with the block."""
    cluster = Cluster(*arguments)
    try:
        yield cluster
    finally:
        code, _ = cluster.stop()
    assert code == 0, "".join(cluster.log)
    assert len(cluster.output) == 1, cluster.output


def _collect(stream: Iterator[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line)


def descendants(pid: int) -> set[int]:
    """The processes that ``pid`` started, and those that they started."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold anything; the parent comes two fields after it.
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found: set[int] = set()
    stack = [pid]
    while stack:
        for child in children.get(stack.pop(), []):
            found.add(child)
            stack.append(child)
    return found


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _kill(pid: int) -> None:
    if _alive(pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
