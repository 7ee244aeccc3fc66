"""The layers of an environment, its wrappers and its core, and which attributes are state.

What is left out: the link to the layer below, what the constructor was given, spaces (their
random streams belong to the run, see `gym_loop.checkpoints.seeding`), and objects that only show.
"""

from __future__ import annotations

import collections
import copy
import functools
from collections.abc import Collection, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorWrapper
from gymnasium.wrappers import PassiveEnvChecker

from gym_loop.checkpoints.tree import capture, capture_attributes, restore_attributes
from gym_loop.checkpoints.tree.tags import class_name
from gym_loop.errors import StateError

Tree = dict[str, Any]

# Where a restored layer keeps the names that only show in the run that was saved, see `_left_out`.
SHOWN = "_gym_loop_shown"
NOT_STATE = frozenset(
    {
        SHOWN,
        *("env", "envs", "env_fns", "spec", "_cached_spec", "metadata", "_metadata"),
        *("render_mode", "observation_mode", "autoreset_mode", "_autoreset_mode"),
        *("_ezpickle_args", "_ezpickle_kwargs", "_saved_kwargs"),
    }
)
# What the checker of a first reset and a first step remembers would bring an old observation
# into every checkpoint; a restored environment has been checked before.
CHECKER_FLAGS = ("checked_reset", "checked_step", "checked_data_reuse")
# Objects of these packages show the environment, they do not simulate it.
SHOWING = frozenset({"pygame", "pyglet", "glfw", "OpenGL", "matplotlib", "tkinter"})


def layers_of(env: Any) -> list[Any]:
    """Every layer of an environment, or of a vector environment, from the outermost inwards."""
    layers = [env]
    while isinstance(layers[-1], (gymnasium.Wrapper, VectorWrapper)):
        layers.append(layers[-1].env)
    return layers


def classes_of(env: Any) -> list[type]:
    """The class of every layer of an environment, and of the copies in a vector environment."""
    layers = layers_of(env)
    copies = getattr(layers[-1], "envs", None)
    return [type(one) for one in (*layers, *(layers_of(copies[0]) if copies else ()))]


def capture_layer(layer: Any, layers: Sequence[Any], packages: Collection[str] = ()) -> Tree:
    """The state of one layer, strictly: an attribute that is no data is an error.

    Args:
        layer: a wrapper or an environment.
        layers: all layers; attributes that point to one of them are links, not state.
        packages: names of packages whose objects are left out, being saved in another way.

    Raises:
        StateError: an attribute is no data.
    """
    hidden, seen = _left_out(layer, layers, packages)
    attributes = capture_attributes(layer, exclude=hidden | seen, path=type(layer).__name__)
    return _layer_tree(layer, attributes, seen)


def capture_wrapper(layer: Any, layers: Sequence[Any]) -> Tree:
    """The state of a wrapper; what is no data in it, such as an open file, is left as it is."""
    hidden, seen = _left_out(layer, layers)
    attributes = capture_attributes(
        layer,
        exclude=hidden | seen,
        path=type(layer).__name__,
        on_unsaveable=lambda place, why: None,
    )
    return _layer_tree(layer, attributes, seen)


def no_data_in(layer: Any, layers: Sequence[Any]) -> dict[str, Any]:
    """The attributes of a layer that ought to be state and are no data, by name."""
    hidden, seen = _left_out(layer, layers)
    own = vars(layer)
    return {name: own[name] for name in own.keys() - hidden - seen if not _is_data(own[name])}


def capture_data(layer: Any, layers: Sequence[Any], no_data: set[str]) -> Tree:
    """The attributes of a layer that are data, whole; the others are left out.

    Args:
        layer: a wrapper or an environment.
        layers: all layers.
        no_data: names that turned out to be no data; kept by the caller, so that they are
            looked for only once.
    """
    hidden, seen = _left_out(layer, layers)
    seen |= no_data
    path = type(layer).__name__
    try:
        attributes = capture_attributes(layer, exclude=hidden | seen, path=path)
    except StateError:
        no_data.update(no_data_in(layer, layers))
        seen |= no_data
        attributes = capture_attributes(layer, exclude=hidden | seen, path=path)
    return _layer_tree(layer, attributes, seen)


