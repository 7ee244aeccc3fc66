"""uvicorn around an application: its life, and what a connection may take its time for."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import uvicorn

from gym_loop.runs.signals import stop_signals
from gym_loop.serve.http.connection import Connection

GRACE = 10  # s for the steps under way when the server ends
SWEEP = 20  # ticks of a tenth of a second between two looks at leases and connections


class App(Protocol):
    """An ASGI application, and what it needs of its server."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""

    def sweep(self) -> None:
        """Look after what time has passed over; called every two seconds."""

    async def close(self) -> None:
        """Finish; called after the last request."""


async def run(
    make: Callable[[Callable[[], None]], App],
    listener: socket.socket,
    *,
    idle: float,
    ready: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve an application on a socket until a signal, ``stop``, or its own wish.

    Args:
        make: makes the application, in the event loop; gets what ends the server when called.
        listener: listens.
        idle: seconds that a client may think between two requests.
        ready: called with the address once it is answered there.
        stop: set it from another thread to end the server.
    """
    server = _Server(make, idle, ready, stop)
    await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """Ends with exit status 0, and looks after leases and silent connections."""

    def __init__(
        self,
        make: Callable[[Callable[[], None]], App],
        idle: float,
        ready: Callable[[str], None] | None,
        stop: threading.Event | None,
    ) -> None:
        self._idle, self._ready, self._stop = idle, ready, stop
        self._app = make(self._request_stop)
        super().__init__(
            uvicorn.Config(
                self._app,
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",  # strangers that send no HTTP must not fill the log
                access_log=False,
                proxy_headers=False,
                server_header=False,
                # Silent connections are looked for by the sweep; a timer a request costs more.
                timeout_keep_alive=1 << 30,
                timeout_graceful_shutdown=GRACE,
            )
        )

    def _request_stop(self, signum: int = 0) -> None:
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A signal ends the server, not the process that called it."""
        with stop_signals(self._request_stop):
            yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell."""
        await super().startup(sockets)
        if self.started and self._ready is not None and sockets:
            host, port = sockets[0].getsockname()[:2]
            self._ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if self._stop is not None and self._stop.is_set():
            self.should_exit = True
        if counter % SWEEP == 0:
            self._app.sweep()
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.end_if_silent(now, self._idle)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the requests under way, then the application."""
        await super().shutdown(sockets)
        await self._app.close()
