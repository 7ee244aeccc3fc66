"""A run that repeats another one belongs to the same run file."""

import json
from pathlib import Path

import pytest

import gym_loop
from gym_loop.runs.manifest import read_manifest
from gym_loop.runs.origin import stem
from tests.small_runs import AGENTS, RUN

FILE = RUN.replace("seed: 11", "seed: null")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("agents.py").write_text(AGENTS)
    Path("my_agent.yaml").write_text(FILE)
    gym_loop.train("my_agent.yaml", {"agent.parameters.spread": 0.2})
    return tmp_path


def test_the_run_belongs_to_the_file_of_the_run_that_it_repeats(place):
    again = gym_loop.train("logs/my_agent-1/run.yaml", {"loop.parameters.keep_checkpoints": 5})
    assert again.run == "my_agent-2"
    facts = read_manifest(Path("logs/my_agent-2/manifest.json"))
    assert facts["config"] == str(place / "my_agent.yaml")
    assert facts["overrides"] == {
        "agent.parameters.spread": 0.2,
        "loop.parameters.keep_checkpoints": 5,
    }
    # So it is the newest run of that file, which describes it.
    assert gym_loop.evaluate("my_agent.yaml", episodes=1).run == "my_agent-2"
    longer = {"loop.parameters.max_episodes": 8}
    assert gym_loop.train("my_agent.yaml", longer, resume=True).run == "my_agent-2"
    assert gym_loop.train("logs/my_agent-2/run.yaml").run == "my_agent-3"
    # A run's own file still means that run.
    assert gym_loop.evaluate("logs/my_agent-1/run.yaml", episodes=1).run == "my_agent-1"


def test_another_class_inherits_no_parameter(place):
    gym_loop.train("logs/my_agent-1/run.yaml", {"agent": {"class": "agents.py:Classic"}})
    overrides = read_manifest(Path("logs/my_agent-2/manifest.json"))["overrides"]
    assert [*overrides] == ["agent"]


def test_seeds_of_a_run_again(place):
    many = gym_loop.train("logs/my_agent-1/run.yaml", seeds=[3, 4], jobs=1)
    assert [one.run for one in many] == ["my_agent-2", "my_agent-3"]
    again = gym_loop.train("logs/my_agent-1/run.yaml", seeds=[3, 4], jobs=1, resume=True)
    assert [one.run for one in again] == ["my_agent-2", "my_agent-3"]


def test_what_is_moved_together_belongs_to_the_moved_file(place):
    together = place / "moved"
    together.mkdir()
    for name in ("agents.py", "my_agent.yaml", "logs", "checkpoints"):
        (place / name).rename(together / name)
    gym_loop.train(together / "logs/my_agent-1/run.yaml", name="mine")
    facts = read_manifest(place / "logs/mine/manifest.json")
    assert facts["config"] == str(together / "my_agent.yaml")


def test_stems(tmp_path):
    run = tmp_path / "run-7" / "run.yaml"
    run.parent.mkdir()
    assert stem(None) == "run"
    assert stem(run.with_name("my.agent.yaml")) == "my.agent"
    assert stem(run) == "run", "it may well be a file of the user"
    for facts, expected in (
        ({"config": None, "run": "run-7"}, "run"),
        ({"config": "/far/away/my_agent.yaml", "run": "run-7"}, "my_agent"),
        ({"config": "", "run": "run-7"}, "run"),
        ({"name": "a web page's"}, "run"),
    ):
        run.with_name("manifest.json").write_text(json.dumps(facts))
        assert stem(run) == expected
    made_in_python = run.parent.rename(tmp_path / "walker-12") / "run.yaml"
    made_in_python.with_name("manifest.json").write_text('{"config": null, "run": "walker-12"}')
    assert stem(made_in_python) == "walker"
