"""A listening socket, and an event loop that serves it to the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from gym_loop.errors import UsageError
from gym_loop.serve.settings import ServerSettings

BACKLOG = 2048  # connections that wait to be taken


def serve_socket(
    settings: ServerSettings, run: Callable[[socket.socket], Coroutine[Any, Any, None]]
) -> None:
    """Listen where the settings say, and run a server there until it ends.

    Args:
        settings: host and port.
        run: serves a listening socket.

    Raises:
        UsageError: the address cannot be used.
    """
    with contextlib.closing(_listen(settings.host, settings.port)) as listener:
        run_in_loop(lambda: run(listener))


def run_in_loop(run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a server in a fast event loop of its own until it ends."""
    with contextlib.closing(_new_event_loop()) as loop:
        loop.run_until_complete(run())
        loop.run_until_complete(loop.shutdown_asyncgens())


def _listen(host: str, port: int) -> socket.socket:
    address = host.strip("[]")
    try:
        family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((address, port), family=family, backlog=BACKLOG)
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
