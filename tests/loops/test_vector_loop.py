"""VectorLoop against scripted copies of which every value is known, and real environments."""

import os
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from scripted import JournalAgent
from scripted_copies import BatchJournal, OwnVectorEnv, episodes, expected, make_copies

from gym_loop.agents import BaseAgent
from gym_loop.agents.random_agent import RandomAgent
from gym_loop.envs.making import EnvSpec
from gym_loop.errors import EnvWorkerError, SpaceError
from gym_loop.experiment import evaluate, train
from gym_loop.loops.default_loop import DefaultLoop
from gym_loop.loops.upkeep import VECTOR_STEPS_PER_ROW
from gym_loop.loops.vector_loop import VectorLoop
from gym_loop.runs.loggers.base import BaseLogger
from gym_loop.runs.metrics import Metrics
from gym_loop.runs.training_run import TrainingRun
from gym_loop.seeding import Seeds
from gym_loop.verification import verify_resume

LOOP = "gym_loop.loops.vector_loop:VectorLoop"
KINDS = [
    *((kind, mode) for kind in ("sync", "own") for mode in AutoresetMode),
    ("workers", AutoresetMode.SAME_STEP),
    ("workers", AutoresetMode.NEXT_STEP),
]


def config(**parameters: Any) -> dict[str, Any]:
    env = parameters.pop("env", "CartPole-v1")
    return {
        "env": {"name": env},
        "seed": 5,
        "loop": {"class": LOOP, "parameters": {"n_envs": 3, "max_steps": 600, **parameters}},
    }


class ListLogger(BaseLogger):
    def log(self, step: int, scalars: Any, seconds: float) -> None:
        self.rows = [*getattr(self, "rows", []), (step, dict(scalars))]


def played(env: Any, **parameters: Any) -> tuple[VectorLoop, BatchJournal, ListLogger]:
    """A training with a journal, on copies that are closed after it."""
    logger = ListLogger(Path(), "run-1")
    run = TrainingRun(Seeds(3), metrics=Metrics([logger], lambda text: None))
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
        rows = [list(one.info["env_ids"]) for one in agent.observed]
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
        assert sorted(loop.upkeep.last_returns) == pytest.approx(sorted(one[1] for one in ended))
        assert sum(row["train/episodes"] for _, row in logger.rows) == len(ended)
        for name, index in (("return", 1), ("length", 2)):
            total = sum(
                row["train/episodes"] * row[f"train/episode_{name}"] for _, row in logger.rows
            )
            assert total == pytest.approx(sum(one[index] for one in ended))

    def test_goes_on_in_the_middle(self, kind: str, mode: AutoresetMode) -> None:
        if kind == "workers":
            return_to = make_copies("sync", mode)
        else:
            return_to = make_copies(kind, mode)
        agent = BatchJournal()
        first = VectorLoop(agent, return_to, max_steps=24)
        first.train()
        second = VectorLoop(agent, return_to, max_steps=60)
        second.load_state_dict(first.state_dict())
        second.train()
        for copy in range(3):
            found = agent.of_copy(copy)
            assert found == expected(copy, len(found))
        assert sum(len(one.reward) for one in agent.observed) == second.steps >= 60
        return_to.close()


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
        logger = ListLogger(Path(), "run-1")
        run = TrainingRun(Seeds(3), metrics=Metrics([logger], lambda text: None))
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
        merged = {**VectorLoop.get_default_parameters(), **parameters}
        assert list(VectorLoop.check_parameters(merged)) == [place]

    def test_the_defaults_are_right(self) -> None:
        assert VectorLoop.check_parameters(VectorLoop.get_default_parameters()) == {}


class Pushing(BaseAgent):
    """Pushes the cart to where the pole leans: not enough to keep it up for long."""

    supports_batch = True

    def act(self, state: Any, episode_num: int) -> Any:
        return (state[..., 2] > 0).astype(np.int64)


