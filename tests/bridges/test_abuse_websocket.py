"""Whatever clients and environments do, the WebSocket server answers, lives, and harms no one."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import pytest

from gym_loop.bridges import stepping
from gym_loop.bridges.websocket import connection, running
from tests.bridges import bad_envs
from tests.bridges.live import (
    Refused,
    WebSocketClient,
    Witness,
    connect,
    frame,
    live,
    reset_connection,
    strict_json,
)

LONGEST = 100_000


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    before = dict(gym.registry)
    bad_envs.register()
    with live("websocket", max_message_bytes=LONGEST, max_instances=600) as address:
        yield address
        bad_envs.RELEASE.set()
    gym.registry.clear()
    gym.registry.update(before)


@pytest.fixture(autouse=True)
def witness(server: str) -> Iterator[Witness]:
    """After every test, someone else's session is as it would have been without it."""
    bad_envs.RELEASE.clear()
    witness = Witness(WebSocketClient(server))
    witness.sees_nothing()
    yield witness
    bad_envs.RELEASE.set()
    witness.sees_nothing(20)
    witness.close()


@pytest.fixture
def client(server: str) -> Iterator[WebSocketClient]:
    client = WebSocketClient(server)
    yield client
    client.close()


def begun(client: WebSocketClient, env_id: str) -> str:
    instance = client.make(env_id)
    client.reset(instance)
    return instance


def refused(client: WebSocketClient, payload: bytes | None = None, **call: Any) -> Refused:
    """A refusal closes the connection; the reason fits into a close frame."""
    if payload is not None:
        client.send(payload)
    with pytest.raises(Refused) as caught:
        client.receive() if payload is not None else client.call(**call)
    assert len(caught.value.message.encode()) <= 123
    return caught.value


BAD_MESSAGES = [
    b"", b"{", b"null", b"[]", b"1", b'"x"', b"{}", b'{"method": "step"}', b'{"params": {}}',
    b'{"method": "step", "params": NaN}', b"\xff\xfe", b"\0", b"[" * 90_000,
    b'{"method": "step", "params": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    b'{"method": ' + b"[" * 1000 + b"]" * 1000 + b', "params": {}}',
    b'{"method": "step", "params": ' + b"[" * 1000 + b"]" * 1000 + b"}",
    b'{"method": "\\ud800", "params": {}}', b'{"method": null, "params": {}}',
    b'{"method": "__class__", "params": {}}', b'{"method": "make", "params": []}',
    b'{"method": "make", "params": {}}', b'{"method": "make", "params": {"env_id": 1, "x": 2}}',
    b'{"method": "step", "params": {"instance_id": {}, "action": 1}}', "x".encode("utf-16"),
    b'{"method": "' + "ä€😀".encode() * 100 + b'", "params": {}}',
]  # fmt: skip


@pytest.mark.parametrize("message", BAD_MESSAGES, ids=range(len(BAD_MESSAGES)))
def test_malformed_messages(client: WebSocketClient, message: bytes) -> None:
    assert refused(client, message).code in (1003, 1007)


@pytest.mark.parametrize(
    "action",
    [
        2, -1, 10**18, 10**30, 0.5, 1e308, "", "left", None, [], [1], {}, {"action": 1}, [[[[]]]],
        "x" * 50_000, [0] * 20_000,
    ],
    ids=repr,
)  # fmt: skip
def test_wrong_actions(server: str, client: WebSocketClient, action: Any) -> None:
    instance = begun(client, "CartPole-v1")
    refusal = refused(client, method="step", instance_id=instance, action=action)
    assert refusal.code == 1007
    assert refusal.message.startswith("Action `")
    other = WebSocketClient(server)  # the connection is gone, its session is not
    assert other.step(instance, 1)[1] == 1.0
    other.end(instance)
    other.close()


@pytest.mark.parametrize(
    "env_id",
    [1, 1.5, True, None, [], {}, "", "x", "CartPole-v77", "os:system-v1", "\0", "Ä-v1", "A" * 999],
)
def test_wrong_environments(client: WebSocketClient, env_id: Any) -> None:
    refusal = refused(client, method="make", env_id=env_id)
    assert refusal.code == 1007
    assert refusal.message.startswith("Environment `")


@pytest.mark.parametrize("seed", [-1, 0.5, "0", [1], {}, True])
def test_wrong_seeds(client: WebSocketClient, seed: Any) -> None:
    assert refused(client, method="make", env_id="CartPole-v1", seed=seed).code == 1007


@pytest.mark.parametrize("instance", ["x", "0" * 32, "0" * 9999, "", None, 1, [], {}])
@pytest.mark.parametrize("method", ["reset", "step", "close", "action_space", "action_sample"])
def test_unknown_instances(client: WebSocketClient, instance: Any, method: str) -> None:
    more = {"action": 0} if method == "step" else {}
    refusal = refused(client, method=method, instance_id=instance, **more)
    assert refusal.code == 1007
    assert refusal.message.startswith("Instance `")


def test_step_before_reset_and_after_close(server: str, client: WebSocketClient) -> None:
    instance = client.make("CartPole-v1")
    assert refused(client, method="step", instance_id=instance, action=1).code == 1007
    other = WebSocketClient(server)
    other.reset(instance)
    other.end(instance)
    assert "not found" in refused(other, method="step", instance_id=instance, action=1).message
    other.close()


