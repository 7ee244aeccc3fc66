"""Whether a checkpoint fits a loop with its agent and environment, and what belongs to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gym_loop.envs.spaces import space_difference
from gym_loop.envs.state.layers import classes_of
from gym_loop.errors import CheckpointMismatchError

if TYPE_CHECKING:
    from gym_loop.checkpoints.store import Checkpoint


def check_fits(checkpoint: Checkpoint, loop: Any, environment: Mapping[str, Any]) -> None:
    """Compare what a checkpoint says it was made with.

    Args:
        checkpoint: what is to be loaded.
        loop: with its agent.
        environment: what checkpoints note of the loop's environment.

    Raises:
        CheckpointMismatchError: the agent's or the loop's class, or a space, differs.
    """
    info = checkpoint.info
    classes = {"agent": type(loop.agent).__qualname__, "loop": type(loop).__qualname__}
    differing = [
        f"{key} was {info[key]}, is {name}"
        for key, name in classes.items()
        if info.get(key, name) != name
    ]
    with checkpoint.loading():
        differing += [
            f"{key} {difference}"
            for key, now in environment.items()
            if key in info and (difference := space_difference(info[key], now))
        ]
    if differing:
        raise CheckpointMismatchError(
            f"{checkpoint.path} does not fit this run file: {'; '.join(differing)}"
        )


def spaces_of(loop: Any) -> list[Any]:
    """Spaces whose random streams belong to the run: the environment's and the agent's."""
    parameters = getattr(loop.agent, "parameters", {})
    spaces = [
        loop.env.action_space,
        loop.env.observation_space,
        parameters.get("action_space"),
        parameters.get("observation_space"),
    ]
    return [space for space in spaces if space is not None]


def near(loop: Any) -> list[type]:
    """Whose modules may define what a loop's observations are made of."""
    return [type(loop), type(loop.agent), *classes_of(loop.env)]
