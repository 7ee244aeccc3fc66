"""The sides that gym-loop itself takes part in: DefaultLoop, and the loops written by hand."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import gymnasium
from _probes import drawn_actions

import gym_loop
from gym_loop.agents import BaseAgent
from gym_loop.agents.transition import Transition
from gym_loop.loops.default_loop import DefaultLoop

SEED = 7
Clock = Callable[[], float]


class TimedLoop(DefaultLoop):
    """DefaultLoop that times itself: making a run and its last checkpoint are no loop's cost."""

    clock: Clock = time.perf_counter
    seconds = 0.0  # of the last training, its logs written

    def train(self) -> None:
        """Train, write what the loggers still hold, and note how long it took."""
        start = TimedLoop.clock()
        super().train()
        self.run.metrics.flush()
        TimedLoop.seconds = TimedLoop.clock() - start


class DrawnAgent(BaseAgent):
    """Plays actions that were drawn beforehand: the cheapest agent there is."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.actions = drawn_actions(self.parameters["action_space"])

    def act(self, state: Any, episode_num: int) -> Any:
        """Take the next one."""
        return next(self.actions)

    def state_dict(self) -> dict[str, Any]:
        """Nothing is learnt."""
        return {}


def default_loop(
    env_id: str, steps: int, clock: Clock, agent: str, episodes_per_checkpoint: int | None
) -> Callable[[], float]:
    """A side: seconds a step of a real run, with TensorBoard, CSV and a run directory."""
    config = {
        "seed": SEED,
        "agent": {"class": agent, "parameters": {}},
        "env": {"name": env_id, "imports": [], "parameters": {}},
        "loop": {
            "class": "_ours:TimedLoop",
            "parameters": {
                "max_episodes": None,
                "max_steps": steps,
                "episodes_per_checkpoint": episodes_per_checkpoint,
            },
        },
    }

    def measure() -> float:
        TimedLoop.clock = clock
        before = os.getcwd()
        with tempfile.TemporaryDirectory() as directory:
            os.chdir(directory)
            gym_loop.train(config)
            os.chdir(before)
        return TimedLoop.seconds / steps

    return measure


def by_hand(
    env_id: str, steps: int, clock: Clock, agent_class: type, *, observe: bool
) -> Callable[[], float]:
    """A side: seconds a step of a `while` loop that logs nothing and keeps nothing.

    Args:
        env_id: the environment.
        steps: how many to play.
        clock: what gives the time.
        agent_class: a BaseAgent.
        observe: hand the agent a Transition, as DefaultLoop does; else call `memorize`.
    """
    env = gymnasium.make(env_id)
    agent = agent_class(
        observation_space=env.observation_space,
        action_space=env.action_space,
        n_envs=1,
        seed=SEED,
    )

    def with_observe() -> None:
        step, episode = 0, 0
        last_ob, _ = env.reset(seed=SEED)
        while step < steps:
            action = agent.act(last_ob, episode)
            ob, reward, terminated, truncated, info = env.step(action)
            agent.observe(Transition(last_ob, action, reward, terminated, truncated, ob, info))
            agent.update(episode)
            last_ob = ob
            step += 1
            if terminated or truncated:
                last_ob, _ = env.reset()
                episode += 1

    def with_memorize() -> None:
        step, episode = 0, 0
        last_ob, _ = env.reset(seed=SEED)
        while step < steps:
            action = agent.act(last_ob, episode)
            ob, reward, terminated, truncated, _ = env.step(action)
            agent.memorize(last_ob, action, reward, terminated or truncated, ob)
            agent.update(episode)
            last_ob = ob
            step += 1
            if terminated or truncated:
                last_ob, _ = env.reset()
                episode += 1

    play = with_observe if observe else with_memorize

    def measure() -> float:
        start = clock()
        play()
        return (clock() - start) / steps

    return measure


def bare_env(env_id: str, steps: int, clock: Clock) -> Callable[[], float]:
    """A side: seconds a step of the environment alone, played with drawn actions."""
    env = gymnasium.make(env_id)
    actions = drawn_actions(env.action_space)

    def measure() -> float:
        start = clock()
        env.reset(seed=SEED)
        step = env.step
        for _ in range(steps):
            _, _, terminated, truncated, _ = step(next(actions))
            if terminated or truncated:
                env.reset()
        return (clock() - start) / steps

    return measure
