"""One function that serves environments over any of the protocols."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gym_loop.errors import UsageError
from gym_loop.schema.parameters import Parameters
from gym_loop.schema.suggestions import did_you_mean
from gym_loop.serve.settings import load_settings

# A protocol's settings class and the function that serves them.
PROTOCOLS = {
    "http": ("gym_loop.serve.settings:ServeSettings", "gym_loop.serve.server:serve"),
    "websocket": ("gym_loop.serve.settings:ServeSettings", "gym_loop.serve.server:serve_websocket"),
    "nats": ("gym_loop.serve.nats.settings:NatsSettings", "gym_loop.serve.nats.server:serve"),
    "zmq": ("gym_loop.serve.zeromq.settings:ZeroMQSettings", "gym_loop.serve.zeromq.server:serve"),
}


def settings_class(protocol: str) -> type[Parameters]:
    """The class that holds a protocol's options."""
    found: type[Parameters] = _named(PROTOCOLS[protocol][0])
    return found


def _named(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def serve(
    protocol: str = "http",
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
        protocol: "http", "websocket", "zmq" or "nats"; the first two are one server.
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
    _named(PROTOCOLS[protocol][1])(settings, ready=ready, stop=stop)
