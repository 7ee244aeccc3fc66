"""The OpenAPI description of what the server answers, for tools that make clients from it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

Json = dict[str, Any]

ANYTHING: Json = {"description": "Any JSON value; its shape follows from the space."}
TEXT: Json = {"type": "string"}
SWITCH: Json = {"type": ["boolean", "null"], "default": False}
SPACE: Json = {
    "type": "object",
    "description": "A space: its kind, and the sizes and bounds of that kind.",
    "properties": {"name": {"type": "string", "examples": ["Discrete", "Box"]}},
    "required": ["name"],
}
INSTANCE: Json = {
    "name": "instance_id",
    "in": "path",
    "required": True,
    "description": "What making the environment returned.",
    "schema": {"type": "string", "examples": ["3c657dbc"]},
}


def description(with_token: bool) -> Json:
    """The whole document.

    Args:
        with_token: the server demands a bearer token.
    """
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "gym-http-api",
            "version": "1",
            "summary": "Gymnasium environments over HTTP.",
            "description": f"Served by gym-loop {version('gym-loop')}. Every path is answered"
            " with and without its trailing slash.",
        },
        "paths": _paths(),
        "components": {
            "schemas": {
                "Error": _object(message=TEXT),
                "Space": SPACE,
            },
            "responses": {
                "Error": _json("What was wrong, in one sentence.", _reference("schemas", "Error")),
            },
            "parameters": {"Instance": INSTANCE},
        },
    }
    if with_token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


def _paths() -> Json:
    one = "/v1/envs/{instance_id}"
    return {
        "/v1/envs/": {
            "post": _operation(
                "makeEnv",
                "Make an environment.",
                _answer(instance_id=TEXT),
                body=_object(
                    env_id={"type": "string", "examples": ["CartPole-v1"]},
                    seed={"type": ["integer", "null"], "minimum": 0},
                    required=["env_id"],
                ),
            ),
            "get": _operation(
                "listEnvs",
                "The open environments: ids by instance.",
                _answer(all_envs={"type": "object", "additionalProperties": TEXT}),
            ),
        },
        f"{one}/reset/": _on_instance(
            "post", "reset", "Begin an episode.", _answer(observation=ANYTHING)
        ),
        f"{one}/step/": _on_instance(
            "post",
            "step",
            "Take one step.",
            _answer(
                observation=ANYTHING,
                reward={"type": ["number", "null"]},
                done={"type": "boolean", "description": "terminated or truncated"},
                info={"type": "object", "required": ["terminated", "truncated"]},
            ),
            body=_object(action=ANYTHING, render=SWITCH, required=["action"]),
        ),
        f"{one}/action_space/": _on_instance(
            "get", "actionSpace", "The action space.", _answer(info=_reference("schemas", "Space"))
        ),
        f"{one}/action_space/sample": _on_instance(
            "get", "sampleAction", "A random action.", _answer(action=ANYTHING)
        ),
        f"{one}/action_space/contains/{{action}}": _with_action(
            _on_instance(
                "get",
                "containsAction",
                "Whether an integer is an action.",
                _answer(member={"type": "boolean"}),
            )
        ),
        f"{one}/observation_space/": _on_instance(
            "get",
            "observationSpace",
            "The observation space.",
            _answer(info=_reference("schemas", "Space")),
        ),
        f"{one}/observation_space/contains": _on_instance(
            "post",
            "describesObservations",
            "Whether the observation space's description has the given values.",
            _answer(member={"type": "boolean"}),
            body={"type": "object"},
        ),
        f"{one}/monitor/start/": _on_instance(
            "post",
            "startMonitor",
            "Record the episodes from the next reset on.",
            NOTHING,
            body=_object(
                directory=TEXT,
                force=SWITCH,
                resume=SWITCH,
                video_callable={
                    "type": ["integer", "boolean", "null"],
                    "description": "N: a video of every N-th episode; false: none.",
                },
                required=["directory"],
            ),
        ),
        f"{one}/monitor/close/": _on_instance(
            "post", "closeMonitor", "Write what was recorded.", NOTHING
        ),
        f"{one}/close/": _on_instance("post", "close", "Close the environment.", NOTHING),
        "/v1/upload/": {
            "post": _operation(
                "upload",
                "The upload service no longer exists: answers 410.",
                {"410": _reference("responses", "Error")},
                body=_object(
                    training_dir=TEXT,
                    api_key=TEXT,
                    algorithm_id={"type": ["string", "null"]},
                    required=["training_dir", "api_key"],
                ),
            )
        },
        "/v1/shutdown/": {
            "post": _operation(
                "shutdown",
                "End the server, where it was started with --allow-shutdown; else answers 403.",
                {
                    "200": {"description": "It ends.", "content": {"text/html": {"schema": TEXT}}},
                    "403": _reference("responses", "Error"),
                },
            )
        },
        "/v1/stats": {
            "get": _operation(
                "stats",
                "Counts and latencies since the server started.",
                {"200": _json("The counts.", {"type": "object"})},
            )
        },
        "/live/environments": {
            "get": _operation(
                "servedEnvironments",
                "The ids that may be asked for, and pictures a second that are drawn at most.",
                _answer(environments={"type": "array", "items": TEXT}, fps={"type": "number"}),
            )
        },
        "/live/instances": {
            "get": _operation(
                "liveInstances",
                "The open environments with steps, return, age and idle time, as the page at / has"
                " them; others: how many more there are.",
                _answer(
                    instances={"type": "array", "items": {"type": "object"}},
                    others={"type": "integer"},
                ),
            )
        },
        "/live/frames/{instance_id}": _on_instance(
            "get",
            "liveFrame",
            "The environment as it looks now; its lease runs on. 404: it gives no pictures.",
            {
                "200": {
                    "description": "A JPEG file; the header gym-loop-instance says what it is of.",
                    "content": {"image/jpeg": {}},
                },
                "204": {"description": "It was not reset yet."},
            },
        ),
    }


NOTHING: Json = {"204": {"description": "Done."}}


def _operation(name: str, summary: str, responses: Json, body: Json | None = None) -> Json:
    operation: Json = {
        "operationId": name,
        "summary": summary,
        "responses": {**responses, "default": _reference("responses", "Error")},
    }
    if body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": body}},
        }
    return operation


def _on_instance(
    method: str, name: str, summary: str, responses: Json, body: Json | None = None
) -> Json:
    return {
        "parameters": [_reference("parameters", "Instance")],
        method: _operation(name, summary, responses, body),
    }


def _with_action(path: Json) -> Json:
    action = {"name": "action", "in": "path", "required": True, "schema": {"type": "integer"}}
    return {**path, "parameters": [*path["parameters"], action]}


def _answer(**properties: Json) -> Json:
    return {"200": _json("The answer.", _object(None, **properties))}


def _json(text: str, schema: Json) -> Json:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _object(required: list[str] | None = None, **properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
    }


def _reference(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}
