"""The HTTP server: `serve` blocks until it is told to end."""

from __future__ import annotations

import threading
from collections.abc import Callable

from gym_loop.errors import UsageError
from gym_loop.serve.http.settings import HttpSettings
from gym_loop.serve.listening import serve_socket
from gym_loop.serve.settings import demand_token


def serve(
    settings: HttpSettings,
    *,
    ready: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve environments over gym-http-api v1 until Ctrl-C, SIGTERM, ``stop`` or a shutdown.

    The steps under way are finished and every environment is closed.

    Args:
        settings: the server's options.
        ready: called with the address, such as ``http://127.0.0.1:5000``, once it listens.
        stop: set it from another thread to end the server.

    Raises:
        UsageError: the address cannot be used, other machines could come in without a token, or
            the packages for serving are not installed.
        ClassLoadError: a module of ``imports`` or ``make`` cannot be loaded.
        EnvUnknownError: the module of ``make`` has no such function.
    """
    demand_token(settings)
    try:
        from gym_loop.serve.http.app import Application
        from gym_loop.serve.http.running import run
    except ModuleNotFoundError as error:
        raise UsageError(
            f"serving over HTTP needs the module {error.name}: pip install 'gym-loop[bridges]'"
        ) from None
    serve_socket(
        settings,
        lambda listener: run(
            lambda end: Application(settings, end),
            listener,
            idle=settings.idle_lease,
            ready=ready,
            stop=stop,
        ),
    )
