"""Requests and replies of gym-http-api as bytes."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_loop.wire import gym_http as codec
from gym_loop.wire.gym_http import BadRequest


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/json",
        b"application/json; charset=utf-8",
        b"Application/JSON;charset=UTF-8",
        b"application/vnd.api+json",
    ],
)
def test_what_counts_as_json(content_type: bytes) -> None:
    assert codec.read_object(b'{"a": 1}', content_type) == {"a": 1}


@pytest.mark.parametrize(
    ("content_type", "said"),
    [(b"", "nothing"), (b"text/plain", "text/plain"), (b"text/json+x", "text/json")],
)
def test_what_does_not_count_as_json(content_type: bytes, said: str) -> None:
    with pytest.raises(BadRequest, match=f"^Request is not a valid json.*{said}"):
        codec.read_object(b"{}", content_type)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"{", "line 1"),
        (b'{"action": NaN}', "line 1"),
        (b'{"action": Infinity}', "line 1"),
        (b"\xff\xfe", "UTF-8"),
        (b'"\\ud800"', "surrogate"),
        (b"[" * 100_000, "line 1"),
        (b"null", "not null"),
        (b"true", "not a boolean"),
        (b"1.5", "not a number"),
        (b'"text"', "not text"),
        (b"[]", "not an array"),
    ],
)
def test_bodies_that_are_no_object(body: bytes, reason: str) -> None:
    with pytest.raises(BadRequest, match=f"^Request is not a valid json.*{reason}"):
        codec.read_object(body, b"application/json")


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_refused(body: bytes) -> None:
    try:
        value = codec.read_object(body, b"application/json")
    except BadRequest:
        return
    assert value == json.loads(body)


@pytest.mark.parametrize("value", [None, "", []])
def test_what_counts_as_absent(value: object) -> None:
    with pytest.raises(BadRequest, match=r"^A required request parameter 'x' was not provided$"):
        codec.required({"x": value}, "x")
    assert codec.flag({"x": value}, "x") is False
    assert codec.seed_of({"seed": value}) is None
    assert codec.video_interval({"video_callable": value}) == 0


@pytest.mark.parametrize("value", [0, False, 0.0, {}, "0", [0]])
def test_what_is_falsy_is_not_absent(value: object) -> None:
    assert codec.required({"x": value}, "x") == value


@pytest.mark.parametrize("value", [True, 1, 2.0, "true", "True", "TRUE", "1"])
def test_switches_on(value: object) -> None:
    assert codec.flag({"force": value}, "force") is True


@pytest.mark.parametrize("value", [False, 0, "false", "False", "0"])
def test_switches_off(value: object) -> None:
    assert codec.flag({"force": value}, "force") is False
    assert codec.flag({}, "force") is False


@pytest.mark.parametrize("value", ["maybe", [1], {}])
def test_what_is_no_switch(value: object) -> None:
    with pytest.raises(BadRequest, match=r"^'force' must be true or false"):
        codec.flag({"force": value}, "force")


def test_seeds() -> None:
    assert codec.seed_of({}) is None
    assert codec.seed_of({"seed": 0}) == 0
    assert codec.seed_of({"seed": 2**63 - 1}) == 2**63 - 1


@pytest.mark.parametrize("value", [-1, 2**63, 1.5, True, "1", [1], {"a": 1}])
def test_what_is_no_seed(value: object) -> None:
    with pytest.raises(BadRequest, match=r"^'seed' must be an integer"):
        codec.seed_of({"seed": value})


def test_video_intervals() -> None:
    values = [False, True, 0, 1, 25, -3, 10.0]
    assert [codec.video_interval({"video_callable": one}) for one in values] == [
        0, 1, 0, 1, 25, 3, 10,
    ]  # fmt: skip
    for wrong in ["25", 2.5, [1], {}]:
        with pytest.raises(BadRequest, match="video_callable"):
            codec.video_interval({"video_callable": wrong})


def test_integers_in_the_path() -> None:
    assert codec.integer("-12") == -12
    for wrong in ["abc", "1.0", "", "9" * 20, "9" * 5000, "1e3"]:
        with pytest.raises(BadRequest, match="must be an integer") as caught:
            codec.integer(wrong)
        assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("reward", "written"),
    [
        (1.0, "1.0"),
        (-0.5, "-0.5"),
        (math.nan, "null"),
        (math.inf, "1e+100"),
        (-math.inf, "-1e+100"),
    ],
)
def test_rewards(reward: float, written: str) -> None:
    reply = codec.step_reply([0.0], reward, False, False, {})
    assert f'"reward":{written},'.encode() in reply


@pytest.mark.parametrize(
    ("terminated", "truncated", "done", "info"),
    [
        (False, False, False, {}),
        (True, False, True, {}),
        (False, True, True, {"TimeLimit.truncated": True}),
        (True, True, True, {}),
    ],
)
def test_five_values_become_four(
    terminated: bool, truncated: bool, done: bool, info: dict[str, bool]
) -> None:
    reply = json.loads(codec.step_reply(3, 1.0, terminated, truncated, {"lives": 2}))
    assert reply == {
        "observation": 3,
        "reward": 1.0,
        "done": done,
        "info": {"lives": 2, "terminated": terminated, "truncated": truncated, **info},
    }


BOX = {"name": "Box", "shape": [2], "low": [-1e100, 0.0], "high": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("wanted", "member"),
    [
        ({}, True),
        ({"name": "Box", "shape": [2]}, True),
        (BOX, True),
        ({"high": [1, 2]}, True),  # as JavaScript writes 1.0 and 2.0
        ({"shape": [2, 2]}, False),
        ({"shape": 2}, False),
        ({"shape": [True]}, False),
        ({"name": "Discrete"}, False),
        ({"low": [0.0, 0.0]}, False),
    ],
)
def test_descriptions_compare(wanted: dict[str, object], member: bool) -> None:
    assert codec.describes(BOX, wanted) is member


def test_nested_descriptions_compare() -> None:
    info = {"name": "Dict", "spaces": {"a": {"name": "Discrete", "n": 2}}}
    assert codec.describes(info, {"spaces": {"a": {"n": 2, "name": "Discrete"}}})
    assert not codec.describes(info, {"spaces": {"a": {"n": 3, "name": "Discrete"}}})
    assert not codec.describes(info, {"spaces": {}})
    assert not codec.describes(info, {"spaces": []})


def test_unknown_keys_of_a_description_are_refused() -> None:
    with pytest.raises(BadRequest, match=r"'colour' is no property.*name, shape, low, high"):
        codec.describes(BOX, {"name": "Discrete", "colour": "red"})


def test_long_values_are_shortened_in_messages() -> None:
    with pytest.raises(BadRequest) as caught:
        codec.seed_of({"seed": list(range(10_000))})
    assert len(caught.value.message) < 200
