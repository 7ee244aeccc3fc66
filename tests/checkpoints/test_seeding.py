"""One seed gives every random stream, and each can be captured and restored."""

import random
from typing import Any

import gymnasium
import numpy as np
import pytest

from gym_loop.agents import BaseAgent
from gym_loop.checkpoints.seeding import (
    MAX_SEED,
    STREAMS,
    Seeds,
    capture_global_streams,
    check_seed,
    draw_seed,
    isolated,
    restore_global_streams,
    seed_global_streams,
)
from gym_loop.checkpoints.tree import capture, first_difference
from gym_loop.errors import ConfigError


@pytest.mark.parametrize("seed", [0, 1, MAX_SEED])
def test_seeds(seed: int) -> None:
    assert check_seed(seed) == seed


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 1.0, True, "7", None])
def test_no_seed(seed: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"here: .* is not a seed; use an integer from 0 to 4294967295"
    ):
        check_seed(seed, "here")


def test_drawn_seeds_differ_and_fit() -> None:
    drawn = {draw_seed() for _ in range(20)}
    assert len(drawn) == 20
    assert all(check_seed(seed) == seed for seed in drawn)


def test_streams_are_independent_and_stable() -> None:
    seeds = Seeds(7)
    firsts = {stream: seeds.integer(stream) for stream in STREAMS}
    assert len(set(firsts.values())) == len(STREAMS)
    assert firsts == {stream: Seeds(7).integer(stream) for stream in STREAMS}
    assert firsts != {stream: Seeds(8).integer(stream) for stream in STREAMS}
    # More copies change no copy before them.
    assert seeds.integers("environment", 8)[:3] == seeds.integers("environment", 3)
    # Pinned: the same seed must mean the same run in a later version too.
    assert (firsts["environment"], firsts["evaluation"]) == PINNED


PINNED = (1956387801, 948622859)


def draws() -> tuple[Any, ...]:
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.standard_normal()


def test_global_streams_are_seeded() -> None:
    kept = capture_global_streams()
    seed_global_streams(Seeds(3))
    first = draws()
    seed_global_streams(Seeds(3))
    assert draws() == first
    seed_global_streams(Seeds(4))
    assert draws() != first
    restore_global_streams(kept)


def test_global_streams_are_captured() -> None:
    random.gauss(0, 1)  # leaves a second value behind, which is state too
    np.random.standard_normal()
    state = capture_global_streams()
    first = draws()
    restore_global_streams(state)
    assert draws() == first
    restore_global_streams(state)
    assert draws() == first


@pytest.mark.needs("torch")
def test_torch_stream_is_captured() -> None:
    import torch

    seed_global_streams(Seeds(3))
    state = capture_global_streams()
    first = torch.rand(3)
    assert not torch.equal(torch.rand(3), first)
    restore_global_streams(state)
    assert torch.equal(torch.rand(3), first)
    seed_global_streams(Seeds(3))
    assert torch.equal(torch.rand(3), first)


def test_isolated_disturbs_nothing_and_repeats() -> None:
    agent, space = BaseAgent(seed=5), gymnasium.spaces.Discrete(10**6)
    space.seed(1)
    agent.rng.random()

    def everything() -> tuple[Any, ...]:
        return (*draws(), agent.rng.random(), int(space.sample()))

    state = capture_global_streams()
    twin_agent, twin_space = BaseAgent(seed=5), gymnasium.spaces.Discrete(10**6)
    twin_agent.rng.random()
    twin_space.seed(1)
    with isolated(agent, [space]) as reseed:
        reseed(11)
        first = everything()
        reseed(12)
        assert everything() != first
        reseed(11)
        assert everything() == first
    after = everything()
    restore_global_streams(state)
    assert after == (*draws(), twin_agent.rng.random(), int(twin_space.sample()))


def test_isolated_puts_the_generators_of_spaces_back_with_their_seeds() -> None:
    spaces = gymnasium.spaces
    one, twin = (spaces.Dict(a=spaces.Discrete(9), b=spaces.Box(0, 1), seed=1) for _ in range(2))
    before = capture(one)
    with isolated(BaseAgent(seed=5), [one]) as reseed:
        reseed(11)
        one.sample()
    assert not first_difference(before, capture(one))
    drawn = [space["a"].np_random.spawn(1)[0].random() for space in (one, twin)]
    assert drawn[0] == drawn[1]


def test_isolated_restores_after_an_error() -> None:
    agent = BaseAgent(seed=5)
    generator = agent.rng
    state = capture_global_streams()
    first = draws()
    restore_global_streams(state)

    def fail() -> None:
        with isolated(agent, []) as reseed:
            reseed(1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert agent.rng is generator
    assert draws() == first
