"""What a sweep costs beside its trials: many one-second trials on two cores.

A trial trains for one second and is evaluated at the end. Its second is slept away by the agent
(`sleeping`), so that what the search and the processes compute has the cores for itself, or
computed (`computing`), as in a real sweep, so that they take it from the trials. Seconds count
from the start of `gym-loop sweep` to its end. Ideal: the trials' seconds divided by the cores.

Wanted for 200 trials: at most 1.6 times the ideal sleeping, and 1.9 computing.

    python benchmarks/sweep_overhead.py [--quick] [--trials 200] [--turns 1] [--kinds sleeping]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _measure import surroundings, table, verdict

CORES = 2
WANTED = {"sleeping": 1.6, "computing": 1.9}
AGENT = """
import time
from gym_loop.agents import BaseAgent
class OneSecond(BaseAgent):
    @staticmethod
    def get_default_parameters():
        return {"x": 0.0, "computing": False}
    def act(self, state, episode_num):
        return 0
    def update(self, episode_num):
        if self.training and self.parameters["computing"]:
            until = time.process_time() + 0.1
            while time.process_time() < until:
                pass
        else:
            time.sleep(0.1)
"""
RUN = """
agent: {{class: agent.py:OneSecond, parameters: {{computing: {computing}}}}}
env: {{name: CartPole-v1}}
loop: {{parameters: {{max_episodes: null, max_steps: 10, eval_episodes: 1}}}}
"""
SWEEP = """
parameters:
  agent.parameters.x: {{uniform: [0.0, 1.0]}}
trials: {trials}
searcher: random
"""


def our_sweep(kind: str, trials: int, place: Path) -> list[str]:
    """The command, and its files."""
    (place / "agent.py").write_text(AGENT)
    (place / "run.yaml").write_text(RUN.format(computing=str(kind == "computing").lower()))
    (place / "sweep.yaml").write_text(SWEEP.format(trials=trials))
    command = ["-m", "gym_loop", "sweep", "-c", "run.yaml", "-s", "sweep.yaml", "--quiet"]
    return [sys.executable, *command]


def seconds_of(kind: str, trials: int) -> float:
    """Seconds that a sweep takes, in an empty directory."""
    with tempfile.TemporaryDirectory(prefix="sweep-overhead-") as place:
        command = our_sweep(kind, trials, Path(place))
        start = time.perf_counter()
        done = subprocess.run(command, check=False, cwd=place, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(done.stderr)
        finished = len(list(Path(place, "eval_logs").glob("*/evaluate-1.json")))
        assert finished == trials, f"{finished} of {trials} trials were evaluated"
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="20 trials")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument(
        "--kinds", nargs="+", default=["sleeping", "computing"], choices=["sleeping", "computing"]
    )
    options = parser.parse_args()
    trials = 20 if options.quick else options.trials
    if len(os.sched_getaffinity(0)) < CORES:
        raise SystemExit(f"{CORES} cores are needed")
    rows = []
    for kind in options.kinds:
        found = sorted(seconds_of(kind, trials) for _ in range(options.turns))
        median, ideal = found[len(found) // 2], trials / CORES
        ratio = verdict(median / ideal, at_most=WANTED[kind])
        rows.append([kind, str(trials), f"{median:.1f}", f"{ideal:.0f}", ratio])
    print(surroundings("gym-loop", "optuna", "gymnasium"))
    print(table(["trials of 1 s", "trials", "s", "ideal", "of ideal"], rows))


if __name__ == "__main__":
    main()
