"""VectorLoop's environments in Ray's actors, for steps that cost 0.1, 1, 10 and 100 ms.

Eight copies of an environment that waits so long in every step, as one does that talks to a
simulator: in this process (`sync`), in eight worker processes (`async`), in eight actors of Ray
(`ray`), as on a cluster that has a core for each, and in actors that play rollouts of 32 steps on
their own (`rollouts`). `VectorLoop` trains an agent that does next to nothing. Environment steps of
all copies a second; `of ideal` is the share of what eight copies would give that wait at the same
time and cost nothing else. Sides take turns; medians are compared.

    python benchmarks/ray_shards.py [--quick] [--turns 3]
"""

from __future__ import annotations

import argparse
import signal
import time
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from _measure import surroundings, table, take_turns
from gymnasium.vector import AutoresetMode

from gym_loop.agents import BaseAgent
from gym_loop.agents.acting import ActsInWorkers
from gym_loop.envs.ray_workers import ShardsEnv
from gym_loop.envs.workers import WorkerCopy, WorkersEnv
from gym_loop.loops.vector_loop import VectorLoop

COPIES = 8
ROLLOUT = 32
COSTS = (0.1, 1.0, 10.0, 100.0)
SIDES = ("sync", "async", "ray", "rollouts")


def make(milliseconds: float) -> gymnasium.Env:
    """An environment of 64 numbers whose step waits."""

    class Waiting(gymnasium.Env):  # type: ignore[misc]  # in here: an actor cannot import this file
        observation_space = gymnasium.spaces.Box(-1, 1, (64,), np.float32)
        action_space = gymnasium.spaces.Box(-1, 1, (4,), np.float32)

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            return np.zeros(64, np.float32), {}

        def step(self, action: Any) -> Any:
            time.sleep(milliseconds / 1_000)
            return np.ones(64, np.float32), 1.0, False, False, {}

    return Waiting()


class Linear(ActsInWorkers, BaseAgent):
    """Multiplies what it sees by a matrix, learns nothing, and counts the vector steps."""

    supports_batch = True
    acts_with = ("weights",)

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.weights = np.zeros((64, 4), np.float32)
        self.vector_steps = 0
        self.on_step: Any = None

    def act(self, state: Any, episode_num: int) -> Any:
        """A product, squashed."""
        return np.tanh(state @ self.weights)

    def update(self, episode_num: int) -> None:
        """Count, and look at the clock."""
        self.vector_steps += 1
        self.on_step()


def made(side: str, milliseconds: float) -> VectorLoop:
    """A training on eight copies."""
    mode = AutoresetMode.SAME_STEP
    create = partial(make, milliseconds)
    if side == "sync":
        env = gymnasium.vector.SyncVectorEnv([create] * COPIES, copy=False, autoreset_mode=mode)
    elif side == "async":
        env = WorkersEnv([WorkerCopy(create)] * COPIES, "Waiting", mode)
    else:
        env = ShardsEnv(_by_value(create), COPIES, "Waiting", mode, shards=COPIES)
    length = ROLLOUT if side == "rollouts" else None
    return VectorLoop(Linear(), env, max_steps=None, rollout_steps=length)


def _by_value(create: Any) -> Any:
    """A function that Ray sends whole: its actors cannot import this file."""
    from ray import cloudpickle

    import __main__

    if make.__module__ != "__main__":
        cloudpickle.register_pickle_by_value(__main__)
    return create


def seconds_a_step(loop: VectorLoop, seconds: float) -> float:
    """Of all copies together, over about so many seconds and whole rollouts."""
    agent, start, before = loop.agent, time.perf_counter(), loop.vector_steps

    def stop_in_time() -> None:
        ends = loop.rollouts is None or not agent.vector_steps % ROLLOUT
        if ends and time.perf_counter() - start >= seconds:
            loop.run.request_stop(signal.SIGINT)

    agent.on_step, loop.run.stop_signal = stop_in_time, None
    loop.train()
    return (time.perf_counter() - start) / (loop.vector_steps - before)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    seconds, turns = (0.5, 1) if options.quick else (3.0, options.turns)
    rows = []
    for cost in COSTS:
        loops = {side: made(side, cost) for side in SIDES}
        results = take_turns(
            {side: partial(seconds_a_step, loop, seconds) for side, loop in loops.items()}, turns
        )
        for loop in loops.values():
            loop.env.close()
        rates = [f"{COPIES / results[side].median:,.0f}" for side in SIDES]
        shares = [f"{cost / 1_000 / results[side].median:.0%}" for side in SIDES]
        rows.append([f"{cost:g} ms", *rates, *shares])
    others = SIDES[1:]
    heads = ["a step", "sync steps/s", *others, "sync of ideal", *others]
    print(surroundings("gym-loop", "ray", "gymnasium", "numpy"))
    print(table(heads, rows))


if __name__ == "__main__":
    main()
