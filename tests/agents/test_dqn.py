from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_games import Identity, Salary, make, play
from gymnasium import spaces

from gym_loop.agents.dqn import DQN
from gym_loop.buffers.prioritized import PrioritizedReplay
from gym_loop.errors import ConfigError, SpaceError, StateError
from gym_loop.networks.noisy import NoisyMLP
from gym_loop.parameters import check_parameters, documentation
from gym_loop.state_tree import capture, first_difference, restore
from gym_loop.testing import check_agent
from gym_loop.transition import Transition

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


def reward_in_evaluation(agent: DQN, game: Any) -> float:
    with agent.evaluating():
        return float(np.mean([game.step(agent.act(game.seen, 0))[1] for _ in range(50)]))


def value(agent: DQN, observations: Any) -> float:
    """The mean over observations of the best action's value."""
    network = agent.network
    if isinstance(network, NoisyMLP):
        network.settle()
    outputs = agent._predict(network, agent.encoder(observations))
    return float(agent.returns.means(outputs).max(axis=1).mean())


# -- learning ------------------------------------------------------------------------------


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


NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, input_shape, outputs, width):
        super().__init__()
        self.trunk = nn.Linear(input_shape[0], width)
        self.heads = nn.ModuleList(nn.Linear(width, size) for size in outputs)

    def forward(self, x):
        return tuple(head(self.trunk(x).relu()) for head in self.heads)
