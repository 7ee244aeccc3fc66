"""VectorLoop's transitions, rows and budgets, against copies of which every value is known."""

import signal
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from gym_loop.agents.random_agent import RandomAgent
from gym_loop.errors import SpaceError
from gym_loop.loops.episode_log import VECTOR_STEPS_PER_ROW
from gym_loop.loops.vector_loop import VectorLoop
from gym_loop.schema.parameters import check_parameters
from tests.scripted import JournalAgent, ListLogger, logged_run
from tests.scripted_copies import BatchJournal, episodes, expected, make_copies

KINDS = [
    *((kind, mode) for kind in ("sync", "own") for mode in AutoresetMode),
    ("workers", AutoresetMode.SAME_STEP),
    ("workers", AutoresetMode.NEXT_STEP),
]


def played(env: Any, **parameters: Any) -> tuple[VectorLoop, BatchJournal, ListLogger]:
    """A training with a journal, on copies that are closed after it."""
    run, logger = logged_run()
    agent = BatchJournal()
    loop = VectorLoop(agent, env, run, **parameters)
    try:
        loop.train()
    finally:
        env.close()
    return loop, agent, logger


@pytest.mark.parametrize(("kind", "mode"), KINDS)
class TestTransitions:
    def test_the_same_in_every_mode(self, kind: str, mode: AutoresetMode) -> None:
        loop, agent, _ = played(make_copies(kind, mode), max_steps=60)
        for copy in range(3):
            found = agent.of_copy(copy)
            assert found == expected(copy, len(found))
            assert len(found) >= 15
        assert sum(len(one.reward) for one in agent.observed) == loop.steps
        assert 60 <= loop.steps < 63

    def test_acts_on_all_and_updates_once_a_vector_step(
        self, kind: str, mode: AutoresetMode
    ) -> None:
        loop, agent, _ = played(make_copies(kind, mode), max_steps=60)
        assert len(agent.acted) == loop.vector_steps
        # After six steps all copies are reset at once: nobody took a step to be told of.
        idle = 1 if mode is AutoresetMode.NEXT_STEP else 0
        assert len(agent.observed) == len(agent.updates) == loop.vector_steps - idle
        assert all(state.shape == (3, 4) for state, _, _ in agent.acted)
        assert set(agent.updates) <= {number for _, _, number in agent.acted}
        assert agent.updates == sorted(agent.updates)
        assert agent.updates[-1] <= loop.episode

    def test_rows_are_left_out_for_resets_alone(self, kind: str, mode: AutoresetMode) -> None:
        loop, agent, _ = played(make_copies(kind, mode), max_steps=60)
        rows = [list(one.env_ids) for one in agent.observed]
        if mode is not AutoresetMode.NEXT_STEP:
            assert rows == [[0, 1, 2]] * loop.vector_steps == [[0, 1, 2]] * 20
            return
        # Copy 0: steps 1 and 3 end its episodes of one step, so that it is reset in 2 and 4.
        assert rows[:5] == [[0, 1, 2], [1, 2], [0, 1, 2], [2], [0, 1, 2]]

    def test_nothing_that_was_given_is_written_to(self, kind: str, mode: AutoresetMode) -> None:
        _, agent, _ = played(make_copies(kind, mode), max_steps=60)
        assert all(np.array_equal(state, before) for state, before, _ in agent.acted)

    def test_statistics(self, kind: str, mode: AutoresetMode) -> None:
        loop, agent, logger = played(make_copies(kind, mode), max_steps=60)
        ended = [one for copy in range(3) for one in episodes(copy, len(agent.of_copy(copy)))]
        assert loop.episode == len(ended)
        assert sorted(loop.episode_log.last_returns) == pytest.approx(
            sorted(one[1] for one in ended)
        )
        assert sum(row["train/episodes"] for _, row in logger.rows) == len(ended)
        for name, index in (("return", 1), ("length", 2)):
            total = sum(
                row["train/episodes"] * row[f"train/episode_{name}"] for _, row in logger.rows
            )
            assert total == pytest.approx(sum(one[index] for one in ended))

    def test_goes_on_in_the_middle(self, kind: str, mode: AutoresetMode) -> None:
        env = make_copies(kind, mode)
        agent = BatchJournal()
        first = VectorLoop(agent, env, max_steps=24)
        first.train()
        second = VectorLoop(agent, env, max_steps=60)
        second.load_state_dict(first.state_dict())
        second.train()
        for copy in range(3):
            found = agent.of_copy(copy)
            assert found == expected(copy, len(found))
        assert sum(len(one.reward) for one in agent.observed) == second.steps >= 60
        env.close()