def restore_layer(
    layer: Any,
    tree: Tree,
    layers: Sequence[Any],
    misfits: dict[str, StateError] | None = None,
) -> None:
    """Put back what one of the functions above captured.

    Args:
        layer: a wrapper or an environment.
        tree: what was captured.
        layers: all layers.
        misfits: takes the attributes that do not fit, as `restore_attributes` does.

    Raises:
        StateError: the state is another class's, or does not fit.
    """
    name = class_name(type(layer))
    if tree["class"] != name:
        raise StateError(
            f"the saved environment has a {tree['class']} where this one has a {name}; make the"
            " environment with the same wrappers in the same order"
        )
    hidden, seen = _left_out(layer, layers)
    exclude = hidden | seen | set(tree.get("left_out", ()))
    own = vars(layer)
    for name in tree["attributes"].keys() & own.keys() - exclude:
        own[name] = _detached(own[name])
    restore_attributes(
        layer,
        tree["attributes"],
        exclude=exclude,
        path=type(layer).__name__,
        misfits=misfits,
        seeds=True,
    )
    own[SHOWN] = frozenset(tree.get("left_out", ()))
    if isinstance(layer, PassiveEnvChecker):
        for flag in CHECKER_FLAGS:
            setattr(layer, flag, True)


def _layer_tree(layer: Any, attributes: Tree, seen: Collection[str]) -> Tree:
    tree: Tree = {"class": class_name(type(layer)), "attributes": dict(attributes)}
    if seen:
        tree["left_out"] = sorted(seen)
    return tree


def _left_out(
    layer: Any, layers: Sequence[Any], packages: Collection[str] = ()
) -> tuple[set[str], set[str]]:
    """Names to leave out: those that every copy hides, and those that this one does today.

    A window or a clock that is made by the first frame is left out before that too where it was in
    the run that is resumed here: its states are then those of a run that never stopped.
    """
    kind: Any = type(layer)
    hidden = set(NOT_STATE | _constants(kind))
    seen = set()
    links = {id(one) for one in layers}
    shown = vars(layer).get(SHOWN, frozenset())
    seen |= shown - vars(layer).keys()
    for name, value in vars(layer).items():
        if isinstance(value, gymnasium.Space) or id(value) in links:
            hidden.add(name)
        elif _is_of(value, packages) or (name in shown and _is_nothing(value)):
            seen.add(name)
    return hidden, seen


@functools.lru_cache(maxsize=256)
def _constants(kind: Any) -> frozenset[str]:
    """Attributes that a class never changes, where saving them has a cost."""
    if issubclass(kind, PassiveEnvChecker):
        return frozenset({*CHECKER_FLAGS, "_previous_data"})
    if any(base.__module__.startswith("gymnasium.envs.toy_text.") for base in kind.__mro__):
        return frozenset({"P"})  # the transition table: 3,000 rows in Taxi
    if kind.__module__.startswith("gymnasium.wrappers.") and "rendering" in kind.__module__:
        return frozenset({"frame_list", "recorded_frames", "render_history"})
    return frozenset(getattr(kind, "not_state", ()))


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, (list, tuple, dict)) and not value)


def _is_of(value: Any, packages: Collection[str]) -> bool:
    """Whether an object, or the first one inside a container, is of a package or only shows."""
    for _ in range(3):
        if isinstance(value, (list, tuple)) and value:
            value = value[0]
        elif isinstance(value, dict) and value:
            value = next(iter(value.values()))
        else:
            break
    kind: Any = type(value)
    package, shows = _package(kind)
    return shows or package in packages


@functools.lru_cache(maxsize=1024)
def _package(kind: Any) -> tuple[str, bool]:
    package = kind.__module__.partition(".")[0]
    return package, package in SHOWING or kind.__module__.endswith(".mujoco_rendering")


def _detached(value: Any) -> Any:
    """A container to fill in place of one that a class or a module may share with others.

    An environment that starts from a constant, ``self.grid = LEVELS[0]``, must not have the
    saved grid written into the constant. Objects stay, being the environment's own.
    """
    if isinstance(value, (np.ndarray, np.random.Generator)):
        return None  # a generator's seed sequence cannot be changed, only made anew
    if type(value) in (list, tuple):
        return type(value)([_detached(item) for item in value])
    if isinstance(value, dict):
        own = copy.copy(value)  # keeps a defaultdict's factory
        for key, item in own.items():
            own[key] = _detached(item)
        return own
    if isinstance(value, (set, collections.deque)):
        return None
    return value


def _is_data(value: Any) -> bool:
    try:
        capture(value)
    except StateError:
        return False
    return True
