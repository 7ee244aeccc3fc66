"""Stopping and resuming: what goes on, what is refused, what is said."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gym_loop
from gym_loop.checkpoints import files
from gym_loop.checkpoints.files import write_files
from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.errors import (
    CheckpointMismatchError,
    CheckpointMissingError,
    ConfigError,
    RunError,
    RunLockedError,
)
from gym_loop.runs import manifest
from gym_loop.runs.directory import RunDirectory
from gym_loop.training.verify import verify_resume
from tests.killing import differences, write_run_file
from tests.resumable import register
from tests.signalling import usual_signals

WORLD = """
import gymnasium as gym

class Told(gym.spaces.Space):
    "Sentences; it has no text of its own, as Gymnasium's base class has none."
    def __init__(self, words):
        super().__init__(dtype=str)
        self.words, self.made_by = words, lambda: words
    def sample(self, mask=None, probability=None):
        return " ".join(["so"] * int(self.np_random.integers(self.words)))
    def contains(self, x):
        return isinstance(x, str)

class World(gym.Env):
    def __init__(self, words=5):
        self.observation_space = gym.spaces.Dict(told=Told(words), at=gym.spaces.Discrete(3))
        self.action_space = gym.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 4
        return {"told": "so", "at": 0}, {}
    def step(self, action):
        self.left -= 1
        return {"told": "so so", "at": 1}, 1.0, self.left == 0, False, {}

