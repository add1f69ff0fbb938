"""Servers: a master's service at an address, in an event loop or in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc.aio

from flowray.master.master import Master
from flowray.master.service import MasterService, ServiceOptions

T = TypeVar("T")


class MasterServer:
    """A running server; ``serve`` makes it, and, outside an event loop, ``ServerThread``."""

    def __init__(self, server: grpc.aio.Server, handlers: MasterService, port: int) -> None:
        self._server = server
        self._handlers = handlers
        self._sweeper = asyncio.get_running_loop().create_task(handlers.sweep())
        self.port = port

    async def wait(self) -> None:
        """Returns when the server has stopped."""
        await self._server.wait_for_termination()

    async def stop(self, grace: float | None = None) -> None:
        """Refuses new calls, and cancels those that run after ``grace`` seconds."""
        self._sweeper.cancel()
        await self._server.stop(grace)
        self._handlers.close()


async def serve(
    master: Master, address: str, options: ServiceOptions | None = None
) -> MasterServer:
    """Starts a server at "host:port"; port 0 takes any free one.

    Raises:
        OSError: the address cannot be bound.
    """
    options = options or ServiceOptions()
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", options.max_message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            # A client whose machine died closes no connection: ask now and then.
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ]
    )
    handlers = MasterService(master, options)
    server.add_generic_rpc_handlers(handlers.generic_handlers())
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"cannot listen at {address}: {error}") from None
    await server.start()
    return MasterServer(server, handlers, port)


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self.loop.run_forever, name="flowray-master", daemon=True
        )
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs ``coroutine`` in the loop; returns its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def stop(self) -> None:
        """Ends the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class ServerThread:
    """A server in the event loop of a thread.

    Args:
        loop: the thread; one of its own, which ends with the server, if None.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self,
        master: Master,
        address: str,
        options: ServiceOptions | None = None,
        loop: LoopThread | None = None,
    ) -> None:
        self._owns_loop = loop is None
        self._loop = loop or LoopThread()
        try:
            self._server = self._loop.run(serve(master, address, options))
        except BaseException:
            self._end()
            raise
        self.port = self._server.port

    def stop(self, grace: float | None = None) -> None:
        """Stops the server."""
        self._loop.run(self._server.stop(grace))
        self._end()

    def join(self) -> None:
        """Returns when the server has stopped."""
        self._loop.run(self._server.wait())

    def _end(self) -> None:
        if self._owns_loop:
            self._loop.stop()
