"""Learning from pictures on a GPU: PPO and DQN with the Nature-CNN, beside stable-baselines3.

The environment shows stacks of four 84 x 84 pictures and costs nothing else. Eight copies; PPO
with 128 steps, batch 256, 4 epochs; DQN with batch 32, 16 updates every 64 steps. "steps/s" is
the whole training, "updates/s" the learning alone: sampling, transfers, gradients, optimiser. Both
are taken after a quarter of the training. Each training has a process of its own; sides take
turns, medians are compared.

Where there is no GPU, the script says so and ends.

    python benchmarks/gpu.py [--quick] [--only ppo|dqn] [--device cuda|cpu] [--turns N]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from _measure import surroundings, table

SIDES = {"gym-loop": "ours", "stable-baselines3": "sb3"}
ENVS = 8
PPO = {"n_steps": 128, "batch_size": 256, "n_epochs": 4}
DQN = {"batch_size": 32, "buffer_size": 5_000, "train_freq": 64 // ENVS, "gradient_steps": 16}
LEARNING_STARTS = 500
# Rollouts of PPO, thousands of steps of DQN; a CPU takes a minute for the smaller number.
LENGTH = {"cuda": 40, "cpu": 4}


def ours(algorithm: str, device: str, length: int) -> tuple[float, float]:
    """Steps and updates a second of gym-loop."""
    import _pixel_agents

    import gym_loop

    parameters: dict[str, Any] = {
        "network": "gym_loop.nn.torch_network:NatureCNN",
        "device": device,
        "threads": None,
        "learning_rate": 2.5e-4,
    }
    if algorithm == "ppo":
        parameters |= {**PPO, "clip_range": 0.1, "ent_coef": 0.01}
    else:
        parameters |= {**DQN, "double": False, "learning_starts": LEARNING_STARTS}
    config = {
        "seed": 0,
        "agent": {
            "class": f"_pixel_agents:Paced{algorithm.upper()}",
            "parameters": parameters,
        },
        "env": {"name": "Pixels-v0", "imports": ["_pixels"]},
        "loop": {
            "class": "gym_loop.loops.vector_loop:VectorLoop",
            "parameters": {
                "n_envs": ENVS,
                "max_steps": _steps(algorithm, length),
                "episodes_per_checkpoint": None,
            },
        },
    }
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        gym_loop.train(config)
        os.chdir(before)
    return _pixel_agents.pace.rates()


def sb3(algorithm: str, device: str, length: int) -> tuple[float, float]:
    """Steps and updates a second of stable-baselines3."""
    import stable_baselines3
    from _pixels import Pace
    from stable_baselines3.common.env_util import make_vec_env

    pace = Pace()
    base: Any = getattr(stable_baselines3, algorithm.upper())

    class Paced(base):  # type: ignore[misc]
        updates = 0

        def train(self, *arguments: Any, **keywords: Any) -> None:
            began = time.perf_counter()
            super().train(*arguments, **keywords)
            if algorithm == "ppo":
                self.updates += PPO["n_epochs"] * PPO["n_steps"] * ENVS // PPO["batch_size"]
            else:
                self.updates = self._n_updates
            pace.note(began, self.num_timesteps, self.updates)

    keywords: dict[str, Any] = {"learning_rate": 2.5e-4}
    if algorithm == "ppo":
        keywords |= {
            "n_steps": PPO["n_steps"],
            "batch_size": PPO["batch_size"],
            "n_epochs": PPO["n_epochs"],
            "clip_range": 0.1,
            "ent_coef": 0.01,
        }
    else:
        keywords |= {
            "batch_size": DQN["batch_size"],
            "buffer_size": DQN["buffer_size"],
            "train_freq": DQN["train_freq"],
            "gradient_steps": DQN["gradient_steps"],
            "learning_starts": LEARNING_STARTS,
        }
    env = make_vec_env("Pixels-v0", ENVS, seed=0)
    Paced("CnnPolicy", env, device=device, seed=0, **keywords).learn(_steps(algorithm, length))
    return pace.rates()


def _steps(algorithm: str, length: int) -> int:
    return length * (PPO["n_steps"] * ENVS if algorithm == "ppo" else 1_000)


def train(side: str, algorithm: str, device: str, length: int) -> dict[str, Any]:
    """One training in a process of its own."""
    command = [sys.executable, __file__, "--side", SIDES[side], "--only", algorithm]
    command += ["--device", device, "--length", str(length)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    if ended.returncode:
        return {"problem": (ended.stderr.splitlines() or ["?"])[-1]}
    answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    print(f"{side}, {algorithm}, {device}: {answer}", file=sys.stderr, flush=True)
    return answer


def compare(algorithm: str, device: str, turns: int, length: int) -> list[list[str]]:
    """The lines of the table for one algorithm on one device."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(turns):
        for side, answers in found.items():
            answers.append(train(side, algorithm, device, length))
    medians: dict[str, list[float]] = {}
    rows = []
    for side, answers in found.items():
        names = [algorithm.upper(), device, side]
        if problem := next((one["problem"] for one in answers if "problem" in one), ""):
            rows.append([*names, problem, "-", "-", "-"])
            continue
        medians[side] = [statistics.median(one[k] for one in answers) for k in ("steps", "updates")]
        ratios = [
            f"{mine / theirs:.2f}"
            for mine, theirs in zip(medians.get("gym-loop", []), medians[side], strict=False)
        ] or ["-", "-"]
        values = [f"{value:,.0f}" for value in medians[side]]
        rows.append([*names, *values, *(["-", "-"] if side == "gym-loop" else ratios)])
    return rows


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one turn, short trainings")
    parser.add_argument("--only", choices=["ppo", "dqn"], help="one algorithm")
    parser.add_argument("--device", choices=["cuda", "cpu"], help="one device, GPU or not")
    parser.add_argument("--turns", type=int, default=3, help="trainings of each side (3)")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--length", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    import torch

    if options.side:
        steps, updates = globals()[options.side](options.only, options.device, options.length)
        print(f"\n{json.dumps({'steps': steps, 'updates': updates})}")
        return
    if options.device != "cpu" and not torch.cuda.is_available():
        print("torch finds no GPU here: nothing is measured (--device cpu measures the CPU alone)")
        return
    rows = []
    for algorithm in [options.only] if options.only else ["ppo", "dqn"]:
        for device in [options.device] if options.device else ["cuda", "cpu"]:
            length = 2 if options.quick else LENGTH[device]
            rows += compare(algorithm, device, 1 if options.quick else options.turns, length)
    header = ["algorithm", "device", "library", "steps/s", "updates/s"]
    print(table([*header, "steps: ours is faster", "updates: ours is faster"], rows))
    if torch.cuda.is_available():
        print(torch.cuda.get_device_name())
    print(surroundings("gym-loop", "gymnasium", "numpy", "torch", "stable-baselines3"))


if __name__ == "__main__":
    main()
