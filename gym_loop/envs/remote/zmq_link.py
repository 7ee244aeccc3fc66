"""The native protocol over ZeroMQ, from the client's side: a DEALER that speaks as a REQ does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from gym_loop.envs.remote.addresses import is_loopback
from gym_loop.envs.remote.link import Access, Link
from gym_loop.envs.remote.transport import Lost, parse_url
from gym_loop.envs.remote.zmq_sockets import Sockets, import_zmq
from gym_loop.errors import BridgeConnectionError, BridgeProtocolError, EnvParametersError

_LARGEST = 2**28  # bytes of a reply
_SLICE = 0.1  # seconds between two looks at whether the connection broke


class ZmqLink(Link):
    """One socket, made anew after it broke.

    Args:
        access: of the server; on another machine it takes keys.
    """

    def __init__(self, access: Access) -> None:
        self._zmq = import_zmq()
        self._address = parse_url(access.url, {"tcp": False})
        if bool(access.secret_key) != bool(access.server_key):
            raise EnvParametersError("secret_key and server_key belong together; name both files")
        if not is_loopback(self._address.host) and not access.secret_key:
            raise EnvParametersError(
                f"url: {access.url} is another machine: name the files of CURVE keys in"
                " secret_key and server_key"
            )
        self._access = access
        self.timeout = float(access.timeout)
        self.was_open = False
        self._sockets: Sockets | None = None
        self._socket: Any = None
        self._monitor: Any = None

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._access.url

    def _open(self) -> None:
        zmq, keys = self._zmq, self._access
        self._sockets = Sockets(
            secret_key=Path(keys.secret_key) if keys.secret_key else None,
            peer_key=Path(keys.server_key) if keys.server_key else None,
        )
        self._socket = self._sockets.connect(
            zmq.DEALER, self._address.host, self._address.port, _LARGEST, immediate=True
        )
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_DISCONNECTED
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        )

    def send(self, message: bytes) -> None:
        """Send a request; see `Link`."""
        zmq = self._zmq
        if self._socket is None:
            self._open()
        deadline = time.monotonic() + self.timeout
        while True:
            self._socket.sndtimeo = int(min(_SLICE, self.timeout) * 1e3) + 1
            try:
                self._socket.send_multipart([b"", message])
            except zmq.Again:
                self._check_connection()
                if time.monotonic() > deadline:
                    self.close()
                    raise BridgeConnectionError(
                        f"{self.url}: nobody takes a request there within {self.timeout:g} s; is"
                        " the server running there?"
                    ) from None
            else:
                self.was_open = True
                return

    def receive(self) -> Any:
        """Wait for a message; see `Link`."""
        zmq = self._zmq
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                *_, message = self._socket.recv_multipart(copy=False)
            except zmq.Again:
                self._check_connection()
                if time.monotonic() > deadline:
                    raise BridgeConnectionError(
                        f"{self.url} did not answer within {self.timeout:g} s; a longer timeout"
                        " may help"
                    ) from None
            else:
                return bytearray(message.buffer)

    def _check_connection(self) -> None:
        from zmq.utils.monitor import recv_monitor_message

        zmq = self._zmq
        try:
            event = recv_monitor_message(self._monitor, zmq.NOBLOCK)["event"]
        except zmq.Again:
            return
        if event != zmq.EVENT_DISCONNECTED:
            raise BridgeProtocolError(
                f"{self.url} does not know our key: its operator has to name our public key in"
                " client_keys, and server_key must be the server's"
            )
        raise Lost("the server closed the connection")

    def hurry(self, seconds: float) -> None:
        """From now on, wait no longer than this for an answer."""
        self.timeout = min(self.timeout, seconds)

    def close(self) -> None:
        """End the connection."""
        if self._sockets is not None:
            self._socket.disable_monitor()
            self._monitor.close()
            self._sockets.close()
            self._sockets = self._socket = None
