"""The ``flowray`` command."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.integration.cluster import ENVIRONMENT, Cluster, command


def flowray(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=90,
        check=False,
    )


def test_devices(cluster: Cluster) -> None:
    done = flowray("devices", cluster.target)
    assert done.returncode == 0, done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [
        "/job:ps/replica:0/task:0/device:CPU:0",
        "/job:worker/replica:0/task:0/device:CPU:0",
        "/job:worker/replica:0/task:1/device:CPU:0",
    ]


def test_ctrl_c_ends_the_cluster() -> None:
    """SIGTERM ends all the other clusters of these tests."""
    cluster = Cluster()
    code, seconds = cluster.stop(signal.SIGINT)
    assert code == 0, "".join(cluster.log)
    assert seconds < 5
    assert "Traceback" not in "".join(cluster.log)


def test_a_signal_ends_a_cluster_that_is_just_starting() -> None:
    process = subprocess.Popen(
        command("up", "--port", "0"), stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    assert process.stderr is not None
    with process:
        assert "starting" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_a_taken_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = flowray("up", "--port", str(port))
    assert done.returncode == 1
    assert f"cannot serve on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("jobs:\n  ps: 1\n  worker: many\n")
    done = flowray("up", "--config", str(path))
    assert done.returncode == 1
    assert f"{path}:3: job 'worker'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--job", "worker"], "'worker' is not NAME=NUMBER"),
        (["--master-task", "/job:ps/task:0"], "is not one of /job:worker/replica:0/task:0"),
        (["--config", "/nowhere.yaml"], "No such file"),
    ],
)
def test_bad_options(arguments: list[str], message: str) -> None:
    done = flowray("up", "--port", "0", *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
