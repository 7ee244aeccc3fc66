"""Ctrl-C and SIGTERM: the first asks the run to finish its step, the second ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_signals(request_stop: Callable[[int], None]) -> Iterator[None]:
    """Call ``request_stop(signum)`` at the first signal; the usual handlers act on the next.

    Outside the main thread, where Python sets no handlers, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.getsignal(signum) for signum in STOP_SIGNALS}

    def handle(signum: int, frame: FrameType | None) -> None:
        restore()
        request_stop(signum)

    def restore() -> None:
        for signum, handler in before.items():
            signal.signal(signum, handler)

    for signum in STOP_SIGNALS:
        signal.signal(signum, handle)
    try:
        yield
    finally:
        restore()
