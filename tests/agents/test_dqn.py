"""DQN's parts: when it learns, its targets, its noise, and what it remembers."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from gym_loop.agents.dqn import DQN
from gym_loop.agents.transition import Transition, VectorTransition
from gym_loop.checkpoints.tree import capture, first_difference
from gym_loop.nn.buffers.prioritized import PrioritizedReplay
from gym_loop.nn.noisy import NoisyMLP
from tests.agents.batch_games import Identity, Salary, each_rhythm, make, play
from tests.agents.dqn_options import OPTIONS, QUICK

GREEDY = {"exploration_initial_eps": 0.0, "exploration_final_eps": 0.0}


@each_rhythm
def test_how_often_it_learns(
    train_freq: int, gradient_steps: int, n_envs: int, updates: int
) -> None:
    game = Identity(spaces.Discrete(2), n_envs)
    parameters = {"train_freq": train_freq, "gradient_steps": gradient_steps}
    agent = make(DQN, game, **QUICK | parameters)
    play(agent, game, 100 if n_envs == 1 else 62)
    assert agent.optimizer.updates == updates


def test_random_episodes_are_learnt_from_but_not_caught_up_with() -> None:
    game = Identity(spaces.Discrete(2), 1)
    agent = make(DQN, game, **QUICK | {"train_freq": 1})
    for _ in range(500):
        agent.observe(Transition(game.seen[0], 0, 1.0, False, False, game.seen[0], {}))
    assert len(agent.replay) == 500
    agent.update(0)
    assert agent.optimizer.updates == 1
    agent.update(0)
    assert agent.optimizer.updates == 1


def test_all_actions_are_random_until_it_learns() -> None:
    game = Identity(spaces.Discrete(3), 1)
    agent = make(DQN, game, **QUICK | GREEDY | {"learning_starts": 90})
    drawn = play(agent, game, 90)
    assert np.bincount(drawn[:, 0]).min() > 15
    assert agent.optimizer.updates == 1
    later = [int(agent.act(game.seen, 0)[0]) for _ in range(20)]
    assert len(set(later)) == 1


@pytest.mark.parametrize(("mix", "every"), [(1.0, 30), (0.1, 1), (0.5, 7)])
def test_the_target_network_follows(mix: float, every: int) -> None:
    game = Identity(spaces.Discrete(2), 1)
    parameters = {"tau": mix, "target_update_interval": every, "train_freq": 5}
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
    options = OPTIONS["plain"] | {"train_freq": 16, "gradient_steps": 9}
    agents = [make(DQN, game, **QUICK | options) for _ in range(2)]
    assert agents[0].batches_at_once == 16
    agents[1]._sample = lambda count, correction: agents[0].drawn
    original = DQN._sample

    def sample(count: int, correction: float) -> Any:
        agents[0].drawn = original(agents[0], count, correction)
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
        next_outputs = agents[1]._outputs(agents[1].target, part.next_observations)
        agents[1]._step(part, agents[1]._targets(part, next_outputs, next_outputs), 3e-3)
    np.testing.assert_allclose(
        agents[0].network.parameters, agents[1].network.parameters, atol=1e-5
    )


def test_noise_is_drawn_for_every_action_and_never_in_evaluation() -> None:
    game = Identity(spaces.Discrete(8), 1)
    agent = make(DQN, game, **QUICK | GREEDY | {"noisy": True, "learning_starts": 0})
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
        agent.observe(VectorTransition(seen[rows], rows % 2, never, never, never, seen[rows], info))
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


def test_the_parts_that_the_options_name() -> None:
    game = Identity(spaces.Discrete(4), 1)
    agent = make(DQN, game, **OPTIONS["all, categorical"])
    assert isinstance(agent.replay, PrioritizedReplay)
    assert isinstance(agent.network, NoisyMLP)
    assert agent.network.layout.outputs == (51, 4 * 51)
    assert agent.replay.n_steps == 3
    assert agent.batches_at_once == 1
