"""Whatever clients and environments do, the HTTP server answers, lives, and harms no one."""

import json
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import pytest

from gym_loop.bridges import stepping
from gym_loop.bridges.http import running
from tests.bridges import bad_envs
from tests.bridges.live import (
    HttpClient,
    Refused,
    Witness,
    connect,
    live,
    reset_connection,
    strict_json,
)

LONGEST = 100_000


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    before = dict(gym.registry)
    bad_envs.register()
    with live("http", max_message_bytes=LONGEST, max_instances=600) as address:
        yield address
        bad_envs.RELEASE.set()
    gym.registry.clear()
    gym.registry.update(before)


@pytest.fixture(autouse=True)
def witness(server: str) -> Iterator[Witness]:
    """After every test, someone else's session is as it would have been without it."""
    bad_envs.RELEASE.clear()
    witness = Witness(HttpClient(server))
    witness.sees_nothing()
    yield witness
    bad_envs.RELEASE.set()
    witness.sees_nothing(20)
    witness.close()


@pytest.fixture
def client(server: str) -> Iterator[HttpClient]:
    client = HttpClient(server)
    yield client
    client.close()


def refused(client: HttpClient, path: str, value: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        client.call(path, value)
    return caught.value


def begun(client: HttpClient, env_id: str) -> str:
    instance = client.make(env_id)
    client.reset(instance)
    return instance


BAD_BODIES = [
    b"", b"{", b"}", b"null", b"[]", b"1", b'"x"', b"{'action': 1}", b'{"action": }',
    b'{"action": NaN}', b'{"action": Infinity}', b'{"action": -Infinity}', b'{"action": 1e999}',
    b'{"action": "\xff"}', b'{"action": "\\ud800"}', b"\xff\xfe\x00", b"\x00", b'{"action": 1}}',
    b'{"a": ' * 5000, b"[" * 50_000, b'{"action": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    b'{"action": 1' + b"0" * 5000 + b"}", b"\xef\xbb\xbf{}",
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_malformed_bodies(client: HttpClient, body: bytes) -> None:
    instance = begun(client, "CartPole-v1")
    for path in (f"{instance}/step/", "", f"{instance}/observation_space/contains"):
        assert refused(client, f"/v1/envs/{path}", body).code == 400
    assert client.step(instance, 1)[1] == 1.0
    client.end(instance)


@pytest.mark.parametrize(
    "action",
    [
        2, -1, 10**18, 10**30, 0.5, 1e308, "", "left", None, [], [1], {}, {"action": 1},
        [[[[]]]], "x" * 50_000, [0] * 20_000,
    ],
    ids=repr,
)  # fmt: skip
def test_wrong_actions(client: HttpClient, action: Any) -> None:
    instance = begun(client, "CartPole-v1")
    refusal = refused(client, f"/v1/envs/{instance}/step/", {"action": action})
    assert refusal.code == 400
    assert len(refusal.message) < 1000
    assert client.step(instance, 1)[1] == 1.0
    client.end(instance)


@pytest.mark.parametrize(
    "action", [[], [0.0, 0.0], [[0.0]], ["a"], [None], "a", {}, [1e400], [True], [[]]], ids=repr
)
def test_wrong_actions_of_a_box(client: HttpClient, action: Any) -> None:
    instance = begun(client, "Pendulum-v1")
    body = json.dumps({"action": action}).encode().replace(b"Infinity", b"1e400")
    assert refused(client, f"/v1/envs/{instance}/step/", body).code == 400
    assert client.step(instance, [0.0])[2] is False
    client.end(instance)


@pytest.mark.parametrize(
    "env_id",
    [1, 1.5, True, [], {}, "", "x", "CartPole-v77", "os:system-v1", "\0", "Ä-v1", "A" * 9999],
)
def test_wrong_environments(client: HttpClient, env_id: Any) -> None:
    assert refused(client, "/v1/envs/", {"env_id": env_id}).code == 400


@pytest.mark.parametrize("seed", [-1, 0.5, "0", [1], {}, 10**30, True])
def test_wrong_seeds(client: HttpClient, seed: Any) -> None:
    assert refused(client, "/v1/envs/", {"env_id": "CartPole-v1", "seed": seed}).code == 400


@pytest.mark.parametrize("instance", ["x", "00000000", "..", "%2e%2e", "%00", "a b", "0" * 5000])
def test_unknown_instances(client: HttpClient, instance: str) -> None:
    for name in ("reset", "close", "step"):
        path = f"/v1/envs/{instance}/{name}/".replace(" ", "%20")
        assert refused(client, path, {"action": 1}).code in (400, 404)


@pytest.mark.parametrize("path", ["/", "//", "/v1", "/v1/envs/x/y/z", "/v1/envs//step/", "/%", "*"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "BREW", "OPTIONS", "HEAD"])
def test_other_paths_and_methods(server: str, path: str, method: str) -> None:
    client = HttpClient(server)
    client.send(path, b"{}" if method == "POST" else None, method)
    status = int(client.file.readline()[9:12])
    assert status in (200, 204, 400, 404, 405)
    client.close()


def test_step_before_reset_and_after_close(client: HttpClient) -> None:
    instance = client.make("CartPole-v1")
    assert "reset" in refused(client, f"/v1/envs/{instance}/step/", {"action": 1}).message
    client.reset(instance)
    client.end(instance)
    assert "unknown" in refused(client, f"/v1/envs/{instance}/step/", {"action": 1}).message


@pytest.mark.filterwarnings("ignore:.*calling 'step.*")
def test_steps_after_the_end(client: HttpClient) -> None:
    instance = begun(client, "CartPole-v1")
    while not client.step(instance, 1)[2]:
        pass
    assert [client.step(instance, 1)[2] for _ in range(3)] == [True] * 3
    client.end(instance)


@pytest.mark.parametrize("env_id", ["Raising-v0", "Exiting-v0", "Nonsense-v0"])
def test_environments_that_fail_in_a_step(client: HttpClient, env_id: str) -> None:
    instance = begun(client, env_id)
    codes = []
    for _ in range(10):
        try:
            client.step(instance, 0)
        except Refused as refusal:
            codes.append(refusal.code)
    assert set(codes) == {400}
    client.reset(instance)
    client.end(instance)


@pytest.mark.parametrize("env_id", ["UnspeakableObservation-v0"])
def test_observations_of_no_space(client: HttpClient, env_id: str) -> None:
    instance = begun(client, env_id)
    assert refused(client, f"/v1/envs/{instance}/step/", {"action": 0}).code == 400
    client.end(instance)


@pytest.mark.parametrize("env_id", ["RaisingReset-v0", "NonsenseReset-v0"])
def test_environments_that_fail_in_reset(client: HttpClient, env_id: str) -> None:
    instance = client.make(env_id)
    assert refused(client, f"/v1/envs/{instance}/reset/", {}).code == 400
    client.end(instance)


def test_environments_that_cannot_be_made_or_closed(client: HttpClient) -> None:
    assert "engine is missing" in refused(client, "/v1/envs/", {"env_id": "Unmakeable-v0"}).message
    client.end(begun(client, "RaisingClose-v0"))


def test_nan_and_infinity_are_valid_json(client: HttpClient) -> None:
    instance = begun(client, "NotFinite-v0")
    seen = [client.step(instance, 0) for _ in range(3)]  # read as JavaScript reads
    assert sorted((str(observation[0]) for observation, *_ in seen)) == [
        "-1e+100",
        "1e+100",
        "None",
    ]
    assert all(reward is None for _, reward, *_ in seen)
    client.end(instance)


def test_a_hanging_environment(server: str, client: HttpClient, witness: Witness) -> None:
    instance = begun(client, "Hanging-v0")
    client.step(instance, 0)
    client.send(f"/v1/envs/{instance}/step/", b'{"action": 0}')
    other = HttpClient(server)
    start = time.monotonic()
    witness.sees_nothing(50)
    other.end(instance)  # does not wait for it
    closing = begun(other, "HangingClose-v0")
    other.end(closing)
    witness.sees_nothing(50)
    assert time.monotonic() - start < 10
    other.close()
    bad_envs.RELEASE.set()
    assert client.receive()[0] == 200  # the step under way was finished


@pytest.mark.parametrize("env_id", ["Slow-v0", "Busy-v0"])
def test_others_do_not_wait_for_a_slow_step(
    client: HttpClient, witness: Witness, env_id: str
) -> None:
    instance = begun(client, env_id)
    client.send(f"/v1/envs/{instance}/step/", b'{"action": 0}')
    done = threading.Event()
    reader = threading.Thread(target=lambda: (client.receive(), done.set()))
    reader.start()
    steps = 0
    while not done.is_set():
        witness.sees_nothing(1)
        steps += 1
    reader.join()
    assert steps > 10
    client.end(instance)


def test_bodies_that_are_too_large(server: str, client: HttpClient) -> None:
    client.send("/v1/envs/", b"{" + b" " * LONGEST + b"}")
    assert client.receive()[0] == 413
    declared = HttpClient(server)
    declared.socket.sendall(
        b"POST /v1/envs/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n"
    )
    assert declared.receive()[0] == 413
    declared.close()


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
    sent = 0
    try:
        while sent < 100_000_000:
            client.socket.sendall(ask)
            sent += len(ask)
    except OSError:
        pass  # it waits, or has ended the connection
    assert sent < 100_000_000
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


def test_too_many_instances_and_requests() -> None:
    with live("http", max_instances=2, max_requests_per_second=50) as address:
        client = HttpClient(address)
        held = [client.make("CartPole-v1") for _ in range(2)]
        assert refused(client, "/v1/envs/", {"env_id": "CartPole-v1"}).code == 429
        client.end(held[0])
        codes = []
        for _ in range(100):
            client.send("/v1/envs/", None, "GET")
            codes.append(client.receive()[0])
        assert {200, 429} == set(codes)
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
    monkeypatch.setattr(running, "GRACE", 0)
    monkeypatch.setattr(stepping, "CLOSING", 0.2)
    with live("http") as address:
        client = HttpClient(address)
        instance = begun(client, "Hanging-v0")
        client.step(instance, 0)
        client.send(f"/v1/envs/{instance}/step/", b'{"action": 0}')
        time.sleep(0.1)
    client.close()
    bad_envs.RELEASE.set()