def test_next_act_sees_the_reset_observation() -> None:
    _, agent, _ = played(make_copies("sync", AutoresetMode.SAME_STEP), max_steps=9)
    states = [state[0].tolist() for state, _, _ in agent.acted]
    assert states == [[0, 0, 0, 0], [0, 1, 0, 0], [0, 2, 0, 0]]
    assert [one.ob[0].tolist() for one in agent.observed] == [
        [0, 0, 1, 1],
        [0, 1, 1, 1],
        [0, 2, 1, 1],
    ]


def test_while_it_is_reset_a_copy_shows_its_last_observation() -> None:
    _, agent, _ = played(make_copies("own", AutoresetMode.NEXT_STEP), max_steps=8)
    assert [state[0].tolist() for state, _, _ in agent.acted][:3] == [
        [0, 0, 0, 0],
        [0, 0, 1, 1],
        [0, 1, 0, 0],
    ]


class TestLogging:
    def test_episodes_of_one_step_share_a_row(self) -> None:
        _, _, logger = played(make_copies("sync", AutoresetMode.SAME_STEP), max_steps=18)
        # The first episode completes a row by itself; the others end soon after it.
        assert [(step, row["train/episodes"]) for step, row in logger.rows] == [(3, 1), (18, 5)]
        assert logger.rows[0][1]["train/episode_return"] == pytest.approx(1.1)
        assert logger.rows[0][1]["train/episode_length"] == 1

    def test_rows_are_apart(self) -> None:
        _, _, logger = played(make_copies("sync", AutoresetMode.SAME_STEP), max_steps=3000)
        steps = [step for step, _ in logger.rows]
        least = 3 * VECTOR_STEPS_PER_ROW
        assert len(steps) == 1 + 3000 // least + (3000 % least > 0)
        assert all(later - one >= least for one, later in pairwise(steps[:-1]))

    def test_long_episodes_have_rows_of_their_own(self) -> None:
        env = gymnasium.make_vec("Pendulum-v1", 1, vectorization_mode="sync")
        run, logger = logged_run()
        agent = RandomAgent(
            observation_space=env.single_observation_space, action_space=env.single_action_space
        )
        VectorLoop(agent, env, run, max_steps=600).train()
        assert [step for step, _ in logger.rows] == [200, 400, 600]
        env.close()


class TestBudget:
    def test_steps_of_all_copies_count(self) -> None:
        loop, _, _ = played(make_copies("sync", AutoresetMode.SAME_STEP), max_steps=7)
        assert (loop.steps, loop.vector_steps) == (9, 3)

    def test_max_episodes(self) -> None:
        loop, _, _ = played(
            make_copies("sync", AutoresetMode.SAME_STEP), max_steps=None, max_episodes=5
        )
        assert (loop.episode, loop.vector_steps) == (6, 6)  # three end in the sixth step

    def test_random_episodes_are_observed_and_not_learnt_from(self) -> None:
        loop, agent, _ = played(
            make_copies("sync", AutoresetMode.SAME_STEP), max_steps=30, random_episodes=2
        )
        assert len(agent.observed) == loop.vector_steps == 10
        assert agent.updates[0] == 2
        assert len(agent.acted) == len(agent.updates) == 8

    def test_used_up_budget_trains_nothing(self) -> None:
        loop, agent, _ = played(make_copies("sync", AutoresetMode.SAME_STEP), max_steps=6)
        loop.train()
        assert len(agent.observed) == 2

    def test_stops_when_asked(self) -> None:
        class Stopping(BatchJournal):
            def update(self, episode_num: int) -> None:
                super().update(episode_num)
                if len(self.updates) == 4:
                    loop.run.request_stop(signal.SIGINT)

        env = make_copies("sync", AutoresetMode.SAME_STEP)
        loop = VectorLoop(Stopping(), env, max_steps=10_000)
        loop.train()
        assert loop.vector_steps == 4


class TestRefusals:
    def test_an_agent_without_batches(self) -> None:
        with pytest.raises(SpaceError, match=r"JournalAgent .*DefaultLoop"):
            VectorLoop(JournalAgent([]), make_copies("sync", AutoresetMode.SAME_STEP))

    @pytest.mark.parametrize(
        ("parameters", "place"),
        [
            ({"n_envs": 0}, "n_envs"),
            ({"vectorization": "async", "record": True}, "record"),
            ({"vectorization": "native", "render": True}, "render"),
            ({"max_steps": 0}, "max_steps"),
        ],
    )
    def test_parameters(self, parameters: dict[str, Any], place: str) -> None:
        assert list(check_parameters(VectorLoop, parameters)[1]) == [place]

    def test_the_defaults_are_right(self) -> None:
        assert check_parameters(VectorLoop, VectorLoop.get_default_parameters())[1] == {}
