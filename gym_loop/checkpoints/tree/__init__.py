"""State as data: any live object's state as a plain tree, and the tree put back, bit for bit.

A *tree* consists of what :mod:`gym_loop.wire.values` writes: None, bool, int, float, complex, str,
bytes, NumPy arrays and scalars, lists, tuples, dictionaries with text keys; and of its ``Node`` for
whatever else exists, such as ``Node("object", {"class": "agents:Net", "attributes": {...}})``.
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
from gym_loop.checkpoints.tree.restoring import (
    restore,
    restore_attributes,
    saved_count,
    saved_number,
)

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
    "saved_count",
    "saved_number",
]
