"""The native client against servers that answer nonsense."""

import socket
from typing import Any

import pytest

from gym_loop.envs.remote.connection import InstanceGoneError
from gym_loop.envs.remote.native_env import NativeEnv
from gym_loop.errors import BridgeError, BridgeProtocolError, SampleError, StateError
from gym_loop.wire import native as codec
from tests.serve.test_websocket_client import BINARY, Server, shake
from tests.serve.wire_peer import Play, peer

DISCRETE = {"name": "Discrete", "n": 2, "start": 0}
MADE = {"instance": "abc", "observation_space": DISCRETE, "action_space": DISCRETE}
STEP = {"observation": 1, "reward": 1.0, "terminated": False, "truncated": False, "info": {}}


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def answers(*replies: dict[str, Any] | bytes) -> Play:
    """Answer so many requests; what is no bytes, with the number of its request."""

    def play(connection: socket.socket) -> None:
        shake(connection)
        server = Server(connection)
        for reply in replies:
            number, _ = codec.read(server.read()[1])
            server.send(reply if isinstance(reply, bytes) else codec.write(number, reply), BINARY)

    return play


def made(address: str) -> NativeEnv:
    return NativeEnv(f"ws://{address}", "X-v0", timeout=5.0)


@pytest.mark.parametrize(
    ("replies", "said"),
    [
        ([b"hello"], "none of this protocol: 5 bytes are no message"),
        ([codec.write(7, {})], "answers request 7 instead of 1"),
        ([{"error": {"code": "wrong_version", "message": "speak 2"}}], "speak 2"),
        ([{"error": 5}], "None"),
        ([{}, without(MADE, "instance")], "made it without instance"),
        ([{}, without(MADE, "action_space")], "made it without action_space"),
        ([{}, {**MADE, "observation_space": 5}], "space"),
    ],
)
def test_what_makes_no_environment(replies: list[Any], said: str) -> None:
    with peer(answers(*replies)) as address, pytest.raises(BridgeError, match=said):
        made(address)


@pytest.mark.parametrize(
    ("reply", "error", "said"),
    [
        ({"error": {"code": "wrong_action", "message": "no"}}, SampleError, "no"),
        ({"error": {"code": "no_state", "message": "no"}}, StateError, "no"),
        ({"error": {"code": "unknown_instance"}}, InstanceGoneError, "step 1 after reset 1"),
        (without(STEP, "reward"), BridgeProtocolError, "there is no 'reward' in the"),
        ({**STEP, "info": []}, BridgeProtocolError, "info is .* where an object belongs"),
        ({**STEP, "reward": "much"}, BridgeProtocolError, "the reward 'much' and the flags"),
        ({**STEP, "truncated": 1}, BridgeProtocolError, "the flags False and 1"),
    ],
)
def test_what_answers_no_step(reply: dict[str, Any], error: type[Exception], said: str) -> None:
    reset = {"observation": 0, "info": {}}
    with peer(answers({}, MADE, reset, reply)) as address:
        env = made(address)
        assert env.reset() == (0, {})
        with pytest.raises(error, match=said):
            env.step(0)
        env._remote.lost = True  # the server has said all that it had to say
        env.close()
