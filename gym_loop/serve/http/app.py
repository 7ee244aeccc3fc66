"""The HTTP server's application: one coroutine, called for every request (ASGI)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Any, NamedTuple

from gym_loop.serve.http import openapi
from gym_loop.serve.http.gate import Gate
from gym_loop.serve.http.held import Held
from gym_loop.serve.http.live import Live
from gym_loop.serve.http.pages import SHARED, Pages
from gym_loop.serve.http.replies import CLOSE, HTML, JSON, Message, Refused, Reply, send_reply
from gym_loop.serve.http.settings import HttpSettings
from gym_loop.serve.sessions import Session, Sessions
from gym_loop.serve.stepping import Runner
from gym_loop.wire import gym_http as codec
from gym_loop.wire.problems import (
    MalformedEnvId,
    Problem,
    TooManyInstances,
    UnknownEnvId,
    UnknownInstance,
)

_LOG = logging.getLogger("gym_loop.envs.remote")

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Request(NamedTuple):
    """What a handler gets."""

    instance_id: str
    rest: str  # of the path, behind ".../contains/"
    content_type: bytes
    body: bytes


Handler = Callable[[Request], Awaitable[Reply]]
NOTHING = Reply(b"", 204, HTML)


class Application:
    """Answers gym-http-api v1, describes it at ``/openapi.json``, and is seen live at ``/``.

    It must be made in the event loop that calls it.

    Args:
        settings: what may be done here.
        shut_down: called when a client ends the server.

    Raises:
        ClassLoadError: an import of the settings cannot be loaded.
        EnvUnknownError: their ``make`` cannot.
    """

    def __init__(self, settings: HttpSettings, shut_down: Callable[[], None]) -> None:
        self.sessions = Sessions(settings, id_digits=8)
        self.runner = Runner(self.sessions, settings)
        self._settings = settings
        self._shut_down = shut_down
        self._statistics = self.runner.statistics
        self._gate = Gate(settings)
        self._pages = Pages(SHARED / "serve.html")
        self._live = Live(self.sessions, self.runner, settings.page_fps)
        self._of_instance: dict[str, dict[str, Handler]] = {
            "step": {"POST": self._step},
            "reset": {"POST": self._reset},
            "close": {"POST": self._close},
            "action_space": {"GET": self._action_space},
            "action_space/sample": {"GET": self._sample},
            "action_space/contains/": {"GET": self._contains},
            "observation_space": {"GET": self._observation_space},
            "observation_space/contains": {"POST": self._describes},
            "monitor/start": {"POST": self._start_monitor},
            "monitor/close": {"POST": self._close_monitor},
        }
        self._of_server: dict[str, dict[str, Handler]] = {
            "/v1/envs": {"GET": self._list, "POST": self._create},
            "/v1/stats": {"GET": self._stats},
            "/v1/upload": {"POST": self._upload},
            "/v1/shutdown": {"POST": self._shutdown},
            "/openapi.json": {"GET": self._openapi},
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request; whatever happens, the server goes on."""
        fields = dict(scope["headers"])
        origin = fields.get(b"origin")
        try:
            self._gate.check(scope, fields, public=self._pages.get(scope["path"]) is not None)
            reply = await self._answer(scope, fields, receive)
        except _Gone:
            return
        except Exception as error:  # noqa: BLE001 - of one request: others go on
            reply = self._refusal(scope, error)
        more = None
        if origin is not None and self._gate.is_allowed(origin, fields):
            more = [(b"access-control-allow-origin", origin), (b"vary", b"origin")]
        await send_reply(reply, send, more)

    def answer_at_once(self, scope: Message, body: bytes) -> Reply | None:
        """Answer a step of an environment that is called in the event loop, without a task.

        Args:
            scope: of a POST to ``/v1/envs/.../step/``, with a path that is not decoded.
            body: all of it.

        Returns:
            None where that is not so; nothing has been done then.
        """
        path, fields = scope["path"], dict(scope["headers"])
        session = self.sessions.find(path[9:-6])
        held: Held | None = session.kept if session is not None else None
        if held is None or b"origin" in fields or not path.startswith("/v1/envs/"):
            return None
        if not self.runner.is_in_loop(held.session, held.step):
            return None
        try:
            self._gate.check(scope, fields)
            kind = fields.get(b"content-type", b"")
            return Reply(self._stepped(Request(path[9:-6], "", kind, body)))
        except Exception as error:  # noqa: BLE001 - of one request: others go on
            return self._refusal(scope, error)

    def _refusal(self, scope: Message, error: Exception) -> Reply:
        if isinstance(error, Refused):
            self._statistics.errors[HTTPStatus(error.status).phrase] += 1
            return Reply(codec.error_reply(error.message), error.status, [*JSON, *error.headers])
        self._statistics.error(error)
        if isinstance(error, UnknownInstance):
            instance_id = scope["path"][9:].partition("/")[0]
            return Reply(codec.error_reply(f"Instance_id {instance_id[:200]} unknown"), 400)
        if isinstance(error, Problem):
            status = 429 if isinstance(error, TooManyInstances) else 400
            return Reply(codec.error_reply(error.message), status)
        _LOG.error("%s %s failed", scope["method"], scope["path"], exc_info=error)  # it is ours
        return Reply(codec.error_reply("the server failed; its log says how"), 500)

    def sweep(self) -> None:
        """Close what nobody used for the lease."""
        self.sessions.expire()

    async def close(self) -> None:
        """Close every environment."""
        await self.runner.close_all()

    async def _answer(self, scope: Message, fields: dict[bytes, bytes], receive: Receive) -> Reply:
        path, method = scope["path"], scope["method"]
        instance_id = rest = ""
        if path.startswith("/v1/envs/") and len(path) > 9:
            instance_id, _, name = path[9:].partition("/")
            name = name.removesuffix("/")
            if name.startswith("action_space/contains/"):
                name, rest = name[:22], name[22:]
            methods = self._of_instance.get(name)
        elif path == "/" or path.startswith("/live/"):
            return await self._look(path, method)
        else:
            methods = self._of_server.get(path.removesuffix("/"))
        if methods is None:
            raise self._not_found(path)
        handler = methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            return self._without_handler(method, methods)
        body = b"" if method in ("GET", "HEAD") else await self._body(fields, receive)
        return await handler(Request(instance_id, rest, fields.get(b"content-type", b""), body))

    async def _look(self, path: str, method: str) -> Reply:
        """What only the page and those who look on ask for."""
        page = self._pages.get(path)
        if method not in ("GET", "HEAD"):
            return self._without_handler(method, ["GET"])
        reply = page if page is not None else await self._live.answer(path)
        if reply is None:
            raise self._not_found(path)
        return reply

    def _not_found(self, path: str) -> Refused:
        return Refused(404, f"there is no {path[:200]} here; /openapi.json says what there is")

    async def _body(self, fields: dict[bytes, bytes], receive: Receive) -> bytes:
        most = self._settings.max_message_bytes
        declared = fields.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared[:20]) > most:
            raise self._too_large(most)
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            parts, size = [body], len(body)
            while message.get("more_body") and size <= most:
                message = await receive()
                parts.append(message.get("body", b""))
                size += len(parts[-1])
            body = b"".join(parts)
        if len(body) > most:
            raise self._too_large(most)
        if message["type"] == "http.disconnect":
            raise _Gone
        return body

    def _too_large(self, most: int) -> Refused:
        return Refused(413, f"the request is longer than {most} bytes", CLOSE)

    def _without_handler(self, method: str, methods: Iterable[str]) -> Reply:
        names = [name for one in methods for name in ((one, "HEAD") if one == "GET" else (one,))]
        allow = ", ".join([*names, "OPTIONS"])
        if method != "OPTIONS":
            message = f"{method[:20]} is not answered here; use {allow}"
            raise Refused(405, message, [(b"allow", allow.encode())])
        headers = [
            *HTML,
            (b"allow", allow.encode()),
            (b"access-control-allow-methods", allow.encode()),
            (b"access-control-allow-headers", b"authorization, content-type"),
            (b"access-control-max-age", b"600"),
        ]
        return Reply(b"", 204, headers)

    # -- one environment -------------------------------------------------------------------

    def _held(self, instance_id: str) -> Held:
        held: Held | None = self.sessions.get(instance_id).kept
        if held is None:
            raise UnknownInstance("it is still being made")
        return held

    async def _run(self, held: Held, function: Callable[..., Any], *args: Any) -> Any:
        result = self.runner.run(held.session, function, *args)
        return await result if isinstance(result, asyncio.Future) else result

    async def _step(self, request: Request) -> Reply:
        result = self._stepped(request)
        return Reply(await result if isinstance(result, asyncio.Future) else result)

    def _stepped(self, request: Request) -> Any:
        parameters = codec.read_object(request.body, request.content_type)
        action = parameters.get("action")
        if action is None:
            raise codec.not_provided("action")
        render = "render" in parameters and codec.flag(parameters, "render")
        try:
            held = self._held(request.instance_id)
        except UnknownInstance:
            codec.required(parameters, "action")  # which some environments' empty actions are not
            raise
        return self.runner.run(held.session, held.step, action, render)

    async def _reset(self, request: Request) -> Reply:
        held = self._held(request.instance_id)
        return Reply(await self._run(held, held.reset))

    async def _close(self, request: Request) -> Reply:
        held = self._held(request.instance_id)
        if held.monitor is not None:  # its files are complete when the client gets the answer
            await self._run(held, held.close_monitor)
        try:
            self.sessions.close(request.instance_id)
        except UnknownInstance:  # someone else closed it meanwhile
            pass
        return NOTHING

    async def _action_space(self, request: Request) -> Reply:
        return Reply(codec.write({"info": self._held(request.instance_id).action_info}))

    async def _observation_space(self, request: Request) -> Reply:
        return Reply(codec.write({"info": self._held(request.instance_id).observation_info}))

    async def _sample(self, request: Request) -> Reply:
        held = self._held(request.instance_id)
        return Reply(await self._run(held, held.sample))

    async def _contains(self, request: Request) -> Reply:
        number = codec.integer(request.rest)
        held = self._held(request.instance_id)
        return Reply(await self._run(held, held.contains, number))

    async def _describes(self, request: Request) -> Reply:
        wanted = codec.read_object(request.body, request.content_type)
        info = self._held(request.instance_id).observation_info
        return Reply(codec.write({"member": codec.describes(info, wanted)}))

    async def _start_monitor(self, request: Request) -> Reply:
        parameters = codec.read_object(request.body, request.content_type)
        codec.required_text(parameters, "directory")
        held = self._held(request.instance_id)
        await self._run(held, held.start_monitor, self._settings, parameters)
        return NOTHING

    async def _close_monitor(self, request: Request) -> Reply:
        held = self._held(request.instance_id)
        await self._run(held, held.close_monitor)
        return NOTHING

    # -- the server ------------------------------------------------------------------------

    async def _create(self, request: Request) -> Reply:
        parameters = codec.read_object(request.body, request.content_type)
        env_id = codec.required_text(parameters, "env_id")
        seed = codec.seed_of(parameters)
        try:
            session: Session = await self.runner.create(env_id, seed)
        except (MalformedEnvId, UnknownEnvId) as problem:
            raise codec.BadRequest(
                f"Attempted to look up malformed environment ID '{env_id[:200]}': {problem.message}"
            ) from None
        try:
            session.kept = Held(session)
        except Problem:
            self.sessions.close(session.instance_id)
            raise
        return Reply(codec.write({"instance_id": session.instance_id}))

    async def _list(self, request: Request) -> Reply:
        made = (session for session in self.sessions.all() if session.kept is not None)
        ids = {session.instance_id: session.env_id for session in made}
        return Reply(codec.write({"all_envs": ids}))

    async def _stats(self, request: Request) -> Reply:
        return Reply(codec.write(self._statistics.as_dict()))

    async def _upload(self, request: Request) -> Reply:
        parameters = codec.read_object(request.body, request.content_type)
        codec.required(parameters, "training_dir")
        codec.required(parameters, "api_key")
        raise Refused(
            410,
            "the service that results were uploaded to no longer exists; the files of the"
            " monitor stay where they are",
        )

    async def _shutdown(self, request: Request) -> Reply:
        if not self._settings.allow_shutdown:
            raise Refused(403, "this server was not started with --allow-shutdown")
        self._shut_down()
        return Reply(b"Server shutting down", 200, HTML)

    async def _openapi(self, request: Request) -> Reply:
        return Reply(codec.write(openapi.description(self._settings.token is not None)))


class _Gone(Exception):  # noqa: N818 - nobody is left to be answered
    """The client went away before its request was complete."""
