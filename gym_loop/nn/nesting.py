"""Inputs of several parts, which lie side by side in one flat array."""

from __future__ import annotations

import math
from typing import Any

from gym_loop.nn.namespace import Array

# One shape, or those of the parts: by name as in a Dict, or in a list as in a Tuple.
Shapes = tuple[int, ...] | dict[str, Any] | list[Any]


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
