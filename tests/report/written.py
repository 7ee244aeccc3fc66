"""Runs on disk, written in a moment."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gym_loop.schema.yaml_file import write_yaml

Row = Mapping[str, float]


def write_run(
    run: str,
    rows: Sequence[Row] = (),
    *,
    logdir: Path = Path("logs"),
    agent: str = "gym_loop.agents.ppo:PPO",
    env: str = "CartPole-v1",
    seed: int = 0,
    parameters: Mapping[str, Any] | None = None,
    **manifest: Any,
) -> Path:
    """Write manifest, resolved config and metrics of a run; rows hold step, seconds and metrics."""
    logs = logdir / run
    logs.mkdir(parents=True)
    facts = {
        "run": run,
        "agent": agent,
        "env": env,
        "seed": seed,
        "status": "finished",
        "started": f"2026-01-01T00:00:{len(list(logdir.iterdir())):02}+00:00",
        "steps": int(rows[-1]["step"]) if rows else 0,
        "seconds": 10.0,
        **manifest,
    }
    (logs / "manifest.json").write_text(json.dumps(facts))
    config = {
        "agent": {"class": agent, "parameters": dict(parameters or {})},
        "env": {"name": env},
        "loop": {
            "parameters": {
                "logdir": "./logs",
                "record_dir": "./videos",
                "eval_logdir": "./eval_logs",
                "max_steps": 1000,
            }
        },
        "seed": seed,
    }
    (logs / "run.yaml").write_text(write_yaml(config))
    if rows:
        write_metrics(logs / "metrics.csv", rows)
    return logs


def write_metrics(path: Path, rows: Sequence[Row]) -> None:
    names = list(dict.fromkeys(["step", "seconds", *(name for row in rows for name in row)]))
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_evaluation(run: str, number: int, step: int, mean: float) -> None:
    """What ``gym-loop evaluate`` leaves, for the agent of a checkpoint."""
    path = Path("eval_logs", run, f"evaluate-{number}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = f"checkpoints/{run}/step-{step:09}"
    content = {"checkpoint": checkpoint, "return": {"mean": mean}, "episodes": 20}
    path.write_text(json.dumps(content))


def returns(values: Sequence[float], every: int = 10, /, **others: float) -> list[Row]:
    """One row an episode of so many steps."""
    return [
        {
            "step": every * (number + 1),
            "seconds": 0.1 * (number + 1),
            "train/episode_return": value,
            **others,
        }
        for number, value in enumerate(values)
    ]


def rising(top: float, count: int = 100) -> list[Row]:
    """Returns that rise to a value, with an evaluation at the end."""
    rows = returns([top * (number + 1) / count for number in range(count)])
    return [*rows, {"step": 10 * count, "seconds": 0.1 * count, "eval/return_mean": top}]


def two_groups(**facts: Any) -> None:
    """Five seeds each of a lower and a higher learning rate: returns up to 10 and up to 20."""
    for name, rate, top in (("low", 1e-4, 10.0), ("high", 1e-3, 20.0)):
        for seed in range(5):
            rows = rising(top + 0.1 * seed)
            write_run(f"{name}-{seed + 1}", rows, seed=seed, parameters={"rate": rate}, **facts)
