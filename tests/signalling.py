"""Processes that take signals as in a terminal, whatever the tests were started from."""

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# What each is set to in a Python that a terminal has started.
USUAL: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}


@contextmanager
def usual_signals() -> Iterator[None]:
    """Take signals as usual: `nohup`, and scripts for their background jobs, ignore some.

    What is ignored or blocked would be so in the processes that are begun here too.
    """
    before = {signum: signal.signal(signum, handler) for signum, handler in USUAL.items()}
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, USUAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for signum, handler in before.items():
            signal.signal(signum, handler)


def begin(command: Sequence[str], **options: Any) -> "subprocess.Popen[str]":
    """Begin a process that tests send signals to; it is told and tells text."""
    with usual_signals():
        return subprocess.Popen(command, text=True, **options)
