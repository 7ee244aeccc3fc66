"""What SAC and TD3 have in common."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from batch_games import Identity, Salary, make, play
from gymnasium import spaces

from gym_loop.agents.sac import SAC
from gym_loop.agents.td3 import TD3
from gym_loop.agents.twin_critics import TwinCritics, join
from gym_loop.errors import SpaceError, StateError
from gym_loop.networks.mlp import MLP
from gym_loop.parameters import check_parameters, documentation
from gym_loop.state_tree import capture, first_difference, restore
from gym_loop.testing import check_agent
from gym_loop.transition import Transition

SMALL = {"hidden": [32, 32]}
QUICK = {
    "batch_size": 64,
    "buffer_size": 5000,
    "discount": 0.5,
    "learning_rate": 3e-3,
    "learning_starts": 100,
    "network_parameters": SMALL,
    "target_mix": 0.05,
}
OPTIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "SAC": (SAC, {}),
    "SAC fixed": (SAC, {"temperature": 0.05}),
    "SAC gSDE": (SAC, {"state_dependent_exploration": 8}),
    "SAC n_steps": (SAC, {"n_steps": 3}),
    "SAC blocks": (SAC, {"train_every": 16, "gradient_steps": -1}),
    "TD3": (TD3, {}),
    "TD3 wandering": (TD3, {"noise": "ornstein-uhlenbeck", "noise_std": 0.3}),
    "TD3 n_steps": (TD3, {"n_steps": 3, "policy_delay": 1}),
}
BOXES = {
    "one": spaces.Box(-1, 1, (1,)),
    "asymmetric": spaces.Box(np.array([-1.0, 2.0]), np.array([0.0, 8.0]), dtype=np.float64),
    "matrix": spaces.Box(0, 3, (2, 1)),
}
each_option = pytest.mark.parametrize(("agent_class", "options"), OPTIONS.values(), ids=OPTIONS)
each_agent = pytest.mark.parametrize("agent_class", [SAC, TD3])


class Wage(Salary):
    """A `Salary` for continuous actions."""

    action_space = spaces.Box(-1, 1, (1,))


def reward_in_evaluation(agent: Any, game: Any) -> float:
    with agent.evaluating():
        return float(np.mean([game.step(agent.act(game.seen, 0))[1] for _ in range(50)]))


# -- learning ------------------------------------------------------------------------------


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
    options |= {"temperature": 0.0} if agent_class is SAC else {"target_noise": 0.1}

    def value(terminates: bool, discount: float, steps: int) -> float:
        game = Wage(4, 5, terminates=terminates)
        agent = make(agent_class, game, **options | {"discount": discount})
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


@pytest.mark.parametrize("name", ["SAC", "SAC fixed", "SAC gSDE", "TD3", "TD3 wandering"])
def test_learns_with_modules_of_the_users(workdir: Path, name: str) -> None:
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


def test_pictures_are_stored_once_and_scaled() -> None:
    game = Identity(deepcopy(BOXES["one"]), 2)
    game.observation_space = spaces.Box(0, 255, (6, 6, 3), np.uint8)
    rng = np.random.default_rng(0)
    game.seen = np.full((2, 6, 6, 3), 200, np.uint8)

    def step(actions: Any) -> tuple[Any, ...]:
        new = rng.integers(0, 256, (2, 6, 6, 1), dtype=np.uint8)
        game.seen = np.concatenate([game.seen[..., 1:], new], axis=-1)
        return game.seen, actions[:, 0], *np.zeros((2, 2), bool)

    game.step = step
    agent = make(SAC, game, **QUICK | {"learning_starts": 20})
    play(agent, game, 60)
    assert agent.replay.store.written <= 120 + 6
    inputs = join(game.seen, np.zeros((2, 1), np.float32))
    assert inputs.shape == (2, 6 * 6 * 3 + 1)
    assert 0.5 < inputs.max() <= 1.0


# -- what it stands on -----------------------------------------------------------------------


def critics_of(options: dict) -> TwinCritics:
    network = MLP((5,), (1, 1), rng=np.random.default_rng(0), dtype=np.float64, **options)
    return TwinCritics(network, 2)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_critics_and_their_gradients_by_autograd(layer_norm: bool) -> None:
    rng = np.random.default_rng(1)
    critics = critics_of({"hidden": [7, 6], "layer_norm": layer_norm})
    observations, actions = rng.standard_normal((9, 3)), rng.standard_normal((9, 2))

    def numeric(worth: Any) -> np.ndarray:
        """The gradient of the mean worth of actions, by differences."""
        found, step = np.zeros_like(actions), 1e-6
        for at in np.ndindex(actions.shape):
            ends = []
            for sign in (1, -1):
                moved = actions.copy()
                moved[at] += sign * step
                ends.append(worth(*critics.network.predict_all(join(observations, moved))))
            found[at] = (ends[0] - ends[1]) / (2 * step)
        return found

    values, by_actions = critics.judge(observations, actions)
    first, second = critics.network.predict_all(join(observations, actions))
    assert 0 < (first < second).sum() < 9
    np.testing.assert_allclose(values, np.minimum(first, second)[:, 0])
    wanted = numeric(lambda one, two: -np.minimum(one, two).mean())
    np.testing.assert_allclose(by_actions, wanted, atol=1e-8)
    values, by_actions = critics.judge_by_first(observations, actions)
    np.testing.assert_allclose(values, first[:, 0])
    np.testing.assert_allclose(by_actions, numeric(lambda one, two: -one.mean()), atol=1e-8)


def test_critics_learn_apart_and_their_targets_follow() -> None:
    rng = np.random.default_rng(1)
    critics = critics_of({"hidden": [16]})
    observations, actions = rng.standard_normal((40, 3)), rng.standard_normal((40, 2))
    targets = actions[:, 0] + observations[:, 1]
    losses = [critics.learn(observations, actions, targets, 1e-2)[0].mean() for _ in range(300)]
    assert losses[-1] < 0.05 * losses[0]
    before = critics.target.parameters.copy()
    critics.follow(0.25)
    wanted = before + 0.25 * (critics.network.parameters - before)
    np.testing.assert_allclose(critics.target.parameters, wanted)
    critics.follow(1.0)
    for_both = critics.network.predict_all(join(observations, actions))
    np.testing.assert_allclose(
        critics.target_values(observations, actions), np.minimum(*for_both)[:, 0]
    )


@pytest.mark.parametrize(
    ("train_every", "gradient_steps", "n_envs", "updates"),
    [(4, 1, 1, 13), (4, 2, 1, 26), (10, -1, 1, 60), (1, 1, 4, 200), (3, 1, 4, 67), (8, -1, 4, 200)],
)
def test_how_often_it_learns(
    train_every: int, gradient_steps: int, n_envs: int, updates: int
) -> None:
    game = Identity(deepcopy(BOXES["one"]), n_envs)
    parameters = {"train_every": train_every, "gradient_steps": gradient_steps}
    agent = make(SAC, game, **QUICK | {"learning_starts": 50, "batch_size": 8} | parameters)
    play(agent, game, 100 if n_envs == 1 else 62)
    assert agent.critics.optimizer.updates == updates


@each_agent
def test_batches_drawn_ahead_are_those_of_each_update(agent_class: Any) -> None:
    game = Identity(deepcopy(BOXES["one"]), 1)
    agents = [make(agent_class, game, **QUICK) for _ in range(2)]
    for agent in agents:
        agent._learn = lambda updates: None
        play(agent, game, 120)
        del agent._learn
        agent.rng = np.random.default_rng(5)
    assert agents[0].ahead > 9
    drawn = agents[1]._sample(9 * 64)
    agents[0]._sample = lambda count: drawn.part(slice(count))
    agents[0].rng, agents[1].rng = (np.random.default_rng(5) for _ in range(2))
    agents[0]._learn(9)
    for start in range(0, 9 * 64, 64):
        agents[1]._step(drawn.part(slice(start, start + 64)), 3e-3)
    np.testing.assert_array_equal(agents[0].actor.parameters, agents[1].actor.parameters)


@each_agent
def test_all_actions_are_random_until_it_learns(agent_class: Any) -> None:
    game = Identity(deepcopy(BOXES["asymmetric"]), 1)
    agent = make(agent_class, game, **QUICK)
    drawn = play(agent, game, 100)[:, 0]
    spread = (drawn - game.action_space.low) / (game.action_space.high - game.action_space.low)
    np.testing.assert_allclose(spread.mean(axis=0), 0.5, atol=0.1)
    assert spread.min() < 0.05
    assert spread.max() > 0.95
    assert agent.critics.optimizer.updates == 1


@each_agent
def test_actions_are_remembered_as_they_were_taken(agent_class: Any) -> None:
    game = Identity(deepcopy(BOXES["asymmetric"]), 2)
    agent = make(agent_class, game, **QUICK)
    drawn = play(agent, game, 30)
    np.testing.assert_allclose(
        agent.bounds(agent.replay.actions[:60]), drawn.reshape(60, 2), atol=1e-6
    )


@each_option
def test_evaluation_is_without_noise_and_changes_nothing(agent_class: Any, options: dict) -> None:
    game = Identity(deepcopy(BOXES["one"]), 4)
    agent = make(agent_class, game, **QUICK | options)
    play(agent, game, 40)
    before = deepcopy(capture(agent.state_dict()))
    with agent.evaluating():
        first, second = (agent.act(np.tile(game.seen, (3, 1)), 0) for _ in range(2))
        single = agent.act(game.seen[0], 0)
    np.testing.assert_array_equal(first, second)
    assert first.shape == (12, 1)
    np.testing.assert_allclose(single, first[0], rtol=1e-5)
    assert game.action_space.contains(single)
    assert not first_difference(before, capture(agent.state_dict()))


@each_agent
def test_copies_that_are_reset_in_place_of_a_step_leave_gaps(agent_class: Any) -> None:
    game = Wage(4, 5, terminates=False)
    agent = make(agent_class, game, **QUICK)
    seen = np.ones((4, 1), np.float32)
    for step in range(20):
        rows = np.array([0, 1, 3]) if step % 2 else np.arange(4)
        never = np.zeros(len(rows), bool)
        info = {"env_ids": rows}
        agent.observe(Transition(seen[rows], seen[rows], never, never, never, seen[rows], info))
        agent.update(0)
    assert agent.steps == len(agent.replay) == 70


# -- the contract ------------------------------------------------------------------------------


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
    space = game.action_space
    agent = make(agent_class, game, **parameters)
    play(agent, game, 67)
    saved = deepcopy(capture(agent.state_dict())), capture(space), game.seen.copy(), game.age
    wanted = play(agent, game, 40)

    other = make(agent_class, game, **parameters)
    play(other, game, 40)
    other.load_state_dict(restore(None, saved[0]))
    restore(space, saved[1])
    game.seen, game.age = saved[2:]
    np.testing.assert_array_equal(play(other, game, 40), wanted)
    assert not first_difference(capture(agent.state_dict()), capture(other.state_dict()))


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
        ("train_every", 0, "at least 1"),
        ("buffer_size", 1, "at least 2"),
        ("learning_starts", -1, "at least 0"),
        ("gradient_steps", 0, "0 must be at least 1, or -1"),
        ("gradient_steps", -2, "or -1 for one an environment step"),
        ("discount", 1.5, "1.5 must be from 0 to 1"),
        ("target_mix", 1.1, "must be from 0 to 1"),
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


def test_the_layers_are_the_known_ones_where_nothing_else_is_said() -> None:
    options: dict[str, Any] = {"network_parameters": {"layer_norm": True}}
    agent = make(SAC, Identity(deepcopy(BOXES["one"]), 1), **options)
    for network in (agent.actor, agent.critics.network):
        assert network.layout.hidden == (256, 256)
        assert network.layout.relu
        assert network.layout.layer_norm
    own = {"critic_parameters": {"hidden": [8]}}
    agent = make(SAC, Identity(deepcopy(BOXES["one"]), 1), **options | own)
    assert agent.critics.network.layout.hidden == (8,)
    assert not agent.critics.network.layout.layer_norm
    assert agent.actor.layout.layer_norm
