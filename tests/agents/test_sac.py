"""What SAC alone has: its temperature, its targets, and noise that depends on the state."""

import math
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from gym_loop.agents.sac import SAC, TanhStateGaussian
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

SDE = {"use_sde": True, "sde_sample_freq": 4}


def game(n_envs: int = 4, size: int = 2) -> Identity:
    return Identity(spaces.Box(-1, 1, (size,)), n_envs)


@pytest.mark.parametrize("target", ["auto", -0.5, 0.5])
def test_the_temperature_leads_to_the_wanted_entropy(target: float | str) -> None:
    played = game()
    agent = make(SAC, played, **QUICK | {"target_entropy": target})
    play(agent, played, 500)
    entropies = []
    for _ in range(50):
        play(agent, played, 1)
        entropies.append(agent.metrics(0)["entropy"])
    assert np.mean(entropies) == pytest.approx(-2.0 if target == "auto" else target, abs=0.4)
    assert agent.metrics(0)["ent_coef"] != 1.0


def test_the_temperature_follows_its_loss() -> None:
    """A policy that is not random enough makes it grow, one too random makes it shrink."""
    for target, grows in ((5.0, True), (-20.0, False)):
        played = game()
        options = {"target_entropy": target, "ent_coef": "auto_0.5"}
        agent = make(SAC, played, **QUICK | options)
        assert float(agent._coefficient()[0]) == pytest.approx(0.5)
        play(agent, played, 30)
        assert (float(agent._coefficient()[0]) > 0.5) is grows


def test_a_fixed_temperature_stays() -> None:
    played = game()
    agent = make(SAC, played, **QUICK | {"ent_coef": 0.3})
    play(agent, played, 60)
    assert agent.metrics(0)["ent_coef"] == 0.3
    assert agent.actor.extra.tolist() == [0.0]


def test_a_temperature_may_follow_a_schedule() -> None:
    played = game()
    agent = make(SAC, played, **QUICK | {"ent_coef": {"linear": [0.4, 0.2], "steps": 1000}})
    play(agent, played, 60)
    early = agent.metrics(0)["ent_coef"]
    assert 0.2 < early < 0.4
    assert early == pytest.approx(0.4 - 0.2 * agent.steps / 1000, abs=0.01)


def test_targets_by_hand(monkeypatch: Any) -> None:
    played = game()
    agent = make(SAC, played, **QUICK | {"ent_coef": 0.3})
    play(agent, played, 20)
    batch = agent._sample(5)._replace(rewards=np.arange(5.0), discounts=np.full(5, 0.25))
    monkeypatch.setattr(agent.critics, "target_values", lambda *_: np.full(5, 4.0))
    monkeypatch.setattr(agent.policy, "log_probs", lambda _: np.full(5, 2.0))
    monkeypatch.setattr(agent.critics, "learn", lambda *arguments: arguments)
    *_, targets, rate = agent._improve_critics(batch, 0.3, 0.125)
    np.testing.assert_allclose(targets, np.arange(5.0) + 0.25 * (4.0 - 0.3 * 2.0))
    assert rate == 0.125


@pytest.mark.parametrize("options", [{}, SDE], ids=str)
def test_the_actors_gradient_by_differences(options: dict) -> None:
    played = game()
    agent = make(SAC, played, **QUICK | {"ent_coef": 0.3} | options)
    play(agent, played, 40)
    actor, noise = agent.actor, agent.policy.noise(6, np.random.default_rng(0))
    observations = np.random.default_rng(1).standard_normal((6, 2)).astype(np.float32)
    agent.policy.noise = lambda rows, rng: noise
    agent.actor_optimizer.step = lambda *_: None

    def loss() -> float:
        return float(agent._improve_actor(observations, 0.3, 0.0)[0].astype(float).mean())

    loss()
    gradients = actor.gradients.copy()
    order = np.argsort(-np.abs(gradients))[[0, 3, 9, 30]]
    for at in (*order, *range(actor.parameters.size - len(actor.extra), actor.parameters.size)):
        before, step, ends = actor.parameters[at], 1e-3, []
        for sign in (1, -1):
            actor.parameters[at] = before + sign * step
            ends.append(loss())
        actor.parameters[at] = before
        wanted = (ends[0] - ends[1]) / (2 * step)
        assert gradients[at] == pytest.approx(wanted, rel=0.05, abs=2e-3)


def test_state_dependent_noise_is_held_for_some_steps() -> None:
    played = game(n_envs=3)
    agent = make(SAC, played, **QUICK | SDE | {"learning_starts": 0})
    assert isinstance(agent.policy, TanhStateGaussian)
    assert agent.actor.extra[:-1].tolist() == [-3.0] * (64 * 2)
    seen = np.full((3, 2), 0.5, np.float32)
    drawn = [agent.act(seen, 0) for _ in range(9)]
    for step in range(1, 9):
        assert (drawn[step] == drawn[step - 1]).all() == (step % 4 != 0)
    assert len(np.unique(drawn[0])) == 6  # each copy has its own
    agent.steps = 10**6
    with agent.evaluating():
        agent.act(seen[:2], 0)
    np.testing.assert_array_equal(agent.sde_noise.shape, (3, 64, 2))


def test_metrics_are_what_people_look_at() -> None:
    played = game()
    agent = make(SAC, played, **QUICK)
    assert agent.metrics(0) == {"buffer_size": 0.0}
    play(agent, played, 100)
    found = agent.metrics(0)
    assert set(found) == {
        "actor_loss", "buffer_size", "critic_loss", "entropy", "learning_rate", "q_value",
        "ent_coef", "updates",
    }  # fmt: skip
    assert all(type(one) is float and math.isfinite(one) for one in found.values())
    assert found["buffer_size"] == 400.0
    assert found["learning_rate"] == 1e-2
    assert found["updates"] == agent.critics.optimizer.updates == agent.actor_optimizer.updates


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("ent_coef", "auto_0", "'auto_0' must be auto, auto_0.1 (which starts at 0.1), a number"),
        ("ent_coef", "auto_x", "'auto_x' must be auto"),
        ("ent_coef", "atuo", "'atuo' must be auto"),
        ("ent_coef", -0.1, "-0.1"),
        ("ent_coef", {"linear": [0.1, -0.1], "steps": 9}, "-0.1"),
        ("sde_sample_freq", 0, "0 must be at least 1, or -1 for train_freq"),
        ("target_entropy", "atuo", "did you mean auto"),
        ("gamma", 2.0, "from 0 to 1"),
    ],
)
def test_values_out_of_range_are_named(name: str, bad: Any, message: str) -> None:
    problems = check_parameters(SAC, {name: bad})[1]
    assert set(problems) == {name}
    assert message in problems[name]
