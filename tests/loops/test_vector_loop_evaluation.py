"""VectorLoop's evaluations: the episodes of DefaultLoop, none of them counted more often."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from gym_loop.agents import BaseAgent
from gym_loop.checkpoints.seeding import Seeds
from gym_loop.envs.making import EnvSpec
from gym_loop.loops.default_loop import DefaultLoop
from gym_loop.loops.vector_loop import VectorLoop
from gym_loop.runs.training_run import TrainingRun
from tests.scripted import logged_run
from tests.scripted_copies import BatchJournal, OwnVectorEnv, make_copies


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

    def test_every_crossing_evaluates_once(self) -> None:
        run, logger = logged_run()
        run.prepare_evaluation(lambda: make_copies("sync", AutoresetMode.DISABLED), False)
        env = make_copies("sync", AutoresetMode.SAME_STEP)
        VectorLoop(BatchJournal(), env, run, max_steps=30, episodes_per_eval=2).train()
        evaluated = [step for step, row in logger.rows if "eval/return_mean" in row]
        # Episodes end in the vector steps 1, 2, 3, then three in 6, one in 8, one in 9.
        assert evaluated == [6, 18, 27]
        assert [step for step, _ in logger.rows] == sorted(step for step, _ in logger.rows)
