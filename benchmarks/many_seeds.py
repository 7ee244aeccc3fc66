"""Eight seeds of PPO on CartPole-v1: one after the other, side by side, and stacked.

Two settings: the preset ppo/CartPole-v1, and those of rl-baselines3-zoo (32 steps, 20 epochs, gamma
0.98, lambda 0.8, falling learning rate and clip range). 100,000 steps a seed; seconds count from
the start of the processes to their end. Sides take turns; medians are compared.

* One after the other: one process calls `gym_loop.train` eight times, with one thread for matrix
  products and with two; the better one is what the others are compared with.
* `gym-loop train --seeds 0..7`: a process a seed, one a core at a time.
* Stacked: what one product for all seeds could come to, see `_stacked.py`: eight in one process,
  and in as many processes as there are cores. It leaves out everything that a run has beside the
  arithmetic (logs, checkpoints, progress, signals), so it is a limit and no competitor.

Then CPU seconds on one core, which a busy machine changes less: a run, stacked seeds, and the
matrix products, activations and optimiser steps of a run's updates alone, in buffers made once.
Stacking has to do these all, so it can save no more than the rest.

Wanted: 3 times the throughput of one after the other with the same number of threads. Separate
processes can gain no more than there are cores.

    python benchmarks/many_seeds.py [--quick] [--turns N] [--settings preset] [--only core]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _measure import surroundings, table, take_turns, verdict
from _stacked import train_stacked

import gym_loop
from gym_loop.agents.ppo import PPO
from gym_loop.config.run_file import load_config
from gym_loop.nn.mlp import MLP
from gym_loop.nn.optimizers import Adam
from gym_loop.nn.threads import limit_threads

SEEDS = 8
WANTED = 3.0
FALLING: dict[str, dict[str, Any]] = {
    "learning_rate": {"linear": [1e-3, 0.0], "steps": 100_000},
    "clip_range": {"linear": [0.2, 0.0], "steps": 100_000},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "preset": {},
    "zoo": {"n_steps": 32, "n_epochs": 20, "gamma": 0.98, "gae_lambda": 0.8, **FALLING},
}
ALONE = {"one after the other, 1 thread": 1, "one after the other, 2 threads": 2}
STACKED = "stacked (a limit)"


def run_config(settings: str, steps: int, threads: int = 1) -> dict[str, Any]:
    """The run file of one side."""
    return {
        "agent": {
            "class": "gym_loop.agents.ppo:PPO",
            "parameters": {**SETTINGS[settings], "threads": threads},
        },
        "env": {"name": "CartPole-v1"},
        "loop": {
            "class": "gym_loop.loops.vector_loop:VectorLoop",
            "parameters": {"max_steps": steps},
        },
    }


def work(side: str, settings: str, steps: int, count: int) -> None:
    """Be the child process of one side."""
    if side == STACKED:
        p = {**PPO.get_default_parameters(), **SETTINGS[settings]}
        found: list[float | None] = [train_stacked(count, steps, p)]
    else:
        config = run_config(settings, steps, ALONE[side])
        found = [gym_loop.train(config, seed=seed).mean_return for seed in range(count)]
    print(np.mean([value for value in found if value is not None]))


def seconds_of(commands: list[list[str]], returns: list[float]) -> float:
    """Seconds until processes that start together have ended; each prints its mean return."""
    with tempfile.TemporaryDirectory(prefix="many-seeds-") as place:
        start = time.perf_counter()
        children = [
            subprocess.Popen(one, cwd=place, stdout=subprocess.PIPE, text=True) for one in commands
        ]
        outputs = [child.communicate()[0] for child in children]
        seconds = time.perf_counter() - start
    if any(child.returncode for child in children):
        raise SystemExit(f"{commands[0]} failed")
    returns.append(float(np.mean([float(text.split()[-1]) for text in outputs])))
    return seconds


def child(side: str, settings: str, steps: int, count: int) -> list[str]:
    """The command of a child process."""
    script = [sys.executable, str(Path(__file__).resolve()), "--side", side]
    return [*script, "--settings", settings, "--steps", str(steps), "--count", str(count)]


def seeds_command(settings: str, steps: int, place: str) -> list[str]:
    """``gym-loop train --seeds`` and what it printed, for a shell-less start."""
    path = Path(place) / f"{settings}.yaml"
    path.write_text(load_config(run_config(settings, steps)).to_yaml(), encoding="utf-8")
    options = ["-c", str(path), "--seeds", f"0..{SEEDS - 1}", "--json"]
    return [
        sys.executable,
        "-c",
        "import json, subprocess, sys; out = json.loads(subprocess.run("
        f"[sys.executable, '-m', 'gym_loop', 'train', *{options!r}],"
        " check=True, stdout=-1).stdout); print(out['return']['mean'])",
    ]


def compare(settings: str, steps: int, turns: int, place: str) -> str:
    """The table of one setting."""
    cores = len(os.sched_getaffinity(0))
    alone = [side for side, threads in ALONE.items() if threads <= cores]
    commands = {
        **{side: [child(side, settings, steps, SEEDS)] for side in alone},
        f"a process a seed, --seeds 0..{SEEDS - 1}": [seeds_command(settings, steps, place)],
        f"{STACKED}, 1 core": [child(STACKED, settings, steps, SEEDS)],
    }
    if cores > 1:
        part = child(STACKED, settings, steps, SEEDS // cores)
        commands[f"{STACKED}, {cores} cores"] = [part] * cores
    returns: dict[str, list[float]] = {side: [] for side in commands}

    def measuring(side: str) -> Callable[[], float]:
        return lambda: seconds_of(commands[side], returns[side])

    results = take_turns({side: measuring(side) for side in commands}, turns, warmups=0)
    base = min(results[side].median for side in alone)
    rows = []
    for side, result in results.items():
        ratio = base / result.median
        shown = verdict(ratio, at_least=WANTED) if side.startswith("gym-loop") else f"{ratio:.2f}"
        mean = f"{np.mean(returns[side]):.0f}"
        rows.append([side, f"{result.median:.1f}", result.spread, mean, shown])
    return table([f"{settings}, {SEEDS} seeds", "s", "spread", "return(100)", "throughput"], rows)


def arithmetic(settings: str, steps: int) -> None:
    """What no stacking can leave out of one run's updates."""
    limit_threads(1)
    p = {**PPO.get_default_parameters(), **SETTINGS[settings]}
    rng = np.random.default_rng(0)
    network = MLP((4,), (2, 1), rng=rng)
    optimizer = Adam(network.parameters)
    batch = rng.standard_normal((p["batch_size"], 4)).astype(np.float32)
    updates = steps // p["batch_size"] * p["n_epochs"]
    for _ in range(updates):
        outputs = network.forward(batch)
        network.backward(outputs)
        optimizer.step(network.parameters, network.gradients, 0.0)


