"""Files that cannot be written, were moved, copied in part, or have names that few would choose."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest

import gym_loop
from gym_loop.checkpoints import files as checkpoint_files
from gym_loop.errors import CheckpointMissingError, ConfigError, RunError
from gym_loop.runs import directory as directory_module
from gym_loop.sweeps.records import SweepDirectory

Command = Callable[..., Any]
RUN = """\
env: {name: CartPole-v1}
loop: {parameters: {max_episodes: 2, eval_episodes: 1}}
seed: 3
"""
LONG = 300 * "x"


@pytest.fixture(autouse=True)
def files(workdir: Path) -> None:
    Path("run.yaml").write_text(RUN)
    Path("file").write_text("")


@pytest.fixture
def trained() -> Path:
    """The logs of a finished run."""
    gym_loop.train("run.yaml")
    return Path("logs/run-1")


class TestNamesThatAreTooLong:
    @pytest.mark.parametrize(
        "command",
        [
            ("train", "-c", f"{LONG}.yaml"),
            ("train", "-c", "run.yaml", "--name", LONG),
            ("train", "-c", "run.yaml", "--resume", LONG),
            ("train", "-c", "run.yaml", "--set", f"loop.parameters.logdir={LONG}"),
            ("evaluate", "-c", "run.yaml", "--run", LONG),
            ("create-default", "-c", f"{LONG}.yaml"),
            ("new", "agent", f"{LONG}.py"),
            ("report", "-o", f"{LONG}.html"),
            ("runs", LONG),
        ],
        ids=" ".join,
    )
    def test_are_one_line(self, command: tuple[str, ...], gym_loop_command: Command) -> None:
        status, out, err = gym_loop_command(*command)
        assert (status, out) == (2, "")
        assert err.startswith("gym-loop: ")
        assert err.count("\n") == 1

    def test_an_error_of_the_user_s_own_keeps_its_traceback(
        self, gym_loop_command: Command
    ) -> None:
        Path("mine.py").write_text(
            "from gym_loop.agents import BaseAgent\n"
            "class Reader(BaseAgent):\n"
            "    def act(self, state, episode_num):\n"
            f"        open('{LONG}')\n"
        )
        status, _, err = gym_loop_command(
            "evaluate", "-c", "run.yaml", "--untrained", "--set", "agent.class=mine.py:Reader"
        )
        assert status == 1
        assert 'mine.py", line 4, in act' in err


class TestResultsThatCannotBeWritten:
    @pytest.mark.parametrize("place", ["file/below", LONG])
    def test_an_evaluation_is_shown_and_the_status_says_so(
        self, place: str, trained: Path, gym_loop_command: Command
    ) -> None:
        status, out, err = gym_loop_command(
            "evaluate", "-c", "run.yaml", "--set", f"loop.parameters.eval_logdir={place}"
        )
        assert status == 1
        assert out.startswith("1 episode of run-1")
        assert "make room, or choose another loop.parameters.eval_logdir" in err

    def test_a_video_as_well(self, trained: Path, gym_loop_command: Command) -> None:
        place = "loop.parameters.eval_record_dir=file/below"
        status, out, err = gym_loop_command(
            "evaluate", "-c", "run.yaml", "--record", "--set", place
        )
        assert status == 1
        assert out.startswith("1 episode of run-1")
        assert "no video file/below/run-1/" in err
        assert "videos:" not in err

    def test_the_last_checkpoint_of_a_training_as_well(
        self, gym_loop_command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(checkpoint_files, "write_files", full)
        status, _, err = gym_loop_command("train", "-c", "run.yaml")
        assert status == 1
        assert "could not be written to checkpoints/run-1 (No space left" in err
        assert "run-1 finished" in err

    def test_a_run_is_not_resumed_where_it_cannot_be_kept(self, trained: Path) -> None:
        before = (trained / "manifest.json").read_text()
        Path("eval_records").write_text("")
        with pytest.raises(RunError, match=r"eval_records is no directory; make it writable, or"):
            gym_loop.train("run.yaml", resume=True)
        assert (trained / "manifest.json").read_text() == before

    def test_many_seeds_are_refused_once(self, gym_loop_command: Command) -> None:
        place = "loop.parameters.logdir=file"
        command = ("train", "-c", "run.yaml", "--seeds", "0..9", "--set", place)
        status, _, err = gym_loop_command(*command)
        assert (status, err.count("is no directory; choose another"), err.count("\n")) == (2, 1, 1)

    def test_a_sweep_is_not_begun_where_it_cannot_be_kept(self) -> None:
        Path("sweeps").write_text("")
        with pytest.raises(RunError, match=r"sweeps is no directory; begin the sweep in another"):
            SweepDirectory.create("sweep", None, {})

    def test_somebody_else_s_runs_are_listed(
        self, trained: Path, gym_loop_command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def read_only(path: Path, mode: str, **options: Any) -> Any:
            if mode != "rb":
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return open(path, mode, **options)

        monkeypatch.setattr(directory_module, "open", read_only, raising=False)
        assert "run-1  finished" in gym_loop_command("runs").out


class TestCheckpointsThatAreNotThere:
    @pytest.mark.parametrize(
        ("place", "why"),
        [("checkpoints", "there is no such directory"), ("checkpoints/run-1", "there is none")],
    )
    def test_a_run_that_had_some_is_not_begun_again(
        self, place: str, why: str, trained: Path
    ) -> None:
        shutil.rmtree(place)
        Path("checkpoints" if place != "checkpoints" else "elsewhere", "run-1").mkdir(parents=True)
        before = (trained / "metrics.csv").read_text()
        with pytest.raises(CheckpointMissingError, match=why):
            gym_loop.train("run.yaml", resume=True)
        assert (trained / "metrics.csv").read_text() == before

    def test_they_may_not_be_read(self, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shutil.rmtree("checkpoints/run-1")
        Path("checkpoints/run-1").symlink_to("run-1")  # leads nowhere, as a lost disk does
        with pytest.raises(CheckpointMissingError, match="it cannot be read"):
            gym_loop.evaluate("run.yaml", run="run-1")


class TestCopies:
    def test_a_copied_tree_knows_its_runs(
        self, trained: Path, monkeypatch: pytest.MonkeyPatch, gym_loop_command: Command
    ) -> None:
        shutil.copytree(".", "copy")
        monkeypatch.chdir("copy")
        assert gym_loop.evaluate("run.yaml").run == "run-1"
        longer = {"loop.parameters.max_episodes": 3}
        assert gym_loop.train("run.yaml", longer, resume=True).run == "run-1"
        (result,) = gym_loop.train("run.yaml", longer, seeds=[3], resume=True)
        assert result.run == "run-1"
        assert gym_loop_command("report", "run.yaml").status == 0

    @pytest.mark.parametrize(
        "damage", [b"\xff\xfe\x00", b"\0\0\0", b"inf,inf\n", b'"1,2\n' + bytes(200_000)]
    )
    def test_damaged_metrics_do_not_hide_the_other_runs(
        self, damage: bytes, trained: Path, gym_loop_command: Command
    ) -> None:
        shutil.copytree(trained, "logs/run-2")
        with open("logs/run-2/metrics.csv", "ab") as file:
            file.write(damage)
        lines = gym_loop_command("runs").out.splitlines()
        assert [line.split()[:2] for line in lines[1:]] == [
            [run, "finished"] for run in ("run-1", "run-2")
        ]

    @pytest.mark.parametrize("keep", [True, False], ids=["copied", "moved"])
    def test_agents_and_environments_of_one_s_own_go_along(
        self, keep: bool, workdir: Path, monkeypatch: pytest.MonkeyPatch, gym_loop_command: Command
    ) -> None:
        project = Path("project")
        project.mkdir()
        monkeypatch.chdir(project)
        for kind in ("agent", "env"):
            gym_loop_command("new", kind, f"my_{kind}.py")
        shorter = {"agent.class": "my_agent.py:MyAgent", "loop.parameters.max_episodes": 2}
        gym_loop.train("my_env.yaml", shorter)
        monkeypatch.chdir(workdir)
        (shutil.copytree if keep else shutil.move)("project", "elsewhere")
        monkeypatch.chdir("elsewhere")
        del gymnasium.registry["MyEnv-v0"]  # as in another process
        for run_file, episodes in (("my_env.yaml", 3), ("logs/my_env-1/run.yaml", 4)):
            result = gym_loop.train(
                run_file, {"loop.parameters.max_episodes": episodes}, resume=True
            )
            assert (result.run, result.episodes) == ("my_env-1", episodes)
        assert str(workdir / "project") not in Path("logs/my_env-1/run.yaml").read_text()
        assert gym_loop.evaluate("my_env.yaml", episodes=1).run == "my_env-1"
        del gymnasium.registry["MyEnv-v0"]

    def test_logs_alone_still_name_the_files_where_they_are(
        self, workdir: Path, gym_loop_command: Command
    ) -> None:
        gym_loop_command("new", "agent", "my_agent.py")
        gym_loop.train("my_agent.yaml", {"loop.parameters.max_episodes": 2})
        Path("archive").mkdir()
        shutil.move("logs", "archive/logs")
        config = gym_loop.load_config("archive/logs/my_agent-1/run.yaml")
        assert config.agent.class_name == f"{workdir}/my_agent.py:MyAgent"

    def test_a_file_of_the_same_name_elsewhere_is_another(self, trained: Path) -> None:
        Path("other").mkdir()
        other = Path("other/run.yaml")
        shutil.copy("run.yaml", other)
        with pytest.raises(RunError, match="or name one of those there, such as run-1"):
            gym_loop.train(other, resume=True)

    @pytest.mark.parametrize("kept", [0, 200])
    def test_a_run_file_that_was_cut_off_is_not_believed(
        self, kept: int, trained: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = (trained / "run.yaml").read_text()
        end = text.index("\n", kept) if kept else 0
        (trained / "run.yaml").write_text(text[:end])
        with pytest.raises(ConfigError, match=r"logs/run-1/run.yaml: is cut off; copy it once"):
            gym_loop.train("run.yaml", resume=True)
        assert gym_loop.evaluate("run.yaml").run == "run-1"
        assert "its own run file cannot be used" in capsys.readouterr().err


def test_commands_that_are_offered_can_be_pasted(gym_loop_command: Command) -> None:
    _, out, _ = gym_loop_command("create-default", "-c", "my run.yaml")
    assert out.endswith("gym-loop train -c 'my run.yaml'\n")
    _, out, _ = gym_loop_command("new", "agent", "my agent.py")
    assert out.endswith("gym-loop train -c 'my agent.yaml'\n")
    _, _, err = gym_loop_command("train", "-c", "my run.yaml")
    assert "gym-loop evaluate -c 'my run.yaml' --run 'my run-1'" in err


def test_a_checkpoint_alone_is_named_by_its_path(trained: Path, gym_loop_command: Command) -> None:
    (checkpoint,) = Path("checkpoints/run-1").iterdir()
    shutil.copytree(checkpoint, "received")
    shutil.rmtree("logs")
    _, out, _ = gym_loop_command("evaluate", "-c", "run.yaml", "--checkpoint", "received")
    assert out.startswith("1 episode of received\n")
    assert json.loads(Path("eval_logs/run-untrained/evaluate-1.json").read_text())["run"] is None


class TestHomesThatAreNotKnown:
    @pytest.mark.parametrize(
        "command",
        [
            ("train", "-c", "~nobody-at-all/run.yaml"),
            ("train", "-c", "run.yaml", "--set", "loop.parameters.logdir=~nobody-at-all/logs"),
            ("train", "-c", "run.yaml", "--set", "agent.class=~nobody-at-all/agent.py:Mine"),
            ("evaluate", "-c", "run.yaml", "--checkpoint", "~nobody-at-all/step-1"),
            ("new", "agent", "~nobody-at-all/agent.py"),
            ("report", "-o", "~nobody-at-all/report.html"),
            ("report", "~nobody-at-all/logs"),
            ("sweep", "-c", "run.yaml", "-s", "~nobody-at-all/sweep.yaml"),
            ("serve", "http", "--config", "~nobody-at-all/serve.yaml"),
        ],
        ids=" ".join,
    )
    def test_are_one_line(
        self, command: tuple[str, ...], trained: Path, gym_loop_command: Command
    ) -> None:
        status, _, err = gym_loop_command(*command)
        assert status == 2
        assert "~nobody-at-all" in err.splitlines()[-1]
        assert "Traceback" not in err


class TestNamesThatAreNoText:
    """A byte that is not UTF-8, in the names of directories and files."""

    @pytest.fixture
    def place(self, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        made = workdir / os.fsdecode(b"d\xe9")
        made.mkdir()
        monkeypatch.chdir(made)
        (made / os.fsdecode(b"r\xe9n.yaml")).write_text("agent: {class: own.py:Own}\n" + RUN)
        (made / "own.py").write_text(
            "from gym_loop.agents.random_agent import RandomAgent\nclass Own(RandomAgent): ...\n"
        )
        return made / os.fsdecode(b"r\xe9n.yaml")

    def test_train_resume_evaluate(self, place: Path, gym_loop_command: Command) -> None:
        trained = gym_loop_command("train", "-c", place)
        assert trained.status == 0, trained.err
        assert "TensorBoard" not in trained.err
        (logs,) = Path("logs").iterdir()
        more = ("--set", "loop.parameters.max_episodes=3")
        resumed = gym_loop_command("train", "-c", place, "--resume", *more)
        assert resumed.status == 0, resumed.err
        assert gym_loop_command("evaluate", "-c", place).status == 0
        assert gym_loop_command("check", "-c", place).status == 0
        listed = gym_loop_command("runs")
        assert listed.status == 0
        assert "\\udce9n-1" in listed.out
        assert gym_loop_command("train", "-c", logs / "run.yaml").status == 0

    @pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
    def test_a_terminal_that_cannot_show_them(self, place: Path, encoding: str) -> None:
        gym_loop.train(place)
        command = [sys.executable, "-m", "gym_loop", "runs"]
        done = subprocess.run(
            command, env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"n-1  finished" in done.stdout


@pytest.mark.parametrize("command", [("evaluate", "-c", "run.yaml"), ("runs",), ("runs", "--json")])
def test_an_output_that_is_full_is_one_line(command: tuple[str, ...], trained: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gym_loop", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("gym-loop: ")]
    assert said == [f"gym-loop: the output cannot be written: {os.strerror(errno.ENOSPC)}"]
    assert "Traceback" not in done.stderr
