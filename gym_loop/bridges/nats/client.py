"""A blocking NATS client of few lines: requests for the agent's side, answers for the system's.

It speaks the core protocol of https://docs.nats.io/reference/reference-protocols/nats-protocol
and no more. The asyncio client of the field costs several times as much a request, because each
round trip goes through an event loop (see ``benchmarks/serving_nats.py``).
"""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import gym_loop
from gym_loop.bridges.nats.credentials import signed
from gym_loop.errors import BridgeConnectionError, BridgeProtocolError

_MAX_LINE = 1 << 16
_RETRY_SECONDS = 0.05
_NO_RESPONDERS = b"NATS/1.0 503"
_ERROR_HEADER = b"Nats-Service-Error:"


@dataclass(frozen=True)
class Server:
    """Where a NATS server is and what it wants to hear.

    Args:
        host: its address.
        port: its TCP port.
        user: user name, None for none.
        password: the user's.
        token: an authentication token.
        credentials: path of a ``.creds`` file (JWT and NKEY seed).
        tls: encrypt; a server that demands it is encrypted in any case.
        tls_ca: file of the certificates to trust, None for the system's.
    """

    host: str = "127.0.0.1"
    port: int = 4222
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    credentials: str | None = None
    tls: bool = False
    tls_ca: str | None = None

    @property
    def url(self) -> str:
        """The address without secrets."""
        return f"{'tls' if self.tls else 'nats'}://{self.host}:{self.port}"


def parse_url(url: str, **secrets_: Any) -> Server:
    """Read ``nats://user:password@host:port`` or ``tls://...``; what is given besides wins.

    Raises:
        BridgeConnectionError: it is no such URL.
    """
    text = url if "://" in url else f"nats://{url}"
    try:
        parts = urlsplit(text)
        port = parts.port or 4222
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in ("nats", "tls") or not parts.hostname:
        raise BridgeConnectionError(
            f"{url} is no NATS address: write nats://HOST:PORT or tls://..."
        )
    known: dict[str, Any] = {"tls": parts.scheme == "tls"}
    if parts.password is not None:
        known.update(user=unquote(parts.username or ""), password=unquote(parts.password))
    elif parts.username:
        known["token"] = unquote(parts.username)
    known.update({name: value for name, value in secrets_.items() if value})
    return Server(host=parts.hostname, port=port, **known)


class Message(NamedTuple):
    """One message that came."""

    subject: str
    reply: str
    payload: bytes
    headers: bytes


