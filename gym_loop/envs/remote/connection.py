"""A connection to a server, made when it is needed, and again after it broke; for any protocol."""

from __future__ import annotations

import socket
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from gym_loop.errors import (
    BridgeConnectionError,
    BridgeProtocolError,
    EnvPackageMissingError,
    EnvParametersError,
)

LONGEST = 2**28  # bytes of an answer
_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.5)  # seconds between attempts to connect again


class Lost(Exception):  # noqa: N818 - it may be made good, and only then becomes an error
    """The connection broke, or could not be made."""


class InstanceGoneError(BridgeProtocolError):
    """The server does not know the environment any more: restarted, or its lease ended."""


@dataclass(frozen=True)
class Address:
    """Where a server is.

    Args:
        url: as it was given, for messages.
        host: name or number.
        port: TCP port.
        path: with a leading slash, or empty.
        tls: encrypted.
    """

    url: str
    host: str
    port: int
    path: str
    tls: bool

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_url(url: Any, schemes: Mapping[str, bool]) -> Address:
    """Read an address.

    Args:
        url: such as ``http://127.0.0.1:5000``.
        schemes: those allowed, and whether they are encrypted.

    Raises:
        EnvParametersError: it is none, or holds what has no place in it.
    """
    example = f"{next(iter(schemes))}://127.0.0.1:5000"
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        host, port = parts.hostname, parts.port
        if host and not host.isascii():
            host = host.encode("idna").decode()
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in schemes or not host:
        raise EnvParametersError(f"url: {url!r} is no address of a server; write {example}")
    if parts.username is not None or parts.query or parts.fragment:
        raise EnvParametersError(
            f"url: {url!r} holds more than an address; give a secret as the parameter token"
        )
    path = parts.path.rstrip("/")
    if not path.isascii() or not path.isprintable() or " " in path:
        raise EnvParametersError(f"url: the path {path!r} has characters that must be escaped")
    tls = schemes[parts.scheme]
    return Address(url, host, port or (443 if tls else 80), path, tls)


class Connection(ABC):
    """One connection that carries a request and its answer at a time.

    Args:
        address: of the server.
        token: what the server demands, None for nothing.
        timeout: seconds that connecting, and an answer, may take.

    Attributes:
        headers: of HTTP, that show the token.

    Raises:
        EnvParametersError: a parameter is of no use.
    """

    def __init__(self, address: Address, token: str | None, timeout: float) -> None:
        if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or not timeout > 0:
            raise EnvParametersError(f"timeout: {timeout!r} is no number of seconds above 0")
        if token is not None and not (
            isinstance(token, str) and token.isascii() and token.isprintable()
        ):
            raise EnvParametersError("token: write printable ASCII characters")
        self.address = address
        self.headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.timeout = float(timeout)
        self.was_open = False  # at any time: a server that never answered is not waited for

    @abstractmethod
    def exchange(self, request: Any) -> Any:
        """Send a request, over a new connection if there is none, and wait for its answer.

        Raises:
            Lost: the connection broke, or could not be made.
            BridgeConnectionError: it did not come in time.
            BridgeProtocolError: the server refuses, or does not speak the protocol.
        """

    @abstractmethod
    def drop(self) -> None:
        """End the connection at once; harmless if there is none."""

    def disconnect(self) -> None:
        """End the connection politely."""
        self.drop()

    def hurry(self, seconds: float) -> None:
        """From now on, wait no longer than this for an answer."""
        self.timeout = min(self.timeout, seconds)

    def ask(self, request: Any, *, repeat: bool = True) -> Any:
        """Make an exchange; where nothing is lost by it, again over a new connection.

        An exchange that failed, for whatever reason, may have left half an answer behind: the
        connection ends with it.

        Args:
            request: as the protocol has it.
            repeat: try again, for as long as the timeout.

        Raises:
            BridgeConnectionError: the server cannot be reached, or did not answer in time.
            BridgeProtocolError: it refuses, or does not speak the protocol.
        """
        end, attempts = 0.0, 0
        while True:
            try:
                return self.exchange(request)
            except Lost as lost:
                self.drop()
                now = time.monotonic()
                end = end or now + self.timeout
                if not repeat or not self.was_open or now >= end:
                    hint = "" if self.was_open else "; is the server running there?"
                    raise BridgeConnectionError(f"{self.address.url}: {lost}{hint}") from None
            except BaseException:
                self.drop()
                raise
            time.sleep(_PAUSES[min(attempts, len(_PAUSES) - 1)])
            attempts += 1

    def too_late(self) -> BridgeConnectionError:
        """The error of an answer that did not come."""
        return BridgeConnectionError(
            f"{self.address.url} did not answer within {self.timeout:g} s; a longer timeout may"
            " help"
        )

    def unreachable(self, error: OSError) -> Exception:
        """What an error of connecting means: only where nobody answers may a moment help."""
        url = self.address.url
        if isinstance(error, ssl.SSLCertVerificationError):
            return BridgeConnectionError(f"{url}: {error.verify_message}")
        if isinstance(error, socket.gaierror):
            return BridgeConnectionError(
                f"{url}: there is no host {self.address.host}: {error.strerror}"
            )
        return Lost(f"cannot connect: {error.strerror or error}")


def needed(module: str) -> Any:
    """Import a module of the packages for bridges.

    Raises:
        EnvPackageMissingError: they are not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise EnvPackageMissingError(
            f"environments on a server need the module {error.name}: pip install"
            ' "gym-loop[bridges]"'
        ) from None
