"""SAC and TD3 keep the contract of agents, and name the parameters that they refuse."""

from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from gym_loop.checkpoints.tree import capture, restore
from gym_loop.errors import SpaceError, StateError
from gym_loop.schema.parameters import check_parameters, documentation
from gym_loop.testing import check_agent
from tests.agents.batch_games import Identity, assert_continues, make, play
from tests.agents.off_policy_options import BOXES, QUICK, SMALL, each_agent, each_option


@each_option
def test_keeps_the_contract(agent_class: Any, options: dict) -> None:
    quick = {"batch_size": 8, "buffer_size": 500, "learning_starts": 20}
    options = {**quick, "network_parameters": SMALL, **options}
    check_agent(agent_class, "Pendulum-v1", options, steps=120)


class Parts(gymnasium.Env):
    """An observation of several parts."""

    observation_space = spaces.Dict(
        speed=spaces.Box(-1, 1, (2,)),
        place=spaces.Discrete(3),
        marks=spaces.Box(0, 255, (2, 2), np.uint8),
    )
    action_space = spaces.Box(-2, 1, (2,), np.float64)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.observation_space.seed(int(self.np_random.integers(1000)))
        self.age = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any):
        self.age += 1
        return self.observation_space.sample(), float(action.sum()), False, self.age == 9, {}


@each_agent
def test_keeps_the_contract_with_observations_of_parts(agent_class: Any) -> None:
    options = {"batch_size": 8, "buffer_size": 500, "learning_starts": 20}
    check_agent(agent_class, Parts(), options | {"network_parameters": SMALL}, steps=80)


@each_option
def test_same_seed_same_actions(agent_class: Any, options: dict) -> None:
    def actions(seed: int) -> np.ndarray:
        game = Identity(deepcopy(BOXES["one"]), 3)
        return play(make(agent_class, game, **QUICK | options | {"seed": seed}), game, 60)

    np.testing.assert_array_equal(actions(1), actions(1))
    assert (actions(1) != actions(2)).any()


@each_option
def test_continues_bit_for_bit(agent_class: Any, options: dict) -> None:
    parameters = QUICK | {"buffer_size": 150} | options
    game = Identity(deepcopy(BOXES["one"]), 3)
    agent, other = (make(agent_class, game, **parameters) for _ in range(2))
    play(agent, game, 67)
    assert_continues(agent, other, game)


@each_agent
def test_a_resumed_run_may_change_what_a_parameter_says(agent_class: Any) -> None:
    game = Identity(deepcopy(BOXES["one"]), 3)
    agent = make(agent_class, game, **QUICK)
    play(agent, game, 40)
    other = make(agent_class, game, **QUICK | {"learning_rate": 0.5})
    other.load_state_dict(restore(None, capture(agent.state_dict())))
    assert other.learning_rate(0) == 0.5


@each_agent
def test_a_state_of_another_buffer_is_refused(agent_class: Any) -> None:
    game = Identity(deepcopy(BOXES["one"]), 3)
    state = capture(make(agent_class, game, **QUICK).state_dict())
    other = make(agent_class, game, **QUICK | {"buffer_size": 10})
    with pytest.raises(StateError, match="replay buffer has slots 12 now, but had 5001 when"):
        other.load_state_dict(restore(None, state))


@each_agent
def test_every_parameter_is_documented_and_its_default_is_right(agent_class: Any) -> None:
    assert set(documentation(agent_class)) == set(agent_class.get_default_parameters())
    assert check_parameters(agent_class, agent_class.get_default_parameters())[1] == {}


@each_agent
@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("batch_size", 0, "0 is too small; it must be at least 1"),
        ("n_steps", 0, "at least 1"),
        ("threads", 0, "at least 1"),
        ("train_freq", 0, "at least 1"),
        ("buffer_size", 1, "at least 2"),
        ("learning_starts", -1, "at least 0"),
        ("gradient_steps", 0, "0 must be at least 1, or -1"),
        ("gradient_steps", -2, "or -1 for one an environment step"),
        ("gamma", 1.5, "1.5 must be from 0 to 1"),
        ("tau", 1.1, "must be from 0 to 1"),
        ("learning_rate", -1.0, "at least 0"),
        ("learning_rate", {"linear": [1.0, -1.0], "steps": 5}, "at least 0"),
    ],
)
def test_values_out_of_range_are_named(agent_class: Any, name: str, bad: Any, message: str) -> None:
    problems = check_parameters(agent_class, {name: bad})[1]
    assert set(problems) == {name}
    assert message in problems[name]


@each_agent
def test_spaces_that_it_cannot_handle_are_refused(agent_class: Any) -> None:
    name, seen = agent_class.__name__, spaces.Discrete(2)
    with pytest.raises(SpaceError, match=rf"{name} cannot act in Discrete.*a Box of floats"):
        agent_class(observation_space=seen, action_space=spaces.Discrete(2))
    with pytest.raises(SpaceError, match=rf"{name} cannot act in Box.*TransformAction"):
        agent_class(observation_space=seen, action_space=spaces.Box(-np.inf, 1.0, (2,)))
    with pytest.raises(SpaceError, match=rf"{name} cannot learn from .*FlattenObservation"):
        agent_class(observation_space=spaces.Dict({"a": spaces.Text(2)}), action_space=BOXES["one"])
