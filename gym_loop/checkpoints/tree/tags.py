"""The reserved words of a state tree, and what both directions must agree on."""

from __future__ import annotations

import functools
import types
from typing import Any

import numpy as np

from gym_loop.schema.class_strings import module_name

# A tree is checked by its readers, not by the type checker.
Tree = Any

# Each tag is the first key of the dictionary that it marks. A user's own dictionary that
# holds one of them is written in the long form, `__dict__`, so that the two never mix.
TAGS = frozenset(
    {
        "__same__",  # [path]: the object that stands at that path of this tree
        "__tree__",  # what capture_attributes returned, as it is
        "__live__",  # what it is: code or a handle; whatever stands there stays
        "__tuple__",  # [items]
        "__namedtuple__",  # class name; fields: {name: item}
        "__set__",  # [items]
        "__frozenset__",  # [items]
        "__deque__",  # [items]; maxlen
        "__dict__",  # kind; keys: [...]; values: [...]
        "__columns__",  # kind of a long sequence; see columns.py
        "__view__",  # path of the array that it looks into; dtype, shape, offset, strides
        "__objects__",  # [items] of an array of objects; shape
        "__structured__",  # raw bytes of an array of records; dtype, shape
        "__bytearray__",
        "__complex__",  # [real, imaginary]
        "__range__",  # [start, stop, step]
        "__path__",
        "__dtype__",
        "__enum__",  # class name; name, or value of a flag
        "__object__",  # class; attributes, and items of a container's subclass
        "__state_dict__",  # what state_dict() returned; class
        "__space__",  # random streams of a Gymnasium space and of the spaces in it
        "__generator__",  # state of a np.random.Generator; seed: its SeedSequence
        "__random_state__",  # state of a np.random.RandomState
        "__seed_sequence__",
        "__random__",  # 624 words and a position of a random.Random; gauss
        "__tensor__",  # array; dtype, device, requires_grad, parameter
        "__torch_generator__",  # state; device
    }
)


class SavedAttributes(dict[str, Tree]):
    """What `capture_attributes` returns: plain data already, never to be captured again."""

    __slots__ = ("walk",)

    def __init__(self, saved: dict[str, Tree], walk: Any = None) -> None:
        super().__init__(saved)
        self.walk = walk  # that made it: `inventory` asks it what the data relies on

    def __reduce__(self) -> Any:
        return SavedAttributes, (dict(self),)  # another process gets the data alone


ATOMS = frozenset({type(None), bool, int, float, str, bytes})

# One step of the way to a value: (way to its parent, key in the tree, how a person names it).
Way = tuple[Any, ...]
HIDDEN = object()  # the name of a step that only the tree has, such as a tag

CODE = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodWrapperType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ModuleType,
    type,
    functools.partial,
    functools._lru_cache_wrapper,
    np.ufunc,
)

# Factories of a defaultdict that may be made anew from their name.
FACTORIES: dict[str, type | None] = {
    kind.__name__: kind
    for kind in (int, float, bool, str, bytes, list, tuple, dict, set, frozenset)
}
FACTORIES["None"] = None


def keys_of(way: Way | None) -> list[str | int]:
    """The keys that lead from the root of the tree to a value."""
    keys: list[str | int] = []
    while way:
        keys.append(way[1])
        way = way[0]
    return keys[::-1]


def place_of(way: Way | None, root: str) -> str:
    """How a person names a value: ``agent.buffer[3].x``."""
    parts: list[str] = []
    while way:
        name = way[2] if len(way) > 2 else way[1]
        if isinstance(name, str) and name.isidentifier():
            parts.append(f".{name}")
        elif isinstance(name, str) and name.startswith(".") and len(way) > 2:
            parts.append(name)  # of a module in a module: ".body.0"
        elif name is not HIDDEN:
            parts.append(f"[{name!r}]")
        way = way[0]
    return (root + "".join(reversed(parts))).lstrip(".") or "the state"


def class_name(kind: type) -> str:
    """The full name of a class, as messages and trees state it."""
    return f"{module_name(module_of(kind))}:{kind.__qualname__}"


def module_of(kind: type) -> str:
    """The module of a class; some that are made in C, as SWIG does, do not say."""
    return str(getattr(kind, "__module__", "builtins"))
