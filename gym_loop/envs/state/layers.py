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
from gym_loop.checkpoints.tree.classes import class_name
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


def capture_layer(
    layer: Any,
    layers: Sequence[Any],
    packages: Collection[str] = (),
    no_data: set[str] | None = None,
) -> Tree:
    """The attributes of one layer, whole, as data.

    Args:
        layer: a wrapper or an environment.
        layers: all layers; attributes that point to one of them are links, not state.
        packages: names of packages whose objects are left out, being saved in another way.
        no_data: names that turned out to be no data, which are left out. It is added to, so that
            they are looked for only once. None: such an attribute is an error.

    Raises:
        StateError: an attribute is no data.
    """
    hidden, left_out = _left_out(layer, layers, packages)
    left_out |= no_data or set()
    path = type(layer).__name__
    try:
        attributes = capture_attributes(layer, exclude=hidden | left_out, path=path)
    except StateError:
        if no_data is None:
            raise
        no_data.update(no_data_in(layer, layers))
        left_out |= no_data
        attributes = capture_attributes(layer, exclude=hidden | left_out, path=path)
    tree: Tree = {"class": class_name(type(layer)), "attributes": dict(attributes)}
    if left_out:
        tree["left_out"] = sorted(left_out)
    return tree


def no_data_in(layer: Any, layers: Sequence[Any]) -> dict[str, Any]:
    """The attributes of a layer that ought to be state and are no data, by name."""
    hidden, left_out = _left_out(layer, layers)
    own = vars(layer)
    return {name: own[name] for name in own.keys() - hidden - left_out if not _is_data(own[name])}


def restore_layer(
    layer: Any,
    tree: Tree,
    layers: Sequence[Any],
    misfits: dict[str, StateError] | None = None,
) -> None:
    """Put back what `capture_layer` captured.

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
    shown = frozenset(tree.get("left_out", ()))
    exclude = set().union(*_left_out(layer, layers), shown)
    own = vars(layer)
    for name in tree["attributes"].keys() & own.keys() - exclude:
        own[name] = _detached(own[name])
    path = type(layer).__name__
    restore_attributes(
        layer, tree["attributes"], exclude=exclude, path=path, misfits=misfits, seeds=True
    )
    own[SHOWN] = shown
    if isinstance(layer, PassiveEnvChecker):
        for flag in CHECKER_FLAGS:
            setattr(layer, flag, True)


def _left_out(
    layer: Any, layers: Sequence[Any], packages: Collection[str] = ()
) -> tuple[set[str], set[str]]:
    """Names to leave out: those that every copy hides, and those that this one does today.

    A window or a clock that is made by the first frame is left out before that too where it was in
    the run that is resumed here: its states are then those of a run that never stopped.
    """
    kind: Any = type(layer)
    own = vars(layer)
    links = {id(one) for one in layers}
    shown = own.get(SHOWN, frozenset())
    hidden, left_out = set(NOT_STATE | _constants(kind)), set(shown - own.keys())
    for name, value in own.items():
        if isinstance(value, gymnasium.Space) or id(value) in links:
            hidden.add(name)
        elif _is_of(value, packages) or (name in shown and _is_nothing(value)):
            left_out.add(name)
    return hidden, left_out


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
    if type(value) in (list, tuple):
        return type(value)([_detached(item) for item in value])
    if isinstance(value, dict):
        own = copy.copy(value)  # keeps a defaultdict's factory
        own.update({key: _detached(item) for key, item in value.items()})
        return own
    # A generator's seed sequence cannot be changed, only made anew.
    made_anew = isinstance(value, (np.ndarray, np.random.Generator, set, collections.deque))
    return None if made_anew else value


def _is_data(value: Any) -> bool:
    try:
        capture(value)
    except StateError:
        return False
    return True
