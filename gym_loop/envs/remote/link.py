"""The way to a server, whichever transport it is: whole messages there and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from gym_loop.errors import EnvPackageMissingError, EnvParametersError


@dataclass(frozen=True, kw_only=True)
class Access:
    """Where a server is, and what it wants to hear.

    Args:
        url: ``ws://``, ``wss://`` (WebSocket), ``tcp://`` (ZeroMQ), ``nats://`` or ``tls://``.
        token: what a WebSocket server, or the NATS server, demands.
        timeout: seconds that connecting, and each answer, may take.
        secret_key: file of our own CURVE pair, for ZeroMQ.
        server_key: file of the server's public key, for ZeroMQ.
        credentials: path of a ``.creds`` file, for NATS.
        tls_ca: file of the certificates to trust, for NATS.
        subject: that the server answers on, for NATS.
    """

    url: str
    token: str | None = None
    timeout: float = 30.0
    secret_key: str | None = None
    server_key: str | None = None
    credentials: str | None = None
    tls_ca: str | None = None
    subject: str = "gym-loop.native"


class Link(ABC):
    """One connection that carries messages, made when it is needed, and again after it broke.

    Attributes:
        timeout: seconds that connecting, and an answer, may take.
        was_open: at any time; a server that never answered is not waited for.
    """

    timeout: float
    was_open: bool

    @property
    @abstractmethod
    def url(self) -> str:
        """Where the server is, for messages."""

    @abstractmethod
    def send(self, message: bytes) -> None:
        """Send a request.

        Raises:
            Lost: the connection broke, or could not be made.
            BridgeConnectionError: it was not taken in time.
        """

    @abstractmethod
    def receive(self) -> Any:
        """Wait for a message; its bytes, in a buffer of its own.

        Raises:
            Lost: the connection broke.
            BridgeConnectionError: none came in time.
            BridgeProtocolError: the server refuses us.
        """

    @abstractmethod
    def hurry(self, seconds: float) -> None:
        """From now on, wait no longer than this for an answer."""

    @abstractmethod
    def close(self) -> None:
        """End the connection; harmless if there is none."""


# By scheme of the address: the module and the class, loaded when they are needed.
_LINKS = {
    "ws": ("websocket_link", "WebSocketLink"),
    "wss": ("websocket_link", "WebSocketLink"),
    "tcp": ("zmq_link", "ZmqLink"),
    "nats": ("nats_link", "NatsLink"),
    "tls": ("nats_link", "NatsLink"),
}


def open_link(access: Access) -> Link:
    """A link of the transport that the address names.

    Raises:
        EnvParametersError: it names none, or a parameter is of no use.
        EnvPackageMissingError: the packages for bridges are not installed.
    """
    url, timeout = access.url, access.timeout
    scheme = url.partition("://")[0] if isinstance(url, str) else ""
    if scheme not in _LINKS:
        raise EnvParametersError(
            f"url: {url!r} is no address of a server; write ws://127.0.0.1:5000/native,"
            " tcp://127.0.0.1:5000 or nats://127.0.0.1:4222"
        )
    if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or not timeout > 0:
        raise EnvParametersError(f"timeout: {timeout!r} is no number of seconds above 0")
    module, name = _LINKS[scheme]
    try:
        cls = getattr(import_module(f"gym_loop.envs.remote.{module}"), name)
        made: Link = cls(access)
    except ModuleNotFoundError as error:
        raise EnvPackageMissingError(
            f'gym_loop/Remote-v0 needs the module {error.name}: pip install "gym-loop[bridges]"'
        ) from None
    return made
