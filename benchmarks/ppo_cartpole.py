"""PPO on CartPole-v1 beside other libraries: how fast, how well, how soon.

Hyperparameters of rl-baselines3-zoo on all sides: 8 environments, 32 steps, batch 256, 20 epochs,
gamma 0.98, lambda 0.8, learning rate and clip range falling linearly from 0.001 and 0.2; 64 x 64
tanh networks; 100,000 steps. Every training has a process of its own, one thread and two are
tried, and the better one counts. Sides take turns; medians are compared.

1. Steps per second, end to end: from making the environments to the end of the training, with
   compilation (SBX) and, on our side alone, with a run directory, TensorBoard, CSV and
   checkpoints. Beside it the final policy: 20 episodes without exploration, each seed.
   Wanted: 6 times stable-baselines3, 5 times SBX, and 500 of 500 on 10 seeds of 10.
2. Seconds to the threshold: the first 20-episode mean of 475, evaluated every 2,560 steps with
   the clock stopped. Wanted: at most a sixth of stable-baselines3's.
3. A cold start: `gym-loop train` of the preset ppo/CartPole-v1, from process start to its end,
   solved and saved, against a script that imports stable-baselines3, trains with the settings of
   that preset and saves. Wanted: under 6 s.

    pip install -r benchmarks/requirements-peers.txt    # in an environment of its own
    python benchmarks/ppo_cartpole.py [--quick] [--only speed|threshold|cold] [--turns N]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _comparison import Comparison, parser_of
from _measure import surroundings, table, verdict
from _training import CARTPOLE, EPISODES, EVALUATION_SEED, run_side

STEPS = 100_000
SIDES = {
    "gym-loop": "ppo_ours",
    "stable-baselines3": "ppo_sb3",
    "SBX": "ppo_sbx",
    "Tianshou": "ppo_tianshou",
}
WANTED = {"stable-baselines3": 6.0, "SBX": 5.0}
WATCHED = ["gym-loop", "stable-baselines3", "SBX"]
SOONER = {"stable-baselines3": 6.0}
PRESET = "ppo/CartPole-v1"
SECONDS = 6.0


def cold(turns: int) -> str:
    """The third comparison, as a table."""
    results: dict[str, list[tuple[float, float]]] = {"gym-loop train": [], "stable-baselines3": []}
    for seed in range(turns):
        results["gym-loop train"].append(_cold_ours(seed))
        results["stable-baselines3"].append(_cold_sb3(seed))
    medians = {
        name: statistics.median(seconds for seconds, _ in found) for name, found in results.items()
    }
    rows = []
    for name, found in results.items():
        ratio, ours = medians[name] / medians["gym-loop train"], name == "gym-loop train"
        rows.append(
            [
                name,
                f"{medians[name]:.2f}",
                f"{max(seconds for seconds, _ in found):.2f}",
                f"{sum(mean >= CARTPOLE.solved for _, mean in found)} of {len(found)}",
                verdict(medians[name], at_most=SECONDS) if ours else f"{ratio:.1f}",
            ]
        )
    return table(["what", "s, median", "slowest", "solved", "of ours"], rows)


def _cold_ours(seed: int) -> tuple[float, float]:
    """Seconds of the whole process; the mean return of what it saved."""
    import gym_loop

    command = str(Path(sys.executable).parent / "gym-loop")
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        _run([command, "create-default", "--preset", PRESET, "-c", "run.yaml"])
        start = time.perf_counter()
        _run([command, "train", "-c", "run.yaml", "--set", f"seed={seed}"])
        seconds = time.perf_counter() - start
        mean = gym_loop.evaluate("run.yaml", episodes=EPISODES, seed=EVALUATION_SEED).returns.mean
        os.chdir(before)
    return seconds, mean


def _cold_sb3(seed: int) -> tuple[float, float]:
    """Seconds until the model is saved; the mean return of its policy."""
    with tempfile.TemporaryDirectory() as directory:
        start = time.monotonic()
        output = _run(
            [sys.executable, str(Path(__file__).parent / "_cold_sb3.py"), directory, str(seed)]
        )
    saved, mean = map(float, output.splitlines()[-1].split())
    return saved - start, mean


def _run(command: list[str]) -> str:
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)}: {ended.stderr}")
    return ended.stdout


def main() -> None:
    """Read the options, measure, print."""
    options = parser_of(__doc__, ["speed", "threshold", "cold"]).parse_args()
    if options.side:
        run_side(options)
        return
    turns = 1 if options.quick else options.turns
    comparison = Comparison(
        __file__, SIDES, 20_480 if options.quick else STEPS, 2_560, options.try_threads
    )
    if options.only in (None, "speed"):
        print(f"PPO, CartPole-v1, {comparison.steps:,} steps: speed, and the final policies")
        print(comparison.speed(turns, WANTED), flush=True)
    if options.only in (None, "threshold"):
        print("PPO, CartPole-v1: seconds to the first 20-episode mean of 475")
        print(comparison.threshold(WATCHED, turns, SOONER), flush=True)
    if options.only in (None, "cold"):
        print(f"{PRESET}: seconds from process start to solved and saved")
        print(cold(turns), flush=True)
    packages = ["gym-loop", "gymnasium", "numpy", "stable-baselines3", "sbx-rl", "jax"]
    print(surroundings(*packages, "tianshou", "torch"))


if __name__ == "__main__":
    main()
