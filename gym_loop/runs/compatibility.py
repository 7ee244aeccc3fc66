"""Whether a checkpoint fits an agent, a loop and an environment, and what none could put back."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gym_loop.checkpoints import files
from gym_loop.checkpoints.tree import (
    Inventory,
    capture,
    capture_with_inventory,
    held_by,
    refuse_parts,
)
from gym_loop.checkpoints.tree.inventory import UNKNOWN
from gym_loop.envs.spaces import space_difference
from gym_loop.envs.state.layers import classes_of
from gym_loop.errors import CheckpointMismatchError, StateError
from gym_loop.schema.class_strings import module_name
from gym_loop.schema.own_files import is_own
from gym_loop.wire.values import Node

if TYPE_CHECKING:
    from gym_loop.checkpoints.store import Checkpoint

Tree = Any
Warn = Callable[[str], None]

NOT_HELD = "no checkpoint holds"  # how a reason begins that concerns the agent


def check_fits(checkpoint: Checkpoint, loop: Any, environment: Mapping[str, Any]) -> None:
    """Compare what a checkpoint says it was made with.

    Args:
        checkpoint: what is to be loaded.
        loop: with its agent.
        environment: what checkpoints note of the loop's environment.

    Raises:
        CheckpointMismatchError: the agent's or the loop's class, or a space, differs.
    """
    info = checkpoint.info
    classes = {"agent": type(loop.agent).__qualname__, "loop": type(loop).__qualname__}
    differing = [
        f"{key} was {info[key]}, is {name}"
        for key, name in classes.items()
        if info.get(key, name) != name
    ]
    with checkpoint.loading():
        differing += [
            f"{key} {difference}"
            for key, now in environment.items()
            if key in info and (difference := space_difference(info[key], now))
        ]
    if differing:
        raise CheckpointMismatchError(
            f"{checkpoint.path} does not fit this run file: {'; '.join(differing)}"
        )


def spaces_of(loop: Any) -> list[Any]:
    """Spaces whose random streams belong to the run: the environment's and the agent's."""
    parameters = getattr(loop.agent, "parameters", {})
    spaces = [
        loop.env.action_space,
        loop.env.observation_space,
        parameters.get("action_space"),
        parameters.get("observation_space"),
    ]
    return list({id(space): space for space in spaces if space is not None}.values())


def near(loop: Any) -> list[type]:
    """Whose modules may define what a loop's observations are made of."""
    return [type(loop), type(loop.agent), *classes_of(loop.env)]


# -- what training has made of an agent ------------------------------------------------------------


def fresh_agent(agent: Any) -> FreshAgent | None:
    """Note what an agent was made with; None if it cannot say, which its first save will tell."""
    try:
        return FreshAgent(agent)
    except Exception:  # noqa: BLE001 - whatever its own state_dict raises
        return None


class FreshAgent:
    """What an agent has before its first step, and before a checkpoint is loaded.

    Args:
        agent: as its ``__init__`` made it.

    Raises:
        StateError: its state is no data.
    """

    def __init__(self, agent: Any) -> None:
        self._makes_its_own = not _is_ours(type(agent).load_state_dict)
        tree, made = capture_with_inventory(agent.state_dict(), type(agent), path="agent")
        self._outline = _outline(tree)
        self._parts, self._code = made.parts, made.code
        self._shared = _shared_data(made.kinds)
        self._held = {place: _digest(held) for place, held in made.held.items()}
        self._looked = 0
        self._named: dict[str, str] = {}
        self._passing: set[str] = set()

    def name_gained(self, saved: Tree, place: str, warn: Warn) -> None:
        """Name the attributes that the code has gained since an agent was saved at a place."""
        if gained := list(_gained(saved, self._outline, "agent")):
            warn(
                f"{place} has no {_some(gained)}, which the agent's code has gained since: what"
                " __init__ made stays"
            )

    def refuse(self, now: Inventory) -> None:
        """Say which objects a resumed run would not have, and so could not fill.

        Raises:
            StateError: there is one; the message names it and the remedy.
        """
        if not now.fills:
            refuse_parts(now)
            return
        first = self._parts
        for place, what in now.parts.items():
            if first.get(place) == what or self._makes_its_own:
                continue
            if place in first:
                raise StateError(
                    f"{place}: a {what} is here now, where __init__ makes a {first[place]}, which"
                    " a resumed run cannot load it into; make it in __init__ as it is to be"
                )
            if what.endswith(UNKNOWN):
                raise StateError(f"{place}: a {what}: define it at the top of the agent's module")
            or_record = ", or make its class a dataclass" if place in now.records else ""
            raise StateError(
                f"{place}: a {what} was made after __init__, so that a resumed run would have none"
                f" to load it into; make it in __init__{or_record}, or override state_dict and"
                " load_state_dict"
            )

    def name_left_out(self, now: Inventory, warn: Warn) -> str:
        """Name once what training has changed that no checkpoint holds.

        Returns:
            Why a resume will not be exact; empty if it may be, or if that was said before.
        """
        left_out = {re.sub(r"\[\d+\]", "", place): why for place, why in now.left_out.items()}
        if passing := left_out.keys() - self._passing:
            self._passing |= passing  # seldom needed for longer than a step: a resume may be exact
            why = sorted({left_out[place] for place in passing})
            warn(
                f"this checkpoint holds {_some(sorted(passing))} without {', '.join(why)}: a run"
                " that is resumed from it learns nothing through that; nothing is lost where it has"
                " been used and cleared, such as at the end of an episode"
            )
        found = {}
        for place, code in now.code.items():
            if place not in self._code or self._code[place] != code:
                found[place] = f"{place} (no data, and not what __init__ made)"
            elif place in now.held and _digest(now.held[place]) != self._held.get(place):
                found[place] = f"{place} (what a function keeps inside)"
        self._looked += 1
        if self._looked & (self._looked - 1) == 0:  # ever more rarely, for files may hold much
            for name, digest in _shared_data(now.kinds).items():
                if self._shared.get(name, digest) != digest:
                    found[name] = f"{name} (of the class or its file, not of the agent)"
        if found.keys() <= self._named.keys():
            return ""
        self._named |= found
        reason = f"{NOT_HELD} {_some([self._named[name] for name in sorted(self._named)])}"
        warn(
            f"{reason}: a resumed run begins with what __init__ and the file make of it; keep data"
            " that training changes in the agent's attributes"
        )
        return reason


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"


