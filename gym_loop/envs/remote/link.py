"""The way of a native client to its server: one WebSocket, whole messages there and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gym_loop.envs.remote.transport import parse_url
from gym_loop.envs.remote.websocket_channel import BINARY, Channel, Refused
from gym_loop.errors import BridgeProtocolError, EnvParametersError

PATH = "/native"


@dataclass(frozen=True, kw_only=True)
class Access:
    """Where a server is, and what it wants to hear.

    Args:
        url: ``ws://`` or ``wss://``; without a path in it, ``/native`` is meant.
        token: what the server demands.
        timeout: seconds that connecting, and each answer, may take.
    """

    url: str
    token: str | None = None
    timeout: float = 30.0


class Link:
    """One connection that carries messages, made when it is needed, and again after it broke.

    Args:
        access: of the server.

    Raises:
        EnvParametersError: its address, or its timeout, is none.
    """

    def __init__(self, access: Access) -> None:
        url, timeout = access.url, access.timeout
        if not isinstance(url, str) or url.partition("://")[0] not in ("ws", "wss"):
            raise EnvParametersError(
                f"url: {url!r} is no address of a server; write ws://127.0.0.1:5000/native"
            )
        if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or not timeout > 0:
            raise EnvParametersError(f"timeout: {timeout!r} is no number of seconds above 0")
        address = parse_url(url, {"ws": False, "wss": True})
        self._channel = Channel(address, access.token, timeout, PATH, BINARY)

    @property
    def url(self) -> str:
        """Where the server is, for messages."""
        return self._channel.line.url

    @property
    def timeout(self) -> float:
        """Seconds that connecting, and an answer, may take."""
        return self._channel.line.timeout

    @property
    def was_open(self) -> bool:
        """Whether the server answered at any time; one that never did is not waited for."""
        return self._channel.line.was_open

    def send(self, message: bytes) -> None:
        """Send a request.

        Raises:
            Lost: the connection broke, or could not be made.
            BridgeConnectionError: it was not taken in time.
        """
        self._channel.send(message)

    def receive(self) -> Any:
        """Wait for a message; its bytes, in a buffer of its own.

        Raises:
            Lost: the connection broke.
            BridgeConnectionError: none came in time.
            BridgeProtocolError: the server refuses us.
        """
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
        """Say goodbye, and end the connection; harmless if there is none."""
        self._channel.disconnect()
