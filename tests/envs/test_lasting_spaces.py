"""Spaces that an environment makes anew at each access: one of each is used and seeded."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

import gym_loop
from gym_loop import load_config
from gym_loop.checkpoints.seeding import Seeds
from gym_loop.envs.making import EnvSpec, make_env
from gym_loop.envs.spaces import with_lasting_spaces
from gym_loop.runs.training_run import TrainingRun
from gym_loop.training.building import Experiment

HERE = "tests.envs.test_lasting_spaces"


class Payback(gymnasium.Env):
    """The reward is the action; episodes of twenty steps."""

    age = 0

    @property
    def observation_space(self) -> Any:
        return spaces.Box(0, 1, (2,))

    @property
    def action_space(self) -> Any:
        return spaces.Box(0, 2, (1,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.age = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.age += 1
        return np.zeros(2, np.float32), float(action[0]), self.age == 20, False, {}


class Vector(VectorEnv):
    """Two copies of it, of a kind of its own."""

    metadata = {"autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012 - as in Gymnasium

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.copies = [Payback() for _ in range(num_envs)]

    @property
    def single_observation_space(self) -> Any:
        return self.copies[0].observation_space

    @property
    def single_action_space(self) -> Any:
        return self.copies[0].action_space

    @property
    def observation_space(self) -> Any:
        return batch_space(self.single_observation_space, self.num_envs)

    @property
    def action_space(self) -> Any:
        return batch_space(self.single_action_space, self.num_envs)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        for one in self.copies:
            one.reset()
        return np.zeros((self.num_envs, 2), np.float32), {}

    def step(self, actions: Any) -> Any:
        answers = [one.step(action) for one, action in zip(self.copies, actions, strict=True)]
        observation, reward, terminated, truncated, _ = map(np.array, zip(*answers, strict=True))
        return observation, reward, terminated, truncated, {}


RANDOM, PPO = "gym_loop.agents.random_agent:RandomAgent", "gym_loop.agents.ppo:PPO"
DEFAULT, VECTOR = "default_loop:DefaultLoop", "vector_loop:VectorLoop"


def config(agent: str, loop: str, env: str, episodes: int, **parameters: Any) -> dict[str, Any]:
    limits: dict[str, Any] = {"max_episodes": episodes, "max_steps": None, "eval_episodes": 2}
    limits |= {"n_envs": 2} if loop == VECTOR else {"steps_per_checkpoint": 30}
    limits |= {"episodes_per_eval": 2} | parameters
    small = {"n_steps": 20, "network_parameters": {"hidden": [4]}} if agent == PPO else {}
    return {
        "agent": {"class": agent, "parameters": small},
        "env": {"name": env},
        "loop": {"class": f"gym_loop.loops.{loop}", "parameters": limits},
        "seed": 5,
    }


@pytest.fixture
def payback() -> str:
    gymnasium.register("Payback-v0", f"{HERE}:Payback")
    return "Payback-v0"


def evaluations_of(result: Any) -> list[str]:
    """What the periodic evaluations of a training left."""
    rows = sorted(Path("eval_logs", result.run).glob("step-*.json"))
    return [row.read_text() for row in rows]


def curve(result: Any) -> list[str]:
    text = Path("logs", result.run, "metrics.csv").read_text().splitlines()
    columns = [text[0].split(",").index(name) for name in ("step", "train/episode_return")]
    return [",".join(line.split(",")[column] for column in columns) for line in text]


CASES = {
    "RandomAgent": (RANDOM, DEFAULT, {}),
    "random episodes": (PPO, DEFAULT, {"random_episodes": 4}),
    "copies": (RANDOM, VECTOR, {}),
    "random episodes of copies": (PPO, VECTOR, {"random_episodes": 4}),
    "class string": (RANDOM, VECTOR, {}),
    "random episodes of a class string": (PPO, VECTOR, {"random_episodes": 4}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_same_seed_gives_the_same_run_at_once_and_in_two(
    workdir: Path, payback: str, name: str
) -> None:
    agent, loop, parameters = CASES[name]
    env = f"{HERE}:Vector" if "class string" in name else payback
    runs = [gym_loop.train(config(agent, loop, env, 6, **parameters)) for _ in range(2)]
    assert curve(runs[0]) == curve(runs[1])
    assert evaluations_of(runs[0]) == evaluations_of(runs[1]) != []
    if "class string" in name:
        return  # its state cannot be saved in the middle
    shorter = config(agent, loop, env, 3, **parameters)
    half = gym_loop.train(shorter)
    whole = gym_loop.train(shorter, {"loop.parameters.max_episodes": 6}, resume=half.run)
    assert curve(whole) == curve(runs[0])
    assert evaluations_of(whole) == evaluations_of(runs[0])


def test_agent_loop_and_checkpoint_have_the_same_space(payback: str) -> None:
    experiment = Experiment(load_config(config(PPO, DEFAULT, payback, 1)), TrainingRun(Seeds(5)))
    space = experiment.env.action_space
    assert experiment.loop.env.action_space is space
    assert experiment.agent.parameters["action_space"] is space
    experiment.keep_environment_state()
    assert experiment.loop.env.action_space is space


def test_an_environment_whose_spaces_last_is_not_wrapped() -> None:
    env = make_env(EnvSpec("CartPole-v1"))
    assert with_lasting_spaces(env) is env
    plain = gymnasium.make("CartPole-v1").unwrapped
    assert with_lasting_spaces(plain) is plain
    fleeting = Payback()
    lasting = with_lasting_spaces(fleeting)
    assert lasting.unwrapped is fleeting
    assert lasting.action_space is lasting.action_space
    assert lasting.observation_space is lasting.observation_space
