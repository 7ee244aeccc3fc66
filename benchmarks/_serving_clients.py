"""Clients for the serving benchmark: raw sockets, so that the servers are what is measured.

A dialect writes the bytes of a reset and of each action beforehand and tells from a reply
whether the episode is over; all decode the whole reply with the same JSON parser. Drivers play
one connection, or many at once, each sending its next step when its last one is answered.
"""

from __future__ import annotations

import base64
import json
import os
import select
import socket
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

ENV = "CartPole-v1"
ACTIONS = (0, 1)


class Connection:
    """One client with one environment."""

    reset: bytes
    steps: tuple[bytes, ...]
    closes = False  # the server ends the connection after each reply

    def __init__(self, address: str, env_id: str = ENV) -> None:
        parts = urlsplit(address)
        assert parts.hostname is not None
        self.address = (parts.hostname, parts.port or 0)
        self.socket = self.connect()

    def connect(self) -> socket.socket:
        """A new socket that sends small messages at once."""
        made = socket.create_connection(self.address, timeout=60)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def read(self, data: bytes) -> bytes | None:
        """The content of a complete reply, None as long as more is to come."""
        raise NotImplementedError

    def is_over(self, content: bytes) -> bool:
        """Whether the episode is, by the answer to a step."""
        return bool(orjson.loads(content)[2])

    def exchange(self, request: bytes) -> bytes:
        """Send a request and wait for its reply."""
        if self.closes:
            self.socket = self.connect()
        self.socket.sendall(request)
        data = self.socket.recv(65536)
        while (content := self.read(data)) is None:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError(f"the server ended the connection after {data!r}")
            data += more
        if self.closes:
            self.socket.close()
        return content

    def close(self) -> None:
        """End the connection."""
        self.socket.close()


class Line(Connection):
    """The bare socket's: a character a request, a line of JSON a reply."""

    reset = b"r\n"
    steps = (b"0\n", b"1\n")

    def read(self, data: bytes) -> bytes | None:
        """A line."""
        return data if data.endswith(b"\n") else None


class Http(Connection):
    """gym-http-api's."""

    def __init__(self, address: str, env_id: str = ENV) -> None:
        super().__init__(address)
        made = json.loads(self.exchange(self._post("", {"env_id": env_id})))
        path = f"{made['instance_id']}/"
        self.reset = self._post(f"{path}reset/", {})
        self.steps = tuple(self._post(f"{path}step/", {"action": action}) for action in ACTIONS)

    def _post(self, path: str, body: dict[str, Any]) -> bytes:
        content = json.dumps(body)
        return (
            f"POST /v1/envs/{path} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n{content}"
        ).encode()

    def read(self, data: bytes) -> bytes | None:
        """Headers and as much as they say."""
        end = data.find(b"\r\n\r\n") + 4
        if end == 3:
            return None
        at = data.lower().find(b"content-length:", 0, end) + 15
        length = int(data[at : data.index(b"\r", at)])
        if not self.closes:
            self.closes = data.startswith(b"HTTP/1.0") or b"connection: close" in data[:end].lower()
        return data[end:] if len(data) >= end + length else None

    def is_over(self, content: bytes) -> bool:
        """The field says so."""
        return bool(orjson.loads(content)["done"])


class WebSocket(Connection):
    """gymie's."""

    def __init__(self, address: str, env_id: str = ENV) -> None:
        super().__init__(address)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /gym HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += self.socket.recv(1)
        instance = self.exchange(self._frame("make", env_id=env_id)).decode().strip('"')
        self.reset = self._frame("reset", instance_id=instance)
        self.steps = tuple(
            self._frame("step", instance_id=instance, action=action) for action in ACTIONS
        )

    def _frame(self, method: str, **params: Any) -> bytes:
        text = json.dumps({"method": method, "params": params}).encode()
        length = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2)
        return b"\x81" + length + b"\0\0\0\0" + text  # this mask changes nothing

    def read(self, data: bytes) -> bytes | None:
        """One text frame."""
        if len(data) < 4:
            return None
        start, length = 2, data[1]
        if length == 126:
            start, length = 4, int.from_bytes(data[2:4])
        if len(data) < start + length:
            return None
        if data[0] != 0x81:
            raise ConnectionError(f"no text frame, but {data!r}")
        return data[start:]


def play_one(connection: Connection, seconds: float) -> list[int]:
    """Steps that one client takes in a time."""
    connection.exchange(connection.reset)
    steps, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        steps += 1
        if connection.is_over(connection.exchange(connection.steps[steps & 1])):
            connection.exchange(connection.reset)
    return [steps]


def play_many(connections: Sequence[Connection], seconds: float) -> list[int]:
    """Steps that each of many clients takes in a time; all in one thread."""
    poll = select.epoll()
    clients: dict[int, Connection] = {}
    index = {id(connection): number for number, connection in enumerate(connections)}
    steps = [0] * len(connections)
    partial: dict[int, bytes] = {}

    def send(connection: Connection, request: bytes) -> None:
        if connection.closes:
            connection.socket = connection.connect()
            clients[connection.socket.fileno()] = connection
            poll.register(connection.socket, select.EPOLLIN)
        connection.socket.sendall(request)

    for connection in connections:
        if not connection.closes:
            clients[connection.socket.fileno()] = connection
            poll.register(connection.socket, select.EPOLLIN)
        connection.exchange(connection.reset)
    stepping = {id(connection): True for connection in connections}
    for connection in connections:
        send(connection, connection.steps[0])
    end = time.perf_counter() + seconds
    waiting = len(connections)
    while waiting:
        for number, _ in poll.poll():
            connection = clients[number]
            who = id(connection)
            data = partial.pop(number, b"") + connection.socket.recv(65536)
            content = connection.read(data)
            if content is None:
                partial[number] = data
                continue
            if connection.closes:
                poll.unregister(connection.socket)
                connection.socket.close()
            over = stepping[who] and connection.is_over(content)
            steps[index[who]] += stepping[who]
            if time.perf_counter() > end:
                waiting -= 1
                continue
            stepping[who] = not over
            send(connection, connection.reset if over else connection.steps[steps[index[who]] & 1])
    return steps


def play(connections: Sequence[Connection], seconds: float) -> list[int]:
    """Steps of each client."""
    if len(connections) == 1:
        return play_one(connections[0], seconds)
    return play_many(connections, seconds)
