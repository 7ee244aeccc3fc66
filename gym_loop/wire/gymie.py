"""gymie between bytes and Python values; no input or output.

A request is ``{"method": ..., "params": {...}}``. What cannot be answered is a `Refusal`: the
protocol knows no error replies, it closes the connection with a code and a reason. The words of
the reasons, their spelling included, are those that existing clients look for.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import orjson

from gym_loop.wire.json_values import Style, number_to_json, with_ends
from gym_loop.wire.problems import (
    MalformedEnvId,
    Problem,
    ResetNeeded,
    UnknownEnvId,
    UnknownInstance,
    WrongAction,
    WrongSeed,
)

NOT_UNDERSTOOD = 1003  # close codes of RFC 6455: data that this server cannot read at all
INVALID = 1007  # data that says something wrong
LONGEST_REASON = 123  # bytes: a control frame holds 125, and the code takes two

_NUMBER = re.compile(rb"\d[\d.]*(?:[eE][+-]?\d+)?")

Params = dict[str, Any]
loads, dumps = orjson.loads, orjson.dumps


class Method(NamedTuple):
    """The parameters that a method needs, and those that it knows."""

    needs: frozenset[str]
    knows: frozenset[str]


_STEP = {"instance_id", "action"}
_INSTANCE = Method(frozenset({"instance_id"}), frozenset({"instance_id"}))
METHODS = {
    "make": Method(frozenset({"env_id"}), frozenset({"env_id", "seed"})),
    "reset": _INSTANCE,
    "step": Method(
        frozenset({"instance_id", "action"}), frozenset({"instance_id", "action", "render"})
    ),
    "close": _INSTANCE,
    "observation_space": _INSTANCE,
    "action_space": _INSTANCE,
    "action_sample": _INSTANCE,
}


class Refusal(Problem):
    """A request that is answered by closing the connection.

    Args:
        code: of the close frame.
        reason: any text; the frame gets as much of it as it can hold.
    """

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        super().__init__(reason)

    @property
    def reason(self) -> bytes:
        """What goes into the close frame."""
        return cut(self.message)


# -- requests ------------------------------------------------------------------------------


def read_request(data: bytes) -> tuple[str, Params]:
    """Read a message into the method and its parameters, of which none is missing or unknown.

    Args:
        data: the payload of a text or a binary frame.

    Raises:
        Refusal: it is no JSON, no request, or a wrong one.
    """
    try:
        message = _loads(data)
        method, params = message["method"], message["params"]
    except ValueError:
        raise Refusal(NOT_UNDERSTOOD, f"Message `{_text(data)}` is invalid") from None
    except KeyError:
        keys = shown(list(message))
        raise Refusal(NOT_UNDERSTOOD, f"Message keys {keys} are missing or invalid") from None
    except TypeError:  # JSON, but no object
        raise Refusal(NOT_UNDERSTOOD, f"Message `{_text(data)}` is invalid") from None
    if method == "step" and type(params) is dict and params.keys() == _STEP:
        return method, params  # the usual, and fast
    try:
        needs, knows = METHODS[method]
    except (KeyError, TypeError):  # the latter for what cannot be a key
        raise Refusal(INVALID, f"Method `{shown(method)}` not found") from None
    if type(params) is not dict or not needs <= params.keys() <= knows:
        raise wrong_params(params)
    return method, params


def _loads(data: bytes) -> Any:
    """Read JSON; numbers that no float holds, which are JSON as well, become infinite.

    Raises:
        ValueError: it is none.
    """
    try:
        return loads(data)
    except orjson.JSONDecodeError:
        if not any(len(digits) > 308 or b"e" in digits.lower() for digits in _NUMBER.findall(data)):
            raise
    try:
        return json.loads(data, parse_int=float, parse_constant=_no_json)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_json(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def wrong_params(params: Any) -> Refusal:
    """What is said of parameters that are missing, too many or of a wrong kind."""
    return Refusal(INVALID, f"Parameters `{shown(params)}` are wrong")


def refusal(problem: Exception, params: Params) -> Refusal:
    """How a problem with a request is said.

    Args:
        problem: what was raised.
        params: those of the request.
    """
    match problem:
        case Refusal():
            return problem
        case MalformedEnvId():
            return Refusal(INVALID, f"Environment `{shown(params['env_id'])}` is malformed")
        case UnknownEnvId():
            return Refusal(INVALID, f"Environment `{shown(params['env_id'])}` not found")
        case UnknownInstance():
            return Refusal(INVALID, f"Instance `{shown(params['instance_id'])}` not found")
        case WrongAction() | ResetNeeded():
            return Refusal(INVALID, f"Action `{shown(params.get('action'))}` is wrong")
        case WrongSeed():
            return wrong_params(params)
        case Problem():
            return Refusal(INVALID, f"Unknonwn error: {problem.message}")
        case _:
            return Refusal(INVALID, f"Unknonwn error: {problem}")


# -- replies -------------------------------------------------------------------------------


def write(value: Any) -> bytes:
    """JSON, from what ``spaces`` and ``plain`` made."""
    return dumps(value)


def integers(array: Any) -> orjson.Fragment:
    """A contiguous array of integers as data for `write`; floats would get other digits.

    It saves a third of the time that an image takes.
    """
    return orjson.Fragment(dumps(array, option=orjson.OPT_SERIALIZE_NUMPY))


def step_reply(
    observation: Any, reward: float, terminated: bool, truncated: bool, info: Params
) -> bytes:
    """The old four values of a step out of Gymnasium's five.

    Args:
        observation: as JSON-able data.
        reward: any float; NaN becomes null, infinities -1e100 and 1e100.
        terminated: the episode ended by itself.
        truncated: it was cut off.
        info: as JSON-able data; it is added to.
    """
    if not -1e100 < reward < 1e100:
        reward = number_to_json(reward, Style.LEGACY_NESTED)
    with_ends(info, terminated, truncated)
    return dumps((observation, reward, terminated or truncated, info))


# -- reasons -------------------------------------------------------------------------------


def cut(reason: str) -> bytes:
    """As much of a text as a close frame holds, never ending inside a character."""
    data = reason.encode("utf-8", "replace")
    if len(data) > LONGEST_REASON:
        data = data[:LONGEST_REASON].decode("utf-8", "ignore").encode()
    return data


def shown(value: Any) -> str:
    """A value as Python prints it; only the beginning of what no reason has room for."""
    if isinstance(value, (str, list)):
        value = value[:LONGEST_REASON]
    try:
        return str(value)
    except RecursionError:  # nested as deep as JSON may be
        return "..."


def _text(data: bytes) -> str:
    return data[: 4 * LONGEST_REASON].decode("utf-8", "replace")
