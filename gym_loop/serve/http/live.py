"""What the page at ``/`` shows of a server: its environments, instances and their pictures."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from gym_loop.runs.results import to_json
from gym_loop.serve.http.held import Held
from gym_loop.serve.http.replies import JPEG, Headers, Refused, Reply
from gym_loop.serve.sessions import Session, Sessions
from gym_loop.serve.stepping import Runner
from gym_loop.wire import gym_http as codec
from gym_loop.wire.pictures import JpegEncoder, as_rgb
from gym_loop.wire.problems import EnvFailed, Problem, UnknownInstance

MOST_ROWS = 200
_NO_STORE: Headers = [(b"content-type", codec.JSON), (b"cache-control", b"no-store")]


class Live:
    """Answers what the page asks; a session is neither used nor kept alive by it.

    Args:
        sessions: what is open.
        runner: calls the environments.
        fps: pictures a second of one environment that are drawn at most; 0 draws none.
    """

    def __init__(self, sessions: Sessions, runner: Runner, fps: float) -> None:
        self._sessions, self._runner = sessions, runner
        self._fps = fps

    async def answer(self, path: str) -> Reply | None:
        """Answer a GET of ``/live/...``; None where there is nothing.

        ``/live/frames/ID`` is a picture, and ``/live/frames/ID/SEEN`` the one that follows on
        the picture SEEN, or 204 where there is none yet.

        Raises:
            UnknownInstance: it was closed.
            EnvFailed: it could not draw itself.
        """
        if path == "/live/environments":
            return _json({"environments": self._sessions.catalogue.ids(), "fps": self._fps})
        if path == "/live/instances":
            return _json(self._rows())
        if path.startswith("/live/frames/"):
            instance_id, _, seen = path[13:].partition("/")
            return await self._frame(instance_id, seen)
        return None

    def _rows(self) -> dict[str, Any]:
        made = [one for one in self._sessions.all() if one.kept is not None]
        rows = [self._row(session) for session in made[:MOST_ROWS]]
        return {"instances": rows, "others": len(made) - len(rows)}

    def _row(self, session: Session) -> dict[str, Any]:
        return {
            "id": session.instance_id,
            "env": session.env_id,
            "steps": session.steps,
            "episodes": session.episodes,
            "return": session.episode_return,
            "begun": session.reset_done,
            "age": round(time.time() - session.created, 1),
            "idle": round(time.monotonic() - session.last_used, 1),
            "frames": self._fps > 0 and _draws(session),
        }

    async def _frame(self, instance_id: str, seen: str) -> Reply:
        session = self._sessions.find(instance_id)
        held: Held | None = session.kept if session is not None else None
        if session is None or held is None:
            raise UnknownInstance(f"there is no instance {instance_id}")
        if self._fps <= 0 or not _draws(session):
            raise Refused(404, f"instance {instance_id} gives no frames")
        camera = held.camera = held.camera or Camera(session)
        await camera.update(self._runner, 1 / self._fps)
        facts = to_json({**self._row(session), "shows": camera.shows})  # ASCII, for a header
        more = [(b"gym-loop-instance", facts.encode())]
        if camera.shows in (seen, ""):
            return Reply(b"", 204, _NO_STORE + more)
        return Reply(camera.jpeg, 200, JPEG + more)


class Camera:
    """The newest picture of one instance, drawn only when somebody asks for it.

    Args:
        session: of the instance; it keeps a `Held`.
    """

    def __init__(self, session: Session) -> None:
        self.jpeg = b""
        self.shows = ""  # which state of the environment the picture is of
        self._session = session
        self._encoder = JpegEncoder()
        self._drawn = 0.0  # when
        self._drawing: asyncio.Future[Any] | None = None
        self._problem: Problem | None = None

    async def update(self, runner: Runner, interval: float) -> None:
        """Draw the environment, if it has changed and the last picture is old enough.

        Args:
            runner: calls the environment where it belongs.
            interval: seconds between two pictures.

        Raises:
            EnvFailed: it cannot be drawn.
        """
        now = time.monotonic()
        if self._drawing is None and now - self._drawn >= interval and self._has_changed():
            self._drawn, self._problem = now, None
            self._drawing = asyncio.ensure_future(self._draw(runner))
        if self._drawing is not None:
            await asyncio.shield(self._drawing)  # others may wait for the same picture
        if self._problem is not None:
            raise self._problem

    async def _draw(self, runner: Runner) -> None:
        try:
            drawn = await runner.run(self._session, self.look)
            if drawn is not None:
                self.shows, self.jpeg = drawn
        except Problem as problem:
            self._problem = problem
        finally:
            self._drawing = None

    def look(self) -> tuple[str, bytes] | None:
        """In the environment's thread: what the picture is of, and the picture."""
        frame = self._session.look()
        if frame is None:
            return None
        try:
            return self._state(), self._encoder.encode(as_rgb(frame))
        except ValueError as error:
            raise EnvFailed(f"environment {self._session.env_id}: {error}") from None

    def _state(self) -> str:
        return f"{self._session.kept.resets}-{self._session.steps}"

    def _has_changed(self) -> bool:
        return self._session.reset_done and self._state() != self.shows


def _draws(session: Session) -> bool:
    return getattr(session.env, "render_mode", None) == "rgb_array"


def _json(value: Any) -> Reply:
    return Reply(codec.write(value), 200, _NO_STORE)
