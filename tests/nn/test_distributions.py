"""Distributions of actions, compared with PyTorch's."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import distributions as peers

from gym_loop.nn.distributions import (
    Bernoulli,
    Categorical,
    DiagonalGaussian,
    Distribution,
    MultiCategorical,
)

B = 7
CASES: dict[str, Distribution] = {
    "categorical": Categorical(4),
    "multi": MultiCategorical((3, 2, 4)),
    "bernoulli": Bernoulli(5),
    "gaussian": DiagonalGaussian(3),
}


def peer_of(name: str, outputs: torch.Tensor, extra: torch.Tensor, actions: torch.Tensor) -> Any:
    """Log-probabilities and entropies by torch.distributions."""
    if name == "multi":
        parts = [peers.Categorical(logits=part) for part in outputs.split([3, 2, 4], 1)]
        logs = sum(part.log_prob(actions[:, index]) for index, part in enumerate(parts))
        return logs, sum(part.entropy() for part in parts)
    if name == "categorical":
        peer = peers.Categorical(logits=outputs)
        return peer.log_prob(actions), peer.entropy()
    if name == "bernoulli":
        peer = peers.Independent(peers.Bernoulli(logits=outputs), 1)
    else:
        peer = peers.Independent(peers.Normal(outputs, extra.exp()), 1)
    return peer.log_prob(actions.to(outputs.dtype)), peer.entropy()


def case(name: str) -> tuple[Distribution, np.ndarray, np.ndarray, np.ndarray]:
    one, rng = CASES[name], np.random.default_rng(3)
    outputs = 2.0 * rng.standard_normal((B, one.outputs))
    extra = 0.5 * rng.standard_normal(one.extra)
    return one, outputs, extra, one.sample(outputs, extra, rng)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("by_entropy", [0.0, -0.03])
def test_probabilities_entropies_and_gradients_are_those_of_autograd(
    name: str, by_entropy: float
) -> None:
    one, outputs, extra, actions = case(name)
    by_logs = np.random.default_rng(4).standard_normal(B)
    outputs_torch = torch.tensor(outputs, requires_grad=True)
    extra_torch = torch.tensor(extra, requires_grad=True)
    logs, entropies = peer_of(name, outputs_torch, extra_torch, torch.tensor(actions))
    (torch.tensor(by_logs) @ logs + by_entropy * entropies.sum()).backward()

    def compare(judged: Any, by_outputs: Any, by_extra: Any) -> None:
        close: dict[str, Any] = {"atol": 1e-6, "rtol": 1e-6}
        np.testing.assert_allclose(judged.log_probs, logs.detach().numpy(), **close)
        np.testing.assert_allclose(one.entropies(judged), entropies.detach().numpy(), **close)
        np.testing.assert_allclose(by_outputs, outputs_torch.grad.numpy(), **close)
        assert (by_extra is not None) == bool(one.extra)
        if by_extra is not None:
            np.testing.assert_allclose(by_extra, extra_torch.grad.numpy(), **close)

    judged = one.evaluate(outputs, extra, actions)
    compare(judged, *one.gradient(judged, by_logs, by_entropy))
    tensors = map(torch.tensor, (outputs, extra, actions))
    judged = one.evaluate(*tensors)
    assert isinstance(judged.log_probs, torch.Tensor)
    compare(judged, *one.gradient(judged, torch.tensor(by_logs), by_entropy))


def test_certain_logits_stay_finite() -> None:
    logits = np.array([[800.0, -800.0]], np.float32)
    for one, actions in ((Categorical(2), np.array([1])), (Bernoulli(2), np.array([[0, 1]]))):
        judged = one.evaluate(logits, np.empty(0), actions)
        gradient, _ = one.gradient(judged, np.ones(1, np.float32), -0.1)
        assert np.isfinite(judged.log_probs).all()
        assert np.isfinite(one.entropies(judged)).all()
        assert np.isfinite(gradient).all()


def test_samples_follow_the_probabilities() -> None:
    rng, many = np.random.default_rng(0), 40_000
    logits = np.log(np.array([0.5, 0.3, 0.2], np.float32))
    rows = np.tile(logits, (many, 1))
    counts = np.bincount(Categorical(3).sample(rows, np.empty(0), rng)) / many
    np.testing.assert_allclose(counts, [0.5, 0.3, 0.2], atol=0.01)

    drawn = MultiCategorical((2, 3)).sample(
        np.concatenate([np.zeros((many, 2), np.float32), rows], 1), np.empty(0), rng
    )
    assert drawn.shape == (many, 2)
    np.testing.assert_allclose(np.bincount(drawn[:, 0]) / many, [0.5, 0.5], atol=0.01)
    np.testing.assert_allclose(np.bincount(drawn[:, 1]) / many, [0.5, 0.3, 0.2], atol=0.01)

    odds = np.tile(np.log(np.array([0.25, 4.0], np.float32)), (many, 1))
    bits = Bernoulli(2).sample(odds, np.empty(0), rng)
    np.testing.assert_allclose(bits.mean(axis=0), [0.2, 0.8], atol=0.01)

    means = np.tile(np.array([1.0, -2.0], np.float32), (many, 1))
    numbers = DiagonalGaussian(2).sample(means, np.log(np.array([0.5, 2.0], np.float32)), rng)
    np.testing.assert_allclose(numbers.mean(axis=0), [1.0, -2.0], atol=0.04)
    np.testing.assert_allclose(numbers.std(axis=0), [0.5, 2.0], rtol=0.02)
    assert numbers.dtype == np.float32


def test_modes() -> None:
    logits = np.array([[0.0, 3.0, 1.0, -1.0, 2.0]])
    assert Categorical(5).mode(logits).tolist() == [1]
    assert MultiCategorical((3, 2)).mode(logits).tolist() == [[1, 1]]
    assert Bernoulli(5).mode(logits).tolist() == [[0, 1, 1, 0, 1]]
    means = DiagonalGaussian(5).mode(logits)
    np.testing.assert_array_equal(means, logits)
    assert not np.shares_memory(means, logits)
