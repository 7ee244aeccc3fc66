"""ZeroMQ sockets of both sides: made, bound, and closed again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gym_loop.errors import BridgeConnectionError, BridgeError, UsageError
from gym_loop.schema.files import expanded

POLL = 0.1  # s; how often a part that waits for messages looks whether it is to end


def import_zmq() -> Any:
    """Import pyzmq.

    Raises:
        BridgeError: it is not installed.
    """
    try:
        import zmq
    except ImportError:
        raise BridgeError(
            'ZeroMQ needs the package pyzmq: pip install "gym-loop[bridges]"'
        ) from None
    return zmq


class Sockets:
    """The sockets of one side, with a context of their own and the keys they use.

    Args:
        secret_key: file with our own CURVE pair; None does without encryption.
        peer_key: file with the public key of the peer that we connect to.
        readers: files with the public keys that may connect to us.

    Raises:
        UsageError: a key file cannot be read.
    """

    def __init__(
        self,
        secret_key: Path | None = None,
        peer_key: Path | None = None,
        readers: Iterable[Path] = (),
    ) -> None:
        self._zmq = import_zmq()
        self._own = read_key(secret_key, secret=True) if secret_key else None
        self._peer = read_key(peer_key)[0] if peer_key else None
        allowed = {read_key(path)[0] for path in readers}
        self._context = self._zmq.Context()
        self._open: list[Any] = []
        self._authenticator = self._start_authenticator(allowed) if self._own else None

    def _start_authenticator(self, allowed: set[bytes]) -> Any:
        from zmq.auth.thread import ThreadAuthenticator

        class Allowed:
            def callback(self, domain: str, key: bytes) -> bool:
                return key in allowed

        authenticator = ThreadAuthenticator(self._context)
        authenticator.start()
        authenticator.configure_curve_callback("*", Allowed())
        return authenticator

    def bind(self, kind: int, host: str, port: int, what: str) -> tuple[Any, str]:
        """Make a socket that listens; return it with its address.

        Args:
            kind: type of the socket.
            host: address; ``*`` is every one.
            port: TCP port; 0 takes a free one.
            what: names the setting, for messages.

        Raises:
            BridgeConnectionError: the port is taken, or the address is none of this machine's.
        """
        socket = self._make(kind, host)
        if self._own:
            socket.curve_server = True
        try:
            socket.bind(_address(host, port or "*"))
        except self._zmq.ZMQError as error:
            raise BridgeConnectionError(
                f"{what}: cannot listen on {_address(host, port)}: {error.strerror}"
                + ("; end what listens there, or choose another port" if port else "")
            ) from None
        return socket, socket.getsockopt_string(self._zmq.LAST_ENDPOINT)

    def connect(self, kind: int, host: str, port: int) -> Any:
        """Make a socket that connects, whenever the peer comes up, and stays connected.

        Args:
            kind: type of the socket.
            host: of the peer.
            port: of the peer.

        Raises:
            BridgeConnectionError: this is no address.
        """
        socket = self._make(kind, host)
        # No `maxmsgsize`: libzmq ends the link to a peer that sends more, and never makes it anew.
        if self._own:
            socket.curve_serverkey = self._peer
        try:
            socket.connect(_address(host, port))
        except self._zmq.ZMQError as error:
            raise BridgeConnectionError(
                f"cannot connect to {_address(host, port)}: {error.strerror}"
            ) from None
        return socket

    def _make(self, kind: int, host: str) -> Any:
        socket = self._context.socket(kind)
        self._open.append(socket)
        socket.linger = 0
        socket.ipv6 = ":" in host
        socket.rcvtimeo = int(POLL * 1e3)
        # Notices a peer that vanished without closing its connection.
        socket.tcp_keepalive = 1
        socket.tcp_keepalive_idle = 30
        if kind == self._zmq.SUB:
            socket.subscribe(b"")
        if self._own:
            socket.curve_publickey, socket.curve_secretkey = self._own
        return socket

    def close(self) -> None:
        """Close every socket and the context."""
        for socket in self._open:
            socket.close()
        if self._authenticator is not None:
            self._authenticator.stop()
        self._context.term()


def _address(host: str, port: int | str) -> str:
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def read_key(path: Path, *, secret: bool = False) -> tuple[bytes, bytes]:
    """The public key of a certificate file, and its secret key or nothing.

    Raises:
        UsageError: the file does not exist, or holds no such key.
    """
    from zmq.auth import load_certificate

    try:
        public, private = load_certificate(expanded(path))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is no file of a CURVE key: {error}") from None
    if secret and private is None:
        raise UsageError(f"{path} holds no secret key; name the file that ends in .key_secret")
    return public, private or b""
