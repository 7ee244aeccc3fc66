"""One WebSocket of a client, which asks and waits for the answer."""

from __future__ import annotations

import socket
import struct
from typing import Any

from gym_loop.envs.remote.connection import LONGEST, Address, Connection, Lost, needed
from gym_loop.errors import BridgeProtocolError

_FAREWELL = 1.0  # seconds that the closing handshake may take
_TEMPORARY = frozenset({1000, 1001, 1005, 1006, 1012, 1013})  # codes of a server that ends
_TOO_LARGE = 1009


class WebSocket(Connection):
    """A connection whose requests and answers are one message each, as bytes.

    Args:
        address: of the server.
        token: what the server demands, None for nothing.
        timeout: seconds that connecting, and an answer, may take.

    Attributes:
        default_path: what is meant where the address has no path.
        text: requests are text, not binary.
    """

    default_path: str
    text: bool

    def __init__(self, address: Address, token: str | None, timeout: float) -> None:
        super().__init__(address, token, timeout)
        self._connect = needed("websockets.sync.client").connect
        self._errors = needed("websockets.exceptions")
        self._socket: Any = None

    def exchange(self, request: bytes) -> Any:
        """Send a request, over a new connection if there is none, and wait for its answer."""
        if self._socket is None or self._socket.state.name != "OPEN":
            self._open()
        try:
            self._socket.send(request, text=self.text)
            return self._socket.recv(self.timeout, decode=False)
        except TimeoutError:
            raise self.too_late() from None
        except self._errors.ConnectionClosed as closed:
            raise self._meant(closed) from None

    def refusal(self, code: int, reason: str) -> BridgeProtocolError:
        """What a close frame means that is none of a server that ends."""
        return BridgeProtocolError(f"{self.address.url} refused: {reason or code}")

    def drop(self) -> None:
        """End the connection at once; harmless if there is none."""
        if self._socket is not None:
            self._socket.close_socket()
            self._socket = None

    def disconnect(self) -> None:
        """Say goodbye, and end the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> None:
        self.drop()
        address, errors = self.address, self._errors
        path = address.path or self.default_path
        try:
            made = socket.create_connection((address.host, address.port), self.timeout)
        except OSError as error:
            raise self.unreachable(error) from None
        self.was_open = True
        made.settimeout(None)
        # A server that reads nothing may not hold up a request for ever.
        seconds = struct.pack("ll", int(self.timeout), max(1, int(self.timeout % 1 * 1e6)))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
        try:
            self._socket = self._connect(
                f"{'wss' if address.tls else 'ws'}://{address.authority}{path}",
                sock=made,  # with one that was made already, no redirection is followed
                additional_headers=self.headers,
                compression=None,
                proxy=None,
                open_timeout=self.timeout,
                ping_interval=None,
                close_timeout=_FAREWELL,
                max_size=LONGEST,
            ).__enter__()
        except TimeoutError:
            raise self.too_late() from None
        except OSError as error:
            raise self.unreachable(error) from None
        except (errors.InvalidHandshake, ValueError) as error:
            raise self._no_websocket(error, path) from None

    def _no_websocket(self, error: Exception, path: str) -> Exception:
        """What a handshake that failed means."""
        said: object = error.__cause__ or error
        if isinstance(said, EOFError):
            return Lost("the server closed the connection")
        if isinstance(error, self._errors.InvalidStatus):
            response = error.response
            if response.status_code in (401, 403):
                return BridgeProtocolError(
                    f"{self.address.url} demands another token; give it as the parameter token"
                )
            said = f"it answers {response.status_code} {response.reason_phrase}"
        return BridgeProtocolError(f"{self.address.url} has no WebSocket at {path}: {said!s:.120}")

    def _meant(self, closed: Any) -> Exception:
        """What the end of the connection means."""
        if (end := closed.rcvd) is not None:
            if end.code not in _TEMPORARY:
                return self.refusal(end.code, end.reason)
            return Lost(f"the server closed the connection ({end.code} {end.reason})".rstrip())
        if (own := closed.sent) is not None:
            what = f"an answer of more than {LONGEST} bytes" if own.code == _TOO_LARGE else own
            return BridgeProtocolError(
                f"{self.address.url} breaks the rules of WebSocket: {what!s:.120}"
            )
        if isinstance(closed.__cause__, (BlockingIOError, TimeoutError)):
            return self.too_late()
        return Lost(f"the connection broke: {closed.__cause__ or 'the server closed it'}")
