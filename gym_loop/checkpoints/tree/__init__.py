"""State as data: any live object's state as a plain tree, and the tree put back, bit for bit.

A *tree* consists of None, bool, int, float, str, bytes, NumPy arrays and scalars, lists, and
dictionaries with string keys. Whatever else exists is a dictionary whose first key is one of
the reserved tags of :mod:`gym_loop.checkpoints.tree.tags`, such as ``{"__tuple__": [1, 2]}``.
Nothing is pickled, and nothing that the data names is ever called.

    tree = capture(agent)             # plain data: write it, compare it, send it
    restore(fresh_agent, tree)        # in place: references between objects stay

Code is no state: functions, methods, classes and modules stay what they are in the live
object. Locks, files, windows and other handles are refused with a ``StateError``.
"""

from __future__ import annotations

from gym_loop.checkpoints.tree.capturing import capture, capture_attributes
from gym_loop.checkpoints.tree.comparing import first_difference
from gym_loop.checkpoints.tree.inventory import (
    Inventory,
    capture_with_inventory,
    held_by,
    refuse_parts,
)
from gym_loop.checkpoints.tree.restoring import restore, restore_attributes

__all__ = [
    "Inventory",
    "capture",
    "capture_attributes",
    "capture_with_inventory",
    "first_difference",
    "held_by",
    "refuse_parts",
    "restore",
    "restore_attributes",
]
