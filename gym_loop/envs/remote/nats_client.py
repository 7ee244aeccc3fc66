"""A blocking NATS client of few lines: requests for the agent's side, answers for the system's.

nats-py, the asyncio client of the field, does not do: told ``tls://``, its version 2.16 sends the
token unencrypted to a server that offers no TLS.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from gym_loop.envs.remote.nats_address import Address
from gym_loop.envs.remote.nats_credentials import signed
from gym_loop.errors import BridgeConnectionError, BridgeProtocolError
from gym_loop.wire import nats as wire
from gym_loop.wire.nats import Message, WireError

# The inboxes of our requests: a request that comes twice with one of these is a repetition.
INBOXES = "_INBOX.gym-loop."
ERROR_HEADER = "Nats-Service-Error"
_NO_RESPONDERS = b"503"
_RETRY_SECONDS = 0.05
_LEAST_SECONDS = 0.001  # that a wait takes: 0 would be none at all
# After these the server keeps the connection; after any other error it ends it.
_KEPT = ("permissions violation", "invalid subject", "invalid publish subject")


class RefusedError(BridgeConnectionError):
    """The NATS server forbids a subject, and keeps the connection."""


class NatsClient:
    """One connection.

    Args:
        address: where to.
        timeout: seconds that a connection or a request may take, reconnecting included.
        reconnect: after a lost connection, connect again and repeat the request.

    Raises:
        BridgeConnectionError: the server cannot be reached or refuses us.
    """

    def __init__(self, address: Address, *, timeout: float = 5.0, reconnect: bool = True) -> None:
        self.address = address
        self.timeout = timeout
        self.reconnect = reconnect
        self.connections = 0  # made so far
        self.max_payload = wire.LARGEST_PAYLOAD
        self.held = b""  # published, and not sent yet
        self._socket: socket.socket | None = None
        self._reader = wire.Reader()
        self._inbox = f"{INBOXES}{secrets.token_hex(11)}"
        self._requests = 0
        self._subscriptions: list[str] = []
        self._closed = False
        self._connect(time.monotonic() + timeout)

    # -- connecting ----------------------------------------------------------------------

    def _connect(self, deadline: float) -> None:
        try:
            self._open(deadline)
        except (OSError, WireError) as error:
            self._drop()
            raise BridgeConnectionError(f"{self.address.url}: {_reason(error)}") from None
        except BridgeConnectionError:
            self._drop()
            raise
        self.connections += 1

    def _open(self, deadline: float) -> None:
        address = self.address
        self._reader = wire.Reader()
        left = max(deadline - time.monotonic(), _RETRY_SECONDS)
        self._socket = socket.create_connection((address.host, address.port), left)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        info = wire.read_info(self._next(deadline))
        self.max_payload = int(info.get("max_payload", self.max_payload))
        if address.tls or info.get("tls_required"):
            if not (info.get("tls_required") or info.get("tls_available")):
                raise BridgeConnectionError(
                    f"{address.url}: this NATS server offers no TLS; write nats://, or configure"
                    " tls there"
                )
            context = ssl.create_default_context(cafile=address.tls_ca)
            self._socket = context.wrap_socket(self._socket, server_hostname=address.host)
            self._reader = wire.Reader()  # whatever else came unencrypted is nobody's word
        options = {
            "verbose": False, "pedantic": False, "lang": "python", "name": "gym-loop",
            "version": version("gym-loop"), "protocol": 1, "headers": True, "no_responders": True,
        }  # fmt: skip
        given = {"user": address.user, "pass": address.password, "auth_token": address.token}
        options.update({name: value for name, value in given.items() if value is not None})
        if address.credentials:
            options.update(signed(address.credentials, str(info.get("nonce", ""))))
        self._send(wire.connect(options) + wire.subscribe(f"{self._inbox}.*", 1))
        for number, subject in enumerate(self._subscriptions, 2):
            self._send(wire.subscribe(subject, number))
        self._round_trip(deadline)

    def _round_trip(self, deadline: float) -> None:
        """Wait until the server has read everything that was sent."""
        self._send(b"PING\r\n")
        while (line := self._next(deadline)) != b"PONG":
            if isinstance(line, bytes) and line.startswith(b"-ERR"):
                raise BridgeConnectionError(f"{self.address.url} refuses us: {wire.text(line[4:])}")

    def close(self) -> None:
        """Close the connection for good; a second call changes nothing."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # -- asking --------------------------------------------------------------------------

    def request(self, *requests: tuple[str, bytes]) -> list[Message]:
        """Send requests together and wait for all their replies.

        Args:
            requests: subject and payload of each; they must not depend on one another.

        Returns:
            The replies, in the order of the requests.

        Raises:
            BridgeConnectionError: nobody answers the subject, or not in time, or the
                connection was lost and may not, or could not, be made again.
            BridgeProtocolError: the responder answered with an error.
        """
        if self._closed:
            raise BridgeConnectionError(f"{requests[0][0]}: the connection was closed on this side")
        deadline = time.monotonic() + self.timeout
        first = self._requests
        self._requests += len(requests)
        replies: dict[int, Message] = {}
        connections = self.connections
        while True:
            try:
                self._ask(requests, first, replies)
                self._collect(requests, first, replies, deadline)
                return [replies[index] for index in range(len(requests))]
            except _NoResponder as nobody:
                # After a restart the system may be slower to come back than we are.
                if self.connections == connections or time.monotonic() > deadline:
                    raise BridgeConnectionError(
                        f"{nobody}: nobody answers this subject on {self.address.url}; start the"
                        " system, or correct the prefix"
                    ) from None
                time.sleep(_RETRY_SECONDS)
            except TimeoutError:
                raise BridgeConnectionError(
                    f"{_unanswered(requests, replies)}: no reply from {self.address.url} within"
                    f" {self.timeout:g} s"
                ) from None
            except (OSError, WireError) as error:
                self._again(_unanswered(requests, replies), error, deadline)

    def _again(self, subject: str, lost: Exception, deadline: float) -> None:
        """Get a new connection for a request whose own was lost, as often as the time allows."""
        self._drop()
        if not self.reconnect:
            raise BridgeConnectionError(
                f"{subject}: the connection to {self.address.url} was lost ({_reason(lost)});"
                " reconnect is off"
            ) from None
        while True:
            try:
                return self._connect(deadline)
            except BridgeConnectionError as error:
                if time.monotonic() + _RETRY_SECONDS > deadline:
                    raise BridgeConnectionError(
                        f"{subject}: the connection was lost ({_reason(lost)}) and did not come"
                        f" back within {self.timeout:g} s: {error}"
                    ) from None
                time.sleep(_RETRY_SECONDS)

    def _ask(
        self, requests: Sequence[tuple[str, bytes]], first: int, replies: Mapping[int, Message]
    ) -> None:
        # The same inbox in a repetition: our own system knows that it has answered it.
        self._send(
            b"".join(
                wire.publish(subject, payload, f"{self._inbox}.{first + index}")
                for index, (subject, payload) in enumerate(requests)
                if index not in replies
            )
        )

    def _collect(
        self,
        requests: Sequence[tuple[str, bytes]],
        first: int,
        replies: dict[int, Message],
        deadline: float,
    ) -> None:
        inbox = f"{self._inbox}."
        while len(replies) < len(requests):
            try:
                message = self.receive(deadline)
            except RefusedError as error:
                raise BridgeConnectionError(f"{requests[0][0]}: {error}") from None
            number = message.subject.removeprefix(inbox)
            index = int(number) - first if number.isdecimal() else -1
            if not 0 <= index < len(requests):
                continue  # the late answer of a request that has timed out
            if message.headers:
                if message.status == _NO_RESPONDERS:
                    raise _NoResponder(requests[index][0])
                if (said := message.header(ERROR_HEADER)) is not None:
                    raise BridgeProtocolError(f"{requests[index][0]}: {said}")
            replies.setdefault(index, message)

    # -- answering -----------------------------------------------------------------------

    def subscribe(self, *subjects: str) -> None:
        """Let the messages of subjects come to `receive`.

        Raises:
            OSError: the connection was lost, or the server did not answer in time.
            BridgeConnectionError: the server forbids it.
        """
        for subject in subjects:
            self._subscriptions.append(subject)
            self._send(wire.subscribe(subject, 1 + len(self._subscriptions)))
        self._round_trip(time.monotonic() + self.timeout)

    def drain(self) -> list[Message]:
        """End all subscriptions; gives what came before their end.

        Raises:
            OSError: the connection was lost, or the server did not answer in time.
        """
        numbers = range(2, 2 + len(self._subscriptions))
        self._send(b"".join(b"UNSUB %d\r\n" % number for number in numbers) + b"PING\r\n")
        self._subscriptions.clear()
        deadline = time.monotonic() + self.timeout
        messages = []
        while (item := self._next(deadline)) != b"PONG":
            if isinstance(item, Message):
                messages.append(item)
        return messages

    def publish(
        self,
        subject: str,
        payload: bytes = b"",
        headers: Mapping[str, str] | None = None,
        reply: str = "",
    ) -> None:
        """Publish a message; it is sent before the next wait, with others, or by `flush`."""
        self.held += wire.publish(subject, payload, reply, headers)

    def flush(self) -> None:
        """Send what was published.

        Raises:
            OSError: the connection was lost; what was published is still held.
        """
        if self.held:
            self._send(self.held)
            self.held = b""

    def receive(self, deadline: float) -> Message:
        """Wait for the next message.

        Raises:
            TimeoutError: none came until the deadline (`time.monotonic` seconds).
            OSError: the connection was lost, or ended by the server with an error.
            WireError: what came is no NATS.
            RefusedError: the server forbids what was asked; the connection goes on.
        """
        while True:
            item = self._next(deadline)
            if isinstance(item, Message):
                return item
            if item == b"PING":
                self._send(b"PONG\r\n")
            elif item.startswith(b"-ERR"):
                said = wire.text(item[4:])
                if said.lower().startswith(_KEPT):
                    raise RefusedError(f"{self.address.url}: {said}")
                raise ConnectionError(said)

    # -- bytes ---------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        if self._socket is None:
            raise ConnectionError("the connection is closed")
        self._socket.settimeout(self.timeout)
        try:
            self._socket.sendall(data)
        except TimeoutError:
            # What was sent is cut off somewhere, so that nothing can follow it.
            raise ConnectionError("the server takes no more") from None

    def _next(self, deadline: float) -> Message | bytes:
        while (item := self._reader.next()) is None:
            self.flush()
            if self._socket is None:
                raise ConnectionError("the connection is closed")
            self._socket.settimeout(max(deadline - time.monotonic(), _LEAST_SECONDS))
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._reader.feed(data)
            if time.monotonic() > deadline:
                raise TimeoutError  # what comes in drops never ends
        return item


class _NoResponder(Exception):  # noqa: N818 - it never leaves this file
    pass


def _unanswered(requests: Sequence[tuple[str, bytes]], replies: Mapping[int, Message]) -> str:
    return next(subject for index, (subject, _) in enumerate(requests) if index not in replies)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there; start a NATS server, or correct the address"
    if isinstance(error, WireError):
        return f"it does not speak NATS: {error}"
    return str(error) or type(error).__name__
