"""train() as a whole: what it returns, leaves on disk, shows and resumes."""

import errno
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gym_loop
from gym_loop.config.run_file import load_config
from gym_loop.errors import ConfigError, RunError
from gym_loop.runs.directory import RunDirectory, is_running
from tests.small_runs import RUN, checkpoints, manifest, rows, write_files


@pytest.fixture(autouse=True)
def files(workdir: Path) -> None:
    write_files(workdir)


class TestTrain:
    def test_result_and_files(self) -> None:
        result = gym_loop.train("run.yaml")
        assert (result.run, result.exit_reason, result.episodes) == ("run-1", "finished", 6)
        logged = rows("run-1")
        assert len(logged) == 6
        assert result.steps == int(logged[-1]["step"])
        returns = [float(row["train/episode_return"]) for row in logged]
        assert result.mean_return == pytest.approx(np.mean(returns))
        assert result.steps == sum(returns)
        assert result.directories == {
            "logdir": Path("logs/run-1"),
            "checkpoint_dir": Path("checkpoints/run-1"),
        }
        assert result.checkpoint == Path(f"checkpoints/run-1/step-{result.steps:09d}")
        assert result.checkpoint.is_dir()
        assert result.best_evaluation is None
        assert sorted(path.name.split(".")[0] for path in Path("logs/run-1").iterdir()) == [
            "code", "events", "lock", "manifest", "metrics", "run",
        ]  # fmt: skip
        assert not is_running(Path("logs/run-1"))
        json.dumps(result.as_dict())

    def test_manifest(self) -> None:
        result = gym_loop.train("run.yaml")
        found = manifest("run-1")
        assert (found["status"], found["exit_reason"]) == ("finished", "max_episodes=6")
        assert (found["run"], found["seed"], found["env"]) == ("run-1", 11, "CartPole-v1")
        assert found["agent"].endswith("agents.py:Wobbly")
        assert (found["episodes"], found["steps"]) == (6, result.steps)
        assert found["started"] < found["ended"]
        assert found["config"] == str(Path("run.yaml").resolve())
        assert found["resume"]["verdict"] == "exact"
        assert found["versions"]["numpy"] == np.__version__
        assert found["hardware"]["cores"] == os.cpu_count()
        assert found["command"]

    def test_runs_are_numbered_and_named(self) -> None:
        assert [gym_loop.train("run.yaml").run for _ in range(2)] == ["run-1", "run-2"]
        assert gym_loop.train("run.yaml", name="mine").run == "mine"
        with pytest.raises(RunError, match="there is a run mine already"):
            gym_loop.train("run.yaml", name="mine")
        assert gym_loop.train(load_config("run.yaml").as_dict()).run == "run-3"

    def test_same_seed_same_run(self) -> None:
        for seed in (11, 11, 12):
            gym_loop.train("run.yaml", seed=seed)
            random.random()  # what happened before a run is without effect
            np.random.rand()
        assert rows("run-1") == rows("run-2")
        assert rows("run-1") != rows("run-3")

    @pytest.mark.parametrize("env", ["CartPole-v1", "FrozenLake-v1"])
    def test_a_run_is_reproduced_from_what_it_left(self, env: str) -> None:
        classic = {"agent.class": "agents.py:Classic", "env.name": env, "seed": None}
        gym_loop.train("run.yaml", classic)
        resolved = Path("logs/run-1/run.yaml")
        assert load_config(resolved).seed == manifest("run-1")["seed"]
        again = gym_loop.train(resolved)
        assert again.run == "run-2"
        assert rows(again.run) == rows("run-1")
        assert Path(f"logs/{again.run}/run.yaml").read_text() == resolved.read_text()

    def test_reproduced_from_another_directory(
        self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gym_loop.train("run.yaml")
        first, resolved = rows("run-1"), Path("logs/run-1/run.yaml").resolve()
        monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
        assert rows(gym_loop.train(resolved).run) == first

    def test_drawn_seed_is_written_down(self) -> None:
        gym_loop.train("run.yaml", {"seed": None})
        gym_loop.train("run.yaml", {"seed": None})
        assert manifest("run-1")["seed"] != manifest("run-2")["seed"]

    def test_checkpoints_are_pruned(self) -> None:
        result = gym_loop.train("run.yaml", {"loop.parameters.keep_checkpoints": 2})
        assert len(checkpoints("run-1")) == 2
        assert checkpoints("run-1")[-1] == f"step-{result.steps:09d}"

    def test_classic_agent_without_a_warning(self, capsys: pytest.CaptureFixture[str]) -> None:
        gym_loop.train("run.yaml", {"agent.class": "agents.py:Classic"})
        gym_loop.evaluate("run.yaml", {"agent.class": "agents.py:Classic"}, run="run-1")
        assert capsys.readouterr().err == ""

    def test_periodic_evaluation(self) -> None:
        result = gym_loop.train("run.yaml", {"loop.parameters.episodes_per_eval": 2})
        evaluated = [row for row in rows("run-1") if row["eval/return_mean"]]
        assert len(evaluated) == 3
        best = max(float(row["eval/return_mean"]) for row in evaluated)
        assert result.best_evaluation == best
        steps = [f"step-{int(row['step']):09d}.json" for row in evaluated]
        assert sorted(path.name for path in Path("eval_logs/run-1").iterdir()) == steps
        # Training is the same with it and without.
        gym_loop.train("run.yaml")
        trained = [row for row in rows("run-1") if row["train/episode_return"]]
        for row in trained:
            for name in [name for name in row if name.startswith("eval/")]:
                del row[name]
        assert trained == rows("run-2")

    def test_quiet_and_loud(self, capsys: pytest.CaptureFixture[str]) -> None:
        gym_loop.train("run.yaml")
        assert capsys.readouterr() == ("", "")
        gym_loop.train("run.yaml", quiet=False)
        assert "run-2: seed 11, logs/run-2" in capsys.readouterr().err

    def test_a_training_without_an_end_says_so(self, capsys: pytest.CaptureFixture[str]) -> None:
        endless = {"agent.class": "agents.py:Failing", "loop.parameters.max_episodes": None}
        with pytest.raises(KeyError):
            gym_loop.train("run.yaml", endless, quiet=False)
        said = "neither max_episodes nor max_steps is set: it trains until Ctrl-C"
        assert said in capsys.readouterr().err

    def test_a_full_disk_at_the_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_space(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_text", no_space)
        with pytest.raises(RunError, match=r"logs/run-1 cannot be written: No space .*make room"):
            gym_loop.train("run.yaml")


class TestResume:
    def test_is_as_if_never_stopped(self) -> None:
        gym_loop.train("run.yaml", name="straight")
        gym_loop.train("run.yaml", {"loop.parameters.max_steps": 50}, name="broken")
        assert manifest("broken")["steps"] == 50
        result = gym_loop.train("run.yaml", {"loop.parameters.max_steps": None}, resume="broken")
        assert (result.run, result.episodes) == ("broken", 6)
        assert rows("broken") == rows("straight")
        assert manifest("broken")["status"] == "finished"
        assert [one["step"] for one in manifest("broken")["resumes"]] == [50]

    def test_newest_run_of_this_file(self) -> None:
        gym_loop.train("run.yaml")
        Path("other.yaml").write_text(RUN)
        gym_loop.train("other.yaml")
        assert gym_loop.train("run.yaml", resume=True).run == "run-1"

    def test_a_changed_file_is_refused(self) -> None:
        gym_loop.train("run.yaml")
        Path("run.yaml").write_text(RUN.replace("eval_episodes: 3", "eval_episodes: 4"))
        with pytest.raises(ConfigError, match=r"eval_episodes: the run has 3, this file 4"):
            gym_loop.train("run.yaml", resume=True)
        result = gym_loop.train(
            "run.yaml",
            ["loop.parameters.eval_episodes=4", "loop.parameters.max_episodes=7"],
            resume=True,
        )
        assert result.episodes == 7

    def test_with_defaults_that_yaml_writes_in_another_way(self) -> None:
        changes = {"agent.class": "agents.py:Tuples"}
        gym_loop.train("run.yaml", changes)
        Path("run.yaml").write_text(RUN.replace("Wobbly", "Tuples"))
        assert gym_loop.train("run.yaml", resume=True).run == "run-1"

    def test_run_in_use(self) -> None:
        gym_loop.train("run.yaml")
        run = RunDirectory.open("run-1", {"logdir": Path("logs")})
        run.lock()
        with pytest.raises(RunError, match="run run-1 is in use"):
            gym_loop.train("run.yaml", resume=True)
        run.unlock()


def test_record_and_frames_of_training() -> None:
    gym_loop.train("run.yaml", {"loop.parameters.record": 3, "loop.parameters.max_episodes": 4})
    names = sorted(path.name for path in Path("episode_records/run-1").iterdir())
    assert [name[:14] for name in names] == ["episode-000000", "episode-000003"]


@pytest.mark.parametrize("record", [False, True])
def test_window(record: bool) -> None:
    wishes = {"loop.parameters.render": True, "loop.parameters.record": record}
    result = gym_loop.train("run.yaml", {**wishes, "loop.parameters.max_steps": 5})
    assert result.steps == 5
    assert Path("episode_records/run-1").is_dir() is record


def test_window_and_videos_of_periodic_evaluation() -> None:
    wishes = {
        "loop.parameters.eval_render": True,
        "loop.parameters.eval_record": 2,
        "loop.parameters.episodes_per_eval": 1,
        "loop.parameters.max_episodes": 1,
        "loop.parameters.max_episode_len": 5,
    }
    result = gym_loop.train("run.yaml", wishes)
    names = sorted(path.name for path in Path("eval_records/run-1").iterdir())
    assert names == [f"episode-{one:06d}-step-{result.steps:09d}.mp4" for one in (0, 2)]


def test_directories_are_where_the_file_says() -> None:
    places = ("logdir", "checkpoint_dir", "eval_logdir", "record_dir")
    changes: dict[str, Any] = {f"loop.parameters.{name}": f"here/{name}" for name in places}
    changes |= {"loop.parameters.episodes_per_eval": 3, "loop.parameters.record": 3}
    gym_loop.train("run.yaml", changes, name="mine")
    assert sorted(str(path) for path in Path("here").glob("*/*")) == sorted(
        f"here/{name}/mine" for name in places
    )


def test_custom_logger() -> None:
    Path("loggers.py").write_text(
        "from gym_loop.runs.loggers.base import BaseLogger\n"
        "class Lines(BaseLogger):\n"
        "    def log(self, step, scalars, seconds):\n"
        "        with open(self.directory / 'lines.txt', 'a') as file:\n"
        "            file.write(f'{step}\\n')\n"
    )
    gym_loop.train("run.yaml", {"loop.parameters.loggers": ["loggers.py:Lines"]})
    lines = Path("logs/run-1/lines.txt").read_text().split()
    assert lines == [row["step"] for row in rows("run-1")]
    resolved = load_config("logs/run-1/run.yaml")
    assert resolved.loop.parameters["loggers"] == [f"{Path('loggers.py').resolve()}:Lines"]
