"""What a training would log, for the tests of the loggers."""

from typing import Any

from gym_loop.runs.metrics import Metrics

HYPERPARAMETERS: dict[str, bool | int | float | str] = {
    "seed": 3,
    "agent.class": "gym_loop.agents.ppo:PPO",
    "agent.parameters.learning_rate": 3e-4,
    "loop.parameters.record": True,
}


def scalars_at(step: int) -> dict[str, float]:
    """Metrics whose columns keep appearing."""
    scalars = {"train/episode_return": step * 0.1, "train/episode_length": step}
    if step % 7 == 0:
        scalars["eval/return_mean"] = step / 3
    if step > 25:
        scalars[f"agent/loss{step // 20}"] = 1 / step
    return scalars


def train(metrics: Metrics, first: int, last: int) -> None:
    """Log these steps, the last one left out."""
    for step in range(first, last):
        metrics.log(step, scalars_at(step), step * 0.037)


def kill(logger: Any) -> None:
    """What the operating system does with the file of a killed process."""
    logger._file.close()
