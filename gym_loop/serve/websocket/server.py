"""The WebSocket server: `serve` blocks until it is told to end."""

from __future__ import annotations

import threading
from collections.abc import Callable

from gym_loop.errors import UsageError
from gym_loop.serve.listening import serve_socket
from gym_loop.serve.settings import demand_token
from gym_loop.serve.websocket.settings import WebSocketSettings


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
        from gym_loop.serve.websocket.running import Server
    except ModuleNotFoundError as error:
        raise UsageError(
            f"serving over WebSocket needs the module {error.name}: pip install 'gym-loop[bridges]'"
        ) from None
    serve_socket(settings, lambda listener: Server.run(settings, listener, ready, stop))
