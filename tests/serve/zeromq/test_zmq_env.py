"""gym_loop/ZeroMQ-v0 in lock-step and in real time, against our server and one like gymz's own."""

import json
import threading
import time
from typing import Any

import gymnasium
import numpy as np
import pytest
import zmq
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from gym_loop.envs.remote.gymz_env import ZeroMQEnv
from gym_loop.errors import EnvParametersError
from tests.serve.zeromq.zmq_serving import LOCK_STEP, free_ports, kwargs, serving

# -- lock-step -------------------------------------------------------------------------------------


def test_lock_step_is_the_same_as_the_environment_here(environments: Any) -> None:
    local = gymnasium.make("CartPole-v1", max_episode_steps=15)
    settings = {"Env.env": "CartPole-v1", "Env.inter_trial_observation": [9999.0] * 4,
                "Env.env_params": {"max_episode_steps": 15}, "All.seed": 7}  # fmt: skip
    with serving(**settings, **LOCK_STEP) as served:
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
    with serving(**kwargs(length=1), **LOCK_STEP) as served:
        env = environments(served, speed="max")
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(1)
        env.reset()
        assert env.step(1)[2]
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(1)


def test_a_reset_in_the_middle_goes_on(environments: Any) -> None:
    with serving(**kwargs(length=100), **LOCK_STEP) as served:
        env = environments(served, speed="max")
        env.reset()
        env.step(4)
        assert env.reset()[0].tolist() == [1, 4]
        env.close()
        again = environments(served, speed="max")  # another agent, later
        assert again.reset()[0].tolist() == [1, 4]
        assert again.step(5)[0].tolist() == [2, 5]


def test_joining_after_the_end_of_an_episode(environments: Any) -> None:
    with serving(**kwargs(length=1), **LOCK_STEP) as served:
        env = environments(served, speed="max")
        env.reset()
        assert env.step(4)[2]
        env.close()
        assert environments(served, speed="max").reset()[0].tolist() == [0, -1]


# -- real time -------------------------------------------------------------------------------------
# Intervals are far longer than a busy machine lets a thread wait.


def test_an_answer_shows_the_effect_of_its_action(environments: Any) -> None:
    with serving(**kwargs(length=10_000)) as served:
        env = environments(served, step_interval=0.5)
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
    with serving(**kwargs(length=12), **{"EnvRunner.update_interval": 0.1}) as served:
        env = environments(served, step_interval=0.25)
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


def test_a_server_like_gymz_itself(environments: Any) -> None:
    """Streams that sleep between messages, each with stamps of its own; nulls between episodes."""
    ports = free_ports()
    stop = threading.Event()
    state: dict[str, Any] = {"observation": 0.0, "reward": None, "action": 0}

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
                        state["action"] = json.loads(socket.recv())[0]["value"]
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
        over = False
        while not over:
            observation, _, over, _, _ = env.step(7)
        assert observation.tolist() == [10.0]
        assert state["action"] == 7
    finally:
        stop.set()
        for thread in threads:
            thread.join()


# -- parameters ------------------------------------------------------------------------------------


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
