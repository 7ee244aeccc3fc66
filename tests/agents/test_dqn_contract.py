"""DQN keeps the contract of agents, and names the parameters that it refuses."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from gym_loop.agents.dqn import DQN
from gym_loop.checkpoints.tree import capture, restore
from gym_loop.errors import ConfigError, SpaceError, StateError
from gym_loop.schema.parameters import check_parameters, documentation
from gym_loop.testing import check_agent
from tests.agents.batch_games import Identity, assert_continues, make, play
from tests.agents.dqn_options import QUICK, RAINBOW, each_option


@each_option
def test_keeps_the_contract(options: dict) -> None:
    quick = {"batch_size": 8, "learning_starts": 20, "target_update_interval": 30}
    check_agent(DQN, "CartPole-v1", {**quick, **options}, steps=120)


@pytest.mark.parametrize("env", ["FrozenLake-v1", "Taxi-v4", "Acrobot-v1"])
def test_keeps_the_contract_elsewhere(env: str) -> None:
    check_agent(DQN, env, {"batch_size": 8, "learning_starts": 20, **RAINBOW}, steps=100)


@each_option
def test_same_seed_same_actions(options: dict) -> None:
    def actions(seed: int) -> np.ndarray:
        game = Identity(spaces.Discrete(4), 3)
        return play(make(DQN, game, **QUICK | options | {"seed": seed}), game, 60)

    np.testing.assert_array_equal(actions(1), actions(1))
    assert (actions(1) != actions(2)).any()


@each_option
def test_continues_bit_for_bit(options: dict) -> None:
    parameters = QUICK | {"buffer_size": 150} | options
    game = Identity(spaces.Discrete(4), 3)
    agent, other = (make(DQN, game, **parameters) for _ in range(2))
    play(agent, game, 67)
    assert_continues(agent, other, game)


def test_a_resumed_run_may_change_what_a_parameter_says() -> None:
    game = Identity(spaces.Discrete(4), 3)
    agent = make(DQN, game, **QUICK)
    play(agent, game, 40)
    other = make(DQN, game, **QUICK | {"learning_rate": 0.5, "exploration_initial_eps": 0.25})
    other.load_state_dict(restore(None, capture(agent.state_dict())))
    assert other.learning_rate(0) == 0.5
    assert other.epsilon(0) == 0.25


def test_a_state_of_another_buffer_is_refused() -> None:
    game = Identity(spaces.Discrete(4), 3)
    state = capture(make(DQN, game, **QUICK).state_dict())
    other = make(DQN, game, **QUICK | {"buffer_size": 10})
    with pytest.raises(StateError, match="replay buffer has slots 12 now, but had 100002 when"):
        other.load_state_dict(restore(None, state))


def test_every_parameter_is_documented_and_its_default_is_right() -> None:
    assert set(documentation(DQN)) == set(DQN.get_default_parameters())
    assert check_parameters(DQN, DQN.get_default_parameters())[1] == {}


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("batch_size", 0, "0 is too small; it must be at least 1"),
        ("n_steps", 0, "at least 1"),
        ("target_update_interval", 0, "at least 1"),
        ("threads", 0, "at least 1"),
        ("train_freq", 0, "at least 1"),
        ("atoms", 1, "at least 2"),
        ("buffer_size", 1, "at least 2"),
        ("learning_starts", -1, "at least 0"),
        ("gradient_steps", 0, "0 must be at least 1, or -1"),
        ("gradient_steps", -2, "or -1 for one an environment step"),
        ("gamma", 1.5, "1.5 must be from 0 to 1"),
        ("priority_exponent", -0.1, "must be from 0 to 1"),
        ("tau", 1.1, "must be from 0 to 1"),
        ("max_grad_norm", 0, "must be above 0"),
        ("exploration_initial_eps", 1.5, "1.5 must be from 0 to 1"),
        ("exploration_final_eps", -0.5, "-0.5 must be from 0 to 1"),
        ("exploration_steps", 0, "at least 1"),
        ("priority_correction", -1.0, "must be from 0.0 to 1.0"),
        ("learning_rate", -1.0, "at least 0"),
        ("value_range", [1.0, 1.0], "must be two numbers, the smaller one first"),
        ("value_range", [1.0, "2"], "must be two numbers"),
        ("value_range", [1.0], "must be two numbers"),
        ("distribution", "quantil", "did you mean quantile"),
    ],
)
def test_values_out_of_range_are_named(name: str, bad: Any, message: str) -> None:
    problems = check_parameters(DQN, {name: bad})[1]
    assert set(problems) == {name}
    assert message in problems[name]


def test_spaces_that_it_cannot_handle_are_refused() -> None:
    with pytest.raises(SpaceError, match=r"DQN cannot act in Box.*needs Discrete.*ppo:PPO"):
        DQN(observation_space=spaces.Discrete(2), action_space=spaces.Box(0, 1, (2,)))
    nested = spaces.Dict({"a": spaces.Text(2)})
    with pytest.raises(SpaceError, match=r"DQN cannot learn from .*FlattenObservation"):
        DQN(observation_space=nested, action_space=spaces.Discrete(2))


@pytest.mark.needs("torch")
def test_noise_needs_our_network() -> None:
    with pytest.raises(ConfigError, match=r"noisy: true needs .*mlp:MLP, not "):
        DQN(
            observation_space=spaces.Box(0, 255, (36, 36, 3), np.uint8),
            action_space=spaces.Discrete(2),
            network="gym_loop.nn.torch_network:NatureCNN",
            noisy=True,
        )