class NatsClient:
    """One connection.

    Args:
        server: where to.
        timeout: seconds that a connection or a request may take, reconnecting included.
        reconnect: after a lost connection, connect again and repeat the request.

    Raises:
        BridgeConnectionError: the server cannot be reached or refuses us.
    """

    def __init__(self, server: Server, *, timeout: float = 5.0, reconnect: bool = True) -> None:
        self.server = server
        self.timeout = timeout
        self.reconnect = reconnect
        self.connections = 0  # made so far
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._requests = 0
        self._subscriptions: list[str] = []
        self._connect(time.monotonic() + timeout)

    # -- connecting ----------------------------------------------------------------------

    def _connect(self, deadline: float) -> None:
        try:
            self._open(deadline)
        except (OSError, ssl.SSLError) as error:
            self._drop()
            raise BridgeConnectionError(f"{self.server.url}: {_reason(error)}") from None

    def _open(self, deadline: float) -> None:
        server = self.server
        self._buffer = b""
        self._socket = socket.create_connection((server.host, server.port), _left(deadline))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        verb, _, rest = self._line(deadline).partition(b" ")
        if verb != b"INFO":
            self._drop()
            raise BridgeConnectionError(f"{server.url} is no NATS server: it began with {verb!r}")
        info = json.loads(rest)
        if server.tls or info.get("tls_required"):
            context = ssl.create_default_context(cafile=server.tls_ca)
            self._socket = context.wrap_socket(self._socket, server_hostname=server.host)
        options = {
            "verbose": False, "pedantic": False, "lang": "python", "name": "gym-loop",
            "version": gym_loop.__version__, "protocol": 1, "headers": True, "no_responders": True,
        }  # fmt: skip
        given = {"user": server.user, "pass": server.password, "auth_token": server.token}
        options.update({name: value for name, value in given.items() if value is not None})
        if server.credentials:
            options.update(signed(server.credentials, info.get("nonce", "")))
        lines = [f"CONNECT {json.dumps(options)}", f"SUB {self._inbox}.* 1"]
        lines += [f"SUB {one} {2 + index}" for index, one in enumerate(self._subscriptions)]
        self._send("".join(f"{line}\r\n" for line in [*lines, "PING"]).encode())
        while (line := self._line(deadline)) != b"PONG":
            if line.startswith(b"-ERR"):
                self._drop()
                raise BridgeConnectionError(f"{server.url} refuses us: {_text(line[5:])}")
        self.connections += 1

    def _reopen(self, deadline: float, lost: Exception) -> None:
        """Connect again, as often as the time allows."""
        while True:
            try:
                self._connect(deadline)
            except BridgeConnectionError:
                if time.monotonic() + _RETRY_SECONDS > deadline:
                    raise BridgeConnectionError(
                        f"{self.server.url}: {_reason(lost)}; it did not come back within"
                        f" {self.timeout:g} s"
                    ) from None
                time.sleep(_RETRY_SECONDS)
            else:
                return

    def close(self) -> None:
        """Close the connection; a second call changes nothing."""
        self._drop()

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # -- asking --------------------------------------------------------------------------

    def request(self, *requests: tuple[str, bytes]) -> list[bytes]:
        """Send requests together and wait for all their replies.

        Args:
            requests: subject and payload of each; they must not depend on one another.

        Returns:
            The payloads of the replies, in the order of the requests.

        Raises:
            BridgeConnectionError: nobody answers the subject, or not in time, or the
                connection was lost and may not, or could not, be made again.
            BridgeProtocolError: the responder answered with an error.
        """
        deadline = time.monotonic() + self.timeout
        first = self._requests
        self._requests += len(requests)
        replies: list[bytes | None] = [None] * len(requests)
        connections = self.connections
        while True:
            try:
                self._ask(requests, first, replies)
                self._collect(requests, first, replies, deadline)
                return replies  # type: ignore[return-value]  # all are there
            except TimeoutError:
                subject = requests[replies.index(None)][0]
                raise BridgeConnectionError(
                    f"{subject}: no reply from {self.server.url} within {self.timeout:g} s"
                ) from None
            except _NoResponder as nobody:
                # After a restart the system may be slower to come back than we are.
                if self.connections == connections or time.monotonic() > deadline:
                    raise BridgeConnectionError(
                        f"{nobody}: nobody answers this subject on {self.server.url}; start the"
                        " system, or correct the prefix"
                    ) from None
                time.sleep(_RETRY_SECONDS)
            except OSError as error:
                subject = requests[replies.index(None)][0]
                if not self.reconnect:
                    raise BridgeConnectionError(
                        f"{subject}: the connection to {self.server.url} was lost"
                        f" ({_reason(error)}); reconnect is off"
                    ) from None
                self._reopen(deadline, error)

    def _ask(
        self, requests: Sequence[tuple[str, bytes]], first: int, replies: list[bytes | None]
    ) -> None:
        data = b""
        for index, (subject, payload) in enumerate(requests):
            if replies[index] is None:
                # The same inbox in a repetition: our own server knows that it has answered it.
                head = f"PUB {subject} {self._inbox}.{first + index} {len(payload)}\r\n"
                data += head.encode() + payload + b"\r\n"
        self._send(data)

    def _collect(
        self,
        requests: Sequence[tuple[str, bytes]],
        first: int,
        replies: list[bytes | None],
        deadline: float,
    ) -> None:
        missing = replies.count(None)
        while missing:
            message = self.receive(deadline)
            inbox, _, number = message.subject.rpartition(".")
            index = int(number) - first if inbox == self._inbox else -1
            if not 0 <= index < len(requests) or replies[index] is not None:
                continue  # the late answer of a request that has timed out
            if message.headers.startswith(_NO_RESPONDERS):
                raise _NoResponder(requests[index][0])
            if _ERROR_HEADER in message.headers:
                said = message.headers.partition(_ERROR_HEADER)[2].partition(b"\r\n")[0]
                raise BridgeProtocolError(f"{requests[index][0]}: {_text(said)}")
            replies[index] = message.payload
            missing -= 1

    # -- answering -----------------------------------------------------------------------

    def subscribe(self, subject: str) -> None:
        """Let the messages of a subject come to `receive`."""
        self._subscriptions.append(subject)
        self._send(f"SUB {subject} {1 + len(self._subscriptions)}\r\n".encode())

    def flush(self) -> None:
        """Wait until the server has read everything that was sent.

        Raises:
            OSError: the connection was lost, or the server did not answer in time.
        """
        self._send(b"PING\r\n")
        deadline = time.monotonic() + self.timeout
        while (line := self._line(deadline)) != b"PONG":
            if line.startswith(b"-ERR"):
                raise BridgeConnectionError(f"{self.server.url}: {_text(line[5:])}")

    def publish(self, subject: str, payload: bytes = b"", error: str = "") -> None:
        """Send a message.

        Args:
            subject: where to.
            payload: what.
            error: put into the header in which NATS services answer with an error.
        """
        if error:
            headers = b"NATS/1.0\r\n" + _ERROR_HEADER + b" " + _text(error.encode()).encode()
            headers += b"\r\n\r\n"
            head = f"HPUB {subject} {len(headers)} {len(headers) + len(payload)}\r\n".encode()
            self._send(head + headers + payload + b"\r\n")
        else:
            self._send(f"PUB {subject} {len(payload)}\r\n".encode() + payload + b"\r\n")

    def receive(self, deadline: float) -> Message:
        """Wait for the next message.

        Raises:
            TimeoutError: none came until the deadline (`time.monotonic` seconds).
            OSError: the connection was lost.
            BridgeConnectionError: the server ended the connection with an error.
        """
        while True:
            line = self._line(deadline)
            if line.startswith((b"MSG ", b"HMSG ")):
                return self._message(line, deadline)
            if line == b"PING":
                self._send(b"PONG\r\n")
            elif line.startswith(b"-ERR"):
                if b"Permissions Violation" in line or b"Authoriz" in line:
                    raise BridgeConnectionError(f"{self.server.url}: {_text(line[5:])}")
                raise ConnectionError(_text(line[5:]))

    def _message(self, line: bytes, deadline: float) -> Message:
        words = line.decode().split()
        with_headers = words[0] == "HMSG"
        header_size = int(words[-2]) if with_headers else 0
        size = int(words[-1])
        reply = words[3] if len(words) > (5 if with_headers else 4) else ""
        while len(self._buffer) < size + 2:
            try:
                self._fill(deadline)
            except TimeoutError:
                self._buffer = line + b"\r\n" + self._buffer  # whole again for the next call
                raise
        body, self._buffer = self._buffer[:size], self._buffer[size + 2 :]
        return Message(words[1], reply, body[header_size:], body[:header_size])

    # -- bytes ---------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        if self._socket is None:
            raise ConnectionError("the connection is closed")
        self._socket.settimeout(self.timeout)
        self._socket.sendall(data)

    def _line(self, deadline: float) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _MAX_LINE:
                raise ConnectionError("the server sent a line without an end")
            self._fill(deadline)
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line

    def _fill(self, deadline: float) -> None:
        if self._socket is None:
            raise ConnectionError("the connection is closed")
        self._socket.settimeout(_left(deadline))
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._buffer += data


class _NoResponder(Exception):  # noqa: N818 - it never leaves this file
    pass


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _text(raw: bytes) -> str:
    return " ".join(raw.decode(errors="replace").strip(" '\"\r\n").split())


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there; start a NATS server, or correct the address"
    return str(error) or type(error).__name__
