"""Which run of a file is meant, whether the file still describes it, and what a change comes to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gym_loop.checkpoints.seeding import (
    capture_global_streams,
    restore_global_streams,
    seed_global_streams,
)
from gym_loop.checkpoints.store import Checkpoint, CheckpointStore, read_checkpoint
from gym_loop.checkpoints.tree import capture, first_difference
from gym_loop.config.class_checks import learns_nothing
from gym_loop.config.run_file import RunConfig, flatten, load_config, value_at
from gym_loop.errors import CheckpointMissingError, ConfigError, Finding, RunError, UsageError
from gym_loop.runs.directory import RUN_FILE, RunDirectory, directories, run_ids
from gym_loop.runs.origin import runs_from
from gym_loop.schema.files import expanded
from gym_loop.schema.yaml_file import canonical, from_json, read_yaml_file
from gym_loop.training.building import Experiment
from gym_loop.wire.values import Node

LOOP = "loop.parameters."
_BUDGETS = ("max_episodes", "max_steps")
# Where files go, and what is shown, may differ without changing what a run computes.
_FREE = {
    *("episodes_per_checkpoint", "steps_per_checkpoint", "time_per_checkpoint"),
    *("eval_record", "eval_render", "record", "render"),
    *("keep_checkpoints", "loggers", "profile"),
}
# Where a random stream stands is no effect of a parameter that anybody means.
_STREAMS = {"generator", "random", "random_state", "space", "torch_generator"}
Warn = Callable[[str], None]
Tree = Any


# -- the run -----------------------------------------------------------------------------------


def find_run(config: RunConfig, run_id: str | None) -> RunDirectory:
    """The run of this id, or the newest one of the config's file.

    Raises:
        RunError: there is none.
    """
    parents = directories(config.loop.parameters)
    if run_id is not None:
        return RunDirectory.open(run_id, parents)
    logdir = parents["logdir"]
    path = config.path.resolve() if config.path else None
    if path is not None and path.name == RUN_FILE and path.parent.parent == logdir.resolve():
        return RunDirectory.open(path.parent.name, parents)  # the run's own resolved file
    if newest := next(runs_from(path, parents), None):
        return RunDirectory.open(newest.run_id, parents)
    others = run_ids(logdir)
    hint = f", or name one of those there, such as {others[-1]}" if others else ""
    raise RunError(
        f"there is no run of {config.path or 'this config'} in {logdir}; train one first{hint}"
    )


def refuse_without_checkpoints(directory: RunDirectory) -> None:
    """Say why there is nothing to load from a run that was to keep no checkpoints.

    Raises:
        CheckpointMissingError: the run file says so, or the run's own resolved file.
    """
    key = f"{LOOP}checkpoint_dir"
    try:
        kept = value_at(read_yaml_file(directory.logs / RUN_FILE).data, key)
    except (ConfigError, LookupError, TypeError):  # none that can be read, or another loop's
        kept = ""
    if kept is None or "checkpoint_dir" not in directory.parents:
        raise CheckpointMissingError(
            f"{directory.run_id} has no checkpoints, for {key} is null: what it learns is not kept;"
            " name a directory there, and train a new run"
        )


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


# -- to train on -------------------------------------------------------------------------------


def resumed_config(
    config: RunConfig, directory: RunDirectory, say: Warn = lambda text: None
) -> tuple[RunConfig, list[str]]:
    """The config to continue a run with, and the keys that are meant to differ from the run's.

    Args:
        config: the file's, with what is set beside it now.
        directory: of the run.
        say: told what follows from what is set.

    Raises:
        ConfigError: it differs in keys that ``--set`` does not name; the message shows them.
    """
    if not (path := directory.logs / RUN_FILE).is_file():
        raise RunError(
            f"{path} is missing: without it {directory.run_id} cannot be continued; copy it from"
            " where the run was trained, or start a new run"
        )
    before = flatten(own_config(directory, config).as_dict(), lists=True)
    asked = config.overridden
    config = lift_default_budget(_with_recorded_overrides(config, directory), asked, say)
    if config.seed is None:
        config = config.with_seed(before["seed"])
    now = flatten(config.portable().as_dict(), lists=True)
    changed = _differing(before, now)
    meant = [f"{one}." for one in config.overridden]
    differing = [
        f"{key}: the run has {before.get(key)!r}, this file {now.get(key)!r}"
        for key in changed
        if not _is_free(key) and not any(f"{key}.".startswith(one) for one in meant)
    ]
    if differing:
        raise ConfigError(
            f"this file no longer describes {directory.run_id}:\n  "
            + "\n  ".join(differing)
            + "\nchange it back, name each key that is meant to change with --set,"
            " or start a new run"
        )
    return config, changed


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Keys by which two configs do not mean the same, by what a run file can say."""
    keys = sorted({*before, *now})
    return [key for key in keys if canonical(before.get(key)) != canonical(now.get(key))]


