"""Random streams as data, and back: NumPy's, Python's, and those of Gymnasium's spaces."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from gym_loop.checkpoints.tree.tags import HIDDEN, Tree, Way

MOST_SPAWNED = 100_000  # children that are spawned one by one, to bring a live seed up to date
LARGEST_POOL = 1024  # words; NumPy's own default is 4, and mixing takes the square of it
_BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


def capture_generator(walk: Any, value: np.random.Generator, way: Way | None) -> Tree:
    """A np.random.Generator; its seed too, for that is what ``spawn`` draws from."""
    bits: Any = value.bit_generator
    state = bits.state
    if state["bit_generator"] not in _BIT_GENERATORS:
        raise walk.refuse(value, way)
    tree = {"__generator__": walk.tree(state, (way, "__generator__", HIDDEN))}
    if isinstance(bits.seed_seq, np.random.SeedSequence):
        tree["seed"] = capture_seed_sequence(walk, bits.seed_seq, way)
    return tree


def restore_generator(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """Put a stream into the live generator, or into a new one of the same kind."""
    saved = walk.value(None, node["__generator__"], way)
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
    return {
        "__seed_sequence__": entropy if type(entropy) is int else np.asarray(entropy).tolist(),
        "spawn_key": [int(key) for key in value.spawn_key],
        "pool_size": value.pool_size,
        "spawned": value.n_children_spawned,
    }


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
        node["__seed_sequence__"],
        spawn_key=tuple(node["spawn_key"]),
        pool_size=node["pool_size"],
        n_children_spawned=node["spawned"],
    )
    return walk.claim(sequence, node)


def _same_seed(sequence: Any, saved: Tree) -> bool:
    if not isinstance(sequence, np.random.SeedSequence):
        return False
    seed = [np.asarray(sequence.entropy).tolist(), [*sequence.spawn_key]]
    return seed == [saved["__seed_sequence__"], saved["spawn_key"]]


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
    return {"__random_state__": walk.tree(state, (way, "__random_state__", HIDDEN))}


def restore_random_state(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """Put a stream into the live RandomState, or into a new one."""
    saved = walk.value(None, node["__random_state__"], way)
    if not isinstance(live, np.random.RandomState) or walk.is_used(live):
        live = np.random.RandomState(0)
    check_position(saved)
    live.set_state(saved)
    return walk.claim(live, node)


def capture_random(walk: Any, value: random.Random, way: Way | None) -> Tree:
    """Python's generator: 624 words and a position."""
    _, words, gauss = value.getstate()
    return {"__random__": np.array(words, np.uint32), "gauss": gauss}


def restore_random(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """Put a stream into the live random.Random, or into a new one."""
    if type(live) is not random.Random or walk.is_used(live):
        live = random.Random(0)
    gauss = node["gauss"]
    if gauss is not None and type(gauss) is not float:
        raise walk.misfit(way, f"a random stream has no number {gauss!r:.40} left over")
    live.setstate((3, tuple(node["__random__"].tolist()), gauss))
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
    below = (way, "__space__", HIDDEN)
    return {
        "__space__": [
            walk.tree(space._np_random, (below, index))
            for index, space in enumerate(spaces_within(value))
        ]
    }


def restore_space(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """Put the random streams back into the live space."""
    spaces = list(spaces_within(live)) if hasattr(live, "_np_random") else []
    streams = node["__space__"]
    if len(spaces) != len(streams):
        now = "nothing" if live is None else str(live)
        raise walk.misfit(way, f"a space of {len(streams)} parts was saved, but {now} is here now")
    walk.claim(live, node)
    for space, stream in zip(spaces, streams, strict=True):
        old = space._np_random
        seed = stream.get("seed") if old is not None and type(stream) is dict else None
        if seed is not None and not _same_seed(old.bit_generator.seed_seq, seed):
            old = None  # its seed cannot be changed
        space._np_random = walk.value(old, stream, way)
    return live
