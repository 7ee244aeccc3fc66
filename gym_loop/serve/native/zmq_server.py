"""The native protocol over ZeroMQ: a ROUTER that REQ and DEALER sockets ask."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from gym_loop.envs.remote.addresses import is_loopback
from gym_loop.envs.remote.zmq_sockets import Sockets, import_zmq
from gym_loop.errors import UsageError
from gym_loop.serve.listening import run_in_loop
from gym_loop.serve.native.serving import Exchange, run
from gym_loop.serve.native.settings import NativeZmqSettings

_TURN = 16  # messages that are answered before others in the loop get their turn
_MOST_UNREAD = 128  # replies that a client has not fetched; what is beyond is dropped


def serve(
    settings: NativeZmqSettings,
    *,
    ready: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve environments until Ctrl-C, SIGTERM or ``stop``.

    Args:
        settings: the server's options.
        ready: called with the address, such as ``tcp://127.0.0.1:5000``, once it listens.
        stop: set it from another thread to end the server.

    Raises:
        UsageError: other machines could come in without a key, or a key file cannot be read.
        BridgeConnectionError: the port is taken.
        BridgeError: pyzmq is not installed.
    """
    if not is_loopback(settings.host) and not settings.secret_key:
        raise UsageError(
            f"host {settings.host} can be reached from other machines, whose users could run"
            " environments here: name the files of CURVE keys in secret_key and client_keys, or"
            " keep the host 127.0.0.1"
        )
    transport = _Router(settings)
    run_in_loop(lambda: run(settings, transport, ready, stop))


class _Router:
    """Takes requests from any number of clients, and sends each its replies."""

    def __init__(self, settings: NativeZmqSettings) -> None:
        self._zmq = import_zmq()
        self._settings = settings
        secret = settings.secret_key
        self._sockets = Sockets(
            secret_key=Path(secret) if secret else None,
            readers=[Path(name) for name in settings.client_keys],
        )
        self._socket: Any = None
        self._exchange: Exchange
        self._loop: asyncio.AbstractEventLoop
        self._drains = False

    def start(self, exchange: Exchange) -> str:
        """Listen, and let the loop tell when something has come."""
        zmq, settings = self._zmq, self._settings
        self._exchange, self._loop = exchange, asyncio.get_running_loop()
        socket, address = self._sockets.bind(
            zmq.ROUTER, settings.host, settings.port, "port", settings.max_message_bytes
        )
        socket.sndhwm = _MOST_UNREAD
        self._socket = socket
        self._loop.add_reader(socket.fileno(), self._drain)
        self._loop.call_soon(self._drain)
        return address

    async def look(self) -> None:
        """An edge that was missed would be for ever."""
        self._drain()

    def _drain(self) -> None:
        """Answer what has come; its file descriptor tells only once of all there is."""
        self._drains = False
        zmq, socket = self._zmq, self._socket
        for _ in range(_TURN):
            try:
                # Frames: who it is from, for a REQ an empty one, and the message.
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            *envelope, message = frames
            if envelope:
                self._exchange.answer(envelope[0], message, partial(self._send, envelope))
        self._drain_soon()

    def _send(self, envelope: list[bytes], reply: bytes) -> None:
        zmq = self._zmq
        if self._socket.closed:
            return
        try:
            self._socket.send_multipart([*envelope, reply], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError:
            pass  # the client is gone
        # Sending may take the notice of what has come meanwhile.
        if self._socket.getsockopt(zmq.EVENTS) & zmq.POLLIN:
            self._drain_soon()

    def _drain_soon(self) -> None:
        if not self._drains:
            self._drains = True
            self._loop.call_soon(self._drain)

    def close(self) -> None:
        """Listen no longer."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
        self._sockets.close()
