"""One connection: fragments, control frames, compression, and the rules of closing."""

import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serve import bad_envs
from tests.serve.websocket_talk import (
    BINARY,
    CLOSE,
    FIN,
    PING,
    PONG,
    RSV1,
    RSV2,
    TEXT,
    Client,
    frame,
    request,
    running,
)

MAKE = request("make", env_id="Scripted-v0")
OFFER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


class Large(bad_envs.Scripted):
    """Observes many zeros."""

    observation_space = Box(0, 1, (4000,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(4000, np.float32), {}


@pytest.fixture(autouse=True)
def environments() -> None:
    bad_envs.register()
    gymnasium.register("Large-v0", entry_point=Large, disable_env_checker=True)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running(max_message_bytes=1000) as address:
        yield address


@pytest.fixture(scope="module")
def compressing() -> Iterator[str]:
    with running(compression=True, max_message_bytes=100_000) as address:
        yield address


def deflated(message: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflated(payload: bytes) -> bytes:
    return zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")


@pytest.mark.parametrize("size", [7, 50])
def test_fragments_make_one_message(address: str, size: int) -> None:
    parts = [MAKE[start : start + size] for start in range(0, len(MAKE), size)]
    with Client(address) as client:
        for number, part in enumerate(parts[:-1]):
            client.send(part, 0 if number else TEXT, 0)
            client.send(b"", PING)  # control frames may stand between fragments
            assert client.receive() == (FIN | PONG, b"")
        client.send(parts[-1], 0)
        assert len(client.reply()) == 32
        client.send(b"{", TEXT, 0)
        client.send(b"}", 0)
        assert client.refused() == (1003, "Message keys [] are missing or invalid")


def test_ping_is_answered_with_its_payload(address: str) -> None:
    with Client(address) as client:
        client.send(b"are you there?", PING)
        assert client.receive() == (FIN | PONG, b"are you there?")
        client.send(b"unasked", PONG)
        assert len(client.ask("make", env_id="Scripted-v0")) == 32


@pytest.mark.parametrize(
    ("payload", "confirmed"),
    [
        (b"", None),
        (struct.pack(">H", 1000), 1000),
        (struct.pack(">H", 1001) + b"I go", 1001),
        (struct.pack(">H", 4001) + "schüß".encode(), 4001),
        (b"\x03", 1002),
        (struct.pack(">H", 999), 1002),
        (struct.pack(">H", 1006), None),
        (struct.pack(">H", 1000) + b"\xff", 1007),
    ],
)
def test_close_is_confirmed(address: str, payload: bytes, confirmed: int | None) -> None:
    with Client(address) as client:
        client.send(payload, CLOSE)
        got = client.receive()
        assert got.first == FIN | CLOSE
        if confirmed is not None:
            assert int.from_bytes(got.payload[:2], "big") == confirmed
        assert client.reader.read() == b""


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b"{}", flags=FIN | RSV1), 1002),
        (frame(b"{}", flags=FIN | RSV2), 1002),
        (frame(b"", PING, FIN | RSV1), 1002),
        (frame(b"", 3), 1002),
        (frame(b"", 11), 1002),
        (frame(b"", PING, 0), 1002),
        (frame(b"x" * 126, PING), 1002),
        (frame(b"{}", 0), 1002),
        (frame(b"{", TEXT, 0) + frame(b"{}"), 1002),
        (b"\x81\x02{}", 1002),
        (frame(b" " * 1001), 1009),
        (frame(b" " * 600, TEXT, 0) + frame(b" " * 600, 0), 1009),
        (b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 1009),
        (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1009),
        (frame(b" " * 1000), 1003),
        (frame(b"\xff\xfe"), 1007),
    ],
)
def test_what_breaks_the_rules_ends_the_connection(address: str, data: bytes, code: int) -> None:
    with Client(address) as client, Client(address) as other:
        client.socket.sendall(data)
        assert client.refused()[0] == code
        assert len(other.ask("make", env_id="Scripted-v0")) == 32


def test_no_reply_follows_a_close_frame(address: str) -> None:
    with Client(address) as client:
        client.socket.sendall(frame(MAKE) + frame(b"nonsense") + frame(MAKE) * 20)
        assert len(client.reply()) == 32
        assert client.refused() == (1003, "Message `nonsense` is invalid")


def test_compression_is_agreed_on(compressing: str, address: str) -> None:
    name = "sec-websocket-extensions"
    with Client(compressing, Sec_WebSocket_Extensions=OFFER) as client:
        assert client.headers[name].startswith("permessage-deflate;")
    with Client(compressing) as client:
        assert name not in client.headers
    with Client(address, Sec_WebSocket_Extensions=OFFER) as client:
        assert name not in client.headers


def test_compressed_messages(compressing: str) -> None:
    with Client(compressing, Sec_WebSocket_Extensions=OFFER) as client:
        client.send(deflated(MAKE), TEXT, FIN | RSV1)
        instance = inflated(client.receive().payload).decode()
        client.send(deflated(request("reset", instance_id=instance))[:9], BINARY, RSV1)
        client.send(deflated(request("reset", instance_id=instance))[9:], 0, FIN)
        assert inflated(client.receive().payload) == b"[0.0]"
        client.send(deflated(request("make", env_id="Large-v0")), TEXT, FIN | RSV1)
        large = inflated(client.receive().payload).decode()
        client.send(deflated(request("reset", instance_id=large)), TEXT, FIN | RSV1)
        got = client.receive()
        assert got.first == FIN | RSV1 | TEXT
        assert json.loads(inflated(got.payload)) == [0.0] * 4000
        assert len(got.payload) < 1000


def test_control_frames_are_never_compressed(compressing: str) -> None:
    with Client(compressing, Sec_WebSocket_Extensions=OFFER) as client:
        client.send(b"x" * 125, PING)
        assert client.receive() == (FIN | PONG, b"x" * 125)
        client.send(request("reset", instance_id="y" * 2000))
        code, reason = client.refused()
        assert (code, reason) == (1007, f"Instance `{'y' * 113}")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b"\xff\xff\xff", flags=FIN | RSV1), 1002),
        (frame(deflated(bytes(200_000)), flags=FIN | RSV1), 1009),
        (frame(b"{", TEXT, RSV1) + frame(b"}", 0, FIN | RSV1), 1002),
        (frame(b"", PING, FIN | RSV1), 1002),
    ],
)
def test_compressed_nonsense(compressing: str, data: bytes, code: int) -> None:
    with Client(compressing, Sec_WebSocket_Extensions=OFFER) as client:
        client.socket.sendall(data)
        assert client.refused()[0] == code


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.binary(min_size=1, max_size=300))
def test_any_bytes_on_the_wire(compressing: str, data: bytes) -> None:
    """Whatever a client sends, its connection ends or waits; the next client is served."""
    with Client(compressing, Sec_WebSocket_Extensions=OFFER) as client:
        client.socket.sendall(data)
    with Client(compressing) as other:
        other.send(b"still there?", PING)
        assert other.receive().payload == b"still there?"