def _is_free(key: str) -> bool:
    section, _, name = key.rpartition(".")
    return f"{section}." == LOOP and (name in _FREE or name.endswith("dir"))


def _with_recorded_overrides(config: RunConfig, directory: RunDirectory) -> RunConfig:
    """Repeat what was set beside the file when the run was started, unless it is set anew."""
    recorded = directory.manifest().get("overrides") or {}
    missing = {
        key: from_json(value) for key, value in recorded.items() if key not in config.overridden
    }
    return load_config(config, missing) if missing else config


def lift_default_budget(config: RunConfig, asked: Collection[str], say: Warn) -> RunConfig:
    """Lift the default of one budget where the other one was set beside the file.

    Else ``--set loop.parameters.max_steps=20000`` would end after DefaultLoop's 5 episodes. A file
    that has the default written out has it no less: ``create-default`` writes all of them.

    Args:
        config: with everything that was set.
        asked: the keys that are set now; those that a resume repeats ask for nothing new.
        say: told in one line what was lifted.
    """
    parameters, defaults = config.loop.parameters, config.loop.cls.get_default_parameters()
    for name, other in (_BUDGETS, _BUDGETS[::-1]):
        limit = parameters.get(other)
        is_default = limit is not None and limit == defaults.get(other)
        is_set = LOOP + name in asked and parameters.get(name) is not None
        if not is_set or not is_default or LOOP + other in config.overridden:
            continue
        try:
            lifted = load_config(config, {LOOP + other: None})
        except ConfigError:  # a loop of the user's that needs the two
            continue
        say(
            f"{name} is set, so the default {other} {limit:,} is lifted; to keep it, set it too:"
            f" --set {LOOP}{other}={limit}"
        )
        return lifted
    return config


# -- parameters of the agent that a resume changes ---------------------------------------------
#
# A checkpoint holds the agent's attributes, and loading it would put back those that ``__init__``
# made from a parameter, as ``self.gamma = self.parameters["gamma"]``. Agents are made with the old
# values and with the new ones, to see which attributes these are.


def with_new_parameters(
    experiment: Experiment, checkpoint: Checkpoint, run: RunDirectory, changed: Sequence[str]
) -> Checkpoint:
    """A checkpoint without the agent's attributes that are to come from new values instead.

    Args:
        experiment: with the new values.
        checkpoint: of the run that is resumed.
        run: whose own file has the values that it was trained with so far.
        changed: keys of the config that differ now.

    Raises:
        ConfigError: a change would have no effect, for the checkpoint holds what training made of
            the former value.
    """
    names = sorted({key.split(".")[2] for key in changed if key.startswith("agent.parameters.")})
    if not names:
        return checkpoint
    before = own_config(run, experiment.config).agent.parameters
    agent = _adapted(experiment, checkpoint.tree["agent"], before, names)
    return replace(checkpoint, tree={**checkpoint.tree, "agent": agent})


