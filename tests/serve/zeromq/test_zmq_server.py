"""The server on real sockets: its streams, what it does with commands, and its report."""

import json
import random
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.serve.zeromq.test_zmq_codec import BAD
from tests.serve.zeromq.zmq_serving import (
    LOCK_STEP,
    QUICK,
    Counting,
    Served,
    command,
    kwargs,
    serving,
    values,
)


def first(stream: Any) -> list[Any]:
    """The message for a newcomer, and not its repetition for the next one."""
    message = stream.recv()
    time.sleep(0.25)
    while stream.poll(0):
        stream.recv()
    return values(message)


# -- real time -------------------------------------------------------------------------------------


def both(served: Served) -> tuple[dict[float, list[Any]], dict[float, list[Any]]]:
    """A tenth of a second or so of both streams, by time stamp."""
    observations, rewards = served.streams()
    found: tuple[dict[float, list[Any]], dict[float, list[Any]]] = ({}, {})
    for _ in range(60):
        for stream, into in zip((observations, rewards), found, strict=True):
            message = stream.recv()
            into[json.loads(message)[0]["ts"]] = values(message)
    return found


def test_an_observation_and_its_reward_belong_to_one_tick() -> None:
    with serving(**QUICK, **kwargs(length=1000)) as served:
        observations, rewards = both(served)
    common = observations.keys() & rewards.keys()
    assert len(common) > 30
    for ts in common:
        (count, _), (reward,) = observations[ts], rewards[ts]
        assert reward == count or (count == 0 and reward is None)
    stamps = sorted(observations)
    for earlier, later in pairwise(stamps):
        ticks = (later - earlier) / 0.002
        assert ticks == pytest.approx(max(round(ticks), 1), abs=0.1)


def test_the_ends_of_an_episode_and_the_latched_action() -> None:
    with serving(**QUICK, **kwargs(length=3)) as served:
        agent = served.commander()
        observations, _ = served.streams()
        agent.send(command(7))
        while values(observations.recv())[1] != 7.0:
            pass
        cycle = {(1.0, 7.0), (2.0, 7.0), (3.0, 7.0), (9999.0, 9999.0), (0.0, -1.0)}
        seen: set[Any] = set()
        deadline = time.monotonic() + 10.0
        while seen != cycle and time.monotonic() < deadline:
            seen.add(tuple(values(observations.recv())))
    assert seen == cycle


def test_rewards_at_the_ends_are_replaced() -> None:
    settings = {"Env.initial_reward": 0.25, "Env.final_reward": -7.0, "Env.max_reward": 5}
    with serving(**QUICK, **kwargs(length=2), **settings) as served:
        _, rewards = served.streams()
        messages = [rewards.recv() for _ in range(60)]
    assert {values(one)[0] for one in messages} == {0.25, 1.0, -7.0}
    assert json.loads(messages[0])[0]["max"] == 5.0


@pytest.mark.parametrize(
    ("final_reward_null", "expected"), [(None, {None, 1.0}), (-3.5, {None, 1.0, -3.5})]
)
def test_a_last_reward_of_nothing(
    monkeypatch: pytest.MonkeyPatch, final_reward_null: float | None, expected: set[Any]
) -> None:
    step = Counting.step

    def odd(self: Counting, action: Any) -> Any:
        observation, reward, *rest = step(self, action)
        return observation, reward % 2, *rest

    monkeypatch.setattr(Counting, "step", odd)
    with serving(
        **QUICK, **kwargs(length=2), **{"Env.final_reward_null": final_reward_null}
    ) as served:
        _, rewards = served.streams()
        assert {values(rewards.recv())[0] for _ in range(60)} == expected


def test_late_ticks_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    slow = {**QUICK, **kwargs(slow=0.02), "All.time_stamp_tolerance": 0.005}
    with caplog.at_level("INFO", "gym_loop"), serving(**slow) as served:
        both(served)
    lines = "\n".join(record.getMessage() for record in caplog.records)
    assert "environment: a tick came" in lines
    assert "late ticks of environment so far: 1" in lines
    assert "commands (0 ignored)" in lines


# -- lock-step -------------------------------------------------------------------------------------


