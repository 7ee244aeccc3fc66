"""Networks: what each can do, and the way from a class string to one."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from gym_loop.errors import ConfigError
from gym_loop.nn.arrays import Array, Shapes, flat_size
from gym_loop.nn.threads import limit_threads
from gym_loop.schema.class_strings import load_class
from gym_loop.schema.parameters import Field, Parameters, PositiveInt
from gym_loop.schema.suggestions import did_you_mean


class NetworkParameters(Parameters):
    """What a run file says of a network."""

    former_names: ClassVar[dict[str, str]] = {
        "policy": "is called network here, a class: gym_loop.nn.torch_network:NatureCNN for"
        " CnnPolicy",
        "policy_kwargs": "is called network_parameters here: {hidden: [64, 64], activation: relu}",
    }

    device: str = Field("cpu", description="Where a torch network lives: cpu, cuda, cuda:1.")
    network: str = Field(
        "gym_loop.nn.mlp:MLP",
        description="Class of the network: the MLP of gym-loop, which takes a Dict of observations"
        " as one flat vector, or a torch.nn.Module, which takes the Dict.",
    )
    network_parameters: dict[str, Any] = Field(default_factory=dict, description="Its parameters.")
    threads: PositiveInt | None = Field(
        1, description="Threads of a matrix product; null for the library's choice."
    )


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

    def predict(self, inputs: Array, output: int | None = None) -> tuple[Array, ...]:
        """The same with nothing kept for `backward`."""
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
    parameters: Mapping[str, Any],
    input_shape: Shapes,
    outputs: Sequence[int],
    *,
    output_gains: Sequence[float],
    extra: int = 0,
    rng: np.random.Generator,
) -> Network:
    """Make the network that a run file names.

    Args:
        parameters: those of `NetworkParameters`. ``network`` names a class of ours
            (``gym_loop.nn.mlp:MLP``), or any ``torch.nn.Module`` made as ``Module(input_shape,
            outputs, **network_parameters)`` whose ``forward`` returns one tensor ``[B, out]`` for
            each of ``outputs``.
        input_shape: of one input. Where it has parts, by name or in a list, a module's
            ``forward`` takes a dictionary or tuple of them; a class of ours takes them flat.
        outputs: sizes of the outputs.
        output_gains: scale of the first weights of each output, for classes of ours.
        extra: number of parameters besides; see `Network`.
        rng: where the first weights come from.

    Raises:
        ClassLoadError: there is no such class.
        ConfigError: it does not take these parameters, or not this device.
    """
    class_string, given = parameters["network"], parameters["network_parameters"]
    device = parameters["device"]
    limit_threads(parameters["threads"])
    cls = load_class(class_string, kind="network")
    torch = sys.modules.get("torch")
    if torch is not None and issubclass(cls, torch.nn.Module):
        from gym_loop.nn.torch_network import TorchNetwork

        _check_names(cls, class_string, given)
        module = cls(input_shape, tuple(outputs), **given)
        return TorchNetwork(module, shapes=input_shape, outputs=outputs, extra=extra, device=device)
    known = _check_names(cls, class_string, given)
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
    network: Network = cls(input_shape, outputs, **{**own, **given})
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
