"""The spaces of an environment: the same objects at each access, and what they are, as data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import Space, spaces
from gymnasium.vector import VectorEnv, VectorWrapper

from gym_loop.checkpoints.tree import first_difference
from gym_loop.checkpoints.tree.classes import attribute_items, class_name

_SPACES = (
    *("action_space", "observation_space"),
    *("single_action_space", "single_observation_space"),
)
# What makes each space; a subclass is compared as its base.
_FACTS: dict[type[Space[Any]], tuple[str, ...]] = {
    spaces.Box: ("low", "high"),
    spaces.Discrete: ("n", "start"),
    spaces.MultiBinary: (),
    spaces.MultiDiscrete: ("nvec", "start"),
    spaces.Text: ("min_length", "max_length", "characters"),
    spaces.Tuple: ("spaces",),
    spaces.Dict: ("spaces",),
    spaces.Sequence: ("feature_space", "stack"),
    spaces.Graph: ("node_space", "edge_space"),
    spaces.OneOf: ("spaces",),
}
_MOST_ITEMS = 1024  # of arrays and collections that are written out
_DEEPEST = 16
_ADDRESS = re.compile(r"( at)? 0x[0-9a-fA-F]+|gym_loop_file_[0-9a-f]+\.")


def with_lasting_spaces(env: Any) -> Any:
    """The environment, whose spaces are the same objects at each access.

    One that a property makes anew, or a reset, would be sampled by nobody's seed.
    """
    for name in _SPACES:
        space = getattr(env, name, None)
        if space is None:
            continue
        lasts = getattr(env, name) is space
        if lasts and not isinstance(env, (gymnasium.Wrapper, VectorWrapper)):
            continue
        try:
            setattr(env, name, space)
        except AttributeError:  # a property that cannot be set
            if not lasts:
                kind = VectorWrapper if isinstance(env, VectorEnv) else gymnasium.Wrapper
                env = kind(env)
                setattr(env, name, space)
    return env


def describe_space(space: Space[Any]) -> dict[str, Any]:
    """A space as plain data: ``text`` for people, ``facts`` for `space_difference`.

    The text alone will not do: it may hold an address, and it leaves out the middle of large
    bounds.

    Args:
        space: one of Gymnasium's or of the user's own, which is described by its attributes.
    """
    return {"text": _text(str(space)), "facts": _facts(space, 0)}


def space_difference(then: Any, now: Mapping[str, Any]) -> str:
    """What differs between two descriptions, in words; empty if they are of the same space.

    Args:
        then: what a checkpoint says: a description, or the text that older ones have.
        now: from `describe_space`.
    """
    if isinstance(then, str):
        same, text, detail = _text(then) == now["text"], _text(then), ""
    elif isinstance(then, dict) and {"text", "facts"} <= then.keys():
        same, text = _same(then["facts"], now["facts"]), str(then["text"])
        detail = first_difference(then["facts"], now["facts"])
    else:
        same, text, detail = False, repr(then), ""
    if same:
        return ""
    return f"was {text}, is {now['text']}" if text != now["text"] else f"{text}: {detail}"


def _text(text: str) -> str:
    """Without what differs from process to process."""
    return _ADDRESS.sub("", text)


def _facts(space: Space[Any], depth: int) -> dict[str, Any]:
    kind = next((kind for kind in _FACTS if isinstance(space, kind)), None)
    if kind is None:
        items = [one for one in attribute_items(space) if not one[0].startswith("_np_random")]
        values: dict[str, Any] = dict(items)
    else:
        values = {name: getattr(space, name) for name in _FACTS[kind]}
    return {
        "kind": class_name(type(space)) if kind is None else kind.__name__,
        "shape": None if space.shape is None else list(space.shape),
        "dtype": str(space.dtype),
        **{name: _plain(value, depth + 1) for name, value in values.items()},
    }


def _plain(value: Any, depth: int) -> Any:
    """A value of a space as data; of what is none, its name, or the name of its class."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item() if isinstance(value, (np.number, np.bool_)) else str(value)
    if isinstance(value, np.dtype):
        return str(value)
    if depth > _DEEPEST:
        return class_name(type(value))
    if isinstance(value, Space):
        return _facts(value, depth)
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        if len(value) > _MOST_ITEMS:
            return f"{class_name(type(value))} of {len(value)}"
        if isinstance(value, Mapping):
            return [[_plain(part, depth + 1) for part in pair] for pair in value.items()]
        parts = [_plain(part, depth + 1) for part in value]
        return sorted(parts, key=repr) if isinstance(value, (set, frozenset)) else parts
    name = getattr(value, "__qualname__", None)
    return name if isinstance(name, str) else class_name(type(value))


def _array(array: np.ndarray[Any, Any]) -> Any:
    """Its values; one for all that are equal, and only the least and the greatest of very many."""
    if array.dtype.kind not in "biuf" or not array.size:
        return f"{array.dtype} {array.shape}"
    least, greatest = array.min().item(), array.max().item()
    if least == greatest:
        return least
    return array.tolist() if array.size <= _MOST_ITEMS else [least, greatest]


def _same(one: Any, other: Any) -> bool:
    """Whether facts are equal, bounds but for rounding."""
    if isinstance(one, float) and isinstance(other, float):
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-8)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)
