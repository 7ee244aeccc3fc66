"""The server: a socket, an event loop, and uvicorn around an application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from gym_loop.errors import UsageError
from gym_loop.runs.signals import stop_signals
from gym_loop.serve.settings import ServeSettings, demand_token

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_LOG = logging.getLogger("gym_loop.serve")
BACKLOG = 2048  # connections that wait to be taken
GRACE = 10  # s for the requests under way when the server ends
_OTHER_FILES = 64  # that the server has open, or an environment
_SWITCH = 0.001  # s
_TICK = 0.1  # s between two looks at ``stop``


def serve(
    settings: ServeSettings,
    *,
    path: str = "",
    scheme: str = "http",
    ready: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve environments until Ctrl-C, SIGTERM, ``stop`` or a client's shutdown.

    The steps under way are finished and every environment is closed.

    Args:
        settings: the server's options.
        path: of the address that ``ready`` gets.
        scheme: of that address.
        ready: called with the address, such as ``http://127.0.0.1:5000``, once it listens.
        stop: set it from another thread to end the server.

    Raises:
        UsageError: the address cannot be used, other machines could come in without a token, or
            the packages for serving are not installed.
        ClassLoadError: a module of ``imports``, ``make`` or ``process_step`` cannot be loaded.
        EnvUnknownError: such a module has no function of that name.
    """
    demand_token(settings)
    with extra_packages():
        from gym_loop.serve.application import application

    def say(address: str) -> None:
        if ready is not None:
            ready(f"{scheme}://{address}{path}")

    run_application(partial(application, settings), settings, ready=say, stop=stop)


serve_websocket = partial(serve, scheme="ws", path="/gym")


@contextlib.contextmanager
def extra_packages() -> Iterator[None]:
    """Say how to install what an import lacks.

    Raises:
        UsageError: a package for serving is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(
            f"serving needs the module {error.name}: pip install 'gym-loop[bridges]'"
        ) from None


def run_application(
    make: Callable[[Callable[[], None]], ASGIApp],
    settings: ServeSettings,
    *,
    ready: Callable[[str], None],
    stop: threading.Event | None = None,
) -> None:
    """Serve an application until a signal, ``stop``, or its own wish.

    Args:
        make: makes the application; gets what ends the server when called.
        settings: where to listen, and what bounds the connections.
        ready: called with host and port, such as ``127.0.0.1:5000``, once they are answered.
        stop: set it from another thread to end the server.

    Raises:
        UsageError: the address cannot be used.
    """
    with extra_packages():
        import uvicorn

        from gym_loop.serve.connections import HttpConnection, Limits, WebSocketConnection

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """A signal ends the server, not the process; what is ignored stays so."""
            with stop_signals(end):
                yield

    def end(signum: int = 0) -> None:
        server.should_exit = True

    with contextlib.closing(_listen(settings.host, settings.port)) as listener:
        limits = Limits(_most_connections(settings.max_connections), settings.idle_lease)
        # Environments in other threads let the event loop have the interpreter sooner.
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH))
        server = Server(
            uvicorn.Config(
                make(end),
                http=partial(HttpConnection, limits=limits),  # type: ignore[arg-type]
                ws=WebSocketConnection,
                ws_max_size=settings.max_message_bytes,
                ws_ping_interval=settings.ping_interval,
                ws_ping_timeout=settings.idle_lease,
                ws_per_message_deflate=settings.compression,
                lifespan="on",
                log_config=None,
                log_level="critical",  # strangers that send no HTTP must not fill the log
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=settings.idle_lease,  # type: ignore[arg-type]
                timeout_graceful_shutdown=GRACE,
            )
        )
        _run(_serve(server, listener, ready, stop))


def _most_connections(wanted: int) -> int:
    """As many as the process may have files open, and some for other files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(1, files - _OTHER_FILES)
    if most >= wanted:
        return wanted
    _LOG.warning("at most %d connections (max_connections): only %d files may be open", most, files)
    return most


async def _serve(
    server: Any,
    listener: socket.socket,
    ready: Callable[[str], None],
    stop: threading.Event | None,
) -> None:
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not (server.started or serving.done()):
        await asyncio.sleep(0.001)
    if server.started:
        host, port = listener.getsockname()[:2]
        ready(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    while not serving.done():
        if stop is not None and stop.is_set():
            server.should_exit = True
        await asyncio.wait([serving], timeout=_TICK)
    await serving


def _run(serving: Coroutine[Any, Any, None]) -> None:
    """Run an event loop, a fast one where it is installed."""
    try:
        import uvloop
    except ModuleNotFoundError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)


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
