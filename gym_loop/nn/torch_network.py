"""Any PyTorch module as a `Network`, and the convolutional network for images."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gym_loop.errors import ConfigError, SpaceError
from gym_loop.nn.arrays import Shapes, split
from gym_loop.nn.mlp import orthogonal

Tensor = Any


class TorchNetwork:
    """Wraps a ``torch.nn.Module``; its parameters become views of one flat vector.

    Args:
        module: takes ``[B, *input_shape]``, returns one tensor ``[B, out]`` or a tuple of them.
        shapes: of the parts of an input, where the module takes a dictionary or tuple of them;
            this network takes them flat, see `gym_loop.nn.networks`.
        outputs: sizes that the module's outputs must have, checked at its first batch; empty for
            no check.
        extra: number of parameters besides, 0 at first; see `Network`.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``...

    Raises:
        ConfigError: there is no such device.
    """

    def __init__(
        self,
        module: Any,
        *,
        shapes: Shapes = (),
        outputs: Sequence[int] = (),
        extra: int = 0,
        device: str = "cpu",
    ) -> None:
        import torch

        self.device = _device(torch, device)
        self._shapes = shapes
        self._unchecked = tuple(outputs)
        self.module = module.to(self.device)
        trained = self._trained = [one for one in module.parameters() if one.requires_grad]
        count = sum(one.numel() for one in trained)
        self.parameters = torch.zeros(count + extra, device=self.device, dtype=torch.float32)
        self.gradients = torch.zeros_like(self.parameters)
        start = 0
        for one in trained:
            end = start + one.numel()
            self.parameters[start:end] = one.detach().reshape(-1)
            one.data = self.parameters[start:end].view(one.shape)
            one.grad = self.gradients[start:end].view(one.shape)
            start = end
        self.extra = self.parameters[count:]
        self.extra_gradient = self.gradients[count:]
        self._module_gradients = self.gradients[:count]
        self._inputs: Tensor = None
        self._outputs: tuple[Tensor, ...] = ()

    def forward(self, inputs: Tensor, output: int | None = None) -> tuple[Tensor, ...]:
        """See `Network`; outputs are detached, the graph is kept."""
        self._mode(True)
        self._inputs = inputs.detach()
        if inputs.is_floating_point():
            self._inputs.requires_grad_()
        self._outputs = self._call(self._inputs)
        if output is not None:
            self._outputs = (self._outputs[output],)
        return tuple(one.detach() for one in self._outputs)

    def backward(self, gradients: Sequence[Tensor]) -> None:
        """See `Network`."""
        import torch

        self._module_gradients.zero_()
        # Without a list of what is wanted, the gradient by the inputs would be computed as well.
        torch.autograd.backward(self._outputs, tuple(gradients), inputs=self._trained)
        self._outputs = ()

    def input_gradient(self, gradients: Sequence[Tensor]) -> Tensor:
        """See `Network`."""
        import torch

        (found,) = torch.autograd.grad(self._outputs, (self._inputs,), tuple(gradients))
        self._outputs = ()
        return found

    def predict(self, inputs: Tensor, output: int | None = None) -> tuple[Tensor, ...]:
        """See `Network`; in the module's evaluation mode, without a graph."""
        import torch

        self._mode(False)
        with torch.no_grad():
            outputs = self._call(inputs)
        return outputs if output is None else (outputs[output],)

    def _call(self, inputs: Tensor) -> tuple[Tensor, ...]:
        given = inputs if isinstance(self._shapes, tuple) else split(inputs, self._shapes)
        outputs = self.module(given)
        outputs = tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
        if self._unchecked:
            self._check(outputs, len(inputs))
        return outputs

    def _check(self, outputs: tuple[Tensor, ...], batch: int) -> None:
        wanted = [(batch, size) for size in self._unchecked]
        found = [tuple(getattr(one, "shape", ())) for one in outputs]
        if found != wanted:
            raise ConfigError(
                f"network: forward of {type(self.module).__name__} returned {_shown(found)};"
                f" wanted for a batch of {batch}: {_shown(wanted)}"
            )
        self._unchecked = ()

    def _mode(self, training: bool) -> None:
        if self.module.training is not training:  # a walk over all submodules
            self.module.train(training)

    def asarray(self, array: Any) -> Tensor:
        """A tensor on the device; the copy to a GPU runs beside what Python does next."""
        import torch

        array = np.asarray(array)
        if self.device.type != "cuda":
            return torch.as_tensor(np.ascontiguousarray(array)).to(self.device)
        if min(array.strides, default=0) < 0:  # torch has none
            array = np.ascontiguousarray(array)
        # As it lies: to put 32 stacks of pictures in order takes a CPU 1.3 ms.
        return torch.as_tensor(array).pin_memory().to(self.device, non_blocking=True)

    def tonumpy(self, array: Tensor) -> Any:
        """See `Network`."""
        return array.detach().cpu().numpy()

    def clone(self) -> TorchNetwork:
        """See `Network`."""
        import torch

        module = copy.deepcopy(self.module)
        extra, device = self.extra.numel(), str(self.device)
        twin = TorchNetwork(module, shapes=self._shapes, extra=extra, device=device)
        with torch.no_grad():
            twin.extra.copy_(self.extra)
        return twin

    def copy_buffers(self, other: Any) -> None:
        """Take the buffers of an equal network, such as the running statistics of a batch norm."""
        import torch

        with torch.no_grad():
            for mine, theirs in zip(self.module.modules(), other.module.modules(), strict=True):
                for name, buffer in theirs._buffers.items():
                    own = mine._buffers.get(name)
                    if own is None or buffer is None or own.shape != buffer.shape:
                        mine._buffers[name] = None if buffer is None else buffer.clone()
                    else:
                        own.copy_(buffer)

    def state_dict(self) -> dict[str, Any]:
        """The module, which is saved with all that it holds, and the parameters besides."""
        return {"module": self.module, "extra": self.extra}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take another network's, in place; what a checkpoint holds is in the module by now."""
        if state["module"] is not self.module:
            self.module.load_state_dict(state["module"].state_dict())
        self.extra.copy_(state["extra"])


