"""DQN learns to do what it sees, and what endless work is worth."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from gym_loop.agents.dqn import DQN
from gym_loop.nn.noisy import NoisyMLP
from tests.agents.batch_games import TORCH_NET, Identity, Salary, make, play, reward_in_evaluation
from tests.agents.dqn_options import QUICK, RAINBOW, each_option


@each_option
def test_learns_to_do_what_it_sees(options: dict) -> None:
    game = Identity(spaces.Discrete(4, start=-1), 4)
    agent = make(DQN, game, **QUICK | options)
    assert reward_in_evaluation(agent, game) < 0.8
    play(agent, game, 600)
    assert reward_in_evaluation(agent, game) > 0.93


def test_learns_with_a_single_environment_without_an_axis() -> None:
    game = Identity(spaces.Discrete(3), 1)
    agent = make(DQN, game, **QUICK)
    play(agent, game, 1500, single=True)
    assert reward_in_evaluation(agent, game) > 0.95


@pytest.mark.parametrize("distribution", [None, "categorical", "quantile"])
@pytest.mark.needs("torch")
def test_learns_with_a_module_of_the_users(workdir: Path, distribution: str | None) -> None:
    (workdir / "net.py").write_text(TORCH_NET)
    game = Identity(spaces.Discrete(3), 4)
    torch_network = {"network": "net.py:Net", "network_parameters": {"width": 32}}
    options = RAINBOW | {"noisy": False, "exploration_final_eps": 0.2, "distribution": distribution}
    agent = make(DQN, game, **QUICK | options | torch_network)
    play(agent, game, 300)
    assert reward_in_evaluation(agent, game) > 0.9


@pytest.mark.needs("torch")
def test_plays_pictures_with_the_convolutional_network() -> None:
    rng = np.random.default_rng(0)
    game = Identity(spaces.Discrete(2), 2)
    game.observation_space = spaces.Box(0, 255, (36, 36, 3), np.uint8)
    game.seen = np.full((2, 36, 36, 3), 200, np.uint8)

    def step(actions: Any) -> tuple[Any, ...]:
        new = rng.integers(0, 256, (2, 36, 36, 1), dtype=np.uint8)
        game.seen = np.concatenate([game.seen[..., 1:], new], axis=-1)
        return game.seen, actions * 1.0, *np.zeros((2, 2), bool)

    game.step = step
    agent = make(
        DQN,
        game,
        network="gym_loop.nn.torch_network:NatureCNN",
        network_parameters={"hidden": 8},
        **{**QUICK, "batch_size": 8, "learning_rate": 1e-3},
    )
    play(agent, game, 200)
    assert agent.replay.store.written <= 400 + 6  # one picture a step
    assert reward_in_evaluation(agent, game) == 1.0


def value(agent: DQN, observations: Any) -> float:
    """The mean over observations of the best action's value."""
    network = agent.network
    if isinstance(network, NoisyMLP):
        network.remove_noise()
    outputs = agent._outputs(network, agent.encoder(observations))
    return float(agent.returns.means(outputs).max(axis=1).mean())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_steps": 3},
        {"distribution": "categorical", "value_range": [0.0, 12.0]},
        {"distribution": "quantile", "atoms": 5},
    ],
    ids=str,
)
def test_value_of_endless_work_that_is_only_truncated(options: dict) -> None:
    learn = {
        **QUICK,
        "target_update_interval": 20,
        "network_parameters": {"hidden": [8]},
        **options,
    }
    game = Salary(4, 5, terminates=False)
    agent = make(DQN, game, **learn | {"gamma": 0.9})
    play(agent, game, 2500)
    assert value(agent, game.seen) == pytest.approx(1 / (1 - 0.9), rel=0.05)

    # Unable to see the clock, it finds the value that explains itself on average: one step in
    # five ends the work, so v = 1 + 0.5 * 4 / 5 * v; over three steps three in five do.
    game = Salary(4, 5, terminates=True)
    agent = make(DQN, game, **learn)
    play(agent, game, 1500)
    now, later = {1: (1.0, 0.5 * 4 / 5), 3: ((3 * 1.75 + 1.5 + 1.0) / 5, 0.125 * 2 / 5)}[
        options.get("n_steps", 1)
    ]
    assert value(agent, game.seen) == pytest.approx(now / (1 - later), rel=0.1)
