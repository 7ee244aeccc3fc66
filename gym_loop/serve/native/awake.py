"""What keeps the event loop awake between two requests of a quick client.

A process that sleeps takes longer to be woken than many an environment's step takes, above all
in a virtual machine, and runs with cold caches then.
"""

from __future__ import annotations

import asyncio
import os
import time

_MOMENT = 2e-4  # seconds: a client that asks again within it is waited for awake


class Awake:
    """Polls for the next request as long as clients ask again at once; else it does nothing."""

    def __init__(self) -> None:
        self._answered = 0.0  # when the last request was
        self._quick = False
        self._polling = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def asked(self) -> None:
        """A request has come."""
        self._quick = time.perf_counter() - self._answered < _MOMENT

    def answered(self) -> None:
        """Its reply is on the way, or a thread is at work on it."""
        self._answered = time.perf_counter()
        if self._quick and not self._polling:
            self._polling = True
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._poll)

    def _poll(self) -> None:
        if time.perf_counter() - self._answered < _MOMENT:
            os.sched_yield()  # if the client shares this core, it has to have it
            assert self._loop is not None
            self._loop.call_soon(self._poll)
        else:
            self._polling = False
