"""A PyTorch module behind the protocol of networks."""

import numpy as np
import pytest
import torch
from torch import nn

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.errors import ConfigError
from gym_loop.nn.torch_network import NatureCNN, TorchNetwork, _nature_module


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3))


def test_parameters_are_one_vector_that_the_module_looks_into() -> None:
    plain = module()
    network = TorchNetwork(module(), extra=1)
    assert network.parameters.numel() == sum(one.numel() for one in plain.parameters()) + 1
    for ours, theirs in zip(network.module.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    network.parameters[:-1] = 0.0
    assert not any(one.any() for one in network.module.parameters())


def test_gradients_are_those_of_the_module() -> None:
    plain, network = module().eval(), TorchNetwork(module().eval())
    network.module.train = lambda mode: network.module  # dropout stays off
    x = torch.randn(6, 4)
    by_outputs = torch.randn(6, 3)
    plain(x).backward(by_outputs)
    wanted = torch.cat([one.grad.reshape(-1) for one in plain.parameters()])
    (outputs,) = network.forward(x)
    assert not outputs.requires_grad
    network.backward((by_outputs,))
    assert torch.allclose(network.gradients, wanted, atol=1e-6)
    assert not x.requires_grad


def test_the_gradient_by_inputs_is_computed_when_it_is_wanted() -> None:
    network = TorchNetwork(module().eval())
    network.module.train = lambda mode: network.module  # dropout stays off
    x = torch.randn(6, 4)
    network.forward(x)
    network.backward((torch.ones(6, 3),))
    assert network._inputs.grad is None
    assert network.gradients.any()
    network.forward(x)
    assert network.input_gradient((torch.ones(6, 3),)).shape == x.shape


def test_all_outputs_come_from_one_run_of_the_module() -> None:
    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads, self.runs = nn.ModuleList([nn.Linear(4, 3), nn.Linear(4, 2)]), 0

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            self.runs += 1
            return tuple(head(x) for head in self.heads)

    network, x = TorchNetwork(Counted()), torch.randn(6, 4)
    found = network.predict(x)
    assert network.module.runs == 1
    for index, output in enumerate(found):
        assert not output.requires_grad
        assert torch.equal(output, network.predict(x, index)[0])


def test_dropout_acts_in_learning_alone() -> None:
    network = TorchNetwork(module())
    x = torch.randn(6, 4)
    assert torch.equal(network.predict(x, 0)[0], network.predict(x, 0)[0])
    assert not torch.equal(network.forward(x)[0], network.forward(x)[0])
    assert torch.equal(network.predict(x, 0)[0], network.predict(x, 0)[0])


def test_state_holds_buffers_too_and_goes_back_in_place() -> None:
    def make() -> TorchNetwork:
        return TorchNetwork(nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2)), extra=3)

    network, other = make(), make()
    network.extra[:] = 7.0
    network.forward(torch.randn(8, 4))
    flat = other.parameters
    restore(other, restore(None, capture(capture(network))))
    assert other.parameters is flat
    assert torch.equal(other.parameters, network.parameters)
    assert torch.equal(other.module[0].running_mean, network.module[0].running_mean)
    assert other.module[0].running_mean.any()
    first = next(other.module.parameters())
    assert first.data_ptr() == flat.data_ptr()


@pytest.mark.parametrize("shape", [(4, 84, 84), (84, 84, 4)], ids=str)
def test_nature_cnn_takes_images_of_either_order(shape: tuple[int, ...]) -> None:
    first, second = (
        NatureCNN(shape, (6, 1), hidden=16, rng=np.random.default_rng(1)) for _ in range(2)
    )
    assert torch.equal(first.parameters, second.parameters)
    pixels = np.random.default_rng(0).integers(0, 255, (2, *shape), dtype=np.uint8)
    scaled = first.predict(first.asarray(pixels.astype(np.float32) / 255), 0)[0]
    assert torch.allclose(first.predict(first.asarray(pixels), 0)[0], scaled, atol=1e-5)


def test_nature_cnn_has_the_parameters_of_the_paper() -> None:
    module = _nature_module((84, 84, 4), (6, 1), 512)
    assert sum(one.numel() for one in module.parameters()) == 1_687_719


def test_a_missing_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="torch finds no GPU here"):
        TorchNetwork(module(), device="cuda")


def test_one_output_and_the_gradient_by_inputs_alone() -> None:
    class Twins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = nn.ModuleList([nn.Linear(4, 1), nn.Linear(4, 1)])

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(head(x).tanh() for head in self.heads)

    network, x = TorchNetwork(Twins()), torch.randn(6, 4)
    ones = torch.ones(6, 1)
    network.forward(x)
    wanted = network.input_gradient((ones, 0.0 * ones))
    network.gradients[:] = 7.0
    (found,) = network.forward(x, 0)
    assert torch.equal(found, network.predict(x, 0)[0])
    assert torch.allclose(network.input_gradient((ones,)), wanted)
    network.forward(x)
    assert torch.allclose(network.input_gradient((ones, 0.0 * ones)), wanted)
    assert (network.gradients == 7.0).all()
