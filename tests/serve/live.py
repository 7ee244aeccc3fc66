"""Live servers in a thread, raw clients that may misbehave, and a witness who must not notice."""

import json
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import gymnasium as gym

from gym_loop.serve.serving import serve

TIMEOUT = 20  # seconds after which a server that does not answer has failed


@contextmanager
def live(protocol: str, **options: Any) -> Iterator[str]:
    """Serve on a free port; gives the address, and ends the server."""
    ready: queue.Queue[str | BaseException] = queue.Queue()
    stop = threading.Event()

    def run() -> None:
        try:
            serve(protocol, ready=ready.put, stop=stop, port=0, **options)
        except BaseException as error:  # noqa: BLE001 - told where it is awaited
            ready.put(error)

    thread = threading.Thread(target=run)
    thread.start()
    address = ready.get(timeout=TIMEOUT)
    if isinstance(address, BaseException):
        raise address
    try:
        yield address
    finally:
        stop.set()
        thread.join(TIMEOUT)
    assert not thread.is_alive(), "the server did not end"
    assert ready.empty(), f"the server failed: {ready.get()!r}"


def connect(address: str, timeout: float = TIMEOUT) -> socket.socket:
    """A plain socket to the server."""
    parts = urlsplit(address)
    made = socket.create_connection((parts.hostname, parts.port), timeout=timeout)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def reset_connection(made: socket.socket) -> None:
    """End it with RST instead of FIN, as a client that is killed may."""
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    made.close()


class Refused(Exception):  # noqa: N818 - what a protocol answers is no error
    """A protocol error; ``code`` is the status or the close code."""

    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(f"{code}: {message}")


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def strict_json(data: bytes) -> Any:
    """Read JSON as JavaScript does: NaN and Infinity are none."""
    return json.loads(data, parse_constant=_no_constant)


