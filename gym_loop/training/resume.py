"""Which run of a file is meant, and whether the file still describes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gym_loop.checkpoints.store import Checkpoint, CheckpointStore, read_checkpoint
from gym_loop.config.contract import learns_nothing
from gym_loop.config.run_file import RunConfig, flatten, load_config, value_at
from gym_loop.errors import CheckpointMissingError, ConfigError, Finding, RunError, UsageError
from gym_loop.runs.directory import RUN_FILE, RunDirectory, directories, run_ids
from gym_loop.runs.origin import is_from
from gym_loop.schema.files import expanded
from gym_loop.schema.yaml_file import canonical, from_json, read_yaml_file
from gym_loop.training.budgets import lift_default_budget

# Where files go, and what is shown, may differ without changing what a run computes.
_FREE = (
    "episodes_per_checkpoint",
    "eval_record",
    "eval_render",
    "keep_checkpoints",
    "loggers",
    "profile",
    "record",
    "render",
    "steps_per_checkpoint",
    "time_per_checkpoint",
)


def find_run(config: RunConfig, run_id: str | None) -> RunDirectory:
    """The run of this id, or the newest one of the config's file.

    Raises:
        RunError: there is none.
    """
    parents = directories(config.loop.parameters)
    if run_id is not None:
        return RunDirectory.open(run_id, parents)
    newest = _newest(config, parents["logdir"])
    if newest is None:
        others = run_ids(parents["logdir"])
        hint = f", or name one of those there, such as {others[-1]}" if others else ""
        raise RunError(
            f"there is no run of {config.path or 'this config'} in {parents['logdir']};"
            f" train one first{hint}"
        )
    return RunDirectory.open(newest, parents)


def _newest(config: RunConfig, logdir: Path) -> str | None:
    path = config.path.resolve() if config.path else None
    if path is not None and path.name == RUN_FILE and path.parent.parent == logdir.resolve():
        return path.parent.name  # the run's own resolved file
    for run_id in reversed(run_ids(logdir)):
        run = RunDirectory(run_id, {"logdir": logdir})
        if is_from(run.manifest(), path, run.logs):
            return run_id
    return None


def resumed_config(
    config: RunConfig, directory: RunDirectory, say: Callable[[str], None] = lambda text: None
) -> tuple[RunConfig, list[str]]:
    """The config to continue a run with, and the keys that are meant to differ from the run's.

    Args:
        config: the file's, with what is set beside it now.
        directory: of the run.
        say: told what follows from what is set.

    Raises:
        ConfigError: it differs in keys that ``--set`` does not name; the message shows them.
    """
    before = _resolved(directory, config)
    asked = config.overridden
    config = lift_default_budget(_with_recorded_overrides(config, directory), asked, say)
    if config.seed is None:
        config = config.with_seed(before["seed"])
    now = flatten(config.portable().as_dict(), lists=True)
    changed = [key for key in sorted({*before, *now}) if not _same(before, now, key)]
    differing = [
        f"{key}: the run has {before.get(key)!r}, this file {now.get(key)!r}"
        for key in changed
        if not _is_free(key) and not _is_meant(key, config.overridden)
    ]
    if differing:
        raise ConfigError(
            f"this file no longer describes {directory.run_id}:\n  "
            + "\n  ".join(differing)
            + "\nchange it back, name each key that is meant to change with --set,"
            " or start a new run"
        )
    return config, changed


def _same(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> bool:
    """Whether two configs mean the same by a key, by what a run file can say."""
    return canonical(one.get(key)) == canonical(other.get(key))


def _is_meant(key: str, overridden: Sequence[str]) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in overridden)


def _with_recorded_overrides(config: RunConfig, directory: RunDirectory) -> RunConfig:
    """Repeat what was set beside the file when the run was started, unless it is set anew."""
    recorded = directory.manifest().get("overrides") or {}
    missing = {
        key: from_json(value) for key, value in recorded.items() if key not in config.overridden
    }
    return load_config(config, missing) if missing else config


def _is_free(key: str) -> bool:
    section, _, name = key.rpartition(".")
    return section == "loop.parameters" and (name in _FREE or name.endswith("dir"))


def _resolved(directory: RunDirectory, config: RunConfig) -> dict[str, Any]:
    """The flat values of the run's own resolved file."""
    path = directory.logs / RUN_FILE
    if not path.is_file():
        raise RunError(
            f"{path} is missing: without it {directory.run_id} cannot be continued; copy it from"
            " where the run was trained, or start a new run"
        )
    return flatten(own_config(directory, config).as_dict(), lists=True)


