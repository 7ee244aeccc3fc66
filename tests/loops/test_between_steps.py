"""What a loop does between steps and episodes: rows of the logs, checkpoints, videos."""

import math
from typing import Any

import numpy as np
import pytest

from gym_loop.checkpoints.seeding import Seeds
from gym_loop.errors import ContractError
from gym_loop.loops.default_loop import DefaultLoop
from gym_loop.loops.progress import Rate
from gym_loop.runs.results import EpisodeResult
from gym_loop.runs.training_run import TrainingRun
from tests.scripted import (
    EPISODES,
    STEP,
    TRUNCATE,
    JournalAgent,
    ScriptedEnv,
    kinds,
    logged_run,
    make_loop,
)


class Updating(JournalAgent):
    def metrics(self, episode_num: int) -> dict[str, float]:
        return {"updates": 10.0 * self.acts}


class TestLogging:
    def test_one_row_an_episode(self) -> None:
        run, logger = logged_run()
        loop, _ = make_loop(run=run, max_episodes=2)
        loop.train()
        (first, scalars), (second, more) = logger.rows
        assert (first, second) == (3, 5)
        assert scalars.pop("train/steps_per_second") > 0
        assert scalars == {
            "train/episode_return": 3.0,
            "train/episode_length": 3,
            "agent/acts": 3,
        }
        assert (more["train/episode_return"], more["train/episode_length"]) == (1.5, 2)

    def test_updates_that_an_agent_counts_have_a_speed(self) -> None:
        run, logger = logged_run()
        first, again = (
            DefaultLoop(
                Updating([], action_space=None), ScriptedEnv(EPISODES, []), run, max_episodes=most
            )
            for most in (2, 4)
        )
        first.train()
        again.load_state_dict(first.state_dict())
        again.train()
        rows = [scalars for _, scalars in logger.rows]
        assert [row["agent/updates"] for row in rows] == [30.0, 50.0, 30.0, 50.0]
        speeds = [row.get("train/updates_per_second", 0.0) > 0 for row in rows]
        assert speeds == [True, True, False, True]  # a resumed run measures from its first row on

    def test_what_is_no_metrics_is_refused(self) -> None:
        class Countless(JournalAgent):
            def metrics(self, episode_num: int) -> Any:
                return 3

        agent = Countless([], action_space=None)
        loop = DefaultLoop(agent, ScriptedEnv(EPISODES, []), max_episodes=1)
        with pytest.raises(ContractError, match=r"Countless must return numbers by name, .* not 3"):
            loop.train()

    @pytest.mark.parametrize("name", [0, None, 1.5, ("a",), b"a"], ids=repr)
    def test_metrics_are_named_by_texts(self, name: Any) -> None:
        class Numbered(JournalAgent):
            def metrics(self, episode_num: int) -> Any:
                return {"good": 1.0, name: 0.2}

        loop = DefaultLoop(Numbered([], action_space=None), ScriptedEnv(EPISODES, []))
        with pytest.raises(ContractError, match=r"metrics\(\) of Numbered") as raised:
            loop.train()
        assert repr(name) in str(raised.value)

    @pytest.mark.parametrize("updates", [None, "many", [1, 2], {}], ids=repr)
    def test_updates_that_are_no_number_are_left_out(self, updates: Any) -> None:
        class Vague(JournalAgent):
            def metrics(self, episode_num: int) -> Any:
                return {"updates": updates, "loss": 2.0}

        run, logger = logged_run()
        agent, env = Vague([], action_space=None), ScriptedEnv(EPISODES, [])
        DefaultLoop(agent, env, run, max_episodes=4).train()
        assert [row["agent/loss"] for _, row in logger.rows] == [2.0] * 4
        assert not any("train/updates_per_second" in row for _, row in logger.rows)

    def test_speeds_are_those_of_the_last_one_to_two_seconds(self) -> None:
        rate = Rate(10.0, 5)
        assert rate.measure(10.5, 10) == 10.0
        assert rate.measure(11.5, 20) == 10.0
        assert rate.measure(12.0, 120) == 115 / 2.0
        assert rate.measure(12.5, 220) == 200 / 1.0
        rate.skip(3.0)
        assert rate.measure(16.0, 320) == 300 / 1.5

    def test_array_rewards_are_numbers(self) -> None:
        run, logger = logged_run()
        episodes = [[(np.float32(0.5), False, False), (np.float64(1.0), np.True_, np.False_)]]
        loop, _ = make_loop(episodes, run, max_episodes=1)
        loop.train()
        assert type(logger.rows[0][1]["train/episode_return"]) is float
        assert logger.rows[0][1]["train/episode_return"] == 1.5
        assert loop.episode == 1


class Saves:
    """Stands for the checkpoint store: notes every save and the tree."""

    def __init__(self) -> None:
        self.saved: list[tuple[int, str, bool]] = []

    def save(
        self, step: int, tree: Any, info: Any, *, best: bool = False, wait: bool = False
    ) -> None:
        self.saved.append((step, info["reason"], best))


