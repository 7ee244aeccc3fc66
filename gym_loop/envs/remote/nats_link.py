"""The native protocol over NATS, from the client's side."""

from __future__ import annotations

import time
from typing import Any

from gym_loop.envs.remote.addresses import subject_problem
from gym_loop.envs.remote.link import Access, Link
from gym_loop.envs.remote.nats_address import parse_url
from gym_loop.envs.remote.nats_client import NatsClient, RefusedError
from gym_loop.envs.remote.transport import Lost
from gym_loop.errors import BridgeConnectionError, BridgeProtocolError, EnvParametersError
from gym_loop.wire.nats import WireError
from gym_loop.wire.parts import Joiner, split
from gym_loop.wire.values import Malformed

_LARGEST = 2**28  # bytes of a reply
_NOBODY = b"503"


class NatsLink(Link):
    """One connection to a NATS server, made anew after it broke.

    Args:
        access: of the NATS server, and the subject that the native server answers on.
    """

    def __init__(self, access: Access) -> None:
        if problem := subject_problem(access.subject):
            raise EnvParametersError(f"subject: {problem}")
        self._address = parse_url(
            access.url, token=access.token, credentials=access.credentials, tls_ca=access.tls_ca
        )
        self._subject = access.subject
        self.timeout = float(access.timeout)
        self.was_open = False
        self._client: NatsClient | None = None
        self._joiner = Joiner(_LARGEST)
        self._sent = 0

    @property
    def url(self) -> str:
        """Where the NATS server is."""
        return f"{self._address.url} ({self._subject})"

    def send(self, message: bytes) -> None:
        """Send a request; see `Link`."""
        client = self._client
        if client is None:
            client = self._connected()
        self._sent += 1
        reply = f"{client.inbox}.{self._sent}"
        for part in split(message, client.max_payload):
            client.publish(self._subject, part, reply=reply)
        try:
            client.flush()
        except OSError as error:
            raise Lost(f"the connection broke: {error}") from None

    def _connected(self) -> NatsClient:
        try:
            self._client = client = NatsClient(self._address, timeout=self.timeout)
        except BridgeConnectionError as error:
            if self.was_open:
                raise Lost(str(error)) from None
            raise
        self.was_open = True
        return client

    def receive(self) -> Any:
        """Wait for a message; see `Link`."""
        if self._client is None:
            raise Lost("the connection is closed")
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                message = self._client.receive(deadline)
            except RefusedError as error:
                raise BridgeProtocolError(f"{self.url}: {error}") from None
            except TimeoutError:
                raise BridgeConnectionError(
                    f"{self.url} did not answer within {self.timeout:g} s; a longer timeout may"
                    " help"
                ) from None
            except (OSError, WireError) as error:
                raise Lost(f"the connection broke: {error}") from None
            if message.status == _NOBODY and message.headers:
                raise BridgeConnectionError(
                    f"{self.url}: nobody answers this subject; start gym-loop serve nats --native,"
                    " or correct the subject"
                )
            try:
                whole = self._joiner.add(message.subject, message.payload)
            except Malformed as error:
                raise BridgeProtocolError(f"{self.url}: {error.message}") from None
            if whole is not None:
                return whole

    def hurry(self, seconds: float) -> None:
        """From now on, wait no longer than this for an answer."""
        self.timeout = min(self.timeout, seconds)
        if self._client is not None:
            self._client.timeout = self.timeout

    def close(self) -> None:
        """End the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None
