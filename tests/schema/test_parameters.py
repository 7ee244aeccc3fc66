"""Parameters are checked against their documentation and their defaults."""

from typing import Any

import pytest

from gym_loop.agents import BaseAgent
from gym_loop.loops.default_loop import DefaultLoop
from gym_loop.schema.parameters import ParameterDoc, check_parameters, documentation


def check_value(value: Any, default: Any, types: str, text: str = "A text.") -> tuple[Any, str]:
    """Check a value of a parameter ``x`` that is documented so; without types it is not."""

    def defaults() -> dict[str, Any]:
        return {"x": default}

    if types:
        defaults.__doc__ = f"Defaults.\n\nParameters:\n    x ({types}): {text}\n"
    cls = type("Agent", (BaseAgent,), {"get_default_parameters": staticmethod(defaults)})
    merged, problems = check_parameters(cls, {"x": value})
    return merged["x"], problems.get("x", "")


class Documented(BaseAgent):
    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """What can be set.

        Parameters:
            rate (float): How fast; over
                two lines, with a colon: here.
            device ("cpu" or "cuda"): Where.
            layers (list): Sizes.
            limit (int or null): At most.
            text: No type is written.

        Returns:
            dict: no parameter.
        """
        return {
            "rate": 0.1,
            "device": "cpu",
            "layers": [64],
            "limit": None,
            "text": "",
            "free": None,
        }

    @staticmethod
    def check_parameters(parameters: dict[str, Any]) -> dict[str, str]:
        return {"rate": "must be positive"} if parameters["rate"] <= 0 else {}


class Derived(Documented):
    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """Adds one.

        Parameters:
            rate (int): Another meaning.
            more (bool): One more.
        """
        return {**Documented.get_default_parameters(), "rate": 1, "more": False}


def test_documentation() -> None:
    docs = documentation(Documented)
    assert list(docs) == ["rate", "device", "layers", "limit", "text", "free"]
    assert docs["rate"] == ParameterDoc(
        "rate", "float", "How fast; over two lines, with a colon: here."
    )
    assert docs["device"].types == '"cpu" or "cuda"'
    assert docs["text"] == ParameterDoc("text", "str", "No type is written.")
    assert docs["free"] == ParameterDoc("free", "", "")


def test_documentation_of_a_derived_class() -> None:
    docs = documentation(Derived)
    assert docs["rate"] == ParameterDoc("rate", "int", "Another meaning.")
    assert docs["more"].types == "bool"
    assert docs["limit"].text == "At most."


def test_every_parameter_of_the_default_loop_is_documented() -> None:
    docs, defaults = documentation(DefaultLoop), DefaultLoop.get_default_parameters()
    assert set(docs) == set(defaults)
    assert all(docs[name].types and docs[name].text for name in defaults)
    assert check_parameters(DefaultLoop, defaults) == (defaults, {})


@pytest.mark.parametrize(
    ("value", "types", "result"),
    [
        (1, "int", 1),
        (1e6, "int", 1_000_000),
        (3, "float", 3.0),
        (True, "bool or int", True),
        (2, "bool or int", 2),
        (None, "int or null", None),
        ("cuda", '"cpu" or "cuda"', "cuda"),
        ([1], "list", [1]),
        ({}, "dict", {}),
    ],
)
def test_values_that_fit(value: Any, types: str, result: Any) -> None:
    taken, problem = check_value(value, None, types)
    assert problem == ""
    assert taken == result
    assert type(taken) is type(result)


@pytest.mark.parametrize(
    ("value", "types", "problem"),
    [
        ("7", "int", "'7' is str, but must be int"),
        (1.5, "int", "1.5 is float, but must be int"),
        (True, "int", "True is bool, but must be int"),
        (False, "float", "False is bool, but must be float"),
        (None, "int", "None is null, but must be int"),
        (1, "bool", "1 is int, but must be bool"),
        ("cudo", '"cpu" or "cuda"', 'must be "cpu" or "cuda"; did you mean cuda?'),
        ([1], "str or null", "[1] is list, but must be str or null"),
        ({}, "list", "{} is dict, but must be list"),
        (float("inf"), "int", "inf is float, but must be int"),
    ],
)
def test_values_that_do_not_fit(value: Any, types: str, problem: str) -> None:
    assert problem in check_value(value, None, types)[1]


def test_what_is_in_a_dict_is_said_where_it_is_wrong() -> None:
    text = "A number, or {linear: [1, 0], steps: 9}."
    problem = "'linear' is str, but must be float or dict (A number, or {linear: [1, 0], steps: 9})"
    assert check_value("linear", None, "float or dict", text) == ("linear", problem)


@pytest.mark.parametrize(
    ("value", "default", "fits"),
    [
        (1, 2, True),
        (1.5, 2, True),  # a default of 1 may well be a float's
        ("x", 2, False),
        (True, 2, False),
        (1, False, False),
        (2, 0.5, True),
        ("x", "y", True),
        (3, "y", False),
        (["x"], [], True),
        ("x", [], False),
        ("anything", None, True),
    ],
)
def test_undocumented_values_are_judged_by_the_default(
    value: Any, default: Any, fits: bool
) -> None:
    assert (check_value(value, default, "")[1] == "") is fits


def test_check_parameters_reports_all_at_once() -> None:
    merged, problems = check_parameters(
        Documented, {"raet": 1, "limit": "x", "zzz": 0, "layers": [1]}
    )
    assert problems == {
        "raet": "unknown; did you mean rate?",
        "limit": "'x' is str, but must be int or null",
        "zzz": "unknown; known are device, free, layers, limit, rate, text",
    }
    assert merged["layers"] == [1]
    assert merged["rate"] == 0.1


def test_own_checks_come_after_the_types() -> None:
    assert check_parameters(Documented, {"rate": -1})[1] == {"rate": "must be positive"}
    assert "must be float" in check_parameters(Documented, {"rate": "x"})[1]["rate"]


def test_no_parameters_at_all() -> None:
    assert check_parameters(BaseAgent, {"x": 1})[1] == {"x": "unknown; there are no parameters"}


@pytest.mark.parametrize(
    ("values", "name", "text"),
    [
        ({"max_episodes": 0}, "max_episodes", "must be at least 1"),
        ({"episodes_per_eval": -1}, "episodes_per_eval", "must be at least 1"),
        ({"random_episodes": -1}, "random_episodes", "must be at least 0"),
        ({"record": -2}, "record", "must be at least 0"),
        ({"time_per_checkpoint": 0}, "time_per_checkpoint", "it must be above 0"),
        ({"time_per_checkpoint": float("nan")}, "time_per_checkpoint", "it must be above 0"),
        ({"logdir": ""}, "logdir", "is empty; name a directory"),
    ],
)
def test_ranges_of_the_default_loop(values: dict[str, Any], name: str, text: str) -> None:
    assert text in check_parameters(DefaultLoop, values)[1][name]


def test_limits_may_be_off() -> None:
    values = {"max_episodes": None, "max_steps": None, "max_episode_len": None}
    assert check_parameters(DefaultLoop, values)[1] == {}