@pytest.mark.filterwarnings("ignore:.*calling 'step.*")
def test_steps_after_the_end(client: WebSocketClient) -> None:
    instance = begun(client, "CartPole-v1")
    while not client.step(instance, 1)[2]:
        pass
    assert [client.step(instance, 1)[2] for _ in range(3)] == [True] * 3
    client.end(instance)


@pytest.mark.parametrize(
    "env_id", ["Raising-v0", "Exiting-v0", "Nonsense-v0", "UnspeakableObservation-v0"]
)
def test_environments_that_fail_in_a_step(
    server: str, client: WebSocketClient, env_id: str
) -> None:
    instance = begun(client, env_id)
    if env_id == "Raising-v0":
        client.step(instance, 0)
        client.step(instance, 0)
    refusal = refused(client, method="step", instance_id=instance, action=0)
    assert refusal.code == 1007
    assert refusal.message.startswith("Unknonwn error: environment")
    other = WebSocketClient(server)
    other.reset(instance)
    other.end(instance)
    other.close()


@pytest.mark.parametrize("env_id", ["RaisingReset-v0", "NonsenseReset-v0"])
def test_environments_that_fail_in_reset(client: WebSocketClient, env_id: str) -> None:
    instance = client.make(env_id)
    assert "reset" in refused(client, method="reset", instance_id=instance).message


def test_environments_that_cannot_be_made_or_closed(client: WebSocketClient) -> None:
    client.end(begun(client, "RaisingClose-v0"))
    assert "engine is missing" in refused(client, method="make", env_id="Unmakeable-v0").message


def test_nan_and_infinity_are_valid_json(client: WebSocketClient) -> None:
    instance = begun(client, "NotFinite-v0")
    seen = [client.step(instance, 0) for _ in range(3)]  # read as JavaScript reads
    assert sorted(str(observation[0]) for observation, *_ in seen) == ["-1e+100", "1e+100", "None"]
    assert all(reward is None for _, reward, *_ in seen)
    client.end(instance)


def test_a_hanging_environment(server: str, client: WebSocketClient, witness: Witness) -> None:
    instance = begun(client, "Hanging-v0")
    client.step(instance, 0)
    step = {"method": "step", "params": {"instance_id": instance, "action": 0}}
    client.send(json.dumps(step).encode())
    other = WebSocketClient(server)
    start = time.monotonic()
    witness.sees_nothing(50)
    other.end(instance)  # does not wait for it
    closing = begun(other, "HangingClose-v0")
    other.end(closing)
    witness.sees_nothing(50)
    assert time.monotonic() - start < 10
    other.close()
    bad_envs.RELEASE.set()
    assert strict_json(client.receive())[1] == 1.0  # the step under way was finished


@pytest.mark.parametrize("env_id", ["Slow-v0", "Busy-v0"])
def test_others_do_not_wait_for_a_slow_step(
    client: WebSocketClient, witness: Witness, env_id: str
) -> None:
    instance = begun(client, env_id)
    done = threading.Event()
    stepper = threading.Thread(target=lambda: (client.step(instance, 0), done.set()))
    stepper.start()
    steps = 0
    while not done.is_set():
        witness.sees_nothing(1)
        steps += 1
    stepper.join()
    assert steps > 10
    client.end(instance)


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


def _one_long_frame(client: WebSocketClient) -> None:
    client.send(b" " * (LONGEST + 1))


def _long_fragments(client: WebSocketClient) -> None:
    client.send(b" " * 60_000, 1, 0)
    client.send(b" " * 60_000, 0, 0)


def _a_declared_length(client: WebSocketClient) -> None:
    client.socket.sendall(b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"\0\0\0\0" + b" " * 1000)


def test_endless_fragments(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CLOSING_TIME", 0.2)
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
    sent = 0
    try:
        while sent < 100_000_000:
            client.socket.sendall(asks)
            sent += len(asks)
    except OSError:
        pass  # it waits, or has ended the connection
    assert sent < 100_000_000
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


def test_too_many_instances() -> None:
    with live("websocket", max_instances=2) as address:
        client = WebSocketClient(address)
        held = [client.make("CartPole-v1") for _ in range(2)]
        client.end(held[0])
        client.make("CartPole-v1")
        assert refused(client, method="make", env_id="CartPole-v1").code == 1007
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
            made.sendall(b"GET /v1/stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            reply = b""
            while part := made.recv(65536):
                reply += part
            made.close()
            instances = strict_json(reply.partition(b"\r\n\r\n")[2])["instances"]
        assert instances == 0


def test_the_server_ends_beside_a_hanging_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "GRACE", 0.2)
    monkeypatch.setattr(stepping, "CLOSING", 0.2)
    with live("websocket") as address:
        client = WebSocketClient(address)
        instance = begun(client, "Hanging-v0")
        client.step(instance, 0)
        step = {"method": "step", "params": {"instance_id": instance, "action": 0}}
        client.send(json.dumps(step).encode())
        time.sleep(0.1)
    client.close()
    bad_envs.RELEASE.set()
