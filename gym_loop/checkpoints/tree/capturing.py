"""From live objects to a tree."""

from __future__ import annotations

import collections
import enum
import pathlib
import random
import sys
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from gym_loop.checkpoints.tree import classes, columns, numpy_state, stateful
from gym_loop.checkpoints.tree.classes import (
    ATOMS,
    CODE,
    FACTORIES,
    HIDDEN,
    SavedAttributes,
    Tree,
    Way,
    class_name,
    keys_of,
    place_of,
)
from gym_loop.errors import StateError
from gym_loop.schema.parameter_values import ParameterValues
from gym_loop.wire.dtypes import dtype_name
from gym_loop.wire.values import Node

OnUnsaveable = Callable[[str, str], None]


def capture(value: Any, *, path: str = "", copy: bool = True) -> Tree:
    """Turn the state of any object into plain data.

    Args:
        value: what to capture; it is not changed.
        path: name of ``value`` in messages, such as ``agent``.
        copy: copy the arrays, so that later changes in place do not reach the tree. False
            saves memory where the tree is written at once.

    Raises:
        StateError: something in it is no data; the message names its place.
    """
    walk = _Capture(copy, path)
    return _guarded(path, lambda: walk.tree(value, None))


def capture_attributes(
    obj: Any,
    exclude: Collection[str] = (),
    *,
    path: str = "",
    copy: bool = True,
    on_unsaveable: OnUnsaveable | None = None,
    hidden: bool = False,
) -> dict[str, Tree]:
    """Turn the attributes of an object into plain data, by name, slots included.

    An attribute that is code (a function, a method, a class, a module) is no state: the
    tree only says that it was there.

    Args:
        obj: the object.
        exclude: names of attributes to leave out.
        path: name of ``obj`` in messages.
        copy: copy the arrays; see :func:`capture`.
        on_unsaveable: called with the place and the reason for each attribute that is no
            data, which is then left out; without it such an attribute is an error.
        hidden: take also what objects with a ``state_dict`` of their own leave out, where it is
            data; for comparisons only.

    Raises:
        StateError: an attribute is no data, and ``on_unsaveable`` is None.
    """
    walk = _Capture(copy, path)
    walk.hidden = hidden
    saved = _guarded(path, lambda: walk.attributes(obj, None, exclude, on_unsaveable))
    return SavedAttributes(saved, walk)


def _guarded(path: str, work: Callable[[], Tree]) -> Tree:
    try:
        return work()
    except RecursionError as error:
        raise StateError(
            f"{path or 'the state'}: objects are nested too deeply to save (a long linked "
            "list, perhaps); keep them in a list, or override state_dict and load_state_dict"
        ) from error


