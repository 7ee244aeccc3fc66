"""Whatever clients do with their connections, the WebSocket server lives, and harms no one."""

import json
import time
from typing import Any

import pytest

from gym_loop.serve import connections, instances, server
from tests.serve import bad_envs
from tests.serve.abuse.abusing import LONGEST, begun, sent_unread
from tests.serve.live import (
    Refused,
    WebSocketClient,
    Witness,
    connect,
    frame,
    live,
    reset_connection,
    strict_json,
)

PROTOCOL = "websocket"


def _one_long_frame(client: WebSocketClient) -> None:
    client.send(b" " * (LONGEST + 1))


def _long_fragments(client: WebSocketClient) -> None:
    client.send(b" " * 60_000, 1, 0)
    client.send(b" " * 60_000, 0, 0)


def _a_declared_length(client: WebSocketClient) -> None:
    client.socket.sendall(b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"\0\0\0\0" + b" " * 1000)


def test_messages_that_are_too_long(server: str) -> None:
    for send in (_one_long_frame, _long_fragments, _a_declared_length):
        client = WebSocketClient(server)
        try:
            send(client)
            with pytest.raises(Refused) as caught:
                client.receive()
            assert caught.value.code == 1009
        except (BrokenPipeError, ConnectionResetError):
            pass  # cut off in the middle of it
        client.close()


