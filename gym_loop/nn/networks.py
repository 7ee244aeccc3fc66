"""Networks: what each can do, its first weights, and the way from a class string to one."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from gym_loop.errors import ConfigError
from gym_loop.nn.arrays import Array
from gym_loop.schema.class_strings import did_you_mean, load_class

Matrix = np.ndarray[Any, Any]
# One shape, or those of the parts: by name as in a Dict, or in a list as in a Tuple.
Shapes = tuple[int, ...] | dict[str, Any] | list[Any]


class Network(Protocol):
    """A function of a batch with parameters, and the gradient of both.

    Outputs are a tuple, one array ``[B, out]`` for each size that the network was made with:
    ``(policy, value)`` or ``(q1, q2)`` or ``(q,)``. What a call returns may live in buffers of
    the network: it is valid until the next call of the same method.

    Attributes:
        parameters: every parameter in one flat float32 vector; change it in place.
        gradients: the gradients, in the same order.
        extra: the last entries of ``parameters``, which belong to no layer (a
            state-independent log standard deviation, for example).
        extra_gradient: the same of ``gradients``; whoever uses ``extra`` fills it.
    """

    parameters: Array
    gradients: Array
    extra: Array
    extra_gradient: Array

    def forward(self, inputs: Array, output: int | None = None) -> tuple[Array, ...]:
        """Outputs for a batch ``[B, ...]``; keeps what `backward` needs.

        Args:
            inputs: the batch.
            output: the only one that is wanted; None for all. `input_gradient` may follow then,
                but not `backward`.
        """
        ...

    def backward(self, gradients: Sequence[Array]) -> None:
        """Write ``gradients`` of the parameters, from those of the loss by each output.

        Args:
            gradients: one array ``[B, out]`` an output of the last `forward`.
        """
        ...

    def input_gradient(self, gradients: Sequence[Array]) -> Array:
        """The gradient by the inputs alone, ``[B, inputs]``; ``gradients`` stay as they are.

        Args:
            gradients: one array ``[B, out]`` an output of the last `forward`.
        """
        ...

    def predict(self, inputs: Array, output: int = 0) -> Array:
        """One output ``[B, out]`` alone, with nothing kept for `backward`."""
        ...

    def predict_all(self, inputs: Array) -> tuple[Array, ...]:
        """Every output ``[B, out]``, with nothing kept for `backward`."""
        ...

    def asarray(self, array: Any) -> Array:
        """A NumPy array as this network's library and device want it."""
        ...

    def tonumpy(self, array: Array) -> Any:
        """One of this network's arrays as NumPy wants it; waits for a GPU."""
        ...

    def clone(self) -> Network:
        """A network of its own with equal parameters, a target network for example."""
        ...

    def copy_buffers(self, other: Network) -> None:
        """Take what an equal network keeps beside its parameters, such as running statistics."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The parameters, as data."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put parameters back, in place."""
        ...


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


# -- inputs of several parts, which lie side by side in one flat array ------------------------


def flat_size(shapes: Shapes) -> int:
    """Numbers of one input."""
    if isinstance(shapes, dict):
        return sum(map(flat_size, shapes.values()))
    return sum(map(flat_size, shapes)) if isinstance(shapes, list) else math.prod(shapes)


def split(inputs: Array, shapes: Shapes) -> Any:
    """The parts of flat inputs.

    Args:
        inputs: ``[B, flat_size(shapes)]``.
        shapes: of the parts.

    Returns:
        A dictionary where ``shapes`` is one, a tuple where it is a list, of views
        ``[B, *shape]``.
    """
    if isinstance(shapes, tuple):
        return inputs.reshape(len(inputs), *shapes)
    named = shapes.items() if isinstance(shapes, dict) else enumerate(shapes)
    parts, start = {}, 0
    for name, shape in named:
        end = start + flat_size(shape)
        parts[name] = split(inputs[:, start:end], shape)
        start = end
    return parts if isinstance(shapes, dict) else tuple(parts.values())


# -- first weights -------------------------------------------------------------------------


def orthogonal(rng: np.random.Generator, rows: int, columns: int, gain: float = 1.0) -> Matrix:
    """A random matrix ``[rows, columns]`` with orthonormal rows or columns, times the gain.

    Source: Saxe, McClelland and Ganguli (2014), Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks.
    """
    tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diag(r))  # makes the distribution uniform
    return gain * (q if rows >= columns else q.T)


def uniform(rng: np.random.Generator, rows: int, columns: int, inputs: int) -> Matrix:
    """Uniform in ``±1 / sqrt(inputs)``, as PyTorch starts its linear layers."""
    bound = 1.0 / np.sqrt(max(1, inputs))
    return rng.uniform(-bound, bound, (rows, columns))
