"""A run's agent at play: what the page is told, when steps are made, and what is left alone."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import cv2
import numpy as np
import pytest

import gym_loop
from gym_loop.errors import CheckpointMismatchError, ConfigError, RunError, UsageError
from gym_loop.watch import player as player_module
from gym_loop.watch.server import watch
from tests.signalling import begin
from tests.watch import played
from tests.watch.played import RUN, steps_made, train, watching

VECTOR: dict[str, Any] = {
    "class": "gym_loop.loops.vector_loop:VectorLoop",
    "parameters": {"n_envs": 4, "max_steps": 20},
}


@pytest.fixture(autouse=True)
def files(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played.write(workdir)
    monkeypatch.setattr(player_module, "ENDED", 0.05)
    monkeypatch.setattr(player_module, "LOOKS", 0.05)


def ask(
    address: str, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    request = Request(f"{address}/{path}", method=method, headers=headers)
    try:
        with urlopen(request, timeout=20) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def view(address: str, seen: int = 0) -> tuple[Any, bytes]:
    status, headers, body = ask(address, f"live/views/{seen}")
    assert status in (200, 204)
    return json.loads(headers["gym-loop-view"]), body


def views_until(address: str, good: Callable[[Any], bool]) -> tuple[Any, bytes]:
    end, seen = time.monotonic() + 20, 0
    while time.monotonic() < end:
        facts, body = view(address, seen)
        seen = facts.get("number", 0)
        if good(facts):
            return facts, body
    raise AssertionError(f"it never came: {facts}")


def snapshot(*places: str) -> dict[Path, tuple[int, bytes]]:
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for place in places
        for path in Path(place).rglob("*")
        if path.is_file()
    }


# -- what is seen --------------------------------------------------------------------------


def test_the_agent_of_the_newest_checkpoint_plays_and_is_seen() -> None:
    run = train()
    with watching() as address:
        facts, body = views_until(address, lambda one: one["state"] == "playing")
        assert (facts["run"], facts["env"], facts["agent"]) == (run, "World-v0", "Learner")
        assert facts["checkpoint"]["step"] == 10
        assert facts["action"] == 10  # what it had learnt in ten steps
        assert facts["reward"] == 2.0
        assert facts["return"] == 2.0 * facts["step"]
        picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape == (20, 30, 3)
        assert abs(int(picture[5, 5, 0]) - 10 * facts["step"]) <= 2
        facts, _ = views_until(address, lambda one: len(one.get("results", [])) == 2)
        assert facts["results"][0] == {
            "episode": 2,
            "return": 10.0,
            "length": 5,
            "checkpoint": 10,
        }


def test_a_newer_checkpoint_plays_from_the_next_episode_on() -> None:
    run = train()
    with watching() as address:
        views_until(address, lambda one: one["state"] == "playing")
        longer = {"loop.parameters.max_episodes": 5}
        gym_loop.train("run.yaml", longer, resume=run)
        facts, _ = views_until(
            address, lambda one: (one.get("results") or [{}])[0].get("checkpoint") == 25
        )
        assert facts["action"] == 25


def test_it_waits_for_the_first_checkpoint() -> None:
    run = train()
    kept = Path("checkpoints", run)
    kept.rename("away")
    with watching() as address:
        facts, body = views_until(address, lambda one: one.get("run") == run)
        assert (facts["state"], facts["checkpoint"], body) == ("waiting", None, b"")
        Path("away").rename(kept)
        views_until(address, lambda one: one["state"] == "playing")


@pytest.mark.parametrize("limit", [None, 3])
def test_of_a_vector_loop_one_copy_is_watched(workdir: Path, limit: int | None) -> None:
    vector = {**VECTOR, "parameters": {**VECTOR["parameters"], "max_episode_len": limit}}
    (workdir / "run.yaml").write_text(json.dumps({**RUN, "loop": vector}))
    train()
    with watching() as address:
        facts, body = views_until(address, lambda one: len(one.get("results", [])) == 1)
        assert facts["results"][0]["length"] == (limit or 5)
        assert facts["step"] == (limit or 5)
        assert body[:2] == b"\xff\xd8"


def test_an_environment_without_pictures_is_watched_by_its_numbers(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blind = {**RUN, "env": {"name": "Blind-v0", "imports": ["world.py"]}}
    (workdir / "run.yaml").write_text(json.dumps(blind))
    train()
    with watching() as address:
        facts, body = views_until(address, lambda one: one.get("step", 0) > 0)
        assert (facts["draws"], body) == (False, b"")
    assert "there will be no pictures" in capsys.readouterr().err


def test_the_seed_decides_the_episodes_and_fps_their_pace() -> None:
    train()
    start = time.monotonic()
    with watching(fps=10.0, seed=1) as address:
        views_until(address, lambda one: one.get("step") == 5)
    assert time.monotonic() - start > 0.4


def test_the_next_episode_can_be_asked_for(workdir: Path) -> None:
    long = {**RUN["env"], "parameters": {"last": 100_000}}
    (workdir / "run.yaml").write_text(json.dumps({**RUN, "env": long}))
    gym_loop.train(
        "run.yaml", {"loop.parameters.max_episodes": None, "loop.parameters.max_steps": 10}
    )
    with watching() as address:
        views_until(address, lambda one: one.get("step", 0) > 2)
        assert ask(address, "live/next", "POST")[0] == 204
        facts, _ = views_until(address, lambda one: one["episode"] == 2)
        assert facts["results"] == []


# -- what is not done ----------------------------------------------------------------------


def test_nothing_is_played_while_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(player_module, "PATIENCE", 0.3)
    train()
    with watching() as address:
        before = len(steps_made())
        time.sleep(0.3)
        assert len(steps_made()) == before
        views_until(address, lambda one: one.get("step", 0) > 0)
        time.sleep(0.6)
        made = len(steps_made())
        assert made > before
        time.sleep(0.3)
        assert len(steps_made()) == made


def test_the_run_is_left_as_it_is() -> None:
    train()
    before = snapshot("logs", "checkpoints")
    with watching() as address:
        views_until(address, lambda one: len(one.get("results", [])) == 1)
    assert snapshot("logs", "checkpoints") == before
    made = {path.name for path in Path().iterdir() if path.is_dir()} - {"__pycache__"}
    assert made == {"checkpoints", "logs"}


def test_the_run_is_free_to_be_trained() -> None:
    run = train()
    with watching() as address:
        views_until(address, lambda one: len(one.get("results", [])) == 1)
        assert gym_loop.train("run.yaml", resume=run).run == run  # which takes the run's lock


# -- who may watch -------------------------------------------------------------------------


def test_the_token_guards_what_is_seen_and_the_page_alone_is_public() -> None:
    train()
    with watching(token="secret") as address:
        for path in ("", "live/watch.js", "live/common.js", "live/style.css"):
            status, headers, _ = ask(address, path)
            assert status == 200
            assert "default-src 'none'" in headers["content-security-policy"]
        assert ask(address, "live/views/0")[0] == 401
        assert ask(address, "live/next", "POST")[0] == 401
        assert ask(address, "live/views/0", Authorization="Bearer secret")[0] in (200, 204)


def test_foreign_pages_and_names_are_refused() -> None:
    train()
    with watching() as address:
        assert ask(address, "live/next", "POST", Origin="https://evil.example")[0] == 403
        assert ask(address, "live/views/0", Host="evil.example")[0] == 403
        for path in ("live/views/x", "live/views/", "nowhere", "live/next"):
            assert ask(address, path)[0] == 404


# -- what can go wrong -----------------------------------------------------------------------


def test_what_cannot_be_watched_is_said_before_anything_is_served() -> None:
    with pytest.raises(RunError, match="there is no run of"), watching():
        pass
    train()
    with pytest.raises(RunError, match="no run run-7"), watching(run="run-7"):
        pass
    with pytest.raises(UsageError, match="set a token"), watching(host="0.0.0.0"):
        pass
    with pytest.raises(UsageError, match="--fps 0"), watching(fps=0.0):
        pass
    with pytest.raises(ConfigError, match="--seed"), watching(seed=-1):
        pass
    with pytest.raises(ConfigError, match=r"port.*99999"):
        watch("run.yaml", port=99999)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    train()
    monkeypatch.delitem(sys.modules, "gym_loop.serve.connections", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UsageError, match=r"uvicorn: pip install 'gym-loop\[bridges\]'"):
        watch("run.yaml")


def watch_to_the_end(**options: Any) -> None:
    """Look on until the server is gone; raises what ended it."""
    with watching(**options) as address:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                view(address)
            except OSError:
                break


def test_an_environment_that_fails_ends_it_with_its_error() -> None:
    train()
    fails = {"env.parameters": {"fail": len(steps_made()) + 2}}
    with pytest.raises(RuntimeError, match="the wheel came off"):
        watch_to_the_end(overrides=fails)


def test_a_checkpoint_of_another_environment_ends_it() -> None:
    train()
    with pytest.raises(CheckpointMismatchError, match="does not fit"):
        watch_to_the_end(overrides={"env.name": "CartPole-v1"})


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_command_with_0(sent: signal.Signals) -> None:
    train()
    command = [sys.executable, "-m", "gym_loop", "watch", "-c", "run.yaml", "--port", "0"]
    with begin(command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        first, second = process.stderr.readline(), process.stderr.readline()
        found = re.fullmatch(
            r"run-1 is at play at (http://127.0.0.1:(\d+)); Ctrl-C ends it\n", first
        )
        assert found
        assert f"ssh -L {found[2]}:127.0.0.1:{found[2]} " in second
        view(found[1])
        process.send_signal(sent)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
