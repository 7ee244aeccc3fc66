"""Running means and deviations: observations and rewards of about unit size."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
EPSILON = 1e-8


class RunningMoments:
    """Mean and variance of everything seen, merged batch by batch.

    Source: Chan, Golub and LeVeque (1979), Updating formulae and a pairwise algorithm for
    computing sample variances.

    Args:
        shape: of one sample.
    """

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        self.mean = np.zeros(shape)
        self.variance = np.ones(shape)
        self.count = 0

    def update(self, batch: Array) -> None:
        """Take in samples ``[B, *shape]``."""
        added = len(batch)
        mean = batch.mean(axis=0, dtype=np.float64)
        variance = batch.var(axis=0, dtype=np.float64)
        if not self.count:
            self.mean[...], self.variance[...], self.count = mean, variance, added
            return
        total = self.count + added
        shift = mean - self.mean
        self.mean += shift * (added / total)
        self.variance *= self.count / total
        self.variance += variance * (added / total)
        self.variance += shift * shift * (self.count * added / (total * total))
        self.count = total


class ObservationNormalizer:
    """Observations minus their running mean, over their running deviation, clipped.

    Args:
        shape: of one observation.
        clip: largest absolute value that comes out.
    """

    def __init__(self, shape: tuple[int, ...], clip: float = 10.0) -> None:
        self.moments = RunningMoments(shape)
        self.clip = clip

    def update(self, observations: Array) -> None:
        """Take in observations ``[N, *shape]``."""
        self.moments.update(observations)

    def __call__(self, observations: Array) -> Array:
        """Normalise ``[..., *shape]``; float32."""
        scaled = observations - self.moments.mean
        scaled /= np.sqrt(self.moments.variance + EPSILON)
        return np.clip(scaled, -self.clip, self.clip).astype(np.float32)


class RewardNormalizer:
    """Rewards over the running deviation of the discounted return; their sign stays.

    Args:
        n_envs: number of environments N.
        gamma: discount of the return.
        clip: largest absolute value that comes out.
    """

    def __init__(self, n_envs: int, gamma: float, clip: float = 10.0) -> None:
        self.moments = RunningMoments()
        self.returns = np.zeros(n_envs)
        self.gamma, self.clip = gamma, clip

    def update(self, rewards: Array, dones: Array, taken: Array) -> None:
        """Take in steps, ``[T, N]`` each.

        Args:
            rewards: 0 where there was no step.
            dones: ends of episodes.
            taken: where there was a step.
        """
        totals = np.empty(rewards.shape)
        for step, (reward, done) in enumerate(zip(rewards, dones, strict=True)):
            self.returns *= self.gamma
            self.returns += reward
            totals[step] = self.returns
            self.returns[done] = 0.0
        self.moments.update(totals[taken])

    def __call__(self, rewards: Array) -> Array:
        """Scale rewards; float32."""
        size = np.sqrt(self.moments.variance + EPSILON)
        return np.clip(rewards / size, -self.clip, self.clip).astype(np.float32)
