"""First weights."""

from __future__ import annotations

from typing import Any

import numpy as np

Matrix = np.ndarray[Any, Any]


def orthogonal(rng: np.random.Generator, rows: int, columns: int, gain: float = 1.0) -> Matrix:
    """A random matrix ``[rows, columns]`` with orthonormal rows or columns, times the gain.

    Source: Saxe, McClelland and Ganguli (2014), Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks.
    """
    tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diag(r))  # makes the distribution uniform
    return gain * (q if rows >= columns else q.T)


def uniform(rng: np.random.Generator, rows: int, columns: int, inputs: int) -> Matrix:
    """Uniform in ``±1 / sqrt(inputs)``, as PyTorch starts its linear layers."""
    bound = 1.0 / np.sqrt(max(1, inputs))
    return rng.uniform(-bound, bound, (rows, columns))