class TestEvaluation:
    @pytest.mark.parametrize("vectorization", ["auto", "sync", "async"])
    def test_the_same_as_default_loop(self, vectorization: str) -> None:
        seeds = Seeds(4).integers("evaluation", 7)
        single = gymnasium.make("CartPole-v1")
        wanted = DefaultLoop(Pushing(), single, max_episode_len=50).evaluate(seeds)
        parameters = {
            **VectorLoop.get_default_parameters(),
            "n_envs": 3,
            "vectorization": vectorization,
            "max_episode_len": 50,
        }
        spec = EnvSpec("CartPole-v1")
        env = VectorLoop.make_evaluation_env(spec, parameters)
        run = TrainingRun(Seeds(1))
        run.prepare_evaluation(lambda: env, False)
        loop = VectorLoop(Pushing(), VectorLoop.make_env(spec, parameters), run, **parameters)
        assert loop.evaluate(seeds) == wanted
        assert loop.evaluate(seeds[:2]) == wanted[:2]  # fewer than copies
        assert [one.seed for one in wanted] == seeds
        assert len({one.length for one in wanted}) > 2
        for one in (env, loop.env):
            one.close()

    def test_short_episodes_are_not_counted_more_often(self) -> None:
        env = make_copies("sync", AutoresetMode.DISABLED)
        loop = VectorLoop(BatchJournal(), env)
        results = loop.evaluate(list(range(6)))
        # Copy 0 plays the episodes 0 and 3, copy 1 the episodes 1 and 4, copy 2 those of 2 and 5.
        assert [one.length for one in results] == [1, 3, 6, 1, 3, 5]
        assert [one.seed for one in results] == [0, 1, 2, 3, 4, 5]
        env.close()

    @pytest.mark.parametrize("mode", AutoresetMode)
    def test_a_vector_environment_of_its_own_kind(self, mode: AutoresetMode) -> None:
        results = VectorLoop(BatchJournal(), OwnVectorEnv(mode)).evaluate([8, 9, 10, 11])
        assert [one.length for one in results] == [1, 3, 6, 1]
        assert [one.seed for one in results] == [8, 8, 8, 8]

    def test_the_training_is_not_disturbed(self) -> None:
        outcomes = []
        for every in (None, 2):
            env = make_copies("sync", AutoresetMode.SAME_STEP)
            run = TrainingRun(Seeds(3))
            run.prepare_evaluation(lambda: make_copies("sync", AutoresetMode.DISABLED), False)
            agent = BatchJournal()
            loop = VectorLoop(agent, env, run, max_steps=60, episodes_per_eval=every)
            loop.train()
            outcomes.append([agent.of_copy(copy) for copy in range(3)])
        assert outcomes[0] == outcomes[1]
        assert run.best_evaluation is not None

    def test_every_crossing_evaluates_once(self, tmp_path: Path) -> None:
        logger = ListLogger(tmp_path, "run-1")
        run = TrainingRun(Seeds(3), metrics=Metrics([logger], lambda text: None))
        run.prepare_evaluation(lambda: make_copies("sync", AutoresetMode.DISABLED), False)
        env = make_copies("sync", AutoresetMode.SAME_STEP)
        VectorLoop(BatchJournal(), env, run, max_steps=30, episodes_per_eval=2).train()
        evaluated = [step for step, row in logger.rows if "eval/return_mean" in row]
        # Episodes end in the vector steps 1, 2, 3, then three in 6, one in 8, one in 9.
        assert evaluated == [6, 18, 27]
        assert [step for step, _ in logger.rows] == sorted(step for step, _ in logger.rows)


