"""Steps that the connection itself answers: the same answers, whichever way a request takes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gym_loop.serve.http import connection
from gym_loop.serve.http.app import Application
from gym_loop.serve.stepping import PROBATION
from tests.serve.http_talk import JSON, Client, running


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Which steps were asked to take the short way, and whether they did."""
    taken: list[bool] = []
    answer = Application.answer_at_once

    def note(self: Application, scope: Any, body: bytes) -> Any:
        reply = answer(self, scope, body)
        taken.append(reply is not None)
        return reply

    monkeypatch.setattr(Application, "answer_at_once", note)
    return taken


@pytest.fixture
def client(short: list[bool]) -> Iterator[Client]:
    with running() as address, Client(address) as client:
        yield client


def quick(client: Client) -> str:
    """An instance whose steps are known to be fast; it has just been reset."""
    env = client.make("CartPole-v1")
    for _ in range(2):
        client.ask("POST", f"{env}/reset/")
        for action in (0, 1) * PROBATION:
            assert client.ask("POST", f"{env}/step/", {"action": action}).status == 200
    client.ask("POST", f"{env}/reset/")
    return env


def request(env: str, action: Any, padding: int = 0, *headers: str) -> bytes:
    body = json.dumps({"action": action}).encode() + b" " * padding
    fields = ["Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([f"POST {env}/step/ HTTP/1.1", *fields, "", ""]).encode() + body


def test_both_ways_answer_alike(
    client: Client, short: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    envs, shown = [quick(client), quick(client)], []
    short.clear()
    for env, longest in zip(envs, (0, 4096), strict=True):
        monkeypatch.setattr(connection, "SHORT", longest)
        answers = [client.ask("POST", f"{env}/step/", {"action": one}) for one in (1, 0, 7, "x")]
        shown.append([(one.status, one.body, sorted(one.headers)) for one in answers])
        assert short == [True] * (4 if longest else 0)
    assert shown[0] == shown[1]
    assert [status for status, *_ in shown[0]] == [200, 200, 400, 400]


@pytest.mark.parametrize("count", [2, connection.AT_ONCE, 3 * connection.AT_ONCE])
def test_pipelined_steps_are_answered_in_order(
    client: Client, short: list[bool], count: int
) -> None:
    env, twin = quick(client), quick(client)
    actions = [index % 2 for index in range(min(count, 20))]
    wanted = [client.ask("POST", f"{twin}/step/", {"action": one}).body for one in actions]
    short.clear()
    middle = request(env, "wrong") * (count - len(actions))
    client.socket.sendall(b"".join(request(env, one) for one in actions) + middle)
    assert [client.receive().body for _ in actions] == wanted
    assert all(client.receive().status == 400 for _ in range(count - len(actions)))
    assert sum(short) == min(count, connection.AT_ONCE)


def test_a_step_behind_a_slower_request_waits_for_it(client: Client) -> None:
    env, twin = quick(client), quick(client)
    client.ask("POST", f"{twin}/reset/")
    wanted = client.ask("POST", f"{twin}/step/", {"action": 1}).body
    reset = request(env, 0).replace(b"/step/", b"/reset/")
    client.socket.sendall(request(env, 1) + reset + request(env, 1))
    bodies = [client.receive().body for _ in range(3)]
    assert bodies[2] == wanted
    assert b"reward" not in bodies[1]


@pytest.mark.parametrize("padding", [0, 100, 5000, 200_000])
@pytest.mark.parametrize("size", [1, 57, 4000])
def test_requests_that_come_in_pieces(client: Client, padding: int, size: int) -> None:
    env = quick(client)
    data = request(env, 1, padding)
    pieces = [data[at : at + size] for at in range(0, min(len(data), 400), size)]
    for piece in pieces:
        client.socket.sendall(piece)
    client.socket.sendall(data[sum(map(len, pieces)) :])
    assert client.receive().status == 200
    assert client.ask("POST", f"{env}/step/", {"action": 0}).status == 200


def test_special_requests_take_the_long_way(client: Client, short: list[bool]) -> None:
    env = quick(client)
    short.clear()
    client.socket.sendall(request(env, 1, 0, "Expect: 100-continue"))
    assert client.receive().status == 100
    assert client.receive().status == 200
    assert short == []
    answer = client.ask("POST", f"{env}/step/", {"action": 1}, {"Origin": "http://elsewhere.org"})
    assert answer.status == 403
    assert client.ask("POST", "/v1/envs/nobody/step/", {"action": 1}).status == 400
    assert short == [False, False]
    client.send("POST", f"{env}/step/", {**JSON, "Connection": "close"}, b'{"action": 0}')
    assert client.receive().status == 200
    assert client.reader.read() == b""


def test_the_short_way_has_the_same_gate() -> None:
    with running(token="secret") as address, Client(address) as client:
        known = {"Authorization": "Bearer secret"}
        answer = client.ask("POST", "/v1/envs/", {"env_id": "CartPole-v1"}, known)
        env = f"/v1/envs/{answer.json['instance_id']}"
        client.ask("POST", f"{env}/reset/", None, known)
        for step in range(PROBATION + 1):  # to and fro, or the pole falls before
            assert client.ask("POST", f"{env}/step/", {"action": step % 2}, known).status == 200
        assert client.ask("POST", f"{env}/step/", {"action": 1}).status == 401


@pytest.mark.parametrize("at_once", [0, connection.AT_ONCE])
def test_little_is_kept_for_a_client_that_does_not_read(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(connection, "AT_ONCE", at_once)
    waiting: list[int] = []
    received = connection.Connection.data_received

    def note(self: connection.Connection, data: bytes) -> None:
        received(self, data)
        waiting.append(len(self.pipeline))

    monkeypatch.setattr(connection.Connection, "data_received", note)
    with running() as address, Client(address) as client:
        many = request(quick(client), "wrong") * 400_000
        client.socket.settimeout(1)
        with pytest.raises(TimeoutError):
            client.socket.sendall(many)
    assert 0 < max(waiting) < 3000  # what comes in one piece
