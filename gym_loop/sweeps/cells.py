"""A cell: the run config with one choice of values, named by what is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gym_loop.config.run_file import RunConfig, load_config
from gym_loop.schema.yaml_file import canonical

NAME_LENGTH = 10


@dataclass(frozen=True)
class Cell:
    """One choice of values, and the config that it gives.

    Args:
        values: by dotted path.
        config: with these values; its seed counts for nothing.
        name: hash of the config's content.
    """

    values: Mapping[str, Any]
    config: RunConfig
    name: str


def make_cell(config: RunConfig, values: Mapping[str, Any], where: str) -> Cell:
    """Put values into a config.

    Args:
        config: what the run file says.
        values: by dotted path.
        where: what messages name as their source.

    Raises:
        ConfigError: the values do not go together.
    """
    changed = load_config(config, values, options=dict.fromkeys(values, where))
    return Cell(values, changed, content_hash(changed))


def content_hash(config: RunConfig) -> str:
    """A name for everything that the config says but the seed."""
    content = {key: value for key, value in config.as_dict().items() if key != "seed"}
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:NAME_LENGTH]
