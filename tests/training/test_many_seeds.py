"""Many seeds: each run as if it were alone, and none that stops another."""

import csv
import json
import math
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gym_loop
from gym_loop.checkpoints.seeding import Seeds
from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.checkpoints.tree import first_difference
from gym_loop.cli.output import seeds_summary
from gym_loop.config.run_file import load_config
from gym_loop.errors import ConfigError, SeedsFailedError, UsageError
from gym_loop.runs.results import EpisodeResult, EvaluationResult, TrainingResult, write_evaluation
from gym_loop.training.many_seeds import SeedOutcome, SeedsResult, check_seeds, parse_seeds
from gym_loop.training.run_worker import described, history
from gym_loop.training.verify import TIME_COLUMNS
from tests.signalling import begin
from tests.waiting import wait_for

LEARNING = {
    "agent": {
        "class": "gym_loop.agents.ppo:PPO",
        "parameters": {"n_steps": 16, "batch_size": 32, "n_epochs": 2},
    },
    "env": {"name": "CartPole-v1"},
    "loop": {
        "class": "gym_loop.loops.vector_loop:VectorLoop",
        "parameters": {"n_envs": 4, "max_steps": 300, "episodes_per_eval": 4, "eval_episodes": 2},
    },
}
# Seeds 1 and 2 come to a bad end.
FATED = f"""
import os, signal, sys
from gym_loop.agents import BaseAgent
class Fated(BaseAgent):
    def act(self, state, episode_num):
        return 0
    def update(self, episode_num):
        if self.parameters["seed"] == {Seeds(1).integer("agent")}:
            raise ValueError("boom\\nand more")
        if self.parameters["seed"] == {Seeds(2).integer("agent")}:
            os.kill(os.getpid(), signal.SIGKILL)
        if episode_num == 0:
            print("input:", repr(sys.stdin.read()))
"""
SLOW = """
import pathlib, time
from gym_loop.agents import BaseAgent
class Slow(BaseAgent):
    @staticmethod
    def get_default_parameters():
        return {"hang": 0.0}
    def __init__(self, **params):
        super().__init__(**params)
        self.updates = 0
    def act(self, state, episode_num):
        return self.updates % 2
    def update(self, episode_num):
        self.updates += 1
        if self.updates == 5:
            pathlib.Path(f"training-{self.parameters['seed']}").touch()
            time.sleep(self.parameters["hang"])
        time.sleep(0.001)
"""


def run_file(agent: str, cls: str, steps: int) -> None:
    Path("agent.py").write_text(agent)
    Path("run.yaml").write_text(
        f"agent: {{class: 'agent.py:{cls}'}}\nenv: {{name: CartPole-v1}}\n"
        f"loop: {{parameters: {{max_episodes: null, max_steps: {steps}}}}}\n"
    )


def manifest(run: str, logs: str = "logs") -> dict[str, Any]:
    return dict(json.loads(Path(logs, run, "manifest.json").read_text()))


def runs_by_seed() -> dict[int, str]:
    return {manifest(path.name)["seed"]: path.name for path in Path("logs").iterdir()}


class TestSeeds:
    @pytest.mark.parametrize(
        ("text", "seeds"),
        [
            ("0..3", [0, 1, 2, 3]),
            ("0,7,3", [0, 7, 3]),
            ("1..3,8", [1, 2, 3, 8]),
            ("5", [5]),
            (" 2 .. 3 , 4294967295 ", [2, 3, 4294967295]),
        ],
    )
    def test_read(self, text: str, seeds: list[int]) -> None:
        assert parse_seeds(text) == seeds

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("", "'' is neither a seed nor a range"),
            ("0..", "'0..' is neither"),
            ("1-3", "'1-3' is neither"),
            ("-1", "'-1' is neither"),
            ("[0, 1]", "'\\[0' is neither"),
            ("1,,2", "'' is neither"),
            ("3..1", "3..1 runs down; write 1..3"),
            ("1..3,2", "the seed 2 is given twice"),
            ("0..10000", "0..10000 is more than 10,000 seeds"),
            ("0..5999,6000..12000", "12,001 seeds; give from 1 to 10,000"),
        ],
    )
    def test_refused(self, text: str, problem: str) -> None:
        with pytest.raises(UsageError, match=f"^--seeds {re.escape(text)}: {problem}"):
            parse_seeds(text)

    def test_no_seeds_and_no_such_seed(self) -> None:
        with pytest.raises(UsageError, match="seeds: 0 seeds; give from 1"):
            check_seeds([])
        with pytest.raises(ConfigError, match="--seeds 4294967296: 4294967296 is not a seed"):
            parse_seeds("4294967296")

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            (("--seeds", "0..1", "--seed", "3"), "--seed 3 and --seeds exclude each other"),
            (("--seeds", "0..1", "--name", "mine"), "--name mine and --seeds exclude each other"),
            (("--seeds", "0..1", "--resume", "run-3"), "--resume run-3 is one run"),
            (("--seeds", "0..1", "--set", "seed=3"), "seed was set beside the file"),
            (("--seeds", "0..1", "--jobs", "0"), "--jobs 0 is too small"),
            (("--jobs", "2"), "--jobs 2 needs --seeds"),
            (("--seeds", "0..x"), "'0..x' is neither"),
            (("--seeds", "0..1", "--set", "loop.parameters.max_step=1"), "did you mean max_steps"),
        ],
    )
    def test_options_that_do_not_fit(
        self,
        options: tuple[str, ...],
        problem: str,
        workdir: Path,
        gym_loop_command: Callable[..., Any],
    ) -> None:
        run_file(SLOW, "Slow", 10)
        outcome = gym_loop_command("train", "-c", "run.yaml", *options)
        assert outcome.status == 2
        assert problem in outcome.err
        assert not Path("logs").exists()

    def test_arguments_that_do_not_fit(self) -> None:
        with pytest.raises(UsageError, match="seed, name, and a run to resume are for one"):
            gym_loop.train(LEARNING, seeds=[0], name="mine")  # type: ignore[call-overload]
        with pytest.raises(UsageError, match="give seeds as well"):
            gym_loop.train(LEARNING, jobs=2)  # type: ignore[call-overload]


