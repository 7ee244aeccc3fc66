"""Episodes recorded on the server: a manifest, statistics and videos in one directory.

The files are those of the old Gym's monitor, so that what reads them still does.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium

from gym_loop.runs.recording import VideoRecorder
from gym_loop.schema.files import expanded
from gym_loop.wire import gym_http as codec
from gym_loop.wire.gym_http import BadRequest

PREFIX = "openaigym."
MOST_PARTS = 100  # of a directory's path
WRITE_INTERVAL = 10.0  # s; what a killed server may lose of a long recording

_numbers = itertools.count()


def monitor_directory(root: str, name: str, *, anywhere: bool = False) -> Path:
    """The directory that a client means.

    Args:
        root: directory of the server that it must lie in.
        name: what the client sent; relative names begin at the root.
        anywhere: allow directories outside the root.

    Raises:
        BadRequest: it lies outside.
    """
    try:
        base = expanded(root).resolve()
        directory = (base / name).resolve()
        if len(directory.parts) > MOST_PARTS:
            raise ValueError(f"it lies more than {MOST_PARTS} directories deep")
    except (OSError, ValueError, RuntimeError) as error:  # a null byte, a circle of links
        raise BadRequest(f"monitor directory {name[:200]!r} cannot be used: {error}") from None
    if not anywhere and not directory.is_relative_to(base):
        raise BadRequest(
            f"monitor directory {name[:200]!r} lies outside {base}, the only place for"
            " recordings here; name one relative to it, or have the server started with"
            " another --monitor-root or with --any-monitor-directory"
        )
    return directory


def prepare_directory(directory: Path, *, force: bool, resume: bool) -> None:
    """Make the directory, and see what an earlier recording left in it.

    Args:
        directory: where the recording goes.
        force: delete the earlier recording: files that begin with ``openaigym.``, no others.
        resume: keep it; readers merge all manifests of a directory.

    Raises:
        BadRequest: there is one, and neither is given; or the directory cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if force:
            for path in directory.glob(f"{PREFIX}*"):
                if path.is_file() or path.is_symlink():
                    path.unlink(missing_ok=True)
        elif not resume and (found := sorted(directory.glob(f"{PREFIX}manifest.*"))):
            raise BadRequest(
                f"{directory} holds an earlier recording ({found[0].name}); choose another"
                " directory, or send force: true to delete it or resume: true to add to it"
            )
    except OSError as error:
        raise _unwritable(directory, error) from None


def _unwritable(directory: Path, error: OSError) -> BadRequest:
    return BadRequest(f"monitor directory {directory} cannot be written: {error.strerror}")


class Monitor:
    """Records the episodes of an environment until it is closed.

    It takes the place of the environment, and is told of the steps by ``count``. The environment
    need not be one of Gymnasium's classes.

    Args:
        env: the environment.
        directory: where the files go; it exists.
        env_id: the environment's id, for the manifest.
        every: films every N-th episode, 0 none.
        warn: called with one sentence where a video or a file is lost.

    Raises:
        BadRequest: the directory cannot be written.
    """

    def __init__(
        self,
        env: Any,
        directory: Path,
        env_id: str,
        every: int,
        warn: Callable[[str], None],
    ) -> None:
        self.env = env
        self.directory = directory
        self._env_id = env_id
        self._warn = warn
        self._infix = self._free_infix()
        self._videos = VideoRecorder(
            env, directory, every, warn, prefix=f"{PREFIX}video.{self._infix}."
        )
        self._begun = 0  # episodes
        self._length: int | None = None  # steps of the episode under way
        self._return = 0.0
        self._steps = 0
        self._first_reset: float | None = None
        self._ends: list[float] = []
        self._lengths: list[int] = []
        self._returns: list[float] = []
        try:
            self._write()
        except OSError as error:
            raise _unwritable(directory, error) from None

    def reset(self, **named: Any) -> tuple[Any, dict[str, Any]]:
        """Reset the environment, which begins an episode; one that had not ended is left out."""
        observation, info = self.env.reset(**named)
        if self._first_reset is None:
            self._first_reset = time.time()
        self._videos.begin(self._begun, self._steps)
        self._begun += 1
        self._length, self._return = 0, 0.0
        return observation, info

    def step(self, action: Any) -> Any:
        """Step the environment; `count` takes note of it."""
        return self.env.step(action)

    def count(self, reward: float, ended: bool) -> None:
        """Take note of a step; what follows an episode's end is not counted."""
        if self._length is None:
            return
        self._length += 1
        self._steps += 1
        self._return += reward
        self._videos.capture()
        if ended:
            self._end_episode()

    @property
    def render_mode(self) -> str | None:
        """The environment's."""
        return getattr(self.env, "render_mode", None)

    def render(self) -> Any:
        """The environment's picture."""
        return self.env.render()

    def finish(self) -> None:
        """Write everything; the environment stays open."""
        self._videos.close()
        self._length = None
        self._write_or_warn()

    def close(self) -> None:
        """Write everything and close the environment."""
        self.finish()
        self.env.close()

    def _end_episode(self) -> None:
        assert self._length is not None
        self._ends.append(time.time())
        self._lengths.append(self._length)
        self._returns.append(self._return)
        self._length = None
        self._videos.end()
        if time.monotonic() - self._written > WRITE_INTERVAL:
            self._write_or_warn()

    def _free_infix(self) -> str:
        """Tells this recording's files from those of every other one in the directory."""
        while True:
            infix = f"{next(_numbers)}.{os.getpid()}"
            if not self._manifest(infix).exists():
                return infix

    def _manifest(self, infix: str) -> Path:
        return self.directory / f"{PREFIX}manifest.{infix}.manifest.json"

    def _write_or_warn(self) -> None:
        try:
            self._write()
        except OSError as error:
            self._warn(f"the recording in {self.directory} cannot be written: {error}")

    def _write(self) -> None:
        """Write the statistics, then the manifest that names them."""
        stats = self.directory / f"{PREFIX}episode_batch.{self._infix}.stats.json"
        _write_json(
            stats,
            {
                "initial_reset_timestamp": self._first_reset,
                "timestamps": self._ends,
                "episode_lengths": self._lengths,
                "episode_rewards": self._returns,
                "episode_types": ["t"] * len(self._ends),
            },
        )
        manifest = {
            "stats": stats.name,
            "videos": self._described_videos(),
            "env_info": {"env_id": self._env_id, "gym_version": gymnasium.__version__},
        }
        _write_json(self._manifest(self._infix), manifest)
        self._written = time.monotonic()

    def _described_videos(self) -> list[list[str]]:
        """The finished videos, each with the file that describes it."""
        videos = []
        for path in sorted(self.directory.glob(f"{PREFIX}video.{self._infix}.*.mp4")):
            description = path.with_suffix(".meta.json")
            if not description.exists():
                _write_json(description, {"content_type": "video/mp4", "env_id": self._env_id})
            videos.append([path.name, description.name])
        return videos


def _write_json(path: Path, value: Any) -> None:
    """Write a file that is never seen half-written."""
    temporary = path.with_name(f"{path.name}.part")
    temporary.write_bytes(codec.write(value))
    os.replace(temporary, path)
