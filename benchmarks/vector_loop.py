"""What VectorLoop costs beside the vector environment that it drives.

VectorLoop in a real run (run directory, TensorBoard, CSV, progress) against the bare vector
environment, as `gymnasium.make_vec` makes it, stepped in a `for` loop that keeps nothing; both
with the actions of the same trivial agent. They play in turn, in one process, a twentieth of a
second each. What is compared is environment steps a second; a row that is no step, because the
copy was reset in its place, is not counted on either side.

CartPole-v1 under drawn actions is the hardest case there is: its episodes last 22 steps, so that
46 end in every step of 1,024 copies, and its own vector environment takes 30 us for eight copies.

Wanted: at least 0.9 of the bare environment's speed from 8 copies on, 0.8 with one.

    python benchmarks/vector_loop.py [--quick] [--env ID]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from typing import Any

import gymnasium
import numpy as np
from _measure import Result, surroundings, table, verdict

import gym_loop
from gym_loop.agents import BaseAgent
from gym_loop.loops.vector_loop import VectorLoop

COPIES = (1, 8, 64, 1024)
MODES = {"native": "vector_entry_point", "sync": "sync"}
SEED = 7
MIXED = 64  # batches of actions, drawn beforehand
CHUNK_SECONDS = 0.05


class MeasuredLoop(VectorLoop):
    """VectorLoop that stops now and then to let the bare environment play for as long."""

    bare: BareLoop
    turns = 0
    ours: Result  # seconds an environment step

    def train(self) -> None:
        """Train in chunks; the first one of each side warms up."""
        self.start()
        self.begin()
        self.ours, cls = Result(), type(self)
        for turn in range(cls.turns + 1):
            theirs = cls.bare.chunk()
            steps, start = self.steps, time.perf_counter()
            while time.perf_counter() - start < CHUNK_SECONDS:
                self.play()
                self.look_up()
            self.run.metrics.flush()
            if turn:
                cls.bare.result.values.append(theirs)
                self.ours.values.append((time.perf_counter() - start) / (self.steps - steps))
        cls.ours = self.ours


class BareLoop:
    """The environment alone, with the same agent's actions."""

    def __init__(self, env_id: str, mode: str, count: int) -> None:
        self.env = gymnasium.make_vec(env_id, count, vectorization_mode=MODES[mode])
        self.agent = DrawnBatchAgent(action_space=self.env.single_action_space, n_envs=count)
        self.result = Result()
        self.vector_steps = 1
        self.steps_each = self._steps_of_a_vector_step()
        self.vector_steps = max(1, int(CHUNK_SECONDS / self.chunk() / self.steps_each))

    def _steps_of_a_vector_step(self) -> float:
        """How many copies take a step in one, on average; the others are being reset."""
        self.env.reset(seed=SEED)
        steps = max(100, 4_000 // self.env.num_envs)
        resets = 0
        for _ in range(steps):
            _, _, terminated, truncated, _ = self.env.step(self.agent.act(None, 0))
            resets += int(np.count_nonzero(terminated | truncated))
        return float(self.env.num_envs - resets / steps)

    def chunk(self) -> float:
        """Seconds an environment step."""
        start = time.perf_counter()
        for _ in range(self.vector_steps):
            self.env.step(self.agent.act(None, 0))
        return (time.perf_counter() - start) / self.vector_steps / self.steps_each


class DrawnBatchAgent(BaseAgent):
    """Plays actions that were drawn beforehand: the cheapest agent there is."""

    supports_batch = True

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        single, count = self.parameters["action_space"], self.parameters["n_envs"]
        space = gymnasium.vector.utils.batch_space(single, count)
        space.seed(SEED)
        self.actions = [space.sample() for _ in range(MIXED)]
        self.number = 0

    def act(self, state: Any, episode_num: int) -> Any:
        """Take the next batch."""
        self.number = (self.number + 1) % MIXED
        return self.actions[self.number]

    def observe(self, transition: Any) -> None:
        """Nothing is remembered."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing is learnt."""
        return {}


def measure(env_id: str, mode: str, count: int, turns: int) -> tuple[Result, Result]:
    """Seconds an environment step of the bare environment and of VectorLoop."""
    import vector_loop  # the module whose classes the run loads, not this script

    loop: Any = vector_loop.MeasuredLoop
    loop.bare, loop.turns = vector_loop.BareLoop(env_id, mode, count), turns
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        gym_loop.train(
            {
                "seed": SEED,
                "agent": {"class": "vector_loop:DrawnBatchAgent"},
                "env": {"name": env_id},
                "loop": {
                    "class": "vector_loop:MeasuredLoop",
                    "parameters": {
                        "episodes_per_checkpoint": None,
                        "max_steps": 10**12,
                        "n_envs": count,
                        "vectorization": mode,
                    },
                },
            }
        )
        os.chdir(before)
    return loop.bare.result, loop.ours


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="21 turns in place of 101")
    parser.add_argument("--env", default="CartPole-v1", help="environment (CartPole-v1)")
    options = parser.parse_args()
    native = gymnasium.spec(options.env).vector_entry_point is not None
    rows = []
    for mode in MODES if native else ["sync"]:
        for count in COPIES:
            bare, ours = measure(options.env, mode, count, 21 if options.quick else 101)
            rows.append(
                [
                    f"{mode}, {count}",
                    f"{1 / bare.median:,.0f}",
                    f"{1 / ours.median:,.0f}",
                    f"{(ours.median - bare.median) * count * 1e6:.1f}",
                    ours.spread,
                    verdict(bare.median / ours.median, at_least=0.8 if count == 1 else 0.9),
                ]
            )
    header = ["copies", "bare steps/s", "VectorLoop steps/s", "us a vector step", "spread", "ratio"]
    print(f"{options.env}, drawn actions")
    print(table(header, rows))
    print(surroundings("gym-loop", "gymnasium", "numpy", "tensorboard"))


if __name__ == "__main__":
    main()
