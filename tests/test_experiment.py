import csv
import errno
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gym_loop
from gym_loop.config import load_config
from gym_loop.errors import CheckpointMismatchError, ConfigError, RunError
from gym_loop.runs.directory import RunDirectory, is_running
from gym_loop.runs.manifest import read_manifest

RUN = """\
agent: {class: "agents.py:Wobbly"}
env: {name: CartPole-v1}
loop: {parameters: {max_episodes: 6, episodes_per_checkpoint: 2, eval_episodes: 3}}
seed: 11
"""
AGENTS = """
import random
import numpy as np
from gym_loop.agents import BaseAgent
from gym_loop.errors import SpaceError

class Wobbly(BaseAgent):
    "Draws from every random stream, so that a stream that is not seeded shows."
    @staticmethod
    def get_default_parameters():
        return {"spread": 0.1}
    def __init__(self, **params):
        super().__init__(**params)
        self.calls = {"memorize": 0, "update": 0}
        self.weights = self.rng.normal(size=4)
    def act(self, state, episode_num):
        noise = random.random() + np.random.rand() + self.rng.random() - 1.5
        noise += 0.01 * self.parameters["action_space"].sample()
        return int(self.weights @ state + (noise if self.training else 0) > 0)
    def memorize(self, last_ob, action, reward, done, ob):
        self.calls["memorize"] += 1
    def update(self, episode_num):
        self.calls["update"] += 1
        self.weights += self.parameters["spread"] * self.rng.normal(size=4)
    def metrics(self, episode_num):
        return {"weight": self.weights[0]}

class Classic(BaseAgent):
    "Exactly the five methods of the contract."
    @staticmethod
    def get_default_parameters():
        return {"rate": 1}
    def act(self, state, episode_num):
        return self.parameters["action_space"].sample()
    def memorize(self, last_ob, action, reward, done, ob):
        self.last = (last_ob, action, reward, done, ob)
    def update(self, episode_num):
        assert self.last[3] in (True, False)
    def __init__(self, **params):
        super().__init__()
        self.parameters = self.get_default_parameters()
        self.parameters.update(params)

class Failing(Wobbly):
    def update(self, episode_num):
        super().update(episode_num)
        if self.calls["update"] == 30:
            raise KeyError("on purpose")

class Refusing(Wobbly):
    def act(self, state, episode_num):
        if episode_num == 1:
            raise SpaceError("this observation is beyond me")
        return super().act(state, episode_num)

class Tuples(Classic):
    @staticmethod
    def get_default_parameters():
        return {"layers": (64, 64), "rate": np.float64(0.5)}

class Unsaveable(Failing):
    def __init__(self, **params):
        super().__init__(**params)
        self.file = open(__file__)
    def __del__(self):
        self.file.close()
"""
TIMES = ("seconds", "train/steps_per_second")


@pytest.fixture(autouse=True)
def files(workdir: Path) -> None:
    (workdir / "agents.py").write_text(AGENTS)
    (workdir / "run.yaml").write_text(RUN)


def rows(run: str) -> list[dict[str, str]]:
    """The rows of a run's metrics.csv, without what is time."""
    with open(f"logs/{run}/metrics.csv", newline="") as file:
        return [
            {name: value for name, value in row.items() if name not in TIMES}
            for row in csv.DictReader(file)
        ]


def manifest(run: str) -> dict[str, Any]:
    return read_manifest(Path(f"logs/{run}/manifest.json"))


def checkpoints(run: str) -> list[str]:
    return sorted(path.name for path in Path(f"checkpoints/{run}").glob("step-*"))


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
            "events", "lock", "manifest", "metrics", "run",
        ]  # fmt: skip
        assert not is_running(Path("logs/run-1"))
        json.dumps(result.as_dict())

    def test_manifest(self) -> None:
        result = gym_loop.train("run.yaml")
        found = manifest("run-1")
        assert found["status"] == found["exit_reason"] == "finished"
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


