"""EnvPool itself, by class string: it makes all copies at once, outside Python."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv

from gym_loop import train
from gym_loop.agents import BaseAgent
from gym_loop.envs.making import EnvSpec
from gym_loop.envs.vector import make_vector_env
from gym_loop.errors import EnvParametersError
from gym_loop.loops.vector_loop import VectorLoop

pytestmark = pytest.mark.needs("envpool")

SPEC = EnvSpec("envpool:make_gymnasium", parameters={"task_id": "CartPole-v1"})
LIMITS = np.array([2.4, np.inf, 12 * 2 * np.pi / 360, np.inf])
CONFIG: dict[str, Any] = {
    "agent": {"class": "gym_loop.agents.ppo:PPO", "parameters": {"n_steps": 16}},
    "env": {"name": SPEC.name, "parameters": SPEC.parameters},
    "loop": {
        "class": "gym_loop.loops.vector_loop:VectorLoop",
        "parameters": {"eval_episodes": 3, "episodes_per_eval": 20, "max_steps": 600, "n_envs": 3},
    },
    "seed": 4,
}


class Leaning(BaseAgent):
    """Pushes the way the pole leans, and keeps what it is told."""

    supports_batch = True
    supports_partial_batch = True

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[int, list[Any]] = {0: [], 1: [], 2: []}

    def act(self, state: Any, episode_num: int) -> Any:
        return (state[:, 2] > 0).astype(np.int64)

    def observe(self, transition: Any) -> None:
        for row, copy in enumerate(transition.env_ids.tolist()):
            self.told[copy].append([column[row] for column in transition[:6]])


def test_it_is_made_as_a_vector_environment_and_takes_a_seed() -> None:
    env = make_vector_env(SPEC, 3)
    try:
        assert isinstance(env, VectorEnv)
        assert env.num_envs == 3
        assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
        first, again, other = (env.reset(seed=seed)[0] for seed in (1, 1, 2))
        assert env.observation_space.contains(first)
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()
    finally:
        env.close()


def test_only_true_transitions_reach_the_agent() -> None:
    agent = Leaning()
    env = make_vector_env(SPEC, 3)
    loop = VectorLoop(agent, env, max_steps=600)
    loop.train()
    env.close()
    ends = 0
    for told in agent.told.values():
        assert np.abs(told[0][0]).max() <= 0.05  # CartPole begins so
        for before, after in pairwise(told):
            _, _, reward, terminated, truncated, ob = before
            assert reward == 1.0
            assert terminated == (np.abs(ob) > LIMITS).any()
            if terminated or truncated:
                ends += 1
                assert np.abs(after[0]).max() <= 0.05
            else:
                np.testing.assert_array_equal(after[0], ob)
    assert sum(map(len, agent.told.values())) == loop.steps >= 600
    assert ends >= loop.episode - 3 > 5


def test_a_run_is_reproduced_and_goes_on(workdir: Path, capsys: pytest.CaptureFixture) -> None:
    results = [train(CONFIG) for _ in range(2)]
    assert "resuming will be approximate: CartPoleGymnasiumEnvPool" in capsys.readouterr().err
    first, second = ((one.steps, one.episodes, one.mean_return) for one in results)
    assert first == second
    more = train(CONFIG, {"loop.parameters.max_steps": 900}, resume=results[0].run)
    assert (more.exit_reason, more.run) == ("finished", results[0].run)
    assert more.steps >= 900


def test_copies_of_our_own_are_refused() -> None:
    with pytest.raises(EnvParametersError, match="set vectorization to auto"):
        make_vector_env(SPEC, 2, "async")
