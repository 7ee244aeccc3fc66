"""Whatever clients ask, the HTTP server answers, lives, and harms no one."""

import json
from typing import Any

import pytest

from tests.serve.abuse.abusing import LONGEST, begun
from tests.serve.live import HttpClient, Refused, live

PROTOCOL = "http"


def refused(client: HttpClient, path: str, value: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        client.call(path, value)
    return caught.value


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


def test_bodies_that_are_too_large(server: str, client: HttpClient) -> None:
    client.send("/v1/envs/", b"{" + b" " * LONGEST + b"}")
    assert client.receive()[0] == 413
    declared = HttpClient(server)
    declared.socket.sendall(
        b"POST /v1/envs/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n"
    )
    assert declared.receive()[0] == 413
    declared.close()


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
