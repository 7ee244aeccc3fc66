"""Long sequences in columns: 100,000 transitions as a few stacked arrays.

A column describes ``n`` values: numbers of one exact type as one array, equally shaped
arrays as one stack, equally built tuples, lists and dictionaries as one column a part, and a
mixture as one column a kind with a note of whose turn it is. Arrays, lists and dictionaries
are numbered as they are met, so that an object that stands in a sequence twice (the next
observation of one step is the last one of the following step) is stored once, and is one
object again afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from gym_loop.checkpoints.tree.classes import HIDDEN, Tree, Way, namedtuple_class, origin
from gym_loop.checkpoints.tree.numpy_state import restore_array
from gym_loop.errors import StateError
from gym_loop.wire.values import Node

LONG = 64  # a shorter sequence is easier to read item by item
_FEW = 16  # a kind with fewer values gets no column of its own

_NUMBERS: dict[type, Any] = {bool: np.bool_, int: np.int64, float: np.float64}
_NEED_LIVE = frozenset({"live", "object", "state_dict", "space", "view"})


def pack(walk: Any, values: Collection[Any], way: Way | None) -> Tree | None:
    """A long sequence as columns, or None where they would gain nothing.

    Args:
        walk: the capture under way; its ``seen`` learns the objects that were packed.
        values: a list, tuple or deque of at least ``LONG`` items.
        way: where the resulting node stands.
    """
    mark = walk.mark()
    try:
        packer = _Packer(walk, way)
        column = packer.column(list(values), (way, "items", HIDDEN))
        if column["kind"] != "trees":
            return Node("columns", count=len(values), items=column)
    except (StateError, _NoColumn):
        pass  # item by item, the walk either works or names the exact place
    walk.forget(mark)
    return None


class _NoColumn(Exception):  # noqa: N818 - no error: the sequence is stored another way
    """A value that must be restored into the live object that stands at its place."""


class _Packer:
    def __init__(self, walk: Any, way: Way | None) -> None:
        self.walk = walk
        self.numbers: dict[int, int] = {}  # id of an object in this block -> its number
        self.kept: list[Any] = []  # those objects, so that their ids stay their own
        walk.blocks.append((way, self.numbers, self.kept))

    def column(self, values: list[Any], way: Way, *, nested: bool = False) -> dict[str, Tree]:
        kinds = set(map(type, values))
        kind = kinds.pop() if len(kinds) == 1 else None
        if kind is not None:
            if kind in _NUMBERS:
                try:
                    data = np.array(values, _NUMBERS[kind])
                    return {"kind": kind.__name__, "data": data}
                except OverflowError:
                    return {"kind": "trees", "data": values}  # beyond 64 bits
            if kind is type(None):
                return {"kind": "none", "backing": _backing(len(values))}
        first = _shape_of(values[0])
        if kind is None or not _all_alike(values, first):
            groups: dict[Any, list[int]] = {}
            for index, value in enumerate(values):
                groups.setdefault(_shape_of(value), []).append(index)
            if len(groups) > 1:
                return self.mixed(values, groups, way, nested)
        pack_group = _packers.get(first[0])
        if pack_group is None:
            return self.trees(values, way, nested)
        return pack_group(self, values, way)

    def mixed(
        self, values: list[Any], groups: dict[Any, list[int]], way: Way, nested: bool
    ) -> dict[str, Tree]:
        rare = [key for key, members in groups.items() if len(members) < _FEW or key[0] is None]
        rest = sorted(index for key in rare for index in groups.pop(key))
        if len(groups) > 200:
            return self.trees(values, way, nested)
        parts = [*groups.values(), *([rest] if rest else [])]
        if len(parts) == 1:
            return self.trees(values, way, nested)
        which = np.empty(len(values), np.uint8)
        columns = []
        for number, members in enumerate(parts):
            which[members] = number
            below = ((way, "parts", HIDDEN), number, HIDDEN)
            chosen = [values[index] for index in members]
            if members is rest:
                columns.append(self.trees(chosen, below, True))
            else:
                columns.append(self.column(chosen, below, nested=True))
        return {"kind": "mixed", "which": which, "parts": columns}

    def trees(self, values: list[Any], way: Way, nested: bool) -> dict[str, Tree]:
        below = (way, "data", HIDDEN)
        data = [self.walk.tree(value, (below, index)) for index, value in enumerate(values)]
        if nested and any(needs_live(tree) for tree in data):
            raise _NoColumn
        return {"kind": "trees", "data": data}

    def scalars(self, values: list[Any], way: Way) -> dict[str, Tree]:
        return {"kind": "scalar", "data": np.array(values, values[0].dtype)}

    def rows(self, kind: str, values: list[Any], parts: list[Any], way: Way) -> dict[str, Tree]:
        """Equally built records, whose ``parts`` are given column by column."""
        below = (way, "parts", HIDDEN)
        columns = [
            self.column(list(part), (below, index, HIDDEN), nested=True)
            for index, part in enumerate(parts)
        ]
        return {"kind": kind, "parts": columns} | (
            {} if columns else {"backing": _backing(len(values))}
        )

    def tuples(self, values: list[Any], way: Way) -> dict[str, Tree]:
        column = self.rows("tuple", values, list(zip(*values, strict=True)), way)
        if hasattr(values[0], "_fields"):
            column["name"] = type(values[0]).__name__
            self.walk.named.setdefault(type(values[0]), way)
            column.update(origin(type(values[0])))
            column["fields"] = list(values[0]._fields)
        return column

    def lists(self, values: list[Any], way: Way) -> dict[str, Tree]:
        self.number_all(values)
        return self.rows("list", values, list(zip(*values, strict=True)), way)

    def dicts(self, values: list[Any], way: Way) -> dict[str, Tree]:
        self.number_all(values)
        keys = list(values[0])
        column = self.rows("dict", values, [[v[key] for v in values] for key in keys], way)
        column["keys"] = keys
        return column

    def number_all(self, values: list[Any]) -> None:
        """Number mutable records; each must be new, for it is stored where it stands."""
        numbers = self.numbers
        for value in values:
            if self.walk.keys(id(value)) is not None:
                raise _NoColumn
            numbers[id(value)] = len(numbers)
        self.kept.extend(values)

    def arrays(self, values: list[Any], way: Way) -> dict[str, Tree]:
        """Each different array once, in one stack; ``at`` says where each value is."""
        numbers, holders = self.numbers, self.walk.holders
        fresh: list[Any] = []
        at: list[int] = []
        for value in values:
            number = numbers.get(id(value))
            if number is None:
                if self.walk.keys(id(value)) is not None or id(value.base) in holders:
                    raise _NoColumn  # it is, or looks into, an array outside
                number = numbers[id(value)] = len(numbers)
                fresh.append(value)
            at.append(number)
        self.kept.extend(fresh)
        column: dict[str, Tree] = {"kind": "array"}
        if fresh:
            join = np.concatenate if fresh[0].ndim else np.stack
            stack = join(fresh, dtype=fresh[0].dtype)
            column["data"] = stack.reshape(len(fresh), *fresh[0].shape)
            if not stack.size:
                column["backing"] = _backing(len(fresh))
        if len(fresh) < len(values):
            column["at"] = np.array(at, np.int64)
        return column


def _backing(count: int) -> np.ndarray[Any, Any]:
    """A byte for each value that needs none, as a reader believes no number without bytes."""
    return np.zeros(count, np.uint8)


def _shape_of(value: Any) -> tuple[Any, ...]:
    """What two values must have in common to share a column."""
    kind = type(value)
    if kind is np.ndarray:
        if value.dtype.kind in "OV":
            return (None,)
        return (np.ndarray, value.dtype, value.shape)
    if kind is tuple or kind is list:
        return (kind, len(value))
    if kind is dict:
        keys = tuple(value)
        return (dict, keys) if all(type(key) is str for key in keys) else (None,)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return (tuple, kind)
    if isinstance(value, np.generic) and value.dtype.kind in "biufc":
        return (np.generic, kind)
    return (kind if kind in _NUMBERS or value is None else None,)


def _all_alike(values: list[Any], shape: tuple[Any, ...]) -> bool:
    """Whether values of one class also have one shape: a quick answer for the usual cases."""
    if shape[0] is np.ndarray:
        return all(value.dtype == shape[1] and value.shape == shape[2] for value in values)
    if shape[0] is dict:
        return len(set(map(tuple, values))) == 1
    return shape[0] is tuple and isinstance(shape[1], type)


_packers: dict[Any, Callable[[_Packer, list[Any], Way], dict[str, Tree]]] = {
    np.ndarray: _Packer.arrays,
    np.generic: _Packer.scalars,
    tuple: _Packer.tuples,
    list: _Packer.lists,
    dict: _Packer.dicts,
}


def needs_live(tree: Tree) -> bool:
    """Whether a node can only be restored into an object that exists already."""
    if isinstance(tree, dict):
        return getattr(tree, "kind", "") in _NEED_LIVE or any(map(needs_live, tree.values()))
    return isinstance(tree, (list, tuple)) and any(map(needs_live, tree))


# -- and back ------------------------------------------------------------------------------------


def unpack(walk: Any, node: Tree, lives: Sequence[Any], way: Way | None) -> list[Any]:
    """The values of a long sequence.

    Args:
        walk: the restoration under way.
        node: what ``pack`` returned.
        lives: what stands in the sequence now, place by place; may be shorter.
        way: where the node stands.
    """
    check(walk, node, way)
    unpacker = _Unpacker(walk, way)
    walk.blocks[id(node)] = unpacker.objects
    return unpacker.values(node["items"], node["count"], lives)


def check(walk: Any, node: Tree, way: Way | None) -> int:
    """The number of values in columns, if every column has as many; none of them is made.

    Raises:
        StateError: a column has more or fewer.
    """
    count: int = node["count"]
    if type(count) is not int or count < 0:
        raise walk.misfit(way, f"{count!r:.40} is no number of values")
    _check(walk, node["items"], count, way)
    return count


def _check(walk: Any, column: Tree, count: int, way: Way | None) -> None:
    kind = column["kind"]
    parts = column.get("parts", ())
    bare = count if kind == "none" or (kind in ("tuple", "list", "dict") and not parts) else 0
    found = count
    if kind == "mixed":
        which = column["which"]
        if which.dtype != np.uint8 or which.shape != (count,) or len(parts) > 256:
            raise walk.misfit(way, "a mixed column does not say whose turn it is")
        turns = np.bincount(which, minlength=len(parts)).tolist()
        for part, turn in zip(parts, turns, strict=True):
            _check(walk, part, turn, way)
    elif kind in ("tuple", "list", "dict"):
        for part in parts:
            _check(walk, part, count, way)
    elif kind == "array":
        data = column.get("data", ())
        found = len(column.get("at", data))
        bare = 0 if len(data) and data.size else len(data)
    elif kind != "none":
        data = column["data"]
        found = len(data)
        if (type(data) is list) != (kind == "trees") or (kind != "trees" and data.ndim != 1):
            raise walk.misfit(way, f"no column is of the kind {kind!r:.20}")
    if found != count:
        raise walk.misfit(way, f"{count:,} values were saved, {found:,} are there")
    if getattr(column.get("backing"), "nbytes", 0) < bare:
        walk.charge(bare, way)


class _Unpacker:
    def __init__(self, walk: Any, way: Way | None) -> None:
        self.walk = walk
        self.way = way
        self.objects: list[Any] = []  # by number

    def values(self, column: Tree, count: int, lives: Sequence[Any] = ()) -> list[Any]:
        kind = column["kind"]
        values: list[Any]
        if kind == "none":
            return [None] * count
        if kind in ("bool", "int", "float"):
            values = column["data"].tolist()
        elif kind == "scalar":
            values = list(column["data"])
        elif kind == "array":
            values = self.arrays(column, lives)
        elif kind == "mixed":
            values = self.mixed(column)
        elif kind == "trees":
            values = self.walk.items(lives, column["data"], self.way)
        else:
            values = self.rows(kind, column, count)
        return values

    def arrays(self, column: Tree, lives: Sequence[Any]) -> list[Any]:
        stack = column.get("data", ())
        rows = [stack[index, ...] for index in range(len(stack))]
        if "at" not in column and len(lives):
            lives = [*lives[: len(rows)], *[None] * (len(rows) - len(lives))]
            pairs = zip(lives, rows, strict=True)
            fresh = [restore_array(self.walk, live, row, self.way) for live, row in pairs]
        else:
            # Copies, so that the whole stack is not kept alive by its last row.
            fresh = [row.copy() for row in rows]
        self.objects.extend(fresh)
        if "at" not in column:
            return fresh
        at = column["at"].tolist()
        if at and min(at) < 0:
            raise self.walk.misfit(self.way, "a column refers to an array that is not there")
        return [self.objects[number] for number in at]

    def mixed(self, column: Tree) -> list[Any]:
        which = column["which"].tolist()
        parts = [
            iter(self.values(part, which.count(number)))
            for number, part in enumerate(column["parts"])
        ]
        return [next(parts[number]) for number in which]

    def rows(self, kind: str, column: Tree, count: int) -> list[Any]:
        if kind not in ("tuple", "list", "dict"):
            raise self.walk.misfit(self.way, f"no column is of the kind {kind!r}")
        records: list[Any] = []
        if kind != "tuple":
            records = [[] if kind == "list" else {} for _ in range(count)]
            self.objects.extend(records)
        parts = [self.values(part, count) for part in column["parts"]]
        rows = list(zip(*parts, strict=True)) if parts else [()] * count
        if kind == "tuple":
            if "name" not in column:
                return rows
            name, fields = column["name"], column["fields"]
            make = namedtuple_class(self.walk, None, name, column, fields, self.way)
            return [tuple.__new__(make, row) for row in rows]
        for record, row in zip(records, rows, strict=True):
            if kind == "list":
                record.extend(row)
            else:
                record.update(zip(column["keys"], row, strict=True))
        return records
