import numpy as np
from gymnasium.spaces import Discrete

from gym_loop.agents import BaseAgent
from gym_loop.errors import SpaceError


class Tabular(BaseAgent):
    """Q-learning that tells termination from truncation, checks its input and reports."""

    @staticmethod
    def get_default_parameters():
        """What a run file may set.

        Parameters:
            epsilon (float): Share of random actions, 0 to 1.
            learning_rate (float): How far a value moves towards its target.
            ties ("first" or "random"): Which of several best actions is taken.
        """
        return {"epsilon": 0.1, "learning_rate": 0.5, "ties": "first"}

    @staticmethod
    def check_parameters(parameters):
        problems = {}
        if not 0 <= parameters["epsilon"] <= 1:
            problems["epsilon"] = f"{parameters['epsilon']} is no share; use 0 to 1"
        return problems

    def __init__(self, **params):
        super().__init__(**params)
        states = self.parameters["observation_space"]
        actions = self.parameters["action_space"]
        if not isinstance(states, Discrete) or not isinstance(actions, Discrete):
            raise SpaceError(
                f"Tabular needs Discrete observations and actions, not {states} and {actions}:"
                " discretise them with a wrapper in env.wrappers"
            )
        self.values = np.zeros((states.n, actions.n))
        self.largest_error = 0.0

    def act(self, state, episode_num):
        if self.training and self.rng.random() < self.parameters["epsilon"]:
            return int(self.rng.integers(self.values.shape[1]))
        values = self.values[state]
        if self.parameters["ties"] == "random":
            return int(self.rng.choice(np.flatnonzero(values == values.max())))
        return int(np.argmax(values))

    def observe(self, transition):
        self.transition = transition

    def update(self, episode_num):
        last_ob, action, reward, terminated, _, ob, _ = self.transition
        future = 0.0 if terminated else self.values[ob].max()  # truncated or not
        error = reward + 0.99 * future - self.values[last_ob, action]
        self.values[last_ob, action] += self.parameters["learning_rate"] * error
        self.largest_error = max(self.largest_error, abs(float(error)))

    def metrics(self, episode_num):
        return {"largest_error": self.largest_error}
