"""Memory of what is gone, given back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable


def memory_returner() -> Callable[[], None]:
    """A function that gives back what Python and the C library keep for later.

    It takes some milliseconds. What it needs is looked up now: made later, it would itself lie
    among what is to be given back.
    """
    # Python holds on to the names of attributes looked up lately, which keep whole arenas alive.
    names = ("_clear_internal_caches", "_clear_type_cache")
    forget = [getattr(sys, name) for name in names if hasattr(sys, name)][:1]
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # the GNU library's

    def give_back() -> None:
        for function in forget:
            function()
        gc.collect()
        if trim is not None:
            trim(0)

    return give_back
