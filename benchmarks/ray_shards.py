"""VectorLoop's environments in Ray's actors, for steps that cost 0.1, 1, 10 and 100 ms.

Eight copies of an environment that waits so long in every step, as one does that talks to a
simulator: in this process (`sync`), in eight worker processes (`async`), and in eight actors of Ray
(`ray`), as on a cluster that has a core for each. Environment steps of all copies a second;
`of ideal` is the share of what eight copies would give that wait at the same time and cost nothing
else. Sides take turns; medians are compared.

    python benchmarks/ray_shards.py [--quick] [--turns 3]
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from _measure import surroundings, table, take_turns
from gymnasium.vector import AutoresetMode

from gym_loop.envs.shards import ShardsEnv
from gym_loop.envs.workers import WorkerCopy, WorkersEnv

COPIES = 8
COSTS = (0.1, 1.0, 10.0, 100.0)


def make(milliseconds: float) -> gymnasium.Env:
    """An environment of 64 numbers whose step waits."""

    class Waiting(gymnasium.Env):  # in here: an actor cannot import this file
        observation_space = gymnasium.spaces.Box(-1, 1, (64,), np.float32)
        action_space = gymnasium.spaces.Box(-1, 1, (4,), np.float32)

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            return np.zeros(64, np.float32), {}

        def step(self, action: Any) -> Any:
            time.sleep(milliseconds / 1_000)
            return np.ones(64, np.float32), 1.0, False, False, {}

    return Waiting()


def made(side: str, milliseconds: float) -> Any:
    """Eight copies."""
    mode = AutoresetMode.SAME_STEP
    create = partial(make, milliseconds)
    if side == "sync":
        return gymnasium.vector.SyncVectorEnv([create] * COPIES, copy=False, autoreset_mode=mode)
    if side == "async":
        return WorkersEnv([WorkerCopy(create)] * COPIES, "Waiting", mode)
    return ShardsEnv(_by_value(create), COPIES, "Waiting", mode, shards=COPIES)


def _by_value(create: Any) -> Any:
    """A function that Ray sends whole: its actors cannot import this file."""
    from ray import cloudpickle

    import __main__

    if make.__module__ != "__main__":
        cloudpickle.register_pickle_by_value(__main__)
    return create


def seconds_a_step(env: Any, seconds: float) -> float:
    """Of all copies together, over about so many seconds."""
    actions = env.action_space.sample()
    env.step(actions)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        env.step(actions)
        steps += 1
    return (time.perf_counter() - start) / steps


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    seconds, turns = (0.5, 1) if options.quick else (3.0, options.turns)
    rows = []
    for cost in COSTS:
        envs = {side: made(side, cost) for side in ("sync", "async", "ray")}
        for env in envs.values():
            env.reset(seed=0)
        results = take_turns(
            {side: partial(seconds_a_step, env, seconds) for side, env in envs.items()}, turns
        )
        for env in envs.values():
            env.close()
        rates = [f"{COPIES / results[side].median:,.0f}" for side in envs]
        shares = [f"{cost / 1_000 / results[side].median:.0%}" for side in envs]
        rows.append([f"{cost:g} ms", *rates, *shares])
    heads = ["a step", "sync steps/s", "async", "ray", "sync of ideal", "async", "ray"]
    print(surroundings("gym-loop", "ray", "gymnasium", "numpy"))
    print(table(heads, rows))


if __name__ == "__main__":
    main()
