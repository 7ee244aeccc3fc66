"""Networks named by a config are built, or refused in words."""

from pathlib import Path

import numpy as np
import pytest

from gym_loop.errors import ClassMissingError, ConfigError, SpaceError
from gym_loop.nn.arrays import Shapes, flat_size, split
from gym_loop.nn.networks import Network, make_network

pytestmark = pytest.mark.needs("torch")

MODULE = """
from torch import nn

class Small(nn.Module):
    def __init__(self, input_shape, outputs, width=8):
        super().__init__()
        self.trunk = nn.Linear(input_shape[0], width)
        self.heads = nn.ModuleList(nn.Linear(width, size) for size in outputs)

    def forward(self, x):
        h = self.trunk(x).tanh()
        return tuple(head(h) for head in self.heads)
"""


PARTS = """
import torch
from torch import nn

class Parts(nn.Module):
    def __init__(self, input_shape, outputs):
        super().__init__()
        assert input_shape == {"a": (3,), "b": [(2, 2), ()]}
        self.heads = nn.ModuleList(nn.Linear(3 + 2 + 1, size) for size in outputs)

    def forward(self, x):
        matrix, number = x["b"]
        rows = torch.cat([x["a"], matrix.sum(1), number[:, None]], dim=1)
        return tuple(head(rows) for head in self.heads)
"""

NESTED: Shapes = {"a": (3,), "b": [(2, 2), ()]}


def make(name: str, shape: Shapes = (4,), device: str = "cpu", **given: object) -> Network:
    parameters = {"network": name, "network_parameters": given, "device": device, "threads": 1}
    rng = np.random.default_rng(0)
    return make_network(parameters, shape, (3, 1), output_gains=(0.01, 1.0), extra=2, rng=rng)


@pytest.mark.parametrize(
    ("name", "shape", "given"),
    [
        ("gym_loop.nn.mlp:MLP", (4,), {"hidden": [8], "shared": True}),
        ("gym_loop.nn.torch_network:NatureCNN", (4, 40, 44), {"hidden": 16}),
        ("my_net.py:Small", (4,), {"width": 5}),
        ("my_parts.py:Parts", NESTED, {}),
        ("gym_loop.nn.mlp:MLP", NESTED, {}),
    ],
)
def test_every_kind_of_network_keeps_the_protocol(
    workdir: Path, name: str, shape: Shapes, given: dict
) -> None:
    (workdir / "my_net.py").write_text(MODULE)
    (workdir / "my_parts.py").write_text(PARTS)
    network = make(name, shape, **given)
    flat = shape if isinstance(shape, tuple) else (flat_size(shape),)
    x = np.random.default_rng(0).random((5, *flat)).astype(np.float32)
    inputs = network.asarray(x)
    outputs = network.forward(inputs)
    assert [tuple(one.shape) for one in outputs] == [(5, 3), (5, 1)]
    for index, output in enumerate(outputs):
        np.testing.assert_allclose(
            network.tonumpy(network.predict(inputs, index)[0]), network.tonumpy(output), atol=1e-6
        )
    assert len(network.extra) == len(network.extra_gradient) == 2
    assert network.parameters.shape == network.gradients.shape
    ones = [network.asarray(np.ones((5, size), np.float32)) for size in (3, 1)]
    network.backward(ones)
    before = network.tonumpy(network.gradients).copy()
    assert np.abs(before).max() > 0
    network.forward(inputs)
    assert len(network.input_gradient(ones)) == 5
    network.forward(inputs)
    network.backward(ones)  # written, not added up
    np.testing.assert_array_equal(network.tonumpy(network.gradients), before)

    twin = network.clone()
    other = make(name, shape, **given)
    other.load_state_dict(network.state_dict())
    for one in (twin, other):
        output = one.tonumpy(one.predict(inputs, 0)[0])
        np.testing.assert_array_equal(output, network.tonumpy(network.predict(inputs, 0)[0]))
    other.parameters[:] = 0.0
    assert not network.tonumpy(other.predict(inputs, 0)[0]).any()
    assert network.tonumpy(network.predict(inputs, 0)[0]).any()


def test_parts_of_flat_inputs_are_views() -> None:
    inputs = np.arange(16).reshape(2, 8)
    parts = split(inputs, NESTED)
    assert parts["a"].tolist() == [[0, 1, 2], [8, 9, 10]]
    matrix, number = parts["b"]
    assert matrix.tolist() == [[[3, 4], [5, 6]], [[11, 12], [13, 14]]]
    assert number.tolist() == [7, 15]
    assert np.shares_memory(number, inputs)


def test_what_cannot_be_made_is_named(workdir: Path) -> None:
    (workdir / "my_net.py").write_text(MODULE)
    with pytest.raises(ConfigError, match=r"network_parameters\.hiden: .* did you mean hidden"):
        make("gym_loop.nn.mlp:MLP", hiden=[8])
    with pytest.raises(ConfigError, match=r"network_parameters\.depth: .*it has width"):
        make("my_net.py:Small", depth=3)
    with pytest.raises(ConfigError, match="lives on the cpu, not on cuda"):
        make("gym_loop.nn.mlp:MLP", device="cuda")
    with pytest.raises(ConfigError, match="'warp' is none that torch knows"):
        make("my_net.py:Small", device="warp")
    with pytest.raises(ClassMissingError):
        make("gym_loop.nn.mlp:MPL")
    with pytest.raises(SpaceError, match="three axes"):
        make("gym_loop.nn.torch_network:NatureCNN")
    with pytest.raises(SpaceError, match="at least 36 x 36"):
        make("gym_loop.nn.torch_network:NatureCNN", (20, 40, 3))


WRONG = """
from torch import nn

class Bare(nn.Module):
    def __init__(self):
        super().__init__()

class Plain:
    pass

class OneForAll(nn.Module):
    def __init__(self, input_shape, outputs):
        super().__init__()
        self.layer = nn.Linear(input_shape[0], sum(outputs))

    def forward(self, x):
        return self.layer(x)
"""


def test_a_module_that_does_not_take_shapes_is_named(workdir: Path) -> None:
    (workdir / "wrong.py").write_text(WRONG)
    for name in ("Bare", "Plain"):
        with pytest.raises(ConfigError, match=rf"cannot be made as {name}\(input_shape, outputs\)"):
            make(f"wrong.py:{name}")


def test_outputs_that_nobody_asked_for_are_told_at_the_first_batch(workdir: Path) -> None:
    (workdir / "wrong.py").write_text(WRONG)
    network = make("wrong.py:OneForAll")
    inputs = network.asarray(np.zeros((5, 4), np.float32))
    message = (
        r"returned 1 of shape \[5, 4\]; wanted for a batch of 5: 2 of shape \[5, 3\], \[5, 1\]"
    )
    with pytest.raises(ConfigError, match=message):
        network.forward(inputs)
