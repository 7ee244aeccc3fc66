"""Tiny batches of environments for learning agents, and a driver that plays them."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from gym_loop.agents import BaseAgent
from gym_loop.agents.transition import Transition
from gym_loop.checkpoints.tree import capture, first_difference, restore

# For agents that learn from a buffer after 50 steps, of 100 of one copy or of 248 of four.
each_rhythm = pytest.mark.parametrize(
    ("train_freq", "gradient_steps", "n_envs", "updates"),
    [(4, 1, 1, 13), (4, 2, 1, 26), (10, -1, 1, 60), (1, 1, 4, 50), (3, 2, 4, 34), (2, -1, 4, 200)],
)


class Identity:
    """Reward 1 for doing what is seen, less for what is further from it.

    Args:
        space: of observations and actions.
        n_envs: number of copies.
        length: steps of an episode, which is then truncated.
    """

    def __init__(self, space: spaces.Space, n_envs: int, length: int = 10) -> None:
        space.seed(0)
        self.observation_space = self.action_space = space
        self.n_envs, self.length = n_envs, length
        self.age = 0
        self.seen = self.draw()

    def draw(self) -> np.ndarray:
        return np.stack([np.asarray(self.action_space.sample()) for _ in range(self.n_envs)])

    def step(self, actions: Any) -> tuple[Any, ...]:
        distance = np.abs(np.asarray(actions, float) - self.seen).reshape(self.n_envs, -1)
        if isinstance(self.action_space, spaces.Box):
            rewards = 1.0 - distance.mean(axis=1)
        else:
            rewards = (distance == 0).mean(axis=1)
        self.age = (self.age + 1) % self.length
        self.seen = self.draw()
        truncated = np.full(self.n_envs, self.age == 0)
        return self.seen, rewards, np.zeros(self.n_envs, bool), truncated


class Salary:
    """Reward 1 a step for ever; the clock stops it every few steps, or a termination does."""

    observation_space = spaces.Box(0, 1, (1,))
    action_space = spaces.Discrete(2)

    def __init__(self, n_envs: int, length: int, *, terminates: bool) -> None:
        self.n_envs, self.length, self.terminates = n_envs, length, terminates
        self.ages = np.arange(n_envs) % length
        self.seen = np.ones((n_envs, 1), np.float32)

    def step(self, actions: Any) -> tuple[Any, ...]:
        self.ages += 1
        over = self.ages == self.length
        self.ages[over] = 0
        never = np.zeros(self.n_envs, bool)
        ends = (over, never) if self.terminates else (never, over)
        return self.seen, np.ones(self.n_envs), *ends


def make(agent_class: Callable[..., BaseAgent], game: Any, **parameters: Any) -> Any:
    """An agent for a game."""
    return agent_class(
        **{"seed": 0, **parameters},
        observation_space=game.observation_space,
        action_space=game.action_space,
        n_envs=game.n_envs,
    )


def play(agent: BaseAgent, game: Any, steps: int, *, single: bool = False) -> np.ndarray:
    """Play some steps of all copies; the actions, ``[steps, N, ...]``.

    Args:
        agent: who plays.
        game: one of the classes above.
        steps: of each copy.
        single: show the one copy without its axis, as DefaultLoop does.
    """
    actions = []
    for _ in range(steps):
        before = game.seen[0] if single else game.seen
        action = agent.act(before, 0)
        after, *rest = game.step(np.asarray(action)[None] if single else action)
        told = [after, *rest]
        if single:
            told = [one[0] for one in told]
        ob, reward, terminated, truncated = told
        agent.observe(Transition(before, action, reward, terminated, truncated, ob, {}))
        agent.update(0)
        actions.append(np.array(action))
    return np.stack(actions)


def reward_in_evaluation(agent: BaseAgent, game: Any) -> float:
    """The mean reward of fifty steps without exploration."""
    with agent.evaluating():
        return float(np.mean([game.step(agent.act(game.seen, 0))[1] for _ in range(50)]))


def assert_continues(agent: BaseAgent, other: BaseAgent, game: Any, steps: int = 40) -> None:
    """Given the state of the one, the other plays on as the one does, bit for bit."""
    space = game.action_space
    saved = deepcopy(capture(agent.state_dict())), capture(space), game.seen.copy(), game.age
    wanted = play(agent, game, steps)
    play(other, game, steps)
    other.load_state_dict(restore(None, saved[0]))
    restore(space, saved[1])
    game.seen, game.age = saved[2:]
    np.testing.assert_array_equal(play(other, game, steps), wanted)
    assert not first_difference(capture(agent.state_dict()), capture(other.state_dict()))


# A file with a network for PyTorch.
TORCH_NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, input_shape, outputs, width):
        super().__init__()
        self.trunk = nn.Linear(input_shape[0], width)
        self.heads = nn.ModuleList(nn.Linear(width, size) for size in outputs)

    def forward(self, x):
        return tuple(head(self.trunk(x).relu()) for head in self.heads)
"""
