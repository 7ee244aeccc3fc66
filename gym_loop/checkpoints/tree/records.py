"""Classes that the data may name: named tuples, dataclasses and enumerations.

They are looked up among what the modules of the live objects around already hold; of a named tuple
or an enumeration, which hold nothing but their items, in its own module too, if it is loaded.
Nothing is imported, and no constructor runs.
"""

from __future__ import annotations

import enum
import sys
import types
from collections.abc import Callable
from typing import Any

from gym_loop.checkpoints.tree.tags import HIDDEN, Tree, Way, class_name, module_of
from gym_loop.schema.class_strings import module_name


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


def _unknown(walk: Any, name: str, way: Way | None) -> Exception:
    error: Exception = walk.misfit(
        way,
        f"the class {name} is not known here; define it, or import it, at the top of the "
        "module that uses it",
    )
    return error


def is_known(kind: type, owners: list[type], fits: Callable[[Any], bool] | None = None) -> bool:
    """Whether a tree that is put back near objects of some classes finds this one."""
    near = types.SimpleNamespace(owners=owners, tuple_types={})
    if fits is not None:
        return find_class(near, None, kind.__qualname__, fits) is kind
    fits = _is_enum if _is_enum(kind) else _is_namedtuple
    return find_class(near, None, kind.__name__, fits, origin(kind).get("module")) is kind


def namedtuple_class(
    walk: Any, live: Any, name: str, node: Tree, fields: list[str], way: Way | None
) -> Any:
    """The named tuple of this name, which must have the saved fields; ``node`` has its module."""
    kind = find_class(walk, live, name, _is_namedtuple, node.get("module"))
    if kind is None:
        raise _unknown(walk, name, way)
    if list(kind._fields) != list(fields):
        was, now = ", ".join(fields), ", ".join(kind._fields)
        raise walk.misfit(way, f"{name} was saved with the fields {was}, but now has {now}")
    return kind


def capture_namedtuple(walk: Any, value: Any, way: Way | None) -> Tree:
    """A named tuple, by its class and its fields."""
    walk.named.setdefault(type(value), way)
    below = (way, "fields", HIDDEN)
    return {
        "__namedtuple__": type(value).__name__,
        **origin(type(value)),
        "fields": {
            name: walk.tree(item, (below, name))
            for name, item in zip(value._fields, value, strict=True)
        },
    }


def restore_namedtuple(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """A named tuple, without calling its class."""
    fields = node["fields"]
    kind = namedtuple_class(walk, live, node["__namedtuple__"], node, list(fields), way)
    olds = live if type(live) is kind else (None,) * len(fields)
    values = [
        walk.value(old, item, (way, field))
        for old, (field, item) in zip(olds, fields.items(), strict=True)
    ]
    return tuple.__new__(kind, values)


def capture_enum(walk: Any, value: enum.Enum, way: Way | None) -> Tree:
    """A member of an enumeration, by its name; of flags the bits, for several may be set."""
    walk.named.setdefault(type(value), way)
    node = {"__enum__": type(value).__name__, **origin(type(value))}
    if isinstance(value, enum.Flag):
        return {**node, "value": int(value.value)}
    return {**node, "name": value.name}


def restore_enum(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """A member of an enumeration, by its name."""
    name = node["__enum__"]
    kind = find_class(walk, live, name, _is_enum, node.get("module"))
    if kind is None:
        raise _unknown(walk, name, way)
    try:
        return kind[node["name"]] if "name" in node else kind(node["value"])
    except (KeyError, ValueError) as error:
        wanted = node.get("name", node.get("value"))
        raise walk.misfit(way, f"the enumeration {name} has no member {wanted!r}") from error


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
