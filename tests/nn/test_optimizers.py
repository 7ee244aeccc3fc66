"""Optimisers and clipping, compared with PyTorch's, and targets that follow."""

from typing import Any

import numpy as np
import pytest
import torch

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.nn.optimizers import Adam, clip_by_global_norm, polyak_update


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_steps_are_those_of_pytorch(library: str) -> None:
    rng = np.random.default_rng(0)
    start = rng.standard_normal(50)
    theirs_parameters = torch.tensor(start, requires_grad=True)
    peer = torch.optim.Adam([theirs_parameters], lr=0.01, eps=1e-5)
    parameters = start.copy() if library == "numpy" else torch.tensor(start)
    optimizer = Adam(parameters, epsilon=1e-5)
    for _ in range(100):
        gradient = rng.standard_normal(50)
        theirs_parameters.grad = torch.tensor(gradient)
        peer.step()
        optimizer.step(parameters, gradient if library == "numpy" else torch.tensor(gradient), 0.01)
    found = np.asarray(parameters)
    np.testing.assert_allclose(found, theirs_parameters.detach().numpy(), atol=1e-9)
    assert np.abs(found - start).max() > 0.01


def denormals(array: np.ndarray) -> int:
    tiny = np.finfo(array.dtype).tiny
    return int(np.count_nonzero((array != 0) & (np.abs(array) < tiny)))


def test_moments_of_dead_units_never_become_denormal() -> None:
    rng = np.random.default_rng(0)
    size = 300
    parameters = np.zeros(size, np.float32)
    optimizer = Adam(parameters)
    scales = np.geomspace(1e-18, 1e3, size)
    for _ in range(20):
        gradients = (rng.standard_normal(size) * scales).astype(np.float32)
        optimizer.step(parameters, gradients, 1e-3)
    nothing, seen = np.zeros(size, np.float32), 0
    for _ in range(30_000):
        optimizer.step(parameters, nothing, 1e-3)
        seen += sum(denormals(array) for array in (optimizer.first, optimizer.second))
        seen += denormals(optimizer.scratch)
    assert seen == 0
    assert np.isfinite(parameters).all()


def test_without_the_flush_they_would() -> None:
    moment = np.ones(1, np.float32)
    for _ in range(900):
        moment *= 0.9
    assert denormals(moment) == 1


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_clipping_is_that_of_pytorch(library: str, limit: float) -> None:
    start = np.random.default_rng(0).standard_normal(50)
    peer = torch.zeros(50, dtype=torch.float64, requires_grad=True)
    peer.grad = torch.tensor(start)
    norm = torch.nn.utils.clip_grad_norm_([peer], limit)
    gradients = start.copy() if library == "numpy" else torch.tensor(start)
    assert float(clip_by_global_norm(gradients, limit)) == pytest.approx(float(norm))
    np.testing.assert_allclose(np.asarray(gradients), peer.grad.numpy(), rtol=1e-5)


def test_continues_from_its_state() -> None:
    rng = np.random.default_rng(0)
    one = rng.standard_normal(20).astype(np.float32)
    first = Adam(one)
    for _ in range(40):
        first.step(one, rng.standard_normal(20).astype(np.float32), 0.01)
    two = one.copy()
    second = Adam(two)
    restore(second, capture(first))
    assert "scratch" not in first.state_dict()
    for _ in range(40):
        gradients = rng.standard_normal(20).astype(np.float32)
        first.step(one, gradients, 0.01)
        second.step(two, gradients, 0.01)
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("convert", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_a_target_follows_in_place(convert: Any) -> None:
    target, parameters = convert(np.zeros(3)), convert(np.array([1.0, -2.0, 4.0]))
    for _ in range(3):
        polyak_update(target, parameters, 0.25, convert(np.zeros(3)))
    np.testing.assert_allclose(target, (1.0 - 0.75**3) * np.array([1.0, -2.0, 4.0]))
    np.testing.assert_array_equal(parameters, [1.0, -2.0, 4.0])
