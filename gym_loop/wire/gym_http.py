"""gym-http-api v1 between bytes and Python values; no input or output.

What a request lacks or has wrong is a `BadRequest`; its words are those that existing clients
look for.
"""

from __future__ import annotations

from typing import Any, Literal

import orjson

from gym_loop.wire.json_values import Style, number_to_json, with_ends
from gym_loop.wire.problems import Problem

JSON = b"application/json"
Json = dict[str, Any]

NOT_JSON = "Request is not a valid json"
NOT_PROVIDED = "A required request parameter '{}' was not provided"
EMPTY: tuple[Any, ...] = ("", [])
MISSING = (None, *EMPTY)  # what clients send for "nothing"
TEXTS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
MAX_SEED = 2**63 - 1
_LONGEST_INTEGER = 40  # characters


class BadRequest(Problem):
    """A request that is not what the protocol says."""


# -- requests ------------------------------------------------------------------------------


def read_object(body: bytes, content_type: bytes) -> Json:
    """Read a request's parameters.

    Args:
        body: what was sent.
        content_type: the header's value, empty where there was none.

    Raises:
        BadRequest: it was not declared as JSON, is none, or is no object.
    """
    if content_type != JSON and not _is_json(content_type):
        said = content_type.decode("latin-1") or "nothing"
        raise BadRequest(f"{NOT_JSON}: send Content-Type: application/json, not {said}")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        reason = "the body is empty" if not body else str(error)
        raise BadRequest(f"{NOT_JSON}: {reason}") from None
    if not isinstance(value, dict):
        raise BadRequest(f"{NOT_JSON}: it must be an object, not {_kind(value)}")
    return value


def _is_json(content_type: bytes) -> bool:
    media = content_type.partition(b";")[0].strip().lower()
    return media == JSON or (media.startswith(b"application/") and media.endswith(b"+json"))


def required(parameters: Json, name: str) -> Any:
    """A parameter that must be there; null, ``""`` and ``[]`` count as absent.

    Raises:
        BadRequest: it is not.
    """
    value = parameters.get(name)
    if value in MISSING:
        raise not_provided(name)
    return value


def required_text(parameters: Json, name: str) -> str:
    """A parameter that must be there, and be text.

    Raises:
        BadRequest: it is not.
    """
    value = required(parameters, name)
    if not isinstance(value, str):
        raise BadRequest(f"'{name}' must be text, not {_kind(value)}")
    return value


def not_provided(name: str) -> BadRequest:
    """What is said of a missing parameter."""
    return BadRequest(NOT_PROVIDED.format(name))


def flag(parameters: Json, name: str) -> bool:
    """A switch that is off where it is absent; clients write it as boolean, number or text.

    Raises:
        BadRequest: it is neither.
    """
    value = parameters.get(name)
    if value in MISSING:
        return False
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return value != 0
    if isinstance(value, str) and value.strip().lower() in TEXTS:
        return TEXTS[value.strip().lower()]
    raise BadRequest(f"'{name}' must be true or false, not {shown(value)}")


def seed_of(parameters: Json) -> int | None:
    """The seed of an environment to be made; None where none is given. 0 is a seed.

    Raises:
        BadRequest: it is no integer from 0 to 2**63 - 1.
    """
    value = parameters.get("seed")
    if value in MISSING:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SEED:
        raise BadRequest(f"'seed' must be an integer from 0 to 2**63 - 1, not {shown(value)}")
    return value


def video_interval(parameters: Json) -> int:
    """Every how manieth episode is filmed; 0 for none.

    Raises:
        BadRequest: ``video_callable`` is neither false nor an integer.
    """
    value = parameters.get("video_callable")
    if value in MISSING:
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int):
        raise BadRequest(
            f"'video_callable' must be false or an integer N (every N-th episode),"
            f" not {shown(value)}"
        )
    return abs(int(value))


def integer(text: str) -> int:
    """The action in ``.../action_space/contains/X``.

    Raises:
        BadRequest: X is no integer, or one of more than 64 bits.
    """
    try:
        number = int(text[:_LONGEST_INTEGER])
    except ValueError:
        number = 1 << 64
    if len(text) > _LONGEST_INTEGER or abs(number) >= 1 << 63:
        raise BadRequest(f"the action in the path must be an integer, not {text[:80]!r}")
    return number


# -- replies -------------------------------------------------------------------------------


def write(value: Any) -> bytes:
    """JSON, from what ``spaces`` and ``plain`` made."""
    return orjson.dumps(value)


def step_reply(
    observation: Any, reward: float, terminated: bool, truncated: bool, info: Json
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
        reward = number_to_json(reward, Style.LEGACY_FLAT)
    return orjson.dumps(
        {
            "observation": observation,
            "reward": reward,
            "done": terminated or truncated,
            "info": with_ends(info, terminated, truncated),
        }
    )


def error_reply(message: str) -> bytes:
    """What every error answers."""
    return orjson.dumps({"message": message})


def describes(info: Json, wanted: Json) -> bool:
    """Tell whether a space's info has the given values; numbers compare by value.

    Raises:
        BadRequest: the info has no such key.
    """
    for key in wanted:
        if key not in info:
            raise BadRequest(f"'{key[:80]}' is no property of this space; it has {', '.join(info)}")
    return all(_same(info[key], value) for key, value in wanted.items())


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, (list, tuple)):
        return (
            isinstance(theirs, list) and len(ours) == len(theirs) and all(map(_same, ours, theirs))
        )
    if isinstance(ours, dict):
        return (
            isinstance(theirs, dict)
            and ours.keys() == theirs.keys()
            and all(_same(value, theirs[key]) for key, value in ours.items())
        )
    return isinstance(ours, bool) == isinstance(theirs, bool) and bool(ours == theirs)


def _kind(value: Any) -> Literal["null", "text", "a number", "an array", "a boolean", "an object"]:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "an array" if isinstance(value, list) else "an object"


def shown(value: Any) -> str:
    """A value as JSON, shortened."""
    text = orjson.dumps(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}..."
