"""Suites that a user runs on their own classes: the contracts, proved by playing.

Call them from a test::

    from gym_loop.testing import check_agent

    def test_my_agent():
        check_agent(MyAgent, env="CartPole-v1")
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from gym_loop.agents.base_agent import BaseAgent
from gym_loop.envs.making import close_quietly
from gym_loop.errors import ContractError, StateError
from gym_loop.parameters import check_parameters
from gym_loop.seeding import Seeds, seed_global_streams
from gym_loop.state_tree import capture, first_difference, restore
from gym_loop.transition import Transition


def check_agent(
    agent_class: type[BaseAgent],
    env: str | gym.Env[Any, Any] = "CartPole-v1",
    parameters: Mapping[str, Any] | None = None,
    *,
    steps: int = 300,
    seed: int = 0,
) -> None:
    """Prove an agent against the contract by playing with it.

    It must act inside the action space, learn without raising, keep still while it is
    evaluated, give the same actions for the same seed, and continue from its own
    ``state_dict`` as if nothing had happened.

    Args:
        agent_class: the class, not an instance.
        env: id of an environment that the agent can handle, or an environment.
        parameters: in place of the agent's defaults.
        steps: how long to play, in environment steps; long enough for the agent to learn.
        seed: of all random streams.

    Raises:
        ContractError: with every broken promise, one a line.
    """
    environment = gym.make(env) if isinstance(env, str) else env
    try:
        problems = _AgentCheck(agent_class, environment, parameters or {}, steps, seed).problems()
    finally:
        if isinstance(env, str):
            close_quietly(environment)
    if problems:
        name = f"{agent_class.__module__}:{agent_class.__qualname__}"
        raise ContractError("\n".join([f"{name} breaks the agent contract:", *problems]))


class _AgentCheck:
    """One agent class, one environment, and a way to play both from a seed."""

    def __init__(
        self,
        agent_class: type[BaseAgent],
        env: gym.Env[Any, Any],
        parameters: Mapping[str, Any],
        steps: int,
        seed: int,
    ) -> None:
        self.agent_class = agent_class
        self.env = env
        self.given = dict(parameters)
        self.steps = steps
        self.seeds = Seeds(seed)

    def problems(self) -> list[str]:
        found = self._defaults()
        if found:
            return found
        game = _Game(self)
        for part in (game.play_half, game.evaluate, game.resume):
            found = part()
            if found:
                return [f"  {problem}" for problem in found]
        other = _Game(self)
        other.play_half()
        if not _same(game.first_actions, other.first_actions):
            return ["  the same seed gave other actions: draw random numbers from self.rng"]
        return []

    def _defaults(self) -> list[str]:
        agent_class: Any = self.agent_class  # nothing of what it promises is taken for granted
        if not issubclass(agent_class, BaseAgent):
            return ["  it must derive from gym_loop.agents.BaseAgent"]
        first, second = (agent_class.get_default_parameters() for _ in range(2))
        if not isinstance(first, dict):
            return ["  get_default_parameters() must return a dict"]
        shared = [
            name
            for name, value in first.items()
            if isinstance(value, (list, dict, set)) and value is second.get(name)
        ]
        if shared:
            return [
                f"  the default of {name} is shared by all agents: make it anew" for name in shared
            ]
        _, wrong = check_parameters(self.agent_class, self.given)
        return [f"  parameters.{name}: {problem}" for name, problem in wrong.items()]

    def make_agent(self) -> BaseAgent:
        """A fresh agent; the spaces and the global streams start from the seed."""
        seed_global_streams(self.seeds)
        self.env.action_space.seed(self.seeds.integer("action_space"))
        merged, _ = check_parameters(self.agent_class, self.given)
        agent = self.agent_class(
            **merged,
            observation_space=self.env.observation_space,
            action_space=self.env.action_space,
            n_envs=1,
            seed=self.seeds.integer("agent"),
        )
        agent._note_parameters()
        return agent


class _Game:
    """One agent that plays, is evaluated, is saved, and goes on beside its copy."""

    def __init__(self, check: _AgentCheck) -> None:
        self.check = check
        self.agent = check.make_agent()
        self.first_actions: list[Any] = []
        self.episode = 0
        self.ob, _ = check.env.reset(seed=check.seeds.integer("environment"))

    def play_half(self) -> list[str]:
        """The agent acts and learns; its actions are noted."""
        for _ in range(max(1, self.check.steps // 2)):
            action, problem = self._step(self.agent)
            if problem:
                return [problem]
            self.first_actions.append(capture(action))
        for name, value in (self.agent.metrics(self.episode) or {}).items():
            if not isinstance(name, str) or not _is_number(value):
                return [f"metrics() gave {name!r}: {value!r}; it must give numbers by name"]
        return []

    def _step(self, agent: BaseAgent) -> tuple[Any, str]:
        env = self.check.env
        action = agent.act(self.ob, self.episode)
        if not env.action_space.contains(action):
            return action, f"act() gave {action!r}, which is not in {env.action_space}"
        ob, reward, terminated, truncated, info = env.step(action)
        agent.observe(Transition(self.ob, action, reward, terminated, truncated, ob, info))
        agent.update(self.episode)
        self.ob = ob
        if terminated or truncated:
            self.episode += 1
            self.ob, _ = env.reset()
        return action, ""

    def evaluate(self) -> list[str]:
        """Acting inside ``evaluating()`` must leave what was learnt alone."""
        agent: Any = self.agent
        try:
            before = _learnt(agent)
        except StateError as error:
            return [f"state_dict() is no data: {error}"]
        with agent.evaluating() as same:
            if same is not agent:
                return ["evaluating() must yield the agent itself"]
            if agent.training:
                return ["training must be False inside evaluating()"]
            for _ in range(10):
                agent.act(self.ob, self.episode)
        if not agent.training:
            return ["training must be True again after evaluating()"]
        changed = [
            name for name, value in _learnt(agent).items() if not _same(value, before.get(name))
        ]
        return [
            f"state_dict()[{name!r}] changed while the agent was evaluated: act() must neither"
            " learn nor remember there"
            for name in changed
        ]

    def resume(self) -> list[str]:
        """A fresh agent that loads the state must act, and learn, as the original does."""
        original, copy = self.agent, self.check.make_agent()
        copy.load_state_dict(restore(None, capture(original.state_dict())))
        if lost := _differing(original, copy):
            return [
                f"after load_state_dict() {name} differs: state_dict() must carry it"
                for name in lost
            ]
        return self._go_on_beside(original, copy)

    def _go_on_beside(self, original: BaseAgent, copy: BaseAgent) -> list[str]:
        """Play on with the original; the copy gets the same transitions and random numbers."""
        from gym_loop.seeding import capture_global_streams, restore_global_streams

        env = self.check.env
        for step in range(max(1, self.check.steps // 2)):
            before = capture_global_streams(), capture(env.action_space)
            action = original.act(self.ob, self.episode)
            restore_global_streams(before[0])
            restore(env.action_space, before[1])
            if not _same(capture(action), capture(copy.act(self.ob, self.episode))):
                return [f"a copy made from state_dict() acts differently, {step} steps later"]
            ob, reward, terminated, truncated, info = env.step(action)
            transition = Transition(self.ob, action, reward, terminated, truncated, ob, info)
            before = capture_global_streams(), capture(env.action_space)
            original.observe(transition)
            original.update(self.episode)
            restore_global_streams(before[0])
            restore(env.action_space, before[1])
            copy.observe(transition)
            copy.update(self.episode)
            self.ob = ob
            if terminated or truncated:
                self.episode += 1
                self.ob, _ = env.reset()
        lost = _differing(original, copy)
        return [
            f"a copy made from state_dict() learns differently: {name} differs" for name in lost
        ]


def _learnt(agent: BaseAgent) -> dict[str, Any]:
    """The agent's state without its random streams, which acting may advance."""
    streams = (np.random.Generator, np.random.RandomState, gym.Space)
    return {
        name: capture(value, path=name)
        for name, value in agent.state_dict().items()
        if not isinstance(getattr(agent, name, None), streams)
    }


def _differing(one: BaseAgent, other: BaseAgent) -> list[str]:
    first, second = one.state_dict(), other.state_dict()
    return [name for name in first if not _same(capture(first[name]), capture(second.get(name)))]


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(float(value)) or True
    except (TypeError, ValueError):
        return False


def _same(one: Any, other: Any) -> bool:
    """Whether two trees of data are equal bit for bit (NaN equals itself)."""
    return not first_difference(one, other)
