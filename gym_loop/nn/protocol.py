"""What every network of the agents can do, whatever it is written in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from gym_loop.nn.namespace import Array


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

    def backward(self, gradients: Sequence[Array], *, to_inputs: bool = False) -> Array | None:
        """Write ``gradients`` of the parameters, from those of the loss by each output.

        Args:
            gradients: one array ``[B, out]`` an output of the last `forward`.
            to_inputs: return the gradient by the inputs as well.
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
