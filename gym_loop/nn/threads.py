"""How many threads a matrix product may use, and which instructions it does use."""

from __future__ import annotations

import sys

from gym_loop.checkpoints.late_imports import when_imported


def limit_threads(threads: int | None) -> None:
    """Limit the threads of NumPy's BLAS, and of torch when it is imported, in this process.

    Products of small networks get slower by sharing the work, and far slower beside a busy
    neighbour: one thread a run, and several runs side by side, is the fast way.

    Args:
        threads: the limit; None leaves everything as it is.
    """
    if threads is None:
        return
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=threads, user_api="blas")
    when_imported("torch", lambda: sys.modules["torch"].set_num_threads(threads))


def kernels_in_use() -> str | None:
    """What computes NumPy's matrix products, "openblas 0.3.31 SkylakeX" say; None if unknown."""
    from threadpoolctl import ThreadpoolController

    for pool in ThreadpoolController().select(user_api="blas").info():
        if "numpy" in pool["filepath"]:
            found = (pool["internal_api"], pool["version"], pool.get("architecture"))
            return " ".join(str(part) for part in found if part)
    return None
