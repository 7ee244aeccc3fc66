"""Whole rollouts from Ray's actors, each of which holds one copy and an agent that only acts."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from gym_loop.agents.acting import as_acting, load_whole_state
from gym_loop.checkpoints.seeding import seed_everything
from gym_loop.checkpoints.tree import capture
from gym_loop.envs.ray_workers import ShardsEnv
from gym_loop.errors import ConfigError, EnvParametersError, StateError
from gym_loop.schema.class_strings import absolute_files, class_string, load_class


class Order(NamedTuple):
    """What a player is to play.

    Args:
        steps: how many.
        random: sample the action space, the agent is not asked.
        episode: its number, for the agent.
        seed: of every random number but those of the environment.
        ob: what the copy showed last.
    """

    steps: int
    random: bool
    episode: int
    seed: int
    ob: Any


class Played(NamedTuple):
    """One step of one copy.

    Args:
        action: that it took.
        acted: what the agent's `act` left for `observe`; None for a random action.
        answer: what its step returned, and the reset after it, if there was one.
    """

    action: Any
    acted: tuple[Any, ...] | None
    answer: tuple[Any, Any]


class Rollouts:
    """Asks all copies for ``rollout_steps`` steps, and tells them to the loop one by one.

    Its `act` and `sample` stand in for those of the agent and of the action space; the next step
    of the environment then returns what the copies have answered already.

    Args:
        loop: the `VectorLoop`; its parameters, agent, environment, observations and counters are
            read.

    Raises:
        ConfigError: the agent would learn from steps of an older policy, and must not.
    """

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.length: int = loop.parameters["rollout_steps"]
        self.asked = 0  # rollouts, over the whole training
        self.played: deque[Sequence[Played]] = deque()  # steps of all copies, not yet told
        self._env: ShardsEnv | None = None  # once it has its players
        acting = as_acting(loop.agent)
        name = acting.on_policy_parameter if acting else None
        lasts = loop.agent.parameters[name] if name else self.length
        if lasts % self.length:
            raise ConfigError(
                f"loop.parameters.rollout_steps: {self.length} does not divide"
                f" agent.parameters.{name}, {lasts}: {type(loop.agent).__name__} would learn from"
                " steps that an older policy has chosen"
            )

    def act(self, state: Any, episode_num: int) -> Any:
        """The actions ``[N, ...]`` of the next step, chosen by copies of the agent."""
        return self._next(random=False)

    def sample(self) -> Any:
        """The actions ``[N, ...]`` of the next step, chosen at random."""
        return self._next(random=True)

    def _next(self, *, random: bool) -> Any:
        if self._env is None:
            self._env = self._employ()
        env, loop = self._env, self.loop
        if not self.played:
            self._play(env, random)
        steps = self.played.popleft()
        env.answers = [one.answer for one in steps]
        acted = [one.acted for one in steps if one.acted is not None]
        if acted and (acting := as_acting(loop.agent)):
            columns = zip(*acted, strict=True)
            acting.load_acted_state(loop.ob, tuple(np.concatenate(column) for column in columns))
        space = env.single_action_space
        actions = [one.action for one in steps]
        return concatenate(space, actions, create_empty_array(space, len(actions)))

    def _play(self, env: ShardsEnv, random: bool) -> None:
        """Let all copies play to the end of the rollout."""
        loop = self.loop
        steps = self.length - loop.vector_steps % self.length
        seeds = loop.run.seeds.integers("rollouts", env.num_envs, self.asked)
        obs = iterate(env.observation_space, loop.ob)
        state = None
        if not random:
            acting = as_acting(loop.agent)
            state = acting.acting_state() if acting else loop.agent.state_dict()
        orders = [
            Order(steps, random, loop.episode, seed, ob)
            for seed, ob in zip(seeds, obs, strict=True)
        ]
        self.played.extend(zip(*env.play(state, orders), strict=True))
        self.asked += 1

    def _employ(self) -> ShardsEnv:
        """The environment, with a copy of the agent in each of its actors."""
        agent, env = self.loop.agent, self.loop.copies.core
        if not isinstance(env, ShardsEnv) or not env.one_copy_each:
            raise EnvParametersError("rollout_steps needs vectorization: ray, an actor a copy")
        parameters = {**absolute_files(agent.parameters, ()), "n_envs": 1}
        if "device" in parameters:
            parameters["device"] = "cpu"  # actors may be where there is no GPU
        cls = type(agent)
        # Ray sends whole what no other process can import.
        whole = cls.__module__ == "__main__" or cls.__qualname__ != cls.__name__
        env.employ(Player, cls if whole else class_string(cls), parameters)
        return env

    def forget(self) -> None:
        """Leave out what is not yet told: the copies have begun new episodes."""
        self.played.clear()

    def state_dict(self) -> dict[str, Any]:
        """How many rollouts there were, and what is not yet told of the last one."""
        return {
            "asked": self.asked,
            "played": [[_as_data(one) for one in steps] for steps in self.played],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.asked = state["asked"]
        self.played = deque([Played(*one) for one in steps] for steps in state["played"])


class Player:
    """In an actor: a copy of the agent that plays the actor's only copy of the environment.

    Nothing of it outlasts an order, so that a resumed run needs nothing of it.

    Args:
        shard: what holds the copy.
        agent: the agent's class, or its class string.
        parameters: of the agent.
    """

    def __init__(self, shard: Any, agent: type | str, parameters: dict[str, Any]) -> None:
        self.shard = shard
        (self.copy,) = shard.copies
        cls = load_class(agent) if isinstance(agent, str) else agent
        self.agent: Any = cls(**parameters)
        self._acting = as_acting(self.agent)
        self.actions = batch_space(self.copy.action_space, 1)

    def play(self, state: Any, order: Order) -> list[Played]:
        """Play as the agent whose state this is."""
        if state is not None:
            if self._acting is not None:
                self._acting.load_acting_state(state)
            else:
                load_whole_state(self.agent, state)
        self._seed(order.seed)
        ob, played = order.ob, []
        for _ in range(order.steps):
            action, acted = self._choose(ob, order)
            stepped, first = self.shard.step(self.copy, action)
            # A copy: agents and environments may use an array again for the next step.
            played.append(copy.deepcopy(Played(action, acted, (stepped, first))))
            ob = stepped[0] if first is None else first[0]
        return played

    def _choose(self, ob: Any, order: Order) -> tuple[Any, tuple[Any, ...] | None]:
        if order.random:
            return self.copy.action_space.sample(), None
        space = self.copy.observation_space
        batch = concatenate(space, [ob], create_empty_array(space, 1))
        (action,) = iterate(self.actions, self.agent.act(batch, order.episode))
        return action, self._acting.acted_state() if self._acting else ()

    def _seed(self, seed: int) -> None:
        """Random numbers of its own: those of the agent's state are the same in all actors."""
        agent = self.agent
        spaces = [self.copy.action_space, agent.parameters.get("action_space")]
        seed_everything(seed, agent, [space for space in spaces if space is not None])
        own = [name for name, one in vars(agent).items() if isinstance(one, np.random.Generator)]
        streams = np.random.SeedSequence(seed).spawn(len(own))
        for name, stream in zip(own, streams, strict=True):
            setattr(agent, name, np.random.default_rng(stream))


def _as_data(played: Played) -> tuple[Any, ...]:
    """A step without what is no data in its infos: no agent can have asked for that after all."""
    (*values, info), first = played.answer
    if first is not None:
        first = (first[0], _data_of(first[1]))
    return played.action, played.acted, ((*values, _data_of(info)), first)


def _data_of(info: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in info.items():
        try:
            capture(value)
        except StateError:
            continue
        found[key] = value
    return found
