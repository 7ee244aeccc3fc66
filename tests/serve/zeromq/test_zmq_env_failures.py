"""gym_loop/ZeroMQ-v0 without its server, with another one, and with one that is killed."""

import threading
from typing import Any

import pytest
import zmq

from gym_loop.envs.remote.gymz_env import ZeroMQEnv
from gym_loop.errors import BridgeConnectionError, BridgeProtocolError
from tests.serve.zeromq.zmq_serving import (
    LOCK_STEP,
    Process,
    free_port,
    free_ports,
    kwargs,
    serving,
    values,
)

SPEEDS = ["real", "max"]


def play(env: ZeroMQEnv, steps: int) -> None:
    env.reset()
    for _ in range(steps):
        env.step(1)


def test_one_agent_commands_and_others_listen(environments: Any) -> None:
    with serving(**LOCK_STEP) as served:
        env, other = environments(served, speed="max"), environments(served, speed="max")
        env.reset()
        with pytest.raises(BridgeConnectionError, match="one agent at a time commands"):
            other.reset()
        observations, _ = served.streams()
        observations.recv()
        env.step(6)
        while values(observations.recv())[1] != 6:
            pass
        env.close()
        assert other.reset()[0].tolist() == [1, 6]


@pytest.mark.parametrize("speed", SPEEDS)
def test_no_server(environments: Any, speed: str) -> None:
    ports = free_ports()
    env = environments(ports, speed=speed, timeout=0.2)
    with pytest.raises(BridgeConnectionError, match=r"no server connected .* within 0\.2 s"):
        env.reset()
    with pytest.raises(BridgeConnectionError, match=r"came within 0\.2 s"):
        environments(ports, timeout=0.2, observation_low=None, observation_high=None)


@pytest.mark.parametrize("speed", SPEEDS)
def test_a_stream_that_is_not_there(environments: Any, speed: str) -> None:
    with serving(**{"EnvRunner.speed": speed}) as served:
        env = environments(served, speed=speed, timeout=0.3)
        env.close()
        ports = {**served.ports, "reward_port": free_port()}
        env = environments(ports, speed=speed, timeout=0.5)
        with pytest.raises(BridgeConnectionError, match=r"came within 0\.5 s"):
            play(env, 1)


def test_a_server_of_the_other_speed(environments: Any) -> None:
    with serving(**kwargs(length=3)) as served:
        env = environments(served, speed="max")
        with pytest.raises(BridgeProtocolError, match="start it with --speed max"):
            play(env, 1000)


def test_addresses_that_are_none(environments: Any) -> None:
    ports = free_ports()
    with pytest.raises(BridgeConnectionError, match="cannot connect to tcp://no host"):
        environments({**ports, "host": "no host"}).reset()


def test_other_dimensions_than_expected(environments: Any) -> None:
    with serving() as served:
        env = environments(served, observation_low=[0] * 3, observation_high=[1] * 3)
        with pytest.raises(BridgeProtocolError, match=r"streams 2 dimensions, .* has 3"):
            env.reset()


def test_another_program_on_the_port(environments: Any) -> None:
    port = free_port()
    with zmq.Context() as context, context.socket(zmq.PUB) as other:
        other.linger = 0
        other.bind(f"tcp://127.0.0.1:{port}")
        stop = threading.Event()

        def send() -> None:
            while not stop.wait(0.01):
                other.send(b'{"hello": "world"}')

        thread = threading.Thread(target=send)
        thread.start()
        try:
            with pytest.raises(BridgeProtocolError, match="is this port a gymz stream"):
                ZeroMQEnv(n_actions=2, observation_port=port, timeout=5.0)
        finally:
            stop.set()
            thread.join()


# -- a server that is killed -----------------------------------------------------------------------


def settings_of(ports: dict[str, int], **more: Any) -> dict[str, Any]:
    return {
        "Env.env": "ZmqCounting-v0",
        "ObservationSender.socket": ports["observation_port"],
        "RewardSender.socket": ports["reward_port"],
        "CommandReceiver.socket": ports["command_port"],
        **kwargs(length=100_000),
        **more,
    }


@pytest.mark.parametrize("speed", SPEEDS)
def test_a_server_that_is_killed_and_restarted(environments: Any, speed: str) -> None:
    ports = free_ports()
    settings = settings_of(ports, **{"EnvRunner.speed": speed})
    server = Process(**settings)
    try:
        env = environments(ports, speed=speed, timeout=10.0)
        env.reset()
        for _ in range(5):
            assert not env.step(1)[3]
        server.end()
        truncated = False
        for _ in range(20):
            observation, _, terminated, truncated, info = env.step(2)
            if truncated:
                break
        assert truncated
        assert not terminated
        assert info == {"server_lost": True}
        assert observation[0] >= 1
        server = Process(**settings)
        observation, _ = env.reset()
        assert observation[0] < 1000
        after = env.step(4)[0]
        assert after[0] > observation[0]
        assert after[1] == 4
    finally:
        server.end()


def test_a_server_that_does_not_come_back(environments: Any) -> None:
    ports = free_ports()
    server = Process(**settings_of(ports))
    env = environments(ports, timeout=10.0)
    env.reset()
    server.end()
    while not env.step(1)[3]:
        pass
    env._timeout = 0.5
    with pytest.raises(BridgeConnectionError, match="no server connected"):
        env.reset()