class _Capture:
    """One walk over live objects."""

    __slots__ = (
        *("blocks", "code", "copy", "hidden", "holders"),
        *("inside", "left_out", "named", "path", "seen"),
    )

    def __init__(self, copy: bool, path: str) -> None:
        self.copy = copy
        self.path = path
        # Every mutable object met so far: its way, and itself, so that its id stays its own.
        self.seen: dict[int, tuple[Way | None, Any]] = {}
        # The objects inside each sequence in columns: its way, their numbers by id, themselves.
        self.blocks: list[tuple[Way | None, dict[int, int], Any]] = []
        # The largest array met so far in each piece of memory, by the id of its owner.
        self.holders: dict[int, np.ndarray[Any, Any]] = {}
        # Code, and what is left out with its reason: `inventory` says what that comes to.
        self.code: list[tuple[Way | None, Any]] = []
        self.left_out: list[tuple[Way | None, str]] = []
        self.named: dict[type, Way | None] = {}  # named tuples and enumerations, where first met
        self.hidden = False  # see `capture_attributes`
        self.inside = 0  # torch modules around the present place

    def tree(self, value: Any, way: Way | None) -> Tree:
        kind = type(value)
        if kind in ATOMS:
            return value
        handler = _immutable.get(kind)
        if handler is not None:
            return handler(self, value, way)
        key = id(value)
        before = self.keys(key)
        if before is not None:
            return Node("same", at=before)
        handler = _mutable.get(kind)
        if handler is None:
            handler = _find_handler(value, kind)
            if kind in _immutable:
                return handler(self, value, way)
        self.seen[key] = (way, value)
        return handler(self, value, way)

    def keys(self, key: int) -> list[str | int] | None:
        """The keys that lead to an object that has been met already, by its id."""
        before = self.seen.get(key)
        if before is not None:
            return keys_of(before[0])
        for way, numbers, _ in self.blocks:
            if key in numbers:
                return [*keys_of(way), numbers[key]]
        return None

    def mark(self) -> tuple[int, int]:
        """What `forget` needs to forget whatever is met from now on."""
        return len(self.seen), len(self.blocks)

    def forget(self, mark: tuple[int, int]) -> None:
        """Unlearn what is not in the tree after all: nothing may refer to it."""
        while len(self.seen) > mark[0]:
            self.seen.popitem()
        del self.blocks[mark[1] :]

    def items(self, values: Any, way: Way | None) -> Tree:
        """The trees of a sequence's items; in columns if it is long."""
        if len(values) >= columns.LONG:
            packed = columns.pack(self, values, way)
            if packed is not None:
                return packed
        tree = self.tree
        return [tree(value, (way, index)) for index, value in enumerate(values)]

    def attributes(
        self,
        obj: Any,
        way: Way | None,
        exclude: Collection[str] = (),
        on_unsaveable: OnUnsaveable | None = None,
    ) -> dict[str, Tree]:
        self.seen.setdefault(id(obj), (way, obj))
        saved: dict[str, Tree] = {}
        for name, value in classes.attribute_items(obj):
            if name in exclude:
                continue
            if type(value) in ATOMS:
                saved[name] = value
                continue
            mark = self.mark()
            try:
                saved[name] = self.tree(value, (way, name))
            except StateError as error:
                if on_unsaveable is None:
                    raise
                self.forget(mark)
                place, _, why = str(error).partition(": ")
                saved[name] = Node("live", what=class_name(type(value)))
                on_unsaveable(place, why)
        return saved

    def refuse(self, value: Any, way: Way | None, why: str = "") -> StateError:
        what = why or f"a {class_name(type(value))} is no data and cannot be saved"
        return StateError(
            f"{place_of(way, self.path)}: {what}; keep it out of the attributes, or override "
            "state_dict and load_state_dict to say what is to be saved instead"
        )

    # -- containers --------------------------------------------------------------------------

    def dict_(self, value: dict[Any, Any], way: Way | None) -> Tree:
        if all(type(key) is str for key in value):
            if len(value) >= columns.LONG:
                packed = columns.pack(self, value.values(), (way, "values", HIDDEN))
                if packed is not None:
                    return Node("dict", type="dict", keys=list(value), values=packed)
            return {
                key: item if type(item) in ATOMS else self.tree(item, (way, key))
                for key, item in value.items()
            }
        return self.dict_by_items(value, way)

    def dict_by_items(self, value: dict[Any, Any], way: Way | None) -> Tree:
        kind = type(value).__name__
        if isinstance(value, collections.defaultdict):
            name = getattr(value.default_factory, "__name__", "None")
            if FACTORIES.get(name) is value.default_factory:
                kind = f"defaultdict:{name}"
        keys = self.items(value, (way, "keys", HIDDEN))
        below = (way, "values", HIDDEN)
        values: Tree = None
        if len(value) >= columns.LONG:
            values = columns.pack(self, value.values(), below)
        if values is None:
            pairs = enumerate(value.items())
            values = [self.tree(item, (below, index, key)) for index, (key, item) in pairs]
        return Node("dict", type=kind, keys=keys, values=values)

    def tuple_(self, value: tuple[Any, ...], way: Way | None) -> Tree:
        if len(value) >= columns.LONG:
            packed = columns.pack(self, value, (way, "items", HIDDEN))
            if packed is not None:
                return Node("items", type="tuple", items=packed)
        return tuple([self.tree(item, (way, index)) for index, item in enumerate(value)])

    def set_(self, value: Any, way: Way | None) -> Tree:
        kind = "frozenset" if isinstance(value, frozenset) else "set"
        # The same set is always the same tree.
        alike = set(map(type, value)) in ({int}, {str}, {float})
        ordered = sorted(value, key=None if alike else classes.text_of)
        return Node("items", type=kind, items=self.items(ordered, (way, "items", HIDDEN)))

    def deque(self, value: collections.deque[Any], way: Way | None) -> Tree:
        items = self.items(value, (way, "items", HIDDEN))
        return Node("items", type="deque", items=items, maxlen=value.maxlen)

    def scalar(self, value: np.generic, way: Way | None) -> Tree:
        if value.dtype.kind in "OV":
            raise self.refuse(value, way)
        return value

    # -- objects ---------------------------------------------------------------------------------

    def object(self, value: Any, way: Way | None) -> Tree:
        attributes = self.attributes(value, (way, "attributes", HIDDEN))
        saved = Node("object", {"class": class_name(type(value)), "attributes": attributes})
        below = (way, "items", HIDDEN)
        if isinstance(value, dict):
            saved["items"] = self.dict_by_items(value, below)
        elif isinstance(value, (list, collections.deque)):
            saved["items"] = self.items(value, below)
        elif isinstance(value, set):
            saved["items"] = self.set_(value, below)
        return saved


