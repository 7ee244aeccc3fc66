"""What the WebSocket server can be told beside what every server can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gym_loop.serve.native.settings import NativeSettings


@dataclass(frozen=True, kw_only=True)
class WebSocketSettings(NativeSettings):
    """The options of ``gym-loop serve websocket``.

    Args:
        process_step: class string of ``process_step(step)``, which makes the four values that a
            client gets (observation, reward, done, info) out of the environment's five.
        compression: offer permessage-deflate; it saves bytes of large observations and costs
            time.
        max_connections: clients at once.
        ping_interval: seconds of silence after which a client is pinged, which keeps proxies
            from closing the connection; null never pings.
    """

    process_step: str | Callable[..., Any] | None = None
    compression: bool = False
    max_connections: int = 1000
    ping_interval: float | None = 20.0

    def problems(self) -> dict[str, str]:
        """What is wrong with the values, by option."""
        found = super().problems()
        if self.max_connections < 1:
            found["max_connections"] = f"{self.max_connections} is too small; use at least 1"
        if self.ping_interval is not None and not self.ping_interval > 0:
            found["ping_interval"] = f"{self.ping_interval} must be greater than 0, or null"
        return found
