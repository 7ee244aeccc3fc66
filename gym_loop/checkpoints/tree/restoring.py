"""From a tree back into live objects."""

from __future__ import annotations

import collections
import inspect
import pathlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np

from gym_loop.checkpoints.tree import classes, columns, numpy_state, stateful
from gym_loop.checkpoints.tree.classes import (
    ATOMS,
    FACTORIES,
    HIDDEN,
    Tree,
    Way,
    attribute_items,
    class_name,
    place_of,
    slot_names,
)
from gym_loop.errors import StateError
from gym_loop.schema.parameter_values import ParameterValues
from gym_loop.wire.dtypes import dtype_of
from gym_loop.wire.values import DAMAGE, Node

UNBACKED = 1 << 16  # values that a state may state without holding anything for them


def restore(value: Any, tree: Tree, *, path: str = "", tuple_types: Iterable[type] = ()) -> Any:
    """Put a captured state into a live object.

    Whatever is mutable is filled in place, so that other references to it stay valid;
    what is not (a number, a tuple) is returned anew.

    Args:
        value: the live object, made the same way as the one that was captured; None where
            the tree holds plain data only.
        tree: what ``capture`` returned.
        path: name of ``value`` in messages, such as ``agent``.
        tuple_types: named tuples, dataclasses and enumerations that the tree may hold beyond
            those that the modules of the live objects know.

    Returns:
        The restored value: ``value`` itself if it is mutable.

    Raises:
        StateError: the tree does not fit the object; the message names the place.
    """
    work = _Restore(tree, path, tuple_types)
    work.owners.append(type(value))
    return work.run(lambda: work.value(value, tree, None))


def restore_attributes(
    obj: Any,
    state: dict[str, Tree],
    exclude: Collection[str] = (),
    *,
    path: str = "",
    tuple_types: Iterable[type] = (),
    keep: bool = False,
    misfits: dict[str, StateError] | None = None,
    seeds: bool = False,
) -> None:
    """Put captured attributes into an object, in place where possible.

    Attributes that the state lacks are removed, unless they are excluded.

    Args:
        obj: the live object.
        state: what ``capture_attributes`` returned.
        exclude: names of attributes to leave alone.
        path: name of ``obj`` in messages.
        tuple_types: see :func:`restore`.
        keep: leave what the state lacks as it is, in the objects inside too: of a freshly made
            object it is what its code has since gained.
        misfits: takes the attributes that do not fit, by name, each with the reason; they are left
            half restored. Without it such an attribute is an error.
        seeds: make those generators anew that were seeded otherwise, which cannot be changed.
            Without it they stay, as nothing but what they spawn follows from the seed.

    Raises:
        StateError: the state does not fit the object; the message names the place.
    """
    work = _Restore(state, path, tuple_types, keep, seeds)
    work.run(lambda: work.attributes(obj, state, None, exclude, misfits))


