"""The native server over WebSocket: every operation, and every way to misuse them."""

import struct
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest

from gym_loop.envs.remote.native_env import NativeVectorEnv
from gym_loop.errors import BridgeConnectionError, BridgeProtocolError, EnvParametersError
from gym_loop.wire import native as codec
from gym_loop.wire.values import Node
from tests.serve import bad_envs
from tests.serve.live import WebSocketClient
from tests.serve.native.native_serving import Raw, Refused, native
from tests.serve.native.test_native_codec import BAD_HEADERS, message

LONGEST = 200_000


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    before = dict(gymnasium.registry)
    bad_envs.register()
    with native(
        max_message_bytes=LONGEST, max_envs=1000, allow_parameters=["goal_*", "Lunar*:gravity"]
    ) as address:
        yield address
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


@pytest.fixture
def raw(server: str) -> Iterator[Raw]:
    client = Raw(server)
    yield client
    client.ask("ping")  # whatever happened, the server and the connection live
    client.close()


def test_hello_ping_and_list(raw: Raw) -> None:
    said = raw.ask("hello", version=1)
    assert said["protocol"] == "gym-loop native"
    assert said["version"] == codec.VERSION == 1
    assert said["max_message_bytes"] == LONGEST
    assert said["max_envs"] == 1000
    assert raw.ask("ping") == {}
    assert "CartPole-v1" in raw.ask("list")["env_ids"]
    with pytest.raises(Refused, match="wrong_version"):
        raw.ask("hello", version=2)


def test_a_life(raw: Raw) -> None:
    made = raw.ask("make", env_id="CartPole-v1", max_episode_steps=2, state=True)
    assert made["observation_space"]["name"] == "Box"
    assert made["action_space"] == {"name": "Discrete", "n": 2, "start": 0}
    assert made["num_envs"] is made["autoreset"] is None
    assert made["render_fps"] == 50
    assert made["state"]["exact"] is True
    at = made["instance"]
    first = raw.ask("reset", instance=at, seed=4)
    assert first["observation"].shape == (4,)
    assert first["info"] == {}
    assert raw.ask("step", instance=at, action=0)["truncated"] is False
    state = raw.ask("get_state", instance=at)["state"]
    last = raw.ask("step", instance=at, action=1)
    assert last["truncated"] is True
    raw.ask("set_state", instance=at, state=state)
    again = raw.ask("step", instance=at, action=1)
    assert (again["observation"] == last["observation"]).all()
    assert raw.ask("render", instance=at)["frame"] is None
    assert raw.ask("close", instance=at) == {}
    with pytest.raises(Refused, match="unknown_instance"):
        raw.ask("step", instance=at, action=0)


def test_replies_carry_their_numbers_and_may_be_pipelined(raw: Raw) -> None:
    at = raw.make(num_envs=2)
    raw.ask("reset", instance=at, seed=0)
    for number in range(100, 110):
        action = np.zeros(2, np.int64)
        raw.send(codec.write(number, {"op": "step", "instance": at, "action": action}))
    assert [codec.read(raw.receive())[0] for _ in range(10)] == list(range(100, 110))


