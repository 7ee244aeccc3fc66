"""Agents that keep what they learn where a checkpoint could miss it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from gym_loop.agents import BaseAgent

TRIED: list[int] = []  # of the file, not of an agent


class Policy(nn.Module):
    """A network that keeps its optimiser and its counters, as many tutorials have it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        self.optimizer = torch.optim.Adam(self.parameters(), lr=0.02)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 50, 0.9)
        self.learn_steps = 0
        self.baseline = torch.zeros(1)


class Reinforce(BaseAgent):
    """REINFORCE with everything that learns inside the module."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.net = Policy()
        self.rows: list[Any] = []

    def act(self, state: Any, episode_num: int) -> int:
        with torch.no_grad():
            chances = torch.softmax(self.net.layers(torch.as_tensor(state)), 0)
        if not self.training:
            return int(chances.argmax())
        return int(self.rng.random() < float(chances[1]))

    def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any) -> None:
        self.rows.append((last_ob, action, reward))
        self.net.learn_steps += 1
        if done:
            self.learn()

    def learn(self) -> None:
        net = self.net
        states = torch.as_tensor(np.array([row[0] for row in self.rows]))
        actions = torch.as_tensor([row[1] for row in self.rows])
        returns = torch.arange(len(self.rows), 0, -1, dtype=torch.float32)
        log_probs = torch.log_softmax(net.layers(states), 1)[range(len(actions)), actions]
        net.optimizer.zero_grad()
        (-(returns - net.baseline) * log_probs).mean().backward()
        net.optimizer.step()
        net.schedule.step()
        net.baseline = 0.9 * net.baseline + 0.1 * returns.mean()
        self.rows = []

    def metrics(self, episode_num: int) -> dict[str, float]:
        return {"learn_steps": self.net.learn_steps}


class Guessing(BaseAgent):
    """Random actions; what it keeps where is up to its subclasses."""

    def act(self, state: Any, episode_num: int) -> int:
        return int(self.rng.integers(2))


class Decaying(Guessing):
    """Explores less and less, by its parameter itself."""

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        return {"epsilon": 1.0, "gamma": 0.9, "layers": [8]}

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.parameters["derived"] = 10 * self.parameters["gamma"]
        self.gamma = self.parameters["gamma"]
        self.scale = 1.0 if self.parameters["layers"] == [8] else None

    def update(self, episode_num: int) -> None:
        self.parameters["epsilon"] *= 0.99
        if self.scale is not None:
            self.scale *= 0.99

    def metrics(self, episode_num: int) -> dict[str, float]:
        return {"epsilon": self.parameters["epsilon"], "gamma": self.gamma}


class InTheClass(Guessing):
    """Counts in its class and in its file."""

    steps = 0
    table = np.zeros(3)

    def update(self, episode_num: int) -> None:
        type(self).steps += 1
        self.table[0] += 1
        TRIED.append(1)


class CodeLater(Guessing):
    """Puts a function into an attribute while it trains."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.rule: Any = max

    def update(self, episode_num: int) -> None:
        self.rule = lambda one, other: other


class Lazy(Guessing):
    """Makes its network when it sees the first observation."""

    net: Any = None

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.net = None

    def act(self, state: Any, episode_num: int) -> int:
        if self.net is None:
            self.net = nn.Linear(len(state), 2)
        return super().act(state, episode_num)


class Node:
    """An object that is no dataclass."""

    def __init__(self) -> None:
        self.visits = 0


class Growing(Guessing):
    """Makes objects of its own as it goes."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.nodes = [Node()]

    def update(self, episode_num: int) -> None:
        self.nodes.append(Node())


class Whole(Guessing):
    """Returns an object, where data is wanted."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.net = nn.Linear(2, 2)

    def state_dict(self) -> dict[str, Any]:
        return {"net": self.net}


class Stochastic(Reinforce):
    """Keeps what its last forward pass made, as published policies do."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.net.chances = self.net.scores = None

    def act(self, state: Any, episode_num: int) -> int:
        self.net.scores = self.net.layers(torch.as_tensor(state))
        self.net.chances = torch.distributions.Categorical(logits=self.net.scores)
        return int(self.rng.random() < float(self.net.chances.probs[1].detach()))
