"""uvicorn around the application: its life, and what a connection may take its time for."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gym_loop.bridges.http.app import Application
from gym_loop.bridges.http.settings import HttpSettings
from gym_loop.runs.signals import stop_signals

GRACE = 10  # s for the steps under way when the server ends
SWEEP = 20  # ticks of a tenth of a second between two looks at leases and connections
REQUEST_TIME = 30.0  # s in which a request must have arrived
MOST_HEADERS = 1 << 16  # bytes
# Java's client offers HTTP/2 with every request; the parser then takes the body for HTTP/2.
UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


async def run(
    settings: HttpSettings,
    listener: socket.socket,
    ready: Callable[[str], None] | None,
    stop: threading.Event | None,
) -> None:
    """Serve on a socket until a signal, ``stop``, or a client that may end the server."""
    server = _Server(settings, ready, stop)
    await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """Ends with exit status 0, and looks after leases and silent connections."""

    def __init__(
        self,
        settings: HttpSettings,
        ready: Callable[[str], None] | None,
        stop: threading.Event | None,
    ) -> None:
        self._settings, self._ready, self._stop = settings, ready, stop
        self._app = Application(settings, self._request_stop)
        super().__init__(
            uvicorn.Config(
                self._app,
                http=_Connection,
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
            self._app.sessions.expire()
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, _Connection):
                    connection.end_if_silent(now, self._settings.idle_lease)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the requests under way, then close every environment."""
        await super().shutdown(sockets)
        await self._app.runner.close_all()


class _Joining:
    """A transport that sends the head of a reply together with its body.

    uvicorn writes them one after the other, which costs a system call here and a wake-up there.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100"):
            self._head = data
            return
        if not self._transport.is_closing():  # else the client went away
            self._transport.write(data)

    def flush(self) -> None:
        """Send a head that no body follows."""
        if self._head:
            head, self._head = self._head, b""
            if not self._transport.is_closing():
                self._transport.write(head)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Connection(HttpToolsProtocol):
    """One client's connection, bounded in time and in the size of its headers."""

    _heard = 0.0  # when something arrived last
    _arriving = False  # a request has begun to arrive
    _head = 0  # bytes of a request whose headers are not complete yet

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._joining = _Joining(transport)
        super().connection_made(self._joining)  # type: ignore[arg-type]
        self._heard = self.loop.time()

    def data_received(self, data: bytes) -> None:
        if not self._arriving:
            self._heard = self.loop.time()
        if b"pgrade:" in data and (self._head or not self._arriving):
            data = UPGRADE.sub(b"\r\nx-upgrade:", data)
        super().data_received(data)
        if self._head and self.parser is not None:
            self._head += len(data)
            if self._head > MOST_HEADERS:
                self.send_400_response("The headers are too long.")

    def on_message_begin(self) -> None:
        self._arriving, self._head = True, 1
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._arriving = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._joining.flush()
        super().on_response_complete()

    def end_if_silent(self, now: float, idle: float) -> None:
        """Close a connection whose request does not arrive, or that sent none for long.

        Args:
            now: the loop's time in seconds.
            idle: seconds that a client may think between two requests.
        """
        at_work = not self._arriving and self.cycle is not None and not self.cycle.response_complete
        if not at_work and now - self._heard > (REQUEST_TIME if self._arriving else idle):
            self.transport.close()