def test_each_run_is_what_its_seed_alone_gives(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["mine.py", "--fast"])
    many = gym_loop.train(LEARNING, seeds=[7, 3], jobs=2)
    assert [manifest(one.run)["seed"] for one in many] == [7, 3]
    assert {one.run for one in many} == {"run-1", "run-2"}
    directories = {
        f"loop.parameters.{name}": f"alone-{name}" for name in ("logdir", "checkpoint_dir")
    }
    for one in many:
        seed = manifest(one.run)["seed"]
        alone = gym_loop.train(LEARNING, directories, seed=seed, name=one.run)
        assert (one.steps, one.episodes) == (alone.steps, alone.episodes)
        assert one.mean_return == alone.mean_return
        assert one.best_evaluation == alone.best_evaluation is not None
        assert differences(one, alone) == []
        facts, expected = manifest(one.run), manifest(alone.run, "alone-logdir")
        assert facts["command"] == expected["command"] == ["mine.py", "--fast"]
        assert facts["overrides"] == {"seed": seed}


def differences(one: TrainingResult, other: TrainingResult) -> list[str]:
    """What two runs left that is not equal: arrays bit for bit, state, logged values."""
    points = [CheckpointStore(run.directories["checkpoint_dir"]).newest() for run in (one, other)]
    for point in points:
        del point.tree["run"]["seconds"], point.tree["logs"]
    difference = first_difference(points[0].tree, points[1].tree)
    found = [difference] if difference else []
    rows = [logged(run.directories["logdir"]) for run in (one, other)]
    return found if rows[0] == rows[1] else [*found, "metrics.csv"]


def logged(logs: Path) -> list[dict[str, str]]:
    with open(logs / "metrics.csv", newline="") as file:
        return [
            {name: value for name, value in row.items() if name not in TIME_COLUMNS}
            for row in csv.DictReader(file)
        ]


def test_a_process_is_told_the_very_config(workdir: Path) -> None:
    run_file(SLOW, "Slow", 10)
    config = load_config(
        "run.yaml",
        {
            "env.wrappers": [{"class": "gymnasium.wrappers:TimeAwareObservation"}],
            "env.max_episode_steps": 7,
            "agent.parameters.hang": 1e-17,
        },
    )
    bare = described(config.to_yaml(), str(config.path), list(config.overridden))
    told = load_config(bare, {"seed": 5})
    assert told == load_config(config, {"seed": 5})
    assert told.agent.cls.__name__ == "Slow"


def test_a_run_that_fails_stops_no_other_and_all_can_go_on(
    workdir: Path, gym_loop_command: Callable[..., Any]
) -> None:
    run_file(FATED, "Fated", 60)
    status, out, _ = gym_loop_command("train", "-c", "run.yaml", "--seeds", "0..2", "--json")
    told = json.loads(out)
    assert status == 1
    assert [one["status"] for one in told["seeds"]] == ["finished", "failed", "failed"]
    assert [one["seed"] for one in told["seeds"]] == [0, 1, 2]
    assert told["seeds"][0]["steps"] == 60
    assert told["return"]["mean"] == told["seeds"][0]["mean_return"]
    assert told["evaluation"] is None
    assert [one["error"] for one in told["seeds"]] == [
        None,
        "ValueError: boom",
        "its process was killed by SIGKILL",
    ]
    runs = runs_by_seed()
    assert runs == {one["seed"]: one["run"] for one in told["seeds"]}
    assert manifest(runs[1])["status"] == "failed"
    # Whatever was wrong is repaired: the same runs go on, one from its start.
    run_file(FATED.replace("raise ValueError", "str").replace("os.kill", "max"), "Fated", 60)
    many = gym_loop.train("run.yaml", seeds=range(3), resume=True)
    assert [one.run for one in many] == [runs[0], runs[1], runs[2]]
    assert [(one.exit_reason, one.steps) for one in many] == [("finished", 60)] * 3