class HttpClient:
    """gym-http-api over one kept-alive socket."""

    def __init__(self, address: str, timeout: float = TIMEOUT) -> None:
        self.socket = connect(address, timeout)
        self.file = self.socket.makefile("rb")

    def send(self, path: str, body: bytes | None, method: str = "POST", more: str = "") -> None:
        """Send a request; None sends no body."""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{more}"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.socket.sendall(head.encode("latin-1") + b"\r\n" + (body or b""))

    def receive(self) -> tuple[int, bytes]:
        """The status and the body of a reply."""
        line = self.file.readline()
        if not line:
            raise ConnectionResetError("the server ended the connection")
        assert line.startswith(b"HTTP/1.1 "), line
        length = 0
        while (field := self.file.readline().strip().lower()) != b"":
            if field.startswith(b"content-length:"):
                length = int(field[15:])
        return int(line[9:12]), self.file.read(length)

    def call(self, path: str, value: Any, method: str = "POST") -> Any:
        """Send JSON and read the reply; raises `Refused`."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send(path, body if method == "POST" else None, method)
        status, reply = self.receive()
        if status == 204:
            return None
        content = strict_json(reply)
        if status != 200:
            raise Refused(status, content["message"])
        return content

    def make(self, env_id: Any, seed: int | None = None) -> str:
        """Make an environment."""
        instance: str = self.call("/v1/envs/", {"env_id": env_id, "seed": seed})["instance_id"]
        return instance

    def reset(self, instance: str) -> Any:
        """Begin an episode."""
        return self.call(f"/v1/envs/{instance}/reset/", {})["observation"]

    def step(self, instance: str, action: Any) -> list[Any]:
        """Take a step."""
        reply = self.call(f"/v1/envs/{instance}/step/", {"action": action})
        return [reply[key] for key in ("observation", "reward", "done", "info")]

    def end(self, instance: str) -> None:
        """Close an environment."""
        self.call(f"/v1/envs/{instance}/close/", {})

    def close(self) -> None:
        """End the connection."""
        self.file.close()
        self.socket.close()


class WebSocketClient:
    """gymie over one WebSocket."""

    def __init__(self, address: str, timeout: float = TIMEOUT, more: str = "") -> None:
        self.socket = connect(address, timeout)
        self.file = self.socket.makefile("rb")
        self.socket.sendall(
            b"GET /gym HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            + more.encode()
            + b"\r\n"
        )
        self.status = int(self.file.readline()[9:12])
        while self.file.readline().strip():
            pass

    def send(self, payload: bytes, opcode: int = 1, first: int = 0x80) -> None:
        """Send a frame; ``first`` holds the bits beside the opcode."""
        self.socket.sendall(frame(payload, opcode, first))

    def receive(self) -> bytes:
        """The next text frame's payload; a close frame raises `Refused`."""
        while True:
            opcode, payload = self.receive_frame()
            if opcode == 8:
                assert len(payload) <= 125, "more than a close frame holds"
                code = int.from_bytes(payload[:2], "big") if payload else 1005
                raise Refused(code, payload[2:].decode())
            if opcode == 1:
                return payload

    def receive_frame(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame."""
        head = self.file.read(2)
        if len(head) < 2:
            raise ConnectionResetError("the server ended the connection")
        assert head[1] < 128, "a server masks nothing"
        length = head[1]
        if length >= 126:
            length = int.from_bytes(self.file.read(2 if length == 126 else 8), "big")
        return head[0] & 15, self.file.read(length)

    def call(self, method: Any, **params: Any) -> Any:
        """Send a request and read the reply; raises `Refused`."""
        self.send(json.dumps({"method": method, "params": params}).encode())
        reply = self.receive()
        return reply.decode() if method == "make" else strict_json(reply)

    def make(self, env_id: Any, seed: int | None = None) -> str:
        """Make an environment."""
        made: str = self.call("make", env_id=env_id, **({} if seed is None else {"seed": seed}))
        return made

    def reset(self, instance: str) -> Any:
        """Begin an episode."""
        return self.call("reset", instance_id=instance)

    def step(self, instance: str, action: Any) -> list[Any]:
        """Take a step."""
        reply: list[Any] = self.call("step", instance_id=instance, action=action)
        return reply

    def end(self, instance: str) -> None:
        """Close an environment."""
        assert self.call("close", instance_id=instance) is True

    def close(self) -> None:
        """End the connection without a word."""
        self.file.close()
        self.socket.close()


def frame(payload: bytes, opcode: int = 1, first: int = 0x80) -> bytes:
    """A masked frame of any kind, right or wrong; the mask changes nothing."""
    length = len(payload)
    if length < 126:
        size = bytes([0x80 | length])
    elif length < 1 << 16:
        size = b"\xfe" + length.to_bytes(2, "big")
    else:
        size = b"\xff" + length.to_bytes(8, "big")
    return bytes([first | opcode]) + size + b"\0\0\0\0" + payload


class Witness:
    """A well-behaved client whose session must go exactly as the same environment does here."""

    def __init__(self, client: HttpClient | WebSocketClient) -> None:
        self.client = client
        self.env = gym.make("CartPole-v1")
        self.instance = client.make("CartPole-v1", seed=11)
        self.actions = 0
        observation, _ = self.env.reset(seed=11)
        assert client.reset(self.instance) == observation.tolist()

    def sees_nothing(self, steps: int = 3) -> None:
        """Take some steps on both sides."""
        for _ in range(steps):
            self.actions += 1
            action = self.actions // 2 % 2
            observation, reward, terminated, truncated, _ = self.env.step(action)
            told = self.client.step(self.instance, action)
            assert told[:3] == [observation.tolist(), reward, terminated or truncated]
            if terminated or truncated:
                assert self.client.reset(self.instance) == self.env.reset()[0].tolist()

    def close(self) -> None:
        """End both sides."""
        self.client.end(self.instance)
        self.client.close()
        self.env.close()
