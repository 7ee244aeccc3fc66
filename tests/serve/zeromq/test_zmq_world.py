"""The environment behind the streams, as the settings want it."""

import json
from pathlib import Path
from typing import Any

import pytest

from gym_loop.errors import RenderError, UsageError
from gym_loop.serve.zeromq.config import load_config
from gym_loop.serve.zeromq.world import World
from gym_loop.wire.gymz import stamp
from tests.serve.zeromq.zmq_serving import kwargs


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


@pytest.mark.parametrize("value", [None, 7.5])
def test_one_value_stands_for_every_dimension_between_two_episodes(value: float | None) -> None:
    made = world(**{"Env.inter_trial_observation": value, **kwargs(length=1)})
    made.start()
    made.tick(1)
    message = json.loads(stamp(made.tick(1)[0], 1.0))
    assert [one["value"] for one in message] == [value, value]
    made.close()


def test_environment_parameters() -> None:
    settings = {"Env.env_params": {"max_episode_steps": 2, "kwargs": {"length": 9}}}
    made = world(**settings)
    assert made._env.unwrapped.length == 9
    made.start()
    made.tick(1)
    made.tick(1)
    between = [made.between_trials]
    made.tick(1)
    assert [*between, made.between_trials] == [False, True]
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
