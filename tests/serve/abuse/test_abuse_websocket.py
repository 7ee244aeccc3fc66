"""Whatever clients ask, the WebSocket server answers, lives, and harms no one."""

from typing import Any

import pytest

from tests.serve.abuse.abusing import begun
from tests.serve.live import Refused, WebSocketClient, live

PROTOCOL = "websocket"


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
        "x" * 50_000, [0] * 20_000, "1", "1 ", "+1", "0_1", "\u0660",
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


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9" * 400, b"[1e999]"])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_numbers_that_no_float_holds(client: WebSocketClient, env_id: str, number: bytes) -> None:
    instance = begun(client, env_id).encode()
    message = b'{"method": "step", "params": {"instance_id": "%s", "action": %s}}'
    refusal = refused(client, message % (instance, number))
    assert (refusal.code, refusal.message[:8]) == (1007, "Action `")


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
    more: dict[str, Any] = {"action": 0} if method == "step" else {}
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


def test_too_many_instances() -> None:
    with live("websocket", max_instances=2) as address:
        client = WebSocketClient(address)
        held = [client.make("CartPole-v1") for _ in range(2)]
        client.end(held[0])
        client.make("CartPole-v1")
        assert refused(client, method="make", env_id="CartPole-v1").code == 1007
        client.close()