class TestFailedTraining:
    def test_is_marked_saved_and_raised(self) -> None:
        with pytest.raises(KeyError, match="on purpose"):
            gym_loop.train("run.yaml", {"agent.class": "agents.py:Failing"})
        found = manifest("run-1")
        assert found["status"] == found["exit_reason"] == "failed"
        assert found["traceback"].splitlines()[-1] == "KeyError: 'on purpose'"
        assert 'raise KeyError("on purpose")' in found["traceback"]
        assert found["steps"] == 29  # whole steps
        assert checkpoints("run-1")[-1] == "step-000000029"
        assert not is_running(Path("logs/run-1"))

    def test_of_an_agent_that_cannot_be_saved(self, capsys: pytest.CaptureFixture[str]) -> None:
        parameters = {
            "agent.class": "agents.py:Unsaveable",
            "loop.parameters.episodes_per_checkpoint": None,
        }
        with pytest.raises(KeyError, match="on purpose"):
            gym_loop.train("run.yaml", parameters)
        assert manifest("run-1")["status"] == "failed"
        assert "KeyError" in manifest("run-1")["traceback"]
        err = capsys.readouterr().err
        assert err.count("no checkpoint can be saved: file: a _io:TextIOWrapper is no data") == 1
        assert manifest("run-1")["resume"]["verdict"] == "impossible"

    def test_of_an_environment(self) -> None:
        Path("envs.py").write_text(
            "import gymnasium\n"
            "class Breaks(gymnasium.Wrapper):\n"
            "    def step(self, action):\n"
            "        self.count = getattr(self, 'count', 0) + 1\n"
            "        if self.count == 40: raise OSError('the simulator is gone')\n"
            "        return self.env.step(action)\n"
        )
        with pytest.raises(OSError, match="the simulator is gone"):
            gym_loop.train("run.yaml", {"env.wrappers": ["envs.py:Breaks"]})
        assert manifest("run-1")["status"] == "failed"
        assert checkpoints("run-1")[-1] == "step-000000039"

    def test_exit_status(self, gym_loop_command: Callable) -> None:
        outcome = gym_loop_command(
            "train", "-c", "run.yaml", "--set", "agent.class=agents.py:Failing"
        )
        assert outcome.status == 1
        assert "training failed at step 29: KeyError: 'on purpose'" in outcome.err
        assert "Traceback (most recent call last)" in outcome.err

    def test_by_an_error_of_ours_is_no_bad_input(self, gym_loop_command: Callable) -> None:
        options = ("--set", "agent.class=agents.py:Refusing")
        outcome = gym_loop_command("train", "-c", "run.yaml", *options)
        assert outcome.status == 1
        assert "this observation is beyond me" in outcome.err
        assert manifest("run-1")["status"] == "failed"

    def test_does_not_stand_in_the_way_of_the_next(self) -> None:
        with pytest.raises(KeyError):
            gym_loop.train("run.yaml", {"agent.class": "agents.py:Failing"})
        assert gym_loop.train("run.yaml").run == "run-2"