class _Restore:
    """One walk over a tree, beside the live objects that it goes into."""

    def __init__(
        self,
        root: Tree,
        path: str,
        tuple_types: Iterable[type],
        keep: bool = False,
        seeds: bool = False,
    ) -> None:
        self.root = root
        self.path = path
        self.keep, self.seeds = keep, seeds
        self.tuple_types = {kind.__name__: kind for kind in tuple_types}
        self.owners: list[type] = []  # classes of the live objects around the present place
        self.done: dict[int, Any] = {}  # id of a node of the tree -> the object it became
        self.blocks: dict[int, list[Any]] = {}  # id of a node in columns -> objects in it
        self.used: dict[int, Any] = {}  # live objects that a node has gone into, by id
        self.overlaid: list[tuple[Way | None, Any, Any]] = []  # views that were written to
        self.unbacked = 0

    def run(self, work: Callable[[], Any]) -> Any:
        name = self.path or "the state"
        try:
            result = work()
        except RecursionError as error:
            raise StateError(f"{name}: what was saved is nested too deeply") from error
        except DAMAGE as error:
            what = f"is damaged, or of another version ({type(error).__name__}: {error})"
            raise StateError(f"{name}: what was saved {what}") from error
        for way, live, node in self.overlaid:
            if live.tobytes() != node.tobytes():
                raise self.misfit(
                    way, "shares its memory with another array now, but did not when it was saved"
                )
        return result

    def charge(self, count: int, way: Way | None) -> None:
        """Count values that are about to be made though no byte of the state stands for them."""
        self.unbacked += count
        if self.unbacked > UNBACKED:
            raise self.misfit(way, f"{self.unbacked:,} values are stated, but not there")

    def misfit(self, way: Way | None, what: str) -> StateError:
        return StateError(f"{place_of(way, self.path)}: {what}")

    def value(self, live: Any, node: Tree, way: Way | None) -> Any:
        """Restore one node; ``live`` is what stands at its place now."""
        kind = type(node)
        if kind in ATOMS:
            return node
        if kind is np.ndarray:
            return numpy_state.restore_array(self, live, node, way)
        if kind is list:
            return self.list_(live, node, way)
        if kind is dict:
            return self.fill(self.target(live, dict, node), node, node.values(), way)
        if kind is Node:
            return _restorers[node.kind](self, live, node, way)
        if kind is tuple:
            return tuple(self.items(live if isinstance(live, tuple) else (), node, way))
        if isinstance(node, np.generic):
            return node
        raise self.misfit(way, f"a {class_name(kind)} has no place in a saved state")

    # A node goes into the live object of its place, but two nodes never into the same one.

    def is_used(self, live: Any) -> bool:
        return id(live) in self.used

    def claim(self, live: Any, node: Tree) -> Any:
        self.used[id(live)] = live
        self.done[id(node)] = live
        return live

    def target(self, live: Any, kind: Callable[[], Any], node: Tree) -> Any:
        """The live object if it is of this class and free, else a new one."""
        return self.claim(kind() if type(live) is not kind or self.is_used(live) else live, node)

    def at(self, keys: list[Any], way: Way | None) -> Any:
        """An object that has been restored at another place already, by the keys to that place."""
        found = self.root
        for key in keys:
            if type(key) is int and id(found) in self.blocks:
                return self.blocks[id(found)][key]
            found = found[key]
        if id(found) not in self.done:
            raise self.misfit(way, f"refers to {keys}, where no object is")
        return self.done[id(found)]

    # -- containers ------------------------------------------------------------------------------

    def items(self, lives: Iterable[Any], nodes: Tree, way: Way | None) -> list[Any]:
        """A sequence's items, each put into the live item of its place, if there is one."""
        olds = list(lives)
        if type(nodes) is Node:
            return columns.unpack(self, nodes, olds, way)
        olds.extend([None] * (len(nodes) - len(olds)))
        return [
            node if type(node) in ATOMS else self.value(olds[index], node, (way, index))
            for index, node in enumerate(nodes)
        ]

    def count(self, nodes: Tree, way: Way | None) -> int:
        """How many items `items` would give, without making them."""
        return columns.check(self, nodes, way) if type(nodes) is Node else len(nodes)

    def list_(self, live: Any, node: Tree, way: Way | None) -> Any:
        result = self.target(live, list, node)
        result[:] = self.items(result, node, way)
        return result

    def container(self, live: Any, node: Tree, way: Way | None) -> Any:
        """A set, a deque, or a long tuple."""
        name, nodes = node["type"], node["items"]
        if name in ("tuple", "frozenset"):
            olds = live if name == "tuple" and isinstance(live, tuple) else ()
            return (tuple if name == "tuple" else frozenset)(self.items(olds, nodes, way))
        if name == "deque":
            maxlen, kind = node["maxlen"], collections.deque
            fits = type(live) is kind and live.maxlen == maxlen and not self.is_used(live)
            self.contents(self.claim(live if fits else kind(maxlen=maxlen), node), nodes, way)
        elif name == "set":
            self.contents(self.target(live, set, node), node, way)
        return self.done[id(node)]

    def dict_by_items(self, live: Any, node: Tree, way: Way | None) -> Any:
        name, _, factory = node["type"].partition(":")
        if name == "defaultdict":
            if type(live) is not collections.defaultdict or self.is_used(live):
                if factory not in FACTORIES:
                    raise self.misfit(
                        way,
                        "a defaultdict with a factory of its own was saved here, but none is "
                        "here now; make it in __init__",
                    )
                live = collections.defaultdict(FACTORIES[factory])
            self.claim(live, node)
        else:
            live = self.target(live, _DICTS[name], node)
        return self.fill(live, self.items((), node["keys"], way), node["values"], way)

    def fill(self, live: Any, keys: Iterable[Any], nodes: Any, way: Way | None) -> Any:
        """Give a dictionary the saved values, in the saved order."""
        if type(nodes) is Node:
            keys = list(keys)
            values = columns.unpack(self, nodes, [dict.get(live, key) for key in keys], way)
            new = dict(zip(keys, values, strict=True))
        else:
            # What the user's own factory makes may serve as the live value of a new key.
            is_default = isinstance(live, collections.defaultdict)
            factory = live.default_factory if is_default else None
            new = {}
            for key, node in zip(keys, nodes, strict=True):
                old = dict.get(live, key)
                if old is None and factory is not None and isinstance(node, dict):
                    old = factory()
                step = (way, key) if type(key) is str else (way, len(new), key)
                new[key] = self.value(old, node, step)
        ordered = isinstance(live, collections.OrderedDict)
        kind: Any = collections.OrderedDict if ordered else dict
        kind.clear(live)
        for key, value in new.items():
            kind.__setitem__(live, key, value)
        return live

    # -- objects -----------------------------------------------------------------------------------

    def object(self, live: Any, node: Tree, way: Way | None) -> Any:
        wanted = node["class"]
        if class_name(type(live)) != wanted or self.is_used(live):
            live = classes.new_record(self, live, wanted, way)
        self.claim(live, node)
        if "items" in node:
            self.contents(live, node["items"], way)
        self.attributes(live, node["attributes"], way)
        return live

    def contents(self, live: Any, node: Tree, way: Way | None) -> None:
        """What a subclass of a container contains, past the methods of the subclass."""
        if isinstance(live, dict):
            self.fill(live, self.items((), node["keys"], way), node["values"], way)
        elif isinstance(live, list):
            list.__setitem__(live, slice(None), self.items(live, node, way))
        elif isinstance(live, collections.deque):
            values = self.items(live, node, way)
            collections.deque.clear(live)
            collections.deque.extend(live, values)
        elif isinstance(live, set):
            values = self.items((), node["items"], way)
            set.clear(live)
            set.update(live, values)

    def attributes(
        self,
        obj: Any,
        state: dict[str, Tree],
        way: Way | None,
        exclude: Collection[str] = (),
        misfits: dict[str, StateError] | None = None,
    ) -> None:
        self.done.setdefault(id(state), obj)
        self.used[id(obj)] = obj
        self.owners.append(type(obj))
        slots = slot_names(type(obj))
        olds = dict(attribute_items(obj))
        own: dict[str, Any] = getattr(obj, "__dict__", {})
        depth = len(self.owners)
        for name, node in state.items():
            if name in exclude or (type(node) is Node and node.kind == "live"):
                continue
            method = getattr(type(obj), name, None)  # a cached_property cannot be called
            if name not in olds and inspect.isroutine(method) and callable(method):
                raise self.misfit((way, name), "data was saved where the class has a method")
            try:
                value = (
                    node if type(node) in ATOMS else self.value(olds.get(name), node, (way, name))
                )
            except StateError as error:
                if misfits is None:
                    raise
                misfits[name] = error
                del self.owners[depth:]
                continue
            if name in slots:
                object.__setattr__(obj, name, value)
            elif olds.get(name, HIDDEN) is not value:
                own[name] = value
        for name in () if self.keep else olds:
            if name not in state and name not in exclude:
                if name in slots:
                    object.__delattr__(obj, name)
                else:
                    del own[name]
        self.owners.pop()
        in_order = [name for name in state if name in own and name not in exclude]
        if [name for name in own if name in state and name not in exclude] != in_order:
            for name in in_order:  # the order of a run that was never stopped
                own[name] = own.pop(name)

    def bytearray(self, live: Any, node: Tree, way: Way | None) -> Any:
        result = self.target(live, bytearray, node)
        result[:] = node["data"]
        return result


