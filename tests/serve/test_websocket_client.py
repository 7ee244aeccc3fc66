"""The WebSocket client against servers that use all of RFC 6455, and that break it."""

import base64
import hashlib
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gym_loop.envs.remote.connection import parse_url
from gym_loop.envs.remote.gymie_env import WebSocketClient
from gym_loop.errors import BridgeConnectionError, BridgeProtocolError
from tests.serve.test_http_client import CERTIFICATE, encrypted
from tests.serve.wire_peer import peer, read_request, received

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
STEP = [[0.5], 1.0, False, {}]
BODY = json.dumps(STEP).encode()

Talk = Callable[["Server"], None]


class Server:
    """The other end, after the handshake."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.data = b""

    def take(self, size: int) -> bytes:
        while len(self.data) < size:
            self.data += received(self.connection)
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def read(self) -> tuple[int, bytes]:
        """The opcode and the payload of the next frame, which must be masked."""
        first, second = self.take(2)
        assert second & 0x80, "clients mask their frames"
        assert first & 0x80, "this client does not fragment"
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(self.take(2 if size == 126 else 8), "big")
        mask = self.take(4)
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.take(size)))
        return first & 0x0F, payload

    def send(self, payload: bytes, opcode: int = TEXT, *, final: bool = True) -> None:
        self.connection.sendall(frame(payload, opcode, final=final))


def frame(payload: bytes, opcode: int = TEXT, *, final: bool = True) -> bytes:
    size = len(payload)
    if size < 126:
        head = bytes([size])
    elif size < 65536:
        head = b"\x7e" + size.to_bytes(2, "big")
    else:
        head = b"\x7f" + size.to_bytes(8, "big")
    return bytes([opcode | 0x80 * final]) + head + payload


def shake(connection: socket.socket) -> bytes:
    """Accept a handshake; gives the request."""
    request = read_request(connection)
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", request)
    assert key is not None
    assert len(base64.b64decode(key[1])) == 16
    guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key[1] + guid).digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    return request


@contextmanager
def client(*talks: Talk, timeout: float = 5.0) -> Iterator[WebSocketClient]:
    def play(talk: Talk) -> Callable[[socket.socket], None]:
        def run(connection: socket.socket) -> None:
            shake(connection)
            talk(Server(connection))

        return run

    with peer(*map(play, talks)) as address:
        made = WebSocketClient(parse_url(f"ws://{address}", {"ws": False}), None, timeout)
        try:
            yield made
        finally:
            made.disconnect()


def answers(*replies: bytes) -> Talk:
    """Answer so many requests with raw bytes."""

    def talk(server: Server) -> None:
        for reply in replies:
            assert server.read()[0] == TEXT
            server.connection.sendall(reply)

    return talk


LONG = json.dumps([[0.5] * 50_000, 1.0, False, {}]).encode()
FORMS = {
    "text": frame(BODY),
    "binary": frame(BODY, BINARY),
    "fragments": frame(BODY[:3], final=False)
    + frame(BODY[3:9], 0, final=False)
    + frame(b"hello", PONG)
    + frame(BODY[9:], 0),
    "126 bytes and more": frame(BODY + b" " * 200),
    "65536 bytes and more": frame(BODY + b" " * 70_000),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("piece", [1, 10_000_000])
def test_an_answer_in_pieces(form: str, piece: int) -> None:
    step = piece if len(FORMS[form]) < 1000 else max(piece, 5000)

    def talk(server: Server) -> None:
        server.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            server.read()
            for start in range(0, len(FORMS[form]), step):
                server.connection.sendall(FORMS[form][start : start + step])

    with client(talk) as asking:
        assert list(asking.step("abc", 1)) == STEP
        assert list(asking.step("abc", 1)) == STEP


@pytest.mark.parametrize("size", [0, 99, 150, 70_000])
def test_a_long_request(size: int) -> None:
    seen: list[bytes] = []

    def talk(server: Server) -> None:
        seen.append(server.read()[1])
        server.send(BODY)

    with client(talk) as asking:
        asking.step("abc", [1] * size)
    params = {"instance_id": "abc", "action": [1] * size}
    assert json.loads(seen[0]) == {"method": "step", "params": params}


def test_pings_are_answered() -> None:
    seen: list[tuple[int, bytes]] = []

    def talk(server: Server) -> None:
        server.read()
        server.send(b"are you there", PING)
        server.send(BODY)
        seen.append(server.read())

    with client(talk) as asking:
        assert list(asking.step("abc", 1)) == STEP
    assert seen == [(PONG, b"are you there")]


def test_a_farewell_is_said() -> None:
    seen: list[tuple[int, bytes]] = []

    def talk(server: Server) -> None:
        server.read()
        server.send(b"true")
        seen.append(server.read())

    with client(talk) as asking:
        asking.close("abc")
        asking.disconnect()
    assert seen == [(CLOSE, b"\x03\xe8")]


def refusal(code: int, reason: str) -> bytes:
    return frame(code.to_bytes(2, "big") + reason.encode(), CLOSE)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (refusal(1007, "Action `9` is wrong"), "refused: Action `9` is wrong"),
        (refusal(1003, ""), "refused: 1003"),
        (refusal(1007, "Instance `abc` not found"), "does not hold the environment any more"),
        (refusal(1011, ""), "refused: 1011"),
        (frame(b"[1, 2]"), "a list of 2|\\[1, 2\\]"),
        (frame(b"{"), "is no JSON"),
        (frame(b"x", 3), "rules of WebSocket: .*invalid opcode"),
        (b"\xc1\x01x", "rules of WebSocket: .*reserved bits"),
        (b"\x81\x81maskx", "rules of WebSocket: .*masking"),
        (b"\x81\x7f" + b"\xff" * 8, "an answer of more than 268435456 bytes"),
    ],
)
def test_what_is_no_answer(reply: bytes, message: str) -> None:
    with client(answers(reply)) as asking, pytest.raises(BridgeProtocolError, match=message):
        asking.step("abc", 1)


@pytest.mark.parametrize(
    "reply", [b"", b"\x81", frame(BODY)[:5], refusal(1001, "the server ends"), frame(b"", CLOSE)]
)
def test_a_server_that_goes_away(reply: bytes) -> None:
    with client(answers(reply)) as asking, pytest.raises(BridgeConnectionError, match="connection"):
        asking.step("abc", 1)


def test_a_server_that_restarts_is_asked_again() -> None:
    gone = refusal(1012, "restarting")
    with client(answers(gone), answers(gone), answers(frame(b"3"))) as asking:
        assert asking.reset("abc") == 3


def test_a_refusal_keeps_the_client_usable() -> None:
    with client(answers(refusal(1007, "no")), answers(frame(BODY))) as asking:
        with pytest.raises(BridgeProtocolError, match="no"):
            asking.step("abc", 1)
        assert list(asking.step("abc", 1)) == STEP


@pytest.mark.parametrize("news", [b"", refusal(1001, "")])
def test_a_connection_that_ended_while_idle_is_made_again(news: bytes) -> None:
    with client(answers(frame(BODY) + news), answers(frame(BODY))) as asking:
        asking.step("abc", 1)
        time.sleep(0.1)  # until the news have arrived
        assert list(asking.step("abc", 1)) == STEP


def test_an_answer_in_drops_has_an_end() -> None:
    def talk(server: Server) -> None:
        server.read()
        for byte in frame(BODY + b" " * 100):
            try:
                server.connection.sendall(bytes([byte]))
            except OSError:
                return
            time.sleep(0.02)

    with (
        client(talk, timeout=0.2) as asking,
        pytest.raises(BridgeConnectionError, match=r"within 0\.2 s"),
    ):
        asking.step("abc", 1)


def test_an_answer_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gym_loop.envs.remote.websocket.LONGEST", 1000)
    parts = frame(b"[" * 600, final=False) + frame(b"[" * 600, 0, final=False)
    with client(answers(parts)) as asking, pytest.raises(BridgeProtocolError, match="1000 bytes"):
        asking.step("abc", 1)


def test_a_server_that_reads_nothing() -> None:
    done = threading.Event()

    def talk(server: Server) -> None:
        done.wait(20)

    with client(talk, timeout=0.3) as asking:
        with pytest.raises(BridgeConnectionError, match=r"within 0\.3 s"):
            asking.step("abc", "x" * 50_000_000)
        done.set()


def refuse_hands(reply: bytes) -> Callable[[socket.socket], None]:
    def play(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(reply)

    return play


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nGymie is running...", "has no WebSocket at /gym: .* 200 OK"),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", "demands another token"),
        (b"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: AAAA\r\n\r\n", "has no WebSocket at /gym"),
        (b"HTTP/1.1 101 X\r\n\r\n", "has no WebSocket at /gym"),
        (b"220 mail\r\n\r\n", "has no WebSocket at /gym: invalid HTTP status line: 220 mail"),
        (b"x" * 70_000, "has no WebSocket at /gym"),
        (b"HTTP/1.1 302 X\r\nLocation: ws://127.0.0.1:1/\r\n\r\n", "has no WebSocket at /gym"),
    ],
)
def test_no_websocket_there(reply: bytes, message: str) -> None:
    with peer(refuse_hands(reply)) as address:
        asking = WebSocketClient(parse_url(f"ws://{address}", {"ws": False}), None, 5.0)
        with pytest.raises(BridgeProtocolError, match=message):
            asking.reset("abc")


def test_what_is_sent() -> None:
    seen: list[bytes] = []

    def play(connection: socket.socket) -> None:
        seen.append(shake(connection))
        server = Server(connection)
        seen.append(server.read()[1])
        server.send(b"0123456789abcdef0123456789abcdef")

    with peer(play) as address:
        url = parse_url(f"ws://{address}/other", {"ws": False})
        asking = WebSocketClient(url, "secret", 5.0)
        assert asking.make("CartPole-v1", 0) == "0123456789abcdef0123456789abcdef"
        asking.disconnect()
    head = seen[0].decode()
    assert head.startswith(f"GET /other HTTP/1.1\r\nHost: {address}\r\n")
    assert "Authorization: Bearer secret\r\n" in head
    assert "Sec-WebSocket-Extensions" not in head
    params = {"env_id": "CartPole-v1", "seed": 0}
    assert json.loads(seen[1]) == {"method": "make", "params": params}


def ask_encrypted(address: str) -> Any:
    url = f"wss://localhost:{address.rpartition(':')[2]}"
    asking = WebSocketClient(parse_url(url, {"wss": True}), None, 5.0)
    try:
        return asking.reset("abc")
    finally:
        asking.disconnect()


def test_encryption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))

    def play(connection: socket.socket) -> None:
        shake(connection)
        answers(frame(b"[0.5]"))(Server(connection))

    with peer(encrypted(play)) as address:
        assert ask_encrypted(address) == [0.5]


def test_a_certificate_that_nobody_signed() -> None:
    def play(connection: socket.socket) -> None:
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            encrypted(lambda _: None)(connection)

    with (
        peer(play) as address,
        pytest.raises(BridgeConnectionError, match=r"self.signed certificate"),
    ):
        ask_encrypted(address)


@pytest.mark.parametrize("answer", [b"", b'"quoted"', b"a b", b"x" * 200, b"\xff"])
def test_an_instance_id_is_a_bare_word(answer: bytes) -> None:
    with (
        client(answers(frame(answer))) as asking,
        pytest.raises(BridgeProtocolError, match="is no instance id"),
    ):
        asking.make("CartPole-v1", None)
