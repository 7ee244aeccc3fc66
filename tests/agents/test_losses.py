"""Losses and their gradients, compared with automatic differentiation and with values by hand."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from gym_loop.agents.distributional import (
    CategoricalReturn,
    Loss,
    project_atoms,
    quantile_huber_loss,
)
from gym_loop.agents.dqn import huber_loss
from gym_loop.agents.ppo import clipped_policy_loss, policy_change, value_loss
from gym_loop.nn.arrays import scatter, select

B = 40
RNG = np.random.default_rng(0)


def check(
    ours: Callable[..., Any],
    theirs: Callable[[torch.Tensor], torch.Tensor],
    outputs: np.ndarray,
    *batch: Any,
) -> Any:
    """Compare value and gradient with autograd, for NumPy's arrays and for tensors."""
    leaf = torch.tensor(outputs, requires_grad=True)
    wanted = theirs(leaf)
    wanted.backward()
    found = ours(outputs, *batch)
    tensors = [torch.tensor(one) if isinstance(one, np.ndarray) else one for one in batch]
    for loss in (found, ours(torch.tensor(outputs), *tensors)):
        assert float(loss.value) == pytest.approx(wanted.item(), abs=1e-6)
        np.testing.assert_allclose(loss.gradient, leaf.grad.numpy(), atol=1e-6, rtol=1e-6)
    assert np.abs(found.gradient).max() > 1e-4
    return found


def test_clipped_policy_loss() -> None:
    logs, old = RNG.standard_normal(B) * 0.3, RNG.standard_normal(B) * 0.3
    advantages = RNG.standard_normal(B)

    def theirs(leaf: torch.Tensor) -> torch.Tensor:
        ratio, weight = (leaf - torch.tensor(old)).exp(), torch.tensor(advantages)
        return -torch.min(ratio * weight, ratio.clamp(0.8, 1.2) * weight).mean()

    found = check(
        lambda *them: Loss(*clipped_policy_loss(*them)), theirs, logs, old, advantages, 0.2
    )
    ratios = found.errors
    np.testing.assert_allclose(ratios, np.exp(logs - old))
    outside = (np.abs(ratios - 1) > 0.2).mean()
    assert 0 < outside < 1
    exact = (ratios - 1 - np.log(ratios)).mean()
    assert policy_change(ratios, 0.2) == (pytest.approx(exact), pytest.approx(outside))
    assert exact > 0


def test_a_ratio_at_the_limit_is_not_outside() -> None:
    assert policy_change(np.array([0.5, 1.0, 1.5, 1.75]), 0.5)[1] == 0.25


@pytest.mark.parametrize("limit", [None, 0.3])
def test_value_loss(limit: float | None) -> None:
    values, returns, old = (RNG.standard_normal(B) for _ in range(3))

    def theirs(leaf: torch.Tensor) -> torch.Tensor:
        plain = (leaf - torch.tensor(returns)) ** 2
        if limit is None:
            return plain.mean()
        moved = torch.tensor(old) + (leaf - torch.tensor(old)).clamp(-limit, limit)
        return torch.max(plain, (moved - torch.tensor(returns)) ** 2).mean()

    def ours(*arguments: Any) -> Loss:
        losses, gradient = value_loss(*arguments)
        return Loss(losses, gradient, losses)

    check(ours, theirs, values, returns, old, limit)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("huber", [1.0, 0.7])
def test_huber_loss(weighted: bool, huber: float) -> None:
    values, targets = 2 * RNG.standard_normal(B), RNG.standard_normal(B)
    weights = RNG.random(B) if weighted else None

    def theirs(leaf: torch.Tensor) -> torch.Tensor:
        goal = torch.tensor(targets)
        each = functional.huber_loss(leaf, goal, reduction="none", delta=huber)
        return (each if weights is None else each * torch.tensor(weights)).mean()

    found = check(huber_loss, theirs, values, targets, weights, huber)
    np.testing.assert_allclose(found.errors, np.abs(values - targets))


@pytest.mark.parametrize("loss", [huber_loss, quantile_huber_loss])
def test_losses_are_linear_from_an_error_of_1_on(loss: Callable[..., Any]) -> None:
    one, five = np.array([[1.0]]), np.array([[5.0]])
    np.testing.assert_allclose(loss(five, 0 * five).gradient, loss(one, 0 * one).gradient)
    assert loss(five, 0 * five).value == pytest.approx(9 * loss(one, 0 * one).value)


