"""Classes and objects: their names, what an instance holds, and which classes the data may name.

Named tuples, dataclasses and enumerations are looked up among what the modules of the live objects
around already hold; a named tuple or an enumeration, which hold nothing but their items, in its own
module too, if it is loaded. Nothing is imported, and no constructor runs.
"""

from __future__ import annotations

import collections
import enum
import functools
import io
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gym_loop.schema.class_strings import module_name
from gym_loop.wire.values import Node

# A tree is checked by its readers, not by the type checker.
Tree = Any
# One step of the way to a value: (way to its parent, key in the tree, how a person names it).
Way = tuple[Any, ...]
HIDDEN = object()  # the name of a step that only the tree has

ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})

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


class SavedAttributes(dict[str, Tree]):
    """What `capture_attributes` returns: plain data already, never to be captured again."""

    __slots__ = ("walk",)

    def __init__(self, saved: dict[str, Tree], walk: Any = None) -> None:
        super().__init__(saved)
        self.walk = walk  # that made it: `inventory` asks it what the data relies on

    def __reduce__(self) -> Any:
        return SavedAttributes, (dict(self),)  # another process gets the data alone


# -- names ---------------------------------------------------------------------------------------


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


def text_of(item: Any) -> str:
    """A text by which the items of a set can be put in order, whatever they are."""
    if not isinstance(item, (tuple, frozenset)):
        return f"{type(item).__name__} {item!r}"
    parts = map(text_of, item)
    return f"{type(item).__name__} {list(parts) if isinstance(item, tuple) else sorted(parts)}"


# -- what an instance holds ----------------------------------------------------------------------


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


# -- classes that the data may name --------------------------------------------------------------


def origin(kind: type) -> dict[str, str]:
    """The module of a class, for `find_class`; none where that is a file, which may be moved."""
    module = module_of(kind)
    return {"module": module} if module_name(module) == module else {}


def find_class(
    walk: Any, live: Any, name: str, fits: Callable[[Any], bool], own: str | None = None
) -> Any:
    """A class by its name, near the live objects or in its ``own`` module; None without one."""
    if type(live).__name__ == name and fits(type(live)):
        return type(live)
    if fits(walk.tuple_types.get(name)):
        return walk.tuple_types[name]
    modules = [module_of(owner) for owner in reversed(walk.owners)]
    for module in (*modules, "gym_loop.agents.transition", own):
        found = getattr(sys.modules.get(str(module)), "__dict__", {}).get(name)
        if fits(found):
            return found
    return None


def known_to(*kinds: type) -> list[type]:
    """The classes that a tree may name where only the modules of these classes can say which."""
    spaces = [vars(sys.modules[one]) for one in map(module_of, kinds) if one in sys.modules]
    return [
        found
        for space in spaces
        for found in list(space.values())
        if _is_namedtuple(found) or _is_enum(found) or is_record(found)
    ]


def is_known(kind: type, owners: list[type], fits: Callable[[Any], bool] | None = None) -> bool:
    """Whether a tree that is put back near objects of some classes finds this one."""
    near = types.SimpleNamespace(owners=owners, tuple_types={})
    if fits is not None:
        return find_class(near, None, kind.__qualname__, fits) is kind
    fits = _is_enum if _is_enum(kind) else _is_namedtuple
    return find_class(near, None, kind.__name__, fits, origin(kind).get("module")) is kind


def _known(walk: Any, live: Any, name: str, fits: Any, own: str | None, way: Way | None) -> Any:
    kind = find_class(walk, live, name, fits, own)
    if kind is None:
        raise walk.misfit(
            way,
            f"the class {name} is not known here; define it, or import it, at the top of the "
            "module that uses it",
        )
    return kind


def namedtuple_class(
    walk: Any, live: Any, name: str, node: Tree, fields: list[str], way: Way | None
) -> Any:
    """The named tuple of this name, which must have the saved fields; ``node`` has its module."""
    kind = _known(walk, live, name, _is_namedtuple, node.get("module"), way)
    if list(kind._fields) != list(fields):
        was, now = ", ".join(fields), ", ".join(kind._fields)
        raise walk.misfit(way, f"{name} was saved with the fields {was}, but now has {now}")
    return kind


def capture_namedtuple(walk: Any, value: Any, way: Way | None) -> Tree:
    """A named tuple, by its class and its fields."""
    walk.named.setdefault(type(value), way)
    below = (way, "fields", HIDDEN)
    fields = {
        name: walk.tree(item, (below, name))
        for name, item in zip(value._fields, value, strict=True)
    }
    return Node("namedtuple", origin(type(value)), name=type(value).__name__, fields=fields)


def restore_namedtuple(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """A named tuple, without calling its class."""
    fields = node["fields"]
    kind = namedtuple_class(walk, live, node["name"], node, list(fields), way)
    olds = live if type(live) is kind else (None,) * len(fields)
    values = [
        walk.value(old, item, (way, field))
        for old, (field, item) in zip(olds, fields.items(), strict=True)
    ]
    return tuple.__new__(kind, values)


def capture_enum(walk: Any, value: enum.Enum, way: Way | None) -> Tree:
    """A member of an enumeration, by its name; of flags the bits, for several may be set."""
    walk.named.setdefault(type(value), way)
    member = int(value.value) if isinstance(value, enum.Flag) else value.name
    return Node("enum", origin(type(value)), name=type(value).__name__, member=member)


def restore_enum(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """A member of an enumeration, by its name or its bits."""
    name, member = node["name"], node["member"]
    kind = _known(walk, live, name, _is_enum, node.get("module"), way)
    try:
        return kind[member] if isinstance(member, str) else kind(member)
    except (KeyError, ValueError) as error:
        raise walk.misfit(way, f"the enumeration {name} has no member {member!r}") from error


def new_record(walk: Any, live: Any, wanted: str, way: Way | None) -> Any:
    """An empty instance of a dataclass; for any other class, a live object must exist."""
    kind = find_class(walk, None, wanted.rpartition(":")[2], is_record)
    if kind is None or class_name(kind) != wanted:
        raise missing(walk, live, wanted, way)
    return object.__new__(kind)


def missing(walk: Any, live: Any, wanted: str, way: Way | None) -> Exception:
    """The error for an object that was saved, where now there is none like it."""
    now = "nothing" if live is None else f"a {class_name(type(live))}"
    if class_name(type(live)) == wanted:
        now = "an object that also stands elsewhere"
    error: Exception = walk.misfit(
        way,
        f"a {wanted} was saved here, but {now} is here now; make the object in __init__, or "
        "override state_dict and load_state_dict",
    )
    return error


def _is_namedtuple(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def is_record(kind: Any) -> bool:
    """Whether a class is a dataclass of which an instance can be made without its constructor."""
    if type(kind) is not type or "__dataclass_fields__" not in vars(kind):
        return False
    constructor: Any = kind.__new__
    return constructor is object.__new__ and not hasattr(kind, "__del__")
