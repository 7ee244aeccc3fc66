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


def one_hot(indices: Array, count: int) -> Array:
    """Boolean ``[..., count]``, True at each index."""
    xp = namespace_of(indices)
    if xp is np:
        return indices[..., None] == np.arange(count)
    return indices[..., None] == xp.arange(count, device=indices.device)
