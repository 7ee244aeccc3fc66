import numpy as np

from gym_loop.agents import BaseAgent


class Tabular(BaseAgent):
    """Keeps a value for each state and action: Q-learning."""

    @staticmethod
    def get_default_parameters():
        """What a run file may set.

        Parameters:
            epsilon (float): Share of random actions, 0 to 1.
            learning_rate (float): How far a value moves towards its target.
        """
        return {"epsilon": 0.1, "learning_rate": 0.5}

    def __init__(self, **params):
        super().__init__(**params)
        states = self.parameters["observation_space"].n
        actions = self.parameters["action_space"].n
        self.values = np.zeros((states, actions))

    def act(self, state, episode_num):
        if self.training and self.rng.random() < self.parameters["epsilon"]:
            return int(self.rng.integers(self.values.shape[1]))
        return int(np.argmax(self.values[state]))

    def memorize(self, last_ob, action, reward, done, ob):
        self.step = last_ob, action, reward, done, ob

    def update(self, episode_num):
        last_ob, action, reward, done, ob = self.step
        target = reward if done else reward + 0.99 * self.values[ob].max()
        error = target - self.values[last_ob, action]
        self.values[last_ob, action] += self.parameters["learning_rate"] * error