def _adapted(
    experiment: Experiment, saved: Tree, before: Mapping[str, Any], names: Sequence[str]
) -> Tree:
    attributes = dict(saved)
    is_default = isinstance(saved, Node)  # what BaseAgent.state_dict gives
    now = experiment.config.agent.parameters
    learnt = attributes.get("parameters") or {}
    for name in names:
        if name in learnt and first_difference(learnt[name], capture(now.get(name))):
            raise ConfigError(
                f"agent.parameters.{name}: training has changed it to {learnt[name]!r}, which the"
                " checkpoint holds, so that a new value would have no effect; leave it out, or"
                " start a new run"
            )
    first, now_first, unsteady = _attributes_made(experiment, before)
    lost = []
    for attribute in sorted({*first, *now_first} - unsteady):
        was, kept = first.get(attribute), attributes.get(attribute)
        if not first_difference(was, now_first.get(attribute)) or _is_stream(was):
            continue
        if is_default and attribute in attributes and not first_difference(was, kept):
            attributes[attribute] = Node("live", what="by the new value")  # what is there now stays
            if not _refers_to(attributes, attribute):
                continue
        lost.append(attribute)
    if lost:
        raise ConfigError(
            f"{', '.join(f'agent.parameters.{name}' for name in names)}: a new value would have no"
            f" effect on {', '.join(f'agent.{one}' for one in lost)}, which the checkpoint holds as"
            " the former one and training have made it; leave it out, or start a new run"
        )
    return Node("attributes", attributes) if is_default else saved


def _attributes_made(
    experiment: Experiment, before: Mapping[str, Any]
) -> tuple[dict[str, Tree], dict[str, Tree], set[str]]:
    """What agents have at first by the former values, by the new ones, and what no two share."""
    streams = capture_global_streams()
    agents = []
    for parameters in (before, before, experiment.config.agent.parameters):
        seed_global_streams(experiment.run.seeds)
        agents.append(experiment.make_agent(parameters))
    restore_global_streams(streams)
    one, other, now = (dict(capture(agent.state_dict())) for agent in agents)
    unsteady = {name for name in one if first_difference(one[name], other.get(name))}
    return one, now, unsteady


def _is_stream(tree: Tree) -> bool:
    return getattr(tree, "kind", "") in _STREAMS


def _refers_to(tree: Tree, attribute: str) -> bool:
    """Whether something in a tree is the same object as one in an attribute, or looks into it."""
    if isinstance(tree, (list, tuple)):
        return any(_refers_to(item, attribute) for item in tree)
    if not isinstance(tree, dict):
        return False
    way = {"same": tree.get("at"), "view": tree.get("of")}.get(getattr(tree, "kind", ""))
    if way is not None:
        return bool(way[:1] == [attribute])
    return any(_refers_to(item, attribute) for item in tree.values())


# -- to evaluate -------------------------------------------------------------------------------


def trained_config(
    config: RunConfig,
    run_id: str | None,
    checkpoint: str | Path,
    warn: Warn,
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
    directory: RunDirectory | None = None
    try:
        if not is_path or run_id is not None:
            directory = find_run(config, run_id)
        if is_path:
            found = read_checkpoint(expanded(checkpoint))
        else:
            assert directory is not None
            refuse_without_checkpoints(directory)
            store = CheckpointStore(directory.path("checkpoint_dir"), warn=warn)
            found = store.find(str(checkpoint))
    except (RunError, CheckpointMissingError) as error:
        if asked:
            raise
        if not learns_nothing(config.agent.cls):
            hint = "to evaluate the agent as it is made, say --untrained"
            raise type(error)(f"{error}; {hint}") from None
        warn(f"evaluating the untrained agent, which learns nothing: {error}")
        return config, None, None
    if directory is None and isinstance(name := found.info.get("run"), str) and name:
        try:  # the run that a checkpoint given by its path belongs to, where it is still there
            directory = find_run(config, name)
        except RunError:
            pass
    if directory is not None:
        config = config_of_run(config, directory, warn)
    return config, directory, found


def config_of_run(config: RunConfig, directory: RunDirectory, warn: Warn) -> RunConfig:
    """The file's config with the agent of a run that was trained from it, and its overrides."""
    config = _with_recorded_overrides(config, directory)
    try:
        trained = own_config(directory, config)
    except ConfigError as error:
        warn(f"{directory.run_id}: its own run file cannot be used ({error}); using {config.path}")
        return config
    seed = config.seed if config.seed is not None else trained.seed
    then, now = flatten(trained.as_dict()), flatten(config.portable().as_dict())
    agent = {key: value for key, value in then.items() if key.startswith("agent.")}
    if differing := _differing(agent, {key: now.get(key) for key in agent}):
        warn(
            f"{', '.join(differing)}: {directory.run_id} was trained with other values; using those"
        )
    return replace(config, agent=trained.agent, seed=seed)
