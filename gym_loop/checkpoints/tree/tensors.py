"""PyTorch's tensors, generators and modules as data, and back; torch is never imported here."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from gym_loop.checkpoints.tree.arrays import count_of
from gym_loop.checkpoints.tree.tags import Tree, Way


def loaded_torch() -> Any:
    """The torch module if the program uses it, else None."""
    return sys.modules.get("torch")


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
    return {
        "__tensor__": np.array(array, order="K") if walk.copy else array,
        "dtype": str(value.dtype).removeprefix("torch."),
        "device": str(value.device),
        "requires_grad": value.requires_grad,
        "parameter": isinstance(value, torch.nn.Parameter),
        "shape": list(value.shape),
    }


def restore_tensor(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """Fill the live tensor, or make one where there is none that fits."""
    torch = loaded_torch()
    dtype = vars(torch).get(node["dtype"]) if torch is not None else None
    if dtype is None or not isinstance(dtype, torch.dtype):
        raise walk.misfit(
            way, f"a torch tensor ({node['dtype']}) was saved here; import torch to load it"
        )
    array = node["__tensor__"]
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
    return {"__torch_generator__": value.get_state().numpy(), "device": str(value.device)}


def restore_torch_generator(walk: Any, live: Any, node: Tree, way: Way | None) -> Any:
    """Put a random stream into the live torch.Generator, or into a new one."""
    torch = loaded_torch()
    if torch is None:
        raise walk.misfit(way, "a torch generator was saved here; import torch to load it")
    if not isinstance(live, torch.Generator) or walk.is_used(live):
        live = torch.Generator(node["device"])
    live.set_state(torch.from_numpy(np.array(node["__torch_generator__"])))
    return walk.claim(live, node)
