"""Latency percentiles from a histogram."""

import numpy as np
import pytest

from gym_loop.serve.statistics import Latency


def test_nothing_counted() -> None:
    latency = Latency()
    assert (latency.count, latency.percentile(99), latency.longest) == (0, 0.0, 0.0)


@pytest.mark.parametrize("percent", [1, 50, 90, 99, 99.9])
def test_percentiles_are_upper_bounds_near_the_truth(percent: float) -> None:
    durations = np.exp(np.random.default_rng(0).normal(-9, 2, 10_000))
    latency = Latency()
    for duration in durations:
        latency.add(float(duration))
    true = np.percentile(durations, percent)
    assert true * 0.99 <= latency.percentile(percent) <= true * 1.27


def test_extremes() -> None:
    latency = Latency()
    for duration in (0.0, 1e-9, 1e6):
        latency.add(duration)
    assert latency.count == 3
    assert latency.percentile(100) == latency.longest == 1e6
    assert latency.percentile(50) == 1e-6
