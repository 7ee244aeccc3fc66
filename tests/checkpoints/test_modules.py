"""What PyTorch's modules, optimisers and schedulers hold beyond what their state_dict gives."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gym_loop.checkpoints.tree import capture, first_difference, restore
from gym_loop.errors import StateError
from gym_loop.nn.optimizers import Adam
from gym_loop.nn.torch_network import TorchNetwork
from tests.checkpoints.state_things import Record, Thing, plain


class CountingAdam(torch.optim.Adam):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.calls, self.log = 0, [0]

    def step(self, closure: Any = None) -> Any:
        self.calls += 1
        self.log.append(self.calls)
        return super().step(closure)


class Warming(torch.optim.lr_scheduler.LambdaLR):
    def __init__(self, optimizer: Any) -> None:
        self.warm = [0]
        self.rule = lambda epoch: 1.0 / (1.0 + epoch)
        super().__init__(optimizer, self.rule)

    def step(self, epoch: Any = None) -> None:
        self.warm[0] += 1
        super().step(epoch)


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.2))
        self.mean: Any
        self.register_buffer("mean", torch.zeros(4), persistent=False)
        self.seen = 0
        self.history: collections.deque[Any] = collections.deque(maxlen=3)
        self.tensor, self.array = torch.zeros(2), np.zeros(3)
        self.rng = np.random.default_rng(3)
        self.last: Any = None

    def forward(self, x: Any) -> Any:
        self.last = self.layers(x)  # with its gradient history
        self.seen += len(x)
        self.history.append((self.seen, self.last.detach().mean()))
        self.mean = 0.9 * self.mean + 0.1 * self.last.detach().mean(0)
        self.tensor += 1
        self.array += self.rng.normal(size=3)
        self.layers[2].p = 0.2 / (1 + self.seen / 100)
        return self.last + self.mean


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.lstm, self.head = Body(), nn.LSTM(4, 4), nn.Linear(4, 1)
        self.optimizer = CountingAdam(self.parameters(), lr=0.01)
        self.schedule = Warming(self.optimizer)
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(self.optimizer)
        self.learn_steps, self.records = 0, [Record(0, [])]
        self.hidden = [nn.Linear(1, 1)]  # a list, so that it is no part of the network
        self.chosen: list[Any] = []

    def forward(self, x: Any) -> Any:
        out, _ = self.lstm(self.body(x).unsqueeze(0))
        return self.head(out[0])


class Learner:
    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = Net()
        self.weights, self.head, self.best = list(self.net.parameters()), self.net.head, None
        self.net.owner = self

    def learn(self) -> float:
        net = self.net
        loss = (net(torch.randn(6, 3)) ** 2).mean()
        net.optimizer.zero_grad()
        loss.backward()
        net.optimizer.step()
        net.schedule.step()
        net.plateau.step(loss.item())
        net.learn_steps += 1
        net.records.append(Record(net.learn_steps, [loss.item()]))
        self.best, net.chosen = net.head.weight, [net.head.bias]
        return loss.item()


def test_everything_that_a_module_holds_comes_back() -> None:
    saved, live = Learner(), Learner()
    for _ in range(4):
        saved.learn()
    tree = capture(saved)
    plain(tree)
    restore(live, tree)
    net = live.net
    assert first_difference(tree, capture(live)) == ""
    assert (net.learn_steps, net.optimizer.calls, net.schedule.warm) == (4, 4, [5])
    assert net.records[4].items == saved.net.records[4].items
    random = torch.get_rng_state()
    expected = [saved.learn() for _ in range(3)]
    torch.set_rng_state(random)
    assert [live.learn() for _ in range(3)] == expected


def test_what_is_put_on_a_network_of_pytorchs_own_classes_comes_back() -> None:
    def make() -> Any:
        net: Any = nn.Sequential(
            nn.LSTM(2, 2), nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
        )
        net.optimizer = torch.optim.Adam(net.parameters())
        net.steps, net[0].log_probs, net.mean = 0, [], torch.zeros(2)
        return net

    saved, live = make(), make()
    sum(one.sum() for one in saved.parameters()).backward()
    saved.optimizer.step()
    saved.steps, saved.mean = 1, torch.ones(2)
    saved[0].log_probs.append(0.5)
    tree = capture(saved)
    restore(live, tree)
    assert first_difference(tree, capture(live)) == ""
    assert (live.steps, live[0].log_probs, live.mean.tolist()) == (1, [0.5], [1, 1])
    assert len(live.optimizer.state) == len(list(live.parameters()))


def test_references_to_parts_of_a_module_stay() -> None:
    saved, live = Learner(), Learner()
    saved.learn()
    restore(live, capture(saved))
    net = live.net
    assert live.best is net.head.weight
    assert net.chosen[0] is net.head.bias
    assert live.head is net.head
    assert net.owner is live
    own = list(net.parameters())
    assert all(one is other for one, other in zip(live.weights, own, strict=True))
    groups = net.optimizer.param_groups[0]["params"]
    assert all(one is other for one, other in zip(groups, own, strict=True))
    assert net.schedule.rule(1) == 0.5  # code stays what it is in the live object


def test_what_is_no_data_in_a_module_is_named_with_its_whole_name() -> None:
    agent = Learner()
    agent.net.body.story = (one for one in "abc")
    with pytest.raises(StateError, match=r"^agent\.net\.body\.story: a builtins:generator is no"):
        capture(agent, path="agent")


def test_a_class_with_a_state_dict_of_its_own_says_what_is_saved() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line, self.noise, self.cache = nn.Linear(2, 2), 0.5, (one for one in "abc")

        def state_dict(self, *arguments: Any, **options: Any) -> Any:
            return {**super().state_dict(*arguments, **options), "noise": self.noise}

        def load_state_dict(self, state: Any, *arguments: Any, **options: Any) -> Any:
            self.noise = state.pop("noise")
            return super().load_state_dict(state, *arguments, **options)

    saved, live = Own(), Own()
    saved.noise = 0.25
    restore(live, capture(saved))
    assert live.noise == 0.25
    assert torch.equal(live.line.weight, saved.line.weight)


def test_attributes_beside_an_inherited_state_dict_come_back() -> None:
    class Store:
        def __init__(self) -> None:
            self.rows, self.file = [0], (one for one in "abc")

        def state_dict(self) -> dict[str, Any]:
            return {"rows": list(self.rows)}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.rows[:] = state["rows"]

    class Counting(Store):
        def __init__(self) -> None:
            super().__init__()
            self.added = 0

    saved, live = Thing(store=Counting()), Thing(store=Counting())
    saved.store.rows, saved.store.added = [1, 2], 2
    rows, file = live.store.rows, live.store.file
    restore(live, capture(saved))
    assert (live.store.rows, live.store.added) == ([1, 2], 2)
    assert (live.store.rows is rows, live.store.file is file) == (True, True)


def test_objects_in_a_state_dict_are_put_into_those_that_are_there() -> None:
    class Whole:
        def __init__(self) -> None:
            self.part, self.rule = Thing(x=0), max

        def state_dict(self) -> dict[str, Any]:
            return {"part": self.part, "rule": self.rule}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.part, self.rule = state["part"], state["rule"]

    saved, live = Whole(), Whole()
    saved.part.x = 3
    part = live.part
    restore(live, capture(saved))
    assert live.part is part
    assert (part.x, live.rule) == (3, max)


def test_a_network_of_the_agents_keeps_what_its_module_holds() -> None:
    saved, live = Thing(network=TorchNetwork(Body())), Thing(network=TorchNetwork(Body()))
    saved.network.forward(torch.ones(2, 3))
    weights = live.network.parameters
    restore(live, capture(saved))
    assert live.network.module.seen == 2
    assert live.network.module.array.tolist() == saved.network.module.array.tolist()
    assert live.network.parameters is weights
    assert live.network.module.layers[0].weight.grad._base is live.network.gradients
    assert torch.equal(weights, saved.network.parameters)
    other = TorchNetwork(Body())
    other.load_state_dict(saved.network.state_dict())
    assert other.module is not saved.network.module
    assert torch.equal(other.parameters, weights)


def test_a_subclass_of_our_optimiser_is_saved_once_and_goes_on() -> None:
    class Counting(Adam):
        def __init__(self, like: Any) -> None:
            super().__init__(like)
            self.rates: list[float] = []

        def step(self, parameters: Any, gradients: Any, learning_rate: float) -> None:
            self.rates.append(learning_rate)
            super().step(parameters, gradients, learning_rate)

    def make() -> Any:
        optimizer = Counting(np.zeros(2))
        return Thing(optimizer=optimizer, first=optimizer.first)

    saved, live = make(), make()
    saved.optimizer.step(np.zeros(2), np.ones(2), 0.5)
    first, tree = live.first, capture(saved)
    assert tree["attributes"]["optimizer"]["attributes"] == {"": {"rates": [0.5]}}
    restore(live, tree)
    assert live.optimizer.rates == [0.5]
    assert live.first is live.optimizer.first is first
    assert first.tolist() == [1.0, 1.0]