class TestEvaluate:
    def test_a_trained_agent(self) -> None:
        trained = gym_loop.train("run.yaml")
        result = gym_loop.evaluate("run.yaml")
        assert result.run == "run-1"
        assert result.checkpoint == str(trained.checkpoint)
        assert len(result.episodes) == 3
        assert [one.episode_return for one in result.episodes] == [
            one.length for one in result.episodes
        ]
        assert gym_loop.evaluate("run.yaml").episodes == result.episodes

    def test_any_episode_can_be_replayed(self) -> None:
        gym_loop.train("run.yaml")
        result = gym_loop.evaluate("run.yaml", episodes=4)
        written = json.loads(Path("eval_logs/run-1/evaluate-1.json").read_text())
        assert written == json.loads(json.dumps(result.as_dict()))
        assert list(written) == ["run", "checkpoint", "episodes", "return", "length", "per_episode"]
        assert list(written["return"]) == ["mean", "std", "median", "min", "max", "ci95"]
        assert [list(one) for one in written["per_episode"]] == 4 * [["seed", "return", "length"]]
        fewer = gym_loop.evaluate("run.yaml", episodes=2)
        assert list(fewer.episodes) == list(result.episodes)[:2]
        assert Path("eval_logs/run-1/evaluate-2.json").is_file()

    def test_leaves_the_run_alone(self) -> None:
        gym_loop.train("run.yaml")
        before = {path: path.read_bytes() for path in Path().rglob("*run-1/**/*") if path.is_file()}
        before = {path: data for path, data in before.items() if "eval_logs" not in path.parts}
        gym_loop.evaluate("run.yaml")
        assert {path: path.read_bytes() for path in before} == before
        assert manifest("run-1")["status"] == "finished"

    def test_neither_memorize_nor_update(self, monkeypatch: pytest.MonkeyPatch) -> None:
        gym_loop.train("run.yaml")
        cls: Any = load_config("run.yaml").agent.cls

        def forbidden(*_: Any) -> None:
            raise AssertionError("called in evaluation")

        for method in ("memorize", "update", "observe"):
            monkeypatch.setattr(cls, method, forbidden)
        assert gym_loop.evaluate("run.yaml").returns.mean > 0

    def test_untrained_says_so_in_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        result = gym_loop.evaluate("run.yaml")
        assert (result.run, result.checkpoint) == (None, None)
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "evaluating the untrained agent" in err
        assert not Path("logs").exists()
        assert not Path("checkpoints").exists()

    def test_seeds(self) -> None:
        gym_loop.train("run.yaml")
        seeds = [one.seed for one in gym_loop.evaluate("run.yaml").episodes]
        other = [one.seed for one in gym_loop.evaluate("run.yaml", seed=12).episodes]
        assert len(set(seeds + other)) == 6

    def test_run_checkpoint_and_path(self) -> None:
        gym_loop.train("run.yaml", {"loop.parameters.episodes_per_eval": 2})
        gym_loop.train("run.yaml", seed=12)
        assert gym_loop.evaluate("run.yaml").run == "run-2"
        assert gym_loop.evaluate("run.yaml", run="run-1").run == "run-1"
        best = gym_loop.evaluate("run.yaml", run="run-1", checkpoint="best")
        assert best.checkpoint is not None
        path = Path("checkpoints/run-1") / checkpoints("run-1")[0]
        result = gym_loop.evaluate("run.yaml", checkpoint=path)
        assert (result.run, result.checkpoint) == ("run-1", str(path))
        with pytest.raises(RunError):
            gym_loop.evaluate("run.yaml", run="run-2", checkpoint="best")

    def test_the_best_is_what_was_evaluated_best(self) -> None:
        trained = gym_loop.train(
            "run.yaml",
            {"loop.parameters.episodes_per_eval": 1, "loop.parameters.max_episodes": 12},
        )
        steps = [row["step"] for row in rows("run-1") if row["eval/return_mean"]]
        means = [float(row["eval/return_mean"]) for row in rows("run-1") if row["eval/return_mean"]]
        step = int(steps[means.index(max(means))])
        best = gym_loop.evaluate("run.yaml", checkpoint="best")
        assert best.checkpoint == f"checkpoints/run-1/step-{step:09d}"
        assert trained.best_evaluation == max(means)

    def test_agent_of_the_run_is_used(self, capsys: pytest.CaptureFixture[str]) -> None:
        gym_loop.train("run.yaml", {"agent.parameters.spread": 0.5})
        gym_loop.evaluate("run.yaml")  # what --set said belongs to the run
        assert capsys.readouterr().err == ""
        text = RUN.replace("}\nenv", ", parameters: {spread: 0.7}}\nenv")
        Path("run.yaml").write_text(text)
        gym_loop.train("run.yaml")
        Path("run.yaml").write_text(RUN)
        gym_loop.evaluate("run.yaml", run="run-2")
        assert "agent.parameters.spread: run-2 was trained with other values" in (
            capsys.readouterr().err
        )

    def test_checkpoint_that_does_not_fit(self) -> None:
        gym_loop.train("run.yaml", {"agent.class": "agents.py:Classic"})
        with pytest.raises(CheckpointMismatchError, match="observation_space was Box"):
            gym_loop.evaluate(
                "run.yaml", {"agent.class": "agents.py:Classic", "env.name": "FrozenLake-v1"}
            )

    def test_record(self) -> None:
        gym_loop.train("run.yaml")
        gym_loop.evaluate("run.yaml", episodes=2, record=True)
        assert len(list(Path("eval_records/run-1").glob("*.mp4"))) == 2


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
def test_window(record: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    wishes = {"loop.parameters.render": True, "loop.parameters.record": record}
    result = gym_loop.train("run.yaml", {**wishes, "loop.parameters.max_steps": 5})
    assert result.steps == 5
    assert Path("episode_records/run-1").is_dir() is record


def test_window_and_videos_of_periodic_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
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
    changes = {f"loop.parameters.{name}": f"here/{name}" for name in places}
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
