"""Arrays, and the random streams of NumPy, Python and Gymnasium's spaces, as data and back."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gym_loop.checkpoints.tree.classes import HIDDEN, Tree, Way, keys_of
from gym_loop.wire.dtypes import check_bools, count_of, dtype_name, dtype_of, is_plain
from gym_loop.wire.values import Node

MOST_SPAWNED = 100_000  # children that are spawned one by one, to bring a live seed up to date
LARGEST_POOL = 1024  # words; NumPy's own default is 4, and mixing takes the square of it
_LARGEST_VIEW = 64  # times the memory that it looks into; windows that overlap are larger than it
_BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")

# -- arrays --------------------------------------------------------------------------------------


def capture_array(walk: Any, value: np.ndarray[Any, Any], way: Way | None) -> Tree:
    """An array; one that looks into another one, which is in the tree already, says so."""
    dtype = value.dtype
    if dtype.kind == "O":
        items = walk.items(value.ravel(), (way, "items", HIDDEN))
        return Node("objects", items=items, shape=list(value.shape))
    if not is_plain(dtype) and dtype.kind not in "US":
        raise walk.refuse(value, way, f"an array of dtype {dtype} cannot be saved")
    if value.size and value.flags.writeable:
        owner: Any = value if value.base is None else value.base
        holder = walk.holders.get(id(owner))
        if holder is not None and holder is not value and id(holder) in walk.seen:
            view = _view(walk, value, holder)
            if view is not None:
                return view
        whole = value.flags.c_contiguous or (value.flags.forc and dtype.kind != "V")
        if whole and (holder is None or holder.nbytes < value.nbytes):
            walk.holders[id(owner)] = value
    if dtype.kind == "V":  # what lies between the fields is copied too
        return np.frombuffer(value.tobytes(), dtype).reshape(value.shape)
    return np.array(value, order="K") if walk.copy else np.asarray(value)


def _view(walk: Any, value: np.ndarray[Any, Any], holder: np.ndarray[Any, Any]) -> Tree | None:
    start = holder.__array_interface__["data"][0]
    offset = value.__array_interface__["data"][0] - start
    try:
        _view_of(holder, value.dtype, value.shape, offset, value.strides)
    except ValueError:
        return None
    return Node(
        "view",
        of=keys_of(walk.seen[id(holder)][0]),
        dtype=dtype_name(value.dtype),
        shape=list(value.shape),
        offset=offset,
        strides=list(value.strides),
    )


def _view_of(
    holder: np.ndarray[Any, Any],
    dtype: np.dtype[Any],
    shape: Sequence[int],
    offset: int,
    strides: Sequence[int],
) -> np.ndarray[Any, Any]:
    """An array in the memory of another one; NumPy checks that it stays inside.

    Raises:
        ValueError: it would not, or it would show the same memory too often.
    """
    memory: Any = holder if holder.flags.c_contiguous else holder.T
    if not is_plain(dtype) or memory.dtype.hasobject or offset < 0:
        raise ValueError("no view of this kind can be")
    if count_of(list(shape)) * dtype.itemsize > _LARGEST_VIEW * holder.nbytes:
        raise ValueError(f"a view of shape {list(shape)} is too large for the memory behind it")
    view: np.ndarray[Any, Any] = np.ndarray(tuple(shape), dtype, memory, offset, tuple(strides))
    if memory.dtype.kind != "b":
        check_bools(view)
    return view


def restore_array(walk: Any, live: Any, node: np.ndarray[Any, Any], way: Way | None) -> Any:
    """Fill the live array, or make a new one where it does not fit."""
    if (
        isinstance(live, np.ndarray)
        and (live.shape, live.dtype) == (node.shape, node.dtype)
        and live.flags.writeable
        and not walk.is_used(live)
        and not walk.is_used(live.base)  # it was no view when it was saved
    ):
        live[...] = node
        if live.base is not None:
            walk.overlaid.append((way, live, node))
    else:
        live = np.array(node, order="K")
    return walk.claim(live, node)


def restore_view(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """An array that looks into another one."""
    holder, dtype = walk.at(node["of"], way), dtype_of(node["dtype"])
    view = _view_of(holder, dtype, node["shape"], node["offset"], node["strides"])
    if (
        type(live) is np.ndarray
        and live.dtype == dtype
        and live.__array_interface__ == view.__array_interface__
        and not walk.is_used(live)
    ):
        view = live
    return walk.claim(view, node)


def restore_objects(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """An array of objects, made only if as many were saved as its shape has places."""
    shape, items = node["shape"], node["items"]
    count, there = count_of(shape), walk.count(items, way)
    if there != count:
        raise walk.misfit(way, f"{there:,} values were saved for {count:,} places")
    shape = tuple(shape)
    if (
        not isinstance(live, np.ndarray)
        or (live.shape, live.dtype) != (shape, np.dtype(object))
        or walk.is_used(live)
    ):
        live = np.empty(shape, object)
    walk.claim(live, node)
    values = walk.items(live.ravel(), items, way)
    for index, value in zip(np.ndindex(shape), values, strict=True):
        live[index] = value
    return live


# -- random streams ------------------------------------------------------------------------------


def capture_generator(walk: Any, value: np.random.Generator, way: Way | None) -> Tree:
    """A np.random.Generator; its seed too, for that is what ``spawn`` draws from."""
    bits: Any = value.bit_generator
    state = bits.state
    if state["bit_generator"] not in _BIT_GENERATORS:
        raise walk.refuse(value, way)
    tree = Node("generator", state=walk.tree(state, (way, "state", HIDDEN)))
    if isinstance(bits.seed_seq, np.random.SeedSequence):
        tree["seed"] = capture_seed_sequence(walk, bits.seed_seq, way)
    return tree


def restore_generator(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """Put a stream into the live generator, or into a new one of the same kind."""
    saved = walk.value(None, node["state"], way)
    name, seed = saved["bit_generator"], node.get("seed")
    if name not in _BIT_GENERATORS:
        raise walk.misfit(way, f"{name} is no random number generator of NumPy")
    check_position(saved)
    if isinstance(live, np.random.Generator) and not walk.is_used(live):
        bits: Any = live.bit_generator
        stays = not walk.seeds or seed is None or _same_seed(bits.seed_seq, seed)
        if stays and bits.state["bit_generator"] == name and _spawn_as_often(bits.seed_seq, seed):
            bits.state = saved
            return walk.claim(live, node)
    sequence = None if seed is None else restore_seed_sequence(walk, None, seed, way)
    bits = getattr(np.random, name)(sequence)
    bits.state = saved
    return walk.claim(np.random.Generator(bits), node)


def check_position(state: dict[str, Any]) -> None:
    """Refuse a position outside of a generator's words: NumPy would read beyond them.

    Raises:
        ValueError: it is.
    """
    for place, name, words in ((state["state"], "pos", 624), (state, "buffer_pos", 4)):
        position = place.get(name, 0)
        if type(position) is not int or not 0 <= position <= words:
            raise ValueError(f"a random stream has no position {position!r:.40}")


def capture_seed_sequence(walk: Any, value: np.random.SeedSequence, way: Way | None) -> Tree:
    """A seed, and how many children were made from it."""
    entropy: Any = value.entropy
    return Node(
        "seed_sequence",
        entropy=entropy if type(entropy) is int else np.asarray(entropy).tolist(),
        spawn_key=[int(key) for key in value.spawn_key],
        pool_size=value.pool_size,
        spawned=value.n_children_spawned,
    )


def restore_seed_sequence(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """Bring the live seed sequence to where the saved one was, or make it anew."""
    if (
        isinstance(live, np.random.SeedSequence)
        and not walk.is_used(live)
        and _same_seed(live, node)
        and _spawn_as_often(live, node)
    ):
        return walk.claim(live, node)
    if type(node["pool_size"]) is not int or node["pool_size"] > LARGEST_POOL:
        raise walk.misfit(way, f"a seed has no pool of {node['pool_size']!r:.40} words")
    sequence = np.random.SeedSequence(
        node["entropy"],
        spawn_key=tuple(node["spawn_key"]),
        pool_size=node["pool_size"],
        n_children_spawned=node["spawned"],
    )
    return walk.claim(sequence, node)


def _same_seed(sequence: Any, saved: Tree) -> bool:
    if not isinstance(sequence, np.random.SeedSequence):
        return False
    seed = [np.asarray(sequence.entropy).tolist(), [*sequence.spawn_key]]
    return seed == [saved["entropy"], saved["spawn_key"]]


def _spawn_as_often(sequence: Any, saved: Tree) -> bool:
    """Bring a seed sequence to the saved number of children; False where that cannot be."""
    wanted = saved["spawned"] if saved is not None else 0
    missing: int = wanted - getattr(sequence, "n_children_spawned", 0)
    if missing == 0 and wanted == 0:
        return True  # nothing was ever spawned: the seed has no say any more
    if not 0 <= missing <= MOST_SPAWNED or not isinstance(sequence, np.random.SeedSequence):
        return False
    if not _same_seed(sequence, saved):
        return False
    sequence.spawn(missing)
    return True


def capture_random_state(walk: Any, value: np.random.RandomState, way: Way | None) -> Tree:
    """NumPy's older generator."""
    state = value.get_state(legacy=False)
    return Node("random_state", state=walk.tree(state, (way, "state", HIDDEN)))


