"""The watching page's application (ASGI): the page, the newest view, and the next episode."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gym_loop.runs.results import to_json
from gym_loop.serve.access import AccessChecks, RateLimit
from gym_loop.serve.page import page_files
from gym_loop.serve.replies import NO_STORE, Endpoint, json_reply, refusal_reply
from gym_loop.serve.settings import ServeSettings
from gym_loop.watch.player import Player, View
from gym_loop.wire import gym_http as codec

_LOG = logging.getLogger("gym_loop.watch")
PATIENCE = 1.0  # s that a request waits for a new view
PAGE = Path(__file__).with_name("static") / "watch.html"


def watch_application(
    settings: ServeSettings, player: Player, end: Callable[[], None]
) -> Starlette:
    """The application that shows what a player plays."""
    files = page_files(PAGE)
    viewer = Viewer(player)

    async def file(request: Request) -> Response:
        return files[request.url.path]

    async def missing(request: Request) -> Response:
        raise HTTPException(404, f"there is no {request.method} {request.url.path[:200]} here")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        viewer.begin(end)
        yield
        player.on_view = player.on_end = lambda: None  # nobody is left

    handlers = {
        **{key: {"GET": file} for key in files},
        "/live/next": {"POST": viewer.next_episode, "*": missing},
        "/live/views/{seen}": {"GET": viewer.view, "*": missing},
        "/{path:path}": {"*": missing},
    }
    routes = [Route(path, Endpoint(methods, _refused)) for path, methods in handlers.items()]
    checks = Middleware(
        AccessChecks, settings=settings, rate=RateLimit(None), is_public=files.__contains__
    )
    return Starlette(routes=routes, middleware=[checks], lifespan=lifespan)


class Viewer:
    """Tells those who watch what there is to see."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._waiting: set[asyncio.Future[None]] = set()

    def begin(self, end: Callable[[], None]) -> None:
        """Listen to the player, in the event loop; ``end`` is called once it has ended."""
        loop = asyncio.get_running_loop()

        def call(function: Callable[[], None]) -> None:
            try:
                loop.call_soon_threadsafe(function)
            except RuntimeError:  # the loop is closed: there is nobody to be told
                pass

        self._player.on_view = lambda: call(self._wake)
        self._player.on_end = lambda: call(end)
        if self._player.error is not None:  # before there was anyone to tell
            end()

    async def next_episode(self, request: Request) -> Response:
        """End the episode that is played."""
        self._player.next_episode()
        return Response(status_code=204, headers=NO_STORE)

    async def view(self, request: Request) -> Response:
        """The newest view, as soon as it is another than the one seen; or after a while."""
        text = request.path_params["seen"]
        if not text.isdecimal() or len(text) > 15:
            raise HTTPException(404, f"there is no view {text[:200]}")
        seen = int(text)
        view = await self._newer(seen)
        facts = to_json({**view.facts, "number": view.number})  # ASCII, as a header must be
        headers = {**NO_STORE, "gym-loop-view": facts}
        if view.number == seen or not view.jpeg:
            return Response(status_code=204, headers=headers)
        return Response(view.jpeg, headers=headers, media_type="image/jpeg")

    async def _newer(self, seen: int) -> View:
        if self._player.ask(seen).number == seen:
            future = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            await asyncio.wait([future], timeout=PATIENCE)
            self._waiting.discard(future)
        return self._player.ask(-1)

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)


def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return refusal_reply(error)
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)  # it is ours
    return json_reply(codec.error_reply("the server failed; its log says how"), 500)
