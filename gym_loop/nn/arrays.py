"""The array library behind an array: NumPy, or PyTorch where a torch network is used.

Losses, distributions and optimisers are written once, with the functions that both
libraries have under one name and with one meaning (``exp``, ``where``, ``amax(axis=)``,
``multiply(out=)``), so that a CUDA tensor is never copied to be handled.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

Array = Any  # [..., ...] of numpy.ndarray or torch.Tensor
# One shape, or those of the parts: by name as in a Dict, or in a list as in a Tuple.
Shapes = tuple[int, ...] | dict[str, Any] | list[Any]


def namespace_of(array: Array) -> Any:
    """NumPy for NumPy's arrays and scalars, else torch (which is loaded if a tensor exists)."""
    if isinstance(array, (np.ndarray, np.generic)):
        return np
    return sys.modules["torch"]


def arange(count: int, like: Array) -> Array:
    """Integers from 0, beside an array: of its library, on its device."""
    xp = namespace_of(like)
    return np.arange(count) if xp is np else xp.arange(count, device=like.device)


def select(outputs: Array, actions: Array) -> Array:
    """The outputs ``[B, ...]`` of the actions taken, from ``[B, A, ...]``."""
    return outputs[arange(len(actions), actions), actions]


def scatter(gradient: Array, actions: Array, choices: int) -> Array:
    """Gradient by all outputs ``[B, A, ...]`` from that by the selected ones ``[B, ...]``."""
    chosen = one_hot(actions, choices)
    behind = (..., *[None] * (len(gradient.shape) - 1))
    return chosen[behind] * gradient[:, None]


def one_hot(indices: Array, count: int) -> Array:
    """Boolean ``[B, count]``, True at each index of ``[B]``; laid out like a network's outputs."""
    return (arange(count, indices)[:, None] == indices).T


def sum_by_index(indices: Array, weights: Array, count: int) -> Array:
    """``[count]``: the sum of the weights that fall on each index; both are flat."""
    xp = namespace_of(weights)
    if xp is np:
        return np.bincount(indices, weights, count).astype(weights.dtype)
    return xp.zeros(count, dtype=weights.dtype, device=weights.device).index_add(
        0, indices, weights
    )


# -- inputs of several parts, which lie side by side in one flat array -------------------------


def flat_size(shapes: Shapes) -> int:
    """Numbers of one input."""
    if isinstance(shapes, dict):
        return sum(map(flat_size, shapes.values()))
    return sum(map(flat_size, shapes)) if isinstance(shapes, list) else math.prod(shapes)


def split(inputs: Array, shapes: Shapes) -> Any:
    """The parts of flat inputs.

    Args:
        inputs: ``[B, flat_size(shapes)]``.
        shapes: of the parts.

    Returns:
        A dictionary where ``shapes`` is one, a tuple where it is a list, of views
        ``[B, *shape]``.
    """
    if isinstance(shapes, tuple):
        return inputs.reshape(len(inputs), *shapes)
    named = shapes.items() if isinstance(shapes, dict) else enumerate(shapes)
    parts, start = {}, 0
    for name, shape in named:
        end = start + flat_size(shape)
        parts[name] = split(inputs[:, start:end], shape)
        start = end
    return parts if isinstance(shapes, dict) else tuple(parts.values())
