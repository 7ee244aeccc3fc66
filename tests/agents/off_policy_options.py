"""SAC and TD3 with each of their options, small and quick, for the tests of both."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from gym_loop.agents.sac import SAC
from gym_loop.agents.td3 import TD3
from tests.agents.batch_games import Salary


class Wage(Salary):
    """A `Salary` for continuous actions."""

    action_space = spaces.Box(-1, 1, (1,))


SMALL = {"hidden": [32, 32]}
QUICK = {
    "batch_size": 64,
    "buffer_size": 5000,
    "gamma": 0.5,
    "learning_rate": 3e-3,
    "learning_starts": 100,
    "network_parameters": SMALL,
    "tau": 0.05,
}
OPTIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "SAC": (SAC, {}),
    "SAC fixed": (SAC, {"ent_coef": 0.05}),
    "SAC gSDE": (SAC, {"use_sde": True, "sde_sample_freq": 8}),
    "SAC n_steps": (SAC, {"n_steps": 3}),
    "SAC blocks": (SAC, {"train_freq": 4, "gradient_steps": -1}),
    "TD3": (TD3, {}),
    "TD3 wandering": (TD3, {"noise_type": "ornstein-uhlenbeck", "noise_std": 0.3}),
    "TD3 n_steps": (TD3, {"n_steps": 3, "policy_delay": 1}),
}
BOXES = {
    "one": spaces.Box(-1, 1, (1,)),
    "asymmetric": spaces.Box(np.array([-1.0, 2.0]), np.array([0.0, 8.0]), dtype=np.float64),
    "matrix": spaces.Box(0, 3, (2, 1)),
}
each_option = pytest.mark.parametrize(("agent_class", "options"), OPTIONS.values(), ids=OPTIONS)
each_agent = pytest.mark.parametrize("agent_class", [SAC, TD3])
