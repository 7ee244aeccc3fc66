"""The cross-entropy method: search for the weights of a policy, without any gradient.

Source: Szita and Lorincz, "Learning Tetris using the noisy cross-entropy method", 2006.
"""

import math
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from gym_loop.agents import BaseAgent
from gym_loop.errors import SpaceError


class CrossEntropy(BaseAgent):
    """Plays each episode with weights drawn from a normal distribution.

    After a generation of episodes the distribution is fitted to the best of them. The policy
    is linear: it takes the action with the highest score.
    """

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """What a run file may set.

        Parameters:
            elite_fraction (float): Share of a generation that the next one is fitted to, 0 to 1.
            generation (int): Episodes, each with weights of its own, until the next fit.
            initial_std (float): Standard deviation of the weights at the beginning.
            noise (float): Standard deviation that is added at each fit, so that the search
                never ends; it falls as one over the number of fits.
        """
        return {"elite_fraction": 0.2, "generation": 40, "initial_std": 1.0, "noise": 0.75}

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)  # self.parameters: the defaults, updated by the run file
        # The runner adds the spaces. An agent that can't handle them says so, and what can.
        obs, actions = self.parameters["observation_space"], self.parameters["action_space"]
        if not isinstance(obs, Box) or not isinstance(actions, Discrete):
            raise SpaceError(
                f"CrossEntropy needs a Box of observations and Discrete actions, not {obs} and"
                f" {actions}: convert them with wrappers (env.wrappers), or use another agent"
            )
        # Every attribute but self.parameters is in the checkpoints: there is nothing to register.
        self.first_action = int(actions.start)
        self.mean = np.zeros((int(actions.n), math.prod(obs.shape) + 1))  # [A, O + 1], with a bias
        self.std = np.full_like(self.mean, self.parameters["initial_std"])
        self.weights = self.draw()  # of the episode under way
        self.episode_return = 0.0
        self.done = True
        self.tried: list[tuple[float, np.ndarray]] = []  # (return, weights) of the generation
        self.fits = 0

    def draw(self) -> np.ndarray:
        # Draw from self.rng: it follows the run's seed and goes on where a stopped run stood.
        return self.rng.normal(self.mean, self.std)

    def act(self, state: Any, episode_num: int) -> int:
        # Inside an evaluation nothing is tried out: the mean is the best guess.
        weights = self.weights if self.training else self.mean
        scores = weights[:, :-1] @ np.ravel(state) + weights[:, -1]  # [A]
        return self.first_action + int(np.argmax(scores))

    def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any) -> None:
        # The search compares whole episodes, so it makes no difference how one ended.
        self.episode_return = float(reward) + (0.0 if self.done else self.episode_return)
        self.done = done

    def update(self, episode_num: int) -> None:
        if not self.done:
            return
        self.tried.append((self.episode_return, self.weights))
        if len(self.tried) >= self.parameters["generation"]:
            self.fit()
        self.weights = self.draw()

    def fit(self) -> None:
        count = max(1, round(self.parameters["elite_fraction"] * len(self.tried)))
        best = sorted(self.tried, key=lambda one: one[0], reverse=True)[:count]
        elite = np.array([weights for _, weights in best])  # [elite, A, O + 1]
        self.fits += 1
        self.mean = elite.mean(axis=0)
        self.std = elite.std(axis=0) + self.parameters["noise"] / self.fits
        self.tried = []

    def metrics(self, episode_num: int) -> dict[str, float]:
        # Logged after each episode as agent/std and agent/fits.
        return {"std": float(self.std.mean()), "fits": self.fits}
