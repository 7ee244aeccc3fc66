"""The parameters that all loops of gym-loop have."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator

from gym_loop.schema.parameters import (
    Field,
    NonNegativeInt,
    Parameters,
    PositiveFloat,
    PositiveInt,
)


def _named(directory: str) -> str:
    if not directory:
        raise ValueError("is empty; name a directory")
    return directory


Directory = Annotated[str, AfterValidator(_named)]


class LoopParameters(Parameters):
    """Budgets, directories, and how often things are due."""

    checkpoint_dir: Directory | None = Field(
        "./checkpoints",
        description="Parent directory of the runs' checkpoints; null for no checkpoints at all: "
        "the run can then be neither resumed nor evaluated.",
    )
    episodes_per_checkpoint: PositiveInt | None = Field(
        10,
        description="Save a checkpoint every so many episodes; null for none. One is always saved "
        "at the end. Those that would take more than 2 % of the training's time are put off.",
    )
    episodes_per_eval: PositiveInt | None = Field(
        None,
        description="Evaluate every so many episodes on an environment of its own and keep the "
        "best checkpoint; null for never.",
    )
    eval_episodes: PositiveInt = Field(10, description="Episodes of one evaluation.")
    eval_logdir: Directory = Field(
        "./eval_logs", description="Parent directory of the evaluations' results."
    )
    eval_record: bool | NonNegativeInt = Field(
        False,
        description="Record videos of evaluation: true for episodes 0, 1, 8, 27, ... 1000, 2000, "
        "..., a number N for every N-th episode.",
    )
    eval_record_dir: Directory = Field(
        "./eval_records", description="Parent directory of the videos of evaluation."
    )
    eval_render: bool = Field(False, description="Show evaluation in a window.")
    keep_checkpoints: PositiveInt = Field(
        3, description="Keep this many checkpoints, the newest ones; the best is kept besides."
    )
    logdir: Directory = Field(
        "./logs", description="Parent directory of logs: TensorBoard events, metrics.csv, manifest."
    )
    loggers: list[Any] = Field(
        [], description="Further loggers, each a class string or a mapping of class and parameters."
    )
    max_episode_len: PositiveInt | None = Field(
        5000,
        description="Cut (truncate) an episode after so many steps; null for the environment's own "
        "limit.",
    )
    max_episodes: PositiveInt | None = Field(
        5, description="Train for so many episodes; null for no limit."
    )
    max_steps: PositiveInt | None = Field(
        None,
        description="Train for so many environment steps; null for no limit. Training ends with "
        "whichever limit comes first.",
    )
    profile: bool = Field(
        False,
        description="Measure where the time goes (environment, act, observe, update, logging, "
        "evaluation, checkpoints) and log it as time/... metrics.",
    )
    random_episodes: NonNegativeInt = Field(
        0,
        description="Begin with so many episodes of random actions, which the agent observes "
        "without an update; they count in max_episodes.",
    )
    record: bool | NonNegativeInt = Field(
        False,
        description="Record videos of training: true for episodes 0, 1, 8, 27, ... 1000, 2000, "
        "..., a number N for every N-th episode.",
    )
    record_dir: Directory = Field(
        "./episode_records", description="Parent directory of the videos of training."
    )
    render: bool = Field(False, description="Show training in a window.")
    steps_per_checkpoint: PositiveInt | None = Field(
        None,
        description="Save a checkpoint every so many steps as well, in the middle of episodes too; "
        "null for episodes alone.",
    )
    time_per_checkpoint: PositiveFloat | None = Field(
        None,
        description="Save a checkpoint every so many seconds as well; null for episodes alone.",
    )
