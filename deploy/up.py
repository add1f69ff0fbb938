"""``flowray up``: starts a cluster, serves it, and stops it at a signal."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import click

try:
    import ray
except ImportError as error:
    raise SystemExit(
        f"flowray: {error}. A cluster needs more than the client: pip install flowray[server]"
    ) from None

import flowray.deploy
from flowray.deploy import cluster
from flowray.deploy.cluster import ClusterError, ClusterSpec, JobSpec
from flowray.master.master import Master
from flowray.master.server import LoopThread, ServerThread
from flowray.master.service import ServiceOptions
from flowray.master.worker_pool import TaskSpec, WorkerPool
from flowray.proto import errors
from flowray.worker import memory
from flowray.worker.actor import WorkerActor

logger = logging.getLogger("flowray.deploy")

# A local Ray belongs to this command: it serves this machine only and reports nothing.
_LOCAL_RAY = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def run_cluster(
    jobs: Sequence[str],
    port: int | None,
    host: str | None,
    config: Path | None,
    address: str | None,
    master_task: str | None,
    max_message: int | None = None,
) -> None:
    """Serves a cluster until SIGINT or SIGTERM; prints its target on stdout once it does.

    An option that is not given (None, no jobs) is taken from the file ``config``, else it has its
    default.

    Args:
        jobs: ``NAME=NUMBER`` each.
        port: 0 takes a free one.
        host: the address to serve on.
        config: a cluster.yaml.
        address: a Ray cluster to join.
        master_task: the task of operations without a device.
        max_message: refuses larger requests, in MiB.

    Raises:
        click.ClickException: the options contradict each other, or the cluster cannot serve.
    """
    try:
        spec = cluster.load(config) if config else ClusterSpec({"worker": JobSpec(1)})
        if jobs:
            spec = replace(spec, jobs=dict(cluster.parse_job(job) for job in jobs))
    except ClusterError as error:
        raise click.ClickException(str(error)) from None
    host = host or spec.host or "127.0.0.1"
    port = port if port is not None else spec.port if spec.port is not None else 2222
    options = ServiceOptions(max_message_bytes=-1 if max_message is None else max_message << 20)
    with _until_signalled(), _target_line_only() as output:
        _serve(spec, host, port, address or spec.address, master_task, options, output)


@contextmanager
def _target_line_only() -> Iterator[TextIO]:
    """Reserves stdout for the target line; what Ray and workers print there goes to stderr."""
    with os.fdopen(os.dup(1), "w") as output:
        os.dup2(2, 1)
        yield output


def _serve(
    spec: ClusterSpec,
    host: str,
    port: int,
    address: str | None,
    master_task: str | None,
    options: ServiceOptions,
    output: TextIO,
) -> None:
    """Starts everything, waits for a signal, and stops it again."""
    logger.info("starting %s", ", ".join(f"{n} x {job.tasks}" for n, job in spec.jobs.items()))
    default_task = _default_task(spec.tasks(gpus=0), master_task)
    _check_free(host, port)
    with ExitStack() as stack:
        stack.enter_context(_ray(address, sum(job.tasks for job in spec.jobs.values())))
        tasks = spec.tasks(int(ray.cluster_resources().get("GPU", 0)))
        if address is not None:  # the processes of a local Ray inherit it
            tasks = [replace(task, env={**memory.ENVIRONMENT, **task.env}) for task in tasks]
        # One event loop serves both clients and workers, so that a step wakes few threads.
        loop = LoopThread()
        stack.callback(loop.stop)
        try:
            pool = WorkerPool(tasks, WorkerActor, loop.loop)
        except errors.OpError as error:
            raise click.ClickException(error.message) from None
        stack.callback(pool.close)
        master = Master(pool.workers, default_task)
        pool.report_losses_to(master.worker_lost)
        try:
            server = ServerThread(master, f"{host}:{port}", options, loop)
        except OSError as error:
            raise _cannot_serve(host, port, error) from None
        stack.callback(server.stop)
        print(f"target: grpc://{host}:{server.port}", file=output, flush=True)
        threading.Event().wait()


def _check_free(host: str, port: int) -> None:
    """Fails for a taken port before anything is started."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host.strip("[]"), port), family=family):
            return
    except OSError as error:
        raise _cannot_serve(host, port, error) from None


def _cannot_serve(host: str, port: int, error: OSError) -> click.ClickException:
    return click.ClickException(f"cannot serve on {host}:{port}: {error}")


def _default_task(tasks: Sequence[TaskSpec], wanted: str | None) -> str:
    if wanted is None:
        return cluster.default_task(tasks)
    names = [task.name for task in tasks]
    for name in names:
        if wanted in (name, name.replace("/replica:0", "")):
            return name
    raise click.ClickException(f"--master-task {wanted} is not one of {', '.join(names)}")


@contextmanager
def _until_signalled() -> Iterator[None]:
    """Ends the block at SIGINT or SIGTERM; later signals do not disturb the unwinding."""

    def stop(number: int, frame: Any) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise _Stopped

    global _stop
    _stop = stop
    _catch_signals()
    try:
        yield
    except _Stopped:
        logger.info("stopped")


class _Stopped(BaseException):
    """A signal asked for the end."""


_stop: Any = None


def _catch_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


@contextmanager
def _ray(address: str | None, tasks: int) -> Iterator[None]:
    """Connects to Ray: to a local cluster that it starts, or to the one at ``address``."""
    quiet = {"logging_level": "ERROR", "log_to_driver": True}
    if address is not None:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise click.ClickException(f"cannot join the Ray cluster {address}: {error}") from None
        try:
            yield
        finally:
            ray.shutdown()
        return
    variables = {**_LOCAL_RAY, **memory.ENVIRONMENT, **_threads(tasks), **_import_path()}
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    # Short, because the paths of Unix sockets in it may have 107 characters.
    directory = tempfile.mkdtemp(prefix="flowray-", dir="/tmp")
    try:
        ray.init(address="local", include_dashboard=False, _temp_dir=directory, **quiet)
        _catch_signals()  # ray.init installs handlers of its own
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(directory, ignore_errors=True)


def _threads(tasks: int) -> dict[str, str]:
    """Gives numpy's BLAS a task's share of the cores (Ray's default is one thread)."""
    share = str(max(1, (os.cpu_count() or 1) // tasks))
    return {"OMP_NUM_THREADS": share, "OPENBLAS_NUM_THREADS": share}


def _import_path() -> dict[str, str]:
    """Makes the workers import the flowray that runs here, installed or not."""
    (directory,) = {str(Path(path).parent.parent) for path in flowray.deploy.__path__}
    return {"PYTHONPATH": os.pathsep.join(filter(None, [directory, os.environ.get("PYTHONPATH")]))}
