"""Parameters of the agent that a resume changes: they take effect, or the resume is refused.

A checkpoint holds the agent's attributes, and loading it would put back those that ``__init__``
made from a parameter, as ``self.gamma = self.parameters["gamma"]``. Agents are made with the old
values and with the new ones, to see which attributes these are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gym_loop.checkpoints.seeding import (
    capture_global_streams,
    restore_global_streams,
    seed_global_streams,
)
from gym_loop.checkpoints.tree import capture, first_difference
from gym_loop.errors import ConfigError
from gym_loop.training.building import Experiment
from gym_loop.training.resume import own_config

if TYPE_CHECKING:
    from gym_loop.checkpoints.store import Checkpoint
    from gym_loop.runs.directory import RunDirectory

Tree = Any

# Where a random stream stands is no effect of a parameter that anybody means.
_STREAMS = {"__generator__", "__random__", "__random_state__", "__space__", "__torch_generator__"}


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
    attributes = dict(saved.get("__tree__", saved))
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
        if "__tree__" in saved and attribute in attributes and not first_difference(was, kept):
            attributes[attribute] = {"__live__": "by the new value"}  # what is there now stays
            if not _refers_to(attributes, attribute):
                continue
        lost.append(attribute)
    if lost:
        raise ConfigError(
            f"{', '.join(f'agent.parameters.{name}' for name in names)}: a new value would have no"
            f" effect on {', '.join(f'agent.{one}' for one in lost)}, which the checkpoint holds as"
            " the former one and training have made it; leave it out, or start a new run"
        )
    return {"__tree__": attributes} if "__tree__" in saved else saved


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
    states = [capture(agent.state_dict()) for agent in agents]
    one, other, now = (state.get("__tree__", state) for state in states)
    unsteady = {name for name in one if first_difference(one[name], other.get(name))}
    return one, now, unsteady


def _is_stream(tree: Tree) -> bool:
    return type(tree) is dict and next(iter(tree), "") in _STREAMS


def _refers_to(tree: Tree, attribute: str) -> bool:
    """Whether something in a tree is the same object as one in an attribute, or looks into it."""
    if type(tree) is list:
        return any(_refers_to(item, attribute) for item in tree)
    if type(tree) is not dict:
        return False
    way = tree.get("__same__") or tree.get("__view__")
    return (type(way) is list and way[:1] == [attribute]) or any(
        _refers_to(item, attribute) for item in tree.values()
    )
