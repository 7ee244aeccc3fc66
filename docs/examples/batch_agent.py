"""Pushes every cart to where its pole leans; from time to time to the other side."""

import numpy as np

from gym_loop.agents import BaseAgent


class Lean(BaseAgent):
    """An agent for many copies of CartPole at once."""

    supports_batch = True
    supports_partial_batch = True  # reads transition.env_ids

    def __init__(self, **params):
        super().__init__(**params)
        self.rewards = np.zeros(self.parameters["n_envs"])  # of each copy

    @staticmethod
    def get_default_parameters():
        """The parameters.

        Parameters:
            epsilon (float): Share of pushes to the other side.
        """
        return {"epsilon": 0.1}

    def act(self, state, episode_num):
        actions = (state[..., 2] > 0).astype(np.int64)  # [N, 4] -> [N], or [4] -> []
        if not self.training:
            return actions
        flipped = self.rng.random(actions.shape) < self.parameters["epsilon"]
        return np.where(flipped, 1 - actions, actions)

    def observe(self, transition):
        copies = 0 if transition.env_ids is None else transition.env_ids  # None in DefaultLoop
        self.rewards[copies] += transition.reward

    def metrics(self, episode_num):
        return {"least_reward": self.rewards.min()}
