"""What TD3 alone has: delayed updates, smoothed targets, and its kinds of noise."""

import math
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from gym_loop.agents.td3 import TD3
from gym_loop.agents.transition import Transition, VectorTransition
from gym_loop.schema.parameters import check_parameters
from tests.agents.batch_games import Identity, make, play

QUICK = {
    "batch_size": 32,
    "buffer_size": 2000,
    "gamma": 0.5,
    "learning_rate": 1e-2,
    "learning_starts": 30,
    "network_parameters": {"hidden": [16, 16]},
}


def game(n_envs: int = 4) -> Identity:
    return Identity(spaces.Box(-1, 1, (2,)), n_envs)


@pytest.mark.parametrize("delay", [1, 2, 5])
def test_the_policy_and_the_targets_are_delayed(delay: int) -> None:
    played = game()
    agent = make(TD3, played, **QUICK | {"policy_delay": delay})
    play(agent, played, 7)
    for update in range(1, 21):
        watched = agent.actor, agent.actor_target, agent.critics.target
        before = [one.parameters.copy() for one in watched]
        agent._learn(1)
        for one, then in zip(watched, before, strict=True):
            assert (one.parameters != then).any() == (update % delay == 0)
    assert agent.critics.optimizer.updates == 20
    assert agent.actor_optimizer.updates == 20 // delay


def test_the_next_actions_are_those_of_the_target_with_limited_noise() -> None:
    played = game()
    agent = make(TD3, played, **QUICK | {"target_policy_noise": 0.2, "target_noise_clip": 0.3})
    agent.actor_target.parameters[:] = 0.0
    observations = np.zeros((3000, 2), np.float32)
    found = agent._next_actions(observations)
    assert np.abs(found).max() == pytest.approx(0.3)
    assert found[np.abs(found) < 0.29].std() == pytest.approx(0.2 * 0.74, rel=0.2)
    agent.actor_target.parameters[-2:] = 0.0
    agent.actor_target.named_parameters["output.0"][:, -1] = 9.0
    found = agent._next_actions(observations)
    assert found.max() == 1.0
    assert found.min() == pytest.approx(0.7, abs=1e-3)


def test_targets_by_hand(monkeypatch: Any) -> None:
    played = game()
    agent = make(TD3, played, **QUICK | {"policy_delay": 100})
    play(agent, played, 7)
    batch = agent._sample(5)._replace(rewards=np.arange(5.0), discounts=np.full(5, 0.25))
    told = []

    def learn(*them: Any) -> Any:
        told.append(them)
        return 1.0, 2.0

    monkeypatch.setattr(agent.critics, "target_values", lambda *_: np.full(5, 4.0))
    monkeypatch.setattr(agent.critics, "learn", learn)
    agent.critics.optimizer.updates = 1
    found = agent._step(batch, 0.125)
    np.testing.assert_allclose(told[0][2], np.arange(5.0) + 1.0)
    assert found == {"critic_loss": 1.0, "q_value": 2.0}


def test_the_actors_gradient_by_differences() -> None:
    played = game()
    agent = make(TD3, played, **QUICK)
    play(agent, played, 20)
    actor = agent.actor
    observations = np.random.default_rng(1).standard_normal((6, 2)).astype(np.float32)
    agent.actor_optimizer.step = lambda *_: None

    def loss() -> float:
        return -float(agent._improve_actor(observations, 0.0).astype(float).mean())

    loss()
    gradients = actor.gradients.copy()
    for at in np.argsort(-np.abs(gradients))[[0, 1, 3, 9]]:
        before, step, ends = actor.parameters[at], 3e-3, []
        for sign in (1, -1):
            actor.parameters[at] = before + sign * step
            ends.append(loss())
        actor.parameters[at] = before
        assert gradients[at] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=0.05)


def test_normal_noise_is_drawn_anew_by_its_schedule() -> None:
    played = game(n_envs=500)
    schedule = {"linear": [0.2, 0.0], "steps": 1000}
    agent = make(TD3, played, **QUICK | {"noise_std": schedule, "learning_starts": 0})
    with agent.evaluating():
        best = agent.act(played.seen, 0)
    for steps, std in ((0, 0.2), (500, 0.1), (2000, 0.0)):
        agent.steps = steps
        noise = agent.act(played.seen, 0) - best
        assert noise.std() == pytest.approx(std, rel=0.1, abs=1e-6)


def test_wandering_noise_goes_on_through_an_episode_and_begins_anew_with_the_next() -> None:
    played = game(n_envs=3)
    parameters = {"noise_type": "ornstein-uhlenbeck", "learning_starts": 0, "buffer_size": 60_000}
    agent = make(TD3, played, **QUICK | parameters)
    agent._learn = lambda updates: None
    path = []
    for _ in range(4000):
        agent.act(played.seen, 0)
        path.append(agent.ou_noise.copy())
    steps = np.diff(path, axis=0)
    assert steps.std() == pytest.approx(0.1, rel=0.05)
    assert np.std(path) == pytest.approx(1.0 / math.sqrt(2 * 0.15), rel=0.5)
    ends = np.array([False, True, False])
    never = np.zeros(3, bool)
    for terminated, truncated in ((ends, never), (never, ends)):
        agent.act(played.seen, 0)
        seen = played.seen
        agent.observe(Transition(seen, seen, never * 1.0, terminated, truncated, seen, {}))
        assert (agent.ou_noise == 0.0).all(axis=1).tolist() == ends.tolist()
    agent.act(played.seen, 0)
    rows = np.array([0, 2])  # copy 1 was reset instead
    last = np.array([False, True])
    seen = played.seen[rows]
    agent.observe(
        VectorTransition(seen, seen, last * 1.0, last, never[rows], seen, {"env_ids": rows})
    )
    assert (agent.ou_noise == 0.0).all(axis=1).tolist() == [False, False, True]


def test_metrics_are_what_people_look_at() -> None:
    played = game()
    agent = make(TD3, played, **QUICK)
    assert agent.metrics(0) == {"buffer_size": 0.0}
    play(agent, played, 100)
    found = agent.metrics(0)
    assert set(found) == {
        "actor_loss", "buffer_size", "critic_loss", "learning_rate", "q_value", "updates",
    }  # fmt: skip
    assert all(type(one) is float and math.isfinite(one) for one in found.values())
    assert found["updates"] == agent.critics.optimizer.updates


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("policy_delay", 0, "at least 1"),
        ("target_policy_noise", -0.1, "-0.1 is too small; it must be at least 0"),
        ("target_noise_clip", -0.1, "at least 0"),
        ("noise_std", {"linear": [0.1, -0.1], "steps": 9}, "at least 0"),
        ("noise_type", "norml", "did you mean normal"),
        ("gamma", 2.0, "from 0 to 1"),
    ],
)
def test_values_out_of_range_are_named(name: str, bad: Any, message: str) -> None:
    problems = check_parameters(TD3, {name: bad})[1]
    assert set(problems) == {name}
    assert message in problems[name]
