"""The commands' output and exit statuses."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium
import pytest

from gym_loop import __version__
from gym_loop.config.run_file import load_config
from gym_loop.schema.printable import short_warning

SMALL = ("--set", "loop.parameters.max_episodes=2", "--seed", "1")


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "gym_loop", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def run_file(workdir: Path) -> Path:
    (workdir / "run.yaml").write_text("env: {name: CartPole-v1}\n")
    return workdir / "run.yaml"


class TestCreateDefault:
    def test_default_file(self, workdir: Path, gym_loop_command: Callable) -> None:
        outcome = gym_loop_command("create-default", "--run-config", "run.yaml")
        assert outcome == (0, "wrote run.yaml; next: gym-loop train -c run.yaml\n", "")
        config = load_config("run.yaml")
        assert config.env.name == "Pendulum-v1"
        assert config.loop.parameters["max_episodes"] == 5
        sections = [
            line for line in (workdir / "run.yaml").read_text().splitlines() if line[:1].isalpha()
        ]
        assert sections == ["agent:", "env:", "loop:", "seed: null"]

    def test_chosen_classes(
        self, workdir: Path, gym_loop_command: Callable, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(workdir))
        (workdir / "my_agent.py").write_text(
            "from gym_loop.agents import BaseAgent\n"
            "class MyAgent(BaseAgent):\n"
            "    @staticmethod\n"
            "    def get_default_parameters():\n"
            "        return {'rate': 0.5}\n"
        )
        options = ("-c", "mine.yaml", "-a", "~/my_agent.py:MyAgent", "-e", "CartPole-v1")
        assert gym_loop_command("create-default", *options).status == 0
        config = load_config("mine.yaml")
        assert config.agent.class_name == "~/my_agent.py:MyAgent"
        assert config.agent.parameters == {"rate": 0.5}
        assert config.env.name == "CartPole-v1"

    def test_environment_that_a_file_registers(
        self, workdir: Path, gym_loop_command: Callable
    ) -> None:
        for number in (1, 2):
            Path(f"envs{number}.py").write_text(
                "import gymnasium\nfrom gymnasium.envs.classic_control import CartPoleEnv\n"
                f"gymnasium.register('SeenNowhereElse-v{number}', CartPoleEnv)\n"
            )
        unknown = gym_loop_command("create-default", "-c", "own.yaml", "-e", "SeenNowhereElse-v1")
        assert (unknown.status, "--import" in unknown.err) == (2, True)
        options = ("-e", "SeenNowhereElse-v1", "--import", "envs1.py", "--import", "envs2.py")
        assert gym_loop_command("create-default", "-c", "own.yaml", *options).status == 0
        env = load_config("own.yaml").env
        assert (env.name, env.imports) == ("SeenNowhereElse-v1", ["envs1.py", "envs2.py"])
        preset = ("--preset", "ppo/CartPole-v1", "--import", "envs1.py")
        refused = gym_loop_command("create-default", "-c", "two.yaml", *preset)
        assert (refused.status, "leave out --import" in refused.err) == (2, True)

    def test_force(self, workdir: Path, gym_loop_command: Callable) -> None:
        (workdir / "run.yaml").write_text("mine")
        assert gym_loop_command("create-default", "-c", "run.yaml", "-f").status == 0
        assert load_config("run.yaml").seed is None


class TestTrain:
    def test_summary_names_the_next_commands(
        self, run_file: Path, gym_loop_command: Callable
    ) -> None:
        outcome = gym_loop_command("train", "-c", "run.yaml", *SMALL)
        assert outcome.status == 0
        assert outcome.out == ""
        assert "run-1 finished: 2 episodes" in outcome.err
        assert "mean return of the last 2:" in outcome.err
        assert "gym-loop evaluate -c run.yaml --run run-1" in outcome.err
        assert "tensorboard --logdir logs" in outcome.err

    def test_json_prints_one_object_and_nothing_else(
        self, run_file: Path, gym_loop_command: Callable
    ) -> None:
        outcome = gym_loop_command("train", "-c", "run.yaml", "--json", *SMALL)
        assert outcome.status == 0
        assert outcome.err == ""
        assert json.loads(outcome.out)["episodes"] == 2
        assert outcome.out.count("\n") == 1

    def test_quiet(self, run_file: Path, gym_loop_command: Callable) -> None:
        assert gym_loop_command("train", "-c", "run.yaml", "-q", *SMALL) == (0, "", "")

    def test_name_and_seed(self, run_file: Path, gym_loop_command: Callable) -> None:
        gym_loop_command("train", "-c", "run.yaml", "--name", "mine", *SMALL)
        manifest = json.loads(Path("logs/mine/manifest.json").read_text())
        assert manifest["seed"] == 1

    @pytest.mark.parametrize("resume", [("--resume",), ("--resume", "run-1"), ("--resume=run-1",)])
    @pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
    def test_resume_with_and_without_a_name(
        self, resume: tuple[str, ...], last: bool, run_file: Path, gym_loop_command: Callable
    ) -> None:
        gym_loop_command("train", "-c", "run.yaml", *SMALL)
        rest = ("-c", "run.yaml", "--set", "loop.parameters.max_episodes=3")
        arguments = (*rest, *resume) if last else (*resume, *rest)
        outcome = gym_loop_command("train", "--json", *arguments)
        assert outcome.status == 0, outcome
        result = json.loads(outcome.out)
        assert (result["run"], result["episodes"]) == ("run-1", 3)


class TestEvaluate:
    def test_table(self, run_file: Path, gym_loop_command: Callable) -> None:
        gym_loop_command("train", "-c", "run.yaml", *SMALL)
        outcome = gym_loop_command("evaluate", "-c", "run.yaml", "--episodes", 3)
        assert outcome.status == 0
        title, header, returns, lengths = outcome.out.splitlines()
        assert title.startswith("3 episodes of run-1, checkpoints/run-1/step-")
        for name in ("mean", "std", "median", "min", "max", "95 % interval of the mean"):
            assert name in header
        assert returns.split()[0] == "return"
        assert lengths.split()[0] == "length"
        assert returns.split()[1:] == lengths.split()[1:]  # CartPole pays one a step

    def test_json(self, run_file: Path, gym_loop_command: Callable) -> None:
        gym_loop_command("train", "-c", "run.yaml", *SMALL)
        outcome = gym_loop_command("evaluate", "-c", "run.yaml", "--json", "--episodes", 2)
        assert outcome.err == ""
        result = json.loads(outcome.out)
        assert result["run"] == "run-1"
        assert len(result["per_episode"]) == result["episodes"] == 2

    def test_untrained(self, run_file: Path, gym_loop_command: Callable) -> None:
        outcome = gym_loop_command("evaluate", "-c", "run.yaml", "--episodes", 1)
        assert outcome.status == 0
        assert outcome.err.count("\n") == 1
        assert "evaluating the untrained agent" in outcome.err
        assert "1 episode of the untrained agent" in outcome.out


class TestCheck:
    def test_good_file(self, run_file: Path, gym_loop_command: Callable) -> None:
        outcome = gym_loop_command("check", "-c", "run.yaml")
        assert outcome.status == 0
        assert all(line.startswith("ok ") for line in outcome.out.splitlines())
        assert [path.name for path in run_file.parent.iterdir()] == ["run.yaml"]

    def test_bad_file(self, run_file: Path, gym_loop_command: Callable) -> None:
        outcome = gym_loop_command("check", "-c", "run.yaml", "--set", "env.nmae=3")
        assert outcome.status == 1
        assert "error" in outcome.out
        assert "--set env.nmae: env.nmae: unknown; did you mean name?" in outcome.out

    def test_agent_outside_its_action_space(
        self, run_file: Path, gym_loop_command: Callable
    ) -> None:
        (run_file.parent / "mine.py").write_text(
            "from gym_loop.agents import BaseAgent\n"
            "class A(BaseAgent):\n"
            "    def act(self, state, episode_num): return 7\n"
        )
        outcome = gym_loop_command("check", "-c", "run.yaml", "--set", "agent.class=mine.py:A")
        assert outcome.status == 1
        assert "the agent's action is not in Discrete(2): 7" in outcome.out

    def test_unsaveable_agent(self, run_file: Path, gym_loop_command: Callable) -> None:
        (run_file.parent / "mine.py").write_text(
            "import threading\n"
            "from gym_loop.agents import BaseAgent\n"
            "class A(BaseAgent):\n"
            "    def __init__(self, **params):\n"
            "        super().__init__(**params)\n"
            "        self.guard = threading.Lock()\n"
            "    def act(self, state, episode_num): return 1\n"
        )
        outcome = gym_loop_command("check", "-c", "run.yaml", "--set", "agent.class=mine.py:A")
        assert outcome.status == 1
        assert "guard" in outcome.out

    def test_one_frame(self, run_file: Path, gym_loop_command: Callable) -> None:
        options = ("--set", "loop.parameters.record=true")
        outcome = gym_loop_command("check", "-c", "run.yaml", *options)
        assert outcome.status == 0
        assert "ok       record: works" in outcome.out


@pytest.mark.parametrize("kind", ["agent", "loop", "env"])
def test_new_trains_and_checks_as_it_is(
    kind: str, workdir: Path, gym_loop_command: Callable
) -> None:
    outcome = gym_loop_command("new", kind, f"my_{kind}.py")
    assert outcome.status == 0
    assert f"next: gym-loop train -c my_{kind}.yaml" in outcome.out
    checked = gym_loop_command("check", "-c", f"my_{kind}.yaml")
    assert checked.status == 0, checked.out
    trained = gym_loop_command("train", "-c", f"my_{kind}.yaml", *SMALL)
    assert trained.status == 0, trained.err
    assert "finished: 2 episodes" in trained.err
    assert "approximate" not in trained.err
    again = gym_loop_command("new", kind, f"my_{kind}.py")
    assert again.status == 2
    assert gym_loop_command("new", kind, f"my_{kind}.py", "--force").status == 0


class TestRuns:
    def test_table_and_json(self, run_file: Path, gym_loop_command: Callable) -> None:
        gym_loop_command("train", "-c", "run.yaml", *SMALL)
        outcome = gym_loop_command("runs")
        assert outcome.status == 0
        for part in ("run-1", "RandomAgent", "CartPole-v1", "finished"):
            assert part in outcome.out
        (found,) = json.loads(gym_loop_command("runs", "logs", "--json").out)["runs"]
        assert (found["run"], found["status"], found["seed"]) == ("run-1", "finished", 1)

    def test_none(self, workdir: Path, gym_loop_command: Callable) -> None:
        assert gym_loop_command("runs").status == 2
        (workdir / "logs").mkdir()
        assert gym_loop_command("runs") == (0, "there are no runs in logs\n", "")


def test_gymnasiums_warnings_are_shown_like_ours() -> None:
    with pytest.warns(UserWarning, match="NaN") as caught:
        gymnasium.logger.warn("The reward is a NaN value.")
    assert short_warning(caught[0].message) == "warning: The reward is a NaN value.\n"
    assert short_warning(caught[0].message) == ""  # it is said at each evaluation


class TestHelp:
    def test_version(self, gym_loop_command: Callable) -> None:
        assert gym_loop_command("--version") == (0, f"gym-loop {__version__}\n", "")

    @pytest.mark.parametrize(
        "command", ["create-default", "train", "evaluate", "check", "new", "runs", "verify-resume"]
    )
    def test_every_command_has_an_example(self, command: str, gym_loop_command: Callable) -> None:
        outcome = gym_loop_command(command, "--help")
        assert outcome.status == 0
        assert f"  gym-loop {command}" in outcome.out

    def test_examples_and_commands(self, gym_loop_command: Callable) -> None:
        outcome = gym_loop_command("--help")
        assert outcome.status == 0
        assert "gym-loop create-default --run-config run.yaml" in outcome.out
        bare = gym_loop_command()
        assert bare.status == 2
        assert outcome.out.strip() == f"{bare.out}{bare.err}".strip()

    def test_completion(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Else the shell that the tests were started from decides.
        monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
        done = run("--show-completion", "bash")
        assert done.returncode == 0
        assert "COMPREPLY" in done.stdout


class TestProcess:
    def test_module_and_exit_status(self, workdir: Path) -> None:
        assert run("--version").stdout == f"gym-loop {__version__}\n"
        done = run("train", "-c", "nope.yaml")
        assert done.returncode == 2
        assert done.stderr.startswith("gym-loop: nope.yaml: there is no such file")
        assert done.stdout == ""

    def test_train_and_evaluate(self, run_file: Path) -> None:
        trained = run("train", "-c", "run.yaml", *SMALL)
        assert trained.returncode == 0, trained.stderr
        assert "Warning" not in trained.stderr
        evaluated = run("evaluate", "-c", "run.yaml", "--json", "--episodes", "2")
        assert evaluated.returncode == 0, evaluated.stderr
        assert json.loads(evaluated.stdout)["episodes"] == 2

    def test_closed_pipe(self, run_file: Path) -> None:
        command = f"{shlex.quote(sys.executable)} -m gym_loop check -c run.yaml | head -c 1"
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
        assert done.stdout == "o"
        assert "Traceback" not in done.stderr
