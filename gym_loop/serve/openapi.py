"""The OpenAPI description of what the server answers over HTTP, for tools that make clients.

The models are the requests and the replies of gym-http-api; the schemas follow from them.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

Json = dict[str, Any]


class Error(BaseModel):
    """What was wrong, in one sentence."""

    message: str


class MakeEnv(BaseModel):
    """What to make."""

    env_id: str = Field(examples=["CartPole-v1"])
    seed: int | None = Field(None, ge=0)


class Made(BaseModel):
    """The instance's id, for all that follows."""

    instance_id: str = Field(examples=["3c657dbc"])


class Envs(BaseModel):
    """The open environments: ids by instance."""

    all_envs: dict[str, str]


class Observed(BaseModel):
    """The first observation of an episode; its shape follows from the space."""

    observation: Any


class TakeStep(BaseModel):
    """What to do; the action's shape follows from the space."""

    action: Any
    render: bool | None = False


class Info(BaseModel):
    """What the environment says besides."""

    model_config = ConfigDict(extra="allow")

    terminated: bool
    truncated: bool


class Stepped(BaseModel):
    """What came of a step; done: terminated or truncated."""

    observation: Any
    reward: float | None
    done: bool
    info: Info


class Space(BaseModel):
    """A space: its kind, and the sizes and bounds of that kind."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(examples=["Discrete", "Box"])


class SpaceInfo(BaseModel):
    """A space of the environment."""

    info: Space


class Sampled(BaseModel):
    """A random action."""

    action: Any


class Member(BaseModel):
    """Whether it is."""

    member: bool


class Anything(BaseModel):
    """Properties of a space, or counts."""

    model_config = ConfigDict(extra="allow")


class StartMonitor(BaseModel):
    """Where to record; video_callable is N, for a video of every N-th episode, or false."""

    directory: str
    force: bool | None = False
    resume: bool | None = False
    video_callable: int | bool | None = None


class Upload(BaseModel):
    """What the upload service took."""

    training_dir: str
    api_key: str
    algorithm_id: str | None = None


class Environments(BaseModel):
    """The ids that may be asked for, and pictures a second that are drawn at most."""

    environments: list[str]
    fps: float


class LiveInstances(BaseModel):
    """The open environments as the page at / has them; others: how many more there are."""

    instances: list[Anything]
    others: int


class Operation(NamedTuple):
    """What a method of a path does; replies by status: a model, a media type, or None."""

    path: str
    method: str
    name: str
    summary: str
    replies: dict[str, type[BaseModel] | str | None]
    body: type[BaseModel] | None = None


_ONE = "/v1/envs/{instance_id}"
_DONE: dict[str, type[BaseModel] | str | None] = {"204": None}
OPERATIONS = [
    Operation("/v1/envs/", "post", "makeEnv", "Make an environment.", {"200": Made}, MakeEnv),
    Operation("/v1/envs/", "get", "listEnvs", "The open environments.", {"200": Envs}),
    Operation(f"{_ONE}/reset/", "post", "reset", "Begin an episode.", {"200": Observed}),
    Operation(f"{_ONE}/step/", "post", "step", "Take one step.", {"200": Stepped}, TakeStep),
    Operation(
        f"{_ONE}/action_space/", "get", "actionSpace", "The action space.", {"200": SpaceInfo}
    ),
    Operation(
        f"{_ONE}/action_space/sample", "get", "sampleAction", "A random action.", {"200": Sampled}
    ),
    Operation(
        f"{_ONE}/action_space/contains/{{action}}",
        "get", "containsAction", "Whether an integer is an action.", {"200": Member},
    ),
    Operation(
        f"{_ONE}/observation_space/",
        "get", "observationSpace", "The observation space.", {"200": SpaceInfo},
    ),
    Operation(
        f"{_ONE}/observation_space/contains", "post", "describesObservations",
        "Whether the observation space's description has the given values.",
        {"200": Member}, Anything,
    ),
    Operation(
        f"{_ONE}/monitor/start/", "post", "startMonitor",
        "Record the episodes from the next reset on.", _DONE, StartMonitor,
    ),
    Operation(
        f"{_ONE}/monitor/close/", "post", "closeMonitor", "Write what was recorded.", _DONE
    ),
    Operation(f"{_ONE}/close/", "post", "close", "Close the environment.", _DONE),
    Operation(
        "/v1/upload/", "post", "upload",
        "The upload service no longer exists: answers 410.", {"410": Error}, Upload,
    ),
    Operation(
        "/v1/shutdown/", "post", "shutdown",
        "End the server, where it was started with --allow-shutdown; else answers 403.",
        {"200": "text/html", "403": Error},
    ),
    Operation(
        "/v1/stats", "get", "stats",
        "Counts and latencies since the server started.", {"200": Anything},
    ),
    Operation(
        "/live/environments", "get", "servedEnvironments",
        "The ids that may be asked for.", {"200": Environments},
    ),
    Operation(
        "/live/instances", "get", "liveInstances",
        "The open environments, whichever protocol their clients speak.", {"200": LiveInstances},
    ),
    Operation(
        "/live/frames/{instance_id}", "get", "liveFrame",
        "The environment as it looks now, and in the header gym-loop-instance what it is of; 204"
        " before its first reset. 404: it gives no pictures. Its lease runs on.",
        {"200": "image/jpeg", "204": None},
    ),
]  # fmt: skip


def description(with_token: bool) -> Json:
    """The whole document.

    Args:
        with_token: the server demands a bearer token.
    """
    kinds = [kind for one in OPERATIONS for kind in (one.body, *one.replies.values())]
    models = {Error} | {kind for kind in kinds if kind is not None and not isinstance(kind, str)}
    wanted: Any = [(model, "validation") for model in sorted(models, key=lambda one: one.__name__)]
    _, schemas = models_json_schema(wanted, ref_template="#/components/schemas/{model}")
    paths: Json = {}
    for one in OPERATIONS:
        item = paths.setdefault(one.path, {})
        item[one.method] = _operation(one)
        names = [name for name in ("instance_id", "action") if f"{{{name}}}" in one.path]
        if names:
            item["parameters"] = [_parameter(name) for name in names]
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "gym-http-api",
            "version": "1",
            "summary": "Gymnasium environments over HTTP.",
            "description": f"Served by gym-loop {version('gym-loop')}. Every path is answered"
            " with and without its trailing slash.",
        },
        "paths": paths,
        "components": {"schemas": schemas["$defs"]},
    }
    if with_token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


def _parameter(name: str) -> Json:
    kind = {"type": "integer"} if name == "action" else {"type": "string"}
    return {"name": name, "in": "path", "required": True, "schema": kind}


def _operation(one: Operation) -> Json:
    replies = {status: _reply(kind) for status, kind in one.replies.items()}
    operation: Json = {
        "operationId": one.name,
        "summary": one.summary,
        "responses": {**replies, "default": _reply(Error)},
    }
    if one.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(one.body)}
    return operation


def _reply(kind: type[BaseModel] | str | None) -> Json:
    if kind is None:
        return {"description": "Done, and nothing to tell."}
    if isinstance(kind, str):
        return {"description": "The answer.", "content": {kind: {}}}
    return {"description": (kind.__doc__ or "").strip(), "content": _content(kind)}


def _content(model: type[BaseModel]) -> Json:
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"application/json": {"schema": schema}}
