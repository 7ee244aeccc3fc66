"""The application that serves environments: three protocols and a page on one port (ASGI)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from gym_loop.serve import openapi
from gym_loop.serve.access import AccessChecks, RateLimit
from gym_loop.serve.gymie import Gymie, process_step_of
from gym_loop.serve.http_api import HttpApi
from gym_loop.serve.instances import Instances
from gym_loop.serve.native_api import NativeApi
from gym_loop.serve.page import Page
from gym_loop.serve.replies import Endpoint, json_reply, not_found
from gym_loop.serve.settings import ServeSettings
from gym_loop.serve.websocket import Answers, Connection

_LOG = logging.getLogger("gym_loop.serve")
GYMIE_PATH, NATIVE_PATH = "/gym", "/native"
GREETING = "Gymie is running..."  # what every other path answers; clients look for it
_OWN = ("/v1", "/live")  # where what is unknown is missing
SWEEP = 1.0  # seconds between two looks at leases and at hanging steps, at most


def application(settings: ServeSettings, shut_down: Callable[[], None]) -> ASGIApp:
    """The whole application.

    Args:
        settings: what may be done here.
        shut_down: called when a client ends the server.

    Raises:
        ClassLoadError: an import of the settings, or a hook's module, cannot be loaded.
        EnvUnknownError: a hook's module has no such function.
    """
    process_step_of(settings.process_step)  # what is wrong with it is said before anything serves
    instances = Instances(settings)
    rate = RateLimit(settings.max_requests_per_second)
    websockets = WebSockets(rate, settings.max_requests_per_second)
    api = HttpApi(instances, settings, shut_down, lambda: websockets.open)
    page = Page(instances, api, settings.page_fps)

    async def describe(request: Request) -> Response:
        return json_reply(openapi.description(settings.token is not None))

    async def missing(request: Request) -> Response:
        raise not_found(request.url.path)

    async def no_websocket(request: Request) -> Response:
        raise HTTPException(400, "this is the address of a WebSocket")

    async def greet(request: Request) -> Response:
        return PlainTextResponse(GREETING)

    async def greet_websocket(websocket: WebSocket) -> None:
        await websocket.send_denial_response(PlainTextResponse(GREETING))

    def is_public(path: str) -> bool:
        own = path in (*_OWN, "/openapi.json", GYMIE_PATH, NATIVE_PATH)
        return path in page.files or not (own or path.startswith(tuple(f"{one}/" for one in _OWN)))

    def count(refusal: HTTPException) -> None:
        instances.statistics.errors[HTTPStatus(refusal.status_code).phrase] += 1

    answers: dict[str, Answers] = {
        GYMIE_PATH: Gymie(instances, settings.process_step),
        NATIVE_PATH: NativeApi(instances, settings),
    }
    routes: list[BaseRoute] = [
        *api.routes(),
        *page.routes(),
        Route("/openapi.json", Endpoint({"GET": describe}, api.refused)),
        *(WebSocketRoute(path, websockets.endpoint(one)) for path, one in answers.items()),
        *(Route(path, Endpoint({"*": no_websocket}, api.refused)) for path in answers),
        *(Route(f"{one}{{path:path}}", Endpoint({"*": missing}, api.refused)) for one in _OWN),
        Route("/{path:path}", Endpoint({"GET": greet, "POST": greet}, api.refused)),
        WebSocketRoute("/{path:path}", greet_websocket),
    ]
    checks = Middleware(
        AccessChecks, settings=settings, rate=rate, is_public=is_public, on_refusal=count
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        sweeping = asyncio.ensure_future(_sweep(instances, settings))
        yield
        sweeping.cancel()
        await instances.close_all()

    return Starlette(routes=routes, middleware=[checks], lifespan=lifespan)


class WebSockets:
    """The WebSockets of a server.

    Args:
        rate: counts messages.
        per_second: how many a client may send.
    """

    def __init__(self, rate: RateLimit, per_second: float | None) -> None:
        self.open = 0
        self._rate = rate
        self._retry = 1 / per_second if per_second else 0.0

    def endpoint(self, answers: Answers) -> Callable[[WebSocket], Awaitable[None]]:
        """Serves the clients of one protocol."""

        async def serve(websocket: WebSocket) -> None:
            self.open += 1
            try:
                await Connection(websocket, answers, self._rate, self._retry).run()
            except Exception as error:  # noqa: BLE001 - ours: it must not end what others do here
                _LOG.error("a connection failed", exc_info=error)
            finally:
                self.open -= 1

        return serve


async def _sweep(instances: Instances, settings: ServeSettings) -> None:
    times = [SWEEP, settings.idle_lease / 4, settings.step_timeout / 4]
    while True:
        await asyncio.sleep(min(filter(None, times)))
        instances.sweep()
