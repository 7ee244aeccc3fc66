"""The array library behind an array: NumPy, or PyTorch where a torch network is used.

Losses, distributions and optimisers are written once, with the functions that both
libraries have under one name and with one meaning (``exp``, ``where``, ``amax(axis=)``,
``multiply(out=)``), so that a CUDA tensor is never copied to be handled.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

Array = Any  # [..., ...] of numpy.ndarray or torch.Tensor


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
