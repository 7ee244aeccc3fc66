"""Suites that a user runs on their own classes: the contracts, proved by playing.

Call them from a test::

    from gym_loop.testing import check_agent

    def test_my_agent():
        check_agent(MyAgent, env="CartPole-v1")
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from gym_loop.agents.base_agent import BaseAgent
from gym_loop.agents.transition import Transition
from gym_loop.checkpoints.seeding import (
    Seeds,
    capture_global_streams,
    restore_global_streams,
    seed_global_streams,
)
from gym_loop.checkpoints.tree import capture, capture_attributes, first_difference, restore
from gym_loop.checkpoints.tree.classes import known_to
from gym_loop.envs.making import close_quietly
from gym_loop.envs.spaces import with_lasting_spaces
from gym_loop.envs.step_results import as_flags, as_reward, own_copy
from gym_loop.errors import ContractError, StateError
from gym_loop.schema.parameters import check_parameters


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
    environment = with_lasting_spaces(gym.make(env) if isinstance(env, str) else env)
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
        if agent_class.supports_partial_batch and not agent_class.supports_batch:
            return ["  supports_partial_batch is True, so supports_batch must be, too"]
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
        self.ob: Any = None
        self._reset(check.seeds.integer("environment"))

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
        agent.observe(self._answer(action))
        agent.update(self.episode)
        self._go_on()
        return action, ""

    def _answer(self, action: Any) -> Transition:
        """What comes of an action, as a loop tells it."""
        ob, reward, terminated, truncated, info = self.check.env.step(action)
        flags = as_flags(terminated, truncated)
        self.latest = Transition(self.ob, action, as_reward(reward), *flags, own_copy(ob), info)
        return self.latest

    def _go_on(self) -> None:
        """To the next observation; at the end of an episode to that of the next one."""
        self.ob = self.latest.ob
        if self.latest.done:
            self.episode += 1
            self._reset(None)

    def _reset(self, seed: int | None) -> None:
        ob, _ = self.check.env.reset(seed=seed)
        self.ob = own_copy(ob)

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
        return [
            f"state_dict()[{name!r}] changed while the agent was evaluated ({text}): act() must"
            " neither learn nor remember there"
            for name, text in _differences(before, _learnt(agent)).items()
        ]

    def resume(self) -> list[str]:
        """A fresh agent that loads the state must act, and learn, as the original does."""
        original, state = self.agent, capture(self.agent.state_dict())
        # A second one shows what no two agents agree on, such as the time of day.
        copies = [self.check.make_agent() for _ in range(2)]
        for one in copies:
            known = known_to(self.check.agent_class)
            one.load_state_dict(restore(None, state, tuple_types=known))
        if lost := _differences(_state(original), _state(copies[0])):
            return [
                f"after load_state_dict() {name} differs ({text}): state_dict() must carry it"
                for name, text in lost.items()
            ]
        forgotten = _steady(_attributes, original, *copies)
        found = self._go_on_beside(original, copies)
        return found + [
            f"after load_state_dict() {text}: that may be why; does state_dict() carry it?"
            for text in (forgotten.values() if found else ())
        ]

    def _go_on_beside(self, original: BaseAgent, copies: list[BaseAgent]) -> list[str]:
        """Play on with the original; the copies get the same transitions and random numbers."""
        self.ob = copy.deepcopy(self.ob)  # as a loop does: the original may remember this object
        env = self.check.env
        for step in range(max(1, self.check.steps // 2)):
            before = _streams(env)
            action = original.act(self.ob, self.episode)
            for one in copies:
                _back_to(env, before)
                if not _same(capture(action), capture(one.act(self.ob, self.episode))):
                    return [f"a copy made from state_dict() acts differently, {step} steps later"]
            transition = self._answer(action)
            before = _streams(env)
            for agent in (original, *copies):
                _back_to(env, before)
                agent.observe(transition)
                agent.update(self.episode)
            self._go_on()
        return [
            f"a copy made from state_dict() learns differently: {name} differs ({text})"
            for name, text in _steady(_state, original, *copies).items()
        ]


def _streams(env: gym.Env[Any, Any]) -> tuple[Any, Any]:
    return capture_global_streams(), capture(env.action_space)


def _back_to(env: gym.Env[Any, Any], streams: tuple[Any, Any]) -> None:
    restore_global_streams(streams[0])
    restore(env.action_space, streams[1])


def _learnt(agent: BaseAgent) -> dict[str, Any]:
    """The agent's state without its random streams, which acting may advance."""
    streams = (np.random.Generator, np.random.RandomState, gym.Space)
    return {
        name: copy.deepcopy(tree)  # a state holds the agent's own arrays
        for name, tree in _state(agent).items()
        if not isinstance(getattr(agent, name, None), streams)
    }


def _state(agent: BaseAgent) -> dict[str, Any]:
    tree = capture(agent.state_dict())
    return dict(tree)


def _attributes(agent: BaseAgent) -> dict[str, Any]:
    """All that an agent holds, whatever its ``state_dict``, or that of an object in it, says."""
    return capture_attributes(
        agent,
        exclude=("training", "_first_parameters"),
        on_unsaveable=lambda place, why: None,
        hidden=True,
    )


def _differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, str]:
    """What of one state is another in the other, by name, with the first difference in it."""
    found = {name: first_difference(one[name], other.get(name), name) for name in one}
    return {name: text for name, text in found.items() if text}


def _steady(
    look: Callable[[BaseAgent], dict[str, Any]],
    original: BaseAgent,
    first: BaseAgent,
    second: BaseAgent,
) -> dict[str, str]:
    """What differs between an agent and a copy, and not between two copies."""
    between = _differences(look(first), look(second))
    found = _differences(look(original), look(first))
    return {name: text for name, text in found.items() if name not in between}


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(float(value)) or True
    except (TypeError, ValueError):
        return False


def _same(one: Any, other: Any) -> bool:
    """Whether two trees of data are equal bit for bit (NaN equals itself)."""
    return not first_difference(one, other)
