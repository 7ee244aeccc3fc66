"""What is due between two steps, or between two episodes: the part that all loops share."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gym_loop.errors import ContractError
from gym_loop.loops.episode_row import EpisodeRow
from gym_loop.loops.evaluation_progress import EpisodeWatch
from gym_loop.runs.metrics import as_number
from gym_loop.runs.results import EvaluationResult, is_better, to_json

if TYPE_CHECKING:
    from gym_loop.loops.base_loop import BaseLoop

# A loop looks up about this often (seconds), and never after more steps than this, so that
# neither fast environments feel it nor slow ones delay a signal, a checkpoint or the progress.
LOOK_UP_SECONDS = 0.1
LOOK_UP_STEPS = 2_048
RETURNS_SHOWN = 100
# With many copies at once, episodes that end within so many vector steps share a row of the
# logs, their means: a row costs 12 us, a third of a step of eight copies of CartPole.
VECTOR_STEPS_PER_ROW = 64
# Checkpoints may take this share of a training's time, after a first allowance in seconds; one
# that comes due beyond it is put off. Small runs thus save exactly as often as they ask for.
CHECKPOINT_SHARE = 0.01
CHECKPOINT_ALLOWANCE = 0.2


class Upkeep:
    """Logs, progress, periodic evaluations and checkpoints of one loop.

    A loop steps while ``steps < attention_at``, then calls `look_up`; after every episode it
    calls `episode_finished`, or `episodes_finished` where several may end in one step.

    Args:
        loop: the loop; its ``parameters`` say how often things are due.
    """

    def __init__(self, loop: BaseLoop) -> None:
        self.loop = loop
        self.attention_at: float = 0
        self.last_returns: deque[float] = deque(maxlen=RETURNS_SHOWN)
        self._saved: tuple[int, int] | None = None
        self._checkpoint_due = False
        self._evaluation_pending = False
        self._seconds_saving = 0.0
        self._row = EpisodeRow()
        self._due_at_episode: float = 0
        self._copies = getattr(loop.env, "num_envs", 1)
        self._watch = EpisodeWatch(loop.run.console.warning, self._copies)
        parameters = loop.parameters
        self._max_steps = parameters.get("max_steps")
        self._max_episodes = parameters.get("max_episodes")
        self._episodes_per_checkpoint = parameters.get("episodes_per_checkpoint")
        self._steps_per_checkpoint = parameters.get("steps_per_checkpoint")
        self._time_per_checkpoint = parameters.get("time_per_checkpoint")
        self._episodes_per_eval = parameters.get("episodes_per_eval")
        self._step_limit = float("inf") if self._max_steps is None else self._max_steps
        self._log = loop.run.log
        self._agent_metrics = loop.agent.metrics
        loop.run.on_stop(self._attend_now)
        self.start()

    def start(self) -> None:
        """Begin to measure time here; a loop calls it when its training begins."""
        now = time.monotonic()
        self._looked = self._checkpointed = self._began = now
        self._looked_steps = self._began_steps = self.loop.steps
        self._steps_rate = _Rate(now, self.loop.steps)
        self._updates_rate = None if self.loop.steps else _Rate(now, 0.0)
        self._chunk = 1
        self.steps_per_second = 0.0
        self._plan_episodes()
        self._schedule()

    def catch_up(self) -> None:
        """Do what was due when the run was stopped."""
        if self._evaluation_pending:
            self.evaluate()

    def _attend_now(self) -> None:
        self.attention_at = 0

    def _schedule(self) -> None:
        soon = min(self.loop.steps + self._chunk, self._step_limit)
        if self._steps_per_checkpoint:
            every = self._steps_per_checkpoint
            soon = min(soon, (self.loop.steps // every + 1) * every)
        self.attention_at = soon
        if self.loop.run.stop_requested:  # a signal may have come between the two lines
            self.attention_at = 0

    def wants_more(self) -> bool:
        """Whether the training is to go on: budget left, and nobody asked to stop."""
        return not self.loop.run.stop_requested and not self.is_used_up()

    def is_used_up(self) -> bool:
        """Whether the budget of episodes or steps is used up."""
        return self.limit() is not None

    def limit(self) -> str | None:
        """The parameter whose budget is used up; None if there is one of neither."""
        loop = self.loop
        if loop.steps >= self._step_limit:
            return "max_steps"
        if self._max_episodes is not None and loop.episode >= self._max_episodes:
            return "max_episodes"
        return None

    # -- between steps --------------------------------------------------------------------

    def look_up(self) -> None:
        """Show the progress, save if time asks for it, and decide when to look up again."""
        now = time.monotonic()
        loop, elapsed = self.loop, now - self._looked
        if elapsed < LOOK_UP_SECONDS and loop.steps < self.attention_at:
            return
        every = self._steps_per_checkpoint
        if every and loop.steps // every != self._looked_steps // every:
            self._checkpoint_due = True
        done = loop.steps - self._looked_steps
        if elapsed > 0 and done > 0:
            per_look_up = int(done * LOOK_UP_SECONDS / elapsed)
            most = LOOK_UP_STEPS * self._copies
            self._chunk = max(1, min(per_look_up, 4 * self._chunk, most))
        self._looked, self._looked_steps = now, loop.steps
        self.steps_per_second = self._steps_rate.measure(now, loop.steps)
        self._show(now)
        self._watch.look(loop.episode, loop.steps, now)
        if self._time_per_checkpoint and now - self._checkpointed >= self._time_per_checkpoint:
            self._checkpoint_due = True
        self._save_if_due(now)
        self._schedule()

    def _show(self, now: float, *, last: bool = False) -> None:
        self.last_returns.extend(self._row.latest(RETURNS_SHOWN))
        loop, returns = self.loop, self.last_returns
        loop.run.console.progress(
            loop.episode,
            loop.steps,
            sum(returns) / len(returns) if returns else None,
            self.steps_per_second,
            None if last else self._seconds_left(now),
            last=last,
        )

    def _seconds_left(self, now: float) -> float | None:
        loop = self.loop
        rate = (loop.steps - self._began_steps) / max(now - self._began, 1e-9)
        if rate <= 0:
            return None
        left = []
        if self._max_steps is not None:
            left.append((self._max_steps - loop.steps) / rate)
        if self._max_episodes is not None and loop.episode:
            per_episode = loop.steps / loop.episode
            left.append((self._max_episodes - loop.episode) * per_episode / rate)
        return max(0.0, min(left)) if left else None

    # -- between episodes -------------------------------------------------------------------

    def episode_finished(self, episode_return: float, length: int) -> None:
        """Log an episode; evaluate and save if it is time. ``loop.episode`` counts it already."""
        self.last_returns.append(episode_return)
        self._log_episodes(
            self.loop.steps,
            {"train/episode_return": episode_return, "train/episode_length": length},
        )
        if self.loop.episode >= self._due_at_episode:
            self._do_what_is_due(1)
        self.look_up()

    def episodes_finished(self, returns: list[float], length: int) -> None:
        """The same for the episodes that ended in one step of many copies, in their order.

        Those that end shortly after one another share a row, see `VECTOR_STEPS_PER_ROW`. A loop
        that calls this looks up by itself.

        Args:
            returns: one an episode.
            length: of all of them together.
        """
        loop, row = self.loop, self._row
        row.add(loop.steps, returns, length)
        if loop.steps >= row.due:
            self._write_row()
        if loop.episode >= self._due_at_episode:
            self._do_what_is_due(len(returns))

    def _write_row(self) -> None:
        row = self._row
        self.last_returns.extend(row.latest(RETURNS_SHOWN))
        if row.returns:
            self._log_episodes(row.step, row.scalars())
            row.begin(row.step + VECTOR_STEPS_PER_ROW * self._copies)

    def _log_episodes(self, step: int, scalars: dict[str, float]) -> None:
        scalars["train/steps_per_second"] = self.steps_per_second
        metrics = self._agent_metrics(self.loop.episode) or {}  # None is easily returned
        if not isinstance(metrics, Mapping):
            raise ContractError(
                f"metrics() of {type(self.loop.agent).__name__} must return numbers by name, in a"
                f" dictionary, not {metrics!r}"
            )
        for name, value in metrics.items():
            if not isinstance(name, str):
                raise ContractError(
                    f"metrics() of {type(self.loop.agent).__name__} must return numbers by name,"
                    f" and the name {name!r} is no text"
                )
            scalars["agent/" + name] = value
        updates = as_number(metrics.get("updates"))
        if updates is not None:
            now = time.monotonic()
            if self._updates_rate is not None:
                scalars["train/updates_per_second"] = self._updates_rate.measure(now, updates)
            else:  # just resumed: from here on
                self._updates_rate = _Rate(now, updates)
        if self.loop.run.stopwatch is not None:
            scalars.update(self.loop.run.stopwatch.lap())
        self._log(step, scalars)

    def _do_what_is_due(self, ended: int) -> None:
        """Evaluate and save if one of the episodes that just ended is the one to do it after."""
        after, before = self.loop.episode, self.loop.episode - ended
        every = self._episodes_per_eval
        if every and after // every != before // every:
            self._write_row()
            self.evaluate()
        every = self._episodes_per_checkpoint
        if every and after // every != before // every:
            self._checkpoint_due = True
            self._save_if_due(time.monotonic())
        if self.is_used_up():
            self.attention_at = 0
        self._plan_episodes()

    def _plan_episodes(self) -> None:
        """Note the number of the episode after which something is due."""
        now = self.loop.episode
        every = (self._episodes_per_eval, self._episodes_per_checkpoint)
        due = [(now // one + 1) * one for one in every if one]
        if self._max_episodes is not None:
            due.append(self._max_episodes)
        self._due_at_episode = min(due, default=float("inf"))

    def evaluate(self) -> None:
        """Evaluate the agent as it is now; keep its checkpoint if it is the best so far."""
        loop, run = self.loop, self.loop.run
        self._evaluation_pending = True
        seeds = run.seeds.integers("periodic_evaluation", loop.parameters["eval_episodes"])
        started = time.monotonic()
        episodes = run.timed("evaluation", loop.evaluate)(seeds)
        if run.stop_requested:  # cut short: a resumed run evaluates again
            return
        self._evaluation_pending = False
        result = EvaluationResult(episodes)
        self._log(loop.steps, evaluation_scalars(result))
        self._write_episodes(result)
        mean = result.returns.mean
        if is_better(mean, run.best_evaluation):
            run.best_evaluation = mean
            self.save("periodic", best=True)
        # Steps and updates per second measure training alone.
        pause = time.monotonic() - started
        self._steps_rate.skip(pause)
        if self._updates_rate is not None:
            self._updates_rate.skip(pause)
        self._looked += pause
        self._began += pause
        run.tell_evaluation(result)

    def _write_episodes(self, result: EvaluationResult) -> None:
        """Note the seed of every episode; named by step, so that a resumed run writes it again."""
        run = self.loop.run
        if run.directory is None or "eval_logdir" not in run.directory.parents:
            return
        directory = run.directory.path("eval_logdir")
        write_evaluation(
            directory / f"step-{self.loop.steps:09d}.json", result, run.console.warning
        )

    def save(self, reason: str, *, best: bool = False) -> None:
        """Write a checkpoint, unless the last one stands at this very step."""
        loop = self.loop
        self._checkpoint_due = False
        here = (loop.steps, loop.episode)
        if here == self._saved and not best:
            return
        started = time.monotonic()
        self._saved = here
        loop.run.timed("checkpoints", loop.run.save)(loop, best=best, reason=reason)
        self._checkpointed = time.monotonic()
        self._seconds_saving += self._checkpointed - started

    def _save_if_due(self, now: float) -> None:
        allowed = CHECKPOINT_ALLOWANCE + CHECKPOINT_SHARE * (now - self._began)
        if self._checkpoint_due and self._seconds_saving <= allowed:
            self.save("periodic")

    def finish(self) -> None:
        """Show the last state of things."""
        # A run that was stopped, or is given a larger budget, goes on with the row it has begun.
        if self.is_used_up():
            run = self.loop.run
            run.metrics.leave_to_end(self._write_row)
            if run.checkpoints is None:
                run.metrics.write_what_was_left()
        now = time.monotonic()
        self.steps_per_second = self._steps_rate.measure(now, self.loop.steps)
        self._show(now, last=True)

    # -- state ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What goes on unbroken: the returns shown, an evaluation cut short, a row half full."""
        self.last_returns.extend(self._row.latest(RETURNS_SHOWN))
        return {
            "last_returns": list(self.last_returns),
            "evaluation_pending": self._evaluation_pending,
            "row": self._row.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.last_returns.clear()
        self.last_returns.extend(float(value) for value in state["last_returns"])
        self._evaluation_pending = bool(state["evaluation_pending"])
        self._row.load_state_dict(state["row"])
        self._saved = (self.loop.steps, self.loop.episode)


class _Rate:
    """How fast something grows: a second, over the last one to two seconds.

    Args:
        now: time of the first count, in seconds.
        count: the first count.
    """

    def __init__(self, now: float, count: float) -> None:
        self._since = self._mark = (now, count)

    def measure(self, now: float, count: float) -> float:
        if now - self._mark[0] >= 1.0:
            self._since, self._mark = self._mark, (now, count)
        began, first = self._since
        return (count - first) / max(now - began, 1e-9)

    def skip(self, pause: float) -> None:
        """Leave out some seconds that have just passed."""
        self._since = (self._since[0] + pause, self._since[1])
        self._mark = (self._mark[0] + pause, self._mark[1])


def evaluation_scalars(result: EvaluationResult) -> dict[str, float]:
    """The metrics of an evaluation, by name."""
    returns, lengths = result.returns, result.lengths
    return {
        "eval/return_mean": returns.mean,
        "eval/return_std": returns.std,
        "eval/return_median": returns.median,
        "eval/return_min": returns.min,
        "eval/return_max": returns.max,
        "eval/length_mean": lengths.mean,
    }


def write_evaluation(path: Path, result: EvaluationResult, warn: Any) -> bool:
    """Write an evaluation as JSON; a full disk is warned about, stops nothing, and gives False."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_json(result.as_dict(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        reason = f"{error.strerror}; make room, or choose another loop.parameters.eval_logdir"
        warn(f"the evaluation could not be written to {path}: {reason}")
        return False
    return True


def evaluation_seeds(loop: BaseLoop, seeds: Sequence[int] | None) -> Sequence[int]:
    """The given seeds, or ``eval_episodes`` of them from the run's seed."""
    if seeds is not None:
        return seeds
    return loop.run.seeds.integers("evaluation", loop.parameters["eval_episodes"])