def restore_random_state(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """Put a stream into the live RandomState, or into a new one."""
    saved = walk.value(None, node["state"], way)
    if not isinstance(live, np.random.RandomState) or walk.is_used(live):
        live = np.random.RandomState(0)
    check_position(saved)
    live.set_state(saved)
    return walk.claim(live, node)


def capture_random(walk: Any, value: random.Random, way: Way | None) -> Tree:
    """Python's generator: 624 words and a position."""
    _, words, gauss = value.getstate()
    return Node("random", words=np.array(words, np.uint32), gauss=gauss)


def restore_random(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """Put a stream into the live random.Random, or into a new one."""
    if type(live) is not random.Random or walk.is_used(live):
        live = random.Random(0)
    gauss = node["gauss"]
    if gauss is not None and type(gauss) is not float:
        raise walk.misfit(way, f"a random stream has no number {gauss!r:.40} left over")
    live.setstate((3, tuple(node["words"].tolist()), gauss))
    return walk.claim(live, node)


def spaces_within(space: Any) -> Iterator[Any]:
    """A Gymnasium space, then the spaces that it is made of, in a fixed order."""
    base = sys.modules["gymnasium"].Space
    yield space
    for value in vars(space).values():
        parts: Any = (value,)
        if isinstance(value, dict):
            parts = value.values()
        elif isinstance(value, (tuple, list)):
            parts = value
        for part in parts:
            if isinstance(part, base):
                yield from spaces_within(part)


def capture_space(walk: Any, value: Any, way: Way | None) -> Tree:
    """The random streams of a space; a space that never sampled has none."""
    below = (way, "streams", HIDDEN)
    streams = [
        walk.tree(space._np_random, (below, index))
        for index, space in enumerate(spaces_within(value))
    ]
    return Node("space", streams=streams)


def restore_space(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """Put the random streams back into the live space."""
    spaces = list(spaces_within(live)) if hasattr(live, "_np_random") else []
    streams = node["streams"]
    if len(spaces) != len(streams):
        now = "nothing" if live is None else str(live)
        raise walk.misfit(way, f"a space of {len(streams)} parts was saved, but {now} is here now")
    walk.claim(live, node)
    for space, stream in zip(spaces, streams, strict=True):
        old = space._np_random
        seed = stream.get("seed") if old is not None and type(stream) is Node else None
        if seed is not None and not _same_seed(old.bit_generator.seed_seq, seed):
            old = None  # its seed cannot be changed
        space._np_random = walk.value(old, stream, way)
    return live
