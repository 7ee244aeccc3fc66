"""Q-values from duelling streams and from distributions of returns, and their gradients."""

from typing import Any

import numpy as np
import pytest
import torch

from gym_loop.agents.distributional import CategoricalReturn, QuantileReturn
from gym_loop.agents.dqn import ExpectedReturn, join_streams, split_gradient

ATOMS = np.linspace(-1.0, 1.0, 5)
KINDS = [ExpectedReturn(), CategoricalReturn(ATOMS), QuantileReturn(4)]
B, A = 6, 3


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("dueling", [False, True])
def test_streams_and_their_gradient_are_those_of_autograd(size: int, dueling: bool) -> None:
    rng = np.random.default_rng(0)
    shapes = [(B, size), (B, A * size)] if dueling else [(B, A * size)]
    given = [torch.tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]
    last = given[-1].reshape(B, A, size)
    expected = last
    if dueling:
        expected = given[0][:, None] + last - last.mean(1, keepdim=True)
    by = rng.standard_normal((B, A, size))
    expected.backward(torch.tensor(by))
    for convert in (np.asarray, torch.tensor):
        outputs = [convert(one.detach().numpy()) for one in given]
        np.testing.assert_allclose(join_streams(outputs, A, size), expected.detach(), atol=1e-12)
        found = split_gradient(convert(by), len(shapes))
        for one, tensor in zip(found, given, strict=True):
            np.testing.assert_allclose(one, tensor.grad, atol=1e-12)


@pytest.mark.parametrize("returns", KINDS, ids=lambda one: type(one).__name__)
def test_gradients_of_losses_are_slopes(returns: Any) -> None:
    rng = np.random.default_rng(1)
    following, predicted = rng.standard_normal((2, B, returns.size))
    rewards, discounts, weights = rng.random((3, B))
    targets = returns.targets(following, rewards, discounts)
    loss = returns.loss(predicted, targets, weights)
    assert loss.errors.shape == (B,)
    slopes = np.empty_like(predicted)
    for index in np.ndindex(*predicted.shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = predicted.copy()
            moved[index] += step
            ends.append(returns.loss(moved, targets, weights).value)
        slopes[index] = (ends[0] - ends[1]) / 2e-6
    np.testing.assert_allclose(loss.gradient, slopes, atol=1e-7)


@pytest.mark.parametrize("returns", KINDS, ids=lambda one: type(one).__name__)
def test_means_follow_rewards_and_discounts(returns: Any) -> None:
    rng = np.random.default_rng(2)
    following = 0.1 * rng.standard_normal((B, returns.size))
    rewards, discounts = 0.1 * rng.random(B), rng.random(B) * 0.5
    targets = returns.targets(following, rewards, discounts)
    if isinstance(returns, CategoricalReturn):
        found = targets @ ATOMS  # probabilities; nothing falls off the ends
    else:
        found = targets.reshape(B, -1).mean(1)
    expected = rewards + discounts * returns.means(following[:, None])[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("returns", KINDS, ids=lambda one: type(one).__name__)
def test_float32_stays_float32(returns: Any) -> None:
    if isinstance(returns, CategoricalReturn):
        returns = CategoricalReturn(ATOMS.astype(np.float32))
    following = np.ones((B, returns.size), np.float32)
    targets = returns.targets(following, following[:, 0], following[:, 0])
    loss = returns.loss(following, targets, following[:, 0])
    assert targets.dtype == loss.gradient.dtype == np.float32
