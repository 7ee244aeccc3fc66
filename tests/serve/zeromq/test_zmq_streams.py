"""Two streams put together to ticks, without a socket."""

import json
from typing import Any

import pytest

from gym_loop.envs.remote.gymz_streams import Streams
from gym_loop.errors import BridgeProtocolError
from gym_loop.wire.gymz import Reading


def reading(ts: float, *values: float | None) -> Reading:
    return Reading(json.dumps([{"value": value, "ts": ts} for value in values]).encode())


def streams_at(*values: float, inter_trial: Any = 9999.0) -> Streams:
    streams = Streams(inter_trial)
    streams.begin(reading(0.0, *values))
    return streams


def test_rewards_of_ticks_that_were_seen_twice_count_once() -> None:
    streams = streams_at(0.0)
    streams.reward(reading(0.0, None))
    for ts, value in ((1.0, 1.0), (1.5, 1.0), (2.0, 2.0), (2.5, 2.0)):
        streams.observation(reading(ts, value))
        streams.reward(reading(ts, -value))
    assert streams.ready
    assert streams.latest == (2.0,)
    assert streams.take() == -3.0
    assert not streams.ready


def test_the_observation_waits_for_its_reward() -> None:
    streams = streams_at(0.0)
    streams.observation(reading(1.0, 5.0))
    assert not streams.ready
    streams.reward(reading(0.5, 7.0))
    assert streams.latest == (0.0,)
    streams.reward(reading(1.0, 3.0))
    assert streams.latest == (5.0,)
    assert streams.take() == 3.0


def test_equal_observations_with_other_rewards_are_other_ticks() -> None:
    streams = streams_at(4.0)
    for ts, value in ((1.0, 0.0), (2.0, 1.0), (2.5, 1.0)):
        streams.observation(reading(ts, 4.0))
        streams.reward(reading(ts, value))
    assert streams.take() == 1.0


def test_a_world_that_stands_still_is_rewarded_once_an_answer() -> None:
    streams = streams_at(4.0)
    for ts in (1.0, 2.0):
        streams.observation(reading(ts, 4.0))
        streams.reward(reading(ts, -1.0))
        assert streams.ready
        assert streams.take() == -1.0


def test_the_last_reward_of_an_episode_counts_exactly_once() -> None:
    for answered_before_the_end in (False, True):
        streams = streams_at(0.0)
        streams.observation(reading(1.0, 7.0))
        streams.reward(reading(1.0, 10.0))
        total = streams.take() if answered_before_the_end else 0.0
        streams.observation(reading(1.5, 7.0))
        streams.reward(reading(1.5, 10.0))
        streams.observation(reading(2.0, 9999.0))
        assert streams.over
        assert streams.ready
        assert streams.latest == (7.0,)
        assert total + streams.take() == 10.0


def test_the_end_waits_for_the_rewards_before_it() -> None:
    streams = streams_at(0.0)
    streams.observation(reading(1.0, 7.0))
    streams.observation(reading(2.0, 9999.0))
    over = [streams.over]
    streams.reward(reading(1.0, 5.0))
    assert [*over, streams.over] == [False, True]
    streams.observation(reading(3.0, 1.0))
    assert streams.latest == (7.0,)
    assert streams.take() == 5.0


def test_null_rewards_are_nothing_and_null_observations_stay() -> None:
    streams = streams_at(0.0)
    streams.observation(reading(1.0, None))
    streams.reward(reading(1.0, None))
    assert streams.latest == (None,)
    assert streams.take() == 0.0


def test_streams_that_stamp_by_themselves_are_paired_by_the_nearest() -> None:
    # As gymz does: a tick every 20 ms, each stream every 10 ms with a phase of its own.
    streams = streams_at(0.0)
    total, now = 0.0, 0.0
    for tick in range(1, 51):
        for _ in range(2):
            now += 0.010
            streams.reward(reading(now + 0.004, float(tick % 3 == 0)))
            streams.observation(reading(now + 0.001, float(tick)))
        if tick % 2 == 0:
            total += streams.take()
    streams.reward(reading(now + 0.014, 0.0))
    assert total + streams.take() == 16.0


def test_the_inter_trial_observation_may_be_a_list() -> None:
    streams = streams_at(0.0, 0.0, inter_trial=[-0.3, 0.1])
    assert streams.is_between(reading(1.0, -0.30000001192092896, 0.10000000149011612))
    assert not streams.is_between(reading(1.0, -0.3, 0.2))
    assert not streams.is_between(reading(1.0, None, 0.1))
    with pytest.raises(
        BridgeProtocolError, match="2 dimensions, but inter_trial_observation has 1"
    ):
        Streams([1.0]).is_between(reading(0.0, 1.0, 2.0))
    assert Streams(float("nan")).is_between(reading(0.0, None, None))


def test_memory_is_bounded() -> None:
    streams = streams_at(0.0)
    for number in range(5000):
        streams.reward(reading(float(number), 0.0))
    assert len(streams._rewards) == 1000


def test_forgetting() -> None:
    streams = streams_at(0.0)
    streams.observation(reading(1.0, 7.0))
    streams.forget()
    streams.reward(reading(5.0, 1.0))
    assert not streams.ready
