"""A multi-layer perceptron in NumPy, with its gradient written out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gym_loop.errors import ConfigError, StateError
from gym_loop.nn.workspace import Layout, Weights, Workspace
from gym_loop.schema.suggestions import did_you_mean

Array = np.ndarray[Any, Any]
ACTIVATIONS = ("tanh", "relu")
INITS = ("orthogonal", "uniform")
MAX_WORKSPACES = 8  # batch sizes that are kept ready; an agent uses three or four
LEARNING, READING = "learning", "reading"  # what a workspace is for


class MLP:
    """One tower of hidden layers an output, all towers evaluated by one batched product.

    Towers of the same shape (actor and critic, twin critics) lie in one array
    ``[towers, out, in + 1]`` a layer, the bias in the last column; features are rows and the
    batch is columns, so that element-wise passes and reductions over features run over
    contiguous memory. Arguments and results are ``[B, features]`` all the same: views.

    Args:
        input_shape: shape of one input; flattened. ``uint8`` inputs are divided by 255.
        outputs: number of outputs of each tower.
        hidden: units of each hidden layer.
        activation: ``"tanh"`` or ``"relu"``.
        init: ``"orthogonal"`` (gain sqrt 2, biases 0) or ``"uniform"`` (as PyTorch's default).
        layer_norm: normalise each hidden layer before its activation.
        shared: one tower carries all outputs.
        output_gains: gain of the orthogonal init of each output; default 1.
        extra: number of parameters besides, 0 at first; see `Network`.
        rng: where the first weights come from.
        dtype: float32; float64 for comparisons.

    Raises:
        ConfigError: an argument that is none of these.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        outputs: Sequence[int],
        *,
        hidden: Sequence[int] = (64, 64),
        activation: str = "tanh",
        init: str = "orthogonal",
        layer_norm: bool = False,
        shared: bool = False,
        output_gains: Sequence[float] | None = None,
        extra: int = 0,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        _check(hidden, activation, init)
        self.layout = Layout(
            inputs=math.prod(input_shape),
            hidden=tuple(hidden),
            outputs=tuple(outputs),
            tower_of=tuple(0 if shared else index for index in range(len(outputs))),
            relu=activation == "relu",
            layer_norm=layer_norm,
            dtype=np.dtype(dtype),
        )
        shapes = _shapes(self.layout, extra)
        self.parameters = np.zeros(sum(map(math.prod, shapes.values())), dtype)
        self.gradients = np.zeros_like(self.parameters)
        self.named_parameters = _views(self.parameters, shapes)
        self.named_gradients = _views(self.gradients, shapes)
        self.extra = self.named_parameters["extra"]
        self.extra_gradient = self.named_gradients["extra"]
        self._weights = Weights.of(self.named_parameters, self.layout.tower_of)
        self._weight_gradients = Weights.of(self.named_gradients, self.layout.tower_of)
        self._towers = [self._weights.tower(index) for index in range(len(outputs))]
        self._workspaces: dict[tuple[int, str, int | None], Workspace] = {}
        self._last: Workspace | None = None
        self._last_weights = self._weights
        self._initialize(rng or np.random.default_rng(), init, output_gains)

    def _initialize(
        self, rng: np.random.Generator, init: str, output_gains: Sequence[float] | None
    ) -> None:
        gains = output_gains if output_gains is not None else [1.0] * len(self.layout.outputs)
        for name, array in self.named_parameters.items():
            kind, _, index = name.partition(".")
            if kind == "norm":
                array[:, 0] = 1.0
            elif kind != "extra":
                gain = math.sqrt(2.0) if kind == "hidden" else gains[int(index)]
                for matrix in array.reshape(-1, *array.shape[-2:]):
                    rows, columns = matrix.shape
                    if init == "orthogonal":
                        matrix[:, :-1] = orthogonal(rng, rows, columns - 1, gain)
                    else:
                        matrix[:] = uniform(rng, rows, columns, columns - 1)

    def forward(self, inputs: Array, output: int | None = None) -> tuple[Array, ...]:
        """See `Network`; of one output its tower alone is evaluated."""
        work = self._last = self._workspace(len(inputs), LEARNING, output)
        self._last_weights = self._weights if output is None else self._towers[output]
        work.load(inputs)
        work.forward(self._last_weights)
        return work.results

    def backward(self, gradients: Sequence[Array]) -> None:
        """See `Network`."""
        work = self._last
        assert work is not None, "backward() follows forward()"
        assert self._last_weights is self._weights, "backward() follows forward() of all outputs"
        work.backward(self._weights, self._weight_gradients, gradients)

    def input_gradient(self, gradients: Sequence[Array]) -> Array:
        """See `Network`."""
        work = self._last
        assert work is not None, "input_gradient() follows forward()"
        work.backward(self._last_weights, None, gradients)
        return work.input_gradient(self._last_weights, gradients)

    def predict(self, inputs: Array, output: int | None = None) -> tuple[Array, ...]:
        """See `Network`; what `backward` needs stays as it is."""
        work = self._workspace(len(inputs), READING, output)
        work.load(inputs)
        work.forward(self._weights if output is None else self._towers[output])
        return work.results

    def _workspace(self, batch: int, purpose: str, output: int | None) -> Workspace:
        key = batch, purpose, output
        work = self._workspaces.get(key)
        if work is None:
            if len(self._workspaces) >= MAX_WORKSPACES:
                self._workspaces.pop(next(iter(self._workspaces)))
            work = self._workspaces[key] = Workspace(self.layout, batch, output)
        return work

    def asarray(self, array: Any) -> Array:
        """See `Network`."""
        return np.asarray(array)

    def tonumpy(self, array: Array) -> Array:
        """See `Network`."""
        return array

    def clone(self) -> MLP:
        """See `Network`."""
        layout = self.layout
        twin = type(self)(
            (layout.inputs,),
            layout.outputs,
            hidden=layout.hidden,
            activation="relu" if layout.relu else "tanh",
            init="uniform",
            layer_norm=layout.layer_norm,
            shared=layout.towers < len(layout.outputs),
            extra=self.extra.size,
            dtype=layout.dtype,
        )
        twin.parameters[:] = self.parameters
        return twin

    def copy_buffers(self, other: Any) -> None:
        """See `Network`."""

    def state_dict(self) -> dict[str, Any]:
        """See `Network`."""
        return {"parameters": self.parameters}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put parameters back, in place.

        Raises:
            StateError: they are of another network.
        """
        saved = state["parameters"]
        if saved.shape != self.parameters.shape:
            raise StateError(
                f"the network has {self.parameters.size} parameters now, but had {saved.size} when"
                " it was saved; give it the layers of then"
            )
        self.parameters[:] = saved


def _shapes(layout: Layout, extra: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    before = layout.inputs
    for index, units in enumerate(layout.hidden):
        shapes[f"hidden.{index}"] = (layout.towers, units, before + 1)
        if layout.layer_norm:
            shapes[f"norm.{index}"] = (layout.towers, 2, units, 1)  # gain, bias
        before = units
    for index, size in enumerate(layout.outputs):
        shapes[f"output.{index}"] = (size, before + 1)
    return {**shapes, "extra": (extra,)}


def _views(flat: Array, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    views, start = {}, 0
    for name, shape in shapes.items():
        size = math.prod(shape)
        views[name] = flat[start : start + size].reshape(shape)
        start += size
    return views


def _check(hidden: Sequence[int], activation: str, init: str) -> None:
    for name, value, known in (("activation", activation, ACTIVATIONS), ("init", init, INITS)):
        if value not in known:
            hint = did_you_mean(str(value), known)
            raise ConfigError(f"the network's {name} {value!r} is none of {', '.join(known)}{hint}")
    if not isinstance(hidden, (list, tuple)) or not all(
        type(units) is int and units > 0 for units in hidden
    ):
        raise ConfigError(
            f"the network's hidden {hidden!r} must be a list of positive integers, [64, 64] say"
        )


def orthogonal(rng: np.random.Generator, rows: int, columns: int, gain: float = 1.0) -> Array:
    """A random matrix ``[rows, columns]`` with orthonormal rows or columns, times the gain.

    Source: Saxe, McClelland and Ganguli (2014), Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks.
    """
    tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diag(r))  # makes the distribution uniform
    return gain * (q if rows >= columns else q.T)


def uniform(rng: np.random.Generator, rows: int, columns: int, inputs: int) -> Array:
    """Uniform in ``±1 / sqrt(inputs)``, as PyTorch starts its linear layers."""
    bound = 1.0 / np.sqrt(max(1, inputs))
    return rng.uniform(-bound, bound, (rows, columns))