class TestCheckpoints:
    def saves(self, episodes: Any = EPISODES, **parameters: Any) -> list[tuple[int, str, bool]]:
        store = Saves()
        run = TrainingRun(Seeds(0), checkpoints=store)  # type: ignore[arg-type]
        loop, _ = make_loop(episodes, run, **parameters)
        loop.train()
        return store.saved

    def test_every_so_many_episodes(self) -> None:
        saved = self.saves(max_episodes=6, episodes_per_checkpoint=2)
        assert saved == [(5, "periodic", False), (10, "periodic", False), (15, "periodic", False)]

    def test_none_by_episodes(self) -> None:
        assert self.saves(max_episodes=6, episodes_per_checkpoint=None) == []

    def timed(
        self, monkeypatch: pytest.MonkeyPatch, save_takes: float = 0.0, **parameters: Any
    ) -> list[int]:
        """The steps of the checkpoints in 903 steps that take ten milliseconds each."""
        journal: list[Any] = []
        agent = JournalAgent(journal, action_space=None)
        store = Saves()
        monkeypatch.setattr(
            "time.monotonic",
            lambda: agent.acts / 100 + len(store.saved) * save_takes,
        )
        run = TrainingRun(Seeds(0), checkpoints=store)  # type: ignore[arg-type]
        limits = {"max_episodes": 3, "max_episode_len": None, "episodes_per_checkpoint": None}
        env = ScriptedEnv([[STEP] * 300 + [TRUNCATE]], journal)
        DefaultLoop(agent, env, run, **{**limits, **parameters}).train()
        return [step for step, _, _ in store.saved]

    def test_an_evaluation_that_is_no_number_is_never_the_best(self) -> None:
        store = Saves()
        run = TrainingRun(Seeds(0), checkpoints=store)  # type: ignore[arg-type]
        loop, _ = make_loop([[STEP] * 9 + [TRUNCATE]], run, max_episodes=4, episodes_per_eval=1)
        means = iter([math.nan, 10.0, 15.0, 20.0])
        loop.evaluate = lambda seeds=None: [EpisodeResult(0, next(means), 10)]
        loop.train()
        best = [step for step, _, is_best in store.saved if is_best]
        assert (best, run.best_evaluation) == ([20, 30, 40], 20.0)

    def test_by_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.timed(monkeypatch, time_per_checkpoint=None) == []
        assert self.timed(monkeypatch, time_per_checkpoint=10) == []
        steps = self.timed(monkeypatch, time_per_checkpoint=0.5)
        gaps = np.diff([0, *steps, 903])
        assert gaps[:-1].min() >= 50
        assert gaps.max() <= 70  # looked at about every tenth of a second
        assert any(step % 301 for step in steps)  # in the middle of an episode as well

    def test_by_steps_in_the_middle_of_episodes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.timed(monkeypatch, steps_per_checkpoint=None) == []
        steps = self.timed(monkeypatch, steps_per_checkpoint=70)
        assert steps == list(range(70, 903, 70))

    def test_whichever_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        steps = self.timed(monkeypatch, steps_per_checkpoint=200, episodes_per_checkpoint=1)
        assert steps == [200, 301, 400, 600, 602, 800, 903]

    def test_slow_ones_are_put_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Nine seconds of training, and half a second for a checkpoint: the allowance of half a
        # second pays the first, the share of a fiftieth none before 25 seconds have passed.
        steps = self.timed(monkeypatch, save_takes=0.51, steps_per_checkpoint=100)
        assert steps[0] == 100
        assert len(steps) <= 2

    def test_best_evaluation(self) -> None:
        store = Saves()
        run = TrainingRun(Seeds(0), checkpoints=store)  # type: ignore[arg-type]
        # Evaluation plays 1, 3 and 2 in turn; only the better ones are kept as best.
        evaluated = ScriptedEnv([[(r, True, False)] for r in (1.0, 3.0, 2.0)], [])
        run.prepare_evaluation(lambda: evaluated, False)
        loop, _ = make_loop(run=run, max_episodes=3, episodes_per_eval=1, eval_episodes=1)
        loop.train()
        assert store.saved == [(3, "periodic", True), (5, "periodic", True)]
        assert run.best_evaluation == 3.0


class Recorder:
    """Stands for the video recorder: records even episodes, and notes the calls."""

    def __init__(self, journal: list[Any]) -> None:
        self.journal = journal

    def begin(self, episode: int, step: int) -> bool:
        self.journal.append(("begin", episode, step))
        return episode % 2 == 0

    def capture(self) -> None:
        self.journal.append(("capture",))

    def end(self) -> None:
        self.journal.append(("end",))


class TestVideos:
    def test_of_training(self) -> None:
        run = TrainingRun(Seeds(0))
        loop, journal = make_loop(run=run, max_episodes=2)
        run.recorder = Recorder(journal)  # type: ignore[assignment]
        loop.train()
        step = ["act", "step", "observe", "update"]
        expected = ["reset", "begin", *3 * [*step, "capture"], "end"]
        expected += ["reset", "begin", *2 * step, "end"]
        assert kinds(journal) == expected
        assert [entry[1:] for entry in journal if entry[0] == "begin"] == [(0, 0), (1, 3)]

    def test_of_evaluation(self) -> None:
        run = TrainingRun(Seeds(0))
        loop, journal = make_loop(run=run)
        run.evaluation_recorder = Recorder(journal)  # type: ignore[assignment]
        loop.evaluate([1, 2])
        expected = ["reset", "begin", *3 * ["act", "step", "capture"], "end"]
        expected += ["reset", "begin", *2 * ["act", "step"], "end"]
        assert kinds(journal) == expected
