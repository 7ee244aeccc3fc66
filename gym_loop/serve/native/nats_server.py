"""The native protocol over NATS: requests on one subject, answered wherever they want it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from gym_loop.envs.remote.nats_address import Address
from gym_loop.envs.remote.nats_client import NatsClient, RefusedError
from gym_loop.errors import BridgeConnectionError
from gym_loop.serve.listening import run_in_loop
from gym_loop.serve.native.problems import said
from gym_loop.serve.native.serving import Exchange, run
from gym_loop.serve.native.settings import NativeNatsSettings
from gym_loop.wire.native import write
from gym_loop.wire.nats import Message, WireError
from gym_loop.wire.parts import Joiner, split
from gym_loop.wire.values import Malformed

_LOG = logging.getLogger("gym_loop.envs.remote")
_CONNECT_SECONDS = 5.0
_RETRY_SECONDS = 0.1


def serve(
    settings: NativeNatsSettings,
    *,
    ready: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Answer requests until Ctrl-C, SIGTERM or ``stop``.

    Args:
        settings: the server's options.
        ready: called with the NATS server's address once requests are answered.
        stop: set it from another thread to end.

    Raises:
        BridgeConnectionError: the NATS server cannot be reached, or is gone for longer than
            ``timeout``.
    """
    with settings.address() as address:
        transport = _Subject(settings, address)
        run_in_loop(lambda: run(settings, transport, ready, stop))


class _Subject:
    """Takes requests from any number of clients, and sends each its replies."""

    def __init__(self, settings: NativeNatsSettings, address: Address) -> None:
        self._settings = settings
        self._address = address
        self._client: NatsClient | None = None
        self._joiner = Joiner(settings.max_message_bytes)
        self._exchange: Exchange
        self._loop: asyncio.AbstractEventLoop
        self._lost: Exception | None = None
        self._reading = -1  # the socket that the loop waits on

    def start(self, exchange: Exchange) -> str:
        """Connect and subscribe, and let the loop tell when something has come."""
        self._exchange, self._loop = exchange, asyncio.get_running_loop()
        self._use(self._connected())
        return self._address.url

    def _connected(self) -> NatsClient:
        client = NatsClient(self._address, timeout=_CONNECT_SECONDS)
        try:
            client.subscribe(self._settings.subject)
        except BaseException:
            client.close()
            raise
        return client

    def _use(self, client: NatsClient) -> None:
        self._client, self._lost = client, None
        self._reading = client.fileno()
        self._loop.add_reader(self._reading, self._take)
        self._loop.call_soon(self._take)

    def _take(self) -> None:
        client = self._client
        if client is None:
            return
        try:
            messages = client.take()
        except RefusedError as error:
            _LOG.warning("a reply was refused: %s", error)  # its subject is the client's affair
            return
        except (OSError, WireError) as error:
            self._lose(error)
            return
        for message in messages:
            self._answer(message)

    def _answer(self, message: Message) -> None:
        if not message.reply:
            return
        send = partial(self._send, message.reply)
        try:
            request = self._joiner.add(message.reply, message.payload)
        except Malformed as problem:
            send(write(0, {"error": said(problem)}))
            return
        if request is not None:
            # A client's inbox, below which each of its requests has a subject.
            self._exchange.answer(message.reply.rpartition(".")[0], request, send)

    def _send(self, subject: str, reply: bytes) -> None:
        client = self._client
        if client is None:
            return
        for part in split(reply, client.max_payload):
            client.publish(subject, part)
        try:
            client.flush()
        except (OSError, WireError) as error:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        """Read no more from a connection that broke; `look` makes another."""
        if self._client is None:
            return
        self._loop.remove_reader(self._reading)
        self._client.close()
        self._client, self._lost = None, error

    async def look(self) -> None:
        """Connect again after the connection broke, as often as the time allows.

        Raises:
            BridgeConnectionError: the NATS server did not come back.
        """
        if self._lost is None:
            return
        url, lost = self._address.url, self._lost
        _LOG.warning("%s: the NATS server is gone (%s); waiting for it", url, lost)
        deadline = time.monotonic() + self._settings.timeout
        while True:
            try:
                self._use(await self._loop.run_in_executor(None, self._connected))
            except (BridgeConnectionError, OSError, WireError) as error:
                if time.monotonic() > deadline:
                    raise BridgeConnectionError(
                        f"the NATS server did not come back within {self._settings.timeout:g} s:"
                        f" {error}"
                    ) from None
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                _LOG.warning("%s: connected to the NATS server again", url)
                return

    def close(self) -> None:
        """Answer no more."""
        if self._client is not None:
            self._loop.remove_reader(self._reading)
            self._client.close()
            self._client = None