def test_endless_fragments(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CLOSING_TIME", 0.2)
    client = WebSocketClient(server)
    client.send(b"", 1, 0)
    deadline = time.monotonic() + 20
    with pytest.raises(OSError):  # noqa: PT011, PT012 - whichever way and whenever it breaks
        while time.monotonic() < deadline:
            client.send(b" " * 10_000, 0, 0)
    client.close()


BAD_FRAMES = [
    frame(b"x", 3), frame(b"x", 11), frame(b"x", 0), frame(b"x", 1, 0xC0), frame(b"x", 1, 0xF0),
    frame(b"x", 1, 0) + frame(b"y", 1), frame(b"p" * 126, 9), frame(b"p", 9, 0), frame(b"\x03", 8),
    frame(b"\x03\xe7", 8), frame(b"\x03\xe8\xff\xff", 8), frame(b"\0\0", 8), b"\x81\x01x",
    b"\xff" * 200, b"\x81\xff" + b"\xff" * 8 + b"\0" * 4,
]  # fmt: skip


@pytest.mark.parametrize("data", BAD_FRAMES, ids=range(len(BAD_FRAMES)))
def test_frames_against_the_rules(server: str, data: bytes) -> None:
    client = WebSocketClient(server)
    client.socket.sendall(data)
    client.socket.settimeout(5)
    try:
        while (answer := client.receive_frame())[0] != 8:
            pass
        code = int.from_bytes(answer[1][:2], "big")
    except ConnectionResetError:
        code = None  # to end the connection is an answer as well
    client.close()
    assert code in (None, 1000, 1002, 1003, 1007, 1009)


@pytest.mark.parametrize(
    "head",
    [
        b"", b"GET /gym HTTP/1.1\r\n\r\n", b"POST /gym HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        b"GET /gym HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /gym HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n\r\n",
        b"GET /gym HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 99\r\n\r\n",
        b"GET /gym HTTP/1.1\r\n" + b"A: " + b"a" * 500_000, b"\0" * 500, b"\x16\x03\x01" * 50,
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n\r\n",
    ],
    ids=range(11),
)  # fmt: skip
def test_handshakes_against_the_rules(server: str, head: bytes) -> None:
    made = connect(server, timeout=5)
    reply = b""
    try:
        made.sendall(head)
        made.shutdown(1)
        while part := made.recv(65536):
            reply += part
    except OSError:
        pass  # to end the connection is an answer as well
    made.close()
    assert b"101 Switching" not in reply


def test_half_open_sockets(server: str, witness: Witness) -> None:
    starts = (b"", b"G", b"GET /gym HTTP/1.1\r\nUpgr", b"\x81")
    sockets = [connect(server) for _ in range(100)]
    for number, made in enumerate(sockets):
        made.sendall(starts[number % len(starts)])
    clients = [WebSocketClient(server) for _ in range(50)]
    for client in clients:
        client.socket.sendall(b"\x81\xfe\x01\x00\0\0\0\0half")
    witness.sees_nothing(50)
    for number, made in enumerate(sockets):
        reset_connection(made) if number % 2 else made.close()
    for client in clients:
        reset_connection(client.socket)
        client.file.close()
    witness.sees_nothing(50)


def test_clients_that_vanish_at_work(server: str) -> None:
    client = WebSocketClient(server)
    instance = begun(client, "Slow-v0")
    step = {"method": "step", "params": {"instance_id": instance, "action": 0}}
    client.send(json.dumps(step).encode())
    reset_connection(client.socket)
    client.file.close()
    other = WebSocketClient(server)
    assert other.step(instance, 1)[0] == [2.0]  # the step of the client that vanished was taken
    other.end(instance)
    other.close()


def test_slow_writers(client: WebSocketClient, witness: Witness) -> None:
    instance = begun(client, "CartPole-v1")
    step = {"method": "step", "params": {"instance_id": instance, "action": 1}}
    for byte in frame(json.dumps(step).encode()):
        client.socket.sendall(bytes([byte]))
        witness.sees_nothing(1)
    assert strict_json(client.receive())[1] == 1.0
    client.end(instance)


def test_a_client_that_never_reads(server: str, witness: Witness) -> None:
    client = WebSocketClient(server, timeout=1)
    instance = begun(client, "CartPole-v1")
    ask = {"method": "observation_space", "params": {"instance_id": instance}}
    asks = frame(json.dumps(ask).encode()) * 100
    assert sent_unread(client, asks) < 100_000_000
    witness.sees_nothing(50)
    client.close()


def test_pipelined_requests_are_answered_in_order(client: WebSocketClient) -> None:
    instance = begun(client, "Scripted-v0")
    step = {"method": "step", "params": {"instance_id": instance, "action": 1}}
    client.socket.sendall(frame(json.dumps(step).encode()) * 200)
    seen = [strict_json(client.receive())[0] for _ in range(200)]
    assert seen == [[float(step)] for step in range(1, 201)]
    client.end(instance)


def test_five_hundred_clients_at_once(server: str, witness: Witness) -> None:
    clients = [WebSocketClient(server, timeout=60) for _ in range(500)]

    def all_send(method: str, *params: dict[str, Any]) -> list[bytes]:
        for number, client in enumerate(clients):
            request = {"method": method, "params": params[number % len(params)]}
            client.send(json.dumps(request).encode())
        witness.sees_nothing(10)
        return [client.receive() for client in clients]

    instances = [one.decode() for one in all_send("make", {"env_id": "CartPole-v1"})]
    assert len(set(instances)) == 500
    named = [{"instance_id": instance} for instance in instances]
    assert all(len(strict_json(reply)) == 4 for reply in all_send("reset", *named))
    steps = all_send("step", *({**one, "action": 1} for one in named))
    assert {strict_json(reply)[1] for reply in steps} == {1.0}
    assert set(all_send("close", *named)) == {b"true"}
    for client in clients:
        client.close()


def test_abandoned_instances_are_closed() -> None:
    with live("websocket", idle_lease=0.3, ping_interval=None) as address:
        for _ in range(20):
            client = WebSocketClient(address)
            begun(client, "CartPole-v1")
            client.close()
        instances, deadline = 20, time.monotonic() + 20
        while instances and time.monotonic() < deadline:
            time.sleep(0.1)
            made = connect(address)
            made.sendall(b"GET /v1/stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            reply = b""
            while part := made.recv(65536):
                reply += part
            made.close()
            instances = strict_json(reply.partition(b"\r\n\r\n")[2])["instances"]
        assert instances == 0


def test_the_server_ends_beside_a_hanging_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "GRACE", 0.2)
    monkeypatch.setattr(instances, "CLOSING_TIME", 0.2)
    with live("websocket") as address:
        client = WebSocketClient(address)
        instance = begun(client, "Hanging-v0")
        client.step(instance, 0)
        step = {"method": "step", "params": {"instance_id": instance, "action": 0}}
        client.send(json.dumps(step).encode())
        time.sleep(0.1)
    client.close()
    bad_envs.RELEASE.set()
