"""What the HTTP server can be told beside what every server can."""

from __future__ import annotations

from dataclasses import dataclass

from gym_loop.bridges.settings import ServerSettings


@dataclass(frozen=True, kw_only=True)
class HttpSettings(ServerSettings):
    """The options of ``gym-loop serve http``.

    Args:
        monitor_root: directory below which clients may have their episodes recorded; what
            they name relatively begins there.
        any_monitor_directory: let clients record into every directory that this user may write.
        allow_shutdown: let a client end the server with ``POST /v1/shutdown/``.
    """

    monitor_root: str = "monitor"
    any_monitor_directory: bool = False
    allow_shutdown: bool = False

    def problems(self) -> dict[str, str]:
        """What is wrong with the values, by option."""
        found = super().problems()
        if not self.monitor_root:
            found["monitor_root"] = "must be a directory; the default is 'monitor'"
        return found