gym.register("Told-v0", World)
"""


@pytest.fixture(autouse=True)
def registered() -> None:
    register()


def config(agent: dict[str, Any] | None = None, env: str = "CartPole-v1", **loop: Any) -> dict:
    return {
        "agent": {"class": "tests.resumable:Drifting", "parameters": agent or {}},
        "env": {"name": env},
        "loop": {"parameters": {"max_episodes": 40, "keep_checkpoints": 50, **loop}},
        "seed": 5,
    }


def metrics_without_times(path: Path) -> list[list[str]]:
    rows = [line.split(",") for line in path.read_text().splitlines()]
    times = [rows[0].index(name) for name in ("seconds", "train/steps_per_second")]
    return [[cell for at, cell in enumerate(row) if at not in times] for row in rows]


def test_a_run_without_a_checkpoint_starts_again(tmp_path, capsys):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    gym_loop.train(write_run_file(straight, config()))
    path = write_run_file(broken, config())
    gym_loop.train(path)
    for checkpoint in (broken / "checkpoint_dir" / "run-1").iterdir():
        for file in checkpoint.iterdir():
            file.unlink()
        checkpoint.rmdir()
    RunDirectory("run-1", {"logdir": broken / "logdir"}).note(status="running")  # as a kill does
    gym_loop.train(path, resume=True)
    assert "starts again from step 0" in capsys.readouterr().err
    assert differences(straight, broken) == []
    assert len(list((broken / "logdir" / "run-1").glob("events*"))) == 1


def test_a_run_without_its_run_file_cannot_go_on(tmp_path):
    path = write_run_file(tmp_path, config())
    gym_loop.train(path)
    (tmp_path / "logdir" / "run-1" / "run.yaml").unlink()
    with pytest.raises(RunError, match=r"run.yaml is missing: without it run-1 cannot be cont"):
        gym_loop.train(path, resume=True)


def test_evaluating_what_was_not_kept_is_an_error(tmp_path):
    path = write_run_file(tmp_path, config())
    with pytest.raises(RunError, match="there is no run of"):
        gym_loop.evaluate(path, checkpoint="best", episodes=1)
    gym_loop.train(path)
    with pytest.raises(CheckpointMissingError, match="was kept as the best one"):
        gym_loop.evaluate(path, checkpoint="best", episodes=1)


def test_a_checkpoint_is_evaluated_without_the_rest_of_its_run(tmp_path, capsys):
    path = write_run_file(tmp_path, config())
    gym_loop.train(path)
    checkpoint = CheckpointStore(tmp_path / "checkpoint_dir" / "run-1").newest().path
    (tmp_path / "logdir" / "run-1" / "run.yaml").write_text("agent: [")
    gym_loop.evaluate(path, checkpoint=checkpoint, episodes=1)
    assert "run-1: its own run file cannot be used" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "logdir" / "run-1")
    gym_loop.evaluate(path, checkpoint=checkpoint, episodes=1)
    assert "untrained" not in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_checkpoint_is_named_and_passed_over(tmp_path, capsys, damage):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    gym_loop.train(write_run_file(straight, config()))
    path = write_run_file(broken, config())
    gym_loop.train(path)
    newest = CheckpointStore(broken / "checkpoint_dir" / "run-1").newest().path
    arrays = newest / "arrays.safetensors"
    data = arrays.read_bytes()
    if damage == "truncated":
        arrays.write_bytes(data[:-7])
    else:
        arrays.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    gym_loop.train(path, resume=True)
    said = capsys.readouterr().err
    assert newest.name in said
    assert "passed over" in said
    assert differences(straight, broken) == []


def test_other_matrix_products_than_before_are_said(tmp_path, capsys):
    path = write_run_file(tmp_path, config())
    gym_loop.train(path)
    manifest = tmp_path / "logdir" / "run-1" / "manifest.json"
    facts = json.loads(manifest.read_text())
    gym_loop.train(path, resume=True)
    assert "matrix products" not in capsys.readouterr().err
    facts["hardware"]["matrix_products"] = "openblas 0.3 Abacus"
    manifest.write_text(json.dumps(facts))
    gym_loop.train(path, resume=True)
    assert "openblas 0.3 Abacus before" in capsys.readouterr().err


def test_a_full_disk_stops_nothing(tmp_path, capsys, monkeypatch):
    path = write_run_file(tmp_path, config(episodes_per_checkpoint=5))
    written = []

    def fill_up(*arguments: Any) -> Any:
        written.append(arguments)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_files(*arguments)

    monkeypatch.setattr(files, "write_files", fill_up)
    result = gym_loop.train(path)
    assert result.episodes == 40
    assert "No space left on device" in capsys.readouterr().err
    store = CheckpointStore(tmp_path / "checkpoint_dir" / "run-1")
    assert len(store.steps()) == 2
    assert store.newest().info["episode"] == 10
    assert not [one for one in store.directory.iterdir() if one.name.startswith(".")]


def test_an_evaluation_cut_short_by_a_signal_is_played_again(tmp_path):
    wanted = config(episodes_per_eval=10, eval_episodes=3)
    gym_loop.train(write_run_file(tmp_path / "straight", wanted))
    path = write_run_file(tmp_path / "broken", wanted)
    stop = {"agent.parameters.stop_in_evaluation": 20}
    with usual_signals():
        assert gym_loop.train(path, stop).exit_reason == "stopped"
    again = gym_loop.train(path, {"agent.parameters.stop_in_evaluation": -1}, resume=True)
    assert again.exit_reason == "finished"
    assert differences(tmp_path / "straight", tmp_path / "broken") == []
    logs = [tmp_path / name / "eval_logdir" / "run-1" for name in ("straight", "broken")]
    files = [{one.name: json.loads(one.read_text()) for one in log.iterdir()} for log in logs]
    assert files[0] == files[1]
    assert len(files[0]) == 4


def test_the_curve_in_tensorboard_is_unbroken(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path = write_run_file(tmp_path, config(max_episodes=25, episodes_per_checkpoint=10))
    gym_loop.train(path)
    store = CheckpointStore(tmp_path / "checkpoint_dir" / "run-1")
    for file in store.newest().path.iterdir():
        file.unlink()
    store.newest().path.rmdir() if not store.steps() else None
    gym_loop.train(path, ["loop.parameters.max_episodes=40"], resume=True)
    events = EventAccumulator(str(tmp_path / "logdir" / "run-1"))
    events.Reload()
    steps = [one.step for one in events.Scalars("train/episode_return")]
    assert len(steps) == 40
    assert steps == sorted(set(steps))


def test_the_second_resume_is_refused(tmp_path):
    path = write_run_file(tmp_path, config())
    gym_loop.train(path)
    run = RunDirectory.open("run-1", {"logdir": tmp_path / "logdir"})
    run.lock()
    try:
        with pytest.raises(RunLockedError, match="run-1 is in use"):
            gym_loop.train(path, resume=True)
        command = [sys.executable, "-m", "gym_loop", "train", "-c", str(path), "--resume"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "run-1 is in use" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        run.unlock()
    assert gym_loop.train(path, resume=True).exit_reason == "finished"


def test_what_was_set_at_the_start_need_not_be_repeated(tmp_path):
    path = write_run_file(tmp_path, config(max_episodes=3))
    gym_loop.train(path, ["env.max_episode_steps=7"], seed=9)
    resumed = gym_loop.train(path, {"loop.parameters.max_episodes": 6}, resume=True)
    assert resumed.episodes == 6
    assert resumed.steps <= 6 * 7
    path.write_text(path.read_text().replace("parameters: {}", "parameters: {forgets: true}"))
    with pytest.raises(ConfigError, match=r"agent\.parameters\.forgets: the run has False"):
        gym_loop.train(path, resume=True)


def test_another_environment_begins_a_new_episode(tmp_path, capsys):
    path = write_run_file(tmp_path, config(max_steps=55, max_episodes=None))
    gym_loop.train(path)
    wanted = {"env.max_episode_steps": 3, "loop.parameters.max_steps": 100}
    gym_loop.train(path, wanted, resume=True)
    assert "the environment has changed" in capsys.readouterr().err
    rows = metrics_without_times(tmp_path / "logdir" / "run-1" / "metrics.csv")
    length = rows[0].index("train/episode_length")
    assert {row[length] for row in rows[-10:]} == {"3"}


def test_another_environment_follows_from_the_seed(tmp_path):
    tables = []
    for name in ("one", "other"):
        path = write_run_file(tmp_path / name, config(max_steps=55, max_episodes=None))
        gym_loop.train(path)
        wanted = {"env.max_episode_steps": 300, "loop.parameters.max_steps": 300}
        gym_loop.train(path, wanted, resume=True)
        tables.append(metrics_without_times(tmp_path / name / "logdir" / "run-1" / "metrics.csv"))
    assert tables[0] == tables[1]
    assert len(tables[0]) > 8


def test_other_versions_are_warned_about(tmp_path, capsys, monkeypatch):
    path = write_run_file(tmp_path, config(max_episodes=3))
    gym_loop.train(path)
    here = {**manifest.versions(), "numpy": "0.0.1", "ale-py": "9", "tensorboard": "0.1"}
    monkeypatch.setattr(manifest, "versions", lambda: here)
    gym_loop.train(path, {"loop.parameters.max_episodes": 4}, resume=True)
    assert "numpy" in (said := capsys.readouterr().err)
    assert "(here 0.0.1)" in said
    assert "tensorboard" not in said, "it decides nothing"


def test_packages_that_a_run_does_not_use_are_not_compared(monkeypatch):
    monkeypatch.delitem(sys.modules, "ale_py", raising=False)
    monkeypatch.setattr(manifest, "versions", lambda: {"python": "3", "ale-py": "1", "numpy": "2"})
    used = manifest.versions_in_use()
    assert used == {"python": "3", "numpy": "2"}
    monkeypatch.setattr(manifest, "versions", lambda: {"python": "3", "numpy": "2"})
    assert manifest.differing_versions({**used, "torch": "2"}) == ["torch 2 (here absent)"]
    assert manifest.differing_versions("forged") == []


def test_a_space_whose_text_holds_an_address(tmp_path, capsys):
    (tmp_path / "worlds.py").write_text(WORLD, "utf-8")
    content = config(max_episodes=2)
    content["agent"] = {"class": "gym_loop.agents.random_agent:RandomAgent"}
    content["env"] = {"imports": ["worlds.py"], "name": "Told-v0"}
    path = write_run_file(tmp_path, content)
    gym_loop.train(path)
    # Each process makes the space at another address.
    ask = [sys.executable, "-m", "gym_loop", "evaluate", "-c", str(path), "--episodes", "1"]
    subprocess.run(ask, check=True, capture_output=True)
    gym_loop.train(path, {"loop.parameters.max_episodes": 4}, resume=True)
    with pytest.raises(CheckpointMismatchError, match="observation_space"):
        gym_loop.evaluate(path, {"env.parameters.words": 7})


class TestVerifyResume:
    def test_a_run_that_resumes_exactly(self, tmp_path, monkeypatch):
        monkeypatch.chdir(Path(__file__).parents[2])
        result = verify_resume(write_run_file(tmp_path, config()), steps=300)
        assert result.identical
        assert (result.verdict, result.notes) == ("exact", [])

    def test_a_forgotten_attribute_is_named_with_its_effect(self, tmp_path, monkeypatch):
        monkeypatch.chdir(Path(__file__).parents[2])
        path = write_run_file(tmp_path, config({"forgets": True}))
        result = verify_resume(path, steps=300)
        assert not result.identical
        assert "attribute level differs" in result.differences[0]
        assert "metrics.csv, line" in result.differences[1]

    def test_an_environment_that_hides_its_state(self, tmp_path, monkeypatch):
        monkeypatch.chdir(Path(__file__).parents[2])
        wanted = config(env="Hidden-v0")
        wanted["env"]["imports"] = ["tests.resumable"]
        result = verify_resume(write_run_file(tmp_path, wanted), steps=100)
        assert not result.identical
        assert result.verdict == "approximate"


def test_approximate_is_said_at_the_start(tmp_path, capsys):
    wanted = config(env="Hidden-v0", max_episodes=2)
    gym_loop.train(write_run_file(tmp_path, wanted))
    assert "resuming will be approximate" in capsys.readouterr().err
    manifest = json.loads((tmp_path / "logdir" / "run-1" / "manifest.json").read_text())
    assert manifest["resume"]["verdict"] == "approximate"
    assert "set_state" in manifest["resume"]["remedy"]