def own_config(directory: RunDirectory, like: RunConfig) -> RunConfig:
    """What the run's own resolved file says, with the code that another config has in use.

    Raises:
        ConfigError: it cannot be used.
    """
    path = directory.logs / RUN_FILE
    empty = path.is_file() and path.stat().st_size == 0
    config = None if empty else load_config(path, code=like.copies or False)
    if config is None or config.seed is None:  # the seed is in the last line
        problem = "is cut off; copy it once more from where the run was trained"
        raise ConfigError([Finding("", problem, str(path))])
    return config


def trained_config(
    config: RunConfig,
    run_id: str | None,
    checkpoint: str | Path,
    warn: Callable[[str], None],
    *,
    untrained: bool = False,
) -> tuple[RunConfig, RunDirectory | None, Checkpoint | None]:
    """What an evaluation loads: the config with the agent that was trained, its run, its state.

    The agent's section is the run's own, because its checkpoint fits no other; the rest is
    the file's. Without any checkpoint the agent is the file's as it is made, if it learns nothing
    anyway, or if that is what was asked for.

    Raises:
        RunError: the run or the checkpoint is not there, or it kept none.
        UsageError: the untrained agent of a run, or of a checkpoint, was asked for.
    """
    is_path = str(checkpoint) not in ("latest", "best")
    asked = run_id is not None or str(checkpoint) != "latest"
    if untrained:
        if asked:
            raise UsageError("--untrained is no run's agent: leave --run and --checkpoint out")
        return config, None, None
    try:
        directory = None if is_path and run_id is None else find_run(config, run_id)
        found = (
            read_checkpoint(expanded(checkpoint))
            if is_path
            else _store(directory, warn).find(str(checkpoint))
        )
    except (RunError, CheckpointMissingError) as error:
        if asked:
            raise
        if not learns_nothing(config.agent.cls):
            hint = "to evaluate the agent as it is made, say --untrained"
            raise type(error)(f"{error}; {hint}") from None
        warn(f"evaluating the untrained agent, which learns nothing: {error}")
        return config, None, None
    if directory is None:
        directory = _run_of(config, found)
    if directory is not None:
        config = config_of_run(config, directory, warn)
    return config, directory, found


def config_of_run(
    config: RunConfig, directory: RunDirectory, warn: Callable[[str], None]
) -> RunConfig:
    """The file's config with the agent of a run that was trained from it, and its overrides."""
    config = _with_recorded_overrides(config, directory)
    return _with_trained_agent(config, directory, warn)


def _store(directory: RunDirectory | None, warn: Callable[[str], None]) -> CheckpointStore:
    assert directory is not None
    refuse_without_checkpoints(directory)
    return CheckpointStore(directory.path("checkpoint_dir"), warn=warn)


def refuse_without_checkpoints(directory: RunDirectory) -> None:
    """Say why there is nothing to load from a run that was to keep no checkpoints.

    Raises:
        CheckpointMissingError: the run file says so, or the run's own resolved file.
    """
    key = "loop.parameters.checkpoint_dir"
    try:
        kept = value_at(read_yaml_file(directory.logs / RUN_FILE).data, key)
    except (ConfigError, LookupError, TypeError):  # none that can be read, or another loop's
        kept = ""
    if kept is None or "checkpoint_dir" not in directory.parents:
        raise CheckpointMissingError(
            f"{directory.run_id} has no checkpoints, for {key} is null: what it learns is not kept;"
            " name a directory there, and train a new run"
        )


def _run_of(config: RunConfig, checkpoint: Checkpoint) -> RunDirectory | None:
    """The run that a checkpoint given by its path belongs to, where it is still there."""
    run_id = checkpoint.info.get("run")
    try:
        return find_run(config, run_id) if isinstance(run_id, str) and run_id else None
    except RunError:
        return None


def _with_trained_agent(
    config: RunConfig, directory: RunDirectory, warn: Callable[[str], None]
) -> RunConfig:
    try:
        trained = own_config(directory, config)
    except ConfigError as error:
        warn(f"{directory.run_id}: its own run file cannot be used ({error}); using {config.path}")
        return config
    seed = config.seed if config.seed is not None else trained.seed
    now, then = flatten(config.portable().as_dict()), flatten(trained.as_dict())
    differing = [key for key in then if key.startswith("agent.") and not _same(now, then, key)]
    if differing:
        warn(
            f"{', '.join(differing)}: {directory.run_id} was trained with other values; using those"
        )
    return replace(config, agent=trained.agent, seed=seed)