_DICTS: dict[str, Callable[[], Any]] = {
    "dict": dict,
    "OrderedDict": collections.OrderedDict,
    "Counter": collections.Counter,
    "ParameterValues": ParameterValues,
}


_restorers: dict[str, Callable[[_Restore, Any, Tree, Way | None], Any]] = {
    "attributes": lambda self, live, node, way: dict(node),
    "bytearray": _Restore.bytearray,
    "columns": _Restore.list_,
    "dict": _Restore.dict_by_items,
    "dtype": lambda self, live, node, way: dtype_of(node["name"]),
    "enum": classes.restore_enum,
    "generator": numpy_state.restore_generator,
    "items": _Restore.container,
    "live": lambda self, live, node, way: live,
    "namedtuple": classes.restore_namedtuple,
    "object": _Restore.object,
    "objects": numpy_state.restore_objects,
    "path": lambda self, live, node, way: pathlib.Path(node["name"]),
    "quoted": lambda self, live, node, way: node["tree"],
    "random": numpy_state.restore_random,
    "random_state": numpy_state.restore_random_state,
    "range": lambda self, live, node, way: range(*node["at"]),
    "same": lambda self, live, node, way: self.at(node["at"], way),
    "seed_sequence": numpy_state.restore_seed_sequence,
    "space": numpy_state.restore_space,
    "state_dict": stateful.restore_stateful,
    "tensor": stateful.restore_tensor,
    "torch_generator": stateful.restore_torch_generator,
    "view": numpy_state.restore_view,
}


# -- numbers that a saved state must hold --------------------------------------------------------


def saved_number(state: Mapping[str, Any], name: str) -> Any:
    """The number that a state holds under a name.

    Raises:
        StateError: it holds something else there.
    """
    value = state[name]
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise StateError(f"{name} was saved as {value!r:.40}, which is no number")
    return value


def saved_count(state: Mapping[str, Any], name: str) -> Any:
    """The integer from 0 on that a state holds under a name.

    Raises:
        StateError: it holds something else there.
    """
    value = saved_number(state, name)
    if not isinstance(value, (int, np.integer)) or value < 0:
        raise StateError(f"{name} was saved as {value!r:.40}, which is no count")
    return value
