"""The agent's sockets: it listens for the server's command receiver, and reads two streams."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gym_loop.envs.remote.addresses import is_loopback
from gym_loop.envs.remote.zmq_sockets import POLL, Sockets, import_zmq
from gym_loop.errors import BridgeConnectionError, UsageError
from gym_loop.wire.gymz import Reading, encode_command

_LOG = logging.getLogger("gym_loop.envs.remote")
LARGEST = 1 << 26  # bytes of an observation


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Where the streams and the keys are; see `ZeroMQEnv`.

    Raises:
        UsageError: commands would be given beyond this machine without keys.
    """

    host: str
    observation_port: int
    reward_port: int
    command_host: str
    command_port: int
    secret_key: str | None
    server_key: str | None

    def __post_init__(self) -> None:
        if bool(self.secret_key) != bool(self.server_key):
            raise UsageError("secret_key and server_key belong together; name both files")
        if not is_loopback(self.command_host) and not self.secret_key:
            raise UsageError(
                f"command_host {self.command_host} can be reached from other machines: name the"
                " files of CURVE keys in secret_key and server_key, or keep the host 127.0.0.1"
            )

    def sockets(self) -> Sockets:
        """Sockets with these keys."""
        server_key = Path(self.server_key) if self.server_key else None
        return Sockets(
            secret_key=Path(self.secret_key) if self.secret_key else None,
            peer_key=server_key,
            readers=[server_key] if server_key else [],
        )


class Link:
    """The open sockets.

    Args:
        ports: where to.

    Raises:
        BridgeConnectionError: another agent listens on the command port.
    """

    def __init__(self, ports: Ports) -> None:
        zmq = import_zmq()
        self._zmq = zmq
        self._sockets = ports.sockets()
        try:
            # It tells of each server that begins to listen, and of each that goes.
            self._commands, self.address = self._sockets.bind(
                zmq.XPUB, ports.command_host, ports.command_port, "command_port"
            )
        except BridgeConnectionError as error:
            self._sockets.close()
            raise BridgeConnectionError(
                f"{error}; one agent at a time commands a system, the others can only listen"
            ) from None
        self._commands.setsockopt(zmq.XPUB_VERBOSER, 1)
        try:
            self._observations, self._rewards = (
                self._sockets.connect(zmq.SUB, ports.host, port)
                for port in (ports.observation_port, ports.reward_port)
            )
        except BridgeConnectionError:
            self._sockets.close()
            raise
        self._poller = zmq.Poller()
        for socket in (self._commands, self._observations, self._rewards):
            self._poller.register(socket, zmq.POLLIN)
        self.servers = 0
        self.ignored = 0  # messages that were too long

    def wait_for_server(self, timeout: float) -> None:
        """Wait until a server is connected to the command port.

        Args:
            timeout: seconds.

        Raises:
            BridgeConnectionError: none came.
        """
        deadline = time.monotonic() + timeout
        while True:
            self._count_servers()
            left = deadline - time.monotonic()
            if self.servers > 0:
                return
            if left <= 0:
                raise BridgeConnectionError(
                    f"no server connected to {self.address} for the commands within {timeout:g} s;"
                    " see that it runs, and that its CommandReceiver.socket is this port"
                )
            self._commands.poll(min(left, POLL) * 1e3)

    def send(self, values: Sequence[Any]) -> None:
        """Send a command."""
        self._commands.send(encode_command(values, time.time()))

    def receive(self, timeout: float) -> tuple[list[Reading], list[Reading]]:
        """Everything that has come: observations and rewards; waits for the first of it.

        Args:
            timeout: seconds to wait at most.

        Raises:
            BridgeProtocolError: a message is none of gymz's.
        """
        found = dict(self._poller.poll(max(timeout, 0.0) * 1e3))
        if self._commands in found:
            self._count_servers()
        return (
            self._drain(self._observations) if self._observations in found else [],
            self._drain(self._rewards) if self._rewards in found else [],
        )

    def next(self, *, reward: bool) -> Reading | None:
        """One observation or reward; None if none came for a moment."""
        try:
            data = (self._rewards if reward else self._observations).recv()
        except self._zmq.Again:
            self._count_servers()
            return None
        return None if self._is_too_long(data) else Reading(data)

    def _drain(self, socket: Any) -> list[Reading]:
        return [Reading(data) for data in self._frames(socket) if not self._is_too_long(data)]

    def _is_too_long(self, data: bytes) -> bool:
        if len(data) <= LARGEST:
            return False
        self.ignored += 1
        if self.ignored & (self.ignored - 1) == 0:  # each would fill a disk
            _LOG.warning(
                "a message of %d bytes is ignored, more than %d (%d so far)",
                len(data),
                LARGEST,
                self.ignored,
            )
        return True

    def _frames(self, socket: Any) -> list[bytes]:
        frames = []
        while True:
            try:
                frames.append(socket.recv(self._zmq.NOBLOCK))
            except self._zmq.Again:
                return frames

    def _count_servers(self) -> None:
        for frame in self._frames(self._commands):
            self.servers += {b"\x01": 1, b"\x00": -1}.get(frame[:1], 0)

    def close(self) -> None:
        """Close the sockets."""
        self._sockets.close()


def read_one(ports: Ports, timeout: float) -> Reading | None:
    """One message of the observations, read without commanding; None if none comes in time."""
    zmq = import_zmq()
    sockets = ports.sockets()
    try:
        socket = sockets.connect(zmq.SUB, ports.host, ports.observation_port)
        return Reading(socket.recv()) if socket.poll(timeout * 1e3) else None
    finally:
        sockets.close()
