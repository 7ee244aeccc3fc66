"""The arithmetic of the NumPy MLP for one batch size, in buffers made once.

Everything here has features as rows and the batch as columns: ``[towers, features, B]``, or
``[features, B]`` where a single tower is evaluated. Each buffer of activations ends with a
row of ones, which the bias column of the next layer's matrix meets: one product does both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
EPSILON = 1e-5  # of layer norm, as in PyTorch


class Layout(NamedTuple):
    """The sizes of a network.

    Args:
        inputs: number of inputs.
        hidden: units of each hidden layer.
        outputs: number of outputs of each head.
        tower_of: the tower that each head stands on.
        relu: the activation is relu, not tanh.
        layer_norm: hidden layers are normalised.
        dtype: of all buffers.
    """

    inputs: int
    hidden: tuple[int, ...]
    outputs: tuple[int, ...]
    tower_of: tuple[int, ...]
    relu: bool
    layer_norm: bool
    dtype: Any

    @property
    def towers(self) -> int:
        """Number of towers."""
        return max(self.tower_of) + 1


class Weights(NamedTuple):
    """Views into a flat vector of parameters or gradients.

    Args:
        hidden: ``[towers, out, in + 1]`` a layer.
        norms: ``[towers, 2, out, 1]`` a layer, or none.
        outputs: ``[out, in + 1]`` an output.
        tower_of: the tower that each output stands on.
    """

    hidden: list[Array]
    norms: list[Array]
    outputs: list[Array]
    tower_of: tuple[int, ...]

    @staticmethod
    def of(named: Mapping[str, Array], tower_of: tuple[int, ...]) -> Weights:
        """Gather the views by the first part of their names."""
        hidden, norms, outputs = (
            [array for name, array in named.items() if name.startswith(kind)]
            for kind in ("hidden.", "norm.", "output.")
        )
        return Weights(hidden, norms, outputs, tower_of)

    def tower(self, output: int) -> Weights:
        """What one output needs, without the axis of towers."""
        at = self.tower_of[output]
        hidden, norms = ([one[at] for one in kind] for kind in (self.hidden, self.norms))
        return Weights(hidden, norms, [self.outputs[output]], (0,))


class Workspace:
    """Buffers for one batch size.

    Args:
        layout: the sizes of the network.
        batch: the batch size B.
        output: the only output to compute, by its tower without an axis of towers; None for all.
    """

    def __init__(self, layout: Layout, batch: int, output: int | None) -> None:
        dtype = layout.dtype
        axis = (layout.towers,) if output is None else ()
        sizes = layout.outputs if output is None else [layout.outputs[output]]
        self.relu = layout.relu
        x = np.ones((layout.inputs + 1, batch), dtype)
        self.features = x[:-1]
        self.batch = batch
        # The input of each layer with its row of ones; the last one is the heads'.
        self.inputs = [x, *(np.ones((*axis, units + 1, batch), dtype) for units in layout.hidden)]
        self.hidden = [array[..., :-1, :] for array in self.inputs[1:]]
        # Twice 64 units for 256 rows: maximum with an array 3 us, with a number 13 us.
        zeros = {array.shape: np.zeros(array.shape, dtype) for array in self.hidden}
        self.zeros = [zeros[array.shape] for array in self.hidden] if layout.relu else []
        top = self.inputs[-1]
        if output is None and layout.hidden:
            self.head_inputs = [top[tower] for tower in layout.tower_of]
        else:
            self.head_inputs = [top] * len(sizes)
        self.outputs = [np.empty((size, batch), dtype) for size in sizes]
        self.results = tuple(array.T for array in self.outputs)  # [B, out]
        self.normal: list[Array] = []
        self.inverse_std: list[Array] = []
        if layout.layer_norm:
            self.normal = [np.empty_like(array) for array in self.hidden]
            self.inverse_std = [np.empty((*axis, 1, batch), dtype) for _ in self.hidden]
        self.deltas: list[Array] = []  # made by the first backward
        self.scratch: list[Array] = []

    def load(self, inputs: Array) -> None:
        """Take a batch ``[B, ...]``."""
        np.copyto(self.features, inputs.reshape(self.batch, -1).T, casting="unsafe")
        if inputs.dtype == np.uint8:
            self.features *= 1.0 / 255.0

    def forward(self, weights: Weights) -> None:
        """Fill the activations and the outputs."""
        for index, (matrix, hidden) in enumerate(zip(weights.hidden, self.hidden, strict=True)):
            np.matmul(matrix, self.inputs[index], out=hidden)
            if weights.norms:
                self._normalize(index, weights.norms[index], hidden)
            if self.relu:
                np.maximum(hidden, self.zeros[index], out=hidden)
            else:
                np.tanh(hidden, out=hidden)
        for matrix, below, out in zip(weights.outputs, self.head_inputs, self.outputs, strict=True):
            np.matmul(matrix, below, out=out)

    def _normalize(self, index: int, norm: Array, hidden: Array) -> None:
        normal, inverse = self.normal[index], self.inverse_std[index]
        np.subtract(hidden, hidden.mean(axis=-2, keepdims=True), out=normal)
        np.mean(np.square(normal), axis=-2, keepdims=True, out=inverse)
        inverse += EPSILON
        np.divide(1.0, np.sqrt(inverse, out=inverse), out=inverse)
        normal *= inverse
        np.multiply(normal, norm[..., 0, :, :], out=hidden)
        hidden += norm[..., 1, :, :]

    def backward(self, weights: Weights, into: Weights | None, gradients: Sequence[Array]) -> None:
        """Write the gradients of all parameters, from those by the outputs ``[B, out]``.

        Args:
            weights: the parameters.
            into: where their gradients go; None where only those by the inputs are wanted.
            gradients: by each output.
        """
        if not self.deltas and self.hidden:
            self.deltas = [np.empty(array.shape, array.dtype) for array in self.hidden]
            self.scratch = [np.empty_like(array) for array in self.deltas]
        self._heads_backward(weights, into, gradients)
        for index in reversed(range(len(self.hidden))):
            delta = self.deltas[index]
            self._activation_backward(self.hidden[index], delta, self.scratch[index])
            if weights.norms:
                self._norm_backward(index, weights.norms[index], into and into.norms[index])
            if into is not None:
                np.matmul(delta, self.inputs[index].swapaxes(-1, -2), out=into.hidden[index])
            if index:
                matrix = weights.hidden[index][..., :-1].swapaxes(-1, -2)
                np.matmul(matrix, delta, out=self.deltas[index - 1])

    def _heads_backward(
        self, weights: Weights, into: Weights | None, gradients: Sequence[Array]
    ) -> None:
        filled = set()
        towers = self.deltas and self.deltas[-1].ndim > 2
        for index, gradient in enumerate(gradients):
            out = gradient.T  # [out, B]
            if into is not None:
                np.matmul(out, self.head_inputs[index].T, out=into.outputs[index])
            if not self.deltas:
                continue
            tower: Any = weights.tower_of[index] if towers else ...
            matrix, delta = weights.outputs[index][:, :-1].T, self.deltas[-1][tower]
            # matmul is slow at outer products: 19 us for (64, 1) by (1, 256), multiply takes 5.
            product = np.multiply if len(out) == 1 else np.matmul
            if tower in filled:
                delta += product(matrix, out, out=self.scratch[-1][tower])
            else:
                product(matrix, out, out=delta)
                filled.add(tower)

    def _activation_backward(self, hidden: Array, delta: Array, scratch: Array) -> None:
        if self.relu:
            np.greater(hidden, 0.0, out=scratch)  # sign takes twice as long
        else:
            np.multiply(hidden, hidden, out=scratch)
            np.subtract(1.0, scratch, out=scratch)
        delta *= scratch

    def _norm_backward(self, index: int, norm: Array, into: Array | None) -> None:
        delta, normal, scratch = self.deltas[index], self.normal[index], self.scratch[index]
        if into is not None:
            np.multiply(delta, normal, out=scratch)
            np.sum(scratch, axis=-1, keepdims=True, out=into[..., 0, :, :])
            np.sum(delta, axis=-1, keepdims=True, out=into[..., 1, :, :])
        delta *= norm[..., 0, :, :]
        np.multiply(delta, normal, out=scratch)
        along = scratch.mean(axis=-2, keepdims=True)
        delta -= delta.mean(axis=-2, keepdims=True)
        delta -= np.multiply(normal, along, out=scratch)
        delta *= self.inverse_std[index]

    def input_gradient(self, weights: Weights, gradients: Sequence[Array]) -> Array:
        """The gradient by the inputs ``[B, inputs]``; after `backward`."""
        if self.deltas:
            matrix = weights.hidden[0][..., :-1].swapaxes(-1, -2)
            by_features: Array = np.matmul(matrix, self.deltas[0])
            return (by_features.sum(axis=0) if by_features.ndim > 2 else by_features).T
        parts = [
            gradient @ matrix[:, :-1]
            for matrix, gradient in zip(weights.outputs, gradients, strict=True)
        ]
        return sum(parts[1:], start=parts[0])
