"""From a tree back into live objects."""

from __future__ import annotations

import collections
import inspect
import pathlib
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np

from gym_loop.checkpoints.tree import arrays, columns, records, stateful, streams, tensors
from gym_loop.checkpoints.tree.inspection import attribute_items, slot_names
from gym_loop.checkpoints.tree.tags import (
    ATOMS,
    FACTORIES,
    HIDDEN,
    TAGS,
    Tree,
    Way,
    class_name,
    place_of,
)
from gym_loop.errors import StateError
from gym_loop.schema.parameter_values import ParameterValues

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
        except StateError:
            raise
        except (
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            ArithmeticError,
            RuntimeError,  # torch's
        ) as error:
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
            return arrays.restore_array(self, live, node, way)
        if kind is list:
            return self.list_(live, node, way)
        if kind is dict:
            tag = next(iter(node), None)
            if tag in TAGS:
                return _restorers[tag](self, live, node, way)
            return self.fill(self.target(live, dict, node), node, node.values(), way)
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

    def same(self, live: Any, node: Tree, way: Way | None) -> Any:
        """An object that has been restored at another place already."""
        found = self.root
        for key in node["__same__"]:
            if type(key) is int and id(found) in self.blocks:
                return self.blocks[id(found)][key]
            found = found[key]
        if id(found) not in self.done:
            raise self.misfit(way, f"refers to {node['__same__']}, where no object is")
        return self.done[id(found)]

    # -- containers ------------------------------------------------------------------------------

    def items(self, lives: Iterable[Any], nodes: Tree, way: Way | None) -> list[Any]:
        """A sequence's items, each put into the live item of its place, if there is one."""
        olds = list(lives)
        if type(nodes) is not list:
            return columns.unpack(self, nodes, olds, way)
        olds.extend([None] * (len(nodes) - len(olds)))
        return [
            node if type(node) in ATOMS else self.value(olds[index], node, (way, index))
            for index, node in enumerate(nodes)
        ]

    def count(self, nodes: Tree, way: Way | None) -> int:
        """How many items `items` would give, without making them."""
        return len(nodes) if type(nodes) is list else columns.check(self, nodes, way)

    def list_(self, live: Any, node: Tree, way: Way | None) -> Any:
        result = self.target(live, list, node)
        result[:] = self.items(result, node, way)
        return result

    def tuple_(self, live: Any, node: Tree, way: Way | None) -> Any:
        olds = live if isinstance(live, tuple) else ()
        return tuple(self.items(olds, node["__tuple__"], way))

    def set_(self, live: Any, node: Tree, way: Way | None) -> Any:
        result = self.target(live, set, node)
        values = self.items((), node["__set__"], way)
        result.clear()
        result.update(values)
        return result

    def frozenset_(self, live: Any, node: Tree, way: Way | None) -> Any:
        return frozenset(self.items((), node["__frozenset__"], way))

    def deque(self, live: Any, node: Tree, way: Way | None) -> Any:
        maxlen = node["maxlen"]
        kind = collections.deque
        if type(live) is not kind or live.maxlen != maxlen or self.is_used(live):
            live = kind(maxlen=maxlen)
        self.claim(live, node)
        values = self.items(live, node["__deque__"], way)
        live.clear()
        live.extend(values)
        return live

    def dict_by_items(self, live: Any, node: Tree, way: Way | None) -> Any:
        name, _, factory = node["__dict__"].partition(":")
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
        if type(nodes) is dict:
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
                if old is None and factory is not None and type(node) is dict:
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
        wanted = node["__object__"]
        if class_name(type(live)) != wanted or self.is_used(live):
            live = records.new_record(self, live, wanted, way)
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
            values = self.items((), node["__set__"], way)
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
            if name in exclude or (type(node) is dict and next(iter(node), "") == "__live__"):
                continue
            if name not in olds and _is_method(getattr(type(obj), name, None)):
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
        result[:] = node["__bytearray__"]
        return result


def _is_method(value: Any) -> bool:
    return inspect.isroutine(value) and callable(value)  # a cached_property is the former alone


_DICTS: dict[str, Callable[[], Any]] = {
    "dict": dict,
    "OrderedDict": collections.OrderedDict,
    "Counter": collections.Counter,
    "ParameterValues": ParameterValues,
}


Restorer = Callable[[_Restore, Any, Tree, "Way | None"], Any]

_restorers: dict[str, Restorer] = {
    "__same__": _Restore.same,
    "__live__": lambda self, live, node, way: live,
    "__tree__": lambda self, live, node, way: node["__tree__"],
    "__tuple__": _Restore.tuple_,
    "__namedtuple__": records.restore_namedtuple,
    "__set__": _Restore.set_,
    "__frozenset__": _Restore.frozenset_,
    "__deque__": _Restore.deque,
    "__dict__": _Restore.dict_by_items,
    "__columns__": _Restore.list_,
    "__view__": arrays.restore_view,
    "__objects__": arrays.restore_objects,
    "__structured__": arrays.restore_structured,
    "__bytearray__": _Restore.bytearray,
    "__complex__": lambda self, live, node, way: complex(*node["__complex__"]),
    "__range__": lambda self, live, node, way: range(*node["__range__"]),
    "__path__": lambda self, live, node, way: pathlib.Path(node["__path__"]),
    "__dtype__": lambda self, live, node, way: np.dtype(node["__dtype__"]),
    "__enum__": records.restore_enum,
    "__object__": _Restore.object,
    "__state_dict__": stateful.restore_stateful,
    "__space__": streams.restore_space,
    "__generator__": streams.restore_generator,
    "__random_state__": streams.restore_random_state,
    "__seed_sequence__": streams.restore_seed_sequence,
    "__random__": streams.restore_random,
    "__tensor__": tensors.restore_tensor,
    "__torch_generator__": tensors.restore_torch_generator,
}
