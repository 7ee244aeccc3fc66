"""The noisy network: its noise, its gradients, and how it is settled."""

from typing import Any

import numpy as np
import pytest

from gym_loop.errors import ConfigError, StateError
from gym_loop.nn.mlp import MLP
from gym_loop.nn.noisy import NoisyMLP, noisy_class

KINDS = [
    {"hidden": [8, 5], "activation": "tanh"},
    {"hidden": [6], "activation": "relu", "layer_norm": True, "shared": True},
    {"hidden": []},
]


def make(**arguments: Any) -> NoisyMLP:
    rng = np.random.default_rng(1)
    return NoisyMLP((4,), (3, 2), rng=rng, dtype=np.float64, **arguments)


def outputs(network: NoisyMLP | MLP, x: np.ndarray) -> list[np.ndarray]:
    return [output.copy() for output in network.forward(x)]


@pytest.mark.parametrize("arguments", KINDS, ids=str)
def test_gradients_of_means_and_spreads_are_slopes(arguments: dict) -> None:
    network = make(**arguments)
    rng = np.random.default_rng(2)
    x, by = rng.standard_normal((6, 4)), [rng.standard_normal((6, size)) for size in (3, 2)]

    def loss() -> float:
        network.draw_noise(np.random.default_rng(3))
        return sum(
            float((one * out).sum()) for one, out in zip(by, network.forward(x), strict=True)
        )

    loss()
    network.backward(by)
    found, slopes = network.gradients.copy(), np.empty_like(network.gradients)
    for index in range(len(slopes)):
        ends = []
        for step in (1e-6, -1e-6):
            network.parameters[index] += step
            ends.append(loss())
            network.parameters[index] -= step
        slopes[index] = (ends[0] - ends[1]) / 2e-6
    np.testing.assert_allclose(found, slopes, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("arguments", KINDS, ids=str)
def test_outputs_are_those_of_a_plain_network_with_these_weights(arguments: dict) -> None:
    network = make(**arguments)
    network.draw_noise(np.random.default_rng(0))
    size = network.means.size
    weights = network.means + network.spreads * network.noise
    plain = MLP((4,), (3, 2), dtype=np.float64, **arguments)
    plain.parameters[:] = weights
    x = np.random.default_rng(1).standard_normal((5, 4))
    for one, other in zip(outputs(network, x), outputs(plain, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    np.testing.assert_array_equal(network.predict(x, 1)[0], outputs(network, x)[1])
    assert network.parameters.size == 2 * size


def test_noise_is_factorised_with_the_moments_of_the_paper() -> None:
    network = NoisyMLP((40,), (50,), hidden=[], rng=np.random.default_rng(0))
    rng, samples = np.random.default_rng(1), []
    for _ in range(400):
        network.draw_noise(rng)
        samples.append(network.noise.reshape(50, 41).copy())
    drawn = np.array(samples)
    singular = np.linalg.svd(drawn[0], compute_uv=False)
    assert singular[1] < 1e-5 * singular[0]  # an outer product
    # |f(x)| is the root of |x|: the mean square of one factor is the mean of |x|.
    mean = np.sqrt(2 / np.pi)
    assert (drawn[..., -1] ** 2).mean() == pytest.approx(mean, rel=0.03)
    assert (drawn[..., :-1] ** 2).mean() == pytest.approx(mean**2, rel=0.03)
    assert drawn.mean() == pytest.approx(0.0, abs=0.01)
    assert np.unique(network.spreads) == pytest.approx([0.5 / np.sqrt(40)])


def test_each_tower_has_noise_of_its_own_and_norms_have_none() -> None:
    network = make(hidden=[5], layer_norm=True)
    network.draw_noise(np.random.default_rng(0))
    noise = {}
    start = 0
    for name, array in network.named_parameters.items():
        noise[name] = network.noise[start : start + array.size].reshape(array.shape)
        start += array.size
    assert (noise["hidden.0"][0] != noise["hidden.0"][1]).all()
    assert not noise["norm.0"].any()


def test_settled_it_is_the_plain_network() -> None:
    network = make(hidden=[8])
    x = np.ones((2, 4))
    first = outputs(network, x)
    network.draw_noise(np.random.default_rng(0))
    assert (outputs(network, x)[0] != first[0]).all()
    network.remove_noise()
    np.testing.assert_array_equal(outputs(network, x)[0], first[0])
    network.backward([np.ones((2, 3)), np.ones((2, 2))])


def test_all_outputs_at_once_have_the_noise_of_each() -> None:
    noisy = NoisyMLP((4,), (3, 2), rng=np.random.default_rng(1))
    noisy.draw_noise(np.random.default_rng(2))
    x = np.random.default_rng(3).standard_normal((5, 4)).astype(np.float32)
    for index, output in enumerate(noisy.predict(x)):
        np.testing.assert_allclose(output, noisy.predict(x, index)[0], rtol=1e-5)


def test_copies_and_states() -> None:
    network = make(hidden=[8])
    network.parameters += 0.1
    twin: Any = network.clone()
    other = make(hidden=[8])
    other.load_state_dict(network.state_dict())
    x = np.ones((2, 4))
    for one in (network, twin, other):
        one.draw_noise(np.random.default_rng(4))
    for one in (twin, other):
        np.testing.assert_array_equal(outputs(one, x)[1], outputs(network, x)[1])
        assert not np.shares_memory(one.parameters, network.parameters)
    with pytest.raises(StateError, match=r"has \d+ parameters now, but had \d+ when it was saved"):
        make(hidden=[9]).load_state_dict(network.state_dict())


def test_other_networks_are_refused_by_name() -> None:
    assert noisy_class("gym_loop.nn.mlp:MLP") == "gym_loop.nn.noisy:NoisyMLP"
    with pytest.raises(ConfigError, match=r"needs the network .*:MLP, not .*NatureCNN"):
        noisy_class("gym_loop.nn.torch_network:NatureCNN")


def test_the_gradient_by_inputs_is_that_of_the_noisy_weights() -> None:
    noisy = NoisyMLP((4,), (3, 2), dtype=np.float64, rng=np.random.default_rng(0))
    noisy.draw_noise(np.random.default_rng(1))
    plain = MLP((4,), (3, 2), dtype=np.float64)
    plain.parameters[:] = noisy.weights
    x, by = np.ones((2, 4)), [np.ones((2, 3)), np.zeros((2, 2))]
    for output, gradients in ((None, by), (0, by[:1])):
        found = []
        for network in (noisy, plain):
            network.forward(x, output)
            found.append(network.input_gradient(gradients))
        np.testing.assert_allclose(found[0], found[1])