class TestRuns:
    @pytest.mark.parametrize("vectorization", ["native", "sync", "async"])
    def test_verify_resume_is_identical(self, vectorization: str) -> None:
        found = verify_resume(config(vectorization=vectorization), steps=400)
        assert (found.differences, found.verdict) == ([], "exact")

    def test_sync_and_async_train_alike(self, workdir: Path) -> None:
        tables = []
        for vectorization in ("sync", "async"):
            result = train(config(vectorization=vectorization, episodes_per_eval=5))
            lines = (result.directories["logdir"] / "metrics.csv").read_text().splitlines()
            assert len(lines) > 3
            times = [i for i, name in enumerate(lines[0].split(",")) if "second" in name]
            tables.append(
                [
                    [cell for i, cell in enumerate(line.split(",")) if i not in times]
                    for line in lines
                ]
            )
        assert tables[0] == tables[1]

    def test_evaluate_command_uses_copies(self, workdir: Path) -> None:
        (workdir / "run.yaml").write_text(str(config(max_steps=60)))
        result = train("run.yaml")
        found = evaluate("run.yaml", run=result.run, episodes=5)
        assert len(found.episodes) == 5
        assert [one.seed for one in found.episodes] == Seeds(5).integers("evaluation", 5)

    def test_records_the_first_copy(self, workdir: Path) -> None:
        result = train(config(max_steps=300, record=2, n_envs=2))
        videos = sorted(result.directories["record_dir"].glob("*.mp4"))
        assert [one.name[:14] for one in videos[:3]] == [
            "episode-000000",
            "episode-000002",
            "episode-000004",
        ]

    def test_a_run_on_a_nested_space(self, workdir: Path) -> None:
        (workdir / "nested.py").write_text(NESTED)
        settings = config(env="Nested-v0", max_steps=90)
        settings["env"]["imports"] = ["nested.py"]
        result = train(settings)
        assert result.steps == 90
        assert result.episodes == 12


NESTED = """
import gymnasium
from gymnasium.spaces import Box, Dict, Discrete, Text, Tuple
import numpy as np

class Nested(gymnasium.Env):
    observation_space = Dict({"a": Box(-1, 9, (2,)), "b": Tuple((Discrete(9), Text(3)))})
    action_space = Dict({"c": Discrete(3), "d": Box(-1, 1, (2,))})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.ob(), {}

    def ob(self):
        return {"a": np.full(2, self.count, np.float32), "b": (self.count, "xyz")}

    def step(self, action):
        assert self.action_space.contains(
            {"c": np.int64(action["c"]), "d": np.asarray(action["d"])}
        )
        self.count += 1
        return self.ob(), 1.0, self.count == 7, False, {}

gymnasium.register("Nested-v0", Nested)
"""


class TestWorkers:
    def test_a_killed_worker_is_named_with_its_signal_and_last_action(self) -> None:
        env = make_copies("workers", AutoresetMode.SAME_STEP)

        class Killing(BatchJournal):
            def update(self, episode_num: int) -> None:
                super().update(episode_num)
                if len(self.updates) == 3:
                    os.kill(env.processes[1].pid, signal.SIGKILL)

        with pytest.raises(EnvWorkerError) as caught:
            VectorLoop(Killing(), env, max_steps=60).train()
        text = str(caught.value)
        assert "copy 1 of Scripted-v0 is lost" in text
        assert "killed by SIGKILL" in text
        # Its first episode has just ended, after three steps: the action of a first step.
        assert "its last action was 11" in text
        env.close()
        assert not any(process.is_alive() for process in env.processes)

    def test_a_run_says_so_and_is_marked_failed(self, workdir: Path) -> None:
        (workdir / "dying.py").write_text(DYING)
        settings = config(env="Dying-v0", vectorization="async", max_steps=90)
        settings["env"]["imports"] = ["dying.py"]
        with pytest.raises(EnvWorkerError, match=r"(?s)raised RuntimeError: too far.*step"):
            train(settings)
        manifest = (workdir / "logs" / "run-1" / "manifest.json").read_text()
        assert '"status": "failed"' in manifest


DYING = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Dying(CartPoleEnv):
    def reset(self, *, seed=None, options=None):
        if seed is not None:  # not in the proof, which resets a copy once more without one
            self.patience = 20
        else:
            self.patience = getattr(self, "patience", 0) + 100
        return super().reset(seed=seed, options=options)

    def step(self, action):
        self.patience -= 1
        if self.patience == 0:
            raise RuntimeError("too far")
        return super().step(action)

gymnasium.register("Dying-v0", Dying)
"""
