"""Agents in PyTorch as tutorials have them."""

from __future__ import annotations

import copy
import random
from collections import deque
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, SequentialLR

from gym_loop.agents import BaseAgent


class ActorCritic(nn.Module):
    """Has its optimiser, a schedule, counters, buffers that are not saved, and what it did last."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.policy, self.value = nn.Linear(4, 2), nn.Linear(4, 1)
        self.register_buffer("trace", torch.zeros(4), persistent=False)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        warm, cool = (
            LinearLR(self.optimizer, total_iters=20),
            CosineAnnealingLR(self.optimizer, 200),
        )
        self.schedule = SequentialLR(self.optimizer, [warm, cool], [20])
        self.learn_steps, self.noise, self.mean = 0, 1.0, torch.zeros(4)
        self.losses: list[float] = []


class InTheModule(BaseAgent):
    """Keeps all that learns in the network."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.net = ActorCritic()

    def act(self, state: Any, episode_num: int) -> int:
        net = self.net.eval()
        with torch.no_grad():
            logits = net.policy(net.norm(torch.as_tensor(state)[None] - net.mean + net.trace))[0]
        if self.training:
            logits = logits + torch.randn(2) * net.noise
        return int(logits.argmax())

    def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any) -> None:
        net, pair = self.net.train(), torch.as_tensor(np.stack([last_ob, ob]))
        net.mean, net.trace = 0.9 * net.mean + 0.1 * pair[0], 0.5 * net.trace + pair[1]
        values, logits = net.value(net.norm(pair)), net.policy(net.norm(pair))
        error = float(reward) + 0.9 * values[1].detach() * (not done) - values[0]
        loss = (error**2 - error.detach() * logits[0].log_softmax(0)[action]).sum()
        net.optimizer.zero_grad()
        loss.backward()
        net.optimizer.step()
        net.schedule.step()
        net.losses.append(loss.item())
        net.learn_steps += 1
        net.noise *= 0.99

    def metrics(self, episode_num: int) -> dict[str, float]:
        rate = self.net.optimizer.param_groups[0]["lr"]
        return {"learn_steps": self.net.learn_steps, "rate": rate, "loss": self.net.losses[-1]}


class Replaying(BaseAgent):
    """DQN with a deque of tuples, a copied target, a lambda, and global random numbers."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        self.target = copy.deepcopy(self.net)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=0.01, amsgrad=True)
        self.schedule = LambdaLR(self.optimizer, lambda step: 1.0 / (1 + step))
        self.memory: deque[Any] = deque(maxlen=60)
        self.steps = 0
        self.epsilon = lambda: max(0.05, 1 - self.steps / 50)

    def act(self, state: Any, episode_num: int) -> int:
        if self.training and random.random() < self.epsilon():
            return random.randrange(2)
        with torch.no_grad():
            return int(self.net(torch.as_tensor(state)).argmax())

    def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any) -> None:
        self.memory.append((last_ob, action, reward, ob, done))
        self.steps += 1

    def update(self, episode_num: int) -> None:
        if len(self.memory) < 8:
            return
        rows = zip(*random.sample(self.memory, 8), strict=True)
        states, actions, rewards, following, done = (np.array(one) for one in rows)
        with torch.no_grad():
            best = self.target(torch.as_tensor(following)).max(1).values
        wanted = torch.as_tensor(rewards, dtype=torch.float32) + 0.9 * best * torch.as_tensor(~done)
        values = self.net(torch.as_tensor(states))[range(8), actions]
        self.optimizer.zero_grad()
        nn.functional.smooth_l1_loss(values, wanted).backward()
        self.optimizer.step()
        self.schedule.step()
        if self.steps % 10 == 0:
            self.target.load_state_dict(self.net.state_dict())

    def metrics(self, episode_num: int) -> dict[str, float]:
        return {"epsilon": self.epsilon(), "rate": self.optimizer.param_groups[0]["lr"]}


class Module(nn.Module, BaseAgent):
    """Is a network, whose method `parameters` hides those of the agent."""

    def __init__(self, **params: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)


class Lazy(BaseAgent):
    """Has a network that takes its shape from the first input."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.net = nn.Sequential(nn.LazyLinear(2))

    def act(self, state: Any, episode_num: int) -> int:
        return int(self.net(torch.as_tensor(state)).argmax())


class Reinforce(BaseAgent):
    """Keeps the log-probabilities of the episode under way in its network."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.net: Any = nn.Linear(4, 2)
        self.net.log_probs, self.net.rewards = [], []
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.01)

    def act(self, state: Any, episode_num: int) -> int:
        logits = self.net(torch.as_tensor(state))
        if not self.training:
            return int(logits.argmax())
        chances = torch.distributions.Categorical(logits=logits)
        action = chances.sample()
        self.net.log_probs.append(chances.log_prob(action))
        return int(action)

    def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any) -> None:
        self.net.rewards.append(float(reward))
        if done:
            self.optimizer.zero_grad()
            (-torch.stack(self.net.log_probs).sum() * (sum(self.net.rewards) - 20)).backward()
            self.optimizer.step()
            self.net.log_probs, self.net.rewards = [], []