# -- which method captures which class ---------------------------------------------------------

Handler = Callable[[_Capture, Any, "Way | None"], Tree]

_immutable: dict[type, Handler] = {
    tuple: _Capture.tuple_,
    frozenset: _Capture.set_,
    range: lambda self, value, way: Node("range", at=[value.start, value.stop, value.step]),
}
_DICTS = (collections.defaultdict, collections.OrderedDict, collections.Counter, ParameterValues)
_mutable: dict[type, Handler] = {
    list: _Capture.items,
    dict: _Capture.dict_,
    set: _Capture.set_,
    collections.deque: _Capture.deque,
    **dict.fromkeys(_DICTS, _Capture.dict_by_items),
    SavedAttributes: lambda self, value, way: Node("attributes", value),
    Node: lambda self, value, way: Node("quoted", tree=value),  # captured before, by others
    bytearray: lambda self, value, way: Node("bytearray", data=bytes(value)),
    np.ndarray: numpy_state.capture_array,
    np.memmap: numpy_state.capture_array,
    np.random.Generator: numpy_state.capture_generator,
    np.random.RandomState: numpy_state.capture_random_state,
    np.random.SeedSequence: numpy_state.capture_seed_sequence,
    random.Random: numpy_state.capture_random,
}


def _live(self: _Capture, value: Any, way: Way | None) -> Tree:
    self.code.append((way, value))
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    return Node("live", what=str(name or class_name(type(value))))


def _passing(self: _Capture, value: Any, way: Way | None) -> Tree:
    """What a forward pass makes anew each time."""
    self.left_out.append((way, "its distribution"))
    return Node("live", what=class_name(type(value)))


def _refuse(self: _Capture, value: Any, way: Way | None) -> Tree:
    raise self.refuse(value, way)


def _find_handler(value: Any, kind: type) -> Handler:
    """Decide once how instances of a class are captured."""
    immutable = _immutable_handler(value, kind)
    if immutable is not None:
        _immutable[kind] = immutable
        return immutable
    handler = _mutable[kind] = _mutable_handler(value, kind)
    return handler


def _immutable_handler(value: Any, kind: type) -> Handler | None:
    torch = stateful.loaded_torch()
    if isinstance(value, np.generic):
        return _Capture.scalar
    if isinstance(value, enum.Enum):
        return classes.capture_enum
    if isinstance(value, (*CODE, random.SystemRandom)) or kind is object:
        return _live
    logging = sys.modules.get("logging")  # slow to import
    if logging is not None and isinstance(value, logging.Logger):
        return _live
    if torch is not None and isinstance(value, (torch.dtype, torch.device, torch.Size)):
        return _live
    if torch is not None and isinstance(value, torch.distributions.Distribution):
        return _passing
    if isinstance(value, np.dtype):
        return lambda self, value, way: Node("dtype", name=dtype_name(value))
    if isinstance(value, pathlib.PurePath):
        return lambda self, value, way: Node("path", name=str(value))
    if isinstance(value, tuple):
        return classes.capture_namedtuple if hasattr(value, "_fields") else _refuse
    return None


def _mutable_handler(value: Any, kind: type) -> Handler:
    torch, gymnasium = stateful.loaded_torch(), sys.modules.get("gymnasium")
    if torch is not None:
        if isinstance(value, torch.Tensor):
            return stateful.capture_tensor
        if isinstance(value, torch.Generator):
            return stateful.capture_torch_generator
    if callable(getattr(kind, "state_dict", None)) and callable(
        getattr(kind, "load_state_dict", None)
    ):
        return stateful.capture_stateful
    if gymnasium is not None and isinstance(value, gymnasium.Space):
        return numpy_state.capture_space
    if isinstance(value, np.random.RandomState):
        return numpy_state.capture_random_state
    return _refuse if classes.hides_state(value, kind) else _Capture.object
