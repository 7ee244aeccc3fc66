"""Bootstrap intervals agree with theory and are reproducible."""

from collections.abc import Sequence

import numpy as np
import pytest

from gym_loop.runs.bootstrap import Floats, bootstrap_interval


def mean(strata: Sequence[Floats]) -> Floats:
    return np.mean([one.mean(1) for one in strata], axis=0)


def test_it_agrees_with_theory() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 400)
    low, high = bootstrap_interval([values], mean)
    half = 1.96 * values.std() / np.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)


def test_it_is_reproducible_in_batches_too() -> None:
    values = np.arange(500.0)
    assert bootstrap_interval([values], mean) == bootstrap_interval([values], mean)
    few = [bootstrap_interval([values], mean, resamples=4_001) for _ in range(2)]
    assert few[0] == few[1]


def test_each_stratum_is_resampled_by_itself() -> None:
    low, high = bootstrap_interval([[1.0, 1.0, 1.0], [5.0, 5.0]], mean)
    assert low == high == 3.0


def test_several_values_at_once_and_another_confidence() -> None:
    def both(strata: Sequence[Floats]) -> Floats:
        return np.stack([strata[0].mean(1), strata[0].max(1)], axis=1)

    values = np.arange(9.0)
    low, high = bootstrap_interval([values], both)
    narrow, _ = bootstrap_interval([values], both, confidence=0.5)
    assert low.shape == high.shape == (2,)
    assert high[1] == 8.0
    assert narrow[0] > low[0]
