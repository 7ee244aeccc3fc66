"""Trainings that can save nothing: refused at the start, or wanted so, or said at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import gym_loop
from gym_loop.agents import BaseAgent
from gym_loop.agents.dqn import DQN
from gym_loop.agents.ppo import PPO
from gym_loop.agents.random_agent import RandomAgent
from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.config.class_checks import learns_nothing
from gym_loop.errors import ConfigError, StateError, UsageError
from gym_loop.training.check import check
from tests.small_runs import checkpoints, manifest, write_files

GROWS = """
import gymnasium, numpy
class Grows(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-9, 9, (1,), numpy.float32)
    action_space = gymnasium.spaces.Discrete(2)
    def __init__(self):
        self.steps = 0
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.random(1, numpy.float32), {}
    def step(self, action):
        self.steps += 1
        if self.steps == 70:
            self.pipe = open(__file__)
        return self.np_random.random(1, numpy.float32), 1.0, self.steps % 20 == 0, False, {}
    def close(self):
        if hasattr(self, "pipe"):
            self.pipe.close()
gymnasium.register("Grows-v0", Grows)
"""
NONE = {"loop.parameters.checkpoint_dir": None}


@pytest.fixture(autouse=True)
def files(workdir: Path) -> None:
    write_files(workdir)


class TestRefused:
    @pytest.mark.parametrize(
        ("agent", "reason"),
        [
            ("Unsaveable", r"file: a _io:TextIOWrapper is no data.*override state_dict"),
            ("Late", r"state_dict\(\) raised AttributeError.*before the first step.*__init__"),
        ],
    )
    def test_at_the_start_with_what_to_write(self, workdir: Path, agent: str, reason: str) -> None:
        before = {*workdir.iterdir(), workdir / "__pycache__"}
        with pytest.raises(StateError, match=rf"{reason}.*`checkpoint_dir: null`"):
            gym_loop.train("run.yaml", {"agent.class": f"agents.py:{agent}"})
        assert {*workdir.iterdir()} <= before

    def test_the_check_finds_it(self) -> None:
        agent = {"agent.class": "agents.py:Unsaveable"}
        assert [one.subject for one in check("run.yaml", agent) if one.level == "error"] == [
            "agent state", "agent state after it",
        ]  # fmt: skip
        assert all(one.level != "error" for one in check("run.yaml", {**agent, **NONE}))

    def test_a_run_that_starts_over(self) -> None:
        gym_loop.train("run.yaml")
        for path in Path("checkpoints/run-1").iterdir():
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
        (Path("logs/run-1/manifest.json")).write_text('{"status": "running", "run": "run-1"}')
        text = Path("logs/run-1/run.yaml").read_text()
        Path("logs/run-1/run.yaml").write_text(text.replace("Wobbly", "Late"))
        Path("run.yaml").write_text(Path("run.yaml").read_text().replace("Wobbly", "Late"))
        with pytest.raises(StateError, match="no checkpoint could be saved"):
            gym_loop.train("run.yaml", resume="run-1")
        assert Path("logs/run-1/metrics.csv").exists()


class TestWithoutCheckpoints:
    def test_trains_and_says_why_it_can_do_no_more(
        self, gym_loop_command: Callable, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = ("--set", "loop.parameters.checkpoint_dir=null")
        outcome = gym_loop_command("train", "-c", "run.yaml", *options)
        assert outcome.status == 0
        assert "checkpoint_dir is null" in outcome.err
        assert "gym-loop evaluate" not in outcome.err
        assert not Path("checkpoints").exists()
        assert manifest("run-1")["resume"]["verdict"] == "impossible"
        for command in (("evaluate",), ("train", "--resume"), ("watch",)):
            name, *more = command
            for overrides in (options, ()):  # the run's own file says it as well
                refused = gym_loop_command(name, "-c", "run.yaml", *more, *overrides)
                assert refused.status == 2
                assert "run-1 has no checkpoints" in refused.err
                assert refused.err.count("\n") == 1

    def test_what_cannot_be_saved_is_trained(self) -> None:
        class_name = {"agent.class": "agents.py:Late"}
        assert gym_loop.train("run.yaml", {**class_name, **NONE}).complete

    def test_it_trains_the_same(self) -> None:
        with_them, without = gym_loop.train("run.yaml"), gym_loop.train("run.yaml", NONE)
        assert with_them.mean_return == without.mean_return
        assert without.checkpoint is None

    def test_a_sweep_needs_them(self) -> None:
        from gym_loop.sweeps.sweeping import read

        Path("sweep.yaml").write_text("parameters: {agent.parameters.spread: [0.1]}\n")
        with pytest.raises(ConfigError, match=r"checkpoint_dir: is null, but a sweep"):
            read("run.yaml", "sweep.yaml", NONE)

    def test_an_agent_that_learns_nothing_is_evaluated(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        agent = {"agent.class": "gym_loop.agents.random_agent:RandomAgent"}
        gym_loop.train("run.yaml", {**agent, **NONE})
        assert gym_loop.evaluate("run.yaml", {**agent, **NONE}).run is None
        assert "learns nothing" in capsys.readouterr().err


class TestUnsaveableLater:
    """What could be saved at the start, and cannot be at the end."""

    def test_ends_with_1_and_says_so_last(self, gym_loop_command: Callable) -> None:
        agent = "agent.class=agents.py:UnsaveableLater"
        outcome = gym_loop_command("train", "-c", "run.yaml", "--set", agent)
        assert outcome.status == 1
        assert outcome.err.count("no checkpoint can be saved any more: agent.log: ") == 1
        *_, last = outcome.err.splitlines()
        (newest,) = checkpoints("run-1")[-1:]
        assert "the end of run-1 was not saved" in last
        assert newest in last
        assert CheckpointStore(Path("checkpoints/run-1")).newest().info["episode"] < 6

    def test_where_there_is_none_at_all(self, gym_loop_command: Callable) -> None:
        options = (
            "agent.class=agents.py:UnsaveableLater", "loop.parameters.episodes_per_checkpoint=null",
        )  # fmt: skip
        sets = [word for one in options for word in ("--set", one)]
        outcome = gym_loop_command("train", "-c", "run.yaml", "--quiet", *sets)
        assert outcome.status == 1
        assert "no checkpoint at all" in outcome.err.splitlines()[-1]
        assert gym_loop_command("evaluate", "-c", "run.yaml").status == 2

    def test_of_many_seeds(self, gym_loop_command: Callable) -> None:
        options = ("--seeds", "1,2", "--set", "agent.class=agents.py:UnsaveableLater")
        outcome = gym_loop_command("train", "-c", "run.yaml", *options)
        assert outcome.status == 1
        assert all("was not saved" in line for line in outcome.err.splitlines()[-2:])

    def test_an_environment(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("envs.py").write_text(GROWS)
        env = {"env.name": "Grows-v0", "env.imports": ["envs.py"]}
        sized = {**env, "agent.class": "gym_loop.agents.random_agent:RandomAgent"}
        result = gym_loop.train("run.yaml", sized)
        said = capsys.readouterr().err
        assert said.count("begins a new episode") == 1
        assert result.complete
        assert result.checkpoint is not None
        assert manifest("run-1")["resume"]["verdict"] == "approximate"
        assert gym_loop.evaluate("run.yaml", sized, episodes=1).run == "run-1"
        more = {**sized, "loop.parameters.max_episodes": 8}
        assert gym_loop.train("run.yaml", more, resume=True).episodes == 8


class Seeded(BaseAgent):
    """As the first README has it."""

    def __init__(self, **params):
        super().__init__()
        self.parameters = params  # type: ignore[assignment]

    def act(self, state, episode_num):
        return 0

    def memorize(self, last_ob, action, reward, done, ob):
        pass

    def update(self, episode_num):
        """Nothing."""


class Learning(Seeded):
    def memorize(self, last_ob, action, reward, done, ob):
        self.last = reward


class Watching(Seeded):
    def observe(self, transition):
        print(transition)


def test_which_agents_learn_nothing() -> None:
    assert [one for one in (BaseAgent, RandomAgent, Seeded) if not learns_nothing(one)] == []
    assert [one for one in (Learning, Watching, PPO, DQN) if learns_nothing(one)] == []


def test_the_untrained_agent_is_no_runs() -> None:
    with pytest.raises(UsageError, match="--untrained"):
        gym_loop.evaluate("run.yaml", untrained=True, run="run-1")
    with pytest.raises(UsageError, match="--untrained"):
        gym_loop.evaluate("run.yaml", untrained=True, checkpoint="best")
