"""Noise in the weights of a network, which learns how much of it to keep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gym_loop.errors import ConfigError
from gym_loop.nn.mlp import MLP
from gym_loop.schema.class_strings import load_class

Array = np.ndarray[Any, Any]
SPREAD = 0.5  # first standard deviation of the noise, times the root of a layer's inputs


class NoisyMLP(MLP):
    """An MLP whose layers have weights ``means + spreads * noise``, factorized Gaussian noise.

    ``parameters`` are the means, which begin as the weights of an MLP, and behind them the
    spreads. Call `draw_noise` or `remove_noise` after a change, before the network is used.

    Source: Fortunato et al. (2018), Noisy networks for exploration.
    """

    def _initialize(
        self, rng: np.random.Generator, init: str, output_gains: Sequence[float] | None
    ) -> None:
        super()._initialize(rng, init, output_gains)
        # What the layers are views of.
        self.weights, self.weight_gradients = self.parameters, self.gradients
        size = self.weights.size
        self.parameters = np.zeros(2 * size, self.weights.dtype)
        self.gradients = np.zeros_like(self.parameters)
        self.means, self.spreads = self.parameters[:size], self.parameters[size:]
        self.means[:] = self.weights
        self.noise = np.zeros_like(self.means)
        self._layers: list[Array] = []  # views of the noise, [..., out, in + 1]
        start = 0
        for name, matrix in self.named_parameters.items():
            part = slice(start, start + matrix.size)
            start += matrix.size
            if name.startswith(("hidden.", "output.")):
                self._layers.append(self.noise[part].reshape(matrix.shape))
                self.spreads[part] = SPREAD / math.sqrt(max(1, matrix.shape[-1] - 1))

    def draw_noise(self, rng: np.random.Generator) -> None:
        """Use the network with new noise from now on."""
        for layer in self._layers:
            towers, (rows, columns) = layer.shape[:-2], layer.shape[-2:]
            drawn = rng.standard_normal((*towers, rows + columns), layer.dtype)
            scaled = np.copysign(np.sqrt(np.abs(drawn)), drawn)
            scaled[..., -1] = 1.0  # that of the bias column
            np.multiply(scaled[..., :rows, None], scaled[..., None, rows:], out=layer)
        np.multiply(self.spreads, self.noise, out=self.weights)
        self.weights += self.means

    def remove_noise(self) -> None:
        """Use the network without noise from now on."""
        self.weights[:] = self.means

    def backward(self, gradients: Sequence[Array]) -> None:
        """See `Network`; for the noise that was drawn last."""
        super().backward(gradients)
        size = self.means.size
        self.gradients[:size] = self.weight_gradients
        np.multiply(self.weight_gradients, self.noise, out=self.gradients[size:])


def noisy_class(class_string: str) -> str:
    """The class string of the network with noise that a network becomes.

    Raises:
        ConfigError: it is not the MLP of gym-loop.
    """
    if load_class(class_string, kind="network") is not MLP:
        raise ConfigError(
            f"noisy: true needs the network gym_loop.nn.mlp:MLP, not {class_string}; set noisy to"
            " false and explore by exploration_initial_eps and exploration_final_eps"
        )
    return f"{__name__}:NoisyMLP"
