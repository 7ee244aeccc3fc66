"""DQN with each of its options, quick, for the tests of it."""

from typing import Any

import pytest

QUICK = {
    "batch_size": 32,
    "gamma": 0.5,
    "exploration_initial_eps": 1.0,
    "exploration_final_eps": 0.1,
    "exploration_steps": 1000,
    "learning_rate": 3e-3,
    "learning_starts": 50,
    "target_update_interval": 50,
    "train_freq": 1,
    "value_range": [-1.0, 3.0],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"double": False},
    "double": {},
    "dueling": {"dueling": True},
    "dueling on one trunk": {"dueling": True, "network_parameters": {"shared": True}},
    "prioritized": {"prioritized": True},
    "n_steps": {"n_steps": 3},
    "noisy": {"noisy": True, "exploration_initial_eps": 0.0, "exploration_final_eps": 0.0},
    "categorical": {"distribution": "categorical"},
    "quantile": {"distribution": "quantile", "atoms": 11},
    "polyak": {"target_update_interval": 1, "tau": 0.05},
    "blocks": {"double": False, "train_freq": 5, "gradient_steps": -1, "batch_size": 100},
}
RAINBOW = {
    "double": True,
    "dueling": True,
    "prioritized": True,
    "n_steps": 3,
    "noisy": True,
    "exploration_initial_eps": 0.05,
    "exploration_final_eps": 0.05,
    "network_parameters": {"hidden": [64], "activation": "relu"},
}
OPTIONS["all, categorical"] = {**RAINBOW, "distribution": "categorical"}
OPTIONS["all, quantile"] = {**RAINBOW, "distribution": "quantile", "atoms": 11}
each_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
