"""evaluate() as a whole: which agent plays, which episodes, and what is left alone."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import gym_loop
from gym_loop.config.run_file import load_config
from gym_loop.errors import CheckpointMismatchError, CheckpointMissingError, RunError
from tests.small_runs import RUN, checkpoints, manifest, rows, write_files


@pytest.fixture(autouse=True)
def files(workdir: Path) -> None:
    write_files(workdir)


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

    def test_without_a_checkpoint_it_is_refused_and_nothing_is_made(self, workdir: Path) -> None:
        before = {*workdir.iterdir(), workdir / "__pycache__"}
        with pytest.raises(RunError, match=r"there is no run of .*train one first.*--untrained"):
            gym_loop.evaluate("run.yaml")
        assert {*workdir.iterdir()} <= before
        gym_loop.train("run.yaml")
        shutil.rmtree("checkpoints")
        with pytest.raises(CheckpointMissingError, match=r"checkpoints/run-1.*--untrained"):
            gym_loop.evaluate("run.yaml")

    def test_untrained(self, capsys: pytest.CaptureFixture[str]) -> None:
        result = gym_loop.evaluate("run.yaml", untrained=True)
        assert (result.run, result.checkpoint) == (None, None)
        assert capsys.readouterr().err == ""
        assert Path("eval_logs/run-untrained/evaluate-1.json").exists()
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