"""


@pytest.mark.parametrize("distribution", [None, "categorical", "quantile"])
@pytest.mark.needs("torch")
def test_learns_with_a_module_of_the_users(workdir: Path, distribution: str | None) -> None:
    (workdir / "net.py").write_text(NET)
    game = Identity(spaces.Discrete(3), 4)
    torch_network = {"network": "net.py:Net", "network_parameters": {"width": 32}}
    options = RAINBOW | {"noisy": False, "epsilon": 0.2, "distribution": distribution}
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
        network="gym_loop.networks.torch_network:NatureCNN",
        network_parameters={"hidden": 8},
        **{**QUICK, "batch_size": 8, "learning_rate": 1e-3},
    )
    play(agent, game, 200)
    assert agent.replay.store.written <= 400 + 6  # one picture a step
    assert reward_in_evaluation(agent, game) == 1.0


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
    learn = {**QUICK, "target_every": 20, "network_parameters": {"hidden": [8]}, **options}
    game = Salary(4, 5, terminates=False)
    agent = make(DQN, game, **learn | {"discount": 0.9})
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


# -- what it stands on -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train_every", "gradient_steps", "n_envs", "updates"),
    [(4, 1, 1, 13), (4, 2, 1, 26), (10, -1, 1, 60), (1, 1, 4, 200), (3, 1, 4, 67), (8, -1, 4, 200)],
)
def test_how_often_it_learns(
    train_every: int, gradient_steps: int, n_envs: int, updates: int
) -> None:
    game = Identity(spaces.Discrete(2), n_envs)
    parameters = {"train_every": train_every, "gradient_steps": gradient_steps}
    agent = make(DQN, game, **QUICK | parameters)
    play(agent, game, 100 if n_envs == 1 else 62)
    assert agent.optimizer.updates == updates


def test_random_episodes_are_learnt_from_but_not_caught_up_with() -> None:
    game = Identity(spaces.Discrete(2), 1)
    agent = make(DQN, game, **QUICK | {"train_every": 1})
    for _ in range(500):
        agent.observe(Transition(game.seen[0], 0, 1.0, False, False, game.seen[0], {}))
    assert len(agent.replay) == 500
    agent.update(0)
    assert agent.optimizer.updates == 1
    agent.update(0)
    assert agent.optimizer.updates == 1


def test_all_actions_are_random_until_it_learns() -> None:
    game = Identity(spaces.Discrete(3), 1)
    agent = make(DQN, game, **QUICK | {"epsilon": 0.0, "learning_starts": 90})
    drawn = play(agent, game, 90)
    assert np.bincount(drawn[:, 0]).min() > 15
    assert agent.optimizer.updates == 1
    later = [int(agent.act(game.seen, 0)[0]) for _ in range(20)]
    assert len(set(later)) == 1


@pytest.mark.parametrize(("mix", "every"), [(1.0, 30), (0.1, 1), (0.5, 7)])
def test_the_target_network_follows(mix: float, every: int) -> None:
    game = Identity(spaces.Discrete(2), 1)
    parameters = {"target_mix": mix, "target_every": every, "train_every": 5}
    agent = make(DQN, game, **QUICK | parameters)
    expected = agent.target.parameters.copy()
    for step in range(1, 101):
        online = agent.network.parameters.copy()
        if step % every == 0:
            expected += mix * (online - expected)
        play(agent, game, 1)
        if agent.optimizer.updates and step % 5 == 0:
            np.testing.assert_allclose(agent.target.parameters, expected, atol=1e-5)
    assert (agent.target.parameters != agent.network.parameters).any()


def test_targets_by_hand() -> None:
    game = Identity(spaces.Discrete(2), 1)
    batch = make(DQN, game, **QUICK).replay.batch(np.zeros(3, int))
    batch = batch._replace(
        rewards=np.array([1.0, 2.0, 3.0], np.float32), discounts=np.array([0.5, 0.25, 0.0])
    )
    target = np.array([[1.0, 2.0], [4.0, 3.0], [9.0, 9.0]])[..., None]
    online = np.array([[5.0, 0.0], [0.0, 5.0], [0.0, 0.0]])[..., None]
    agent = make(DQN, game, **QUICK)
    assert agent._targets(batch, target, target).tolist() == [2.0, 3.0, 3.0]
    assert agent._targets(batch, target, online).tolist() == [1.5, 2.75, 3.0]


def test_targets_computed_ahead_are_those_of_each_batch(monkeypatch: Any) -> None:
    game = Identity(spaces.Discrete(4), 1)
    options = OPTIONS["plain"] | {"train_every": 16, "gradient_steps": 9}
    agents = [make(DQN, game, **QUICK | options) for _ in range(2)]
    assert agents[0].ahead == 16
    agents[1]._sample = lambda count: agents[0].drawn
    original = DQN._sample

    def sample(count: int) -> Any:
        agents[0].drawn = original(agents[0], count)
        return agents[0].drawn

    agents[0]._sample = sample
    drawn = [Transition(game.seen, [1], [1.0], [False], [False], game.seen, {})] * 60
    for agent in agents:
        for transition in drawn:
            agent.observe(transition)
    agents[0]._learn(9)
    batch = agents[0].drawn
    for start in range(0, len(batch.rewards), 32):
        part = batch.part(slice(start, start + 32))
        following = agents[1]._predict(agents[1].target, part.next_observations)
        agents[1]._step(part, agents[1]._targets(part, following, following), 3e-3)
    np.testing.assert_allclose(
        agents[0].network.parameters, agents[1].network.parameters, atol=1e-5
    )


def test_noise_is_drawn_for_every_action_and_never_in_evaluation() -> None:
    game = Identity(spaces.Discrete(8), 1)
    agent = make(DQN, game, **QUICK | {"noisy": True, "epsilon": 0.0, "learning_starts": 0})
    ob = np.array([3])
    assert len({int(agent.act(ob, 0)[0]) for _ in range(50)}) > 1
    with agent.evaluating():
        assert len({int(agent.act(ob, 0)[0]) for _ in range(50)}) == 1


def test_evaluation_is_greedy_and_changes_nothing() -> None:
    game = Identity(spaces.Discrete(4), 4)
    agent = make(DQN, game, **QUICK | OPTIONS["all, quantile"])
    play(agent, game, 50)
    before = deepcopy(capture(agent.state_dict()))
    with agent.evaluating():
        first, second = (agent.act(np.tile(game.seen, 3), 0) for _ in range(2))
        single = agent.act(game.seen[0], 0)
    np.testing.assert_array_equal(first, second)
    assert first.shape == (12,)
    assert single == first[0]
    assert game.action_space.contains(single)
    assert not first_difference(before, capture(agent.state_dict()))


def test_codes_are_stored_as_they_are() -> None:
    game = Identity(spaces.Discrete(500), 1)
    agent = make(DQN, game, **QUICK)
    play(agent, game, 60)
    assert agent.replay.store.before.nbytes == agent.replay.slots * 8
    assert agent._sample(5).observations.shape == (5, 500)


def test_copies_that_are_reset_in_place_of_a_step_leave_gaps() -> None:
    agent = make(DQN, Salary(4, 5, terminates=False), **QUICK)
    seen = np.ones((4, 1), np.float32)
    for step in range(20):
        rows = np.array([0, 1, 3]) if step % 2 else np.arange(4)
        never = np.zeros(len(rows), bool)
        info = {"env_ids": rows}
        agent.observe(Transition(seen[rows], rows % 2, never, never, never, seen[rows], info))
        agent.update(0)
    assert agent.steps == len(agent.replay) == 70


def test_metrics_are_what_people_look_at() -> None:
    game = Identity(spaces.Discrete(4), 4)
    agent = make(DQN, game, **QUICK)
    assert agent.metrics(0) == {"epsilon": 1.0, "buffer_size": 0.0}
    play(agent, game, 250)
    found = agent.metrics(0)
    assert set(found) == {
        "loss", "q_value", "learning_rate", "updates", "epsilon", "buffer_size",
    }  # fmt: skip
    assert found["epsilon"] == pytest.approx(0.1)
    assert found["buffer_size"] == 1000.0
    assert 0.0 < found["q_value"] < 2.5
    assert found["updates"] == agent.optimizer.updates


# -- the contract ------------------------------------------------------------------------------


@each_option
def test_keeps_the_contract(options: dict) -> None:
    quick = {"batch_size": 8, "learning_starts": 20, "target_every": 30}
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
    space = game.action_space
    agent = make(DQN, game, **parameters)
    play(agent, game, 67)
    saved = deepcopy(capture(agent.state_dict())), capture(space), game.seen.copy(), game.age
    wanted = play(agent, game, 40)

    other = make(DQN, game, **parameters)
    play(other, game, 40)
    other.load_state_dict(restore(None, saved[0]))
    restore(space, saved[1])
    game.seen, game.age = saved[2:]
    np.testing.assert_array_equal(play(other, game, 40), wanted)
    assert not first_difference(capture(agent.state_dict()), capture(other.state_dict()))


def test_a_resumed_run_may_change_what_a_parameter_says() -> None:
    game = Identity(spaces.Discrete(4), 3)
    agent = make(DQN, game, **QUICK)
    play(agent, game, 40)
    other = make(DQN, game, **QUICK | {"learning_rate": 0.5, "epsilon": 0.25})
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
        ("target_every", 0, "at least 1"),
        ("threads", 0, "at least 1"),
        ("train_every", 0, "at least 1"),
        ("atoms", 1, "at least 2"),
        ("buffer_size", 1, "at least 2"),
        ("learning_starts", -1, "at least 0"),
        ("gradient_steps", 0, "0 must be at least 1, or -1"),
        ("gradient_steps", -2, "or -1 for one an environment step"),
        ("discount", 1.5, "1.5 must be from 0 to 1"),
        ("priority_exponent", -0.1, "must be from 0 to 1"),
        ("target_mix", 1.1, "must be from 0 to 1"),
        ("max_gradient_norm", 0, "must be above 0"),
        ("epsilon", 1.5, "1.5 must be from 0.0 to 1.0"),
        ("epsilon", {"linear": [2.0, 0.0], "steps": 9}, "2.0 must be from 0.0 to 1.0"),
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
            network="gym_loop.networks.torch_network:NatureCNN",
            noisy=True,
        )


def test_the_parts_that_the_options_name() -> None:
    game = Identity(spaces.Discrete(4), 1)
    agent = make(DQN, game, **OPTIONS["all, categorical"])
    assert isinstance(agent.replay, PrioritizedReplay)
    assert isinstance(agent.network, NoisyMLP)
    assert agent.network.network.layout.outputs == (51, 4 * 51)
    assert agent.replay.n_steps == 3
    assert agent.ahead == 1
