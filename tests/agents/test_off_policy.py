"""What SAC and TD3 have in common: when they learn, from what, and how they act."""

from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium import spaces

from gym_loop.agents.sac import SAC
from gym_loop.agents.transition import VectorTransition
from gym_loop.agents.twin_critics import join
from gym_loop.checkpoints.tree import capture, first_difference
from tests.agents.batch_games import Identity, each_rhythm, make, play
from tests.agents.off_policy_options import BOXES, QUICK, Wage, each_agent, each_option


@each_rhythm
def test_how_often_it_learns(
    train_freq: int, gradient_steps: int, n_envs: int, updates: int
) -> None:
    game = Identity(deepcopy(BOXES["one"]), n_envs)
    parameters = {"train_freq": train_freq, "gradient_steps": gradient_steps}
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
    assert agents[0].batches_at_once > 9
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
        agent.actions(agent.replay.actions[:60]), drawn.reshape(60, 2), atol=1e-6
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
        agent.observe(
            VectorTransition(seen[rows], seen[rows], never, never, never, seen[rows], info)
        )
        agent.update(0)
    assert agent.steps == len(agent.replay) == 70


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
