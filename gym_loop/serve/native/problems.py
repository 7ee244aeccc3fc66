"""What can be wrong with a request, and the code that says so on the wire."""

from __future__ import annotations

from gym_loop.wire.problems import (
    EnvFailed,
    MalformedEnvId,
    Problem,
    ResetNeeded,
    TooManyInstances,
    UnknownEnvId,
    UnknownInstance,
    WrongAction,
    WrongSeed,
)
from gym_loop.wire.values import Malformed, Unsendable


class BadRequest(Problem):
    """A message whose fields are not those of a request."""


class WrongVersion(Problem):
    """A client that speaks another version."""


class NotAllowed(Problem):
    """What the server's operator does not let clients do."""


class NoState(Problem):
    """An environment that cannot give its state exactly."""


class WrongState(Problem):
    """A state that is none of this environment's."""


CODES: dict[type[Problem], str] = {
    BadRequest: "bad_request",
    Malformed: "bad_request",
    WrongVersion: "wrong_version",
    MalformedEnvId: "unknown_env",
    UnknownEnvId: "unknown_env",
    UnknownInstance: "unknown_instance",
    TooManyInstances: "too_many",
    NotAllowed: "not_allowed",
    ResetNeeded: "reset_needed",
    WrongAction: "wrong_action",
    WrongSeed: "wrong_seed",
    NoState: "no_state",
    WrongState: "wrong_state",
    EnvFailed: "env_failed",
    Unsendable: "env_failed",
}
INTERNAL = "internal"


def said(error: Exception) -> dict[str, str]:
    """The code and the message of an error, never a traceback."""
    if not isinstance(error, Problem):
        return {"code": INTERNAL, "message": "the server failed in this; its log says how"}
    return {"code": CODES.get(type(error), "bad_request"), "message": error.message}
