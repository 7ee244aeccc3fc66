"""REINFORCE with a baseline, in PyTorch: a deep-learning framework inside the contract.

Source: Williams, "Simple statistical gradient-following algorithms", 1992.
"""

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn
from torch.distributions import Categorical

from gym_loop.agents import BaseAgent, Transition
from gym_loop.errors import SpaceError


class TorchReinforce(BaseAgent):
    """Makes those actions likelier that were followed by more than a baseline expected."""

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """What a run file may set.

        Parameters:
            episodes_per_update (int): Episodes between two updates.
            gamma (float): Discount of a reward one step later, 0 to 1.
            hidden (int): Units of the hidden layer, in the policy and in the baseline.
            learning_rate (float): Step size of Adam.
        """
        return {"episodes_per_update": 4, "gamma": 0.99, "hidden": 64, "learning_rate": 0.01}

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)  # self.parameters: the defaults, updated by the run file
        obs, actions = self.parameters["observation_space"], self.parameters["action_space"]
        if not isinstance(obs, Box) or not isinstance(actions, Discrete):
            raise SpaceError(
                f"TorchReinforce needs a Box of observations and Discrete actions, not {obs} and"
                f" {actions}: convert them with wrappers (env.wrappers), or use another agent"
            )
        torch.set_num_threads(1)  # a network this small only waits for further threads
        # Checkpoints hold the networks, the optimiser and torch's random stream, which the run
        # seeded before it made the agent: there is nothing to register.
        self.policy = self.network(int(np.prod(obs.shape)), int(actions.n))
        self.baseline = self.network(int(np.prod(obs.shape)), 1)
        weights = [*self.policy.parameters(), *self.baseline.parameters()]
        self.optimiser = torch.optim.Adam(weights, lr=self.parameters["learning_rate"])
        self.first_action = int(actions.start)
        # (observation, action, reward) of each step of the one under way
        self.episode: list[tuple[np.ndarray, int, float]] = []
        # (observation, action, return from there on) of finished episodes
        self.batch: list[tuple[np.ndarray, int, float]] = []
        self.finished = 0  # episodes in the batch
        self.loss = 0.0

    def network(self, inputs: int, outputs: int) -> nn.Sequential:
        hidden = self.parameters["hidden"]
        return nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs))

    @torch.no_grad()  # no graph may outlive a step: it can't be saved. update() makes its own.
    def act(self, state: Any, episode_num: int) -> int:
        logits = self.policy(torch.from_numpy(np.float32(state).ravel()))  # [A]
        action = Categorical(logits=logits).sample() if self.training else logits.argmax()
        return self.first_action + int(action)

    @torch.no_grad()
    def observe(self, transition: Transition) -> None:
        last_ob, action, reward, terminated, truncated, ob, _ = transition
        self.episode.append((np.float32(last_ob).ravel(), action - self.first_action, reward))
        if terminated or truncated:
            # Nothing follows a terminal state; after a time limit life would have gone on.
            after = 0.0 if terminated else self.baseline(torch.from_numpy(np.float32(ob).ravel()))
            for one_ob, one_action, one_reward in reversed(self.episode):
                after = float(one_reward + self.parameters["gamma"] * after)
                self.batch.append((one_ob, one_action, after))
            self.episode, self.finished = [], self.finished + 1

    def update(self, episode_num: int) -> None:
        if self.finished < self.parameters["episodes_per_update"]:
            return
        observations, actions, returns = zip(*self.batch, strict=True)
        observations, returns = torch.from_numpy(np.stack(observations)), torch.tensor(returns)
        expected = self.baseline(observations).squeeze(-1)  # [B]
        surplus = (returns - expected).detach()
        surplus = (surplus - surplus.mean()) / (surplus.std(correction=0) + 1e-6)
        chosen = Categorical(logits=self.policy(observations)).log_prob(torch.tensor(actions))
        loss = nn.functional.mse_loss(expected, returns) - (surplus * chosen).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.batch, self.finished, self.loss = [], 0, loss.item()

    def metrics(self, episode_num: int) -> dict[str, float]:
        return {"loss": self.loss}
