"""From a class string to a network."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gym_loop.errors import ConfigError
from gym_loop.nn.nesting import Shapes, flat_size
from gym_loop.nn.protocol import Network
from gym_loop.schema.class_strings import did_you_mean, load_class


def make_network(
    class_string: str,
    input_shape: Shapes,
    outputs: Sequence[int],
    parameters: Mapping[str, Any],
    *,
    output_gains: Sequence[float],
    extra: int = 0,
    device: str = "cpu",
    rng: np.random.Generator,
) -> Network:
    """Make the network that a run file names.

    Args:
        class_string: a class of ours (``gym_loop.nn.mlp:MLP``), or any
            ``torch.nn.Module`` made as ``Module(input_shape, outputs, **parameters)`` whose
            ``forward`` returns one tensor ``[B, out]`` for each of ``outputs``.
        input_shape: of one input. Where it has parts, by name or in a list, a module's
            ``forward`` takes a dictionary or tuple of them; a class of ours takes them flat.
        outputs: sizes of the outputs.
        parameters: further arguments of the class.
        output_gains: scale of the first weights of each output, for classes of ours.
        extra: number of parameters besides; see `Network`.
        device: where a torch network lives.
        rng: where the first weights come from.

    Raises:
        ClassLoadError: there is no such class.
        ConfigError: it does not take these parameters, or not this device.
    """
    cls = load_class(class_string, kind="network")
    torch = sys.modules.get("torch")
    if torch is not None and issubclass(cls, torch.nn.Module):
        from gym_loop.nn.torch_network import TorchNetwork

        _check_names(cls, class_string, parameters)
        module = cls(input_shape, tuple(outputs), **parameters)
        return TorchNetwork(module, shapes=input_shape, outputs=outputs, extra=extra, device=device)
    known = _check_names(cls, class_string, parameters)
    own: dict[str, Any] = {"output_gains": output_gains, "extra": extra, "rng": rng}
    if "device" in known:
        own["device"] = device
    elif device != "cpu":
        raise ConfigError(
            f"device: {class_string} lives on the cpu, not on {device}; use a torch network, "
            "gym_loop.nn.torch_network:NatureCNN or your own nn.Module"
        )
    if not isinstance(input_shape, tuple):
        input_shape = (flat_size(input_shape),)
    network: Network = cls(input_shape, outputs, **{**own, **parameters})
    return network


def _check_names(cls: type, class_string: str, parameters: Mapping[str, Any]) -> list[str]:
    """Names that the constructor takes; refuse others while their origin is known."""
    arguments = inspect.signature(cls).parameters.values()
    names = [one.name for one in arguments if one.kind is not one.VAR_KEYWORD]
    try:
        inspect.signature(cls).bind_partial(None, None)
    except TypeError:
        raise ConfigError(
            f"network: {class_string} cannot be made as {cls.__name__}(input_shape, outputs):"
            f" its __init__ takes {', '.join(names) or 'nothing'}"
        ) from None
    own = ("input_shape", "outputs", "output_gains", "extra", "rng", "dtype", "device")
    free = [name for name in names if name not in own]
    if len(names) == len(arguments):
        for name in parameters:
            if name not in free:
                raise ConfigError(
                    f"network_parameters.{name}: {class_string} has no such parameter"
                    f"{did_you_mean(name, free)} (it has {', '.join(free) or 'none'})"
                )
    return names
