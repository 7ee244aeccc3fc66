"""What the HTTP server can be told beside what every server can."""

from __future__ import annotations

from dataclasses import dataclass

from gym_loop.serve.settings import ServerSettings

MOST_FPS = 60


@dataclass(frozen=True, kw_only=True)
class HttpSettings(ServerSettings):
    """The options of ``gym-loop serve http``.

    Args:
        monitor_root: directory below which clients may have their episodes recorded; what
            they name relatively begins there.
        any_monitor_directory: let clients record into every directory that this user may write.
        page_fps: pictures a second that the page at ``/`` shows of an environment while somebody
            looks on; 0 shows none.
        allow_shutdown: let a client end the server with ``POST /v1/shutdown/``.
    """

    monitor_root: str = "monitor"
    any_monitor_directory: bool = False
    page_fps: float = 10.0
    allow_shutdown: bool = False

    def problems(self) -> dict[str, str]:
        """What is wrong with the values, by option."""
        found = super().problems()
        if not self.monitor_root:
            found["monitor_root"] = "must be a directory; the default is 'monitor'"
        if not 0 <= self.page_fps <= MOST_FPS:
            found["page_fps"] = f"{self.page_fps} must be between 0 (no pictures) and {MOST_FPS}"
        return found
