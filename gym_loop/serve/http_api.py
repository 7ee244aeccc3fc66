"""gym-http-api v1: the routes under ``/v1``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gym_loop.serve.env_values import EnvValues
from gym_loop.serve.instance import Instance
from gym_loop.serve.instances import Instances
from gym_loop.serve.monitor import Monitor, monitor_directory, prepare_directory
from gym_loop.serve.replies import (
    Endpoint,
    Handler,
    html_reply,
    json_reply,
    no_content,
    refusal_reply,
)
from gym_loop.serve.settings import ServeSettings
from gym_loop.wire import gym_http as codec
from gym_loop.wire.gym_http import BadRequest, Json
from gym_loop.wire.json_values import Style, plain
from gym_loop.wire.problems import (
    MalformedEnvId,
    Problem,
    TooManyInstances,
    UnknownEnvId,
    UnknownInstance,
    WrongAction,
)

_LOG = logging.getLogger("gym_loop.serve")
_ID_DIGITS = 8


class HttpInstance(Instance):
    """An environment as clients of gym-http-api see it; its methods run in its thread."""

    SHARED = (*Instance.SHARED, "recording")
    TOLD = (*Instance.TOLD, "action_info", "observation_info")

    values: EnvValues
    action_info: Json  # the spaces' descriptions
    observation_info: Json
    monitor: Monitor | None = None
    recording = False

    def make(self) -> None:
        """Make the environment, and what its values are written with."""
        super().make()
        self.values = EnvValues(self, Style.LEGACY_FLAT)
        self.action_info = self.values.described(self.action_space)
        self.observation_info = self.values.described(self.observation_space)

    def answer_reset(self) -> bytes:
        """Begin an episode."""
        observation, _ = self.reset()
        return codec.write({"observation": self.values.observation(observation)})

    def answer_step(self, action: Any, render: bool) -> bytes:
        """Take one step.

        Args:
            action: as the client sent it.
            render: show the environment, where the server's operator gave it a window.
        """
        step = self.step(self._action(action))
        observation, reward, terminated, truncated, info = step
        if self.monitor is not None:
            self.monitor.count(reward, terminated or truncated)
        if render and getattr(self.env, "render_mode", None) == "human":
            self.render()  # frames in memory would be drawn for nobody
        return codec.step_reply(
            self.values.observation(observation),
            reward,
            terminated,
            truncated,
            plain(info) if info else {},
        )

    def _action(self, value: Any) -> Any:
        """Read an action; an empty one is missing, where the space has none such."""
        if value not in codec.EMPTY:
            return self.values.action(value)
        try:
            action = self.values.action(value)
        except WrongAction:
            raise codec.not_provided("action") from None
        if not self.action_space.contains(action):
            raise codec.not_provided("action")
        return action

    def answer_sample(self) -> bytes:
        """A random action."""
        return codec.write({"action": self.values.sample()})

    def answer_contains(self, number: int) -> bytes:
        """Whether an integer is an action."""
        try:
            member = bool(self.action_space.contains(self.values.action(number)))
        except WrongAction:
            member = False
        return codec.write({"member": member})

    def start_monitor(self, settings: ServeSettings, parameters: Json) -> None:
        """Record the episodes from the next reset on.

        Raises:
            BadRequest: it is recorded already, or not to be recorded there.
            UnknownInstance: it was closed meanwhile.
        """
        if self.monitor is not None:
            raise BadRequest(
                f"instance {self.instance_id} is being recorded already, in"
                f" {self.monitor.directory}; close that monitor first"
            )
        every = codec.video_interval(parameters)
        force, resume = codec.flag(parameters, "force"), codec.flag(parameters, "resume")
        directory = monitor_directory(
            settings.monitor_root,
            codec.required_text(parameters, "directory"),
            anywhere=settings.any_monitor_directory,
        )
        self.check_open()
        prepare_directory(directory, force=force, resume=resume)
        self.monitor = Monitor(self.env, directory, self.env_id, every, _LOG.warning)
        self.env, self.recording = self.monitor, True
        _LOG.info("instance %s (%s) is recorded in %s", self.instance_id, self.env_id, directory)

    def close_monitor(self) -> None:
        """Write what was recorded; without a monitor nothing happens."""
        if self.monitor is not None:
            self.monitor.finish()
            self.env, self.monitor, self.recording = self.monitor.env, None, False


class HttpApi:
    """Answers gym-http-api v1, and says how the server is at ``/v1/stats``.

    Args:
        instances: the environments.
        settings: what may be done here.
        shut_down: called when a client ends the server.
        connections: how many WebSockets are open.
    """

    def __init__(
        self,
        instances: Instances,
        settings: ServeSettings,
        shut_down: Callable[[], None],
        connections: Callable[[], int],
    ) -> None:
        self._instances = instances
        self._settings = settings
        self._shut_down = shut_down
        self._connections = connections

    def routes(self) -> list[BaseRoute]:
        """Every path, with and without its trailing slash."""
        one = "/v1/envs/{instance_id}"
        paths: dict[str, dict[str, Handler]] = {
            f"{one}/step": {"POST": self._step},
            f"{one}/reset": {"POST": self._reset},
            f"{one}/close": {"POST": self._close},
            f"{one}/action_space": {"GET": self._action_space},
            f"{one}/action_space/sample": {"GET": self._sample},
            f"{one}/action_space/contains/{{action}}": {"GET": self._contains},
            f"{one}/observation_space": {"GET": self._observation_space},
            f"{one}/observation_space/contains": {"POST": self._describes},
            f"{one}/monitor/start": {"POST": self._start_monitor},
            f"{one}/monitor/close": {"POST": self._close_monitor},
            "/v1/envs": {"GET": self._list, "POST": self._create},
            "/v1/stats": {"GET": self._stats},
            "/v1/upload": {"POST": self._upload},
            "/v1/shutdown": {"POST": self._shutdown},
        }
        return [
            Route(path + slash, Endpoint(handlers, self.refused))
            for path, handlers in paths.items()
            for slash in ("/", "")
        ]

    def refused(self, request: Request, error: Exception) -> Response:
        """What answers a request that failed."""
        statistics = self._instances.statistics
        if isinstance(error, HTTPException):
            statistics.errors[HTTPStatus(error.status_code).phrase] += 1
            return refusal_reply(error)
        statistics.error(error)
        if isinstance(error, UnknownInstance):
            instance_id = request.path_params.get("instance_id", "")
            return json_reply(codec.error_reply(f"Instance_id {instance_id[:200]} unknown"), 400)
        if isinstance(error, Problem):
            status = 429 if isinstance(error, TooManyInstances) else 400
            return json_reply(codec.error_reply(error.message), status)
        _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)  # it is ours
        return json_reply(codec.error_reply("the server failed; its log says how"), 500)

    # -- one environment -------------------------------------------------------------------

    def _instance(self, request: Request) -> HttpInstance:
        return self._instances.get(request.path_params["instance_id"], HttpInstance)

    async def _step(self, request: Request) -> Response:
        parameters = await _parameters(request)
        action = parameters.get("action")
        if action is None:
            raise codec.not_provided("action")
        render = "render" in parameters and codec.flag(parameters, "render")
        try:
            instance = self._instance(request)
        except UnknownInstance:
            codec.required(parameters, "action")  # which some environments' empty actions are not
            raise
        return json_reply(await instance.call(instance.answer_step, action, render))

    async def _reset(self, request: Request) -> Response:
        await request.body()
        instance = self._instance(request)
        return json_reply(await instance.call(instance.answer_reset))

    async def _close(self, request: Request) -> Response:
        await request.body()
        instance = self._instance(request)
        if instance.recording:  # its files are complete when the client gets the answer
            await instance.call(instance.close_monitor)
        self._instances.close(instance)
        return no_content()

    async def _action_space(self, request: Request) -> Response:
        return json_reply({"info": self._instance(request).action_info})

    async def _observation_space(self, request: Request) -> Response:
        return json_reply({"info": self._instance(request).observation_info})

    async def _sample(self, request: Request) -> Response:
        instance = self._instance(request)
        return json_reply(await instance.call(instance.answer_sample))

    async def _contains(self, request: Request) -> Response:
        number = codec.integer(request.path_params["action"])
        instance = self._instance(request)
        return json_reply(await instance.call(instance.answer_contains, number))

    async def _describes(self, request: Request) -> Response:
        wanted = await _parameters(request)
        info = self._instance(request).observation_info
        return json_reply({"member": codec.describes(info, wanted)})

    async def _start_monitor(self, request: Request) -> Response:
        parameters = await _parameters(request)
        codec.required_text(parameters, "directory")
        instance = self._instance(request)
        await instance.call(instance.start_monitor, self._settings, parameters)
        return no_content()

    async def _close_monitor(self, request: Request) -> Response:
        await request.body()
        instance = self._instance(request)
        await instance.call(instance.close_monitor)
        return no_content()

    # -- the server ------------------------------------------------------------------------

    async def _create(self, request: Request) -> Response:
        parameters = await _parameters(request)
        env_id = codec.required_text(parameters, "env_id")
        seed = codec.seed_of(parameters)
        try:
            made = await self._instances.create(HttpInstance, env_id, seed, digits=_ID_DIGITS)
        except (MalformedEnvId, UnknownEnvId) as problem:
            raise BadRequest(
                f"Attempted to look up malformed environment ID '{env_id[:200]}': {problem.message}"
            ) from None
        return json_reply({"instance_id": made.instance_id})

    async def _list(self, request: Request) -> Response:
        made = self._instances.all()
        ids = {one.instance_id: one.env_id for one in made if isinstance(one, HttpInstance)}
        return json_reply({"all_envs": ids})

    async def _stats(self, request: Request) -> Response:
        return json_reply({**self._instances.as_dict(), "connections": self._connections()})

    async def _upload(self, request: Request) -> Response:
        parameters = await _parameters(request)
        codec.required(parameters, "training_dir")
        codec.required(parameters, "api_key")
        raise HTTPException(
            410,
            "the service that results were uploaded to no longer exists; the files of the"
            " monitor stay where they are",
        )

    async def _shutdown(self, request: Request) -> Response:
        if not self._settings.allow_shutdown:
            raise HTTPException(403, "this server was not started with --allow-shutdown")
        self._shut_down()
        return html_reply("Server shutting down")


async def _parameters(request: Request) -> Json:
    content_type = request.headers.get("content-type", "").encode("latin-1")
    return codec.read_object(await request.body(), content_type)
