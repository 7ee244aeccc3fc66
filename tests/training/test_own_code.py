"""The user's own files are part of the run: kept, compared, and used again."""

import hashlib
import importlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import gym_loop
from gym_loop.config.run_file import load_config
from gym_loop.errors import RunError, UsageError
from gym_loop.report.comparing import comparison_text
from gym_loop.report.writing import compare, comparison_page
from gym_loop.runs.code import read_copies
from gym_loop.runs.manifest import read_manifest
from gym_loop.schema.own_files import carried
from gym_loop.training.verify import verify_resume

HILL = """
import numpy as np
from pathlib import Path
import gymnasium as gym
from gym_loop.agents import BaseAgent
from hill_helper import sign
from hill_parts.inner import SCALE

class Hill(BaseAgent):
    def __init__(self, **params):
        super().__init__(**params)
        self.weights = self.rng.normal(size=(4, 2))
        self.noise = float(Path(__file__).with_name("noise.txt").read_text())
    def act(self, state, episode_num):
        return int(np.argmax(sign * SCALE * state @ self.weights))
    def memorize(self, last_ob, action, reward, done, ob):
        if done:
            from hill_late import step
            self.weights += step * self.noise * self.rng.normal(size=(4, 2))
    def update(self, episode_num): pass

class Told(gym.Wrapper):
    pass
"""
RUN = """\
agent: {class: "hill.py:Hill"}
env: {name: HillPole-v0, imports: [envs/hill.py], wrappers: ["hill.py:Told"]}
loop: {parameters: {max_episodes: 12, episodes_per_checkpoint: 5}}
seed: 3
"""
FILES = {
    "hill.yaml": RUN,
    "hill.py": HILL,
    "noise.txt": "0.5",
    "hill_helper.py": "sign = 1\n",
    "hill_late.py": "step = 1.0\n",
    "hill_parts/__init__.py": "from . import deeper\n",
    "hill_parts/inner.py": "from .deeper import SCALE\n",
    "hill_parts/deeper/__init__.py": "SCALE = 1.0\n",
    "hill_parts/unused.py": "raise RuntimeError\n",
    # The same name as the agent's, in another directory.
    "envs/hill.py": """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv
class HillPole(CartPoleEnv):
    pass
gymnasium.register("HillPole-v0", HillPole, max_episode_steps=60)
""",
}
KEPT = {
    "hill.py", "hill_helper.py", "hill_late.py", "envs/hill.py", "hill_parts/__init__.py",
    "hill_parts/inner.py", "hill_parts/deeper/__init__.py",
}  # fmt: skip


def command(*arguments: object, status: int = 0) -> str:
    """Run gym-loop in a process of its own; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "gym_loop", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def rows(run: str) -> list[list[str]]:
    lines = [line.split(",") for line in Path(f"logs/{run}/metrics.csv").read_text().splitlines()]
    left_out = [at for at, name in enumerate(lines[0]) if "second" in name]
    return [[cell for at, cell in enumerate(line) if at not in left_out] for line in lines]


def code_of(run: str) -> dict[str, str]:
    place = Path("logs", run, "code")
    found = [path for path in place.rglob("*") if path.is_file()]
    return {path.relative_to(place).as_posix(): path.read_text() for path in found}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project with one run, `hill-1`, made by another process."""
    place = tmp_path_factory.mktemp("own") / "project"
    for name, text in FILES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    before = Path.cwd()
    os.chdir(place)
    try:
        command("train", "-c", "hill.yaml")
    finally:
        os.chdir(before)
    return place


@pytest.fixture
def place(project, tmp_path, monkeypatch) -> Path:
    """A copy of the project, to be changed."""
    place = tmp_path / "project"
    shutil.copytree(project, place)
    for name in ("run.yaml", "manifest.json"):
        path = place / "logs/hill-1" / name
        path.write_text(path.read_text().replace(str(project), str(place)))
    monkeypatch.chdir(place)
    return place


def edit(file: str, before: str, after: str) -> None:
    text = Path(file).read_text()
    assert before in text
    Path(file).write_text(text.replace(before, after))


