"""One kept-alive TCP or TLS connection to a server, for clients that ask and wait.

It is blocking, without an event loop and without a library's request objects: in a loop that
steps an environment, these cost several times the round trip itself.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from gym_loop.errors import BridgeConnectionError, EnvParametersError

_CHUNK = 65536
_AWAKE = 2e-4  # seconds that an answer is looked out for
_NAPS = 32
_IDLE = 0.5  # seconds after which a connection is looked at before it is used again
_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.5)  # seconds between attempts to connect again

Answer = TypeVar("Answer")


class Lost(Exception):  # noqa: N818 - it may be made good, and only then becomes an error
    """The connection broke, or could not be made."""


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


def authorization(token: str | None) -> bytes:
    """The header line that shows a token; empty without one.

    Raises:
        EnvParametersError: it cannot stand in a header.
    """
    if token is None:
        return b""
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise EnvParametersError("token: write printable ASCII characters")
    return b"Authorization: Bearer %b\r\n" % token.encode()


class Line:
    """A connection that is made when it is needed, and made again after it broke.

    Args:
        address: of the server.
        timeout: seconds that connecting, and an answer, may take.
    """

    def __init__(self, address: Address, timeout: float) -> None:
        if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or not timeout > 0:
            raise EnvParametersError(f"timeout: {timeout!r} is no number of seconds above 0")
        self.address = address
        self.timeout = float(timeout)
        self.was_open = False  # at any time: a server that never answered is not waited for
        self._socket: socket.socket | None = None
        self._used = 0.0
        self._deadline = 0.0
        self._naps = 0  # answers to wait for asleep before the next one is looked out for

    @property
    def url(self) -> str:
        """Where the server is, for messages."""
        return self.address.url

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._socket is not None

    def connect(self) -> None:
        """Make a new connection.

        Raises:
            Lost: nobody answers there.
            BridgeConnectionError: there is no such host, or its certificate is not trusted.
        """
        self.close()
        address = self.address
        try:
            made = socket.create_connection((address.host, address.port), self.timeout)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if address.tls:
                made = ssl.create_default_context().wrap_socket(made, server_hostname=address.host)
        except ssl.SSLCertVerificationError as error:
            raise BridgeConnectionError(f"{address.url}: {error.verify_message}") from None
        except socket.gaierror as error:
            raise BridgeConnectionError(
                f"{address.url}: there is no host {address.host}: {error.strerror}"
            ) from None
        except OSError as error:
            raise Lost(f"cannot connect: {error.strerror or error}") from None
        self._socket, self.was_open = made, True
        self._watch_time()
        self._used = time.monotonic()

    def _watch_time(self) -> None:
        assert self._socket is not None
        if self.address.tls:
            self._socket.settimeout(self.timeout)
            return
        # The kernel does it: Python's own timeouts cost another system call each. (Its TLS
        # takes the kernel's for a reason to try again.)
        self._socket.settimeout(None)
        value = struct.pack("ll", int(self.timeout), max(1, int(self.timeout % 1 * 1e6)))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)

    def hurry(self, seconds: float) -> None:
        """From now on, wait no longer than this for an answer."""
        self.timeout = min(self.timeout, seconds)
        if self._socket is not None:
            self._watch_time()

    def is_stale(self) -> bool:
        """Whether the other side has closed the connection while it was idle."""
        if self._socket is None or time.monotonic() - self._used < _IDLE:
            return self._socket is None
        # Between two requests nothing is to be read, but for the news of the end.
        return bool(select.select([self._socket], [], [], 0)[0])

    def send(self, data: bytes) -> None:
        """Send a request.

        Raises:
            Lost: the connection broke.
            BridgeConnectionError: it was not taken in time.
        """
        assert self._socket is not None
        self._deadline = 0.0
        try:
            self._socket.sendall(data)
        except (BlockingIOError, TimeoutError):
            raise self._too_late() from None
        except OSError as error:
            raise Lost(f"the connection broke: {error.strerror or error}") from None

    def receive(self) -> bytes:
        """Wait for data, and take what has come.

        Raises:
            Lost: the connection broke, or was closed.
            BridgeConnectionError: nothing came in time.
        """
        assert self._socket is not None
        try:
            data = self._looked() or self._socket.recv(_CHUNK)
        except (BlockingIOError, TimeoutError):
            raise self._too_late() from None
        except OSError as error:
            raise Lost(f"the connection broke: {error.strerror or error}") from None
        if not data:
            raise Lost("the server closed the connection")
        self._used = now = time.monotonic()
        if not self._deadline:
            self._deadline = now + self.timeout
        elif now > self._deadline:  # an answer that comes in drops never ends
            raise self._too_late()
        return data

    def _looked(self) -> bytes:
        """What comes within a moment, without falling asleep; nothing if that takes longer.

        To wake a process takes longer than many an environment's step, above all in a virtual
        machine. A server that was slow is waited for asleep.
        """
        if self._naps > 0 or self.address.tls:
            self._naps -= 1
            return b""
        assert self._socket is not None
        recv, clock = self._socket.recv, time.perf_counter
        end = clock() + _AWAKE
        while clock() < end:
            try:
                return recv(_CHUNK, socket.MSG_DONTWAIT)
            except BlockingIOError:
                os.sched_yield()  # if the server shares this core, it has to have it
        self._naps = _NAPS
        return b""

    def receive_into(self, buffer: memoryview) -> None:
        """Wait for so much data that it fills a buffer.

        Raises:
            Lost: the connection broke, or was closed.
            BridgeConnectionError: it did not come in time.
        """
        assert self._socket is not None
        flags = 0 if self.address.tls else socket.MSG_WAITALL
        while buffer:
            try:
                size = self._socket.recv_into(buffer, 0, flags)
            except (BlockingIOError, TimeoutError):
                raise self._too_late() from None
            except OSError as error:
                raise Lost(f"the connection broke: {error.strerror or error}") from None
            if not size:
                raise Lost("the server closed the connection")
            buffer = buffer[size:]
            self._used = time.monotonic()
            if buffer and self._used > self._deadline:
                raise self._too_late()

    def _too_late(self) -> BridgeConnectionError:
        return BridgeConnectionError(
            f"{self.address.url} did not answer within {self.timeout:g} s; a longer timeout may"
            " help"
        )

    def close(self) -> None:
        """End the connection; harmless if there is none."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Breakable(Protocol):
    """A connection that may break and be made again."""

    @property
    def timeout(self) -> float:
        """Seconds that connecting, and an answer, may take."""

    @property
    def was_open(self) -> bool:
        """Whether there was a connection at any time."""

    @property
    def url(self) -> str:
        """Where the server is, for messages."""

    def close(self) -> None:
        """End the connection; harmless if there is none."""


def persist(line: Breakable, attempt: Callable[[], Answer], *, repeat: bool) -> Answer:
    """Make an exchange; where nothing is lost by it, again over a new connection.

    An exchange that failed, for whatever reason, may have left half an answer behind: the
    connection ends with it.

    Args:
        line: the connection that the attempt uses.
        attempt: sends a request and reads its answer.
        repeat: try again, for as long as the line's timeout.

    Raises:
        BridgeConnectionError: the server cannot be reached, or did not answer in time.
    """
    end, attempts = 0.0, 0
    while True:
        try:
            return attempt()
        except Lost as lost:
            line.close()
            now = time.monotonic()
            end = end or now + line.timeout
            if not repeat or not line.was_open or now >= end:
                hint = "" if line.was_open else "; is the server running there?"
                raise BridgeConnectionError(f"{line.url}: {lost}{hint}") from None
        except BaseException:
            line.close()
            raise
        time.sleep(_PAUSES[min(attempts, len(_PAUSES) - 1)])
        attempts += 1
