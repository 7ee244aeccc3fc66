"""SAC and TD3 learn to do what they see, and what endless work is worth."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gym_loop.agents.sac import SAC
from tests.agents.batch_games import Identity, make, play, reward_in_evaluation
from tests.agents.off_policy_options import (
    BOXES,
    OPTIONS,
    QUICK,
    SMALL,
    Wage,
    each_agent,
    each_option,
)


@each_option
def test_learns_to_do_what_it_sees(agent_class: Any, options: dict) -> None:
    game = Identity(deepcopy(BOXES["one"]), 4)
    agent = make(agent_class, game, **QUICK | options)
    play(agent, game, 500)
    assert reward_in_evaluation(agent, game) > 0.9


@each_agent
@pytest.mark.parametrize("box", ["asymmetric", "matrix"])
def test_learns_within_other_bounds(agent_class: Any, box: str) -> None:
    game = Identity(deepcopy(BOXES[box]), 4)
    before = reward_in_evaluation(make(agent_class, game, **QUICK), game)
    agent = make(agent_class, game, **QUICK)
    actions = play(agent, game, 700)
    assert all(game.action_space.contains(one) for one in actions.reshape(-1, *actions.shape[2:]))
    assert reward_in_evaluation(agent, game) > max(0.75, before + 0.2)


@each_agent
def test_learns_with_a_single_environment_without_an_axis(agent_class: Any) -> None:
    game = Identity(deepcopy(BOXES["one"]), 1)
    agent = make(agent_class, game, **QUICK)
    play(agent, game, 900, single=True)
    assert reward_in_evaluation(agent, game) > 0.85


@each_agent
@pytest.mark.parametrize("n_steps", [1, 3])
def test_value_of_endless_work_that_is_only_truncated(agent_class: Any, n_steps: int) -> None:
    options: dict[str, Any] = {**QUICK, "network_parameters": {"hidden": [8]}, "n_steps": n_steps}
    options |= {"ent_coef": 0.0} if agent_class is SAC else {"target_policy_noise": 0.1}

    def value(terminates: bool, gamma: float, steps: int) -> float:
        game = Wage(4, 5, terminates=terminates)
        agent = make(agent_class, game, **options | {"gamma": gamma})
        play(agent, game, steps)
        units = np.zeros((4, 1), np.float32)
        return float(agent.critics.target_values(game.seen, units).mean())

    assert value(False, 0.9, 1500) == pytest.approx(1 / (1 - 0.9), rel=0.05)
    # Unable to see the clock, it finds the value that explains itself on average, as for DQN.
    now, later = {1: (1.0, 0.5 * 4 / 5), 3: ((3 * 1.75 + 1.5 + 1.0) / 5, 0.125 * 2 / 5)}[n_steps]
    assert value(True, 0.5, 1000) == pytest.approx(now / (1 - later), rel=0.1)


@each_agent
def test_many_updates_a_step_with_normalised_layers(agent_class: Any) -> None:
    game = Identity(deepcopy(BOXES["one"]), 1)
    normalised = {"network_parameters": SMALL | {"layer_norm": True}, "gradient_steps": 8}
    agent = make(agent_class, game, **QUICK | normalised)
    play(agent, game, 300)
    assert agent.critics.optimizer.updates > 1500
    assert reward_in_evaluation(agent, game) > 0.9


NETS = """
import torch
from torch import nn

class Actor(nn.Module):
    def __init__(self, input_shape, outputs, width=32):
        super().__init__()
        (size,) = outputs
        (inputs,) = input_shape
        self.net = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, size))

    def forward(self, x):
        return self.net(x)

class Critic(nn.Module):
    def __init__(self, input_shape, outputs, width=32):
        super().__init__()
        assert input_shape == {"observation": (1,), "action": (1,)} and outputs == (1, 1)
        make = lambda: nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 1))
        self.critics = nn.ModuleList(make() for _ in outputs)

    def forward(self, x):
        joined = torch.cat([x["observation"], x["action"]], dim=1)
        return tuple(critic(joined) for critic in self.critics)
"""


@pytest.mark.needs("torch")
@pytest.mark.parametrize("name", ["SAC", "SAC fixed", "SAC gSDE", "TD3", "TD3 wandering"])
def test_learns_with_modules_of_the_users(workdir: Path, name: str) -> None:
    import torch

    (workdir / "nets.py").write_text(NETS)
    agent_class, options = OPTIONS[name]
    game = Identity(deepcopy(BOXES["one"]), 4)
    own = {
        "network": "nets.py:Actor",
        "network_parameters": {"width": 48},
        "critic_network": "nets.py:Critic",
    }
    torch.manual_seed(0)
    agent = make(agent_class, game, **QUICK | options | own)
    assert agent.critics.network.module.critics[0][0].out_features == 32
    play(agent, game, 400)
    assert reward_in_evaluation(agent, game) > 0.85
