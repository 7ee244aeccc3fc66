"""DefaultLoop's evaluations: the same every time, and without an effect on the training."""

import json
import random
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gym_loop.checkpoints.seeding import Seeds
from gym_loop.loops.default_loop import DefaultLoop
from gym_loop.runs.directory import RunDirectory
from gym_loop.runs.training_run import TrainingRun
from tests.scripted import (
    EPISODES,
    STEP,
    TERMINATE,
    JournalAgent,
    ScriptedEnv,
    kinds,
    logged_run,
    make_loop,
)


class TestEvaluation:
    def test_periodic_on_its_own_environment(self) -> None:
        run, logger = logged_run()
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

        def noted(*arguments: Any) -> Any:
            trainings.append(loop.agent.training)
            return act(*arguments)

        loop.agent.act = noted
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
            run.prepare_evaluation(repeat(evaluated).__next__, False)
            journal: list[Any] = []
            loop = DefaultLoop(Drawing(journal, seed=5), ScriptedEnv(EPISODES, journal), run)
            if evaluate:
                loop.evaluate()
            found.append(draws(loop))
        assert found[0] == found[1]

    def test_same_seed_same_episode(self) -> None:
        class Drawing(JournalAgent):
            def act(self, state: Any, episode_num: int) -> Any:
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
        (path,) = (tmp_path / "evals" / "run-1").iterdir()
        assert path.name == "step-000000003.json"
        episodes = json.loads(path.read_text())["per_episode"]
        first, second = Seeds(3).integers("periodic_evaluation", 2)
        assert [(one["seed"], one["return"]) for one in episodes] == [(first, 3.0), (second, 1.5)]
