"""gym_loop/ZeroMQ-v0 against real servers: ours, killed and restarted, and one like gymz's own."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import zmq
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from zmq_serving import Process, Served, free_port, register, serving, values

import gym_loop.bridges  # noqa: F401 - registers the environment
from gym_loop.bridges.zeromq.env import ZeroMQEnv
from gym_loop.errors import (
    BridgeConnectionError,
    BridgeProtocolError,
    EnvParametersError,
    UsageError,
)

BOUNDS = {"observation_low": [0, -1], "observation_high": [1e6, 9]}
SPEEDS = ["real", "max"]


@pytest.fixture(autouse=True)
def scripted() -> None:
    register()


@pytest.fixture
def environments() -> Iterator[Any]:
    """Makes environments that are closed after the test."""
    made: list[ZeroMQEnv] = []

    def make(served: Served | dict[str, int], **parameters: Any) -> ZeroMQEnv:
        ports = served if isinstance(served, dict) else served.ports
        made.append(ZeroMQEnv(**{"n_actions": 10, **BOUNDS, **ports, **parameters}))
        return made[-1]

    yield make
    for env in made:
        env.close()


def play(env: ZeroMQEnv, steps: int) -> None:
    env.reset()
    for _ in range(steps):
        env.step(1)


def kwargs(**parameters: Any) -> dict[str, Any]:
    return {"Env.env_params": {"kwargs": parameters}}


# -- lock-step -----------------------------------------------------------------------------


def test_lock_step_is_the_same_as_the_environment_here(environments: Any) -> None:
    local = gymnasium.make("CartPole-v1", max_episode_steps=15)
    settings = {"Env.env": "CartPole-v1", "Env.inter_trial_observation": [9999.0] * 4,
                "Env.env_params": {"max_episode_steps": 15}, "All.seed": 7}  # fmt: skip
    with serving(**settings, **{"EnvRunner.speed": "max"}) as served:
        env = environments(
            served, speed="max", n_actions=2, observation_low=None, observation_high=None
        )
        assert env.observation_space == local.observation_space
        assert env.action_space == local.action_space
        for episode in range(4):
            expected, _ = local.reset(seed=7 if episode == 0 else None)
            found, info = env.reset()
            assert np.array_equal(found, expected)
            assert info == {}
            over = False
            for step in range(50):
                action = step % 2 if episode % 2 else 1
                expected, *rest, _ = local.step(action)
                found, *answers, _ = env.step(action)
                assert np.array_equal(found, expected)
                assert answers == rest
                if over := any(rest[1:]):
                    break
            assert over


def test_a_step_after_the_end_or_before_the_reset(environments: Any) -> None:
    with serving(**kwargs(length=1), **{"EnvRunner.speed": "max"}) as served:
        env = environments(served, speed="max")
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(1)
        env.reset()
        assert env.step(1)[2]
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(1)


def test_a_reset_in_the_middle_goes_on(environments: Any) -> None:
    with serving(**kwargs(length=100), **{"EnvRunner.speed": "max"}) as served:
        env = environments(served, speed="max")
        env.reset()
        env.step(4)
        assert env.reset()[0].tolist() == [1, 4]
        env.close()
        again = environments(served, speed="max")  # another agent, later
        assert again.reset()[0].tolist() == [1, 4]
        assert again.step(5)[0].tolist() == [2, 5]


def test_joining_after_the_end_of_an_episode(environments: Any) -> None:
    with serving(**kwargs(length=1), **{"EnvRunner.speed": "max"}) as served:
        env = environments(served, speed="max")
        env.reset()
        assert env.step(4)[2]
        env.close()
        assert environments(served, speed="max").reset()[0].tolist() == [0, -1]


# -- real time -----------------------------------------------------------------------------


def test_an_answer_shows_the_effect_of_its_action(environments: Any) -> None:
    with serving(**kwargs(length=10_000)) as served:
        env = environments(served)
        env.reset()
        counts = []
        for action in (3, 8, 0, 5, 5, 9, 1):
            observation, reward, terminated, truncated, info = env.step(action)
            assert observation[1] == action
            assert reward >= observation[0]
            assert (terminated, truncated, info) == (False, False, {})
            counts.append(observation[0])
        assert counts == sorted(set(counts))


def test_the_rewards_of_an_episode_add_up(environments: Any) -> None:
    with serving(**kwargs(length=12)) as served:
        env = environments(served)
        env.reset()
        while not env.step(1)[2]:
            pass
        for _ in range(2):
            observation, _ = env.reset()
            assert observation[0] <= 1
            total, over = observation[0] * (observation[0] + 1) / 2, False
            while not over:
                observation, reward, over, truncated, _ = env.step(1)
                total += reward
            assert observation[0] == 12
            assert total == 12 * 13 / 2
            assert not truncated


def test_a_reset_in_the_middle_takes_what_there_is(environments: Any) -> None:
    with serving(**kwargs(length=100_000)) as served:
        env = environments(served)
        first = env.reset()[0][0]
        time.sleep(0.1)
        assert env.reset()[0][0] > first


def test_an_agent_that_thinks_for_long_misses_nothing_but_time(environments: Any) -> None:
    with serving(**kwargs(length=8)) as served:
        env = environments(served)
        env.reset()
        time.sleep(0.7)  # the episode ends, and perhaps the next one too
        observation, _, terminated, _, _ = env.step(1)
        assert terminated
        assert observation[0] == 8
        assert not env._streams.is_between(env._join(env._link))


# -- two agents, no server, another server ---------------------------------------------------


def test_one_agent_commands_and_others_listen(environments: Any) -> None:
    with serving(**{"EnvRunner.speed": "max"}) as served:
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
    ports = {f"{name}_port": free_port() for name in ("observation", "reward", "command")}
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
    ports = {f"{name}_port": free_port() for name in ("observation", "reward", "command")}
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


def test_a_server_like_gymz_itself(environments: Any) -> None:
    """Streams that sleep between messages, each with stamps of its own; nulls between episodes."""
    ports = {f"{name}_port": free_port() for name in ("observation", "reward", "command")}
    stop = threading.Event()
    state = {"observation": 0.0, "reward": None, "action": 0}

    def stream(name: str, port: int) -> None:
        with zmq.Context() as context, context.socket(zmq.PUB) as socket:
            socket.linger = 0
            socket.bind(f"tcp://127.0.0.1:{port}")
            while not stop.wait(0.01):
                item = {"min": 0, "max": 100, "value": state[name], "ts": time.time()}
                socket.send_json([item])

    def run() -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as socket:
            socket.connect(f"tcp://127.0.0.1:{ports['command_port']}")
            socket.subscribe(b"")
            while True:
                for tick in range(1, 11):
                    if stop.wait(0.02):
                        return
                    while socket.poll(0):
                        state["action"] = socket.recv_json()[0]["value"]
                    state["observation"], state["reward"] = float(tick), 1.0
                stop.wait(0.02)
                state["observation"], state["reward"] = 9999.0, None
                stop.wait(0.2)
                state["observation"] = 0.0

    threads = [
        threading.Thread(target=stream, args=("observation", ports["observation_port"])),
        threading.Thread(target=stream, args=("reward", ports["reward_port"])),
        threading.Thread(target=run),
    ]
    for thread in threads:
        thread.start()
    try:
        env = environments(ports, observation_low=None, observation_high=None)
        assert env.observation_space == Box(0.0, 100.0, (1,), np.float32)
        env.reset()
        while not env.step(2)[2]:
            pass
        assert env.reset()[0][0] <= 2
        observation, over = None, False
        while not over:
            observation, _, over, _, _ = env.step(7)
        assert observation.tolist() == [10.0]
        assert state["action"] == 7
    finally:
        stop.set()
        for thread in threads:
            thread.join()


# -- parameters ----------------------------------------------------------------------------


def test_spaces_from_parameters() -> None:
    env = ZeroMQEnv(action_low=[-2], action_high=[2], n_observations=16)
    assert env.action_space == Box(-2.0, 2.0, (1,), np.float32)
    assert env.observation_space == Discrete(16)
    env = ZeroMQEnv(n_actions=[2, 3], n_observations=[4, 5])
    assert env.action_space == MultiDiscrete([2, 3])
    assert env.observation_space == MultiDiscrete([4, 5])


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "do not tell the actions"),
        ({"n_actions": 2, "action_low": [1]}, "not both"),
        ({"action_low": [1]}, "belong together"),
        ({"n_actions": 0}, "no space of actions"),
        ({"n_actions": 2, "observation_low": [1], "observation_high": [[2], [3]]}, "observations"),
        ({"n_actions": 2, "speed": "fast"}, "real or max"),
        ({"n_actions": 2, "step_interval": 0}, "greater than 0"),
        ({"n_actions": 2, "timeout": -1}, "greater than 0"),
        ({"n_actions": 2, "render_mode": "human"}, "leave it out"),
    ],
)
def test_parameters_that_are_of_no_use(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(EnvParametersError, match=words):
        ZeroMQEnv(**parameters)


def test_keys_are_demanded_beyond_this_machine() -> None:
    with pytest.raises(UsageError, match=r"secret_key and server_key, or keep"):
        ZeroMQEnv(n_actions=2, command_host="*")
    with pytest.raises(UsageError, match="belong together"):
        ZeroMQEnv(n_actions=2, server_key="a")


# -- keys ----------------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    from zmq.auth import create_certificates

    for name in ("server", "agent", "stranger"):
        create_certificates(str(tmp_path), name)
    return tmp_path


def test_only_those_with_the_right_keys(environments: Any, keys: Path) -> None:
    security = {
        "Security.secret_key": str(keys / "server.key_secret"),
        "Security.agent_key": str(keys / "agent.key"),
        "EnvRunner.speed": "max",
        **kwargs(length=1000),
    }
    own = {"secret_key": str(keys / "agent.key_secret"), "server_key": str(keys / "server.key")}
    with serving(**security) as served:
        env = environments(served, speed="max", **own)
        env.reset()
        assert env.step(3)[0].tolist() == [1, 3]
        plain = served.listen(served.addresses.observations)
        stranger = served.context.socket(zmq.SUB)
        served.sockets.append(stranger)
        public, secret = zmq.auth.load_certificate(keys / "stranger.key_secret")
        stranger.curve_publickey, stranger.curve_secretkey = public, secret
        stranger.curve_serverkey = zmq.auth.load_certificate(keys / "server.key")[0]
        stranger.connect(served.addresses.observations)
        stranger.subscribe(b"")
        for _ in range(10):
            time.sleep(0.03)
            env.step(3)
        assert not plain.poll(100)
        assert not stranger.poll(100)
        env.close()
        # A stranger who takes the agent's place is not obeyed.
        impostor = {**own, "secret_key": str(keys / "stranger.key_secret"), "timeout": 0.5}
        with pytest.raises(BridgeConnectionError, match="no server connected"):
            environments(served, speed="max", **impostor).reset()


def test_files_that_hold_no_key(keys: Path) -> None:
    public, absent = str(keys / "agent.key"), str(keys / "absent")
    for secret, words in ((public, "holds no secret key"), (absent, "no file of a CURVE key")):
        env = ZeroMQEnv(n_actions=2, **BOUNDS, secret_key=secret, server_key=public)
        with pytest.raises(UsageError, match=words):
            env.reset()


# -- a server that is killed ---------------------------------------------------------------


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
    ports = {f"{name}_port": free_port() for name in ("observation", "reward", "command")}
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
    ports = {f"{name}_port": free_port() for name in ("observation", "reward", "command")}
    server = Process(**settings_of(ports))
    env = environments(ports, timeout=0.5)
    env._timeout = 10.0
    env.reset()
    server.end()
    while not env.step(1)[3]:
        pass
    env._timeout = 0.5
    with pytest.raises(BridgeConnectionError, match="no server connected"):
        env.reset()


# -- a run ---------------------------------------------------------------------------------


def test_a_run_trains_and_resumes_approximately(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from gym_loop.experiment import train

    with serving(**kwargs(length=20), **{"EnvRunner.speed": "max"}) as served:
        config = {
            "agent": {"class": "gym_loop.agents.random_agent:RandomAgent"},
            "env": {
                "name": "gym_loop/ZeroMQ-v0",
                "parameters": {"n_actions": 10, "speed": "max", **BOUNDS, **served.ports},
            },
            "loop": {"class": "gym_loop.loops.default_loop:DefaultLoop",
                     "parameters": {"max_episodes": 4, "episodes_per_checkpoint": 2}},
            "seed": 1,
        }  # fmt: skip
        Path("run.yaml").write_text(json.dumps(config))
        first = train("run.yaml")
        assert (first.exit_reason, first.episodes) == ("finished", 4)
        assert first.steps == 80
        warning = capsys.readouterr().err
        assert "resuming will be approximate: the server keeps its state" in warning
        second = train("run.yaml", {"loop.parameters.max_episodes": 7}, resume=True)
    assert (second.exit_reason, second.episodes) == ("finished", 7)
    assert second.mean_return == 210.0
    assert second.steps == 7 * 20
    manifest = json.loads(Path("logs/run-1/manifest.json").read_text())
    assert "approximate" in json.dumps(manifest)
