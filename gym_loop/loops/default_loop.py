"""One agent, one environment, one episode after the other."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gym_loop.agents.transition import Transition
from gym_loop.checkpoints.seeding import isolated
from gym_loop.checkpoints.tree import saved_count, saved_number
from gym_loop.envs.step_results import OwnObservations, as_flags, as_reward
from gym_loop.errors import EnvError
from gym_loop.loops.base_loop import BaseLoop
from gym_loop.loops.loop_parameters import LoopParameters
from gym_loop.loops.progress import EvaluationProgress
from gym_loop.runs.results import EpisodeResult
from gym_loop.runs.training_run import TrainingRun
from gym_loop.schema.old_code import explained_reset

# Half the time of Transition(...), which passes through a function written in Python.
_transition = partial(tuple.__new__, Transition)


def _no_update(episode: int) -> None:
    """What an agent learns from random actions before its time: nothing."""


class DefaultLoop(BaseLoop):
    """Train and evaluate an agent on a single environment.

    To change what happens around an episode, override `begin_episode` or `end_episode` and
    call the original.
    """

    Parameters = LoopParameters

    def __init__(
        self, agent: Any, env: Any, run: TrainingRun | None = None, **parameters: Any
    ) -> None:
        super().__init__(agent, env, run, **parameters)
        self.ob: Any = None  # what the agent sees now
        self.in_episode = False
        self.episode_return = 0.0
        self.episode_length = 0
        self._observations = OwnObservations()
        self._capture: Callable[[], None] | None = None  # takes a frame, where one is wanted

    def train(self) -> None:
        """Train until ``max_episodes`` or ``max_steps``, or until the run is asked to stop."""
        self.start()
        if self.in_episode:  # resumed in the middle of one
            self._start_video()
        while self.wants_more():
            if not self.in_episode:
                self.begin_episode()
            if self.play():
                self.end_episode()
            else:
                self.look_up()
        self.finish()

    def begin_episode(self) -> None:
        """Reset the environment; the very first time with the run's seed."""
        seed = self.run.seeds.integer("environment") if self.steps == 0 else None
        ob, _ = self.run.timed("environment", self.env.reset)(seed=seed)
        self.ob = self._observations.first(ob)
        self.episode_return, self.episode_length = 0.0, 0
        self.in_episode = True
        self._start_video()

    def play(self) -> bool:
        """Step to the end of the episode, or until something else is due.

        Returns:
            Whether the episode ended.
        """
        # Local names: an attribute access a step is what a loop's cost consists of.
        agent, env, progress, episode = self.agent, self.env, self.progress, self.episode
        act, observe, update, step = agent.act, agent.observe, agent.update, env.step
        if episode < self.parameters["random_episodes"]:
            act, update = self._random_action, _no_update
        if self.run.stopwatch is not None:
            act, observe, update, step = self.run.stopwatch.around(act, observe, update, step)
        if self._observations.needed:
            step = self._observations.around(step)
        longest = self.parameters["max_episode_len"] or float("inf")
        capture = self._capture
        ob, total, length, steps = self.ob, self.episode_return, self.episode_length, self.steps
        over = False
        try:
            while not over and steps < progress.attention_at:
                # The agent chooses,
                action = act(ob, episode)
                # the world answers;
                next_ob, reward, terminated, truncated, info = step(action)
                length += 1
                if length >= longest:
                    truncated = True
                if terminated is not False or truncated is not False:
                    if type(terminated) is not bool or type(truncated) is not bool:
                        terminated, truncated = as_flags(terminated, truncated)
                    over = terminated or truncated
                if type(reward) is not float and not isinstance(reward, float):
                    # np.float64 is one; others lose digits in sums
                    reward = as_reward(reward)
                # the agent remembers, then learns.
                observe(_transition((ob, action, reward, terminated, truncated, next_ob, info)))
                update(episode)
                ob = next_ob
                total += reward
                steps += 1
                if capture is not None:
                    capture()
        finally:
            self.ob, self.episode_return, self.episode_length, self.steps = ob, total, length, steps
        return bool(over)

    def _random_action(self, ob: Any, episode: int) -> Any:
        return self.env.action_space.sample()

    def end_episode(self) -> None:
        """Count the episode, log it, and do what is due after it."""
        self.in_episode = False
        self.episode += 1
        if self.run.recorder is not None:
            self.run.recorder.end()
        self.episodes_finished([float(self.episode_return)], self.episode_length)
        self.look_up()

    def _start_video(self) -> None:
        recorder = self.run.recorder
        recorded = recorder is not None and recorder.begin(self.episode, self.steps)
        self._capture = None
        if recorder is not None and recorded:
            self._capture = self.run.timed("recording", recorder.capture)

    def evaluate(self, seeds: Sequence[int] | None = None) -> list[EpisodeResult]:
        """Play one episode a seed without learning; nothing of the training is disturbed.

        Uses the run's evaluation environment, or the loop's own where the run has none.
        """
        env = self.run.evaluation_env()
        if env is None:
            env, self.in_episode = self.env, False
        own = getattr(env.unwrapped, "action_space", None)  # a wrapper may show another one
        spaces = [own, env.action_space, self.agent.parameters.get("action_space")]
        spaces = [space for space in spaces if space is not None]
        chosen = self.evaluation_seeds(seeds)
        progress = EvaluationProgress(self.run.console, len(chosen))
        results: list[EpisodeResult] = []
        with self.agent.evaluating(), isolated(self.agent, spaces) as reseed:
            for number, seed in enumerate(chosen):
                reseed(seed)
                result = self._evaluate_episode(env, seed, number, progress)
                if result is None:  # the run is asked to stop
                    break
                progress.ended(result.episode_return)
                results.append(result)
        self.run.console.clear()
        return results

    def _evaluate_episode(
        self, env: Any, seed: int, number: int, progress: EvaluationProgress
    ) -> EpisodeResult | None:
        """Play an episode; None if the run was asked to stop before its end."""
        ob, info = env.reset(seed=seed)
        if problem := explained_reset(info):
            raise EnvError(problem)
        longest = self.parameters["max_episode_len"] or float("inf")
        recorder = self.run.evaluation_recorder
        recorded = recorder is not None and recorder.begin(number, self.steps)
        total, length, over = 0.0, 0, False
        while not over and length < longest and not self.run.stop_requested:
            ob, reward, terminated, truncated, _ = env.step(self.agent.act(ob, self.episode))
            total += as_reward(reward)
            length += 1
            over = any(as_flags(terminated, truncated))
            progress.stepped(1)
            if recorder is not None and recorded:
                recorder.capture()
        if recorder is not None:
            recorder.end()
        if self.run.stop_requested and not over and length < longest:
            return None
        return EpisodeResult(seed, float(total), length)

    def state_dict(self) -> dict[str, Any]:
        """Counters and the episode under way."""
        # The agent may remember this very object, and a resumed run makes a new one: the run that
        # goes on has a new one too, so that their checkpoints are the same.
        self.ob = copy.deepcopy(self.ob)
        return {
            **super().state_dict(),
            "ob": self.ob,
            "in_episode": self.in_episode,
            "episode_return": self.episode_return,
            "episode_length": self.episode_length,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to where `state_dict` was called, in the middle of an episode too."""
        super().load_state_dict(state)
        self.ob = state["ob"]
        self.in_episode = bool(state["in_episode"])
        self.episode_return = saved_number(state, "episode_return")
        self.episode_length = saved_count(state, "episode_length")

    def begin_new_episode(self) -> None:
        """Give up the episode under way; the next one starts with a reset."""
        self.in_episode = False
