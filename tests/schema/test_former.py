"""Environments of the old Gym and of PettingZoo are refused in one sentence, by every command."""

from collections.abc import Callable
from pathlib import Path

import pytest

ENVS = '''
import gymnasium, numpy as np

SPACES = {
    "observation_space": gymnasium.spaces.Box(-1, 1, (2,), np.float32),
    "action_space": gymnasium.spaces.Discrete(2),
}
HERE = np.zeros(2, np.float32)

class Good(gymnasium.Env):
    observation_space, action_space = SPACES.values()
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return HERE, {}
    def step(self, action):
        return HERE, 1.0, True, False, {}

class NoSeed(Good):
    def reset(self):
        return HERE, {}
class NoOptions(Good):
    def reset(self, seed=None):
        return HERE, {}
class Bare(Good):
    def reset(self, *, seed=None, options=None):
        return HERE
class BareOfThree(Good):
    observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    def reset(self, *, seed=None, options=None):
        return np.zeros(3, np.float32)
class Four(Good):
    def step(self, action):
        return HERE, 1.0, True, {}
class Nothing(Good):
    def step(self, action):
        pass
class Mistaken(Good):
    def step(self, action):
        first, second = 1, 2, 3

class Parallel:
    """As PettingZoo's ParallelEnv looks."""
    metadata = {"name": "many"}
    possible_agents = ["one", "other"]
    def __init__(self, num_envs=1, render_mode=None):
        self.agents = self.possible_agents[:]
    def observation_space(self, agent):
        return SPACES["observation_space"]
    def action_space(self, agent):
        return SPACES["action_space"]
    def close(self):
        pass

class Aec(Parallel):
    def agent_iter(self):
        return iter(self.agents)

for one in (NoSeed, NoOptions, Bare, BareOfThree, Four, Nothing, Mistaken, Parallel, Aec):
    gymnasium.register(f"{one.__name__}-v0", one)
'''
LOOPS = {
    "one": "gym_loop.loops.default_loop:DefaultLoop",
    "many": "gym_loop.loops.vector_loop:VectorLoop",
}
RESET, STEP = "reset(self, *, seed=None, options=None)", "(observation, reward, terminated"
FAULTS = {
    "NoSeed": RESET,
    "NoOptions": RESET,
    "Bare": RESET,
    "BareOfThree": RESET,
    "Four": STEP,
    "Nothing": STEP,
    "Parallel": "PettingZoo environment (parallel)",
    "Aec": "PettingZoo environment (AEC)",
}


@pytest.fixture
def here(workdir: Path) -> Path:
    (workdir / "envs.py").write_text(ENVS)
    return workdir


def write_run(name: str, loop: str) -> None:
    Path("run.yaml").write_text(
        f"env: {{imports: [envs.py], name: {name}}}\nloop: {{class: '{LOOPS[loop]}'}}\nseed: 0\n"
    )


@pytest.mark.filterwarnings("ignore")  # Gymnasium's checker says what it finds
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", FAULTS)
def test_one_sentence(name: str, loop: str, here: Path, gym_loop_command: Callable) -> None:
    write_run(f"{name}-v0", loop)
    for command in ("train", "check", "evaluate"):
        done = gym_loop_command(command, "-c", "run.yaml")
        said = [line for line in (done.out + done.err).splitlines() if FAULTS[name] in line]
        assert done.status != 0
        assert len(said) == 1, (command, done)
        assert "Traceback" not in done.out + done.err, (command, done)
        assert not Path("logs").exists()


@pytest.mark.parametrize("name", ["Parallel", "Aec"])
def test_as_a_class_string(name: str, here: Path, gym_loop_command: Callable) -> None:
    write_run(f"envs.py:{name}", "many")
    done = gym_loop_command("train", "-c", "run.yaml")
    assert done.status == 2
    assert FAULTS[name] in done.err
    assert done.err.count("\n") == 1


@pytest.mark.filterwarnings("ignore")
def test_a_mistake_of_the_environments_own_keeps_its_traceback(
    here: Path, gym_loop_command: Callable
) -> None:
    write_run("Mistaken-v0", "one")
    done = gym_loop_command("train", "-c", "run.yaml")
    assert done.status == 1
    assert "first, second = 1, 2, 3" in done.err
    assert "old Gym" not in done.err
