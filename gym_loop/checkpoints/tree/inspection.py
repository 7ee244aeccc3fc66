"""What an object holds: its attributes, its slots, and what Python cannot see."""

from __future__ import annotations

import collections
import io
import types
from collections.abc import Iterator
from typing import Any

from gym_loop.checkpoints.tree.tags import module_of


def attribute_items(obj: Any) -> Iterator[tuple[str, Any]]:
    """Every attribute that an instance itself holds: its dictionary, then its slots."""
    yield from getattr(obj, "__dict__", {}).items()
    for name in slot_names(type(obj)):
        try:
            yield name, getattr(obj, name)
        except AttributeError:
            pass  # a slot that was never filled


_slot_names: dict[type, tuple[str, ...]] = {}


def slot_names(kind: type) -> tuple[str, ...]:
    """The slots of a class and of its bases, private names as the instance knows them."""
    names = _slot_names.get(kind)
    if names is None:
        found: list[str] = []
        for base in reversed(kind.__mro__):
            slots = vars(base).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name.startswith("__") and not name.endswith("__"):
                    name = f"_{base.__name__.lstrip('_')}{name}"
                if name not in ("__dict__", "__weakref__"):
                    found.append(name)
        names = _slot_names[kind] = tuple(found)
    return names


# What a saved object may inherit from among the classes that are written in C.
_OPEN_BASES = (
    object,
    dict,
    collections.OrderedDict,
    collections.defaultdict,
    list,
    set,
    collections.deque,
    types.SimpleNamespace,
)
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class made while Python ran


def hides_state(value: Any, kind: type) -> bool:
    """Whether an object keeps something where Python cannot see it: in C, a file, a process."""
    if isinstance(value, io.IOBase) or module_of(kind).startswith("multiprocessing."):
        return True
    content: type = object
    for base in kind.__mro__:
        if base in _OPEN_BASES:
            content = base if content is object else content
        elif not base.__flags__ & _HEAP_TYPE:
            return True
    slots = slot_names(kind)
    if content is object and not hasattr(value, "__dict__") and not slots:
        return "__slots__" not in vars(kind)
    # An instance is as large as its content, its slots, __dict__ and __weakref__, or has more.
    visible = content.__basicsize__ + 8 * (len(slots) + 2)
    return bool(kind.__itemsize__) or kind.__basicsize__ > visible


def text_of(item: Any) -> str:
    """A text by which the items of a set can be put in order, whatever they are."""
    if not isinstance(item, (tuple, frozenset)):
        return f"{type(item).__name__} {item!r}"
    parts = map(text_of, item)
    return f"{type(item).__name__} {list(parts) if isinstance(item, tuple) else sorted(parts)}"
