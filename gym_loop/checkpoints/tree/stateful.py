"""Objects with a ``state_dict`` of their own: modules, optimisers, and a user's; torch's tensors.

What such a method returns is asked for and put back as it is. PyTorch's knows nothing of what a
subclass keeps besides, an optimiser or a counter in a network, so these attributes are saved too.
A class that defines the method itself says what is to be saved, and nothing is added.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from gym_loop.checkpoints.tree import columns
from gym_loop.checkpoints.tree.classes import (
    ATOMS,
    HIDDEN,
    Tree,
    Way,
    class_name,
    missing,
    module_of,
)
from gym_loop.wire.dtypes import count_of
from gym_loop.wire.values import Node


def capture_stateful(walk: Any, value: Any, way: Way | None) -> Tree:
    """What ``state_dict()`` gives, and what it leaves out."""
    mark = walk.mark()
    saved = walk.tree(value.state_dict(), (way, "state", HIDDEN))
    if not columns.needs_live(saved):
        walk.forget(mark)  # what is loaded from it may be a copy: nothing else may refer to it
    node = Node("state_dict", {"class": class_name(type(value)), "state": saved})
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
        raise missing(walk, live, wanted, way)
    walk.claim(live, node)
    saved = node["state"]
    # Code and objects within can only be what the live object has there.
    own = live.state_dict() if columns.needs_live(saved) else None
    state = walk.value(own, saved, (way, "state", HIDDEN))
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


def loaded_torch() -> Any:
    """The torch module if the program uses it, else None."""
    return sys.modules.get("torch")


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
    entries = _entries(node["state"])
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers()]
    for name, tensor in tensors:
        keys, tree = entries.get(name, ((), None))
        if type(tree) is Node and tree.kind == "tensor" and id(tensor) not in walk.seen:
            at: Way | None = (way, "state", HIDDEN)
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
    entries = _entries(node["state"])
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers()]
    for name, tensor in tensors:
        tree = entries.get(name, ((), None))[1]
        if type(tree) is Node and tree.kind == "tensor":
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
    if type(state) is not Node:
        return {name: ((name,), node) for name, node in state.items()}
    names, nodes = state["keys"], state["values"]
    return {
        name: (("values", index), node)
        for index, (name, node) in enumerate(zip(names, nodes, strict=True))
        if isinstance(name, str)
    }


# -- tensors -------------------------------------------------------------------------------------


def capture_tensor(walk: Any, value: Any, way: Way | None) -> Tree:
    """A tensor as an array and what makes it a tensor."""
    torch = loaded_torch()
    if value.grad_fn is not None:
        if not walk.inside:
            why = "a tensor that carries a gradient history cannot be saved (detach it)"
            raise walk.refuse(value, way, why)
        walk.left_out.append((way, "its gradient history"))
    if torch.nn.parameter.is_lazy(value):
        why = "a parameter of a lazy module has no values yet (give the module a first input)"
        raise walk.refuse(value, way, why)
    if value.layout is not torch.strided or value.is_quantized:
        raise walk.refuse(value, way, f"a tensor of layout {value.layout} cannot be saved")
    plain = value.detach().cpu()
    try:
        array = plain.numpy()
    except TypeError:  # NumPy has no bfloat16 and no 8-bit floats: their raw bytes
        array = plain.contiguous().reshape(-1).view(torch.uint8).numpy()
    return Node(
        "tensor",
        data=np.array(array, order="K") if walk.copy else array,
        dtype=str(value.dtype).removeprefix("torch."),
        device=str(value.device),
        requires_grad=value.requires_grad,
        parameter=isinstance(value, torch.nn.Parameter),
        shape=list(value.shape),
    )


def restore_tensor(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """Fill the live tensor, or make one where there is none that fits."""
    torch = loaded_torch()
    dtype = vars(torch).get(node["dtype"]) if torch is not None else None
    if dtype is None or not isinstance(dtype, torch.dtype):
        raise walk.misfit(
            way, f"a torch tensor ({node['dtype']}) was saved here; import torch to load it"
        )
    array = node["data"]
    if not array.size:
        if count_of(node["shape"]):
            raise walk.misfit(way, f"no value was saved for the shape {node['shape']}")
        saved = torch.empty(node["shape"], dtype=dtype)
    elif array.dtype == np.uint8 and dtype is not torch.uint8:
        saved = torch.from_numpy(array.copy()).view(dtype).reshape(node["shape"])
    else:
        saved = torch.from_numpy(np.array(array, order="K"))
    if (
        isinstance(live, torch.Tensor)
        and live.is_leaf
        and live.requires_grad == node["requires_grad"]
        and (live.shape, live.dtype) == (saved.shape, dtype)
        and not walk.is_used(live)
    ):
        with torch.no_grad():
            live.copy_(saved)
        return walk.claim(live, node)
    saved = _placed(saved, node["device"])
    if node["parameter"]:
        saved = torch.nn.Parameter(saved, requires_grad=node["requires_grad"])
    else:
        saved.requires_grad_(node["requires_grad"])
    return walk.claim(saved, node)


def _placed(tensor: Any, device: str) -> Any:
    """The tensor on its device; on the CPU where this machine has none of the kind."""
    try:
        return tensor.to(device)
    except (RuntimeError, AssertionError):  # the latter by builds of torch without CUDA
        return tensor


def capture_torch_generator(walk: Any, value: Any, way: Way | None) -> Tree:
    """The random stream of a torch.Generator."""
    return Node("torch_generator", state=value.get_state().numpy(), device=str(value.device))


def restore_torch_generator(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """Put a random stream into the live torch.Generator, or into a new one."""
    torch = loaded_torch()
    if torch is None:
        raise walk.misfit(way, "a torch generator was saved here; import torch to load it")
    if not isinstance(live, torch.Generator) or walk.is_used(live):
        live = torch.Generator(node["device"])
    live.set_state(torch.from_numpy(np.array(node["state"])))
    return walk.claim(live, node)
