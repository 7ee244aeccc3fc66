"""Schedules of values over steps."""

import pytest

from gym_loop.errors import ConfigError
from gym_loop.nn.schedules import schedule, schedule_problem


def test_a_number_stays() -> None:
    value = schedule(3)
    assert (value(0), value(10**9)) == (3.0, 3.0)


def test_linear() -> None:
    value = schedule({"linear": [1.0, 0.2], "steps": 100})
    assert [value(step) for step in (-5, 0, 25, 50, 100, 1000)] == pytest.approx(
        [1.0, 1.0, 0.8, 0.6, 0.2, 0.2]
    )
    assert schedule({"linear": [1e-3, 0.0], "steps": 1e5})(1e5) == 0.0


def test_exponential() -> None:
    value = schedule({"exponential": [1.0, 0.01], "steps": 200})
    assert [value(step) for step in (0, 100, 200, 500)] == pytest.approx([1.0, 0.1, 0.01, 0.01])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("fast", "'fast' is not a schedule; write a number"),
        (True, "True is not a schedule"),
        (float("nan"), "nan is not a schedule"),
        ([1, 2], r"\[1, 2\] is not a schedule"),
        ({"liner": [1, 0], "steps": 5}, r"liner is unknown; did you mean linear\?$"),
        ({"linear": [1, 0], "step": 5}, r"step is unknown; did you mean steps\?$"),
        ({"from": 1, "to": 0}, r"from is unknown; write a number, {linear: \[first, last\], steps"),
        ({"steps": 5}, "must name either linear or exponential"),
        ({"linear": [1, 0], "exponential": [1, 2], "steps": 5}, "must name either"),
        (
            {"linear": [1, 0]},
            r"linear needs steps, .*; write {linear: \[1, 0\], steps: N}, .*loop\..*max_steps",
        ),
        ({"linear": [1, 0], "steps": 0}, "steps: 0 must be a number of environment steps above 0"),
        (
            {"linear": 1, "steps": 5},
            r"linear: 1 must be a list .*write {linear: \[first, last\], st",
        ),
        ({"linear": [1, "x"], "steps": 5}, "must be a list of two numbers"),
        ({"exponential": [1, 0], "steps": 5}, "two numbers of the same sign, neither 0"),
    ],
)
def test_what_is_no_schedule_is_refused(value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=f"learning_rate: .*{message}"):
        schedule(value, "learning_rate")


def test_ranges() -> None:
    assert schedule_problem(0.5, 0.0, 1.0) == ""
    assert schedule_problem(-0.5, 0.0) == "-0.5 is too small; it must be at least 0.0"
    problem = schedule_problem({"linear": [0.5, 2.0], "steps": 5}, 0.0, 1.0)
    assert problem == "2.0 must be from 0.0 to 1.0"
