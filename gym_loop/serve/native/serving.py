"""What the native servers without a port of their own kind share: a loop, sessions, and an end."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from gym_loop.runs.signals import stop_signals
from gym_loop.serve.native.problems import said
from gym_loop.serve.native.service import Service
from gym_loop.serve.native.settings import NativeSettings
from gym_loop.serve.sessions import Sessions
from gym_loop.serve.stepping import Pending, Runner
from gym_loop.wire.native import number_of, write
from gym_loop.wire.problems import TooManyRequests

MOST_PENDING = 64  # requests of one client that threads may be at work on
_TICK = 0.1  # seconds between two looks at ``stop``
_SWEEP = 1.0  # seconds between two looks at leases, at the most


class Transport(Protocol):
    """Carries messages; it calls `Exchange.answer` for each that comes."""

    def start(self, exchange: Exchange) -> str:
        """Begin to listen in the running loop; the address."""

    async def look(self) -> None:
        """Called now and then; raises what ends the server."""

    def close(self) -> None:
        """Listen no longer."""


class Exchange:
    """From requests to replies, whoever sends them.

    Args:
        settings: limits, and what clients may ask for.
    """

    def __init__(self, settings: NativeSettings) -> None:
        self.sessions = Sessions(settings)
        self.runner = Runner(self.sessions, settings)
        self._service = Service(self.sessions, self.runner, settings)
        self._pending: Counter[Any] = Counter()

    def answer(self, client: Any, data: Any, send: Callable[[bytes], None]) -> None:
        """Have a message answered, now or later.

        Args:
            client: whom it is from; any key.
            data: the message.
            send: takes the reply.
        """
        if self._pending[client] >= MOST_PENDING:
            problem = TooManyRequests(f"more than {MOST_PENDING} requests are under way")
            send(write(number_of(data), {"error": said(problem)}))
            return
        reply = self._service(data)
        if not isinstance(reply, Pending):
            send(reply)
            return
        self._pending[client] += 1
        finish = reply.finish

        def done(_: asyncio.Future[Any]) -> None:
            self._pending[client] -= 1
            if not self._pending[client]:
                del self._pending[client]
            send(finish())

        reply.future.add_done_callback(done)


async def run(
    settings: NativeSettings,
    transport: Transport,
    ready: Callable[[str], None] | None,
    stop: threading.Event | None,
) -> None:
    """Serve until a signal, or ``stop``."""
    exchange = Exchange(settings)
    stopping: list[int] = []
    loop, every = asyncio.get_running_loop(), min(_SWEEP, settings.idle_lease / 4)
    try:
        address = transport.start(exchange)
        with stop_signals(stopping.append):
            if ready is not None:
                ready(address)
            swept = loop.time()
            while not stopping and not (stop is not None and stop.is_set()):
                await asyncio.sleep(min(_TICK, every))
                await transport.look()
                if loop.time() - swept >= every:
                    swept = loop.time()
                    exchange.sessions.expire()
    finally:
        await exchange.runner.close_all()
        transport.close()
