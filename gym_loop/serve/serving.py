"""One function that serves environments over any of the protocols."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gym_loop.errors import UsageError
from gym_loop.schema.class_strings import did_you_mean
from gym_loop.serve.settings import Settings, load_settings

# A protocol's package; its settings class and its server are found there.
PROTOCOLS = {
    "http": ("gym_loop.serve.http", "HttpSettings"),
    "websocket": ("gym_loop.serve.websocket", "WebSocketSettings"),
    "nats": ("gym_loop.serve.nats", "NatsSettings"),
    "zmq": ("gym_loop.serve.zeromq", "ZeroMQSettings"),
}


def settings_class(protocol: str) -> type[Settings]:
    """The class that holds a protocol's options."""
    package, name = PROTOCOLS[protocol]
    found: type[Settings] = getattr(importlib.import_module(f"{package}.settings"), name)
    return found


def serve(
    protocol: str,
    config: str | Path | None = None,
    *,
    ready: Callable[[Any], None] | None = None,
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
    run(protocol, load(protocol, config, options), ready=ready, stop=stop)


def load(protocol: str, config: str | Path | None, options: Mapping[str, Any]) -> Any:
    """Read a protocol's options; see `serve` for what it raises."""
    if protocol not in PROTOCOLS:
        hint = did_you_mean(protocol, PROTOCOLS) or f"; known are {', '.join(PROTOCOLS)}"
        raise UsageError(f"there is no protocol {protocol!r}{hint}")
    cls = settings_class(protocol)
    # The file of gymz has sections of its own, so its settings know how to read it.
    read = getattr(cls, "load", None) or partial(load_settings, cls)
    return read(config, options)


def run(
    protocol: str,
    settings: Any,
    *,
    ready: Callable[[Any], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve with options that `load` has read.

    Raises:
        UsageError: the options do not fit together, or a package is missing.
    """
    # The native protocol is served by the commands of others, over their transports.
    module = getattr(settings, "server_module", f"{PROTOCOLS[protocol][0]}.server")
    server = importlib.import_module(module)
    server.serve(settings, ready=ready, stop=stop)
