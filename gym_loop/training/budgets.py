"""How long a training lasts: a budget that somebody sets beside a default that nobody did."""

from __future__ import annotations

from collections.abc import Callable, Collection

from gym_loop.config.run_file import RunConfig, load_config
from gym_loop.errors import ConfigError

BUDGETS = ("max_episodes", "max_steps")
PREFIX = "loop.parameters."


def lift_default_budget(
    config: RunConfig, asked: Collection[str], say: Callable[[str], None]
) -> RunConfig:
    """Lift the default of one budget where the other one was set beside the file.

    Else ``--set loop.parameters.max_steps=20000`` would end after DefaultLoop's 5 episodes. A file
    that has the default written out has it no less: ``create-default`` writes all of them.

    Args:
        config: with everything that was set.
        asked: the keys that are set now; those that a resume repeats ask for nothing new.
        say: told in one line what was lifted.
    """
    parameters, defaults = config.loop.parameters, config.loop.cls.get_default_parameters()
    for name, other in (BUDGETS, BUDGETS[::-1]):
        value, limit = parameters.get(name), parameters.get(other)
        is_default = limit is not None and limit == defaults.get(other)
        if PREFIX + name not in asked or PREFIX + other in config.overridden:
            continue
        if value is None or not is_default:
            continue
        try:
            lifted = load_config(config, {PREFIX + other: None})
        except ConfigError:  # a loop of the user's that needs the two
            continue
        say(
            f"{name} is set, so the default {other} {limit:,} is lifted; to keep it, set it too:"
            f" --set {PREFIX}{other}={limit}"
        )
        return lifted
    return config
