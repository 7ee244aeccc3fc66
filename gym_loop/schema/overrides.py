"""The values of ``--set``: ``dotted.key=value``, the value in YAML syntax."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gym_loop.errors import ConfigError
from gym_loop.schema.yaml_file import read_yaml


def read_overrides(overrides: Iterable[str] | Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Read ``dotted.key=value`` texts, the values in YAML syntax; a mapping is taken as it is.

    Raises:
        ConfigError: there is no ``=`` in a text, or its value is not valid YAML.
    """
    if isinstance(overrides, Mapping):
        return list(overrides.items())
    pairs = []
    for text in overrides:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")):
            raise ConfigError(f"--set {text}: write --set dotted.key=value")
        try:
            pairs.append((key, read_yaml(value).data))
        except ConfigError as error:
            shown = text if len(text) <= 80 else f"{text[:77]}..."
            raise ConfigError(f"--set {shown}: {error.findings[0].problem}") from None
    return pairs