BAD_REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("bad_request", {"op": None}),
    ("bad_request", {"op": "dance"}),
    ("bad_request", {"op": [1]}),
    ("bad_request", {"op": "ping", "more": 1}),
    ("bad_request", {"op": "make", "env_id": "CartPole-v1", "num_envs": 0}),
    ("bad_request", {"op": "make", "env_id": "CartPole-v1", "num_envs": "many"}),
    ("bad_request", {"op": "make", "env_id": "CartPole-v1", "num_envs": True}),
    ("bad_request", {"op": "make", "env_id": "CartPole-v1", "vectorization": "async"}),
    ("bad_request", {"op": "make", "env_id": "CartPole-v1", "autoreset": "never"}),
    ("bad_request", {"op": "make", "env_id": "CartPole-v1", "render_mode": "human"}),
    ("bad_request", {"op": "make", "env_id": "CartPole-v1", "state": 1}),
    ("bad_request", {"op": "make", "env_id": "CartPole-v1", "parameters": [1]}),
    ("bad_request", {"op": "make", "env_id": "CartPole-v1", "parameters": {"a b": 1}}),
    ("bad_request", {"op": "make", "env_id": "CartPole-v1", "parameters": {"render_mode": "a"}}),
    ("bad_request", {"op": "make", "env_id": "X-v0", "parameters": {"goal_a": np.ones(2)}}),
    ("not_allowed", {"op": "make", "env_id": "CartPole-v1", "parameters": {"gravity": 1}}),
    ("not_allowed", {"op": "make", "env_id": "CartPole-v1", "num_envs": 1001}),
    ("env_failed", {"op": "make", "env_id": "CartPole-v1", "parameters": {"goal_a": 1}}),
    ("unknown_env", {"op": "make"}),
    ("unknown_env", {"op": "make", "env_id": ["CartPole-v1"]}),
    ("unknown_env", {"op": "make", "env_id": "os:system"}),
    ("unknown_env", {"op": "make", "env_id": "gym_loop/Remote-v0"}),
    ("unknown_env", {"op": "make", "env_id": "Nothing-v0"}),
    ("unknown_env", {"op": "make", "env_id": "Nothing-v0", "num_envs": 2, "state": True}),
    ("unknown_instance", {"op": "step", "instance": None, "action": 0}),
    ("unknown_instance", {"op": "reset", "instance": [1]}),
    ("unknown_instance", {"op": "close", "instance": "0" * 32}),
    ("unknown_instance", {"op": "get_state"}),
]


@pytest.mark.parametrize(("code", "fields"), BAD_REQUESTS, ids=str)
def test_bad_requests(raw: Raw, code: str, fields: dict[str, Any]) -> None:
    op = fields.pop("op")
    try:
        with pytest.raises(Refused) as refused:
            raw.ask(op, **fields)
    finally:
        fields["op"] = op
    assert refused.value.code == code
    assert "Traceback" not in refused.value.message


@pytest.mark.parametrize("header", BAD_HEADERS, ids=lambda header: header[:30].decode("latin-1"))
def test_bad_messages(raw: Raw, header: bytes) -> None:
    number, reply = raw.exchange(message(header))
    assert number == 5
    assert reply["error"]["code"] == "bad_request"


@pytest.mark.parametrize("data", [b"", b"GLN", b"{}", b"\xff" * 40, b"GLN\2" + bytes(12)])
def test_what_is_no_message(raw: Raw, data: bytes) -> None:
    for opcode in (1, 2) if data.isascii() else (2,):
        raw.send(data, opcode)
        number, reply = codec.read(raw.receive())
        assert number == 0
        assert reply["error"]["code"] == "bad_request"


def test_a_truncated_message(raw: Raw) -> None:
    at = raw.make(num_envs=4)
    raw.ask("reset", instance=at)
    whole = codec.write(7, {"op": "step", "instance": at, "action": np.zeros(4, np.int64)})
    for size in (15, 16, 40, len(whole) - 32, len(whole) - 1):
        number, reply = raw.exchange(whole[:size])
        assert number == (7 if size >= 16 else 0)
        assert reply["error"]["code"] == "bad_request"
    assert raw.exchange(whole)[1]["terminated"].shape == (4,)


@pytest.mark.parametrize(
    "action",
    [2, -1, 0.0, None, "0", [0], {"a": 1}, np.float64(0), np.zeros(1), np.array([0]), b"\0", True],
)
def test_wrong_actions(raw: Raw, action: Any) -> None:
    at = raw.make()
    raw.ask("reset", instance=at)
    if action is True:  # which is 1 for Gymnasium as well
        raw.ask("step", instance=at, action=1)
        return
    with pytest.raises(Refused, match="wrong_action"):
        raw.ask("step", instance=at, action=action)
    raw.ask("step", instance=at, action=np.int64(1))


