"""Ctrl-C, SIGTERM and SIGHUP: the first asks a run to finish its step, the next ends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)  # a closed terminal; not on every system
STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM, HANGUP}


@contextmanager
def stop_signals(request_stop: Callable[[int], None]) -> Iterator[None]:
    """Call ``request_stop(signum)`` at the first signal; the usual handlers act on the next.

    A signal that is ignored stays so: ``nohup``, and a shell for its background jobs, ignore some
    on purpose. Outside the main thread, where Python sets no handlers, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {signum: signal.getsignal(signum) for signum in STOP_SIGNALS}
    # None is a handler that was not set from Python, and that Python cannot put back.
    before = {k: v for k, v in handlers.items() if v not in (signal.SIG_IGN, None)}
    hung_up = False

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal hung_up
        hung_up = signum == HANGUP
        restore()
        if HANGUP in before:
            # The shell and the kernel each send one: the second is no order to end at once.
            signal.signal(HANGUP, signal.SIG_IGN)
        request_stop(signum)

    def restore() -> None:
        for signum, handler in before.items():
            signal.signal(signum, handler)

    for signum in before:
        signal.signal(signum, handle)
    try:
        yield
    finally:
        restore()
        if hung_up:  # what is written after this must not be cut off either
            signal.signal(HANGUP, signal.SIG_IGN)
