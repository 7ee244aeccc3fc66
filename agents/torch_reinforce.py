"""REINFORCE with a baseline, in PyTorch: a deep-learning framework inside the contract.

Source: Williams, "Simple statistical gradient-following algorithms", 1992.
"""

import math

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn
from torch.distributions import Categorical

from gym_loop.agents import BaseAgent
from gym_loop.errors import SpaceError


class TorchReinforce(BaseAgent):
    """Makes those actions likelier that were followed by more than a baseline expected."""

    @staticmethod
    def get_default_parameters():
        """What a run file may set.

        Parameters:
            discount (float): What a reward one step later is worth, 0 to 1.
            episodes_per_update (int): Episodes between two updates.
            hidden (int): Units of the one hidden layer, of the policy and of the baseline.
            learning_rate (float): Step size of Adam.
        """
        return {"discount": 0.99, "episodes_per_update": 4, "hidden": 64, "learning_rate": 0.01}

    def __init__(self, **params):
        super().__init__(**params)  # self.parameters: the defaults, updated by the run file
        obs, actions = self.parameters["observation_space"], self.parameters["action_space"]
        if not isinstance(obs, Box) or not isinstance(actions, Discrete):
            raise SpaceError(
                f"TorchReinforce needs a Box of observations and Discrete actions, not {obs} and"
                f" {actions}: convert them with wrappers (env.wrappers), or use another agent"
            )
        torch.set_num_threads(1)  # a network this small only waits for further threads
        # Checkpoints hold the modules, the optimiser and torch's random stream, which the run
        # has seeded before it made the agent: there is nothing to register.
        inputs, hidden = math.prod(obs.shape), self.parameters["hidden"]
        self.policy = nn.Sequential(
            nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, int(actions.n))
        )
        self.baseline = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        weights = [*self.policy.parameters(), *self.baseline.parameters()]
        self.optimiser = torch.optim.Adam(weights, lr=self.parameters["learning_rate"])
        self.first_action = int(actions.start)
        self.episode = []  # (observation, action, reward) of each step of the one under way
        self.batch = []  # (observation, action, return from there on) of finished episodes
        self.finished = 0  # episodes in the batch
        self.loss = 0.0

    @torch.no_grad()  # a tensor with a gradient history can't be saved: learn() computes it anew
    def act(self, state, episode_num):
        logits = self.policy(torch.from_numpy(np.float32(state).ravel()))  # [A]
        # Inside an evaluation nothing is tried out.
        choice = Categorical(logits=logits).sample() if self.training else logits.argmax()
        return self.first_action + int(choice)

    @torch.no_grad()
    def observe(self, transition):
        last_ob, action, reward, terminated, truncated, ob, _ = transition
        self.episode.append((np.float32(last_ob).ravel(), action - self.first_action, reward))
        if not terminated and not truncated:
            return
        # Nothing follows a terminal state; after a time limit life would have gone on.
        future = 0.0 if terminated else self.baseline(torch.from_numpy(np.float32(ob).ravel())).item()
        for last_ob, action, reward in reversed(self.episode):
            future = float(reward) + self.parameters["discount"] * future
            self.batch.append((last_ob, action, future))
        self.episode, self.finished = [], self.finished + 1

    def update(self, episode_num):
        if self.finished < self.parameters["episodes_per_update"]:
            return
        observations, actions, returns = zip(*self.batch, strict=True)
        observations = torch.from_numpy(np.stack(observations))  # [B, O]
        returns = torch.tensor(returns)  # [B]
        expected = self.baseline(observations).squeeze(-1)  # [B]
        surplus = (returns - expected).detach()
        surplus = (surplus - surplus.mean()) / (surplus.std() + 1e-6)
        chosen = Categorical(logits=self.policy(observations)).log_prob(torch.tensor(actions))
        loss = -(surplus * chosen).mean() + nn.functional.mse_loss(expected, returns)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.batch, self.finished, self.loss = [], 0, loss.item()

    def metrics(self, episode_num):
        return {"loss": self.loss}
