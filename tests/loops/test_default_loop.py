"""DefaultLoop against an environment of which every value is known."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted import STEP, TERMINATE, TRUNCATE, JournalAgent, ScriptedEnv, kinds

from gym_loop.errors import ContractError
from gym_loop.loops.default_loop import DefaultLoop
from gym_loop.loops.upkeep import _Rate
from gym_loop.runs.directory import RunDirectory
from gym_loop.runs.loggers.base import BaseLogger
from gym_loop.runs.metrics import Metrics
from gym_loop.runs.training_run import TrainingRun
from gym_loop.seeding import Seeds
from gym_loop.transition import Transition

EPISODES = [
    [STEP, STEP, TERMINATE],
    [(2.0, False, False), (-0.5, False, True)],
]


class ListLogger(BaseLogger):
    """Keeps what is logged."""

    def log(self, step: int, scalars: Any, seconds: float) -> None:
        self.rows = [*getattr(self, "rows", []), (step, dict(scalars))]


class Saves:
    """Stands for the checkpoint store: notes every save and the tree."""

    def __init__(self) -> None:
        self.saved: list[tuple[int, str, bool]] = []

    def save(
        self, step: int, tree: Any, info: Any, *, best: bool = False, wait: bool = False
    ) -> None:
        self.saved.append((step, info["reason"], best))


def make_loop(
    episodes: Any = EPISODES, run: TrainingRun | None = None, **parameters: Any
) -> tuple[DefaultLoop, list[Any]]:
    journal: list[Any] = []
    agent = JournalAgent(journal, action_space=None)
    loop = DefaultLoop(agent, ScriptedEnv(episodes, journal), run, **parameters)
    return loop, journal


def logged_run(tmp_path: Path) -> tuple[TrainingRun, ListLogger]:
    logger = ListLogger(tmp_path, "run-1")
    run = TrainingRun(Seeds(3), metrics=Metrics([logger], lambda text: None))
    return run, logger


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
            observe = JournalAgent.__mro__[1].observe

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
    def test_whichever_comes_first(self, limits: dict[str, int]) -> None:
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


class Updating(JournalAgent):
    def metrics(self, episode_num: int) -> dict[str, float]:
        return {"updates": 10.0 * self.acts}


class TestLogging:
    def test_one_row_an_episode(self, tmp_path: Path) -> None:
        run, logger = logged_run(tmp_path)
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

    def test_updates_that_an_agent_counts_have_a_speed(self, tmp_path: Path) -> None:
        run, logger = logged_run(tmp_path)
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

    def test_speeds_are_those_of_the_last_one_to_two_seconds(self) -> None:
        rate = _Rate(10.0, 5)
        assert rate.measure(10.5, 10) == 10.0
        assert rate.measure(11.5, 20) == 10.0
        assert rate.measure(12.0, 120) == 115 / 2.0
        assert rate.measure(12.5, 220) == 200 / 1.0
        rate.skip(3.0)
        assert rate.measure(16.0, 320) == 300 / 1.5

    def test_array_rewards_are_numbers(self, tmp_path: Path) -> None:
        run, logger = logged_run(tmp_path)
        episodes = [[(np.float32(0.5), False, False), (np.float64(1.0), np.True_, np.False_)]]
        loop, _ = make_loop(episodes, run, max_episodes=1)
        loop.train()
        assert type(logger.rows[0][1]["train/episode_return"]) is float
        assert logger.rows[0][1]["train/episode_return"] == 1.5
        assert loop.episode == 1


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
            "gym_loop.loops.upkeep.time.monotonic",
            lambda: agent.acts / 100 + len(store.saved) * save_takes,
        )
        run = TrainingRun(Seeds(0), checkpoints=store)  # type: ignore[arg-type]
        limits = {"max_episodes": 3, "max_episode_len": None, "episodes_per_checkpoint": None}
        env = ScriptedEnv([[STEP] * 300 + [TRUNCATE]], journal)
        DefaultLoop(agent, env, run, **{**limits, **parameters}).train()
        return [step for step, _, _ in store.saved]

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


class TestEvaluation:
    def test_periodic_on_its_own_environment(self, tmp_path: Path) -> None:
        run, logger = logged_run(tmp_path)
        elsewhere: list[Any] = []
        run.prepare_evaluation(lambda: ScriptedEnv([[STEP, TERMINATE]], elsewhere), False)
        loop, journal = make_loop(run=run, max_episodes=4, episodes_per_eval=2, eval_episodes=3)
        loop.train()
        assert kinds(journal).count("reset") == 4
        assert kinds(elsewhere) == 2 * 3 * ["reset", "step", "step"]
        # The same seeds every time: evaluations are compared with each other.
        seeds = [entry[1] for entry in elsewhere if entry[0] == "reset"]
        assert seeds == 2 * Seeds(3).integers("periodic_evaluation", 3)
        rows = [(step, row) for step, row in logger.rows if "eval/return_mean" in row]
        assert [step for step, _ in rows] == [5, 10]
        assert rows[0][1]["eval/return_mean"] == 2.0
        assert rows[0][1]["eval/length_mean"] == 2.0
        assert all(name.startswith("eval/") for name in rows[0][1])

    def test_agent_is_left_alone(self) -> None:
        loop, journal = make_loop(max_episodes=2, eval_episodes=2)
        trainings: list[bool] = []
        act = loop.agent.act
        loop.agent.act = lambda *a: (trainings.append(loop.agent.training), act(*a))[1]
        results = loop.evaluate()
        assert set(kinds(journal)) == {"reset", "act", "step"}
        assert set(trainings) == {False}
        assert loop.agent.training is True
        assert [result.length for result in results] == [3, 2]
        assert [result.episode_return for result in results] == [3.0, 1.5]
        assert [result.seed for result in results] == loop.run.seeds.integers("evaluation", 2)
        assert (loop.steps, loop.episode) == (0, 0)

    def test_given_seeds(self) -> None:
        loop, journal = make_loop()
        results = loop.evaluate([7, 8, 9])
        assert [result.seed for result in results] == [7, 8, 9]
        assert [entry[1] for entry in journal if entry[0] == "reset"] == [7, 8, 9]

    def test_max_episode_len(self) -> None:
        loop, _ = make_loop([[STEP] * 100], max_episode_len=5)
        assert [result.length for result in loop.evaluate([1])] == [5]

    def test_no_random_stream_is_disturbed(self) -> None:
        def draws(loop: DefaultLoop) -> list[Any]:
            return [
                random.random(),
                np.random.rand(),
                loop.agent.rng.random(),
                int(loop.env.action_space.sample()),
                int(evaluated.action_space.sample()),
            ]

        class Drawing(JournalAgent):
            def act(self, state: Any, episode_num: int) -> int:
                random.random()
                np.random.rand()
                self.rng.random()
                return int(evaluated.action_space.sample())

        found = []
        for evaluate in (False, True):
            random.seed(1)
            np.random.seed(1)
            evaluated = ScriptedEnv(EPISODES, [])
            run = TrainingRun(Seeds(1))
            run.prepare_evaluation(lambda env=evaluated: env, False)
            journal: list[Any] = []
            loop = DefaultLoop(Drawing(journal, seed=5), ScriptedEnv(EPISODES, journal), run)
            if evaluate:
                loop.evaluate()
            found.append(draws(loop))
        assert found[0] == found[1]

    def test_same_seed_same_episode(self) -> None:
        class Drawing(JournalAgent):
            def act(self, state: Any, episode_num: int) -> float:
                return random.random() + self.rng.random() + np.random.rand()

        journal: list[Any] = []
        loop = DefaultLoop(Drawing(journal, seed=5), ScriptedEnv([[STEP, TERMINATE]], journal))
        loop.evaluate([7, 8])
        loop.evaluate([8, 7])
        actions = [entry[1] for entry in journal if entry[0] == "step"]
        assert actions[:2] == actions[6:]
        assert actions[2:4] == actions[4:6]
        assert actions[:2] != actions[2:4]

    def test_training_mode_returns_after_an_error(self) -> None:
        loop, _ = make_loop()

        def fail(*_: Any) -> None:
            raise RuntimeError("on purpose")

        loop.agent.act = fail
        with pytest.raises(RuntimeError, match="on purpose"):
            loop.evaluate([1])
        assert loop.agent.training is True

    def test_results_are_written_with_their_seeds(self, tmp_path: Path) -> None:
        parents = {"logdir": tmp_path / "logs", "eval_logdir": tmp_path / "evals"}
        run = TrainingRun(Seeds(3), directory=RunDirectory("run-1", parents))
        run.prepare_evaluation(lambda: ScriptedEnv(EPISODES, []), False)
        loop, _ = make_loop(run=run, max_episodes=1, episodes_per_eval=1, eval_episodes=2)
        loop.train()
        assert [path.name for path in (tmp_path / "evals" / "run-1").iterdir()] == [
            "step-000000003.json"
        ]


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


def test_state_goes_through_data() -> None:
    from gym_loop.state_tree import capture, restore

    loop, journal = make_loop(max_steps=4)
    loop.train()
    twin, _ = make_loop(max_steps=5)
    twin.load_state_dict(restore(None, capture(loop.state_dict())))
    assert (twin.steps, twin.episode, twin.episode_return, twin.episode_length) == (4, 1, 2.0, 1)
    assert tuple(twin.ob) == (1, 1)
    assert list(twin.upkeep.last_returns) == [3.0]
    assert journal


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
