"""The fields of a native request, each checked for its kind, and the codes of what is wrong."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Interval
from gymnasium.vector import AutoresetMode

from gym_loop.schema.parameters import Field, Parameters, PositiveInt, read
from gym_loop.serve.settings import ServeSettings
from gym_loop.wire.json_values import short
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

Fields = dict[str, Any]
MODES = {mode.name.lower(): mode for mode in AutoresetMode}
_LONGEST_NAME = 100
_LONGEST_MESSAGE = 300
_PLAIN = (type(None), bool, int, float, str)


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


class MakeRequest(Parameters):
    """The environment that a client asks for."""

    env_id: Any = Field(default=None, description="Under which it is served.")
    parameters: dict[str, Any] | None = Field(
        default=None, description="Keyword arguments of the environment, plain data."
    )
    num_envs: PositiveInt | None = Field(
        default=None, description="Copies of a vector environment; null for a single one."
    )
    vectorization: Literal["auto", "native", "sync"] = Field(
        default="auto", description="How copies are made; auto is native where there is one."
    )
    autoreset: Literal["next_step", "same_step", "disabled"] | None = Field(
        default=None,
        description="How copies begin a new episode; null takes what the environment does, and"
        " same_step for copies that are made here.",
    )
    max_episode_steps: Annotated[int, Interval(ge=1, le=2**31)] | None = Field(
        default=None, description="Time limit in steps; null keeps the registered one."
    )
    render_mode: Literal["rgb_array"] | None = Field(default=None, description="Of its frames.")
    state: bool = Field(default=False, description="To be saved and restored.")

    @property
    def size(self) -> int:
        """Environments, copies counted."""
        return self.num_envs or 1


def make_request(fields: Fields, settings: ServeSettings) -> MakeRequest:
    """Read a make request.

    Raises:
        BadRequest: a field is of the wrong kind.
        NotAllowed: the operator allows no such parameter, or not so many environments.
    """
    made, problems = read(MakeRequest, {k: v for k, v in fields.items() if k != "op"})
    if made is None:
        way, problem = next(iter(problems.items()))
        raise BadRequest(f"{'.'.join(map(str, way))}: {problem}"[:_LONGEST_MESSAGE])
    if made.size > settings.max_envs:
        raise NotAllowed(f"num_envs {made.size} is more than the {settings.max_envs} allowed here")
    for name, value in (made.parameters or {}).items():
        _check_parameter(made.env_id, name, value, settings)
    return made


def _check_parameter(env_id: Any, name: Any, value: Any, settings: ServeSettings) -> None:
    if type(name) is not str or not name.isidentifier() or len(name) > _LONGEST_NAME:
        raise BadRequest(f"{short(name)} is no name of a parameter")
    if name in ("render_mode", "max_episode_steps"):
        raise BadRequest(f"{name} is a field of its own, beside parameters")
    if not any(_allows(pattern, str(env_id), name) for pattern in settings.allow_parameters):
        raise NotAllowed(
            f"this server lets no client set {name} of {env_id!s:.100}; its operator can, by"
            " allow_parameters"
        )
    if not _is_plain(value):
        raise BadRequest(f"parameter {name} must be plain: a number, a text, a list or an object")


def _allows(pattern: str, env_id: str, name: str) -> bool:
    of_env, separator, of_name = pattern.rpartition(":")
    return fnmatchcase(name, of_name) and (not separator or fnmatchcase(env_id, of_env))


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(type(key) is str for key in value) and all(map(_is_plain, value.values()))
    return type(value) in _PLAIN


def only(fields: Fields, *names: str) -> None:
    """Refuse fields that nobody reads, as a misspelt one is.

    Raises:
        BadRequest: there is one.
    """
    unknown = fields.keys() - {"op", *names}
    if unknown:
        known = ", ".join(names) or "none"
        raise BadRequest(
            f"{fields['op']} has no field {short(sorted(unknown)[0])}; its fields are {known}"
        )


def flag(fields: Fields, name: str) -> bool:
    """A field that is true or false; false if it is absent.

    Raises:
        BadRequest: it is neither.
    """
    value = fields.get(name, False)
    if type(value) is not bool:
        raise BadRequest(f"{name} must be true or false, not {short(value)}")
    return value


def reset_of(fields: Fields, num_envs: int | None) -> Fields:
    """The seed and the options of a reset.

    Raises:
        BadRequest: a field is of the wrong kind.
        WrongSeed: a seed is no integer from 0 on.
    """
    only(fields, "instance", "seed", "options", "mask")
    seed, options, mask = (fields.get(name) for name in ("seed", "options", "mask"))
    if type(seed) is list:
        if len(seed) != num_envs:
            raise WrongSeed(f"{len(seed)} seeds where there are {num_envs or 'no'} copies")
        for one in seed:
            _check_seed(one)
    else:
        _check_seed(seed)
    if options is not None and type(options) is not dict:
        raise BadRequest(f"options must be null or an object, not {short(options)}")
    if mask is not None:
        options = {**(options or {}), "reset_mask": _mask(mask, num_envs)}
    return {"seed": seed, "options": options}


def _check_seed(seed: Any) -> None:
    if seed is not None and (type(seed) is not int or not 0 <= seed < 2**64):
        raise WrongSeed(f"seed {short(seed)} is no integer from 0 to 2**64 - 1")


def _mask(mask: Any, num_envs: int | None) -> Any:
    array = mask
    if type(mask) is list and all(type(one) is bool for one in mask):
        array = np.asarray(mask)
    if type(array) is not np.ndarray or array.dtype != bool or array.shape != (num_envs,):
        raise BadRequest(f"mask must be {num_envs or 0} bools, one a copy")
    if not array.any():
        raise BadRequest("mask must choose at least one copy")
    return array
