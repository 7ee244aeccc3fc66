"""Whoever imports torch, and whenever: its random stream is the run's."""

import csv
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gym_loop.checkpoints import late_imports
from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.checkpoints.tree import first_difference

pytestmark = pytest.mark.needs("torch")

WORLD = """
import gymnasium
import numpy as np

class Late(gymnasium.Env):
    "Imports torch in its constructor, its first reset or its first step, and draws from it."
    observation_space = gymnasium.spaces.Box(-10, 10, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, where):
        self.where, self.weight = where, None
        self._come("init")

    def _come(self, where):
        if where == self.where and self.weight is None:
            import torch
            self.weight = torch.nn.Linear(1, 1).weight.item()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        self._come("reset")
        return np.ones(2, np.float32), {}

    def step(self, action):
        self._come("step")
        import torch
        self.steps += 1
        reward = self.weight + torch.rand(()).item()
        return np.ones(2, np.float32), reward, self.steps > 9, False, {}

gymnasium.register("Late-v0", Late)
"""
RUN = """\
agent: {{class: "gym_loop.agents.random_agent:RandomAgent"}}
env: {{name: Late-v0, imports: [late.py], parameters: {{where: {where}}}}}
loop: {{{loop} episodes_per_eval: 2, eval_episodes: 2}}}}
seed: 5
"""
LOOPS = {
    "default": "parameters: {",
    "async": 'class: "gym_loop.loops.vector_loop:VectorLoop", parameters: {n_envs: 2,'
    " vectorization: async,",
}
LIMITS = {"default": ("max_episodes", 3, 6), "async": ("max_steps", 30, 60)}
TIMES = ("seconds", "train/steps_per_second")


def python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def left_by(run: str) -> tuple[list[Any], Any]:
    with open(f"logs/{run}/metrics.csv", newline="") as file:
        rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]
    tree = CheckpointStore(Path("checkpoints") / run).newest().tree
    return rows, tree


@pytest.mark.parametrize(("loop", "where"), [("default", "step"), ("async", "init")])
def test_torch_imported_late_is_seeded_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop: str, where: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("late.py").write_text(WORLD)
    Path("run.yaml").write_text(RUN.format(where=where, loop=LOOPS[loop]))
    limit, half, whole = LIMITS[loop]
    train = "import gym_loop; gym_loop.train('run.yaml', {"
    key = f"{train}'loop.parameters.{limit}': "
    python(f"{key}{whole}}}, name='fresh')")
    python(f"import torch; torch.rand(3); {key}{whole}}}, name='preloaded')")
    python("import gym_loop; gym_loop.train('logs/fresh/run.yaml', name='again')")
    python(f"{key}{half}}}, name='stopped')")
    python(f"{key}{whole}}}, resume='stopped')")
    rows, tree = left_by("fresh")
    assert len(rows) > 5
    for other in ("preloaded", "again", "stopped"):
        assert left_by(other)[0] == rows, other
        for part in ("environment", "streams"):
            assert first_difference(tree[part], left_by(other)[1][part], other) == ""
    assert "torch" in tree["streams"]


def test_an_import_inside_an_evaluation_leaves_the_training_s_stream_alone() -> None:
    python(
        """
import sys
from gym_loop.agents import BaseAgent
from gym_loop.checkpoints.seeding import *
from gym_loop.checkpoints.tree import first_difference
seed_global_streams(Seeds(3))
before = capture_global_streams()
with isolated(BaseAgent(seed=5), []) as reseed:
    reseed(7)
    assert "torch" not in sys.modules
    import torch
    first = torch.rand(3)
    reseed(7)
    assert torch.equal(torch.rand(3), first)
assert not first_difference(before, capture_global_streams())
ours = "gym_loop.checkpoints.late_imports"
assert not [one for one in sys.meta_path if type(one).__module__ == ours]
begun = torch.Generator().manual_seed(Seeds(3).integer("torch"))
assert torch.equal(torch.rand(3), torch.rand(3, generator=begun))
assert first_difference(before, capture_global_streams())
"""
    )


def test_a_stream_to_come_is_saved_and_restored() -> None:
    python(
        """
from gym_loop.checkpoints.seeding import *
import numpy as np
seed_global_streams(Seeds(3))
waiting = capture_global_streams()
restore_global_streams({**waiting, "torch": np.frombuffer(b"", np.uint8)})
restore_global_streams(waiting)
assert capture_global_streams()["torch_seed"] == Seeds(3).integer("torch")
import torch
torch.rand(5)
state, then = capture_global_streams(), torch.rand(3)
restore_global_streams(state)
assert torch.equal(torch.rand(3), then)
"""
    )


def test_what_waits_for_an_import_is_done_once_and_after_a_failed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "late_one.py").write_text("raise RuntimeError('not yet')")
    done: list[str] = []
    late_imports.when_imported("late_one", lambda: done.append(sys.modules["late_one"].name))
    with pytest.raises(RuntimeError, match="not yet"):
        importlib.import_module("late_one")
    assert not done
    (tmp_path / "late_one.py").write_text("name = 'x'  # loaded at last")
    late_one: Any = importlib.import_module("late_one")

    assert done == ["x"]
    late_imports.when_imported("late_one", lambda: done.append("now"))
    assert done == ["x", "now"]
    monkeypatch.delitem(sys.modules, "late_one")
    assert late_one.__spec__.loader.get_source("late_one").startswith("name")
