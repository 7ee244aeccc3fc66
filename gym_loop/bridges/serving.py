"""One function that serves environments over any of the protocols."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gym_loop.bridges.settings import ServerSettings, load_settings
from gym_loop.class_loader import did_you_mean
from gym_loop.errors import UsageError


class Protocol(NamedTuple):
    """Where a protocol's server is: its package, and the name of its settings class."""

    package: str
    settings: str


PROTOCOLS = {
    "http": Protocol("gym_loop.bridges.http", "HttpSettings"),
    "websocket": Protocol("gym_loop.bridges.websocket", "WebSocketSettings"),
    "zmq": Protocol("gym_loop.bridges.zeromq", "ZeroMQSettings"),
    "nats": Protocol("gym_loop.bridges.nats", "NatsSettings"),
}


def settings_class(protocol: str) -> type[ServerSettings]:
    """The class that holds a protocol's options.

    Raises:
        UsageError: there is no such protocol.
    """
    if protocol not in PROTOCOLS:
        raise UsageError(
            f"there is no protocol {protocol!r}"
            + (did_you_mean(protocol, PROTOCOLS) or f"; known are {', '.join(PROTOCOLS)}")
        )
    package, name = PROTOCOLS[protocol]
    found: type[ServerSettings] = getattr(importlib.import_module(f"{package}.settings"), name)
    return found


def serve(
    protocol: str,
    config: str | Path | None = None,
    *,
    ready: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
    **options: Any,
) -> None:
    """Serve environments until Ctrl-C, SIGTERM, or ``stop``; the step under way is finished.

    ::

        gym_loop.serve("http", env=["CartPole-*"], port=5000)
        gym_loop.serve("websocket", make=my_get_env, process_step=my_process_step)

    Args:
        protocol: "http", "websocket", "zmq" or "nats".
        config: YAML file with the same names as the options; None reads none.
        ready: called with the address once clients can connect.
        stop: set it from another thread to end the server.
        options: those of ``gym-loop serve``, with underscores; they win over the file's.

    Raises:
        UsageError: there is no such protocol, or its options do not fit together.
        ConfigError: an option is unknown or its value is of no use; holds every finding.
    """
    loaded = load_settings(settings_class(protocol), config, _named(options))
    server = importlib.import_module(f"{PROTOCOLS[protocol].package}.server")
    server.serve(loaded, ready=ready, stop=stop)


def _named(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in options.items()
    }
