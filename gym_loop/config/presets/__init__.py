"""Tuned run files that come with gym-loop, named ``agent/environment``: ``ppo/CartPole-v1``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from itertools import takewhile

from gym_loop.config.run_file import RunConfig, load_config
from gym_loop.errors import UsageError
from gym_loop.schema.suggestions import did_you_mean
from gym_loop.schema.yaml_file import read_yaml

ENDING = ".yaml"


def list_presets() -> list[str]:
    """Name every preset, in order."""
    return sorted(
        f"{folder.name}/{file.name.removesuffix(ENDING)}"
        for folder in resources.files(__name__).iterdir()
        if folder.is_dir()
        for file in folder.iterdir()
        if file.name.endswith(ENDING)
    )


def preset_text(name: str) -> str:
    """Read a preset's file: where its values come from, and what differs from the defaults.

    Args:
        name: ``ppo/CartPole-v1``, say; see `list_presets`.

    Raises:
        UsageError: there is no such preset.
    """
    known = list_presets()
    if name not in known:
        raise UsageError(
            f"there is no preset {name}{did_you_mean(name, known)}"
            " (gym-loop create-default --list-presets shows all)"
        )
    file = resources.files(__name__).joinpath(f"{name}{ENDING}")
    return file.read_text(encoding="utf-8")


def preset_config(name: str) -> RunConfig:
    """Load a preset, to be trained or evaluated.

    Args:
        name: see `preset_text`.

    Raises:
        UsageError: there is no such preset.
        ConfigError: its environment cannot be found.
    """
    return load_config(read_yaml(preset_text(name), name).data)


def preset_run_file(name: str, others: Mapping[str, object] | None = None) -> str:
    """Write a preset with all defaults and a comment on each; its own first comment stays.

    Args:
        name: see `preset_text`.
        others: options that name a part of a run file; all must be None, for the preset does.

    Raises:
        UsageError: there is no such preset, or another option is given.
        ConfigError: its environment cannot be found.
    """
    if given := [option for option, value in (others or {}).items() if value is not None]:
        raise UsageError(
            f"--preset {name} names agent, loop and environment: leave out {' and '.join(given)}"
        )
    origin = takewhile(lambda line: line.startswith("#"), preset_text(name).splitlines())
    return "\n".join([*origin, "", preset_config(name).to_yaml(comments=True)])