@pytest.mark.parametrize("weighted", [False, True])
def test_categorical_loss(weighted: bool) -> None:
    logits = RNG.standard_normal((B, 11))
    targets = RNG.dirichlet(np.ones(11), B) * RNG.random((B, 1))  # no need to sum to 1
    weights = RNG.random(B) if weighted else None

    def theirs(leaf: torch.Tensor) -> torch.Tensor:
        each = functional.cross_entropy(leaf, torch.tensor(targets), reduction="none")
        return (each if weights is None else each * torch.tensor(weights)).mean()

    found = check(CategoricalReturn(np.zeros(11)).loss, theirs, logits, targets, weights)
    assert found.errors.shape == (B,)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("huber", [1.0, 0.5])
def test_quantile_huber_loss(weighted: bool, huber: float) -> None:
    quantiles, targets = RNG.standard_normal((B, 5)), 2 * RNG.standard_normal((B, 8))
    weights = RNG.random(B) if weighted else None

    def theirs(leaf: torch.Tensor) -> torch.Tensor:
        errors = torch.tensor(targets)[:, None, :] - leaf[:, :, None]
        middles = (torch.arange(5, dtype=torch.float64) + 0.5) / 5
        size = functional.huber_loss(
            errors, torch.zeros_like(errors), reduction="none", delta=huber
        )
        tilt = (middles[:, None] - (errors.detach() < 0).double()).abs()
        each = (tilt * size / huber).sum(1).mean(1)
        return (each if weights is None else each * torch.tensor(weights)).mean()

    found = check(quantile_huber_loss, theirs, quantiles, targets, weights, huber)
    sizes = np.abs(targets[:, None, :] - quantiles[:, :, None]).mean(axis=(1, 2))
    np.testing.assert_allclose(found.errors, sizes)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_quantiles_of_single_precision_are_not_widened(library: str) -> None:
    arrays = RNG.standard_normal((2, B, 5)).astype(np.float32)
    quantiles, targets = arrays if library == "numpy" else torch.tensor(arrays)
    found = quantile_huber_loss(quantiles, targets)
    assert {found.gradient.dtype, found.value.dtype, found.errors.dtype} == {quantiles.dtype}


@pytest.mark.parametrize(("reward", "atom"), [(9.0, 4), (3.0, 4), (-2.0, 0), (-9.0, 0)])
@pytest.mark.parametrize("convert", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_returns_outside_the_atoms_count_for_the_nearest(
    reward: float, atom: int, convert: Callable[..., Any]
) -> None:
    atoms, probs = np.linspace(-2.0, 3.0, 5), np.full((2, 5), 0.2)
    arrays = probs, np.full(2, reward), np.zeros(2), atoms
    found = project_atoms(*map(convert, arrays))
    np.testing.assert_allclose(found, np.eye(5)[[atom, atom]])


def test_atoms_are_projected_one_by_one() -> None:
    atoms = np.linspace(-2.0, 3.0, 11)
    probs = RNG.dirichlet(np.ones(11), B)
    rewards, discounts = 2 * RNG.standard_normal(B), RNG.choice([0.0, 0.9], B)
    wanted = np.zeros((B, 11))
    for row in range(B):
        for prob, atom in zip(probs[row], atoms, strict=True):
            moved = min(3.0, max(-2.0, rewards[row] + discounts[row] * atom))
            place = (moved + 2.0) / 0.5
            low, high = math.floor(place), math.ceil(place)
            if low == high:
                wanted[row, low] += prob
            else:
                wanted[row, low] += prob * (high - place)
                wanted[row, high] += prob * (place - low)
    arguments = (probs, rewards, discounts, atoms)
    found = project_atoms(*arguments)
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    np.testing.assert_allclose(found.sum(1), 1.0)
    as_tensors = project_atoms(*map(torch.tensor, arguments))
    np.testing.assert_allclose(as_tensors.numpy(), wanted, atol=1e-9)
    assert project_atoms(*(one.astype(np.float32) for one in arguments)).dtype == np.float32


@pytest.mark.parametrize("shape", [(B, 3), (B, 3, 4)], ids=str)
def test_select_and_scatter_are_each_others_gradient(shape: tuple[int, ...]) -> None:
    outputs, actions = RNG.standard_normal(shape), RNG.integers(0, 3, B)
    leaf = torch.tensor(outputs, requires_grad=True)
    chosen = leaf[torch.arange(B), torch.tensor(actions)]
    np.testing.assert_array_equal(select(outputs, actions), chosen.detach().numpy())
    by_chosen = RNG.standard_normal(chosen.shape)
    chosen.backward(torch.tensor(by_chosen))
    np.testing.assert_array_equal(scatter(by_chosen, actions, 3), leaf.grad.numpy())
    found = scatter(torch.tensor(by_chosen), torch.tensor(actions), 3)
    np.testing.assert_array_equal(found.numpy(), leaf.grad.numpy())
    picked = select(leaf.detach(), torch.tensor(actions))
    np.testing.assert_array_equal(picked.numpy(), chosen.detach().numpy())
