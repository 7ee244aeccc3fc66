"""The percentile bootstrap: how far a statistic could have come out otherwise (Efron, 1979)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# From one array [R, n] a stratum, R resamples of its n values, to R values of the statistic.
Statistic = Callable[[Sequence[Floats]], npt.NDArray[Any]]

RESAMPLES = 10_000
_VALUES_AT_ONCE = 2_000_000  # bounds the memory of one batch


def bootstrap_interval(
    strata: Sequence[npt.ArrayLike],
    statistic: Statistic,
    *,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> tuple[Floats, Floats]:
    """The interval of a statistic, each stratum being resampled by itself.

    The resampling uses a fixed seed: the same values always give the same interval.

    Args:
        strata: values that belong together, such as the scores in one environment; none is empty.
        statistic: gives for ``R`` resamples ``[R, n]`` of each stratum ``R`` values, or ``[R, K]``.
        resamples: how many.
        confidence: share of the resamples that the interval holds.

    Returns:
        Its lower and its upper end, each of shape ``[]``, or ``[K]``.
    """
    arrays = [np.asarray(one, np.float64) for one in strata]
    rng = np.random.default_rng(0)
    rows = max(1, _VALUES_AT_ONCE // max(1, sum(map(len, arrays))))
    found = []
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        found.append(
            statistic([one[rng.integers(0, len(one), (count, len(one)))] for one in arrays])
        )
    tail = 50 * (1 - confidence)
    low, high = np.percentile(np.concatenate(found), [tail, 100 - tail], axis=0)
    return low, high