@pytest.mark.parametrize(
    "actions",
    [0, np.zeros(3, np.int64), np.zeros((2, 1), np.int64), np.array([0, 2]), np.array([-1, 0]),
     np.zeros(2), np.array([0, -(2**63)]), ["a", "b"], [0], np.array(["0", "1"])],
)  # fmt: skip
def test_wrong_actions_of_copies(raw: Raw, actions: Any) -> None:
    at = raw.make(num_envs=2)
    raw.ask("reset", instance=at)
    with pytest.raises(Refused, match="wrong_action"):
        raw.ask("step", instance=at, action=actions)
    for good in (np.zeros(2, np.int64), np.ones(2, np.int32), [0, 1]):
        raw.ask("step", instance=at, action=good)


@pytest.mark.parametrize("action", [np.zeros(2, np.float32), 0.5, np.zeros(1, "c8"), ["x"]])
def test_a_box_takes_its_shape_alone(raw: Raw, action: Any) -> None:
    at = raw.make("Pendulum-v1")
    raw.ask("reset", instance=at)
    with pytest.raises(Refused, match="wrong_action"):
        raw.ask("step", instance=at, action=action)
    # Its bounds are the environment's affair, as they are without a wire.
    for good in (np.array([9.0], np.float32), np.array([0.5]), [0.5]):
        raw.ask("step", instance=at, action=good)


def test_the_order_of_calls(raw: Raw) -> None:
    for more in ({}, {"num_envs": 2}):
        at = raw.make(**more)
        with pytest.raises(Refused, match="reset_needed"):
            raw.ask("step", instance=at, action=[0, 0] if more else 0)
        with pytest.raises(Refused, match="no_state: make it with state: true"):
            raw.ask("get_state", instance=at)
        with pytest.raises(Refused, match="bad_request: step needs"):
            raw.ask("step", instance=at)


@pytest.mark.parametrize(
    "fields",
    [{"seed": -1}, {"seed": "1"}, {"seed": 2**64}, {"seed": [1]}, {"seed": [1, "a"]},
     {"seed": [1, 2, 3]}, {"options": 1}, {"mask": [True]}, {"mask": [1, 0]},
     {"mask": [False, False]}, {"mask": "all"}],
)  # fmt: skip
def test_wrong_resets(raw: Raw, fields: dict[str, Any]) -> None:
    at = raw.make(num_envs=2)
    with pytest.raises(Refused, match="wrong_seed" if "seed" in fields else "bad_request"):
        raw.ask("reset", instance=at, **fields)


@pytest.mark.parametrize(
    ("env_id", "op"),
    [("Unmakeable-v0", "make"), ("RaisingReset-v0", "reset"), ("Raising-v0", "step"),
     ("Exiting-v0", "step"), ("Nonsense-v0", "step")],
)  # fmt: skip
def test_environments_that_fail(raw: Raw, env_id: str, op: str) -> None:
    with pytest.raises(Refused, match="env_failed") as refused:
        play(raw, 0, env_id)
    assert op in refused.value.message or op == "make"
    with pytest.raises(Refused, match="env_failed"):
        play(raw, [0, 0], env_id, num_envs=2)


def play(raw: Raw, action: Any, env_id: str, **more: Any) -> None:
    at = raw.make(env_id, **more)
    raw.ask("reset", instance=at)
    for _ in range(4):
        raw.ask("step", instance=at, action=action)


def test_room_for_so_many() -> None:
    with native(max_envs=100, idle_lease=60) as url:
        raw = Raw(url)
        first = raw.make(num_envs=60)
        with pytest.raises(Refused, match="too_many"):
            raw.make(num_envs=41)
        second = raw.make(num_envs=40)
        with pytest.raises(Refused, match="too_many"):
            raw.make()
        raw.ask("close", instance=first)
        raw.make(num_envs=60)
        raw.ask("close", instance=second)
        raw.close()


@pytest.mark.parametrize("state", [None, {}, {"env": 1, "reset_done": True}, {"env": {}}, [1]])
def test_wrong_states(raw: Raw, state: Any) -> None:
    at = raw.make(state=True)
    with pytest.raises(Refused, match="wrong_state"):
        raw.ask("set_state", instance=at, state=state)
    raw.ask("reset", instance=at)


