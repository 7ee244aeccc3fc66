"""What a server of the native protocol can be told beside what every server can."""

from __future__ import annotations

from dataclasses import dataclass

from gym_loop.bridges.settings import ServerSettings


@dataclass(frozen=True, kw_only=True)
class NativeSettings(ServerSettings):
    """The options that the native protocol adds.

    Args:
        allow_parameters: keyword arguments that native clients may give to environments, by name,
            or as ``ID:NAME`` with patterns such as ``LunarLander-*:gravity``.
        max_envs: environments that native clients may have at once, each copy in a vector
            environment counted.
    """

    allow_parameters: tuple[str, ...] = ()
    max_envs: int = 4096

    def problems(self) -> dict[str, str]:
        """What is wrong with the values, by option."""
        found = super().problems()
        if self.max_envs < 1:
            found["max_envs"] = f"{self.max_envs} is too small; use at least 1"
        return found
