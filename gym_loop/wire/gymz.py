"""gymz's messages: a JSON list of objects, one a dimension; no input or output happens here.

A message is written once, when its values are known, with `STAMP` in place of its time, and
`stamp` puts that in as often as it is sent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from gym_loop.errors import BridgeProtocolError, SampleError, SpaceError

STAMP = "\0"  # no JSON text holds this character
HUGE = 1e100  # stands for infinity, which JSON has no number for
_NUMBERS = frozenset({int, float})
_HEAD = '{"value":'
_LONGEST = 1 << 16  # characters of a command that are looked at


class BadCommandError(Exception):
    """A command that cannot be followed; the message says why."""


# -- spaces ------------------------------------------------------------------------------


class SpaceCodec:
    """A space as a row of dimensions, and its samples as messages.

    Args:
        space: Discrete, Box, MultiDiscrete or MultiBinary of any shape.

    Raises:
        SpaceError: it is of another kind.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        if not isinstance(
            space, (spaces.Discrete, spaces.Box, spaces.MultiDiscrete, spaces.MultiBinary)
        ):
            raise SpaceError(
                f"{space} cannot be streamed over ZeroMQ, which carries Discrete, Box,"
                " MultiDiscrete and MultiBinary; flatten it with a wrapper"
                " (gymnasium.wrappers.FlattenObservation)"
            )
        self.space = space
        self.shape = tuple(space.shape or ())
        self.low, self.high = _bounds(space)
        self.dimensions = len(self.low)
        self._template = "[%s]" % ",".join(  # noqa: UP031 - the pieces hold %s themselves
            f'{{"min":{number(low)},"max":{number(high)},"value":%s,"ts":{STAMP}}}'
            for low, high in zip(self.low, self.high, strict=True)
        )

    def encode(self, sample: Any) -> str:
        """The message of a sample of the space.

        Raises:
            SampleError: the sample does not have the shape of the space.
        """
        array = np.asarray(sample)
        if array.shape != self.shape or array.dtype.kind not in "buif":
            raise SampleError(
                f"the sample has shape {array.shape} and type {array.dtype}, but {self.space} has"
                f" shape {self.shape}"
            )
        return self.encode_values(array.ravel().tolist())

    def encode_values(self, values: Sequence[Any]) -> str:
        """The message of one number, or None, a dimension, which need not be in the space."""
        if None in values or not all(map(math.isfinite, values)):
            values = [number(value) for value in values]
        return self._template % tuple(values)

    def decode(self, values: Sequence[Any]) -> Any:
        """The sample that numbers of a message mean, as the space's own type.

        Raises:
            SampleError: there are too few, or together they are no sample of the space.
        """
        if len(values) < self.dimensions:
            raise SampleError(f"{len(values)} values for {self.dimensions} dimensions")
        values = values[: self.dimensions]
        sample: Any
        if isinstance(self.space, spaces.Discrete):
            sample = whole(values[0])
            if not self.low[0] <= sample <= self.high[0]:
                raise SampleError(f"{_shown(values)} is not in {self.space}")
            return sample
        if self.space.dtype is not None and self.space.dtype.kind in "biu":
            sample = np.array([whole(value) for value in values], dtype=object)
            if any(
                not low <= value <= high
                for low, value, high in zip(self.low, sample, self.high, strict=True)
            ):
                raise SampleError(f"{_shown(values)} is not in {self.space}")
            sample = sample.astype(self.space.dtype).reshape(self.shape)
        else:
            with np.errstate(over="ignore"):
                sample = np.array(values, dtype=self.space.dtype).reshape(self.shape)
        if not self.space.contains(sample):
            raise SampleError(f"{_shown(values)} is not in {self.space}")
        return sample

    def neutral(self) -> Any:
        """The action before the first command: 0, or what is nearest to it in the space."""
        nearest = [min(max(0, low), high) for low, high in zip(self.low, self.high, strict=True)]
        return self.decode(nearest)


def _bounds(space: Any) -> tuple[list[Any], list[Any]]:
    if isinstance(space, spaces.Discrete):
        return [int(space.start)], [int(space.start + space.n - 1)]
    if isinstance(space, spaces.Box):
        return space.low.ravel().tolist(), space.high.ravel().tolist()
    size = int(np.prod(space.shape))
    if isinstance(space, spaces.MultiBinary):
        return [0] * size, [1] * size
    start = np.asarray(space.start).ravel()
    return start.tolist(), (start + np.asarray(space.nvec).ravel() - 1).tolist()


def whole(value: Any) -> int:
    """An integer, which may have come as 2.0.

    Raises:
        SampleError: it has a fraction.
    """
    if isinstance(value, float) and not value.is_integer():
        raise SampleError(f"{value!r} is no whole number")
    return int(value)


def _shown(values: Sequence[Any]) -> str:
    text = ", ".join(repr(value)[:30] for value in values[:8])
    return f"[{text}{', ...' if len(values) > 8 else ''}]" if len(values) != 1 else text


# -- writing -----------------------------------------------------------------------------


