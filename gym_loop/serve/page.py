"""The page at ``/``: its files, the instances that it lists, and their pictures."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gym_loop.runs.results import to_json
from gym_loop.serve.http_api import HttpApi
from gym_loop.serve.instance import Instance
from gym_loop.serve.instances import Instances
from gym_loop.serve.replies import NO_STORE, Endpoint, json_reply
from gym_loop.wire.problems import UnknownInstance

SHARED = Path(__file__).with_name("static")
PARTS = ("common.js", "style.css")  # of every page
MOST_ROWS = 200
# Nothing from elsewhere, no script but ours, nobody's frame around them.
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


def page_files(page: Path) -> dict[str, Response]:
    """The files of a page by the path that a browser asks for.

    They hold nothing but what is in the package, so that a browser gets them without a token: the
    page asks for it, and sends it with everything that it wants to know.

    Args:
        page: the HTML file, which is at ``/``; the script of the same name beside it, and what
            all pages share, are at ``/live/NAME``.
    """
    parts = [page.with_suffix(".js"), *(SHARED / name for name in PARTS)]
    files = {"/": page} | {f"/live/{path.name}": path for path in parts}
    return {
        at: Response(path.read_bytes(), headers=_HEADERS, media_type=_KINDS[path.suffix])
        for at, path in files.items()
    }


class Page:
    """Answers what the page at ``/`` asks; an instance is neither used nor kept alive by it.

    ``/live/frames/ID`` is a picture, and ``/live/frames/ID/SEEN`` the one that follows on the
    picture SEEN, or 204 where there is none yet.

    Args:
        instances: what is open.
        api: answers for what fails.
        fps: pictures a second of one environment that are drawn at most; 0 draws none.
    """

    def __init__(self, instances: Instances, api: HttpApi, fps: float) -> None:
        self.files = page_files(SHARED / "serve.html")
        self._instances = instances
        self._refused = api.refused
        self._fps = fps
        self._cameras: dict[str, Camera] = {}

    def routes(self) -> list[BaseRoute]:
        """The page, and what it asks for."""
        handlers = {
            "/live/environments": self._environments,
            "/live/instances": self._rows,
            "/live/frames/{instance_id}": self._frame,
            "/live/frames/{instance_id}/{seen:path}": self._frame,
            **dict.fromkeys(self.files, self._file),
        }
        return [
            Route(path, Endpoint({"GET": handler}, self._refused))
            for path, handler in handlers.items()
        ]

    async def _file(self, request: Request) -> Response:
        return self.files[request.url.path]

    async def _environments(self, request: Request) -> Response:
        answer = {"environments": self._instances.catalogue.ids(), "fps": self._fps}
        return json_reply(answer, headers=NO_STORE)

    async def _rows(self, request: Request) -> Response:
        made = self._instances.all()
        rows = [self._row(instance) for instance in made[:MOST_ROWS]]
        answer = {"instances": rows, "others": len(made) - len(rows)}
        return json_reply(answer, headers=NO_STORE)

    def _row(self, instance: Instance) -> dict[str, Any]:
        return {
            "id": instance.instance_id,
            "env": instance.env_id,
            "steps": instance.steps,
            "episodes": instance.episodes,
            "return": instance.episode_return,
            "begun": instance.reset_done,
            "age": round(time.time() - instance.created, 1),
            "idle": round(time.monotonic() - instance.last_used, 1),
            "frames": self._fps > 0 and instance.draws,
        }

    async def _frame(self, request: Request) -> Response:
        instance_id = request.path_params["instance_id"]
        instance = self._instances.find(instance_id)
        if instance is None:
            raise UnknownInstance(f"there is no instance {instance_id}")
        if self._fps <= 0 or not instance.draws:
            raise HTTPException(404, f"instance {instance_id} gives no frames")
        camera = self._camera(instance)
        await camera.update(1 / self._fps)
        facts = to_json({**self._row(instance), "shows": camera.shows})  # ASCII, for a header
        headers = {**NO_STORE, "gym-loop-instance": facts}
        if camera.shows in (request.path_params.get("seen"), ""):
            return Response(status_code=204, headers=headers, media_type="application/json")
        return Response(camera.jpeg, headers=headers, media_type="image/jpeg")

    def _camera(self, instance: Instance) -> Camera:
        if instance.instance_id not in self._cameras:
            still = {one.instance_id for one in self._instances.all()}
            self._cameras = {key: one for key, one in self._cameras.items() if key in still}
            self._cameras[instance.instance_id] = Camera(instance)
        return self._cameras[instance.instance_id]


class Camera:
    """The newest picture of one instance, drawn only when somebody asks for it."""

    def __init__(self, instance: Instance) -> None:
        self.jpeg = b""
        self.shows = ""  # which state of the environment the picture is of
        self._instance = instance
        self._drawn = 0.0  # when
        self._drawing: asyncio.Future[tuple[str, bytes] | None] | None = None

    async def update(self, interval: float) -> None:
        """Draw the environment, if it has changed and the last picture is old enough.

        Args:
            interval: seconds between two pictures.

        Raises:
            EnvFailed: it cannot be drawn.
        """
        now = time.monotonic()
        idle = self._drawing is None or self._drawing.done()
        if idle and now - self._drawn >= interval and self._has_changed():
            self._drawn = now
            self._drawing = self._instance.look(self._instance.picture)
        if self._drawing is not None:
            drawn = await asyncio.shield(self._drawing)  # others may wait for the same picture
            if drawn is not None:
                self.shows, self.jpeg = drawn

    def _has_changed(self) -> bool:
        return self._instance.reset_done and self._instance.state != self.shows