def test_every_file_that_is_imported_is_kept_and_no_other(place):
    assert {name: text for name, text in FILES.items() if name in KEPT} == code_of("hill-1")
    assert read_manifest(Path("logs/hill-1/manifest.json"))["code"].keys() == KEPT


def test_argmin_for_argmax_is_said_and_the_same_run_is_trained_again(place):
    asked = ("evaluate", "-c", "hill.yaml", "--episodes", "3", "--json")
    before = command(*asked)
    assert "differs from" not in before
    edit("hill.py", "argmax", "argmin")  # as long as before, in the same second, it may be
    edit("hill_helper.py", "1", "-10")
    said = command(*asked)
    assert "hill.py, hill_helper.py differ from what hill-1 was trained with" in said
    with_copies = command(*asked, "--code", "run")
    assert json.loads(with_copies)["return"] == json.loads(before)["return"]

    said = command("train", "-c", "logs/hill-1/run.yaml")
    assert "the code is that of hill-1: the copies in logs/hill-1/code" in said
    assert rows("hill-2") == rows("hill-1")
    assert code_of("hill-2") == code_of("hill-1")
    same = [Path(f"logs/hill-{number}/code/hill.py").stat().st_ino for number in (1, 2)]
    assert same[0] == same[1]

    longer = ("--set", "loop.parameters.max_episodes=14", "--resume", "hill-1")
    said = command("train", "-c", "hill.yaml", *longer)
    assert "hill.py, hill_helper.py differ from what hill-1 was trained with" in said
    assert "argmin" in code_of("hill-1")["hill.py"]
    (before_resume,) = Path("logs/hill-1").glob("code-until-step-*")
    assert "argmax" in (before_resume / "hill.py").read_text()
    said = command("compare", "hill-1", "hill-2")
    assert "-        return int(np.argmin(" in said
    assert "+        return int(np.argmax(" in said
    assert "hill-1 was trained with other code first: code-until-step-" in said


def test_the_copies_do_without_the_files_and_move_with_the_run(place, monkeypatch):
    kept = code_of("hill-1")
    before = rows("hill-1")
    elsewhere = place.parent / "elsewhere"
    elsewhere.mkdir()
    for name in ("logs", "checkpoints", "hill.yaml"):
        shutil.move(name, elsewhere / name)
    monkeypatch.chdir(elsewhere)
    shutil.rmtree(place)
    # Data is not kept: it is looked for beside the original, or where that would be now.
    assert "noise.txt" in command("train", "-c", "logs/hill-1/run.yaml", status=2)
    Path("noise.txt").write_text(FILES["noise.txt"])
    command("train", "-c", "logs/hill-1/run.yaml")
    assert rows("hill-2") == before
    assert code_of("hill-2") == kept
    assert command("evaluate", "-c", "hill.yaml", "--code", "run", "--episodes", "1")


def test_resume_and_proof_with_the_copies(place):
    for name in KEPT:
        Path(name).write_text("raise RuntimeError('the copies do without it')\n")
    said = command(
        "train", "-c", "hill.yaml", "--resume", "--code", "run",
        "--set", "loop.parameters.max_episodes=13",
    )  # fmt: skip
    assert "resumed" in said
    assert "differ" not in said
    assert code_of("hill-1")["hill.py"] == HILL
    assert verify_resume("hill.yaml", steps=60, code="run").identical
    assert "ok" in command("check", "-c", "logs/hill-1/run.yaml")
    many = gym_loop.train("logs/hill-1/run.yaml", seeds=[3, 4], jobs=2)
    assert sorted(one.run for one in many) == ["hill-2", "hill-3"]
    links = [Path(f"logs/hill-{number}/code/hill.py").stat().st_ino for number in (1, 2, 3)]
    assert len(set(links)) == 1
    with pytest.raises(gym_loop.errors.GymLoopError, match="RuntimeError"):
        load_config("logs/hill-1/run.yaml", code=False)