def one_core(settings: str, steps: int, turns: int) -> str:
    """CPU seconds a seed: a run, the bare arithmetic of its updates, and stacked; medians."""
    p = {**PPO.get_default_parameters(), **SETTINGS[settings]}
    sides: dict[str, tuple[int, Callable[[], Any]]] = {
        "a run": (1, lambda: gym_loop.train(run_config(settings, steps), seed=0)),
        "bare arithmetic (a limit)": (1, lambda: arithmetic(settings, steps)),
        f"{STACKED}, 4 seeds": (4, lambda: train_stacked(4, steps, p)),
        f"{STACKED}, 8 seeds": (8, lambda: train_stacked(8, steps, p)),
    }

    def measuring(count: int, train: Callable[[], Any]) -> Callable[[], float]:
        def cpu_seconds() -> float:
            start = time.process_time()
            train()
            return (time.process_time() - start) / count

        return cpu_seconds

    results = take_turns({side: measuring(*what) for side, what in sides.items()}, turns)
    run = results["a run"].median
    rows = [
        [side, f"{one.median:.2f}", one.spread, f"{run / one.median:.2f}"]
        for side, one in results.items()
    ]
    return table([f"{settings}, one core", "CPU s a seed", "spread", "throughput"], rows)


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps, one turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", choices=["processes", "core"], help="one of the two tables")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--settings", choices=list(SETTINGS))
    parser.add_argument("--steps", type=int, default=100_000, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=SEEDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        work(options.side, options.settings, options.steps, options.count)
        return
    steps, turns = (20_480, 1) if options.quick else (options.steps, options.turns)
    with tempfile.TemporaryDirectory(prefix="many-seeds-") as place:
        os.chdir(place)
        for settings in [options.settings] if options.settings else SETTINGS:
            if options.only != "core":
                print(compare(settings, steps, turns, place), flush=True)
            if options.only != "processes":
                print(one_core(settings, steps, turns), flush=True)
        os.chdir("/")
    cores = len(os.sched_getaffinity(0))
    print(f"separate processes: at most {cores} times, for there are {cores} cores")
    print(surroundings("gym-loop", "gymnasium", "numpy"))


if __name__ == "__main__":
    main()
