"""Objects with a ``state_dict`` of their own: modules, optimisers, schedulers, and a user's.

What such a method returns is asked for and put back as it is. PyTorch's knows nothing of what a
subclass keeps besides, an optimiser or a counter in a network, so these attributes are saved too.
A class that defines the method itself says what is to be saved, and nothing is added.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Iterator
from typing import Any

from gym_loop.checkpoints.tree import columns, records
from gym_loop.checkpoints.tree.tags import ATOMS, HIDDEN, Tree, Way, class_name, module_of
from gym_loop.checkpoints.tree.tensors import loaded_torch


def capture_stateful(walk: Any, value: Any, way: Way | None) -> Tree:
    """What ``state_dict()`` gives, and what it leaves out."""
    mark = walk.mark()
    saved = walk.tree(value.state_dict(), (way, "__state_dict__", HIDDEN))
    if not columns.needs_live(saved):
        walk.forget(mark)  # what is loaded from it may be a copy: nothing else may refer to it
    node = {"__state_dict__": saved, "class": class_name(type(value))}
    torch = loaded_torch()
    if torch is not None and isinstance(value, torch.nn.Module):
        _capture_module(walk, value, node, way)
    attributes = {}
    for name, part in _parts(value):
        if part is not value and walk.keys(id(part)) is not None:
            continue  # saved elsewhere
        below = ((way, "attributes", HIDDEN), name, f".{name}" if name else HIDDEN)
        walk.inside += 1
        excluded = _not_added(part, vars_of(part), walk.hidden)
        ignore = _ignore if walk.hidden else None
        attributes[name] = walk.attributes(part, below, excluded, ignore)
        walk.inside -= 1
    if any(attributes.values()) or len(attributes) > 1:
        node["attributes"] = attributes
    return node


def restore_stateful(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """Have the live object load what was saved, and put back what it does not load."""
    wanted = node["class"]
    if class_name(type(live)) != wanted:
        raise records.missing(walk, live, wanted, way)
    walk.claim(live, node)
    saved = node["__state_dict__"]
    # Code and objects within can only be what the live object has there.
    own = live.state_dict() if columns.needs_live(saved) else None
    state = walk.value(own, saved, (way, "__state_dict__", HIDDEN))
    try:
        live.load_state_dict(state)
    except (RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
        what = f"{wanted}.load_state_dict refused what was saved: {error}"
        raise walk.misfit(way, what) from error
    torch = loaded_torch()
    if torch is not None and isinstance(live, torch.nn.Module) and "evaluating" in node:
        _restore_module(walk, live, node, way)
    parts = dict(_parts(live))
    for name, attributes in node.get("attributes", {}).items():
        part, below = parts[name], (way, name, f".{name}" if name else HIDDEN)
        names = vars_of(part).keys() | attributes.keys()
        walk.attributes(part, attributes, below, _not_added(part, names))
    return live


def vars_of(value: Any) -> dict[str, Any]:
    """The attributes of an object; of one that has slots alone, none."""
    return getattr(value, "__dict__", {})


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """An object, and the modules in it where it is one, each with its dotted name."""
    torch = loaded_torch()
    if torch is not None and isinstance(value, torch.nn.Module):
        yield from value.named_modules()
    else:
        yield "", value


def _ignore(place: str, why: str) -> None:
    """What is no data need not be compared."""


def _not_added(part: Any, names: Iterable[str], hidden: bool = False) -> set[str]:
    """Those names that the ``state_dict`` of an object answers for, or PyTorch itself.

    With ``hidden`` only what the libraries answer for: a user's own method may forget something.
    """
    torch = loaded_torch()
    kind: type = type(part)
    owner = next((base for base in kind.__mro__ if "state_dict" in vars(base)), kind)
    known: frozenset[str] = frozenset()
    if torch is not None and isinstance(part, torch.nn.Module):
        known = frozenset(vars(torch.nn.Module()))
        if owner is torch.nn.Module:
            if _is_library(kind):  # weak references and the like; the numbers may have been changed
                own, theirs = vars(part), _names_in(kind)
                return {
                    name
                    for name in names
                    if name in known or (name in theirs and type(own.get(name)) not in ATOMS)
                }
            return set(known)
    if _is_library(kind) or (owner is kind and not hidden):
        return set(names)
    if owner is kind:
        return {name for name in names if name in known}
    library = next(filter(_is_library, kind.__mro__), owner)
    return {name for name in names if name in known or name in _names_in(library)}


@functools.lru_cache(maxsize=256)
def _names_in(owner: type) -> frozenset[str]:
    """Every name in the code of a class and of its bases: its own attributes are among them."""
    found: set[str] = set()
    codes = [
        function.__code__
        for base in owner.__mro__
        for value in vars(base).values()
        if isinstance(function := getattr(value, "__func__", value), types.FunctionType)
    ]
    while codes:
        code = codes.pop()
        found.update(code.co_names)
        codes.extend(one for one in code.co_consts if isinstance(one, types.CodeType))
    return frozenset(found)


def _is_library(kind: type) -> bool:
    return module_of(kind).partition(".")[0] in ("torch", "gym_loop")


def _capture_module(walk: Any, module: Any, node: Tree, way: Way | None) -> None:
    """Gradients, modes and buffers that a module's state_dict leaves out; names of its tensors."""
    entries = _entries(node["__state_dict__"])
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers()]
    for name, tensor in tensors:
        keys, tree = entries.get(name, ((), None))
        if type(tree) is dict and "__tensor__" in tree and id(tensor) not in walk.seen:
            at: Way | None = (way, "__state_dict__", HIDDEN)
            for key in keys:
                at = (at, key, HIDDEN)
            walk.seen[id(tensor)] = (at, tensor)
    gradients = {name: one.grad for name, one in _with_own_gradient(module) if one.grad is not None}
    node["gradients"] = walk.tree(gradients, (way, "gradients", HIDDEN))
    node["evaluating"] = [name for name, part in module.named_modules() if not part.training]
    buffers = dict(_passing_buffers(module))
    if buffers:
        node["buffers"] = walk.tree(buffers, (way, "buffers", HIDDEN))


