"""What a captured state relies on: objects that must be there already, code, and what is left out.

A tree makes numbers, arrays, containers, named tuples and dataclasses anew. Any other object is
only filled: whoever puts the tree back must have made one of its kind at the same place.
"""

from __future__ import annotations

import collections
import functools
import random
import sys
import types
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from gym_loop.checkpoints.tree import classes, numpy_state, stateful
from gym_loop.checkpoints.tree.capturing import _Capture, _guarded, _mutable
from gym_loop.checkpoints.tree.classes import (
    CODE,
    FACTORIES,
    SavedAttributes,
    Tree,
    Way,
    class_name,
    place_of,
)
from gym_loop.errors import StateError
from gym_loop.wire.values import Node

# The random streams behind random.random and np.random.rand: the run saves them itself.
_FROM_THEM: tuple[Any, ...] = (random.random, np.random.rand)
_GLOBAL_STREAMS = {id(one.__self__) for one in _FROM_THEM}

UNKNOWN = "that no module around knows"


class Inventory(NamedTuple):
    """What a tree does not make by itself, by the place of each thing.

    Args:
        parts: objects that must be there, in words: their class, and the shapes of a module.
        records: places of those whose class would only need to be a dataclass.
        code: functions, methods and classes, which stay what they are where the tree is put back.
        held: data inside that code which is saved nowhere, such as a variable of a closure.
        left_out: what a forward pass has left and no checkpoint holds whole, a distribution or a
            tensor with its gradient history: what is missing.
        kinds: the class of every object in the state.
        fills: the state goes into an object; else it has to make sense alone, before the object's
            own ``load_state_dict`` is given it.
    """

    parts: dict[str, str]
    records: frozenset[str]
    code: dict[str, Any]
    held: dict[str, Tree]
    left_out: dict[str, str]
    kinds: frozenset[type]
    fills: bool


def capture_with_inventory(state: Any, *owners: type, path: str) -> tuple[Tree, Inventory]:
    """Turn what a ``state_dict()`` returned into plain data, and say what that relies on.

    Nothing is copied: the data are to be written, or looked at, before the object goes on.

    Args:
        state: of ``capture_attributes``, or anything that can be captured.
        owners: class of the object whose state it is, and others whose modules are looked into.
        path: name of that object in messages.

    Raises:
        StateError: something in it is no data; the message names its place.
    """
    if isinstance(state, SavedAttributes) and state.walk is not None:
        return Node("attributes", state), _inventory(state.walk, owners, True)
    walk = _Capture(False, path)
    tree = _guarded(path, lambda: walk.tree(state, None))
    return tree, _inventory(walk, owners, False)


def _inventory(walk: Any, owners: tuple[type, ...], fills: bool) -> Inventory:
    parts: dict[str, str] = {}
    plain: set[str] = set()
    grown: list[str] = []  # places whose objects the dictionary around makes itself
    by_way = {id(way): value for way, value in walk.seen.values()}

    def near(way: Way | None) -> list[type]:
        return [*owners, *(type(by_way[id(one)]) for one in _above(way) if id(one) in by_way)]

    for way, value in walk.seen.values():
        kind = type(value)
        if (way is None and fills) or not _must_be_there(value, kind):
            continue
        is_object = _mutable.get(kind) is _Capture.object
        if is_object and classes.is_known(kind, near(way), classes.is_record):
            continue
        place = place_of(way, walk.path)
        if isinstance(value, dict):
            grown.append(f"{place}[")
        parts[place] = _in_words(value)
        constructor: Any = kind.__new__
        if is_object and constructor is object.__new__:
            plain.add(place)
    for place in [one for one in parts if grown and one.startswith(tuple(grown))]:
        del parts[place]
    for kind, way in walk.named.items():
        if not classes.is_known(kind, near(way)):
            parts[place_of(way, walk.path)] = f"{class_name(kind)} {UNKNOWN}"
    kinds = frozenset({*owners, *(type(value) for _, value in walk.seen.values())})
    code = {place_of(way, walk.path): value for way, value in walk.code}
    left_out = {place_of(way, walk.path): why for way, why in walk.left_out}
    held = {place: held_by(value, walk, owners) for place, value in code.items()}
    held = {place: trees for place, trees in held.items() if trees}
    return Inventory(parts, frozenset(plain), code, held, left_out, kinds, fills)


def held_by(code: Any, walk: Any = None, owners: tuple[type, ...] = ()) -> list[Tree]:
    """What a function, a method or a partial keeps: in its closure, its defaults, its object.

    Args:
        code: the function.
        walk: of the state that it stands in: what is in there is left out; None for none.
        owners: classes whose instances are left out.
    """
    walk = walk or _Capture(False, "")
    spaces: Any = getattr(sys.modules.get("gymnasium"), "Space", ())
    trees, functions, todo = [], {id(code)}, _contents(code)
    for value in todo:
        if isinstance(value, CODE):
            if id(value) not in functions:
                functions.add(id(value))
                todo += _contents(value)
        elif (
            walk.keys(id(value)) is None
            and id(value) not in _GLOBAL_STREAMS
            and not isinstance(value, spaces)
            and type(value) not in owners
        ):
            with suppress(Exception):  # no data, whatever its own code raises
                trees.append(walk.tree(value, None))
    return trees


def _contents(code: Any) -> list[Any]:
    if isinstance(code, functools.partial):
        return [code.func, *code.args, *code.keywords.values()]
    if isinstance(code, types.MethodType):
        return [code.__func__, code.__self__]
    if isinstance(code, types.FunctionType):
        cells = [one.cell_contents for one in code.__closure__ or () if _is_filled(one)]
        defaults = [*(code.__defaults__ or ()), *(code.__kwdefaults__ or {}).values()]
        return [*cells, *defaults, *vars(code).values()]
    owner = getattr(code, "__self__", None)  # a method that is written in C
    return [] if owner is None else [owner]


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def refuse_parts(found: Inventory) -> None:
    """Refuse what is to be put back alone, and relies on something.

    Raises:
        StateError: it does; the message names the first place and the remedy.
    """
    for place, what in found.parts.items():
        raise StateError(
            f"{place}: a {what} can be saved, but not be made anew when a run is resumed; use"
            " arrays, numbers, containers, or a named tuple or dataclass that is defined at the top"
            " of a module"
        )


def _must_be_there(value: Any, kind: type) -> bool:
    handler = _mutable.get(kind)
    if isinstance(value, collections.defaultdict) and handler is not _Capture.object:
        factory = value.default_factory
        return FACTORIES.get(getattr(factory, "__name__", "None")) is not factory
    return handler in (_Capture.object, stateful.capture_stateful, numpy_state.capture_space)


def _above(way: Way | None) -> Iterator[Way]:
    while way and (way := way[0]):
        yield way


def _in_words(value: Any) -> str:
    """The class of an object, and how large it is where that decides what it can load."""
    name = class_name(type(value))
    torch = stateful.loaded_torch()
    if torch is not None and isinstance(value, torch.nn.Module):
        own = {**value._parameters, **value._buffers}
        sizes = [f"{key} {list(one.shape)}" for key, one in own.items() if one is not None]
        return f"{name} ({', '.join(sizes)})" if sizes else name
    if torch is not None and isinstance(value, torch.optim.Optimizer):
        counts = [len(group["params"]) for group in value.param_groups]
        return f"{name} of {counts} parameters"
    return name
