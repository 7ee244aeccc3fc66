"""The WebSocket server: `serve` blocks until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable

from gym_loop.bridges.settings import demand_token
from gym_loop.bridges.websocket.settings import WebSocketSettings
from gym_loop.errors import UsageError


def serve(
    settings: WebSocketSettings,
    *,
    ready: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve environments over gymie until Ctrl-C, SIGTERM or ``stop``.

    The steps under way are finished and every environment is closed.

    Args:
        settings: the server's options.
        ready: called with the address, such as ``ws://127.0.0.1:5000/gym``, once it listens.
        stop: set it from another thread to end the server.

    Raises:
        UsageError: the address cannot be used, other machines could come in without a token, or
            the packages for serving are not installed.
        ClassLoadError: a module of ``imports``, ``make`` or ``process_step`` cannot be loaded.
        EnvUnknownError: such a module has no function of that name.
    """
    demand_token(settings)
    try:
        from gym_loop.bridges.websocket.running import Server
    except ModuleNotFoundError as error:
        raise UsageError(
            f"serving over WebSocket needs the module {error.name}: pip install 'gym-loop[bridges]'"
        ) from None
    listener = _listen(settings.host, settings.port)
    with contextlib.closing(listener), contextlib.closing(_new_event_loop()) as loop:
        loop.run_until_complete(Server.run(settings, listener, ready, stop))
        loop.run_until_complete(loop.shutdown_asyncgens())


def _listen(host: str, port: int) -> socket.socket:
    address = host.strip("[]")
    try:
        family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((address, port), family=family)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another"
            " --host or --port (0 takes a free one)"
        ) from None


def _new_event_loop() -> asyncio.AbstractEventLoop:
    """A fast one, where it exists."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
