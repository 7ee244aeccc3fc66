"""What VectorLoop costs beside the vector environment that it drives.

VectorLoop in a real run (run directory, TensorBoard, CSV, progress) against the bare vector
environment, which `gymnasium.make_vec` made, stepped in a `for` loop that keeps nothing; both
with the actions of the same trivial agent. CartPole-v1, whose episodes last 22 steps here, is
the hardest case: 46 episodes end in every step of 1,024 copies. Both play in this process, in
turn; the time of a vector step counts. Wanted: at least 0.9 of the bare environment's speed
from 8 copies on, 0.8 with one.

    python benchmarks/vector_loop.py [--quick] [--cpu] [--env ID]

``--cpu`` takes the process's CPU time in place of the clock on the wall, for a machine that has
other work to do.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import gymnasium
from _measure import surroundings, table, take_turns, verdict

import gym_loop
from gym_loop.agents import BaseAgent
from gym_loop.loops.vector_loop import VectorLoop

COPIES = (1, 8, 64, 1024)
MODES = {"native": "vector_entry_point", "sync": "sync"}
SEED = 7
MIXED = 64  # batches of actions, drawn beforehand
# Vector steps of one measurement: a third of a second, about.
VECTOR_STEPS = {
    ("native", 1): 8_000,
    ("native", 8): 8_000,
    ("native", 64): 5_000,
    ("native", 1024): 2_000,
    ("sync", 1): 10_000,
    ("sync", 8): 6_000,
    ("sync", 64): 1_000,
    ("sync", 1024): 80,
}
Clock = Callable[[], float]


class TimedVectorLoop(VectorLoop):
    """VectorLoop that times itself: making a run and its last checkpoint are no loop's cost."""

    clock: Clock = time.perf_counter
    seconds_a_step = 0.0  # of the last training, its logs written

    def train(self) -> None:
        """Train, write what the loggers still hold, and note how long a vector step took."""
        start = TimedVectorLoop.clock()
        super().train()
        self.run.metrics.flush()
        TimedVectorLoop.seconds_a_step = (TimedVectorLoop.clock() - start) / self.vector_steps


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


def bare(env_id: str, mode: str, count: int, clock: Clock) -> Callable[[], float]:
    """A side: seconds a vector step of the environment alone."""
    env = gymnasium.make_vec(env_id, count, vectorization_mode=MODES[mode])
    agent = DrawnBatchAgent(action_space=env.single_action_space, n_envs=count)
    steps = VECTOR_STEPS[mode, count]

    def measure() -> float:
        ob, _ = env.reset(seed=SEED)
        start = clock()
        for _ in range(steps):
            ob, _, _, _, _ = env.step(agent.act(ob, 0))
        return (clock() - start) / steps

    return measure


def looped(env_id: str, mode: str, count: int, clock: Clock) -> Callable[[], float]:
    """A side: seconds a vector step of a real run."""
    config = {
        "seed": SEED,
        "agent": {"class": "vector_loop:DrawnBatchAgent"},
        "env": {"name": env_id},
        "loop": {
            "class": "vector_loop:TimedVectorLoop",
            "parameters": {
                "episodes_per_checkpoint": None,
                "max_steps": VECTOR_STEPS[mode, count] * count,
                "n_envs": count,
                "vectorization": mode,
            },
        },
    }

    def measure() -> float:
        import vector_loop  # the module whose classes the run loads, not this script

        vector_loop.TimedVectorLoop.clock = clock
        before = os.getcwd()
        with tempfile.TemporaryDirectory() as directory:
            os.chdir(directory)
            gym_loop.train(config)
            os.chdir(before)
        return float(vector_loop.TimedVectorLoop.seconds_a_step)

    return measure


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="5 turns")
    parser.add_argument("--cpu", action="store_true", help="CPU time, for a busy machine")
    parser.add_argument("--env", default="CartPole-v1", help="environment (CartPole-v1)")
    options = parser.parse_args()
    clock = time.process_time if options.cpu else time.perf_counter
    native = gymnasium.spec(options.env).vector_entry_point is not None
    rows = []
    for mode in MODES if native else ["sync"]:
        for count in COPIES:
            results = take_turns(
                {
                    "bare": bare(options.env, mode, count, clock),
                    "VectorLoop": looped(options.env, mode, count, clock),
                },
                5 if options.quick else 21,
            )
            alone, ours = results["bare"].median, results["VectorLoop"].median
            rows.append(
                [
                    f"{mode}, {count}",
                    f"{count / alone:,.0f}",
                    f"{count / ours:,.0f}",
                    f"{(ours - alone) * 1e6:.1f}",
                    results["VectorLoop"].spread,
                    verdict(alone / ours, at_least=0.8 if count == 1 else 0.9),
                ]
            )
    header = ["copies", "bare steps/s", "VectorLoop steps/s", "us a vector step", "spread", "ratio"]
    print(f"{options.env}, drawn actions")
    print(table(header, rows))
    print(surroundings("gym-loop", "gymnasium", "numpy", "tensorboard"))


if __name__ == "__main__":
    main()