def test_what_a_run_writes_is_shown_with_its_id(
    workdir: Path, gym_loop_command: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run_file(FATED, "Fated", 60)
    outcome = gym_loop_command("train", "-c", "run.yaml", "--seeds", "0,1", "--jobs", "1")
    assert outcome.status == 1
    assert outcome.out == ""
    lines = outcome.err.splitlines()
    assert "run-1: input: ''" in lines
    assert "run-1: seed 0 finished, 1 of 2" in lines
    assert "run-2: seed 1 failed: ValueError: boom" in lines
    assert "run-2: resume with gym-loop train -c run.yaml --resume run-2" in lines
    assert any(line.startswith("0     run-1  finished     60") for line in lines)
    assert "seed 1 failed: ValueError: boom" in lines
    assert "  resume:    gym-loop train -c run.yaml --seeds 0,1 --resume" in lines
    with pytest.raises(SeedsFailedError, match=r"^seed 1: ValueError: boom$") as failed:
        gym_loop.train("run.yaml", seeds=[1])
    assert failed.value.results == []
    assert "warning: training failed at step 0: ValueError: boom" in capsys.readouterr().err


def test_an_evaluation_that_is_no_number_is_read_back(workdir: Path) -> None:
    result = EvaluationResult([EpisodeResult(0, math.nan, 3)])
    path = Path("evals/run-1/step-000000003.json")
    assert write_evaluation(path, result, pytest.fail)
    (one,) = history("run-1", {"eval_logdir": Path("evals")})
    assert math.isnan(one["eval/return_mean"])
    assert one["steps"] == 3


def test_the_summary_of_seeds_that_finished() -> None:
    def outcome(seed: int, value: float) -> SeedOutcome:
        result = TrainingResult(f"run-{seed}", "finished", 9, 1000, 2.04, value, None)
        return SeedOutcome(seed, result.run, result, evaluation=value + 1)

    result = SeedsResult([outcome(0, 10.0), outcome(1, 20.0)])
    assert seeds_summary(result, Path("run.yaml"), "0..1").splitlines() == [
        "seed  run    status    steps  return(100)  evaluation  seconds",
        "0     run-0  finished  1,000         10.0        11.0      2.0",
        "1     run-1  finished  1,000         20.0        21.0      2.0",
        "return(100), mean of 2 seeds: 15.0, 95 % interval 10.0 to 20.0",
        "evaluation, mean of 2 seeds: 16.0, 95 % interval 11.0 to 21.0",
    ]


class TestSignals:
    def start(self, hang: float = 0.0) -> "subprocess.Popen[str]":
        """Two of three seeds train, in two processes, and have made their first steps."""
        run_file(SLOW, "Slow", 100_000)
        command = [sys.executable, "-m", "gym_loop", "train", "-c", "run.yaml", "--seeds", "0..2"]
        command += ["--jobs", "2", "--set", f"agent.parameters.hang={hang}"]
        process = begin(command, stderr=subprocess.PIPE)
        wait_for(lambda: len(list(Path().glob("training-*"))) == 2 or process.poll() is not None)
        return process

    @pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_every_run_saves_and_says_how_it_goes_on(
        self, signum: signal.Signals, status: int, workdir: Path
    ) -> None:
        with self.start() as process:
            process.send_signal(signum)
            _, err = process.communicate(timeout=60)
        assert process.returncode == status
        assert "Traceback" not in err
        assert sorted(runs_by_seed()) == [0, 1]
        for run in runs_by_seed().values():
            facts = manifest(run)
            assert (facts["status"], facts["exit_reason"]) == ("stopped", signum.name)
            assert Path("checkpoints", run, f"step-{facts['steps']:09d}").is_dir()
            assert f"{run}: resume with gym-loop train -c run.yaml --resume {run}\n" in err
        assert "\n2            not begun\n" in err
        assert "  resume:    gym-loop train -c run.yaml --seeds 0..2 --resume\n" in err

    def test_the_second_ends_them_at_once(self, workdir: Path) -> None:
        with self.start(hang=60.0) as process:
            process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):  # the steps under way come first
                process.wait(0.3)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in err
        assert [manifest(run)["status"] for run in runs_by_seed().values()] == ["killed"] * 2

    def test_runs_stop_when_nobody_is_left_to_ask_them_to(self, workdir: Path) -> None:
        with self.start() as process:
            process.kill()
        wait_for(
            lambda: {manifest(run)["status"] for run in runs_by_seed().values()} == {"stopped"}
        )
