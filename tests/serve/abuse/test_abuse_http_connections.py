"""Whatever clients do with their connections, the HTTP server lives, and harms no one."""

import json
import re
import time

import pytest

from gym_loop.serve import instances, server
from tests.serve import bad_envs
from tests.serve.abuse.abusing import begun, sent_unread
from tests.serve.live import HttpClient, Witness, connect, live, reset_connection, strict_json

PROTOCOL = "http"


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "9" * 400, "5, 5", ""])
def test_lengths_that_are_none(server: str, length: str) -> None:
    client = HttpClient(server)
    client.socket.sendall(
        f"POST /v1/envs/ HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{{}}".encode()
    )
    try:
        assert client.receive()[0] in (400, 413)
    except ConnectionResetError:
        pass  # to refuse the connection is an answer as well
    client.close()


def test_endless_chunks(server: str) -> None:
    client = HttpClient(server)
    client.socket.sendall(
        b"POST /v1/envs/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"2710\r\n" + b" " * 10_000 + b"\r\n"
    try:
        for _ in range(10_000):  # 100 MB, were they all taken
            client.socket.sendall(chunk)
    except (BrokenPipeError, ConnectionResetError):
        pass
    else:
        raise AssertionError("the server took 100 MB")
    client.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n" * 1000, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 99,
        b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nA" + b"a" * 200_000,
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 50_000 + b"\r\n",
        b"POST /v1/envs/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/envs/ HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}}",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /v1/envs/\xe9 HTTP/1.1\r\n\r\n",
    ],
    ids=range(13),
)  # fmt: skip
def test_what_is_no_http(server: str, data: bytes) -> None:
    made = connect(server)
    reply = b""
    try:
        made.sendall(data)
        made.shutdown(1)
        while part := made.recv(65536):
            reply += part
    except OSError:
        pass  # to end the connection is an answer as well
    made.close()
    assert not reply or re.match(rb"HTTP/1\.1 (400|200|404|413|431|505)", reply), reply[:100]


def test_half_open_sockets(server: str, witness: Witness) -> None:
    starts = (b"", b"P", b"POST /v1/envs/ HTTP/1.1\r\nContent-Length: 10\r\n\r\n{", b"GET / HT")
    sockets = [connect(server) for _ in range(100)]
    for number, made in enumerate(sockets):
        made.sendall(starts[number % len(starts)])
    witness.sees_nothing(50)
    for number, made in enumerate(sockets):
        reset_connection(made) if number % 2 else made.close()
    witness.sees_nothing(50)


def test_clients_that_vanish_in_every_state(server: str) -> None:
    for env_id in ("CartPole-v1", "Slow-v0", "Unmakeable-v0"):
        body = json.dumps({"env_id": env_id}).encode()
        for cut in (1, 40, len(body)):
            client = HttpClient(server)
            client.send("/v1/envs/", body[:cut] + b" " * (len(body) - cut))
            reset_connection(client.socket)
            client.file.close()
    client = HttpClient(server)
    instance = begun(client, "Slow-v0")
    client.send(f"/v1/envs/{instance}/step/", b'{"action": 0}')
    reset_connection(client.socket)
    client.file.close()
    other = HttpClient(server)
    assert other.step(instance, 1)[0] == [2.0]  # the step of the client that vanished was taken
    other.end(instance)
    other.close()


def test_slow_writers(client: HttpClient, witness: Witness) -> None:
    instance = begun(client, "CartPole-v1")
    body = b'{"action": 1}'
    request = (
        f"POST /v1/envs/{instance}/step/ HTTP/1.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    for byte in request:
        client.socket.sendall(bytes([byte]))
        witness.sees_nothing(1)
    assert client.receive()[0] == 200
    client.end(instance)


def test_a_client_that_never_reads(server: str, witness: Witness) -> None:
    client = HttpClient(server, timeout=1)
    instance = begun(client, "CartPole-v1")
    # What it may not read is little enough to be kept: the server stops reading from it.
    ask = f"GET /v1/envs/{instance}/observation_space/ HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 100
    assert sent_unread(client, ask) < 100_000_000
    witness.sees_nothing(50)
    client.close()


def test_pipelined_requests_are_answered_in_order(client: HttpClient) -> None:
    instance = begun(client, "Scripted-v0")
    body = b'{"action": 1}'
    for _ in range(9):
        client.send(f"/v1/envs/{instance}/step/", body)
    seen = [strict_json(client.receive()[1])["observation"] for _ in range(9)]
    assert seen == [[float(step)] for step in range(1, 10)]
    client.end(instance)


def test_five_hundred_clients_at_once(server: str, witness: Witness) -> None:
    clients = [HttpClient(server, timeout=60) for _ in range(500)]
    body = json.dumps({"env_id": "CartPole-v1"}).encode()
    for client in clients:
        client.send("/v1/envs/", body)
    witness.sees_nothing(10)
    instances = [strict_json(client.receive()[1])["instance_id"] for client in clients]
    assert len(set(instances)) == 500
    for path, content in (("reset", b"{}"), ("step", b'{"action": 1}'), ("close", b"{}")):
        for client, instance in zip(clients, instances, strict=True):
            client.send(f"/v1/envs/{instance}/{path}/", content)
        assert {client.receive()[0] for client in clients} <= {200, 204}
        witness.sees_nothing(10)
    for client in clients:
        client.close()


def test_abandoned_instances_are_closed() -> None:
    with live("http", idle_lease=0.3) as address:
        client = HttpClient(address)
        for _ in range(20):
            begun(client, "CartPole-v1")
        deadline = time.monotonic() + 20
        while client.call("/v1/envs/", b"", "GET")["all_envs"] and time.monotonic() < deadline:
            time.sleep(0.1)
        assert client.call("/v1/stats", b"", "GET")["instances"] == 0
        client.close()


def test_the_server_ends_beside_a_hanging_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "GRACE", 0)
    monkeypatch.setattr(instances, "CLOSING_TIME", 0.2)
    with live("http") as address:
        client = HttpClient(address)
        instance = begun(client, "Hanging-v0")
        client.step(instance, 0)
        client.send(f"/v1/envs/{instance}/step/", b'{"action": 0}')
        time.sleep(0.1)
    client.close()
    bad_envs.RELEASE.set()
