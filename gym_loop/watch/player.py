"""The agent of a run at play, in a thread of its own, for as long as somebody watches."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from gym_loop.checkpoints.seeding import Seeds
from gym_loop.checkpoints.store import Checkpoint
from gym_loop.checkpoints.tree import saved_count
from gym_loop.config.run_file import RunConfig
from gym_loop.envs.making import close_quietly, first_copy
from gym_loop.errors import RenderError, UsageError
from gym_loop.runs.console import Console
from gym_loop.runs.directory import RunDirectory
from gym_loop.runs.training_run import TrainingRun
from gym_loop.training.building import Experiment
from gym_loop.watch.following import Follower
from gym_loop.wire.pictures import JpegEncoder, as_rgb

PATIENCE = 2.0  # s after the last request, when nobody watches any more
LOOKS = 0.5  # s between two looks for the first checkpoint
ENDED = 0.7  # s that the last picture of an episode stays
DEFAULT_FPS = 30.0
MOST_FPS = 60.0
RESULTS = 10  # finished episodes that are shown
_SHOWN = 12  # parts of an action


class View(NamedTuple):
    """What is seen at one moment."""

    number: int  # rises with every view
    facts: dict[str, Any]  # the numbers beside the picture, as plain data
    jpeg: bytes  # the picture; empty where there is none


class GivenUp(BaseException):
    """Ends an episode early; no ``except Exception`` of a loop is to keep it."""


class Over(BaseException):
    """Ends the playing."""


class Player:
    """Plays episode after episode, each with the newest checkpoint at its beginning.

    The run is only read. Nothing is stepped, drawn or looked for while nobody watches.

    Args:
        config: of the run, with a seed.
        directory: of the run.
        console: is told of warnings.
        fps: steps a second; None is what the environment's metadata say.
    """

    def __init__(
        self,
        config: RunConfig,
        directory: RunDirectory,
        console: Console,
        fps: float | None = None,
    ) -> None:
        self.view = View(0, {"state": "waiting"}, b"")
        self.error: BaseException | None = None
        self.on_view: Callable[[], None] = lambda: None  # called in the player's thread
        self.on_end: Callable[[], None] = lambda: None  # likewise, when an error has ended it
        self._config, self._directory, self._console = config, directory, console
        self._follower = Follower(directory.path("checkpoint_dir"), console.warning)
        self._rate = fps
        self._period = 0.0  # s a step takes
        self._env: WatchedEnv | None = None
        self._draws = True
        self._readable: Callable[[Any], Any] = str
        self._checkpoint: dict[str, Any] | None = None
        self._results: deque[dict[str, Any]] = deque(maxlen=RESULTS)
        self._episode = self._length = 0
        self._return, self._reward = 0.0, 0.0
        self._action: Any = None
        self._asked = -PATIENCE  # when somebody last did
        self._wanted = False  # somebody waits for a newer view
        self._next = False  # the episode is to be given up
        self._due = 0.0  # when the next step is
        self._end = threading.Event()
        self._wake = threading.Event()
        self._built = threading.Event()
        self._thread = threading.Thread(target=self._work, name="gym-loop player", daemon=True)

    # -- for the server ----------------------------------------------------------------------

    def start(self) -> None:
        """Make agent and environment, and return when they are there.

        Raises:
            GymLoopError: they cannot be made.
        """
        self._thread.start()
        self._built.wait()
        if self.error is not None:
            raise self.error

    def ask(self, seen: int) -> View:
        """Watch: the player goes on for a while, and shows a view newer than the one seen."""
        if seen >= self.view.number:
            self._wanted = True
        self._asked = time.monotonic()
        self._wake.set()
        return self.view

    def next_episode(self) -> None:
        """Give the episode up, and begin one with the newest checkpoint."""
        self._next = True

    def close(self) -> None:
        """Stop playing and close the environment."""
        self._end.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE)  # a step that hangs is left to the end of the process

    # -- for the environment, in the player's thread -------------------------------------------

    def begin(self) -> None:
        """An episode begins."""
        self._length, self._return, self._reward, self._action = 0, 0.0, 0.0, None

    def wait(self) -> None:
        """Let the next step come in its time, and only if somebody watches.

        Raises:
            Over: the player was closed.
            GivenUp: the next episode is wanted.
        """
        while not self._next and (rest := self._due - time.monotonic()) > 0:
            if self._end.wait(min(rest, 0.2)):
                break
        self._wait_for_viewer()
        if self._next:
            raise GivenUp
        self._due = max(self._due + self._period, time.monotonic())

    def step(self, action: Any, reward: float, over: bool) -> None:
        """A step was taken."""
        self._length += 1
        self._return += reward
        self._reward, self._action = reward, action
        if self._wanted or over:
            self._show()

    # -- the thread --------------------------------------------------------------------------

    def _work(self) -> None:
        experiment = None
        try:
            experiment = self._build()
            self._built.set()
            self._play(experiment)
        except Over:
            pass
        except BaseException as error:  # noqa: BLE001 - raised where the command waits
            self.error = error
        if experiment is not None:
            close_quietly(experiment.env)
        self._built.set()
        if self.error is not None:
            self.on_end()

    def _build(self) -> Experiment:
        """Agent and environment, in the thread that draws: some libraries are bound to one."""
        config = self._config
        run = TrainingRun(Seeds(config.seed or 0), console=self._console)
        try:
            experiment = Experiment(config, run, record=True, evaluation=True)
        except RenderError as error:
            self._console.warning(f"there will be no pictures: {error}")
            experiment, self._draws = Experiment(config, run, evaluation=True), False
        env = first_copy(experiment.env)
        if not isinstance(env, gymnasium.Env):
            close_quietly(experiment.env)
            raise UsageError(
                f"{config.env.name} gives many copies at once, none of which can be watched"
                " alone: name an environment of Gymnasium's registry with --set env.name=ID"
            )
        self._env = WatchedEnv(env, self)
        self._readable = action_reader(env)
        if env is experiment.env:
            experiment.env = self._env
        else:
            experiment.env.unwrapped.envs[0] = self._env
        run.prepare_evaluation(lambda: experiment.env, False)
        rate = self._rate or (env.metadata or {}).get("render_fps") or DEFAULT_FPS
        self._period = 1 / min(float(rate), MOST_FPS)
        return experiment

    def _play(self, experiment: Experiment) -> None:
        seeds = np.random.default_rng(experiment.run.seeds.sequence("evaluation"))
        while True:
            self._follow(experiment)
            self._next = False
            self._episode += 1
            try:
                results = experiment.loop.evaluate([int(seeds.integers(2**32))])
            except GivenUp:
                continue
            for result in results:
                self._note(float(result.episode_return), result.length)
            self._end.wait(ENDED)

    def _follow(self, experiment: Experiment) -> None:
        """Take the newest checkpoint, and wait for the first one."""
        while True:
            self._wait_for_viewer()
            found = self._follower.newer()
            if found is not None:
                self._load(experiment, found)
            if self._checkpoint is not None:
                return
            if self._wanted:
                self._publish({**self._common(), "state": "waiting"}, b"")
            self._end.wait(LOOKS)

    def _load(self, experiment: Experiment, found: Checkpoint) -> None:
        run, loop = experiment.run, experiment.loop
        if self._checkpoint is None:  # those that follow are of the same run
            run.check_fits(loop, found)
        run.load_agent(experiment.agent, found)
        with found.loading():
            loop.episode, loop.steps = saved_count(found.info, "episode"), found.step
        self._checkpoint = {"step": found.step, "episode": loop.episode, "loaded": time.time()}

    def _wait_for_viewer(self) -> None:
        while not self._end.is_set() and time.monotonic() - self._asked > PATIENCE:
            self._wake.clear()
            if not self._end.is_set() and time.monotonic() - self._asked > PATIENCE:
                self._wake.wait()
        if self._end.is_set():
            raise Over

    # -- what is seen ------------------------------------------------------------------------

    def _common(self) -> dict[str, Any]:
        config, checkpoint = self._config, None
        if self._checkpoint:
            checkpoint = dict(self._checkpoint)
            checkpoint["age"] = round(time.time() - checkpoint.pop("loaded"), 1)
        return {
            "run": self._directory.run_id,
            "env": config.env.name,
            "agent": config.agent.class_name.rpartition(":")[2],
            "draws": self._draws,
            "checkpoint": checkpoint,
            "results": list(self._results),
        }

    def _show(self) -> None:
        """Make a view of this moment."""
        jpeg = self._picture() if self._draws else b""
        facts = {
            **self._common(),
            "state": "playing",
            "episode": self._episode,
            "step": self._length,
            "return": self._return,
            "reward": self._reward,
            "action": self._readable(self._action),
        }
        self._publish(facts, jpeg)

    def _note(self, episode_return: float, length: int) -> None:
        """Add a finished episode to what is seen; by now the environment may be reset."""
        step = self._checkpoint["step"] if self._checkpoint else 0
        result = {"episode": self._episode, "return": episode_return, "length": length}
        self._results.appendleft({**result, "checkpoint": step})
        self._publish({**self.view.facts, "results": list(self._results)}, self.view.jpeg)

    def _picture(self) -> bytes:
        assert self._env is not None
        try:
            return self._env.picture()
        except ValueError as error:
            self._console.warning(f"there will be no pictures: {error}")
            self._draws = False
            return b""

    def _publish(self, facts: dict[str, Any], jpeg: bytes) -> None:
        self._wanted = False
        self.view = View(self.view.number + 1, facts, jpeg)
        self.on_view()


class WatchedEnv(gymnasium.Wrapper):  # type: ignore[misc]
    """An environment whose player is told of resets and steps, and says when a step may come."""

    def __init__(self, env: gymnasium.Env[Any, Any], player: Player) -> None:
        super().__init__(env)
        self._player = player
        self._encoder = JpegEncoder()

    def reset(self, **named: Any) -> Any:
        """Begin an episode."""
        result = self.env.reset(**named)
        self._player.begin()
        return result

    def step(self, action: Any) -> Any:
        """Take a step, when the player lets it."""
        self._player.wait()
        result = self.env.step(action)
        self._player.step(action, float(result[1]), bool(result[2] or result[3]))
        return result

    def picture(self) -> bytes:
        """The environment as a JPEG file.

        Raises:
            ValueError: what it renders is no frame.
        """
        return self._encoder.encode(as_rgb(self.env.render()))


def action_reader(env: gymnasium.Env[Any, Any]) -> Callable[[Any], Any]:
    """What makes an environment's actions readable: short plain data, or the action's name."""
    ask = getattr(env.unwrapped, "get_action_meanings", None)
    names = list(ask()) if callable(ask) else []

    def read(action: Any) -> Any:
        if isinstance(action, (int, np.integer)):
            number = int(action)
            return f"{number} {names[number]}" if 0 <= number < len(names) else number
        if isinstance(action, np.ndarray) and action.dtype.kind in "biuf":
            if action.ndim == 0:
                return read(action.item())
            return [round(float(one), 3) for one in action.reshape(-1)[:_SHOWN]]
        return None if action is None else f"{action}"[:120]

    return read