def _is_ours(function: Any) -> bool:
    return str(getattr(function, "__module__", "")).partition(".")[0] == "gym_loop"


def _outline(tree: Tree) -> Tree:
    """What a tree consists of, without its arrays: the agent may have made others since."""
    if isinstance(tree, dict):
        parts = {key: _outline(part) for key, part in tree.items()}
        return Node(tree.kind, parts) if isinstance(tree, Node) else parts
    if isinstance(tree, list):
        return [_outline(part) for part in tree]
    return tree if isinstance(tree, str) else None


def _gained(saved: Tree, fresh: Tree, place: str) -> Iterator[str]:
    """Places of attributes in one tree that the other lacks, where both have the object."""
    if type(saved) is list and type(fresh) is list:
        for index, (one, other) in enumerate(zip(saved, fresh, strict=False)):
            yield from _gained(one, other, f"{place}[{index}]")
    kind = getattr(fresh, "kind", None)  # of a node
    if type(saved) is not type(fresh) or getattr(saved, "kind", None) != kind:
        return
    if kind == "attributes":
        yield from _gained_attributes(saved, fresh, place)
    elif kind == "object" and saved["class"] == fresh["class"]:
        yield from _gained_attributes(saved["attributes"], fresh["attributes"], place)
    elif kind == "state_dict" and saved["class"] == fresh["class"]:
        before = saved.get("attributes", {})
        for part, attributes in fresh.get("attributes", {}).items():
            inner = f"{place}.{part}" if part else place
            yield from _gained_attributes(before.get(part, {}), attributes, inner)
    elif kind is None and type(fresh) is dict:
        for name in fresh.keys() & saved.keys():
            yield from _gained(saved[name], fresh[name], f"{place}.{name}")


def _gained_attributes(saved: Tree, fresh: Tree, place: str) -> Iterator[str]:
    for name, node in fresh.items():
        if name in saved:
            yield from _gained(saved[name], node, f"{place}.{name}")
        elif getattr(node, "kind", "") != "live":
            yield f"{place}.{name}"


def _shared_data(kinds: Iterable[type]) -> dict[str, bytes]:
    """A digest of all data in the user's own classes and their files, by its name."""
    spaces: dict[str, Any] = {}
    for base in {base for kind in kinds for base in kind.__mro__}:
        if _is_users(base.__module__):
            spaces[base.__qualname__] = vars(base)
            spaces[module_name(base.__module__)] = vars(sys.modules[base.__module__])
    found = {}
    for space in sorted(spaces):
        for name, value in list(spaces[space].items()):
            if not name.startswith("__") and not isinstance(value, (type, types.ModuleType)):
                try:
                    is_code = isinstance(value, types.FunctionType)
                    data = held_by(value) if is_code else capture(value, copy=False)
                    found[f"{space}.{name}"] = _digest(data)
                except Exception:  # noqa: BLE001, S112 - no data, whatever its own code raises
                    continue
    return found


def _digest(tree: Tree) -> bytes:
    document, arrays = files.encode(tree)
    digest = hashlib.blake2b(json.dumps(document).encode(), digest_size=16)
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.digest()


@functools.lru_cache(maxsize=1024)
def _is_users(module: str) -> bool:
    """Whether a module is a file of the user's: no part of Python, of gym-loop or of a package."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and is_own(str(Path(file).resolve()))
