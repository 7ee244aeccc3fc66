"""Noise in the weights of a network, which learns how much of it to keep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gym_loop.errors import ConfigError
from gym_loop.nn.mlp import MLP, put_back

Array = np.ndarray[Any, Any]


class NoisyMLP:
    """A `MLP` whose layers have weights ``means + spreads * noise``, factorised Gaussian noise.

    Call `draw` or `settle` after a change of the parameters, before the network is used.

    Args:
        network: the MLP; its weights are the first means.
        spread: first standard deviation of the noise, times the root of a layer's inputs.

    Source: Fortunato et al. (2018), Noisy networks for exploration.

    Raises:
        ConfigError: the network is no MLP of gym-loop.
    """

    def __init__(self, network: Any, spread: float = 0.5) -> None:
        if not isinstance(network, MLP):
            raise ConfigError(
                "noisy: true needs the network gym_loop.nn.mlp:MLP, not"
                f" {type(getattr(network, 'module', network)).__name__}; set noisy to false and"
                " explore by epsilon"
            )
        self.network = network
        size = network.parameters.size
        self.parameters = np.zeros(2 * size, network.parameters.dtype)
        self.gradients = np.zeros_like(self.parameters)
        self.means, self.spreads = self.parameters[:size], self.parameters[size:]
        self.extra, self.extra_gradient = self.parameters[2 * size :], self.gradients[2 * size :]
        self.means[:] = network.parameters
        self.noise = np.zeros_like(self.means)
        self._layers: list[Array] = []  # views of the noise, [..., out, in + 1]
        start = 0
        for name, matrix in network.named_parameters.items():
            part = slice(start, start + matrix.size)
            start += matrix.size
            if name.startswith(("hidden.", "output.")):
                self._layers.append(self.noise[part].reshape(matrix.shape))
                self.spreads[part] = spread / math.sqrt(max(1, matrix.shape[-1] - 1))

    def draw(self, rng: np.random.Generator) -> None:
        """Draw new noise."""
        for layer in self._layers:
            towers, (rows, columns) = layer.shape[:-2], layer.shape[-2:]
            drawn = rng.standard_normal((*towers, rows + columns), layer.dtype)
            scaled = np.copysign(np.sqrt(np.abs(drawn)), drawn)
            scaled[..., -1] = 1.0  # that of the bias column
            np.multiply(scaled[..., :rows, None], scaled[..., None, rows:], out=layer)
        np.multiply(self.spreads, self.noise, out=self.network.parameters)
        self.network.parameters += self.means

    def settle(self) -> None:
        """Go on without noise."""
        self.network.parameters[:] = self.means

    def forward(self, inputs: Array, output: int | None = None) -> tuple[Array, ...]:
        """See `Network`."""
        return self.network.forward(inputs, output)

    def backward(self, gradients: Sequence[Array], *, to_inputs: bool = False) -> Array | None:
        """See `Network`; for the noise that was drawn last."""
        result = self.network.backward(gradients, to_inputs=to_inputs)
        size = self.means.size
        self.gradients[:size] = self.network.gradients
        np.multiply(self.network.gradients, self.noise, out=self.gradients[size:])
        return result

    def input_gradient(self, gradients: Sequence[Array]) -> Array:
        """See `Network`."""
        return self.network.input_gradient(gradients)

    def predict(self, inputs: Array, output: int = 0) -> Array:
        """See `Network`."""
        return self.network.predict(inputs, output)

    def predict_all(self, inputs: Array) -> tuple[Array, ...]:
        """See `Network`."""
        return self.network.predict_all(inputs)

    def asarray(self, array: Any) -> Array:
        """See `Network`."""
        return self.network.asarray(array)

    def tonumpy(self, array: Array) -> Array:
        """See `Network`."""
        return array

    def clone(self) -> NoisyMLP:
        """An equal network that shares nothing with this one, and draws its own noise."""
        twin = NoisyMLP(self.network.clone())
        twin.parameters[:] = self.parameters
        return twin

    def copy_buffers(self, other: Any) -> None:
        """See `Network`; there are none."""

    def state_dict(self) -> dict[str, Any]:
        """Means and spreads; noise is drawn anew."""
        return {"parameters": self.parameters}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put them back, in place.

        Raises:
            StateError: they are of another network.
        """
        put_back(self.parameters, state["parameters"])
