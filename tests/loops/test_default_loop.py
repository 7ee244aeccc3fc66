"""DefaultLoop's steps, budgets and ends, against an environment of which every value is known."""

from typing import Any

import pytest

from gym_loop.agents import BaseAgent
from gym_loop.agents.transition import Transition
from gym_loop.checkpoints.seeding import Seeds
from gym_loop.loops.default_loop import DefaultLoop
from gym_loop.runs.training_run import TrainingRun
from tests.scripted import (
    EPISODES,
    STEP,
    TERMINATE,
    TRUNCATE,
    JournalAgent,
    ScriptedEnv,
    kinds,
    make_loop,
)


def plain(transition: Transition) -> tuple[Any, ...]:
    last_ob, action, reward, terminated, truncated, ob, info = transition
    return tuple(last_ob), action, reward, terminated, truncated, tuple(ob), info["at"]


def transitions(journal: list[Any]) -> list[tuple[Any, ...]]:
    return [plain(entry[1]) for entry in journal if entry[0] == "observe"]


class TestOrder:
    def test_act_step_observe_update(self) -> None:
        loop, journal = make_loop(max_episodes=2)
        loop.train()
        step = ["act", "step", "observe", "update"]
        assert kinds(journal) == ["reset", *3 * step, "reset", *2 * step]

    def test_every_transition_is_exact(self) -> None:
        loop, journal = make_loop(max_episodes=2)
        loop.train()
        assert transitions(journal) == [
            ((0, 0), 100, 1.0, False, False, (0, 1), (0, 1)),
            ((0, 1), 101, 1.0, False, False, (0, 2), (0, 2)),
            ((0, 2), 102, 1.0, True, False, (0, 3), (0, 3)),
            ((1, 0), 103, 2.0, False, False, (1, 1), (1, 1)),
            ((1, 1), 104, -0.5, False, True, (1, 2), (1, 2)),
        ]

    def test_episode_numbers_count_from_zero(self) -> None:
        loop, journal = make_loop(max_episodes=2)
        loop.train()
        assert [entry[2] for entry in journal if entry[0] == "act"] == [0, 0, 0, 1, 1]
        assert [entry[1] for entry in journal if entry[0] == "update"] == [0, 0, 0, 1, 1]
        assert (loop.episode, loop.steps) == (2, 5)

    def test_only_the_first_reset_is_seeded(self) -> None:
        run = TrainingRun(Seeds(3))
        loop, journal = make_loop(run=run, max_episodes=3)
        loop.train()
        seeds = [entry[1] for entry in journal if entry[0] == "reset"]
        assert seeds == [Seeds(3).integer("environment"), None, None]

    def test_classic_agent_gets_memorize(self) -> None:
        seen = []

        class Classic(JournalAgent):
            observe = BaseAgent.observe

            def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any) -> None:
                seen.append((tuple(last_ob), action, reward, done, tuple(ob)))

        journal: list[Any] = []
        DefaultLoop(Classic(journal), ScriptedEnv(EPISODES, journal), max_episodes=2).train()
        assert [entry[3] for entry in seen] == [False, False, True, False, True]
        assert seen[2] == ((0, 2), 102, 1.0, True, (0, 3))


class TestBudget:
    def test_max_steps_in_the_middle_of_an_episode(self) -> None:
        loop, journal = make_loop(max_episodes=None, max_steps=4)
        loop.train()
        assert (loop.steps, loop.episode, loop.in_episode) == (4, 1, True)
        assert transitions(journal)[-1][3:5] == (False, False)  # the budget truncates nothing
        assert (loop.episode_return, loop.episode_length) == (2.0, 1)

    def test_max_steps_at_the_end_of_an_episode(self) -> None:
        loop, journal = make_loop(max_steps=3)
        loop.train()
        assert (loop.steps, loop.episode, loop.in_episode) == (3, 1, False)
        assert kinds(journal).count("reset") == 1

    def test_goes_on_in_the_middle(self) -> None:
        loop, journal = make_loop(max_steps=4)
        loop.train()
        before = len(journal)
        again = DefaultLoop(loop.agent, loop.env, max_steps=5)
        again.load_state_dict(loop.state_dict())
        again.train()
        assert kinds(journal[before:]) == ["act", "step", "observe", "update"]
        assert (again.steps, again.episode) == (5, 2)

    @pytest.mark.parametrize("limits", [{"max_episodes": 2}, {"max_episodes": 9, "max_steps": 5}])
    def test_whichever_comes_first(self, limits: dict[str, Any]) -> None:
        loop, _ = make_loop(**limits)
        loop.train()
        assert (loop.episode, loop.steps) == (2, 5)

    def test_used_up_budget_trains_nothing(self) -> None:
        loop, journal = make_loop(max_episodes=2)
        loop.train()
        before = len(journal)
        loop.train()
        assert len(journal) == before

    @pytest.mark.parametrize("limit", [1, 2, 3])
    def test_max_episode_len_truncates_and_never_terminates(self, limit: int) -> None:
        loop, journal = make_loop([[STEP] * 10], max_episodes=2, max_episode_len=limit)
        loop.train()
        flags = [entry[3:5] for entry in transitions(journal)]
        assert flags == 2 * ([(False, False)] * (limit - 1) + [(False, True)])
        assert loop.steps == 2 * limit

    def test_termination_at_the_limit_stays_one(self) -> None:
        loop, journal = make_loop([[STEP, TERMINATE]], max_episodes=1, max_episode_len=2)
        loop.train()
        assert transitions(journal)[-1][3] is True

    def test_no_max_episode_len(self) -> None:
        loop, _ = make_loop([[STEP] * 6000 + [TRUNCATE]], max_episodes=1, max_episode_len=None)
        loop.train()
        assert loop.steps == 6001


