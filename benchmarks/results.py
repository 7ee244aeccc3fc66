"""How well the presets learn: trained and evaluated over seeds, beside published results.

Each seed is a run of its own, as `gym-loop train` and `gym-loop evaluate` make it, in a process
of its own; one thread a run. What is evaluated is the policy at the end of the training, not the
best one on the way, over 100 episodes without exploration. The interval is that of the mean over
seeds. "to threshold": when the last 100 episodes of the training, exploration included, averaged
the environment's own threshold; medians of the runs that reached it.

    python benchmarks/results.py [--agent dqn] [--env CartPole-v1] [--seeds 10] [--processes 2]
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
from _measure import surroundings, table

import gym_loop
from gym_loop.config.presets import preset_config
from gym_loop.runs.results import Statistics

EPISODES = 100
WINDOW = 100  # episodes of the training whose mean is compared with the threshold
EVALUATION_SEED = 10_000  # and up: the trainings have lower ones
# The mean that is wanted at least, and the published one: rl-baselines3-zoo, benchmark.md, one run
# each; LunarLander's is of v2, Hopper's and HalfCheetah's of v3, SAC's LunarLanderContinuous of
# 500,000 steps, and DQN's LunarLander of 100,000. Pong is left out: it takes hours.
ROWS: dict[str, tuple[float | None, float | None]] = {
    "dqn/Acrobot-v1": (-77.0, -76.6),
    "dqn/CartPole-v1": (500.0, 500.0),
    "dqn/FrozenLake-v1": (0.70, None),
    "dqn/LunarLander-v3": (200.0, 154.0),
    "dqn/MountainCar-v0": (-105.0, -101.0),
    "ppo/Acrobot-v1": (-75.0, -73.5),
    "ppo/CartPole-v1": (500.0, 500.0),
    "ppo/FrozenLake-v1": (None, None),
    "ppo/LunarLander-v3": (242.0, 242.0),
    "ppo/MountainCar-v0": (-110.0, -110.0),
    "ppo/Pendulum-v1": (-175.0, -172.0),
    "sac/BipedalWalker-v3": (295.0, 298.0),
    "sac/HalfCheetah-v5": (None, 9535.0),
    "sac/Hopper-v5": (None, 2326.0),
    "sac/LunarLanderContinuous-v3": (260.0, 260.0),
    "sac/MountainCarContinuous-v0": (94.0, 94.7),
    "sac/Pendulum-v1": (-160.0, -157.0),
    "td3/BipedalWalker-v3": (295.0, 306.0),
    "td3/HalfCheetah-v5": (None, 9656.0),
    "td3/Hopper-v5": (None, 3606.0),
    "td3/LunarLanderContinuous-v3": (260.0, 207.0),
    "td3/MountainCarContinuous-v0": (None, 93.5),
    "td3/Pendulum-v1": (-160.0, -152.0),
}


class Outcome(NamedTuple):
    """What one run came to."""

    preset: str
    seed: int
    steps: int
    seconds: float
    processor_seconds: float
    mean_return: float
    threshold_steps: int | None = None
    threshold_seconds: float | None = None


def run(task: tuple[str, int], overrides: Sequence[str], keep: Path | None) -> Outcome:
    """Train one preset with one seed, and evaluate what it has become."""
    preset, seed = task
    config = gym_loop.load_config(preset_config(preset), overrides)
    if keep and (known := kept(outcome_file(keep, preset, seed), config.as_dict())):
        return known
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        start, busy = time.perf_counter(), time.process_time()
        trained = gym_loop.train(config, seed=seed)
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        if trained.exit_reason != "finished":
            raise InterruptedError(f"{preset}, seed {seed}: stopped after {trained.steps:,} steps")
        evaluated = gym_loop.evaluate(
            config, run=trained.run, episodes=EPISODES, seed=EVALUATION_SEED + seed
        )
        reached = threshold_reached(trained.directories["logdir"] / "metrics.csv", config.env.name)
        os.chdir("/")
    mean = evaluated.returns.mean
    outcome = Outcome(preset, seed, trained.steps, seconds, busy, mean, *reached)
    if keep:
        text = json.dumps({"config": config.as_dict(), "outcome": outcome._asdict()}, indent=1)
        outcome_file(keep, preset, seed).write_text(text, encoding="utf-8")
    return outcome


def threshold_reached(metrics: Path, env_id: str) -> tuple[int | None, float | None]:
    """Steps and seconds when the last `WINDOW` episodes of the training averaged the threshold.

    The threshold is the environment's own; there are no such numbers where it has none.
    """
    threshold = gymnasium.spec(env_id).reward_threshold
    if threshold is None:
        return None, None
    latest: deque[tuple[float, float]] = deque()  # sum of returns, episodes; of a row
    total = episodes = 0.0
    with metrics.open(encoding="utf-8", newline="") as lines:
        for line in csv.DictReader(lines):
            if not line["train/episode_return"]:
                continue
            count = float(line.get("train/episodes") or 1)
            latest.append((float(line["train/episode_return"]) * count, count))
            total, episodes = total + latest[-1][0], episodes + count
            while episodes - latest[0][1] >= WINDOW:
                returns, count = latest.popleft()
                total, episodes = total - returns, episodes - count
            if episodes >= WINDOW and total / episodes >= threshold:
                return int(line["step"]), float(line["seconds"])
    return None, None


def outcome_file(directory: Path, preset: str, seed: int) -> Path:
    """Where the outcome of a run is kept."""
    return directory / f"{preset.replace('/', '_')}_{seed}.json"


def kept(file: Path, config: dict[str, Any]) -> Outcome | None:
    """The outcome of an earlier call, where it is one of the same parameters."""
    if not file.exists():
        return None
    found = json.loads(file.read_text(encoding="utf-8"))
    same = found["config"] == json.loads(json.dumps(config))
    return Outcome(**found["outcome"]) if same else None


def run_all(arguments: argparse.Namespace, presets: Sequence[str]) -> Iterator[Outcome]:
    """The outcomes of all runs, as they end."""
    keep = arguments.keep and arguments.keep.resolve()
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
    tasks = [(preset, seed) for preset in presets for seed in range(arguments.seeds)]
    context = multiprocessing.get_context("spawn")
    with context.Pool(arguments.processes, maxtasksperchild=1) as pool:
        one_run = partial(run, overrides=arguments.set, keep=keep)
        yield from pool.imap_unordered(one_run, tasks)


def row(preset: str, outcomes: Sequence[Outcome]) -> list[str]:
    """The line of a preset in the table."""
    returns = Statistics.of([one.mean_return for one in outcomes])
    seconds = Statistics.of([one.seconds for one in outcomes])
    busy = Statistics.of([one.processor_seconds for one in outcomes])
    wanted, published = ROWS[preset]
    low, high = returns.ci95
    return [
        preset,
        f"{outcomes[0].steps:,}",
        str(len(outcomes)),
        f"{returns.mean:.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{returns.min:.2f}",
        "" if wanted is None else f"{wanted:g} ({'yes' if returns.mean >= wanted else 'NO'})",
        "" if published is None else f"{published:g}",
        f"{seconds.median:.0f} s, {busy.median:.0f} s",
        shown_threshold(outcomes),
    ]


def shown_threshold(outcomes: Sequence[Outcome]) -> str:
    """Medians of steps and seconds to the threshold, and how many runs reached it."""
    reached = [one for one in outcomes if one.threshold_steps is not None]
    if not reached:
        return ""
    steps = statistics.median(one.threshold_steps or 0 for one in reached)
    seconds = statistics.median(one.threshold_seconds or 0.0 for one in reached)
    return f"{steps:,.0f} in {seconds:.0f} s ({len(reached)} of {len(outcomes)})"


def chosen(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[str]:
    """The presets of the agents and environments that were named; all, where none was."""
    names = []
    for name in ROWS:
        agent, _, env = name.partition("/")
        agent_fits = not arguments.agent or agent in arguments.agent
        if agent_fits and (not arguments.env or env in arguments.env):
            names.append(name)
    if not names:
        parser.error(f"none of that agent and environment; there are: {', '.join(ROWS)}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--agent", action="append", help="dqn, ppo, sac or td3; may be given again")
    parser.add_argument("--env", action="append", help="CartPole-v1, say; may be given again")
    parser.add_argument("--seeds", type=int, default=10, help="runs of each preset")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "--keep", type=Path, metavar="DIRECTORY", help="keep outcomes there, and go on from them"
    )
    arguments = parser.parse_args()
    presets = chosen(parser, arguments)
    found: dict[str, list[Outcome]] = defaultdict(list)
    for one in run_all(arguments, presets):
        found[one.preset].append(one)
        line = f"{one.preset} seed {one.seed}: {one.mean_return:.2f} in {one.seconds:.0f} s"
        print(line, file=sys.stderr, flush=True)
    header = ["preset", "steps", "seeds", "mean", "95 % interval", "worst"]
    header += ["wanted", "published", "training, processor", "steps to threshold"]
    print(table(header, [row(preset, found[preset]) for preset in presets]))
    print(surroundings("gym-loop", "gymnasium", "numpy"))


if __name__ == "__main__":
    main()
