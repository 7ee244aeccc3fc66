"""A resume that is refused changes not one byte of the run, and a refused start leaves no run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import gym_loop
from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.errors import GymLoopError
from gym_loop.runs.directory import RunDirectory
from tests.runs.full_disk import largest_file

PPO = {
    "agent": {
        "class": "gym_loop.agents.ppo:PPO",
        "parameters": {"n_steps": 64, "network_parameters": {"hidden": [16]}},
    },
    "env": {"name": "CartPole-v1"},
    "loop": {
        "parameters": {
            "max_episodes": None,
            "max_steps": 178,
            "episodes_per_eval": 3,
            "eval_episodes": 1,
        }
    },
    "seed": 3,
}
FILES = {
    "agent.py": """
from pathlib import Path
from gym_loop.agents import BaseAgent
class Counting(BaseAgent):
    def __init__(self, **params):
        super().__init__(**params)
        if Path("broken-agent").exists():
            raise ValueError("this agent is broken")
        self.acts = 0
    def act(self, state, episode_num):
        self.acts += 1
        return self.acts % 2
""",
    "env.py": """
import gymnasium, numpy, pathlib
class Walk(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-9, 9, (1,), numpy.float32)
    action_space = gymnasium.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if pathlib.Path("broken-env").exists():
            raise RuntimeError("the simulator is gone")
        self.steps = 0
        return numpy.zeros(1, numpy.float32), {}
    def step(self, action):
        self.steps += 1
        return self.np_random.random(1, numpy.float32), 1.0, self.steps == 8, False, {}
gymnasium.register("Walk-v0", Walk)
""",
    "loggers.py": """
from gym_loop.errors import RunError
from gym_loop.runs.loggers.base import BaseLogger
class Unreachable(BaseLogger):
    def __init__(self, directory, run_id, **parameters):
        super().__init__(directory, run_id, **parameters)
        if self.parameters["at"] == "first":
            raise RunError("the package of this logger is missing")
    @staticmethod
    def get_default_parameters():
        return {"at": "start"}
    def start(self, hyperparameters):
        raise RunError("the server of this logger does not answer")
    def log(self, step, scalars, seconds):
        pass
""",
}
RUN = {
    "agent": {"class": "agent.py:Counting"},
    "env": {"name": "Walk-v0", "imports": ["env.py"]},
    "loop": {"parameters": {"max_episodes": 6, "episodes_per_checkpoint": 2}},
    "seed": 3,
}
EARLY = "{class: 'loggers.py:Unreachable', parameters: {at: first}}"
Hash = dict[str, tuple[bytes, int]]


@pytest.fixture(autouse=True)
def files(workdir: Path) -> None:
    for name, text in FILES.items():
        (workdir / name).write_text(text)
    (workdir / "run.yaml").write_text(yaml.safe_dump(RUN))


def everything() -> Hash:
    """Content and time of every file that runs have left."""
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for parent in ("logs", "checkpoints", "eval_logs")
        for path in sorted(Path(parent).rglob("*"))
        if path.is_file()
    }


def refused(*overrides: str, error: type[Exception] = GymLoopError) -> Exception:
    before = everything()
    with pytest.raises(error) as raised:
        gym_loop.train("run.yaml", overrides, resume=True)
    assert everything() == before
    return raised.value


def test_another_network(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.yaml").write_text(yaml.safe_dump(PPO))
    gym_loop.train("run.yaml")
    other = "agent.parameters.network_parameters={hidden: [32]}"
    refused(other, error=Exception)
    assert gym_loop.evaluate("run.yaml", episodes=1).run == "run-1"
    more = gym_loop.train("run.yaml", ["loop.parameters.max_steps=200"], resume=True)
    assert more.steps == 200
    assert "untrained" not in capsys.readouterr().err


def break_part(name: str) -> Callable[[], None]:
    return lambda: Path(f"broken-{name}").touch()


def edit(section: str, **values: Any) -> Callable[[], None]:
    def work() -> None:
        content = yaml.safe_load(Path("run.yaml").read_text())
        content.setdefault(section, {}).update(values)
        Path("run.yaml").write_text(yaml.safe_dump(content))

    return work


def spoil_checkpoints() -> None:
    for path in Path("checkpoints/run-1").glob("step-*/state.json"):
        path.write_bytes(path.read_bytes()[:-30])


def empty_the_checkpoints() -> None:
    for path in Path("checkpoints/run-1").glob("step-*/*"):
        path.unlink()


def forge(change: Callable[[Any], Any]) -> Callable[[], None]:
    """Change the newest state, its checksum and all."""

    def work() -> None:
        store = CheckpointStore(Path("checkpoints/run-1"))
        found = store.newest()
        change(found.tree)
        store.save(found.step, found.tree, found.info)

    return work


def lose_the_run_file() -> None:
    Path("logs/run-1/run.yaml").unlink()


@pytest.mark.parametrize(
    ("work", "overrides"),
    [
        (None, ["env.name=CartPole-v1"]),
        (None, ["agent.class=gym_loop.agents.random_agent:RandomAgent"]),
        (None, ["loop.class=gym_loop.loops.vector_loop:VectorLoop"]),
        (None, ["loop.parameters.max_epsiodes=9"]),
        (None, ["loop.parameters.loggers=['loggers.py:Unreachable']"]),
        (None, [f"loop.parameters.loggers=[{EARLY}]"]),
        (None, ["loop.parameters.loggers=['nothing_of_this_name.logger:Logger']"]),
        (edit("env", max_episode_steps=5), []),
        (edit("env", imports=["env.py", "nothing_of_this_name"]), []),
        (break_part("agent"), []),
        (break_part("env"), []),
        (empty_the_checkpoints, []),
        (spoil_checkpoints, []),
        (forge(lambda tree: tree.update(agent=[1])), []),
        (forge(lambda tree: tree.pop("agent")), []),
        (forge(lambda tree: tree["loop"].clear()), []),
        (forge(lambda tree: tree["environment"].clear()), []),
        (forge(lambda tree: tree["streams"].clear()), []),
        (forge(lambda tree: tree.pop("logs")), []),
        (forge(lambda tree: tree.pop("run")), []),
        (forge(lambda tree: tree["spaces"].pop()), []),
        (lose_the_run_file, []),
    ],
)
def test_not_one_byte_changes(work: Callable[[], None] | None, overrides: list[str]) -> None:
    gym_loop.train("run.yaml", ["loop.parameters.max_episodes=5"])
    if work is not None:
        work()
    refused("loop.parameters.max_episodes=9", *overrides, error=Exception)


def test_a_run_that_another_process_works_on() -> None:
    gym_loop.train("run.yaml")
    run = RunDirectory.open("run-1", {"logdir": Path("logs")})
    run.lock()
    try:
        refused()
    finally:
        run.unlock()


def test_a_full_disk() -> None:
    gym_loop.train("run.yaml")
    with largest_file(200):
        refused("loop.parameters.max_episodes=9")
    assert gym_loop.train("run.yaml", ["loop.parameters.max_episodes=9"], resume=True).episodes == 9


@pytest.mark.parametrize("logger", ["'loggers.py:Unreachable'", EARLY])
def test_a_refused_start_leaves_no_run(logger: str) -> None:
    with pytest.raises(GymLoopError, match="of this logger"):
        gym_loop.train("run.yaml", [f"loop.parameters.loggers=[{logger}]"])
    assert everything() == {}
    assert gym_loop.train("run.yaml").run == "run-1"
    assert json.loads(Path("logs/run-1/manifest.json").read_text())["status"] == "finished"
