"""Running moments of observations and returns."""

import numpy as np
import pytest

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.nn.normalization import ObservationNormalizer, RewardNormalizer, RunningMoments

RNG = np.random.default_rng(0)


def test_moments_of_batches_are_those_of_the_whole() -> None:
    samples = 3.0 + 2.0 * RNG.standard_normal((500, 4))
    moments = RunningMoments((4,))
    for part in np.split(samples, [1, 3, 50, 51, 400]):
        moments.update(part)
    np.testing.assert_allclose(moments.mean, samples.mean(0))
    np.testing.assert_allclose(moments.variance, samples.var(0))
    assert moments.count == 500


def test_observations_come_out_standard_and_clipped() -> None:
    normalizer = ObservationNormalizer((2,))
    samples = np.array([100.0, -3.0]) + np.array([5.0, 0.1]) * RNG.standard_normal((1000, 2))
    normalizer.update(samples)
    result = normalizer(samples)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(result.std(0), 1.0, rtol=1e-3)
    np.testing.assert_array_equal(normalizer(np.array([1e9, -1e9])), [10.0, -10.0])


def test_rewards_are_divided_by_the_deviation_of_the_discounted_return() -> None:
    rewards = RNG.standard_normal((50, 2)) * 7.0
    dones = RNG.random((50, 2)) < 0.1
    seen, running = [], np.zeros(2)
    held = np.ones((50, 2), bool)
    dones[4, 0], held[5, 0], rewards[5, 0] = True, False, 0.0
    for reward, done, there in zip(rewards, dones, held, strict=True):
        running = running * 0.9 + reward
        seen.extend(running[there])
        running[done] = 0.0
    normalizer = RewardNormalizer(2, 0.9)
    normalizer.update(rewards[:20], dones[:20], held[:20])
    normalizer.update(rewards[20:], dones[20:], held[20:])
    np.testing.assert_allclose(normalizer.returns, running)
    wanted = rewards / np.std(seen)
    np.testing.assert_allclose(normalizer(rewards), wanted, rtol=1e-5)
    assert normalizer(np.array([1e9])) == pytest.approx(10.0)


def test_continue_from_their_state() -> None:
    first, second = (ObservationNormalizer((2,)) for _ in range(2))
    first.update(RNG.standard_normal((10, 2)))
    second = restore(second, capture(first))
    batch = RNG.standard_normal((5, 2))
    for one in (first, second):
        one.update(batch)
    np.testing.assert_array_equal(first(batch), second(batch))
    assert second.moments.count == 15