@pytest.mark.parametrize(
    "forged",
    [
        Node("objects", items=[], shape=[60_000_000]),
        Node("columns", count=60_000_000, items={"kind": "none"}),
        Node(
            "columns",
            count=60_000_000,
            items={"kind": "array", "data": np.zeros((60_000_000, 0))},
        ),
        Node("seed_sequence", entropy=1, spawn_key=[], pool_size=60_000_000, spawned=0),
    ],
)
def test_a_state_that_states_more_than_it_holds(raw: Raw, forged: Any) -> None:
    at = raw.make(state=True)
    raw.ask("reset", instance=at, seed=1)
    state = raw.ask("get_state", instance=at)["state"]
    attributes = state["env"]["core"]
    while "steps_beyond_terminated" not in attributes:
        attributes = next(one for one in attributes.values() if isinstance(one, dict) and one)
    attributes["steps_beyond_terminated"] = forged
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match="wrong_state"):
            raw.ask("set_state", instance=at, state=state)
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()
    raw.ask("reset", instance=at)


def test_another_environments_state(raw: Raw) -> None:
    one, other = raw.make(state=True), raw.make("Acrobot-v1", state=True)
    raw.ask("reset", instance=one, seed=1)
    state = raw.ask("get_state", instance=one)["state"]
    with pytest.raises(Refused, match="wrong_state"):
        raw.ask("set_state", instance=other, state=state)


def test_the_other_protocols_instances_are_not_ours(server: str, raw: Raw) -> None:
    old = WebSocketClient(server)
    theirs = old.make("CartPole-v1")
    with pytest.raises(Refused, match="unknown_instance"):
        raw.ask("reset", instance=theirs)
    mine = raw.make()
    with pytest.raises(Exception, match="not found"):
        old.reset(mine)
    old.close()


def test_a_message_that_is_too_long(server: str, raw: Raw) -> None:
    client = Raw(server)
    client.send(bytes(LONGEST + 1))
    with pytest.raises((AssertionError, ConnectionError)):  # a close frame, or the end
        client.receive()
    client.close()


def test_a_header_that_says_too_much(raw: Raw) -> None:
    number, reply = raw.exchange(b"GLN\1" + struct.pack("<IQ", 2**32 - 1, 3) + b"{}")
    assert number == 3
    assert reply["error"]["code"] == "bad_request"


def test_a_token_is_demanded_and_shown() -> None:
    with native(token="secret") as url:
        stranger = Raw(url)
        assert stranger.status == 401
        stranger.close()
        with pytest.raises(BridgeProtocolError, match="token"):
            NativeVectorEnv(1, url, "CartPole-v1")
        env = NativeVectorEnv(1, url, "CartPole-v1", token="secret")
        env.reset()
        env.close()


def test_a_lease_ends() -> None:
    with native(idle_lease=0.2) as url:
        raw = Raw(url)
        at = raw.make()
        raw.close()
        time.sleep(1.0)
        raw = Raw(url)
        with pytest.raises(Refused, match="unknown_instance"):
            raw.ask("reset", instance=at)
        raw.close()


@pytest.mark.parametrize(
    ("parameters", "said"),
    [({"url": "http://x"}, "no address"), ({"url": 5}, "no address"), ({"env_id": ""}, "no id"),
     ({"timeout": 0}, "above 0"), ({"num_envs": 0}, "copies"), ({"render_mode": "human"}, "window"),
     ({"url": "tcp://127.0.0.1:5"}, "no address"), ({"url": "nats://x"}, "no address")],
)  # fmt: skip
def test_parameters_of_no_use(parameters: dict[str, Any], said: str) -> None:
    usual = {"num_envs": 2, "url": "ws://127.0.0.1:1", "env_id": "CartPole-v1"}
    with pytest.raises(EnvParametersError, match=said):
        NativeVectorEnv(**{**usual, **parameters})


def test_nobody_there() -> None:
    with pytest.raises(BridgeConnectionError, match="is the server running there"):
        NativeVectorEnv(2, "ws://127.0.0.1:1", "CartPole-v1")
