"""Descriptions of clusters: ``--job`` options or a YAML file, and the tasks to start.

The file (``cluster.yaml`` is an example)::

    jobs:
      ps: 1                 # a number of tasks, or
      worker:
        tasks: 2
        gpus: 1             # per task; "auto" (the default) divides the GPUs of the cluster
        env: {XLA_FLAGS: "--xla_cpu_enable_fast_math=false"}
    host: 127.0.0.1
    port: 2222
    address: ray-head:6379  # a Ray cluster to join; a local one is started without it
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from flowray.master.worker_pool import TaskSpec

_JOB_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_NO_JOB_NAME = "is not a job name: letters, digits and _, a letter first"


class ClusterError(ValueError):
    """A description of a cluster is invalid; the text has the place."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job: tasks of the same kind."""

    tasks: int
    gpus: int | None = None
    """Per task; None shares out those of the cluster."""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """A cluster: its jobs, and the address of its master. None where it is not given."""

    jobs: Mapping[str, JobSpec]
    host: str | None = None
    port: int | None = None
    address: str | None = None

    def tasks(self, gpus: int) -> list[TaskSpec]:
        """Returns the tasks, on a cluster with this many GPUs."""
        sharing = [name for name, job in self.jobs.items() if job.gpus is None and name != "ps"]
        number = sum(self.jobs[name].tasks for name in sharing)
        taken = sum(job.tasks * (job.gpus or 0) for job in self.jobs.values())
        share = max(0, gpus - taken) // number if number else 0
        return [
            TaskSpec(
                name,
                index,
                gpus=share if name in sharing else job.gpus or 0,
                env=job.env,
            )
            for name, job in self.jobs.items()
            for index in range(job.tasks)
        ]


def default_task(tasks: Sequence[TaskSpec]) -> str:
    """Returns the task of operations without a device: chief, master, worker 0 or the first."""
    for job in ("chief", "master", "worker"):
        for task in tasks:
            if task.job == job:
                return task.name
    return tasks[0].name


def parse_job(text: str) -> tuple[str, JobSpec]:
    """Parses an option such as ``worker=2``. Raises ClusterError."""
    name, _, number = text.partition("=")
    if not number.isdecimal():
        raise ClusterError(f"'{text}' is not NAME=NUMBER, for example worker=2")
    if not _JOB_NAME.match(name):
        raise ClusterError(f"'{name}' {_NO_JOB_NAME}")
    if int(number) == 0:
        raise ClusterError(f"job '{name}' needs at least one task")
    return name, JobSpec(int(number))


def load(path: Path) -> ClusterSpec:
    """Reads the description of a cluster from a YAML file.

    Raises:
        ClusterError: the file cannot be read or does not describe a cluster; with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(f"{path}: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ClusterError(f"{path}{line}: {getattr(error, 'problem', error)}") from None
    return _cluster(_Node(path, root))


class _Node:
    """A value in the file that knows its line."""

    def __init__(self, path: Path, node: Any) -> None:
        self._path, self._node = path, node

    def error(self, text: str) -> ClusterError:
        line = f":{self._node.start_mark.line + 1}" if self._node is not None else ""
        return ClusterError(f"{self._path}{line}: {text}")

    @property
    def value(self) -> Any:
        return (
            None if self._node is None else yaml.SafeLoader("").construct_object(self._node, True)
        )

    @property
    def is_mapping(self) -> bool:
        return isinstance(self._node, yaml.MappingNode)

    def number(self, what: str, *, least: int) -> int:
        value = self.value
        if type(value) is not int or value < least:
            raise self.error(f"{what}: expected a number of at least {least}, got {value!r}")
        return value

    def string(self, what: str) -> str:
        value = self.value
        if not isinstance(value, str):
            raise self.error(f"{what} must be a string, not {value!r}")
        return value

    def items(self, what: str, known: Sequence[str] = ()) -> dict[str, _Node]:
        """Returns the entries of a mapping; only the ``known`` keys are allowed (if not empty)."""
        if not self.is_mapping:
            raise self.error(f"{what} must be a mapping")
        result: dict[str, _Node] = {}
        for key_node, value in self._node.value:
            key = key_node.value
            if known and key not in known:
                raise _Node(self._path, key_node).error(
                    f"'{key}' is unknown; {what} has {', '.join(known)}"
                )
            if key in result:
                raise _Node(self._path, key_node).error(f"'{key}' is there twice")
            result[key] = _Node(self._path, value)
        return result


def _cluster(root: _Node) -> ClusterSpec:
    entries = root.items("a cluster", ("jobs", "host", "port", "address"))
    if "jobs" not in entries:
        raise root.error("a cluster needs jobs")
    jobs = {}
    for name, node in entries["jobs"].items("jobs").items():
        if not _JOB_NAME.match(name):
            raise node.error(f"'{name}' {_NO_JOB_NAME}")
        jobs[name] = _job(name, node)
    if not jobs:
        raise entries["jobs"].error("a cluster needs at least one job")
    strings = {key: entries[key].string(key) for key in ("host", "address") if key in entries}
    port = None
    if "port" in entries:
        port = entries["port"].value
        if type(port) is not int or not 0 <= port < 65536:
            raise entries["port"].error(f"port must be 0 to 65535, not {port!r}")
    return ClusterSpec(jobs, strings.get("host"), port, strings.get("address"))


def _job(name: str, node: _Node) -> JobSpec:
    what = f"job '{name}'"
    if not node.is_mapping:
        return JobSpec(node.number(what, least=1))
    entries = node.items(what, ("tasks", "gpus", "env"))
    tasks = entries["tasks"].number(what, least=1) if "tasks" in entries else 1
    gpus: int | None = None
    if "gpus" in entries and entries["gpus"].value != "auto":
        gpus = entries["gpus"].number(f"gpus of {what}", least=0)
    env = {}
    if "env" in entries:
        env = {key: str(value.value) for key, value in entries["env"].items("env").items()}
    return JobSpec(tasks, gpus, env)