def test_lock_step_answers_each_command_once() -> None:
    with serving(**LOCK_STEP, **kwargs(length=2)) as served:
        agent = served.commander()
        observations, rewards = served.streams()
        assert first(observations) == [0.0, -1.0]
        first(rewards)
        found = []
        for value in (3, 4, 5, 6, 7):
            agent.send(command(value))
            observation, reward = observations.recv(), rewards.recv()
            assert json.loads(observation)[0]["ts"] == json.loads(reward)[0]["ts"]
            end = json.loads(reward)[0].get("end")
            found.append((values(observation), values(reward)[0], end))
        assert not observations.poll(250)
    assert found == [
        ([1.0, 3.0], 1.0, None),
        ([2.0, 4.0], 2.0, "terminated"),
        ([9999.0, 9999.0], None, None),
        ([0.0, -1.0], None, None),
        ([1.0, 7.0], 1.0, None),
    ]


def test_whoever_begins_to_listen_in_lock_step_is_told_where_things_stand() -> None:
    with serving(**LOCK_STEP) as served:
        agent = served.commander()
        observations, _ = served.streams()
        first(observations)
        agent.send(command(3))
        before = observations.recv()
        late = served.listen(served.addresses.observations)
        assert late.recv() == before


def test_a_time_stamp_that_is_off_is_counted_and_the_command_followed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(**LOCK_STEP, **{"CommandReceiver.time_stamp_tolerance": 0.5}) as served:
        agent = served.commander()
        observations, _ = served.streams()
        first(observations)
        for sent in (command(3, ts=time.time() - 60.0), b'[{"value": 4}]', command(5, ts="never")):
            agent.send(sent)
            assert values(observations.recv())[1] == float(json.loads(sent)[0]["value"])
    assert "differs by 60.0" in caplog.text
    assert caplog.text.count("time stamp") == 2  # one line


def test_the_report_of_a_whole_run(tmp_path: Path) -> None:
    report = {"All.write_report": True, "All.prefix": str(tmp_path / "new")}
    with serving(**LOCK_STEP, **kwargs(length=2), **report) as served:
        agent = served.commander()
        observations, _ = served.streams()
        first(observations)
        for _ in range(5):
            agent.send(command(1))
            observations.recv()
    found = json.loads((tmp_path / "new" / "report.json").read_text())
    assert [found[key]["reward"] for key in found] == [[1.0, 2.0], [1.0]]
    assert found["1"]["obervation"] == [[1.0, 1.0], [2.0, 1.0]]


def test_the_addresses_are_told_in_words() -> None:
    threads = threading.active_count()
    with serving() as served:
        text = str(served.addresses)
        assert "observations on tcp://127.0.0.1:" in text
        assert f"commands from tcp://127.0.0.1:{served.command_port}" in text
    assert threading.active_count() <= threads  # none of the server's is left


# -- bad commands ----------------------------------------------------------------------------------


def test_a_thousand_bad_commands_between_good_ones(caplog: pytest.LogCaptureFixture) -> None:
    shuffle = random.Random(3)
    outside = [command(value) for value in (10, -1, 0.5, 1e300)]
    bad = [[data] for data in [*BAD, *outside]] + [[command(1), command(2)], [b"", command(1)]]
    with serving(**LOCK_STEP, **kwargs(length=1000)) as served:
        agent = served.commander()
        observations, rewards = served.streams()
        first(observations)
        first(rewards)
        sent = [shuffle.randrange(10) for _ in range(100)]
        for value in sent:
            for _ in range(10):
                agent.send_multipart(shuffle.choice(bad))
            agent.send(command(value))
        answers = [values(observations.recv()) for _ in sent]
        assert [values(rewards.recv()) for _ in sent] == [[float(n)] for n in range(1, 101)]
        assert not observations.poll(150)
    assert answers == [[float(n + 1), float(value)] for n, value in enumerate(sent)]
    assert "a command is ignored" in caplog.text
    assert caplog.text.count("a command is ignored") == 1


def test_an_oversized_command_deafens_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with serving(**LOCK_STEP, **kwargs(length=1000)) as served:
        agent = served.commander()
        observations, _ = served.streams()
        first(observations)
        for number in range(1, 4):
            agent.send(b"[" + b" " * 5_000_000 + b"]")
            agent.send(command(number))
            assert values(observations.recv()) == [float(number), float(number)]
    assert "5000002 bytes, more than the 1048576 of a command" in caplog.text


def test_bad_commands_in_real_time_leave_the_last_good_one() -> None:
    with serving(**QUICK, **kwargs(length=100_000)) as served:
        agent = served.commander()
        observations, _ = served.streams()
        agent.send(command(6))
        for data in BAD * 3:
            agent.send(data)
        while values(observations.recv())[1] != 6.0:
            pass
        for _ in range(30):
            assert values(observations.recv())[1] == 6.0
