"""The server's life: who may connect, and what happens every second, and at the end."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

from picows import (
    WSListener,
    WSMsgType,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from gym_loop.envs.making import EnvSpec, load_creator
from gym_loop.runs.signals import stop_signals
from gym_loop.serve.access import RateLimit, origin_allowed, token_allowed, token_of
from gym_loop.serve.native.service import Service
from gym_loop.serve.sessions import Sessions
from gym_loop.serve.stepping import Runner
from gym_loop.serve.websocket.answers import Answers
from gym_loop.serve.websocket.connection import Answer, Connection
from gym_loop.serve.websocket.deflate import agree
from gym_loop.serve.websocket.settings import WebSocketSettings
from gym_loop.wire import gymie as codec

_LOG = logging.getLogger("gym_loop.envs.remote")
# picows tells of every connection, and calls each client's fault an error of the server.
_QUIET = logging.getLogger("gym_loop.serve.websocket.frames")
_QUIET.setLevel(logging.CRITICAL)

GYMIE_PATH = "/gym"
NATIVE_PATH = "/native"
GREETING = b"Gymie is running..."  # what every other path answers; clients look for it
TICK = 0.1  # seconds between two looks at ``stop``
SWEEP = 1.0  # seconds between two looks at leases and silent clients, at the most
GRACE = 10.0  # seconds for the steps under way when the server ends
BACKLOG = 2048  # clients that may knock at once
RECEIVE_BUFFER = 1 << 18  # bytes; what a client may have sent ahead is read in one go

Upgrade = WSListener | WSUpgradeResponseWithListener


class Server:
    """Holds the environments and the connections; it must be made in the loop that serves.

    Args:
        settings: what may be done here.

    Raises:
        ClassLoadError: an import of the settings, or a hook's module, cannot be loaded.
        EnvUnknownError: a hook's module has no such function.
    """

    def __init__(self, settings: WebSocketSettings) -> None:
        hook = settings.process_step
        process_step = load_creator(EnvSpec(hook)) if isinstance(hook, str) else hook
        self.sessions = Sessions(settings)
        self.runner = Runner(self.sessions, settings)
        # Other protocols on the same port take a path each.
        self.paths: dict[str, Answer] = {
            GYMIE_PATH: Answers(self.sessions, self.runner, process_step),
            NATIVE_PATH: Service(self.sessions, self.runner, settings),
        }
        self._settings = settings
        self._connections: set[Connection] = set()
        self._rate = settings.max_requests_per_second
        self._limit = RateLimit(self._rate)
        self._stopping = False

    @classmethod
    async def run(
        cls,
        settings: WebSocketSettings,
        listener: socket.socket,
        ready: Callable[[str], None] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Serve on a socket until a signal, or ``stop``."""
        server = cls(settings)
        for option, value in ((socket.SO_RCVBUF, RECEIVE_BUFFER), (socket.SO_KEEPALIVE, 1)):
            listener.setsockopt(socket.SOL_SOCKET, option, value)  # its connections inherit them
        listening = await ws_create_server(
            server.upgrade,
            sock=listener,
            logger_name=_QUIET,
            enable_auto_pong=False,
            max_frame_size=settings.max_message_bytes,
            backlog=BACKLOG,
        )
        try:
            with stop_signals(server.request_stop):
                if ready is not None:
                    ready(_address(listener))
                await server._wait(stop)
        finally:
            listening.close()
            await server.close()

    def request_stop(self, signum: int = 0) -> None:
        """End at the next tick; a signal's handler calls it."""
        self._stopping = True

    async def _wait(self, stop: threading.Event | None) -> None:
        loop, lease = asyncio.get_running_loop(), self._settings.idle_lease
        every = min(SWEEP, lease / 4, (self._settings.ping_interval or lease) / 2)
        swept = loop.time()
        while not self._stopping and not (stop is not None and stop.is_set()):
            await asyncio.sleep(min(TICK, every))
            since = loop.time() - swept
            if since >= every:
                swept += since
                self._sweep(since)

    def _sweep(self, seconds: float) -> None:
        self.sessions.expire()
        for connection in list(self._connections):
            connection.sweep(seconds, self._settings.ping_interval, self._settings.idle_lease)

    async def close(self) -> None:
        """Finish the steps under way, close every connection and every environment."""
        for connection in list(self._connections):
            connection.end()
        waited = 0.0
        while self._connections and waited < GRACE:
            await asyncio.sleep(TICK / 5)
            waited += TICK / 5
        for connection in list(self._connections):
            connection.abort()
        await self.runner.close_all()

    # -- who may connect -----------------------------------------------------------------

    def upgrade(self, request: WSUpgradeRequest) -> Upgrade:
        """Answer the request that opens a connection."""
        path, _, query = request.path.decode("latin-1").partition("?")
        headers = request.headers
        token = token_of(headers.get("Authorization"), query)
        answer = self.paths.get(path)
        if answer is None and path != "/v1/stats":
            return _plain(WSUpgradeResponse.create_ok_response(GREETING))
        if not token_allowed(self._settings, token):
            return _refuse(401, b"a token is needed", {"WWW-Authenticate": "Bearer"})
        if not origin_allowed(self._settings, headers.get("Origin"), headers.get("Host")):
            return _refuse(403, b"pages of this origin may not connect (allowed_origins)")
        if answer is None:
            return self._stats()
        if len(self._connections) >= self._settings.max_connections:
            return _refuse(503, b"as many clients as may be are connected")
        # picows knows no list here, and Firefox sends "keep-alive, Upgrade".
        if "upgrade" in headers.get("Connection", "").lower().replace(",", " ").split():
            headers["Connection"] = "Upgrade"
        return self._accept(answer, headers)

    def _accept(self, answer: Answer, headers: Any) -> Upgrade:
        extension = None
        if self._settings.compression:
            extension = agree(headers.getall("Sec-WebSocket-Extensions", ()))
        connection = Connection(
            answer,
            self._settings.max_message_bytes,
            extension[0] if extension else None,
            self._limit.allows if self._rate else None,
            1 / self._rate if self._rate else 0.0,
            on_begin=self._connections.add,
            on_end=self._connections.discard,
            kind=WSMsgType.BINARY if isinstance(answer, Service) else WSMsgType.TEXT,
        )
        more = {"Sec-WebSocket-Extensions": extension[1]} if extension else {}
        return WSUpgradeResponseWithListener(
            WSUpgradeResponse.create_101_response(more), connection
        )

    def _stats(self) -> WSUpgradeResponseWithListener:
        counts = self.runner.statistics.as_dict()
        counts["connections"] = len(self._connections)
        return _plain(
            WSUpgradeResponse.create_ok_response(
                codec.write(counts), {"Content-Type": "application/json"}
            )
        )


def _plain(response: Any) -> WSUpgradeResponseWithListener:
    return WSUpgradeResponseWithListener(response, None)


def _refuse(
    status: int, message: bytes, headers: dict[str, str] | None = None
) -> WSUpgradeResponseWithListener:
    return _plain(WSUpgradeResponse.create_error_response(status, message, headers))


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"ws://[{host}]:{port}{GYMIE_PATH}" if ":" in host else f"ws://{host}:{port}{GYMIE_PATH}"