class NatureCNN(TorchNetwork):
    """Three convolutions and a hidden layer, which all outputs share.

    Source: Mnih et al. (2015), Human-level control through deep reinforcement learning.

    Args:
        input_shape: ``(height, width, channels)`` or ``(channels, height, width)``: the
            smallest side is that of the channels. ``uint8`` inputs are divided by 255.
        outputs: number of outputs of each head.
        hidden: units of the layer behind the convolutions.
        output_gains: gain of the orthogonal init of each output; default 1.
        extra, device: see `TorchNetwork`.
        rng: where the first weights come from.

    Raises:
        SpaceError: the inputs are no images, or too small for the convolutions.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        outputs: Sequence[int],
        *,
        hidden: int = 512,
        output_gains: Sequence[float] | None = None,
        extra: int = 0,
        device: str = "cpu",
        rng: np.random.Generator | None = None,
    ) -> None:
        module = _nature_module(tuple(input_shape), tuple(outputs), hidden)
        gains = list(output_gains) if output_gains is not None else [1.0] * len(outputs)
        gains = [math.sqrt(2.0)] * 4 + gains
        rng = rng or np.random.default_rng()
        layers = [layer for layer in module.modules() if hasattr(layer, "weight")]
        for layer, gain in zip(layers, gains, strict=True):
            weight = layer.weight.data
            matrix = orthogonal(rng, len(weight), weight[0].numel(), gain)
            weight.copy_(weight.new_tensor(matrix).view(weight.shape))
            layer.bias.data.zero_()
        super().__init__(module, extra=extra, device=device)


def _nature_module(shape: tuple[int, ...], outputs: tuple[int, ...], hidden: int) -> Any:
    import torch
    from torch import nn

    if len(shape) != 3:
        raise SpaceError(f"NatureCNN needs images of three axes, not observations of shape {shape}")
    channels_last = shape[2] < shape[0]
    channels, *sides = (shape[2], *shape[:2]) if channels_last else shape
    for kernel, stride in ((8, 4), (4, 2), (3, 1)):
        sides = [(side - kernel) // stride + 1 for side in sides]
    if min(sides) < 1:
        raise SpaceError(f"NatureCNN needs images of at least 36 x 36 pixels, not of shape {shape}")

    class Module(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Sequential(
                nn.Conv2d(channels, 32, 8, 4),
                nn.ReLU(),
                nn.Conv2d(32, 64, 4, 2),
                nn.ReLU(),
                nn.Conv2d(64, 64, 3, 1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(64 * sides[0] * sides[1], hidden),
                nn.ReLU(),
            )
            self.heads = nn.ModuleList(nn.Linear(hidden, size) for size in outputs)

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            scale = 255.0 if images.dtype == torch.uint8 else 1.0
            if channels_last:
                images = images.permute(0, 3, 1, 2)
            features = self.trunk(images.float() / scale)
            return tuple(head(features) for head in self.heads)

    return Module()


def _shown(shapes: Sequence[Sequence[int]]) -> str:
    return f"{len(shapes)} of shape {', '.join(str(list(shape)) for shape in shapes)}"


def _device(torch: Any, name: str) -> Any:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device: {name!r} is none that torch knows; use cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"device: {name} is asked for, but torch finds no GPU here; use cpu, or install a build"
            " of torch for it"
        )
    return device
