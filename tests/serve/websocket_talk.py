"""A WebSocket server in a thread, a client that writes its frames itself, and transcripts."""

import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gym_loop.serve.server import serve_websocket as serve
from gym_loop.serve.settings import ServeSettings

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FIN, RSV1, RSV2 = 0x80, 0x40, 0x20
KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


class Closed(Exception):  # noqa: N818
    """The server sent a close frame."""

    def __init__(self, code: int, reason: str) -> None:
        self.code, self.reason = code, reason
        super().__init__(code, reason)


class Frame(NamedTuple):
    """What arrived; ``first`` is the byte of flags and opcode."""

    first: int
    payload: bytes

    @property
    def opcode(self) -> int:
        return self.first & 15


def frame(payload: bytes, opcode: int = TEXT, flags: int = FIN, mask: bytes = b"abcd") -> bytes:
    """A frame as clients write them."""
    size = len(payload)
    if size < 126:
        head = bytes([flags | opcode, 0x80 | size])
    elif size < 1 << 16:
        head = bytes([flags | opcode, 0x80 | 126]) + struct.pack(">H", size)
    else:
        head = bytes([flags | opcode, 0x80 | 127]) + struct.pack(">Q", size)
    pattern = mask * (size // 4 + 1)
    return head + mask + bytes(a ^ b for a, b in zip(payload, pattern, strict=False))


def request(method: str, **params: Any) -> bytes:
    return json.dumps({"method": method, "params": params}).encode()


class Client:
    """One connection, after its handshake."""

    def __init__(self, address: str, query: str = "", **headers: str) -> None:
        host, port, path = re.fullmatch(r"ws://\[?([^\]]+?)\]?:(\d+)(/\w+)", address).groups()  # type: ignore[union-attr]
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.reader = self.socket.makefile("rb")
        fields = {
            "Host": f"{host}:{port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": KEY,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = [f"GET {path}{query} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.status = int(self.reader.readline().split()[1])
        self.headers = {}
        while (line := self.reader.readline().strip()) != b"":
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()
        self.body = b"" if self.status == 101 else self.reader.read()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self.reader.close()
        self.socket.close()

    def send(self, payload: bytes, opcode: int = TEXT, flags: int = FIN) -> None:
        self.socket.sendall(frame(payload, opcode, flags))

    def receive(self) -> Frame:
        """Read one frame, whatever it is; at the end of the connection, EOFError."""
        head = self.reader.read(2)
        if len(head) < 2:
            raise EOFError
        assert not head[1] & 0x80, "a server does not mask"
        size = head[1]
        if size == 126:
            (size,) = struct.unpack(">H", self.reader.read(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self.reader.read(8))
        return Frame(head[0], self.reader.read(size))

    def reply(self) -> str:
        """Read one text; a close frame is answered, and raised."""
        got = self.receive()
        if got.opcode == CLOSE:
            self.send(got.payload, CLOSE)
            assert self.reader.read() == b"", "nothing may follow a close frame"
            raise Closed(int.from_bytes(got.payload[:2], "big"), got.payload[2:].decode())
        assert got.first == FIN | TEXT
        return got.payload.decode()

    def ask(self, method: str, **params: Any) -> Any:
        """Send a request and read its reply, as JSON where it is."""
        self.send(request(method, **params))
        text = self.reply()
        return text if method == "make" else json.loads(text, parse_constant=_no_json)

    def refused(self) -> tuple[int, str]:
        """Read what must be a close frame: its code and its reason."""
        try:
            text = self.reply()
        except Closed as closed:
            return closed.code, closed.reason
        raise AssertionError(f"a reply: {text}")


def get(address: str, path: str, **headers: str) -> tuple[int, bytes]:
    """Fetch a page as a browser does."""
    host, port = address.removeprefix("ws://").removesuffix("/gym").split(":")
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        with connection.makefile("rb") as reader:
            head, _, body = reader.read().partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@contextmanager
def running(**options: Any) -> Iterator[str]:
    """The address of a server that lives as long as the block."""
    addresses: list[str] = []
    listens, stop = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def ready(address: str) -> None:
        addresses.append(address)
        listens.set()

    def work() -> None:
        try:
            serve(ServeSettings(**{"port": 0, **options}), ready=ready, stop=stop)
        except BaseException as error:  # noqa: BLE001 - the test raises it
            failed.append(error)
            listens.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert listens.wait(30)
        if not failed:
            yield addresses[0]
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()
        if failed:
            raise failed[0]


def play(address: str, path: Path) -> int:
    """Say what a transcript says, and compare the answers; returns how many there were."""
    names: dict[str, str] = {}
    answers, line = 0, 1
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        with Client(address) as client:
            for number, written in enumerate(block.splitlines(), line):
                mark, said = written[:2], written[2:]
                for name, value in names.items():
                    said = said.replace(name, value)
                if mark == "> ":
                    client.send(said.encode())
                elif mark == "< ":
                    answers += 1
                    _compare(client, said, names, f"{path.name}:{number}")
        line += len(block.splitlines()) + 1
    return answers


def _compare(client: Client, expected: str, names: dict[str, str], place: str) -> None:
    if expected.startswith("close "):
        code, reason = client.refused()
        said = f"close {code} {reason}"
        beginning = expected.removesuffix("...")
        assert said == expected or (said.startswith(beginning) and beginning != expected), place
        return
    text = client.reply()
    if re.fullmatch(r"<\w+>", expected):
        assert re.fullmatch("[0-9a-f]{32}", text), place
        names[expected] = text
    else:
        assert json.loads(text, parse_constant=_no_json) == json.loads(expected), place


def _no_json(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")
