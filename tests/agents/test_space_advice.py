"""What an agent recommends for spaces that it can't use is followed, word for word, and works."""

import re
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from gym_loop.agents.dqn import DQN
from gym_loop.agents.ppo import PPO
from gym_loop.agents.sac import SAC
from gym_loop.agents.td3 import TD3
from gym_loop.errors import SpaceError
from gym_loop.schema.class_strings import load_class
from gym_loop.schema.yaml_file import read_yaml

AGENTS = {"PPO": PPO, "DQN": DQN, "SAC": SAC, "TD3": TD3}
LOWER = "abcdefghijklmnopqrstuvwxyz "


class Mission(gymnasium.Space[str]):
    """A space that Gymnasium cannot flatten, as MiniGrid's."""

    def __init__(self) -> None:
        super().__init__(dtype=str)

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        return "go"

    def contains(self, x: Any) -> bool:
        return isinstance(x, str)


UNIT = spaces.Box(-1.0, 1.0, (2,))
OBSERVATIONS: dict[str, gymnasium.Space[Any]] = {
    "box": UNIT,
    "scalar": spaces.Box(0.0, 1.0, ()),
    "integers": spaces.Box(0, 9, (2, 2), np.int64),
    "picture": spaces.Box(0, 255, (4, 4, 3), np.uint8),
    "empty": spaces.Box(0.0, 1.0, (0,)),
    "discrete": spaces.Discrete(3),
    "multi discrete": spaces.MultiDiscrete([2, 3]),
    "multi binary": spaces.MultiBinary(3),
    "text": spaces.Text(5, charset=LOWER),
    "one of": spaces.OneOf([spaces.Discrete(2), UNIT]),
    "sequence": spaces.Sequence(UNIT),
    "graph": spaces.Graph(UNIT, spaces.Discrete(2)),
    "mission": Mission(),
    "minigrid": spaces.Dict(image=UNIT, direction=spaces.Discrete(4), mission=Mission()),
    "a name with marks": spaces.Dict({"it's: [1]": UNIT, "mission": Mission()}),
    "dict of texts": spaces.Dict(a=spaces.Text(5, charset=LOWER)),
    "deep": spaces.Dict(a=UNIT, b=spaces.Dict(c=Mission())),
    "tuple": spaces.Tuple([UNIT, Mission()]),
    "tuple with text": spaces.Tuple([UNIT, spaces.Text(5, charset=LOWER)]),
    "dict with nothing": spaces.Dict(a=UNIT, b=spaces.Box(0.0, 1.0, (0,))),
}
ACTIONS: dict[str, gymnasium.Space[Any]] = {
    "discrete": spaces.Discrete(3),
    "multi discrete": spaces.MultiDiscrete([2, 3]),
    "multi binary": spaces.MultiBinary(3),
    "box": UNIT,
    "without bounds": spaces.Box(-np.inf, np.inf, (2,)),
    "half bounded": spaces.Box(0.0, np.inf, (2,)),
    "integers": spaces.Box(0, 9, (2,), np.int64),
    "dict": spaces.Dict(a=spaces.Discrete(2), b=UNIT),
    "tuple": spaces.Tuple([spaces.Discrete(2), spaces.Discrete(3)]),
    "text": spaces.Text(5, charset=LOWER),
    "sequence": spaces.Sequence(spaces.Discrete(2)),
}


class Env(gymnasium.Env[Any, Any]):
    def __init__(
        self, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]
    ) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, **options: Any) -> Any:
        super().reset(**options)
        return self.observation_space.sample(), {}


class OwnObservations(gymnasium.ObservationWrapper[Any, Any, Any]):
    """A gymnasium.ObservationWrapper that makes a Box of them."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = UNIT

    def observation(self, observation: Any) -> Any:
        return np.zeros(2, np.float32)


def own_actions(env: gymnasium.Env[Any, Any], agent: str) -> gymnasium.Env[Any, Any]:
    """A gymnasium.wrappers.TransformAction whose action_space is one of those named."""
    space = spaces.Discrete(2) if agent in ("PPO", "DQN") else UNIT
    return gymnasium.wrappers.TransformAction(env, lambda action: action, space)


def made(name: str, env: gymnasium.Env[Any, Any]) -> Any:
    cls = AGENTS[name]
    return cls(
        **cls.get_default_parameters(),
        observation_space=env.observation_space,
        action_space=env.action_space,
        n_envs=1,
        seed=0,
    )


def refusal(name: str, env: gymnasium.Env[Any, Any]) -> str:
    """What the agent says against the spaces; empty if it acts in them."""
    try:
        agent = made(name, env)
    except SpaceError as error:
        return str(error)
    observation, _ = env.reset(seed=0)
    assert env.action_space.contains(agent.act(observation, 0))
    return ""


def followed(env: gymnasium.Env[Any, Any], wrappers: str) -> gymnasium.Env[Any, Any]:
    """The environment with the wrappers of a piece of advice."""
    for one in read_yaml(wrappers).data:
        if one["class"] == "my_wrappers.py:Mine":
            env = OwnObservations(env)
        else:
            env = load_class(one["class"])(env, **one.get("parameters", {}))
    return env


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("kind", OBSERVATIONS)
def test_observations(name: str, kind: str) -> None:
    actions = ACTIONS["discrete" if name in ("PPO", "DQN") else "box"]
    env = Env(OBSERVATIONS[kind], actions)
    if said := refusal(name, env):
        advice = re.findall(r"env\.wrappers: (\[\{.*?\}\])\)", said)
        assert advice, said
        for wrappers in advice:
            assert not refusal(name, followed(env, wrappers)), wrappers


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("kind", ACTIONS)
def test_actions(name: str, kind: str) -> None:
    env = Env(UNIT, ACTIONS[kind])
    if said := refusal(name, env):
        others = re.findall(r"gym_loop\.agents\.\w+:(\w+)", said)
        own = "my_wrappers.py" in said
        assert others or own, said
        for other in others:
            assert not refusal(other, env), other
        if own:
            assert not refusal(name, own_actions(env, name))