def test_files_and_copies_of_one_process_are_kept_apart(place, capsys):
    edit("hill.py", "argmax", "argmin")
    for _ in range(2):
        gym_loop.train("hill.yaml")
        gym_loop.train("logs/hill-1/run.yaml", quiet=False)
        assert "the code is that of hill-1" in capsys.readouterr().err
    assert rows("hill-2") == rows("hill-4") != rows("hill-1")
    assert rows("hill-3") == rows("hill-5") == rows("hill-1")
    assert "argmin" in code_of("hill-4")["hill.py"]
    assert "argmax" in code_of("hill-5")["hill.py"]
    edit("hill.py", "argmin", "argmax")
    gym_loop.train("hill.yaml")
    said = capsys.readouterr().err
    assert "hill.py: edited after it was imported here, and used as it was before" in said
    assert rows("hill-6") == rows("hill-2")
    assert "argmin" in code_of("hill-6")["hill.py"], "the copy is what was loaded"


def test_a_file_that_is_edited_while_the_run_trains(place):
    edit(
        "hill.py",
        "        if done:\n",
        "        if done:\n            Path(__file__).write_text('')\n",
    )
    loaded = Path("hill.py").read_text()
    command("train", "-c", "hill.yaml")
    assert Path("hill.py").read_text() == ""
    assert code_of("hill-2")["hill.py"] == loaded


def test_what_is_imported_in_a_way_that_no_one_can_read(place):
    edit("hill.py", "from hill_late import step", "step = __import__('hill_' + 'late').step")
    command("train", "-c", "hill.yaml")
    assert code_of("hill-2").keys() == KEPT


def test_packages_by_name_links_and_files_that_may_only_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    agent = "from gym_loop.agents.random_agent import RandomAgent\nfrom .tools import noisy\n"
    for name, text in {
        "rl_lab/agents/mine.py": f"{agent}class Mine(RandomAgent):\n    loud = noisy\n",
        "rl_lab/agents/tools.py": "noisy = False  # ä\n",
        "rl_lab/nets.py": "# coding: latin-1\nname = 'é'\n",
        "other/wrap.py": "import gymnasium\nclass Wrap(gymnasium.Wrapper): pass\n",
    }.items():
        path = tmp_path / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("latin-1" if "coding" in text else "utf-8"))
        path.chmod(0o444)
    monkeypatch.chdir(tmp_path / "work")
    Path("linked.py").symlink_to("other/wrap.py")
    Path("runs").mkdir()
    Path("runs/lab.yaml").write_text(
        "agent: {class: 'rl_lab.agents.mine:Mine'}\n"
        "env: {name: CartPole-v1, wrappers: ['../linked.py:Wrap']}\n"
        "loop: {parameters: {max_episodes: 2}}\n"
    )
    command("train", "-c", "runs/lab.yaml")
    assert code_of("lab-1").keys() == {
        "_/rl_lab/agents/mine.py", "_/rl_lab/agents/tools.py", "_/other/wrap.py",
    }  # fmt: skip
    for name in ("rl_lab", "other"):
        shutil.move(name, tmp_path / name)
    command("train", "-c", "logs/lab-1/run.yaml")
    assert rows("lab-2") == rows("lab-1")
    assert code_of("lab-2") == code_of("lab-1")


def test_runs_of_classes_of_ours_keep_nothing(place):
    gym_loop.train({"env": {"name": "CartPole-v1"}, "loop": {"parameters": {"max_episodes": 1}}})
    assert not Path("logs/run-1/code").exists()
    with pytest.raises(RunError, match="run-1 has kept no code"):
        gym_loop.evaluate("hill.yaml", run="run-1", code="run")
    with pytest.raises(UsageError, match="write run or files"):
        gym_loop.train("hill.yaml", code="mine")
    with pytest.raises(RunError, match="there is no run nothing"):
        gym_loop.evaluate("hill.yaml", run="nothing", code="run")


