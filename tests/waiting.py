"""Waiting for what happens in another thread or process."""

import time
from collections.abc import Callable
from typing import Any


def wait_for(
    condition: Callable[[], Any], complaint: str = "nothing happened", seconds: float = 60.0
) -> None:
    """Wait until something holds; after so many seconds, fail."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, complaint
        time.sleep(0.01)
