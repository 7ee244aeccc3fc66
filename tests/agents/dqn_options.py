"""DQN with each of its options, quick, for the tests of it."""

from typing import Any

import pytest

QUICK = {
    "batch_size": 32,
    "discount": 0.5,
    "epsilon": {"linear": [1.0, 0.1], "steps": 1000},
    "learning_rate": 3e-3,
    "learning_starts": 50,
    "target_every": 50,
    "value_range": [-1.0, 3.0],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"double": False},
    "double": {},
    "dueling": {"dueling": True},
    "dueling on one trunk": {"dueling": True, "network_parameters": {"shared": True}},
    "prioritized": {"prioritized": True},
    "n_steps": {"n_steps": 3},
    "noisy": {"noisy": True, "epsilon": 0.0},
    "categorical": {"distribution": "categorical"},
    "quantile": {"distribution": "quantile", "atoms": 11},
    "polyak": {"target_every": 1, "target_mix": 0.05},
    "blocks": {"double": False, "train_every": 20, "gradient_steps": -1, "batch_size": 100},
}
RAINBOW = {
    "double": True,
    "dueling": True,
    "prioritized": True,
    "n_steps": 3,
    "noisy": True,
    "epsilon": 0.05,
    "network_parameters": {"hidden": [64], "activation": "relu"},
}
OPTIONS["all, categorical"] = {**RAINBOW, "distribution": "categorical"}
OPTIONS["all, quantile"] = {**RAINBOW, "distribution": "quantile", "atoms": 11}
each_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