def test_what_compare_says_of_code(place):
    shutil.copytree("logs/hill-1", "logs/hill-2")
    changed = HILL.replace("argmax", "argmin") + "# \x1b[31m <b>\n"
    copy = Path("logs/hill-2/code/hill.py")
    copy.unlink()
    copy.write_text(changed)
    path = Path("logs/hill-2/manifest.json")
    facts = json.loads(path.read_text())
    facts["code"]["hill.py"]["sha256"] = hashlib.sha256(changed.encode()).hexdigest()
    path.write_text(json.dumps({**facts, "run": "hill-2"}))
    found = compare("hill-1", "hill-2")
    assert found.as_dict()["code"].keys() == {"hill.py"}
    text = comparison_text(found, plots=False)
    assert "what differs in their code (A -> B): hill.py" in text
    assert "\x1b" not in text
    page = comparison_page(found, Path("page.html")).read_text()
    assert "argmin" in page
    assert "&lt;b&gt;" in page


def test_another_process_takes_the_copies_along(place):
    make = partial(importlib.import_module, "hill_helper")
    with load_config("logs/hill-1/run.yaml").code_in_use():
        Path("carried").write_bytes(pickle.dumps(carried(make)))
    assert carried(make) is make
    edit("hill_helper.py", "1", "2")
    code = (
        "import pickle; one = pickle.load(open('carried', 'rb'))(); print(one.sign, one.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(gym_loop.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["1", str(place / "hill_helper.py")], done.stderr


class TestRunsOfStrangers:
    def forge(self, **entry: object) -> None:
        path = Path("logs/hill-1/manifest.json")
        facts = json.loads(path.read_text())
        name = entry.pop("name", "hill.py")
        facts["code"][name] = {**facts["code"]["hill.py"], **entry}
        path.write_text(json.dumps(facts))

    def test_evaluating_a_checkpoint_runs_no_code_of_the_run(self, place):
        trap = Path("logs/hill-1/code/hill.py")
        trap.unlink()
        trap.write_text("raise RuntimeError('it was run')\n")
        command("evaluate", "-c", "hill.yaml", "--episodes", "1")
        command("train", "-c", "hill.yaml", "--resume")
        said = command("evaluate", "-c", "hill.yaml", "--code", "run", status=2)
        assert "hill.py is not the copy that hill-1 kept" in said

    @pytest.mark.parametrize("name", ["../../../hill.py", "/etc/hostname.py", "hill.txt", ""])
    def test_names_that_lead_out_are_no_copies(self, place, name):
        self.forge(name=name)
        copies = read_copies(Path("logs/hill-1"))
        assert copies is not None
        assert name not in copies.files

    def test_links_and_pipes_are_no_copies(self, place):
        copy = Path("logs/hill-1/code/hill_helper.py")
        copy.unlink()
        copy.symlink_to(place / "hill_helper.py")
        with pytest.raises(RunError, match="is no file of its own"):
            read_copies(Path("logs/hill-1"))
        copy.unlink()
        os.mkfifo(copy)
        with pytest.raises(RunError, match="is no file of its own"):
            read_copies(Path("logs/hill-1"))
        shutil.move("logs/hill-1/code", "moved")
        Path("logs/hill-1/code").symlink_to(place / "moved")
        with pytest.raises(RunError, match="is no file of its own"):
            read_copies(Path("logs/hill-1"))
        Path("logs/hill-1/code").unlink()
        with pytest.raises(RunError, match="cannot be read"):
            read_copies(Path("logs/hill-1"))

    def test_forged_entries_are_passed_over(self, place):
        self.forge(modules="hill", path="/nowhere/hill.py")
        copies = read_copies(Path("logs/hill-1"))
        assert copies is not None
        assert list(copies.files["hill.py"].modules) == []
        self.forge(path=5)
        copies = read_copies(Path("logs/hill-1"))
        assert copies is not None
        assert "hill.py" not in copies.files
        facts = json.loads(Path("logs/hill-1/manifest.json").read_text())
        Path("logs/hill-1/manifest.json").write_text(json.dumps({**facts, "code": [5]}))
        assert read_copies(Path("logs/hill-1")) is None
