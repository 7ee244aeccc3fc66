"""One agent, many copies of an environment, all of which step at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from gymnasium.vector import AutoresetMode

from gym_loop.agents.transition import TakenRows, VectorTransition
from gym_loop.checkpoints.seeding import isolated
from gym_loop.checkpoints.tree import saved_count
from gym_loop.envs.autoreset import Copies, Rows, array_rows, row_taker
from gym_loop.envs.making import EnvSpec, is_class_string
from gym_loop.envs.vector import check_whole_batches, make_vector_env
from gym_loop.errors import SpaceError
from gym_loop.loops.base_loop import BaseLoop
from gym_loop.loops.loop_parameters import LoopParameters
from gym_loop.loops.progress import EvaluationProgress
from gym_loop.loops.rollouts import Rollouts
from gym_loop.runs.results import EpisodeResult
from gym_loop.runs.training_run import TrainingRun
from gym_loop.schema.parameters import Field, NonNegativeInt, PositiveInt


class VectorLoopParameters(LoopParameters):
    """What `LoopParameters` have, and the copies."""

    max_episode_len: PositiveInt | None = Field(
        None,
        description="Cut (truncate) an episode after so many steps; null for the environment's own "
        "limit.",
    )
    max_episodes: PositiveInt | None = Field(
        None,
        description="Train for so many episodes; null for no limit. Those that end in the last "
        "step count too.",
    )
    max_steps: PositiveInt | None = Field(
        100_000,
        description="Train for so many environment steps, those of all copies counted; null for no "
        "limit. Training ends with whichever limit comes first.",
    )
    n_envs: PositiveInt = Field(8, description="Number of copies.")
    record: bool | NonNegativeInt = Field(
        False,
        description="Record videos of the first copy, which needs copies in this process: true for "
        "its episodes 0, 1, 8, 27, ... 1000, 2000, ..., a number N for every N-th episode.",
    )
    render: bool = Field(
        False, description="Show the first copy in a window, which needs copies in this process."
    )
    rollout_steps: PositiveInt | None = Field(
        None,
        description="With vectorization ray, let each copy play so many steps on its own, with a "
        "copy of the agent that acts beside it, before all of them are learnt from; null to act "
        "here, step by step. PPO's n_steps must be a multiple.",
    )
    vectorization: Literal["auto", "native", "sync", "async", "ray"] = Field(
        "auto",
        description="native for the environment's own vector entry point, sync for copies in this "
        "process, async for copies in processes of their own, ray for copies in Ray's actors, on "
        "many machines if RAY_ADDRESS names a cluster; auto is native where there is one, no "
        "wrapper forbids it, and the agent gets all the rows that it needs, else sync.",
    )

    def problems(self) -> dict[str, str]:
        """Pictures of copies that are out of reach, and steps in copies that take none."""
        found = {}
        if self.rollout_steps is not None and self.vectorization != "ray":
            found["rollout_steps"] = (
                f"{self.rollout_steps} needs copies in Ray's actors: set vectorization to ray, or"
                " leave it null"
            )
        if self.vectorization in ("native", "async", "ray"):
            for name in ("record", "render"):
                if getattr(self, name):
                    found[name] = (
                        f"needs copies in this process: set vectorization to auto or sync, or"
                        f" {name} to false"
                    )
        return found


class VectorLoop(BaseLoop):
    """Train and evaluate an agent on ``n_envs`` copies of an environment at once.

    The agent's ``supports_batch`` must be True. It acts on observations ``[N, ...]``, one row
    a copy, and observes a `Transition` of ``1 <= M <= N`` rows: those copies that took a step.
    ``transition.env_ids`` says which they are; ``ob`` holds the true last observation of an
    episode. Only in autoreset mode NEXT_STEP is ``M < N``: while a copy is reset it takes no
    step, and the action that was chosen for it is dropped. An agent gets such copies only if its
    ``supports_partial_batch`` is True.

    Raises:
        SpaceError: the agent takes no batches.
        EnvParametersError: when training begins: the copies skip rows that the agent needs.
    """

    Parameters = VectorLoopParameters

    @staticmethod
    def make_env(
        spec: EnvSpec, parameters: dict[str, Any], *, render: bool = False, record: bool = False
    ) -> Any:
        """Make the copies that are trained on."""
        return make_vector_env(
            spec,
            parameters["n_envs"],
            parameters["vectorization"],
            longest=parameters["max_episode_len"],
            shards=parameters["n_envs"] if parameters["rollout_steps"] else None,
            render=render,
            record=record,
        )

    @classmethod
    def make_evaluation_env(
        cls,
        spec: EnvSpec,
        parameters: dict[str, Any],
        *,
        render: bool = False,
        record: bool = False,
    ) -> Any:
        """Make copies that can each be reset with a seed of its own; a class string's cannot."""
        vectorization = "auto"
        if not is_class_string(spec.name):
            in_workers = parameters["vectorization"] in ("async", "ray")
            vectorization = parameters["vectorization"] if in_workers else "sync"
            if render or record:
                vectorization = "sync"
        return make_vector_env(
            replace(spec, whole_batches=False),  # nobody observes
            min(parameters["n_envs"], parameters["eval_episodes"]),
            vectorization,
            longest=parameters["max_episode_len"],
            render=render,
            record=record,
            autoreset=AutoresetMode.DISABLED,
        )

    def __init__(
        self, agent: Any, env: Any, run: TrainingRun | None = None, **parameters: Any
    ) -> None:
        if not getattr(agent, "supports_batch", False):
            raise SpaceError(
                f"{type(agent).__name__} takes one observation at a time (its supports_batch is"
                " False): use the loop gym_loop.loops.default_loop:DefaultLoop"
            )
        super().__init__(agent, env, run, **parameters)
        self.ob: Any = None  # [N, ...] what the agent sees now; None before the first reset
        self.returns = np.zeros(env.num_envs)  # of the episodes under way
        self.vector_steps = 0
        self.began_at = np.zeros(env.num_envs, np.int64)  # vector step that an episode began at
        self.first_copy_episode = 0
        self.copies = Copies(env)
        self._everyone = np.arange(env.num_envs)
        self._everyone.flags.writeable = False
        of_obs, of_actions = map(row_taker, (env.single_observation_space, env.single_action_space))
        self._takers = (of_obs, of_actions, array_rows, array_rows, array_rows, of_obs)
        self.rollouts = Rollouts(self) if self.parameters["rollout_steps"] else None

    def train(self) -> None:
        """Train until ``max_steps`` or ``max_episodes``, or until the run is asked to stop."""
        if not getattr(self.agent, "supports_partial_batch", False):
            check_whole_batches(self.env)
        self.copies.use(self.env)
        self.start()
        if self.ob is None:
            self.begin()
        self._start_video()
        while self.wants_more():
            self.play()
            self.look_up()
        self.finish()

    def begin(self) -> None:
        """Reset all copies; the very first time with the run's seed."""
        count = self.copies.count
        seeds = self.run.seeds.integers("environment", count) if self.steps == 0 else None
        self.ob = self.copies.reset(seeds)
        self.returns[:] = 0.0
        self.began_at[:] = self.vector_steps
        if self.rollouts is not None:
            self.rollouts.forget()

    def play(self) -> None:
        """Step all copies until something is due."""
        # Local names: an attribute access a step is what a loop's cost consists of.
        agent, copies, returns, progress = self.agent, self.copies, self.returns, self.progress
        act, observe, update, step = agent.act, agent.observe, agent.update, copies.step
        sample = self.env.action_space.sample
        if self.rollouts is not None:
            act, sample = self.rollouts.act, self.rollouts.sample
        if self.run.stopwatch is not None:
            act, observe, update, step = self.run.stopwatch.around(act, observe, update, step)
        random_episodes = self.parameters["random_episodes"]
        everyone, takers = self._everyone, self._takers
        over = None if copies.over is None else copies.over.nonzero()[0]
        while self.steps < progress.attention_at:
            episode, last_ob = self.episode, self.ob
            warming_up = episode < random_episodes
            # The agent chooses,
            actions = sample() if warming_up else act(last_ob, episode)
            # the worlds answer;
            ob, reward, terminated, truncated, info, next_ob, ended, live = step(actions)
            returns += reward
            if copies.resets_pay and live is not None:  # what no action has earned
                returns[over] = 0.0
            rows = everyone if live is None else live
            stepped = len(rows)
            # What the environment itself calls env_ids stays; the attribute is ours.
            info = {"env_ids": rows, **info}
            # Half the time of VectorTransition(...), as in DefaultLoop.
            told = tuple.__new__(
                VectorTransition if live is None else TakenRows,
                (last_ob, actions, reward, terminated, truncated, ob, info),
            )
            told.env_ids = rows
            if live is not None:
                told.takers = takers
            # the agent remembers, then learns.
            if stepped:  # else all of them were reset
                observe(told)
                self.steps += stepped
                if not warming_up:
                    update(episode)
            self.ob = next_ob
            self.vector_steps += 1
            over = ended
            if ended is not None:
                self.end_episodes(ended)

    def end_episodes(self, ended: Rows) -> None:
        """Count the episodes that ended in this step, log them, and do what is due after them."""
        now = self.vector_steps
        returns, began_at = self.returns.take(ended).tolist(), self.began_at.take(ended).tolist()
        self.returns[ended] = 0.0
        # In mode NEXT_STEP the reset takes a step of its own.
        self.began_at[ended] = now if self.copies.over is None else now + 1
        self.episode += len(returns)
        if ended.item(0) == 0:
            self.first_copy_episode += 1
            if self.run.recorder is not None:
                self._start_video()
        self.episodes_finished(returns, now * len(returns) - sum(began_at))

    def _start_video(self) -> None:
        """Finish the video of the first copy's last episode, and begin one if it is wanted."""
        recorder = self.run.recorder
        recorded = recorder is not None and recorder.begin(self.first_copy_episode, self.steps)
        self.copies.capture = None
        if recorder is not None and recorded:
            self.copies.capture = self.run.timed("recording", recorder.capture)

    def evaluate(self, seeds: Sequence[int] | None = None) -> list[EpisodeResult]:
        """Play one episode a seed without learning; nothing of the training is disturbed.

        Copy ``i`` of ``n`` plays the episodes ``i``, ``i + n``, ``i + 2n``..., so that those that
        are short are counted no more often than they are due. Each begins with a reset by its
        own seed. Where that cannot be done (a vector environment of its own kind), one reset with
        the first seed begins them all, and stands in every result.
        """
        env = self.run.evaluation_env()
        if env is None:
            env, self.ob = self.env, None
        episodes = list(self.evaluation_seeds(seeds))
        spaces = [env.action_space, self.agent.parameters.get("action_space")]
        spaces = [space for space in spaces if space is not None]
        with self.agent.evaluating(), isolated(self.agent, spaces) as reseed:
            reseed(episodes[0])
            return _Evaluation(Copies(env), self.run, episodes).play(
                lambda ob: self.agent.act(ob, self.episode), self.steps
            )

    def state_dict(self) -> dict[str, Any]:
        """Counters and the episodes under way."""
        # The agent may remember this very object, and a resumed run makes a new one: the run that
        # goes on has a new one too, so that their checkpoints are the same.
        self.ob = deepcopy(self.ob)
        rollouts = {} if self.rollouts is None else {"rollouts": self.rollouts.state_dict()}
        return {
            **super().state_dict(),
            **rollouts,
            "ob": self.ob,
            "returns": self.returns,
            "vector_steps": self.vector_steps,
            "began_at": self.began_at,
            "first_copy_episode": self.first_copy_episode,
            "over": self.copies.over,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to where `state_dict` was called, with all episodes under way."""
        super().load_state_dict(state)
        self.ob = state["ob"]
        self.returns[:] = state["returns"]
        self.vector_steps = saved_count(state, "vector_steps")
        self.began_at[:] = state["began_at"]
        self.first_copy_episode = saved_count(state, "first_copy_episode")
        over = state["over"]
        self.copies.over = (
            None if over is None else over.astype(bool, casting="safe").reshape(self.copies.count)
        )
        rollouts = state.get("rollouts")
        if rollouts and self.rollouts is not None:
            self.rollouts.load_state_dict(rollouts)
        elif rollouts and rollouts["played"]:  # and no rollouts any more: the copies are ahead
            self.begin_new_episode()

    def begin_new_episode(self) -> None:
        """Give up the episodes under way; the next ones start with a reset."""
        self.ob = None


class _Evaluation:
    """Episodes that are shared out among copies.

    Args:
        copies: the copies; those that have no episode left play on, unobserved.
        run: says when to stop, and has the recorder of the first copy.
        seeds: one an episode.
    """

    def __init__(self, copies: Copies, run: TrainingRun, seeds: Sequence[int]) -> None:
        self.copies = copies
        self.run = run
        self.seeds = seeds if copies.each_is_seeded else [seeds[0]] * len(seeds)
        self.playing = list(range(copies.count))  # the episode of each copy
        self.returns = np.zeros(copies.count)
        self.lengths = np.zeros(copies.count, np.int64)
        self.results: dict[int, EpisodeResult] = {}
        self.progress = EvaluationProgress(run.console, len(seeds), copies.count)

    def play(self, act: Callable[[Any], Any], steps: int) -> list[EpisodeResult]:
        """Play to the end of the last episode, or until the run is asked to stop."""
        copies, seeds = self.copies, self.seeds
        first = [seeds[i] if i < len(seeds) else seeds[0] for i in range(copies.count)]
        seeds_of = self._seeds_of if copies.each_is_seeded else None
        ob = copies.reset(first)
        self._start_video(steps)
        while len(self.results) < len(seeds) and not self.run.stop_requested:
            _, reward, _, _, _, ob, ended, live = copies.step(act(ob), seeds_of)
            self.progress.stepped(copies.count if live is None else len(live))
            rows = slice(None) if live is None else live
            self.returns[rows] += np.asarray(reward)[rows]
            self.lengths[rows] += 1
            if ended is not None:
                self._end(ended.tolist(), steps)
        self.run.console.clear()
        if self.run.evaluation_recorder is not None:
            self.run.evaluation_recorder.end()
        return [self.results[number] for number in sorted(self.results)]

    def _end(self, ended: list[int], steps: int) -> None:
        for copy in ended:
            number = self.playing[copy]
            if number < len(self.seeds):
                self.results[number] = EpisodeResult(
                    self.seeds[number], float(self.returns[copy]), int(self.lengths[copy])
                )
                self.progress.ended(float(self.returns[copy]))
            self.playing[copy] = number + self.copies.count
        self.returns[ended], self.lengths[ended] = 0.0, 0
        if ended[0] == 0:
            self._start_video(steps)

    def _seeds_of(self, ended: Rows) -> list[int | None]:
        """The seeds of the episodes that begin where others ended; none where none is left."""
        seeds: list[int | None] = [None] * self.copies.count
        for copy in ended.tolist():
            number = self.playing[copy] + self.copies.count
            seeds[copy] = self.seeds[number] if number < len(self.seeds) else None
        return seeds

    def _start_video(self, steps: int) -> None:
        recorder, number = self.run.evaluation_recorder, self.playing[0]
        if recorder is None:
            return
        recorder.end()
        wanted = number < len(self.seeds) and recorder.begin(number, steps)
        self.copies.capture = recorder.capture if wanted else None