def _restore_module(walk: Any, module: Any, node: Tree, way: Way | None) -> None:
    """Put back what `_capture_module` noted."""
    entries = _entries(node["__state_dict__"])
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers()]
    for name, tensor in tensors:
        tree = entries.get(name, ((), None))[1]
        if type(tree) is dict and "__tensor__" in tree:
            walk.claim(tensor, tree)
    evaluating = set(node["evaluating"])
    for name, part in module.named_modules():
        part.training = name not in evaluating
    for name, parameter in _with_own_gradient(module):
        saved = node["gradients"].get(name)
        parameter.grad = None if saved is None else walk.value(parameter.grad, saved, way)
    for name, _ in _passing_buffers(module):
        if name in node.get("buffers", {}):
            holder, _, last = name.rpartition(".")
            buffers = module.get_submodule(holder)._buffers
            buffers[last] = walk.value(buffers[last], node["buffers"][name], (way, name))


def _with_own_gradient(module: Any) -> Iterator[tuple[str, Any]]:
    """The parameters whose gradient is no view into a vector, which belongs to somebody else."""
    for name, one in module.named_parameters():
        if one.grad is None or not one.grad._is_view():
            yield name, one


def _passing_buffers(module: Any) -> Iterator[tuple[str, Any]]:
    """The buffers that were registered with ``persistent=False``, by their dotted names."""
    for name, part in module.named_modules():
        for one in sorted(part._non_persistent_buffers_set):
            yield f"{name}.{one}".lstrip("."), part._buffers.get(one)


def _entries(state: Tree) -> dict[str, tuple[tuple[str | int, ...], Tree]]:
    """The keys that lead to each entry of a module's saved state_dict, and its node."""
    if next(iter(state), None) != "__dict__":
        return {name: ((name,), node) for name, node in state.items()}
    names, nodes = state["keys"], state["values"]
    return {
        name: (("values", index), node)
        for index, (name, node) in enumerate(zip(names, nodes, strict=True))
        if isinstance(name, str)
    }
