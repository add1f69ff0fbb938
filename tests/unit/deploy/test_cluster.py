"""From options and YAML to tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowray.deploy import cluster
from flowray.deploy.cluster import ClusterError, ClusterSpec, JobSpec

EXAMPLE = Path(cluster.__file__).with_name("cluster.yaml")


def load(tmp_path: Path, text: str) -> ClusterSpec:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return cluster.load(path)


def test_the_example_is_a_cluster() -> None:
    spec = cluster.load(EXAMPLE)
    names = [task.name for task in spec.tasks(gpus=0)]
    assert names == [
        "/job:ps/replica:0/task:0",
        "/job:worker/replica:0/task:0",
        "/job:worker/replica:0/task:1",
    ]
    assert (spec.host, spec.port, spec.address) == ("127.0.0.1", 2222, None)


def test_everything_that_a_file_can_say(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        "jobs: {ps: 1, worker: {tasks: 2, gpus: 3, env: {A: 1}}}\nhost: h\nport: 0\naddress: r:1\n",
    )
    assert spec == ClusterSpec(
        {"ps": JobSpec(1), "worker": JobSpec(2, 3, {"A": "1"})}, "h", 0, "r:1"
    )
    assert [(t.job, t.gpus, dict(t.env)) for t in spec.tasks(gpus=8)] == [
        ("ps", 0, {}),
        ("worker", 3, {"A": "1"}),
        ("worker", 3, {"A": "1"}),
    ]


@pytest.mark.parametrize(
    ("jobs", "gpus", "expected"),
    [
        ({"ps": JobSpec(1), "worker": JobSpec(2)}, 4, [0, 2, 2]),
        ({"worker": JobSpec(2)}, 1, [0, 0]),
        ({"chief": JobSpec(1, 1), "worker": JobSpec(2)}, 5, [1, 2, 2]),
        ({"worker": JobSpec(1, 4), "evaluator": JobSpec(1)}, 2, [4, 0]),
        ({"ps": JobSpec(2)}, 2, [0, 0]),
    ],
)
def test_gpus_are_shared_out(jobs: dict[str, JobSpec], gpus: int, expected: list[int]) -> None:
    assert [task.gpus for task in ClusterSpec(jobs).tasks(gpus)] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jobs:\n  worker: two\n", ":2: job 'worker': expected a number of at least 1, got 'two'"),
        ("jobs:\n  worker: 0\n", ":2: job 'worker': expected a number of at least 1, got 0"),
        ("jobs:\n  worker: true\n", ":2: job 'worker': expected"),
        ("jobs: {a: 1}\nprot: 1\n", ":2: 'prot' is unknown; a cluster has jobs, host"),
        ("jobs:\n  a: 1\n  a: 2\n", ":3: 'a' is there twice"),
        ("jobs:\n  a:\n    tasks: 1\n    gpu: 1\n", ":4: 'gpu' is unknown"),
        ("jobs:\n  my-job: 1\n", ":2: 'my-job' is not a job name"),
        ("jobs: {a: 1}\nport: 70000\n", ":2: port must be 0 to 65535, not 70000"),
        ("jobs: {a: 1}\nhost: 7\n", ":2: host must be a string"),
        ("jobs: [a, b]\n", ":1: jobs must be a mapping"),
        ("jobs: {}\n", ":1: a cluster needs at least one job"),
        ("host: x\n", ":1: a cluster needs jobs"),
        ("", ": a cluster must be a mapping"),
        ("jobs: {a: 1\n", ":2: expected ',' or '}'"),
        ("a: [\x01]\n", "special characters are not allowed"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ClusterError) as raised:
        load(tmp_path, text)
    assert "c.yaml" in str(raised.value)
    assert message in str(raised.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="No such file"):
        cluster.load(tmp_path / "none.yaml")


def test_job_options() -> None:
    assert cluster.parse_job("worker=2") == ("worker", JobSpec(2))
    for bad in ("worker", "worker=", "worker=x", "=2", "worker=-1", "worker=0", "a b=1"):
        with pytest.raises(ClusterError):
            cluster.parse_job(bad)


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        (["ps", "worker"], "worker"),
        (["worker", "master"], "master"),
        (["worker", "chief", "master"], "chief"),
        (["ps", "trainer"], "ps"),
    ],
)
def test_the_default_task(jobs: list[str], expected: str) -> None:
    tasks = ClusterSpec({job: JobSpec(2) for job in jobs}).tasks(gpus=0)
    assert cluster.default_task(tasks) == f"/job:{expected}/replica:0/task:0"
