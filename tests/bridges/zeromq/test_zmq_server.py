"""The server on real sockets: streams, commands, reports, and every way to end."""

import json
import random
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import zmq
from test_zmq_codec import BAD
from zmq_serving import Process, Served, command, free_port, register, serving, values

from gym_loop.bridges.zeromq.board import Board
from gym_loop.bridges.zeromq.config import load_config
from gym_loop.bridges.zeromq.server import serve
from gym_loop.bridges.zeromq.world import World
from gym_loop.errors import (
    BridgeConnectionError,
    BridgeError,
    ConfigError,
    EnvUnknownError,
    RenderError,
    ReportExistsError,
    SpaceError,
    UsageError,
)

QUICK = {
    "EnvRunner.update_interval": 0.004,
    "EnvRunner.inter_trial_duration": 0.012,
    "ObservationSender.update_interval": 0.002,
    "RewardSender.update_interval": 0.002,
}
LOCK_STEP = {"EnvRunner.speed": "max"}


@pytest.fixture(autouse=True)
def scripted() -> None:
    register()


def kwargs(**parameters: Any) -> dict[str, Any]:
    return {"Env.env_params": {"kwargs": parameters}}


def both(served: Served) -> tuple[dict[float, list[Any]], dict[float, list[Any]]]:
    """A tenth of a second or so of both streams, by time stamp."""
    observations, rewards = served.streams()
    found: tuple[dict[float, list[Any]], ...] = ({}, {})
    for _ in range(60):
        for stream, into in zip((observations, rewards), found, strict=True):
            message = stream.recv()
            into[json.loads(message)[0]["ts"]] = values(message)
    return found


# -- real time -----------------------------------------------------------------------------


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
    from zmq_serving import Counting

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


# -- bad commands --------------------------------------------------------------------------


def first(stream: Any) -> list[Any]:
    """The message for a newcomer, and not its repetition for the next one."""
    message = stream.recv()
    time.sleep(0.25)
    while stream.poll(0):
        stream.recv()
    return values(message)


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


# -- lock-step -----------------------------------------------------------------------------


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


# -- what can go wrong ---------------------------------------------------------------------


def command_until_it_ends(commanding: bool = True, **settings: Any) -> None:
    with serving(**settings) as served:
        if commanding:
            agent = served.commander()
            for _ in range(3):
                agent.send(command(1))
        assert served.stop is not None
        assert served.stop.wait(5)


@pytest.mark.parametrize(("settings", "step"), [(QUICK, 100), (LOCK_STEP, 3)], ids=["real", "max"])
def test_an_environment_that_raises_ends_the_server(settings: dict[str, Any], step: int) -> None:
    with pytest.raises(BridgeError, match=r"ZmqCounting-v0 failed in step .*: the world broke"):
        command_until_it_ends(**settings, **kwargs(length=200, fail_at=step))


def test_an_environment_that_returns_nonsense_ends_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from zmq_serving import Counting

    monkeypatch.setattr(Counting, "reset", lambda self, **_: ("?", {}))
    with pytest.raises(BridgeError, match="failed in reset: SampleError: the sample"), serving():
        pass


