"""What frees the event loop from an environment that was fast, and then never returned."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

_SIGNAL = signal.SIGALRM  # it ends sleeping and waiting system calls, too
_LOOKS = 4  # in the time of the limit


class Stuck(Exception):  # noqa: N818 - named by what the environment is
    """Raised within an environment that holds up the event loop."""


class Watchdog:
    """Raises `Stuck` in a call that takes too long.

    It can do so in the main thread alone, where a server's loop runs as a rule, and not while
    the call is within a library that keeps the interpreter: for such environments there is the
    option ``own_threads``.

    Args:
        limit: seconds that a call may take.
    """

    def __init__(self, limit: float) -> None:
        self.since: float | None = None  # when the call under way began, by `time.perf_counter`
        self._limit = limit
        self._end = threading.Event()
        self._before: Any = None
        self._thread: threading.Thread | None = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(_SIGNAL, self._interrupt)
            self._thread = threading.Thread(
                target=self._watch, name="gym-loop watchdog", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Watch no longer."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()  # its signal would end the process without the handler
            self._thread = None
            signal.signal(_SIGNAL, self._before or signal.SIG_DFL)

    def _watch(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        while not self._end.wait(self._limit / _LOOKS):
            if self._is_stuck():
                signal.pthread_kill(main, _SIGNAL)

    def _is_stuck(self) -> bool:
        since = self.since
        return since is not None and time.perf_counter() - since > self._limit

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        # Asked again, here in the loop's own thread: meanwhile the call may have returned.
        if self._is_stuck():
            raise Stuck(f"it did not return within {self._limit:g} s, and held up everyone")
