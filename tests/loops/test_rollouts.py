"""Whole rollouts from actors: the same steps in the same order, exact, and resumed exactly.

Most actors are in this process, for Ray takes seconds to start one; a last test has real ones.
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import gym_loop
from gym_loop.agents import BaseAgent
from gym_loop.agents.acting import ActsInWorkers
from gym_loop.agents.ppo import PPO
from gym_loop.checkpoints.seeding import Seeds
from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.checkpoints.tree import capture, first_difference, restore
from gym_loop.envs import ray_workers as shards
from gym_loop.errors import ConfigError, ContractError, EnvParametersError, EnvWorkerError
from gym_loop.loops.vector_loop import VectorLoop
from gym_loop.runs.training_run import TrainingRun
from gym_loop.schema.parameters import check_parameters
from tests.loops.local_ray import LocalRay
from tests.scripted_copies import BatchJournal, ScriptedCopy, expected

LOOP = "gym_loop.loops.vector_loop:VectorLoop"
PPO_SMALL = {"n_steps": 16, "batch_size": 32, "n_epochs": 2}
SMALL = {"learning_starts": 50, "batch_size": 16, "network_parameters": {"hidden": [16]}}


@pytest.fixture(scope="module", autouse=True)
def _no_ray_is_left() -> Iterator[None]:
    yield
    import ray

    ray.shutdown()


@pytest.fixture
def _local_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_ray_that_runs", LocalRay)


local = pytest.mark.usefixtures("_local_ray")


class Numbered:
    """Makes the scripted copies 0, 1, 2, one after the other."""

    made = 0

    def __init__(self, cls: type = ScriptedCopy) -> None:
        self.cls = cls

    def __deepcopy__(self, memo: Any) -> "Numbered":
        return self

    def __call__(self) -> gymnasium.Env:
        self.made += 1
        return self.cls(self.made - 1)


def scripted(**parameters: Any) -> VectorLoop:
    env = shards.ShardsEnv(Numbered(), 3, "Scripted-v0", AutoresetMode.SAME_STEP, shards=3)
    parameters = {"rollout_steps": 4, "max_steps": 60, **parameters}
    return VectorLoop(BatchJournal(), env, TrainingRun(Seeds(3)), **parameters)


def run_file(agent: str, parameters: dict[str, Any], **loop: Any) -> dict[str, Any]:
    env = "Pendulum-v1" if agent in ("sac", "td3") else "CartPole-v1"
    class_string = agent if ":" in agent else f"gym_loop.agents.{agent}:{agent.upper()}"
    return {
        "agent": {"class": class_string, "parameters": parameters},
        "env": {"name": env},
        "loop": {
            "class": LOOP,
            "parameters": {
                "n_envs": 2,
                "max_steps": 300,
                "vectorization": "ray",
                "rollout_steps": 8,
                "eval_episodes": 2,
                **loop,
            },
        },
    }


def state(run: str) -> Any:
    tree = CheckpointStore(Path("checkpoints", run)).newest().tree
    loop = {name: one for name, one in tree["loop"].items() if name != "episode_log"}
    return {"agent": tree["agent"], "loop": loop, "environment": tree["environment"]["copies"]}


@local
class TestSteps:
    def test_every_step_is_told_once_and_in_order(self) -> None:
        loop = scripted()
        loop.train()
        for copy in range(3):
            assert loop.agent.of_copy(copy) == expected(copy, 20)
        assert (loop.steps, loop.vector_steps, len(loop.agent.updates)) == (60, 20, 20)
        assert loop.agent.acted == []  # copies of it have acted

    def test_the_budget_is_not_overshot_and_goes_on_in_the_middle(self) -> None:
        first = scripted(max_steps=18)
        first.train()
        assert first.rollouts is not None
        assert (first.steps, len(first.rollouts.played)) == (18, 2)
        second = VectorLoop(BatchJournal(), first.env, max_steps=60, rollout_steps=4)
        second.load_state_dict(first.state_dict())
        second.train()
        found = first.agent.of_copy(2) + second.agent.of_copy(2)
        assert found == expected(2, 20)

    def test_new_episodes_leave_out_what_was_played_and_end_with_the_rollout(self) -> None:
        loop = scripted(max_steps=18)
        loop.train()
        loop.begin_new_episode()
        loop.parameters["max_steps"] = 24
        loop.train()
        assert loop.rollouts is not None
        assert (loop.steps, len(loop.rollouts.played)) == (24, 0)
        assert loop.agent.observed[6].last_ob[2].tolist() == [2, 2, 0, 0]

    def test_random_episodes_are_rollouts_of_random_actions(self) -> None:
        loop = scripted(random_episodes=1, max_steps=24)
        loop.train()
        assert loop.agent.of_copy(1)[4:] != expected(1, 8)[4:]
        actions = [one.action.tolist() for one in loop.agent.observed]
        assert len(np.unique(actions[:4])) > 8
        assert actions[4:] == [
            [int(10 * ob[0] + ob[2] + 1) for ob in one.last_ob] for one in loop.agent.observed[4:]
        ]
        assert len(loop.agent.updates) == 7  # the first episode ends in the first step


@local
class TestAgents:
    @pytest.mark.parametrize(
        ("agent", "parameters", "loop"),
        [
            ("ppo", {**PPO_SMALL, "norm_obs": True}, {"random_episodes": 3}),
            ("dqn", {**SMALL, "noisy": True}, {}),
            ("td3", {**SMALL, "noise_type": "ornstein-uhlenbeck"}, {}),
            ("sac", {**SMALL, "use_sde": True, "sde_sample_freq": 4}, {}),
            ("gym_loop.agents.random_agent:RandomAgent", {}, {}),
        ],
        ids=lambda one: one if isinstance(one, str) else "",
    )
    def test_a_stopped_training_goes_on_exactly(
        self, agent: str, parameters: dict[str, Any], loop: dict[str, Any], workdir: Path
    ) -> None:
        file = run_file(agent, parameters, **loop)
        whole = gym_loop.train(file, seed=1)
        half = gym_loop.train(file, {"loop.parameters.max_steps": 150}, seed=1)
        again = gym_loop.train(file, {"loop.parameters.max_steps": 300}, resume=half.run)
        assert (again.steps, again.episodes) == (whole.steps, whole.episodes)
        assert first_difference(state(whole.run), state(again.run)) == ""

    def test_other_seeds_and_copies_act_otherwise(self, workdir: Path) -> None:
        actions = []

        class Watched(gymnasium.Env):
            observation_space = gymnasium.spaces.Discrete(2)
            action_space = gymnasium.spaces.Box(-1, 1, (1,))

            def reset(self, *, seed: Any = None, options: Any = None) -> Any:
                return 0, {}

            def step(self, action: Any) -> Any:
                actions.append(float(action[0]))
                return 0, 0.0, False, False, {}

        gymnasium.register("Watched-v0", Watched)
        file = run_file("ppo", PPO_SMALL, max_steps=32) | {"env": {"name": "Watched-v0"}}
        for seed in (1, 1, 2):
            gym_loop.train(file, seed=seed)
        one, other, third = np.array(actions).reshape(3, -1)[:, -32:]
        assert len(set(one)) > 16  # some are the bounds
        assert np.array_equal(one, other)
        assert set(one) & set(third) <= {-1.0, 1.0}

    def test_what_it_acts_with_must_be_there(self) -> None:
        class Misspelt(ActsInWorkers, BatchJournal):
            acts_with = ("weigths",)

        with pytest.raises(ContractError, match=r"Misspelt.acts_with names weigths"):
            Misspelt().acting_state()

    def test_an_agent_that_only_has_the_names_is_refused(self) -> None:
        class Undeclared(BatchJournal):
            acts_with = ("weights",)

        env = scripted(max_steps=4).env
        with pytest.raises(ContractError, match=r"Undeclared has acts_with.*ActsInWorkers"):
            VectorLoop(Undeclared(), env, rollout_steps=4)

    def test_infos_that_are_no_data_are_left_out_of_a_checkpoint(self) -> None:
        class Telling(ScriptedCopy):
            def step(self, action: Any) -> Any:
                *values, _ = super().step(action)
                return *values, {"number": 3.0, "odd": iter([1])}

        env = shards.ShardsEnv(Numbered(Telling), 3, "Telling", AutoresetMode.SAME_STEP, shards=3)
        loop = VectorLoop(BatchJournal(), env, TrainingRun(Seeds(3)), rollout_steps=4, max_steps=3)
        loop.train()
        assert set(loop.agent.observed[0].info) > {"number", "odd"}
        saved = restore(None, capture(loop.state_dict()))["rollouts"]["played"]
        (_, _, ((*_, info), _)) = saved[0][0]
        assert info == {"number": 3.0}

    def test_an_agent_with_a_generator_of_its_own_draws_other_numbers_in_every_rollout(
        self,
    ) -> None:
        class Own(BatchJournal):
            def __init__(self, **params: Any) -> None:
                super().__init__(**params)
                self.generator = np.random.default_rng(0)

            def act(self, ob: Any, episode_num: int) -> Any:
                return self.generator.integers(1000, size=len(ob))

        loop = scripted(max_steps=60)
        loop.agent = Own()
        loop.train()
        actions = np.array([one.action for one in loop.agent.observed])
        assert len(np.unique(actions)) > 50

    def test_a_step_that_a_copy_of_ppo_chose_is_held_as_if_it_was_chosen_here(self) -> None:
        spaces = {
            "observation_space": gymnasium.spaces.Box(-1, 1, (3,)),
            "action_space": gymnasium.spaces.Box(-1, 1, (2,)),
        }
        options = {"n_envs": 1, "seed": 4, "n_steps": 2, "norm_obs": True, **spaces}
        here, copy, learner = PPO(**options), PPO(**options), PPO(**options)
        copy.load_acting_state(learner.acting_state())
        ob = np.array([[0.5, 0.1, -0.7]], np.float32)
        assert np.array_equal(here.act(ob, 0), copy.act(ob, 0))
        learner.load_acted_state(ob, copy.acted_state())
        assert learner.rollout.pending
        learner.rng = here.rng
        assert first_difference(here.state_dict(), learner.state_dict()) == ""


@local
class TestRefusals:
    def test_other_vectorizations(self) -> None:
        for parameters in ({"rollout_steps": 4}, {"rollout_steps": 0, "vectorization": "ray"}):
            assert list(check_parameters(VectorLoop, parameters)[1]) == ["rollout_steps"]

    def test_steps_of_an_older_policy(self, workdir: Path) -> None:
        file = run_file("ppo", PPO_SMALL, rollout_steps=12)
        with pytest.raises(ConfigError, match=r"12 does not divide agent.parameters.n_steps, 16"):
            gym_loop.train(file)

    def test_actors_with_several_copies(self) -> None:
        make = partial(gymnasium.make, "CartPole-v1")
        env = shards.ShardsEnv(make, 3, "CartPole-v1", AutoresetMode.SAME_STEP, shards=2)
        with pytest.raises(EnvParametersError, match="an actor a copy"):
            VectorLoop(BatchJournal(), env, rollout_steps=4, max_steps=9).train()

    def test_an_agent_that_raises_is_named_with_its_error(self) -> None:
        class Broken(BatchJournal):
            def act(self, ob: Any, episode_num: int) -> Any:
                raise ValueError("boom")

        loop = scripted()
        loop.agent = Broken()
        with pytest.raises(EnvWorkerError, match=r"acts on Scripted-v0, .* ValueError: boom"):
            loop.train()


@local
def test_a_run_without_rollouts_begins_new_episodes_where_the_copies_are_ahead(
    workdir: Path,
) -> None:
    file = run_file("dqn", SMALL, max_steps=20)
    first = gym_loop.train(file, seed=1)
    changed = {"loop.parameters.rollout_steps": None, "loop.parameters.max_steps": 24}
    assert gym_loop.train(file, changed, resume=first.run).steps == 24


# -- real actors -----------------------------------------------------------------------------

MINE = "from gym_loop.agents.ppo import PPO\n\n\nclass Mine(PPO):\n    pass\n"


class TestRealActors:
    def test_ray_gives_what_actors_in_this_process_give(self, workdir: Path) -> None:
        (workdir / "mine.py").write_text(MINE)
        file = run_file("mine.py:Mine", PPO_SMALL, max_steps=96)
        there = gym_loop.train(file, seed=1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shards, "_ray_that_runs", LocalRay)
            here = gym_loop.train(file, seed=1)
        # Copies in this process share its random streams, which nobody draws from here.
        for part in ("agent", "loop"):
            assert first_difference(state(here.run)[part], state(there.run)[part]) == ""

    def test_an_actor_that_dies_is_said_to_be_lost(self) -> None:
        class Deadly(BaseAgent):  # in here: an actor cannot import this file
            supports_batch = True

            def act(self, state: Any, episode_num: int) -> Any:
                os._exit(1)

        make = partial(gymnasium.make, "CartPole-v1")
        env = shards.ShardsEnv(make, 1, "CartPole-v1", AutoresetMode.SAME_STEP, shards=1)
        with pytest.raises(EnvWorkerError, match=r"an actor with copies of CartPole-v1 is lost"):
            VectorLoop(Deadly(), env, rollout_steps=4, max_steps=9).train()
        env.close()