class TestRandomEpisodes:
    def test_observed_without_an_update(self) -> None:
        loop, journal = make_loop(max_episodes=3, random_episodes=2)
        loop.train()
        assert kinds(journal)[:7] == ["reset", *3 * ["step", "observe"]]
        assert "act" not in kinds(journal)[: 1 + 6 + 1 + 4]
        assert [entry[1] for entry in journal if entry[0] == "update"] == [2, 2, 2]
        assert (loop.episode, loop.steps) == (3, 8)

    def test_actions_are_samples_of_the_space(self) -> None:
        loop, journal = make_loop(max_episodes=2, random_episodes=2)
        twin = ScriptedEnv(EPISODES, [])
        loop.train()
        taken = [entry[1] for entry in journal if entry[0] == "step"]
        assert taken == [twin.action_space.sample() for _ in range(5)]


class TestStopping:
    def test_finishes_the_step_and_no_more(self) -> None:
        run = TrainingRun(Seeds(0))
        loop, journal = make_loop([[STEP] * 10_000 + [TRUNCATE]], run, max_episode_len=None)
        update = loop.agent.update

        def stop_at_1000(episode_num: int) -> None:
            update(episode_num)
            if loop.agent.acts == 1000:
                run.request_stop(15)

        loop.agent.update = stop_at_1000
        loop.train()
        assert kinds(journal)[-4:] == ["act", "step", "observe", "update"]
        assert (loop.steps, loop.episode, loop.in_episode) == (1000, 0, True)

    def test_before_the_first_step(self) -> None:
        run = TrainingRun(Seeds(0))
        loop, journal = make_loop(run=run)
        run.request_stop(2)
        loop.train()
        assert journal == []

    def test_an_error_leaves_the_counters_at_the_last_whole_step(self) -> None:
        loop, _ = make_loop(max_episodes=2)

        def fail(episode_num: int) -> None:
            if loop.agent.acts == 3:
                raise RuntimeError("on purpose")

        loop.agent.update = fail
        with pytest.raises(RuntimeError, match="on purpose"):
            loop.train()
        assert (loop.steps, loop.episode) == (2, 0)


def test_state_goes_through_data() -> None:
    from gym_loop.checkpoints.tree import capture, restore

    loop, _ = make_loop(max_steps=4)
    loop.train()
    twin, _ = make_loop(max_steps=5)
    twin.load_state_dict(restore(None, capture(loop.state_dict())))
    assert (twin.steps, twin.episode, twin.episode_return, twin.episode_length) == (4, 1, 2.0, 1)
    assert tuple(twin.ob) == (1, 1)
    assert list(twin.episode_log.last_returns) == [3.0]


def test_hooks_of_a_derived_loop() -> None:
    class Counting(DefaultLoop):
        def begin_episode(self) -> None:
            super().begin_episode()
            self.env.journal.append(("begin", self.episode))

        def end_episode(self) -> None:
            self.env.journal.append(("end", self.episode_return, self.episode_length))
            super().end_episode()

    journal: list[Any] = []
    Counting(JournalAgent(journal), ScriptedEnv(EPISODES, journal), max_episodes=2).train()
    assert [entry for entry in journal if entry[0] in ("begin", "end")] == [
        ("begin", 0),
        ("end", 3.0, 3),
        ("begin", 1),
        ("end", 1.5, 2),
    ]
