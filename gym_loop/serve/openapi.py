"""The OpenAPI description of what the server answers over HTTP, for tools that make clients.

The models are the requests and the replies of gym-http-api; the schemas follow from them.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.json_schema import models_json_schema

Json = dict[str, Any]
Kind = type[BaseModel] | str | None  # of a reply: a model, a media type, or nothing
_OPEN = ConfigDict(extra="allow")


def _model(name: str, config: ConfigDict | None = None, /, **fields: Any) -> Any:
    """A model; a field that may be left out is a pair of its type and its default."""
    whole: Any = {key: one if isinstance(one, tuple) else (one, ...) for key, one in fields.items()}
    return create_model(name, __config__=config, **whole)


_SWITCH = (bool | None, False)
Error = _model("Error", message=str)
MakeEnv = _model(
    "MakeEnv",
    env_id=Annotated[str, Field(examples=["CartPole-v1"])],
    seed=(Annotated[int, Field(ge=0)] | None, None),
)
Made = _model("Made", instance_id=Annotated[str, Field(examples=["3c657dbc"])])
Envs = _model("Envs", all_envs=dict[str, str])
Observed = _model("Observed", observation=Any)
TakeStep = _model("TakeStep", action=Any, render=_SWITCH)
Info = _model("Info", _OPEN, terminated=bool, truncated=bool)
Stepped = _model("Stepped", observation=Any, reward=float | None, done=bool, info=Info)
Space = _model("Space", _OPEN, name=Annotated[str, Field(examples=["Discrete", "Box"])])
SpaceInfo = _model("SpaceInfo", info=Space)
Sampled = _model("Sampled", action=Any)
Member = _model("Member", member=bool)
Anything = _model("Anything", _OPEN)
StartMonitor = _model(
    "StartMonitor",
    directory=str,
    force=_SWITCH,
    resume=_SWITCH,
    video_callable=(
        Annotated[int | bool | None, Field(description="N: of every N-th episode; false: none.")],
        None,
    ),
)
Upload = _model("Upload", training_dir=str, api_key=str, algorithm_id=(str | None, None))
Environments = _model("Environments", environments=list[str], fps=float)
LiveInstances = _model("LiveInstances", instances=list[dict[str, Any]], others=int)


class Operation(NamedTuple):
    """What a method of a path does, with its replies by status."""

    method: str
    path: str
    name: str
    summary: str
    replies: dict[str, Kind]
    body: type[BaseModel] | None = None


_ONE = "/v1/envs/{instance_id}"
# fmt: off
OPERATIONS = [Operation(*one) for one in (
    ("post", "/v1/envs/", "makeEnv", "Make an environment.", {"200": Made}, MakeEnv),
    ("get", "/v1/envs/", "listEnvs", "The open environments: ids by instance.", {"200": Envs}),
    ("post", f"{_ONE}/reset/", "reset", "Begin an episode.", {"200": Observed}),
    ("post", f"{_ONE}/step/", "step", "Take one step; done is terminated or truncated.",
     {"200": Stepped}, TakeStep),
    ("get", f"{_ONE}/action_space/", "actionSpace", "The action space.", {"200": SpaceInfo}),
    ("get", f"{_ONE}/action_space/sample", "sampleAction", "A random action.", {"200": Sampled}),
    ("get", f"{_ONE}/action_space/contains/{{action}}", "containsAction",
     "Whether an integer is an action.", {"200": Member}),
    ("get", f"{_ONE}/observation_space/", "observationSpace", "The observation space.",
     {"200": SpaceInfo}),
    ("post", f"{_ONE}/observation_space/contains", "describesObservations",
     "Whether the observation space's description has the given values.",
     {"200": Member}, Anything),
    ("post", f"{_ONE}/monitor/start/", "startMonitor",
     "Record the episodes from the next reset on.", {"204": None}, StartMonitor),
    ("post", f"{_ONE}/monitor/close/", "closeMonitor", "Write what was recorded.", {"204": None}),
    ("post", f"{_ONE}/close/", "close", "Close the environment.", {"204": None}),
    ("post", "/v1/upload/", "upload", "The upload service no longer exists: answers 410.",
     {"410": Error}, Upload),
    ("post", "/v1/shutdown/", "shutdown",
     "End the server, where it was started with --allow-shutdown; else answers 403.",
     {"200": "text/html", "403": Error}),
    ("get", "/v1/stats", "stats", "Counts and latencies since the server started.",
     {"200": Anything}),
    ("get", "/live/environments", "servedEnvironments",
     "The ids that may be asked for, and pictures a second that are drawn at most.",
     {"200": Environments}),
    ("get", "/live/instances", "liveInstances",
     "The open environments, whatever their clients speak; others: how many more there are.",
     {"200": LiveInstances}),
    ("get", "/live/frames/{instance_id}", "liveFrame",
     "The environment as it looks now, and in the header gym-loop-instance what it is of; 204"
     " before its first reset. 404: it gives no pictures. Its lease runs on.",
     {"200": "image/jpeg", "204": None}),
)]
# fmt: on


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
    about = f"Served by gym-loop {version('gym-loop')}. Every path is answered with and without its"
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "gym-http-api",
            "version": "1",
            "summary": "Gymnasium environments over HTTP.",
            "description": f"{about} trailing slash.",
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


def _reply(kind: Kind) -> Json:
    if kind is None:
        return {"description": "Done, and nothing to tell."}
    return {"description": "The answer.", "content": _content(kind)}


def _content(kind: type[BaseModel] | str) -> Json:
    if isinstance(kind, str):
        return {kind: {}}
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}
