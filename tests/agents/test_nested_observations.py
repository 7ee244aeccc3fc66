"""PPO and DQN on observations of several parts: flat for the MLP, a dictionary for a module."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from gym_loop import train
from gym_loop.agents.dqn import DQN
from gym_loop.agents.ppo import PPO
from gym_loop.checkpoints.tree import capture, first_difference, restore
from gym_loop.testing import check_agent
from tests.agents.batch_games import make, play, reward_in_evaluation

QUICK: dict[Any, dict[str, Any]] = {
    PPO: {"n_steps": 16, "batch_size": 64, "n_epochs": 4, "gamma": 0.5, "learning_rate": 3e-3},
    DQN: {
        "batch_size": 32,
        "gamma": 0.5,
        "exploration_initial_eps": 1.0,
        "exploration_final_eps": 0.1,
        "exploration_steps": 1000,
        "learning_rate": 3e-3,
        "learning_starts": 50,
        "target_update_interval": 50,
    },
}
each_agent = pytest.mark.parametrize("agent_class", [PPO, DQN])


class Signpost(gymnasium.Env):
    """Reward 1 for going where the one sign says that the other sign, of two, is right."""

    observation_space = spaces.Dict(
        {
            "which": spaces.Discrete(2),
            "signs": spaces.Tuple((spaces.Discrete(2, start=3), spaces.Box(-1, 1, (1,)))),
            "noise": spaces.Box(0, 255, (2, 2), np.uint8),
        }
    )
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age = 0
        return self.look(), {}

    def look(self):
        first, second, which = (int(bit) for bit in self.np_random.integers(2, size=3))
        self.right = second if which else first
        sign = np.array([2 * second - 1], np.float32)
        noise = self.np_random.integers(256, size=(2, 2), dtype=np.uint8)
        return {"which": which, "signs": (first + 3, sign), "noise": noise}

    def step(self, action):
        reward = float(action == self.right)
        self.age += 1
        return self.look(), reward, False, self.age == 10, {}


class Signposts:
    """Several of them, as `batch_games.play` wants them."""

    def __init__(self, n_envs: int) -> None:
        self.n_envs = n_envs
        self.env = gymnasium.vector.SyncVectorEnv(
            [Signpost] * n_envs, autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP
        )
        self.observation_space = Signpost.observation_space
        self.action_space = Signpost.action_space
        self.seen, _ = self.env.reset(seed=0)

    def step(self, actions: Any) -> tuple[Any, ...]:
        self.seen, *told, _ = self.env.step(np.asarray(actions))
        return self.seen, *told


@each_agent
def test_learns_from_the_flat_vector(agent_class: type) -> None:
    game = Signposts(4)
    agent = make(agent_class, game, **QUICK[agent_class])
    play(agent, game, 1500)
    assert reward_in_evaluation(agent, game) > 0.95


NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, input_shape, outputs):
        super().__init__()
        assert input_shape == {"noise": (2, 2), "signs": [(2,), (1,)], "which": (2,)}
        self.trunk = nn.Sequential(nn.Linear(5, 32), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(32, size) for size in outputs)

    def forward(self, x):
        assert x["noise"].shape[1:] == (2, 2) and x["noise"].max() <= 1.0
        features = self.trunk(torch.cat([x["which"], *x["signs"]], dim=1))
        return tuple(head(features) for head in self.heads)
"""


@pytest.mark.needs("torch")
@each_agent
def test_learns_with_a_module_that_takes_a_dictionary(workdir: Path, agent_class: type) -> None:
    (workdir / "net.py").write_text(NET)
    game = Signposts(4)
    agent = make(agent_class, game, **QUICK[agent_class], network="net.py:Net")
    play(agent, game, 800)
    assert reward_in_evaluation(agent, game) > 0.95


@pytest.mark.parametrize(
    ("agent_class", "options"),
    [(PPO, {}), (PPO, {"norm_obs": True}), (DQN, {}), (DQN, {"n_steps": 3})],
)
def test_keeps_the_contract(agent_class: type, options: dict) -> None:
    check_agent(agent_class, Signpost(), QUICK[agent_class] | options)


@each_agent
def test_continues_bit_for_bit(agent_class: type) -> None:
    game = Signposts(3)
    agent = make(agent_class, game, **QUICK[agent_class])
    play(agent, game, 67)
    saved, later = deepcopy(capture(agent.state_dict())), deepcopy(game)
    wanted = play(agent, game, 40)
    other = make(agent_class, later, **QUICK[agent_class])
    other.load_state_dict(restore(None, saved))
    np.testing.assert_array_equal(play(other, later, 40), wanted)
    assert not first_difference(capture(agent.state_dict()), capture(other.state_dict()))


def test_replay_keeps_parts_as_small_as_they_are() -> None:
    game = Signposts(2)
    agent = make(DQN, game, **QUICK[DQN])
    play(agent, game, 60)
    # Two numbers of eight bytes, one of four, and four pixels.
    assert agent.replay.store.before.nbytes == agent.replay.slots * (2 * 8 + 4 + 4)


REGISTER = """
import gymnasium
gymnasium.register("Signpost-v0", "tests.agents.test_nested_observations:Signpost")
"""


def run_file(agent: str, vectorization: str, place: Path) -> dict[str, Any]:
    (place / "signpost.py").write_text(REGISTER)
    parameters: dict[str, Any] = {"loggers": [], "max_steps": 400}
    loop = "gym_loop.loops.default_loop:DefaultLoop"
    if vectorization:
        loop = "gym_loop.loops.vector_loop:VectorLoop"
        parameters |= {"n_envs": 3, "vectorization": vectorization}
    else:
        parameters |= {"max_episodes": None}
    cls = {"ppo:PPO": PPO, "dqn:DQN": DQN}[agent]
    return {
        "agent": {"class": f"gym_loop.agents.{agent}", "parameters": QUICK[cls]},
        "env": {"name": "Signpost-v0", "imports": ["signpost.py"]},
        "loop": {"class": loop, "parameters": parameters},
        "seed": 1,
    }


@pytest.mark.parametrize("agent", ["ppo:PPO", "dqn:DQN"])
@pytest.mark.parametrize("vectorization", ["", "sync"])
def test_runs_in_both_loops(workdir: Path, agent: str, vectorization: str) -> None:
    result = train(run_file(agent, vectorization, workdir))
    assert result.exit_reason == "finished"
    assert result.steps >= 400