def number(value: Any) -> str:
    """A number, or None, as JSON: NaN as null, an infinity as +-1e100."""
    if type(value) is int:
        return repr(value)
    if value is None or value != value:
        return "null"
    if math.isinf(value):
        return repr(math.copysign(HUGE, value))
    return repr(int(value)) if isinstance(value, bool) else repr(value)


def encode_reward(low: float | None, high: float | None, value: float | None, end: str = "") -> str:
    """The message of a reward; ``end`` says how an episode ends with it, in lock-step."""
    more = f',"end":"{end}"' if end else ""
    return (
        f'[{{"min":{number(low)},"max":{number(high)},"value":{number(value)},"ts":{STAMP}{more}}}]'
    )


def stamp(message: str, ts: float) -> bytes:
    """The bytes to send: a message with its time, in seconds since the epoch."""
    return message.replace(STAMP, repr(ts)).encode()


def encode_command(values: Sequence[Any], ts: float) -> bytes:
    """A command, one number a dimension."""
    behind = f',"ts":{ts!r}}}'
    return f"[{','.join([f'{_HEAD}{number(value)}{behind}' for value in values])}]".encode()


def finite(value: Any) -> Any:
    """Nested lists of numbers as valid JSON data: NaN as null, an infinity as +-1e100."""
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if value != value else math.copysign(HUGE, value)
    return value


# -- reading -----------------------------------------------------------------------------


@cache
def _fast_loads() -> Callable[[bytes], Any]:
    try:
        from orjson import loads
    except ImportError:
        return json.loads
    return loads


def _loads(data: bytes) -> Any:
    """Read JSON, and what Python's own module takes beside it: NaN and infinities."""
    try:
        return _fast_loads()(data)
    except ValueError:
        return json.loads(data)


class Command(NamedTuple):
    """What an agent sent.

    Args:
        values: one number a dimension.
        ts: when it was sent, in seconds since the epoch; None where it does not say.
    """

    values: list[float]
    ts: float | None


def decode_command(data: bytes, dimensions: int) -> Command:
    """Read a command; what stands behind the wanted number of dimensions does not count.

    Args:
        data: the one frame of the message.
        dimensions: how many numbers the action takes.

    Raises:
        BadCommandError: it is no such list of numbers.
    """
    if len(data) > _LONGEST + 64 * dimensions:
        raise BadCommandError(f"{len(data)} bytes are too many")
    try:
        content = _loads(data)
    except (ValueError, RecursionError) as error:
        raise BadCommandError(f"no JSON: {error}") from None
    if not isinstance(content, list) or len(content) < dimensions:
        wanted = f"a list of {dimensions} objects" if dimensions > 1 else "a list of one object"
        raise BadCommandError(f'{_kind(content)} where {wanted} {{"value": ...}} was expected')
    values = []
    for item in content[:dimensions]:
        if type(item) is not dict or "value" not in item:
            raise BadCommandError(f'{_kind(item)} where an object {{"value": ...}} was expected')
        value = item["value"]
        if type(value) not in _NUMBERS or not _is_finite(value):
            raise BadCommandError(f"the value {_kind(value)} is no finite number")
        values.append(value)
    ts = content[0].get("ts") if content else None
    return Command(values, ts if type(ts) in _NUMBERS and _is_finite(ts) else None)


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _kind(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    return json.dumps(value)[:40]


class Reading:
    """One message of a stream.

    Attributes:
        values: one number a dimension; None where the message says null.
        ts: seconds since the epoch.
        end: "terminated" or "truncated" with the last reward of an episode, in lock-step.

    Raises:
        BridgeProtocolError: it is no message of gymz's.
    """

    __slots__ = ("_content", "end", "ts", "values")

    def __init__(self, data: bytes) -> None:
        try:
            self._content = content = _loads(data)
            self.values = _column(content, "value")
            self.ts = float(content[0]["ts"])
            self.end: str = content[0].get("end", "")
        except _UNREADABLE as error:
            raise _unreadable(data, error) from None

    def bounds(self) -> tuple[Values, Values]:
        """The ``min`` and the ``max`` of each dimension.

        Raises:
            BridgeProtocolError: they are none.
        """
        try:
            return _column(self._content, "min"), _column(self._content, "max")
        except _UNREADABLE as error:
            raise _unreadable(repr(self._content).encode(), error) from None


Values = tuple[float | None, ...]
_UNREADABLE = (
    ValueError, RecursionError, TypeError, KeyError, IndexError, OverflowError, AttributeError,
)  # fmt: skip


def _unreadable(data: bytes, error: Exception) -> BridgeProtocolError:
    return BridgeProtocolError(
        f"a message of the server cannot be read ({type(error).__name__}: {error}):"
        f" {data[:80]!r}; is this port a gymz stream?"
    )


def _column(content: Any, key: str) -> Values:
    values = tuple([item[key] for item in content])
    if set(map(type, values)) <= _NUMBERS and min(values) > -HUGE and max(values) < HUGE:
        return values
    values = tuple([None if value is None else float(value) for value in values])
    return tuple(map(_with_infinity, values))


def _with_infinity(value: float | None) -> float | None:
    if value is None or not abs(value) >= HUGE:
        return value
    return math.copysign(math.inf, value)
