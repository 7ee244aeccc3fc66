"""What a sweep costs beside its trials: many one-second trials on two cores.

A trial trains for one second and is evaluated at the end. Its second is slept away by the agent
(`sleeping`), so that what Ray, the search and the processes compute has the cores for itself,
or computed (`computing`), as in a real sweep, so that they take it from the trials. Seconds count
from the start of `gym-loop sweep` to its end, Ray's start and stop counted in. Ideal: the trials'
seconds divided by the cores.

Beside it, in the same turn: Ray Tune alone, whose trials sleep or compute for one second in actors
that are used again, and keep nothing: no run directory, no checkpoint, no evaluation, no process.
Fifty trials say what it costs.

Wanted: at most 1.15 times the ideal for 200 trials.

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
WANTED = 1.15
MOST_ALONE = 50  # trials of Tune alone: its share of the ideal time hardly depends on them
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
TUNE = """
import logging, os, sys, tempfile, time
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AIR_NEW_OUTPUT="0", RAY_worker_niceness="0",
                  TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1")
import ray
from ray import tune
class Trial(tune.Trainable):
    def setup(self, config):
        self.config = config
    def reset_config(self, config):
        self.config = config
        return True
    def step(self):
        computing = self.config["computing"]
        until = time.process_time() + 1.0
        while computing and time.process_time() < until:
            pass
        if not computing:
            time.sleep(1.0)
        return {"value": self.config["x"], "done": True}
ray.init(address="local", num_cpus=int(sys.argv[3]), include_dashboard=False,
         log_to_driver=False, logging_level=logging.ERROR)
with tempfile.TemporaryDirectory() as place:
    tune.Tuner(
        tune.with_resources(Trial, {"cpu": 1}),
        param_space={"x": tune.uniform(0, 1), "computing": sys.argv[1] == "computing"},
        tune_config=tune.TuneConfig(num_samples=int(sys.argv[2]), reuse_actors=True),
        run_config=tune.RunConfig(storage_path=place, verbose=0),
    ).fit()
"""


def our_sweep(kind: str, trials: int, place: Path) -> list[str]:
    """The command, and its files."""
    (place / "agent.py").write_text(AGENT)
    (place / "run.yaml").write_text(RUN.format(computing=str(kind == "computing").lower()))
    (place / "sweep.yaml").write_text(SWEEP.format(trials=trials))
    command = ["-m", "gym_loop", "sweep", "-c", "run.yaml", "-s", "sweep.yaml", "--quiet"]
    return [sys.executable, *command]


def bare_tune(kind: str, trials: int, place: Path) -> list[str]:
    """Ray Tune without anything of ours."""
    (place / "bare.py").write_text(TUNE)
    return [sys.executable, "bare.py", kind, str(trials), str(CORES)]


def seconds_of(kind: str, trials: int, make: object) -> float:
    """Seconds that a command takes, in an empty directory."""
    assert callable(make)
    with tempfile.TemporaryDirectory(prefix="sweep-overhead-") as place:
        command = make(kind, trials, Path(place))
        start = time.perf_counter()
        done = subprocess.run(command, check=False, cwd=place, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(done.stderr)
        if make is our_sweep:
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
    sides = {
        "gym-loop sweep": (our_sweep, trials),
        "Ray Tune alone": (bare_tune, min(trials, MOST_ALONE)),
    }
    rows = []
    for kind in options.kinds:
        times: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(options.turns):
            for side, (make, count) in sides.items():
                times[side].append(seconds_of(kind, count, make))
                print(f"{kind}, {side}: {times[side][-1]:.1f} s", file=sys.stderr, flush=True)
        for side, found in times.items():
            median = sorted(found)[len(found) // 2]
            make, count = sides[side]
            ideal = count / CORES
            ratio = f"{median / ideal:.2f}"
            if make is our_sweep:
                ratio = verdict(median / ideal, at_most=WANTED)
            rows.append([kind, side, str(count), f"{median:.1f}", f"{ideal:.0f}", ratio])
    print(surroundings("gym-loop", "ray", "optuna", "gymnasium"))
    print(table(["trials of 1 s", "", "trials", "s", "ideal", "of ideal"], rows))


if __name__ == "__main__":
    main()
