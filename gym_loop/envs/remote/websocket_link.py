"""The native protocol over a WebSocket, from the client's side."""

from __future__ import annotations

from typing import Any

from gym_loop.envs.remote.link import Access, Link
from gym_loop.envs.remote.transport import parse_url
from gym_loop.envs.remote.websocket_channel import BINARY, Channel, Refused
from gym_loop.errors import BridgeProtocolError

PATH = "/native"


class WebSocketLink(Link):
    """One WebSocket, one binary message a request and a reply.

    Args:
        access: of the server; without a path in its address, ``/native`` is meant.
    """

    def __init__(self, access: Access) -> None:
        address = parse_url(access.url, {"ws": False, "wss": True})
        self._channel = Channel(address, access.token, access.timeout, PATH, BINARY)

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._channel.line.url

    @property
    def timeout(self) -> float:  # type: ignore[override]
        """Seconds that an answer may take."""
        return self._channel.line.timeout

    @property
    def was_open(self) -> bool:  # type: ignore[override]
        """Whether there was a connection at any time."""
        return self._channel.line.was_open

    def send(self, message: bytes) -> None:
        """Send a request; see `Link`."""
        self._channel.send(message)

    def receive(self) -> Any:
        """Wait for a message; see `Link`."""
        try:
            message = self._channel.receive()
        except Refused as refused:
            raise BridgeProtocolError(
                f"{self.url} refused: {refused.reason or refused.code}"
            ) from None
        # Observations can be written to, as those of an environment here.
        return bytearray(message) if type(message) is bytes else message

    def hurry(self, seconds: float) -> None:
        """From now on, wait no longer than this for an answer."""
        self._channel.line.hurry(seconds)

    def close(self) -> None:
        """Say goodbye, and end the connection."""
        self._channel.disconnect()
