"""Tabular Q-learning: the smallest agent that learns a value (Watkins, 1989)."""

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete

from gym_loop.agents import BaseAgent, Transition
from gym_loop.errors import SpaceError


class QLearning(BaseAgent):
    """Keeps one value for each state and action, and moves it towards the Bellman target.

    It explores epsilon-greedily; epsilon falls on a straight line over the first episodes.
    """

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """What a run file may set.

        Parameters:
            exploration_episodes (int): Episodes until exploration_final_eps is reached.
            exploration_final_eps (float): Share of random actions from then on.
            exploration_initial_eps (float): Share of random actions in the first episode.
            gamma (float): Discount of a reward one step later, 0 to 1.
            learning_rate (float): How far a value moves towards its target, above 0 to 1.
        """
        return {
            "exploration_episodes": 1000,
            "exploration_final_eps": 0.05,
            "exploration_initial_eps": 1.0,
            "gamma": 0.99,
            "learning_rate": 0.1,
        }

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)  # self.parameters: the defaults, updated by the run file
        # The runner adds the spaces. An agent that can't handle them says so, and what can.
        states, actions = self.parameters["observation_space"], self.parameters["action_space"]
        if not isinstance(states, Discrete) or not isinstance(actions, Discrete):
            raise SpaceError(
                f"QLearning needs Discrete observations and actions, not {states} and {actions}:"
                " discretise them with a wrapper (env.wrappers), or use another agent,"
                " such as cross_entropy.py:CrossEntropy"
            )
        # Every attribute but self.parameters is in the checkpoints: there is nothing to register.
        self.first_state, self.first_action = int(states.start), int(actions.start)
        self.values = np.zeros((int(states.n), int(actions.n)))  # [S, A]
        self.last_step: Any = None  # what observe() leaves for update()
        self.td_error = 0.0

    def epsilon(self, episode_num: int) -> float:
        p = self.parameters
        first, last = p["exploration_initial_eps"], p["exploration_final_eps"]
        progress = min(1.0, episode_num / max(1, p["exploration_episodes"]))
        return float(first + progress * (last - first))

    def act(self, state: Any, episode_num: int) -> int:
        values = self.values[state - self.first_state]
        if not self.training:  # inside an evaluation: no exploration
            action = np.argmax(values)
        # Draw from self.rng: it follows the run's seed and goes on where a stopped run stood.
        elif self.rng.random() < self.epsilon(episode_num):
            action = self.rng.integers(len(values))
        else:  # equal values are broken at random, or the first action would always win
            action = self.rng.choice(np.flatnonzero(values == values.max()))
        return self.first_action + int(action)

    def observe(self, transition: Transition) -> None:
        # memorize() would do too, but observe() tells a terminated episode from a truncated one.
        last_ob, action, reward, terminated, _, ob, _ = transition
        state, action = last_ob - self.first_state, action - self.first_action
        self.last_step = state, action, reward, terminated, ob

    def update(self, episode_num: int) -> None:
        state, action, reward, terminated, ob = self.last_step
        # Nothing follows a terminal state; after a time limit life would have gone on.
        future = 0.0 if terminated else self.values[ob - self.first_state].max()
        self.td_error = float(
            reward + self.parameters["gamma"] * future - self.values[state, action]
        )
        self.values[state, action] += self.parameters["learning_rate"] * self.td_error

    def metrics(self, episode_num: int) -> dict[str, float]:
        # Logged after each episode as agent/epsilon and agent/td_error.
        return {"epsilon": self.epsilon(episode_num), "td_error": self.td_error}