@pytest.mark.parametrize("part", ["observations", "commands"])
def test_a_dead_part_ends_the_server(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    def broken(*_: Any) -> None:
        raise MemoryError("no more")

    if part == "observations":
        monkeypatch.setattr(Board, "at", broken)
    else:
        monkeypatch.setattr("gym_loop.bridges.zeromq.server.decode_command", broken)
    with pytest.raises(BridgeError, match=r"its part for (commands|observations|rewards) failed"):
        command_until_it_ends(part == "commands", **QUICK)


def test_a_taken_port() -> None:
    with (
        serving() as served,
        pytest.raises(BridgeConnectionError, match=r"RewardSender\.socket: cannot listen"),
        serving(**{"RewardSender.socket": served.ports["reward_port"]}),
    ):
        pass


def test_what_is_refused_before_anything_runs(tmp_path: Path) -> None:
    report = {"All.write_report": True, "All.prefix": str(tmp_path), "All.report_file": "r.json"}
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(ReportExistsError), serving(**report, **{"Env.env": "None-v0"}):
        pass
    report["All.report_file"] = "other.json"
    with pytest.raises(EnvUnknownError), serving(**report, **{"Env.env": "None-v0"}):
        pass
    with pytest.raises(ConfigError, match=r"shape \(3,\).* the shape \(2,\)"):
        serve(load_config(None, {**report, "Env.env": "ZmqCounting-v0", "Env.render": False,
                                 "Env.inter_trial_observation": [1, 2, 3]}))  # fmt: skip
    with pytest.raises(ConfigError, match="one number"):
        serve(load_config(None, {**report, "Env.env": "FrozenLake-v1", "Env.render": False}))
    with pytest.raises(ConfigError, match="none of numbers"):
        serve(load_config(None, {**report, "Env.env": "ZmqCounting-v0", "Env.render": False,
                                 "Env.inter_trial_observation": [[1], [2, 3]]}))  # fmt: skip
    with pytest.raises(SpaceError, match="cannot be streamed"):
        serve(load_config(None, {**report, "Env.env": "Blackjack-v1", "Env.render": False}))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["r.json"]


# -- the environment's own options ---------------------------------------------------------


def world(**settings: Any) -> World:
    return World(load_config(None, {"Env.render": False, "Env.env": "ZmqCounting-v0", **settings}))


@pytest.mark.parametrize(("seed", "expected"), [(5, 5), (-1, None), (None, None)])
def test_seeds(seed: int | None, expected: int | None) -> None:
    made = world(**{"All.seed": seed})
    made.start()
    for _ in range(12):
        made.tick(1)
    assert made._env.unwrapped.seeds == [expected, None]
    made.close()


def test_a_version_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    gone = {"Env.env": "Pendulum-v0", "Env.inter_trial_observation": [0.0, 0.0, 0.0]}
    world = World(load_config(None, gone))
    assert world.start()[0].count("value") == 3
    assert "Pendulum-v0 is gone: Pendulum-v1 is streamed in its place" in caplog.text
    world.close()


def test_environment_parameters() -> None:
    settings = {"Env.env_params": {"max_episode_steps": 2, "kwargs": {"length": 9}}}
    made = world(**settings)
    assert made._env.unwrapped.length == 9
    made.start()
    made.tick(1)
    made.tick(1)
    assert not made.between_trials
    made.tick(1)
    assert made.between_trials
    made.close()


def test_a_window_does_not_slow_the_clock() -> None:
    made = world(**{"Env.env": "MountainCar-v0", "Env.render": True})
    made.start()
    for _ in range(3):
        made.tick(1)
    assert made._env.unwrapped.metadata["render_fps"] > 1000
    made.close()


def test_a_window_without_a_display_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import pygame

    pygame.quit()
    monkeypatch.delenv("SDL_VIDEODRIVER")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RenderError, match=r"there is no display .set render to false"):
        world(**{"Env.env": "MountainCar-v0", "Env.render": True})
    pygame.quit()


@pytest.mark.parametrize("render", [False, True])
def test_the_monitor_keeps_statistics_and_videos(tmp_path: Path, render: bool) -> None:
    settings = {
        "Env.env": "MountainCar-v0", "Env.render": render, "Env.monitor": True,
        "Env.env_params": {"max_episode_steps": 3}, "All.prefix": str(tmp_path),
        "Env.monitor_args": {"force": True},
    }  # fmt: skip
    made = world(**settings)
    made.start()
    for _ in range(12):
        made.tick(1)
    made.close()
    directory = tmp_path / "experiment-0"
    (statistics,) = directory.glob("*.stats.json")
    assert json.loads(statistics.read_text())["episode_lengths"][:2] == [3, 3]
    assert len(list(directory.glob("*.mp4"))) == 2  # episodes 0 and 1
    with pytest.raises(UsageError, match=r"Env\.monitor_dir: .*earlier recording"):
        world(**{**settings, "Env.monitor_args": {}})
    world(**{**settings, "Env.monitor_args": {"resume": True, "video_callable": False}}).close()


def test_monitor_arguments_without_monitor(caplog: pytest.LogCaptureFixture) -> None:
    world(**{"Env.monitor_args": {"force": True}}).close()
    assert "nothing is recorded" in caplog.text


# -- the end -------------------------------------------------------------------------------


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("speed", ["real", "max"])
def test_a_signal_ends_everything_and_flushes_the_report(
    tmp_path: Path, signum: int, speed: str
) -> None:
    port = free_port()
    running = Process(**{
        "Env.env": "ZmqCounting-v0", "CommandReceiver.socket": port, "EnvRunner.speed": speed,
        "ObservationSender.socket": 0, "RewardSender.socket": 0, "All.write_report": True,
        "All.prefix": str(tmp_path), "Env.env_params": {"kwargs": {"length": 100_000}},
    })  # fmt: skip
    with zmq.Context() as context, context.socket(zmq.XPUB) as agent:
        agent.linger = 0
        agent.bind(f"tcp://127.0.0.1:{port}")
        assert agent.recv() == b"\x01"
        for _ in range(5):
            agent.send(command(1))
        time.sleep(0.3)
        status, errors = running.end(signum)
    assert (status, errors) == (0, "")
    entry = json.loads((tmp_path / "report.json").read_text())["1"]
    assert len(entry["reward"]) >= 5
    assert entry["reward"][:3] == [1.0, 2.0, 3.0]


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
    with serving() as served:
        text = str(served.addresses)
        assert "observations on tcp://127.0.0.1:" in text
        assert f"commands from tcp://127.0.0.1:{served.command_port}" in text
    assert threading.active_count() < 10
