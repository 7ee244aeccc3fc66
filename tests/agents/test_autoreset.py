"""PPO's rollouts and DQN's replay hold what happened, however the copies are reset."""

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from gym_loop.agents.dqn import DQN
from gym_loop.agents.ppo import PPO
from gym_loop.loops.vector_loop import VectorLoop
from tests.scripted_copies import SCRIPTS, make_copies

# All episodes end together after six steps: with five steps a rollout its border moves through
# them, with six it falls on the ends.
each_mode = pytest.mark.parametrize("mode", AutoresetMode)


class Rollouts(PPO):
    """Notes every rollout that it learns from, with the values of what followed its steps."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.noted: list[list[dict[str, Any]]] = [[], [], []]

    def observe(self, transition: Any) -> None:
        values = self._values(transition.ob).copy()
        super().observe(transition)
        rollout, step = self.rollout, self.rollout.step - 1
        for row, copy in enumerate(transition.env_ids.tolist()):
            assert rollout.taken[step, copy]
            if transition.truncated[row]:
                assert rollout.final_values[step, copy] == values[row]
            if rollout.full:
                assert rollout.last_values[copy] == values[row]

    def _learn(self) -> None:
        rollout = self.rollout
        for step, copy in zip(*rollout.taken.nonzero(), strict=True):
            names = ("observations", "actions", "rewards", "terminated", "truncated")
            self.noted[copy].append(
                {name: np.array(getattr(rollout, name)[step, copy]) for name in names}
            )
        super()._learn()


def made(agent_class: type, env: Any, **parameters: Any) -> Any:
    return agent_class(
        observation_space=env.single_observation_space,
        action_space=env.single_action_space,
        n_envs=3,
        seed=0,
        network_parameters={"hidden": [4]},
        **parameters,
    )


def scripted(copy: int, count: int) -> list[tuple[int, int, bool, bool]]:
    """Episode, step, and how it ends, of the first steps of a copy."""
    found: list[tuple[int, int, bool, bool]] = []
    episode = 0
    while len(found) < count:
        length, ends = SCRIPTS[copy][episode % len(SCRIPTS[copy])]
        for step in range(length):
            last = step == length - 1
            found.append((episode, step, last and ends[0], last and ends[1]))
        episode += 1
    return found[:count]


@each_mode
@pytest.mark.parametrize("n_steps", [5, 6])
def test_rollouts(mode: AutoresetMode, n_steps: int) -> None:
    env = make_copies("sync", mode)
    agent = made(Rollouts, env, n_steps=n_steps, batch_size=6, n_epochs=1)
    VectorLoop(agent, env, max_steps=150).train()
    env.close()
    for copy, noted in enumerate(agent.noted):
        assert len(noted) > 35
        wanted = scripted(copy, len(noted))
        for one, (episode, step, terminated, truncated) in zip(noted, wanted, strict=True):
            assert one["observations"][:3].tolist() == [copy, episode, step]
            assert one["rewards"] == pytest.approx(copy + 0.1 * (step + 1) + one["actions"])
            assert (one["terminated"], one["truncated"]) == (terminated, truncated)


@each_mode
@pytest.mark.parametrize("n_steps", [1, 3])
def test_replay(mode: AutoresetMode, n_steps: int) -> None:
    env = make_copies("sync", mode)
    agent = made(DQN, env, n_steps=n_steps, gamma=0.5, buffer_size=600, learning_starts=10**6)
    VectorLoop(agent, env, max_steps=150).train()
    env.close()
    replay = agent.replay
    slots = replay.valid[: replay.filled].nonzero()[0]
    batch = replay.batch(slots)
    for copy in range(3):
        rows = slots % 3 == copy
        wanted = scripted(copy, int(rows.sum()) + n_steps)
        found = zip(*(column[rows] for column in batch[:5]), strict=True)
        for at, (before, _, _, discount, after) in enumerate(list(found)[:-n_steps]):
            steps = 1  # as many as are asked for, but not beyond the end of the episode
            while steps < n_steps and not any(wanted[at + steps - 1][2:]):
                steps += 1
            episode, step, terminated, _ = wanted[at + steps - 1]
            assert before[:3].tolist() == [copy, *wanted[at][:2]]
            assert after[:3].tolist() == [copy, episode, step + 1]
            assert discount == (0.0 if terminated else 0.5**steps)
