"""What a checkpoint every 1,000 steps costs the training of real agents.

Each agent of the workbench is trained through the public interface, with and without
checkpoints in turn; the seconds are those that the run itself counts as training. Wanted:
at least 0.98 of the speed without.

    python benchmarks/checkpoint_training.py [--quick]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from _measure import surroundings, table, take_turns, verdict

import gym_loop
from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.config.run_file import load_config

ROOT = Path(__file__).parent.parent
AGENTS = {
    "agents/q_learning_taxi": 500_000,
    "agents/cross_entropy": 1_000_000,
    "agents/torch_reinforce": 40_000,
}
NEVER = 10**9


def training(
    name: str, steps: int, steps_per_checkpoint: int, taken: list[int]
) -> Callable[[], float]:
    config = load_config(ROOT / f"{name}.yaml").portable().as_dict()

    def seconds_per_step() -> float:
        with tempfile.TemporaryDirectory(prefix="checkpoint-training-") as place:
            directories = {
                key: f"{place}/{key}" for key in config["loop"]["parameters"] if key.endswith("dir")
            }
            config["loop"]["parameters"].update(
                {
                    **directories,
                    "episodes_per_checkpoint": None,
                    "max_episodes": None,
                    "max_steps": steps,
                    "steps_per_checkpoint": steps_per_checkpoint,
                }
            )
            saved = 0
            save = CheckpointStore.save

            def count_and_save(*arguments: Any, **options: Any) -> None:
                nonlocal saved
                saved += 1
                save(*arguments, **options)

            with mock.patch.object(CheckpointStore, "save", count_and_save):
                result = gym_loop.train({**config, "seed": 1})
            taken.append(saved)
            return result.seconds / result.steps

    return seconds_per_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="shorter trainings, fewer turns")
    quick = parser.parse_args().quick
    rows = []
    for name, steps in AGENTS.items():
        steps = steps // 5 if quick else steps
        written: list[int] = []
        sides = {
            "without": training(name, steps, NEVER, []),
            "with": training(name, steps, 1_000, written),
        }
        results = take_turns(sides, 3 if quick else 5)
        without, saving = (results[side].median for side in sides)
        rows.append(
            [
                name,
                f"{steps:,}",
                f"{1 / without:,.0f}",
                f"{1 / saving:,.0f}",
                verdict(without / saving, at_least=0.98),
                f"{sorted(written)[len(written) // 2]} of {steps // 1_000}",
                ", ".join(result.spread for result in results.values()),
            ]
        )
    header = ["agent", "steps", "steps/s without", "with", "ratio", "checkpoints", "spreads"]
    print(table(header, rows))
    print(surroundings("gym-loop", "numpy", "torch"))


if __name__ == "__main__":
    main()
