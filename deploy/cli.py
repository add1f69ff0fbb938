"""The ``flowray`` command."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    import click
except ImportError as error:
    raise SystemExit(
        f"flowray: {error}. The command needs more than the client: pip install flowray[server]"
    ) from None

from flowray.client.session.transport import GrpcTransport
from flowray.deploy import run_script
from flowray.proto import errors
from flowray.proto.messages import config_pb2, graph_pb2


@click.group()
def main() -> None:
    """TensorFlow-1-style dataflow graphs on a Ray cluster."""


@main.command()
@click.option("--job", "jobs", multiple=True, metavar="NAME=NUMBER", help="A job and its tasks.")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes a free one. [default: 2222]")
@click.option("--host", help="The address to serve on. [default: 127.0.0.1]")
@click.option("--config", type=click.Path(path_type=Path), help="A cluster.yaml.")
@click.option("--address", help="A Ray cluster to join: host:port or ray://host:port.")
@click.option(
    "--master-task",
    metavar="TASK",
    help="Where operations without a device go. [default: chief, master or worker 0]",
)
@click.option(
    "--max-message",
    metavar="MIB",
    type=click.IntRange(1, 2047),
    help="Refuses larger requests, of more than so many MiB. [default: protobuf's limit, 2 GiB]",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
def up(
    jobs: Sequence[str],
    port: int | None,
    host: str | None,
    config: Path | None,
    address: str | None,
    master_task: str | None,
    max_message: int | None,
    log_level: str,
) -> None:
    """Starts a cluster and serves it until Ctrl-C.

    Prints `target: grpc://HOST:PORT` once it serves.
    """
    logging.basicConfig(
        level=log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
    )
    from flowray.deploy.up import run_cluster  # noqa: PLC0415 - needs Ray, unlike other commands

    run_cluster(jobs, port, host, config, address, master_task, max_message)


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--target", metavar="TARGET", help="grpc://host:port of a cluster. [default: this process]"
)
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(target: str | None, script: str, arguments: Sequence[str]) -> None:
    """Runs a TensorFlow 1 script, whose `import tensorflow` gets flowray.

    A session that names no target runs on the cluster at TARGET.
    """
    run_script.run(script, arguments, target)


@main.command()
@click.argument("target")
def devices(target: str) -> None:
    """Lists the devices of the cluster at TARGET (grpc://host:port)."""
    config = config_pb2.ConfigProto(operation_timeout_in_ms=10_000)
    transport = GrpcTransport(target.removeprefix("grpc://"), config)
    try:
        handle = transport.create_session(graph_pb2.GraphDef(), config)
        for device in transport.list_devices(handle):
            click.echo(f"{device.name}\t{device.device_type}\t{device.memory_limit >> 20} MiB")
        transport.close_session(handle)
    except errors.OpError as error:
        raise click.ClickException(f"{target}: {error.message}") from None
    finally:
        transport.close()


if __name__ == "__main__":
    main()
