"""Tanh-squashed Gaussians: densities, gradients, and noise that depends on the state."""

import numpy as np
import pytest
import torch
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from gym_loop.agents.sac import LEAST_VARIANCE, TanhGaussian, TanhStateGaussian, log_slope

B, A, K = 30, 3, 5
RNG = np.random.default_rng(0)
BY_ACTIONS, BY_LOG_PROBS = RNG.standard_normal((B, A)), 0.7
POLICIES = {"independent": TanhGaussian(A), "state-dependent": TanhStateGaussian(A, K)}
each_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)


def case(policy):
    outputs = 0.7 * RNG.standard_normal((B, policy.outputs))
    extra = -0.5 + 0.3 * RNG.standard_normal(policy.extra)
    return outputs, extra, policy.noise(B, RNG).astype(np.float64)


def reference(policy, outputs, extra, noise):
    """Actions and log-probabilities by torch's own distributions."""
    means, rest = outputs[:, :A], outputs[:, A:]
    if not isinstance(policy, TanhStateGaussian):
        std = rest.clamp(-20.0, 2.0).exp()
        drawn = std * noise
    else:
        features, each = rest.tanh(), extra.view(K, A).exp()
        drawn = features @ (each * noise)
        std = ((features**2) @ each**2 + LEAST_VARIANCE).sqrt()
    before = means + drawn
    squashed = TransformedDistribution(Normal(means, std), [TanhTransform(cache_size=1)])
    return before.tanh(), squashed.log_prob(squashed.transforms[0](before)).sum(-1)


@each_policy
@pytest.mark.parametrize("convert", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_densities_and_gradients_are_those_of_autograd(policy, convert) -> None:
    arrays = case(policy)
    if not isinstance(policy, TanhStateGaussian):
        arrays[0][:2, A:] = [[2.5, 0.0, -21.0], [2.0, -20.0, 1.0]]  # at the limits and beyond
    outputs, extra, noise = map(torch.tensor, arrays)
    outputs.requires_grad_()
    extra.requires_grad_()
    actions, log_probs = reference(policy, outputs, extra, noise)
    loss = (torch.tensor(BY_ACTIONS) * actions).sum() + BY_LOG_PROBS * log_probs.sum()
    loss.backward()

    draw = policy.sample(*map(convert, arrays))
    np.testing.assert_allclose(draw.actions, actions.detach(), atol=1e-9)
    np.testing.assert_allclose(policy.log_probs(draw), log_probs.detach(), atol=1e-6)
    by_outputs, by_extra = policy.gradient(draw, convert(BY_ACTIONS), BY_LOG_PROBS)
    np.testing.assert_allclose(by_outputs, outputs.grad, atol=1e-6, rtol=1e-6)
    assert (by_extra is None) == (policy.extra == 0)
    if by_extra is not None:
        np.testing.assert_allclose(by_extra, extra.grad, atol=1e-6, rtol=1e-6)
    assert float(abs(by_outputs).max()) > 0.1
    np.testing.assert_allclose(policy.mode(convert(arrays[0])), np.tanh(arrays[0][:, :A]))


def test_the_correction_is_exact_where_tanh_is_1() -> None:
    before = np.array([0.0, 1.0, -3.0, 30.0, -400.0, 1e4])
    found = log_slope(before)
    np.testing.assert_allclose(found[:3], np.log(1.0 - np.tanh(before[:3]) ** 2), rtol=1e-9)
    np.testing.assert_allclose(found[3:], 2 * np.log(2) - 2 * np.abs(before[3:]))
    assert log_slope(before.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(log_slope(before.astype(np.float32)), found, rtol=1e-6)


@each_policy
def test_float32_stays_finite_far_out(policy) -> None:
    outputs = np.full((4, policy.outputs), 60.0, np.float32)
    outputs[2:] = -60.0
    extra = np.zeros(policy.extra, np.float32)
    draw = policy.sample(outputs, extra, policy.noise(4, RNG))
    log_probs = policy.log_probs(draw)
    by_outputs, by_extra = policy.gradient(draw, np.ones((4, A), np.float32), 0.25)
    assert log_probs.dtype == by_outputs.dtype == np.float32
    for found in (draw.actions, log_probs, by_outputs, by_extra if policy.extra else log_probs):
        assert np.isfinite(found).all()


@each_policy
def test_a_density_sums_to_1(policy) -> None:
    """Of one dimension, by its mean over uniform actions."""
    policy = (
        TanhGaussian(1) if not isinstance(policy, TanhStateGaussian) else TanhStateGaussian(1, K)
    )
    outputs = np.tile(0.5 * RNG.standard_normal((1, policy.outputs)), (20_001, 1))
    before = np.linspace(-8.0, 8.0, 20_001)[:, None]
    draw = policy.sample(outputs, np.full(policy.extra, -0.5), np.zeros((1, 1)))
    if not isinstance(policy, TanhStateGaussian):
        wanted, log_std, *_ = draw.parts
        noise = (before - outputs[:, :1]) / np.exp(log_std)
        draw = draw._replace(before=before, parts=(wanted, log_std, noise, noise))
    else:
        features, std, noise, _, variance = draw.parts
        drawn = before - outputs[:, :1]
        draw = draw._replace(before=before, parts=(features, std, noise, drawn, variance))
    densities = np.exp(policy.log_probs(draw))
    assert np.trapezoid(densities, np.tanh(before[:, 0])) == pytest.approx(1.0, abs=1e-3)


def test_each_row_may_have_state_dependent_noise_of_its_own() -> None:
    policy = TanhStateGaussian(A, K)
    outputs, extra, _ = case(policy)
    noises = np.stack([policy.noise(1, RNG) for _ in range(B)])
    together = policy.sample(outputs, extra, noises).actions
    for row in range(B):
        alone = policy.sample(outputs[row : row + 1], extra, noises[row]).actions[0]
        np.testing.assert_allclose(together[row], alone, atol=1e-6)


def test_the_same_state_has_the_same_noise() -> None:
    policy = TanhStateGaussian(A, K)
    outputs, extra, noise = case(policy)
    twice = np.concatenate([outputs, outputs])
    actions = policy.sample(twice, extra, noise).actions
    # The rows of one product may differ in their last bits, by the processor's kernels.
    np.testing.assert_allclose(actions[:B], actions[B:], rtol=1e-12)
    assert (actions != policy.mode(twice)).all()
