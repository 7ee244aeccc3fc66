"""The NumPy network: outputs, gradients, first weights and state."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.errors import ConfigError, StateError
from gym_loop.nn.mlp import MLP, orthogonal
from gym_loop.nn.workspace import EPSILON

SIZES = (3, 2)
KINDS = [
    {"hidden": [8, 5], "activation": "tanh"},
    {"hidden": [8, 5], "activation": "relu"},
    {"hidden": [8, 5], "activation": "tanh", "shared": True},
    {"hidden": [6, 6, 6], "activation": "relu", "layer_norm": True},
    {"hidden": [7], "activation": "tanh", "layer_norm": True, "shared": True},
    {"hidden": [], "activation": "tanh"},
    {"hidden": [], "activation": "tanh", "shared": True},
]


def make(**arguments: Any) -> MLP:
    rng = np.random.default_rng(1)
    mlp = MLP((4,), SIZES, rng=rng, dtype=np.float64, **arguments)
    mlp.parameters += 0.1 * rng.standard_normal(mlp.parameters.size)  # biases and norms too
    return mlp


def reference(mlp: MLP, flat: torch.Tensor, x: torch.Tensor) -> list[torch.Tensor]:
    """The same network as a torch expression of the flat parameter vector."""
    views, start = {}, 0
    for name, array in mlp.named_parameters.items():
        views[name] = flat[start : start + array.size].view(array.shape)
        start += array.size
    act = torch.relu if mlp.layout.relu else torch.tanh
    results = []
    for index, tower in enumerate(mlp.layout.tower_of):
        h = x
        for layer in range(len(mlp.layout.hidden)):
            matrix = views[f"hidden.{layer}"][tower]
            h = torch.nn.functional.linear(h, matrix[:, :-1], matrix[:, -1])
            if mlp.layout.layer_norm:
                gain, bias = views[f"norm.{layer}"][tower, :, :, 0]
                h = torch.nn.functional.layer_norm(h, h.shape[1:], gain, bias, EPSILON)
            h = act(h)
        matrix = views[f"output.{index}"]
        results.append(torch.nn.functional.linear(h, matrix[:, :-1], matrix[:, -1]))
    return results


@pytest.mark.parametrize("arguments", KINDS, ids=str)
@pytest.mark.parametrize("batch", [1, 6])
def test_outputs_and_gradients_are_those_of_autograd(arguments: dict, batch: int) -> None:
    mlp = make(**arguments)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((batch, 4))
    by_outputs = [rng.standard_normal((batch, size)) for size in SIZES]
    flat = torch.tensor(mlp.parameters, requires_grad=True)
    x_torch = torch.tensor(x, requires_grad=True)
    wanted = reference(mlp, flat, x_torch)
    torch.autograd.backward(wanted, [torch.tensor(one) for one in by_outputs])

    for _ in range(2):  # a second time in the same buffers
        outputs = mlp.forward(x)
        mlp.backward(by_outputs)
        by_inputs = mlp.input_gradient(by_outputs)
    for ours, theirs in zip(outputs, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(mlp.gradients, flat.grad.numpy(), atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(by_inputs, x_torch.grad.numpy(), atol=1e-6, rtol=1e-6)
    assert np.abs(mlp.gradients).max() > 0.1
    for index, output in enumerate(outputs):
        np.testing.assert_allclose(mlp.predict(x, index)[0], output, atol=1e-12)


def test_batches_of_different_sizes_do_not_disturb_each_other() -> None:
    mlp = make(hidden=[8])
    rng = np.random.default_rng(3)
    large, small = rng.standard_normal((9, 4)), rng.standard_normal((2, 4))
    by_outputs = [np.ones((9, size)) for size in SIZES]
    mlp.forward(large)
    mlp.backward(by_outputs)
    alone = mlp.gradients.copy()
    mlp.forward(large)
    mlp.predict(small, 0)[0]
    mlp.predict(large, 0)[0]
    mlp.backward(by_outputs)
    np.testing.assert_array_equal(mlp.gradients, alone)


@pytest.mark.parametrize("arguments", KINDS, ids=str)
def test_all_outputs_at_once_are_those_of_each_and_disturb_no_learning(arguments: dict) -> None:
    mlp = make(**arguments)
    x, other = np.random.default_rng(5).standard_normal((2, 6, 4))
    gradients = [np.ones((6, size)) for size in SIZES]
    mlp.forward(x)
    mlp.backward(gradients)
    wanted = mlp.gradients.copy()
    mlp.forward(x)
    found = mlp.predict(other)
    for index, output in enumerate(found):
        np.testing.assert_allclose(output, mlp.predict(other, index)[0], atol=1e-12)
    mlp.backward(gradients)
    np.testing.assert_array_equal(mlp.gradients, wanted)


def test_more_batch_sizes_than_are_kept_ready() -> None:
    mlp = make(hidden=[8])
    x = np.random.default_rng(4).standard_normal((20, 4))
    whole = mlp.forward(x)[0].copy()
    for size in range(1, 20):
        np.testing.assert_allclose(mlp.forward(x[:size])[0], whole[:size], atol=1e-12)
    assert len(mlp._workspaces) <= 8


def test_images_of_bytes_are_scaled_and_flattened() -> None:
    mlp = MLP((2, 3), (1,), rng=np.random.default_rng(0))
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 2, 3) * 10
    expected = mlp.forward(pixels.astype(np.float32) / 255)[0].copy()
    np.testing.assert_allclose(mlp.forward(pixels)[0], expected, rtol=1e-5)
    assert expected.dtype == np.float32


def test_orthogonal_first_weights() -> None:
    matrix = orthogonal(np.random.default_rng(0), 5, 9, 2.0)
    np.testing.assert_allclose(matrix @ matrix.T, 4.0 * np.eye(5), atol=1e-12)
    tall = orthogonal(np.random.default_rng(0), 9, 5)
    np.testing.assert_allclose(tall.T @ tall, np.eye(5), atol=1e-12)
    mlp = MLP((4,), (3, 1), rng=np.random.default_rng(0), output_gains=(0.01, 1.0))
    policy, value = (mlp.named_parameters[f"output.{index}"] for index in range(2))
    np.testing.assert_allclose(np.linalg.norm(policy[:, :-1], axis=1), 0.01, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(value[:, :-1], axis=1), 1.0, rtol=1e-5)
    assert not policy[:, -1].any()


def test_uniform_first_weights() -> None:
    mlp = MLP((100,), (10,), hidden=[50], init="uniform", rng=np.random.default_rng(0))
    for name, inputs in (("hidden.0", 100), ("output.0", 50)):
        values = mlp.named_parameters[name]
        bound = 1 / math.sqrt(inputs)
        assert np.abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert values[..., -1].any()


def test_same_generator_same_weights() -> None:
    first, second = (MLP((4,), (2,), rng=np.random.default_rng(7)) for _ in range(2))
    other = MLP((4,), (2,), rng=np.random.default_rng(8))
    np.testing.assert_array_equal(first.parameters, second.parameters)
    assert (first.parameters != other.parameters).any()


@pytest.mark.parametrize("arguments", KINDS, ids=str)
def test_clone_is_equal_and_independent(arguments: dict) -> None:
    mlp = make(**arguments, extra=2)
    mlp.extra[:] = 5.0
    twin = mlp.clone()
    x = np.random.default_rng(5).standard_normal((3, 4))
    for ours, theirs in zip(mlp.forward(x), twin.forward(x), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(twin.extra, [5.0, 5.0])
    before = mlp.parameters.copy()
    twin.parameters += 1.0
    np.testing.assert_array_equal(mlp.parameters, before)


def test_state_goes_back_in_place() -> None:
    mlp, other = make(hidden=[8]), make(hidden=[8])
    other.parameters += 1.0
    flat = other.parameters
    saved = copy.deepcopy(restore(None, capture(mlp.state_dict())))
    other.load_state_dict(saved)
    assert other.parameters is flat
    x = np.ones((2, 4))
    np.testing.assert_array_equal(mlp.forward(x)[0], other.forward(x)[0])
    with pytest.raises(StateError, match="parameters now, but had"):
        make(hidden=[9]).load_state_dict(saved)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "tanj"}, "activation 'tanj' is none of tanh, relu; did you mean tanh"),
        ({"init": "zeros"}, "init 'zeros' is none of orthogonal, uniform"),
        ({"hidden": [64, 0]}, "must be a list of positive integers"),
        ({"hidden": "64"}, "must be a list of positive integers"),
        ({"hidden": 64}, "must be a list of positive integers"),
    ],
)
def test_what_is_no_network_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MLP((4,), (1,), **arguments)


@pytest.mark.parametrize("arguments", KINDS, ids=str)
@pytest.mark.parametrize("batch", [1, 6])
def test_the_gradient_by_inputs_alone(arguments: dict, batch: int) -> None:
    mlp = make(**arguments)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((batch, 4))
    by_outputs = [rng.standard_normal((batch, size)) for size in SIZES]
    mlp.forward(x)
    mlp.gradients[:] = 7.0
    found = mlp.input_gradient(by_outputs).copy()
    assert (mlp.gradients == 7.0).all()
    slopes = np.empty_like(x)
    for index in np.ndindex(*x.shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = x.copy()
            moved[index] += step
            pairs = zip(by_outputs, mlp.forward(moved), strict=True)
            ends.append(sum(float((by * output).sum()) for by, output in pairs))
        slopes[index] = (ends[0] - ends[1]) / 2e-6
    np.testing.assert_allclose(found, slopes, atol=1e-6)


@pytest.mark.parametrize("arguments", KINDS, ids=str)
@pytest.mark.parametrize("output", [0, 1])
def test_one_output_alone_and_its_gradient_by_inputs(arguments: dict, output: int) -> None:
    mlp = make(**arguments)
    rng = np.random.default_rng(2)
    x, by_output = rng.standard_normal((6, 4)), rng.standard_normal((6, SIZES[output]))
    by_all = [np.zeros((6, size)) for size in SIZES]
    by_all[output] = by_output
    expected = mlp.forward(x)[output].copy()
    wanted = mlp.input_gradient(by_all).copy()
    (found,) = mlp.forward(x, output)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    mlp.predict(x + 1.0, output)[0]  # works elsewhere
    np.testing.assert_allclose(mlp.input_gradient((by_output,)), wanted, atol=1e-12)
    with pytest.raises(AssertionError, match="follows forward\\(\\) of all outputs"):
        mlp.backward((by_output,))
