"""Parameters that are declared as fields: defaults, checks and documentation follow."""

import copy
import pickle
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import AfterValidator

from gym_loop.agents import BaseAgent
from gym_loop.checkpoints.tree import capture, restore
from gym_loop.loops.default_loop import DefaultLoop
from gym_loop.schema.parameter_values import ParameterValues
from gym_loop.schema.parameters import (
    Field,
    Fraction,
    NonNegativeFloat,
    ParameterDoc,
    Parameters,
    PositiveFloat,
    PositiveInt,
    check_parameters,
    documentation,
    read,
)


def _even(value: Any) -> Any:
    if isinstance(value, dict):
        raise ValueError(f"{value!r} is not a schedule")
    return value


class Inner(Parameters):
    size: PositiveInt = 1
    kind: str = "a"


class AgentParameters(Parameters):
    former_names: ClassVar[dict[str, str]] = {
        "discount": "gamma",
        "policy": "is no parameter any more: name the network",
    }

    gamma: Fraction = Field(0.99, description="Discount of a reward one step later.")
    n_steps: PositiveInt = Field(128, description="Steps.")
    limit: PositiveFloat | None = Field(None, description="At most.")
    record: bool | PositiveInt = Field(False, description="true, or N.")
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where.")
    rate: Annotated[NonNegativeFloat | dict[str, Any], AfterValidator(_even)] = Field(
        0.1, description="A number or {linear: [1, 0]}."
    )
    hidden: tuple[int, ...] = Field((64, 64), description="Sizes.")
    layers: list[Any] = Field([], description="Layers.")
    make: str | Callable[..., Any] | None = Field(None, description="A function.")
    inner: Inner = Field(Inner(), description="More.")

    def problems(self) -> dict[str, str]:
        return {"device": "needs a limit"} if self.device == "cuda" and self.limit is None else {}


class Agent(BaseAgent):
    Parameters = AgentParameters


class Derived(Agent):
    """Has a dictionary of its own."""

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """More.

        Parameters:
            device (str): Any name.
            more (int): One more.
        """
        return {**Agent.get_default_parameters(), "n_steps": 5, "device": "here", "more": 1}


def problem(**values: Any) -> dict[str, str]:
    return check_parameters(Agent, values)[1]


def test_defaults_follow_and_are_its_own() -> None:
    first, second = Agent.get_default_parameters(), Agent.get_default_parameters()
    assert first == second
    assert first["gamma"] == 0.99
    first["layers"].append(1)
    assert second["layers"] == []
    assert check_parameters(Agent, second) == (second, {})


def test_documentation_follows() -> None:
    docs = documentation(Agent)
    assert docs["gamma"] == ParameterDoc("gamma", "float", "Discount of a reward one step later.")
    types = {name: doc.types for name, doc in docs.items()}
    assert types["record"] == "bool or int"
    assert types["limit"] == "float or null"
    assert types["device"] == '"cpu" or "cuda"'
    assert types["rate"] == "float or dict"
    assert types["hidden"] == "list"


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("n_steps", 1e6, 1_000_000),
        ("gamma", 1, 1.0),
        ("limit", None, None),
        ("record", True, True),
        ("record", 2, 2),
        ("record", 2.0, 2),
        ("hidden", [8, 8], (8, 8)),
        ("make", "a:b", "a:b"),
        ("make", len, len),
    ],
)
def test_values_that_fit(name: str, value: Any, taken: Any) -> None:
    merged, problems = check_parameters(Agent, {name: value})
    assert problems == {}
    assert (merged[name], type(merged[name])) == (taken, type(taken))


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("gamma", 1.5, "1.5 must be from 0 to 1"),
        ("gamma", -1, "-1 must be from 0 to 1"),
        ("gamma", "x", "'x' is str, but must be float"),
        ("gamma", True, "True is bool, but must be float"),
        ("n_steps", 0, "0 is too small; it must be at least 1"),
        ("n_steps", 1.5, "1.5 is float, but must be int"),
        ("n_steps", "7", "'7' is str, but must be int"),
        ("n_steps", None, "None is null, but must be int"),
        ("limit", 0.0, "0.0 is too small; it must be above 0"),
        ("limit", float("nan"), "nan is too small; it must be above 0"),
        ("limit", [1], "[1] is list, but must be float or null"),
        ("record", 0, "0 is too small; it must be at least 1"),
        ("record", "x", "'x' is str, but must be bool or int"),
        ("device", "cudo", '\'cudo\' must be "cpu" or "cuda"; did you mean cuda?'),
        ("device", 3, '3 is int, but must be "cpu" or "cuda"'),
        ("device", "cuda", "needs a limit"),
        ("rate", -0.5, "-0.5 is too small; it must be at least 0"),
        ("rate", {"a": 1}, "{'a': 1} is not a schedule"),
        ("rate", "x", "'x' is str, but must be float or dict (A number or {linear: [1, 0]})"),
        ("hidden", 3, "3 is int, but must be list"),
        ("make", 3, "3 is int, but must be str or null"),
        ("inner", [1], "must be a mapping (with the keys size, kind), not a list"),
        ("gama", 1, "unknown; did you mean gamma?"),
        ("discount", 1, "is called gamma now"),
        ("policy", 1, "is no parameter any more: name the network"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(name: str, value: Any, text: str) -> None:
    assert problem(**{name: value}) == {name: text}


def test_all_at_once_and_with_the_way_into_a_value() -> None:
    found = problem(gamma=2, inner={"sise": 1, "kind": 3}, n_steps="x")
    assert found == {
        "gamma": "2 must be from 0 to 1",
        "inner.sise": "unknown; did you mean size?",
        "inner.kind": "3 is int, but must be str",
        "n_steps": "'x' is str, but must be int",
    }


def test_a_union_of_mappings_is_one_finding() -> None:
    class Linear(Parameters):
        linear: tuple[float, float] = (1.0, 0.0)

    class Exponential(Parameters):
        exponential: tuple[float, float] = (1.0, 0.5)

    class Scheduled(Parameters):
        rate: float | Linear | Exponential = 0.1

    made, found = read(Scheduled, {"rate": {"lineal": [1, 2]}})
    assert made is None
    assert len(found) == 1
    assert read(Scheduled, {"rate": {"linear": [1, 2]}})[1] == {}


def test_a_subclass_may_return_a_dictionary() -> None:
    merged, problems = check_parameters(Derived, {"n_steps": 2e3, "more": 4, "device": "there"})
    assert problems == {}
    assert (merged["n_steps"], merged["more"], merged["device"]) == (2000, 4, "there")
    assert check_parameters(Derived, {})[0] == Derived.get_default_parameters()
    assert check_parameters(Derived, {"n_steps": 0, "more": "x", "discount": 1})[1] == {
        "n_steps": "0 is too small; it must be at least 1",
        "more": "'x' is str, but must be int",
        "discount": "is called gamma now",
    }
    assert documentation(Derived)["more"] == ParameterDoc("more", "int", "One more.")


def test_a_subclass_may_leave_parameters_out() -> None:
    class Smaller(Agent):
        @staticmethod
        def get_default_parameters() -> dict[str, Any]:
            return {"gamma": 0.5}

    assert check_parameters(Smaller, {"n_steps": 3})[1] == {"n_steps": "unknown; known are gamma"}
    assert check_parameters(Smaller, {}) == ({"gamma": 0.5}, {})


def test_names_that_python_has_for_other_things() -> None:
    class Named(BaseAgent):
        @staticmethod
        def get_default_parameters() -> dict[str, Any]:
            return {"copy": 1, "class": "x", "_own": 2, "model_fields": 3, "problems": 4}

    assert check_parameters(Named, {"copy": 2, "_own": 5})[0]["_own"] == 5
    assert list(check_parameters(Named, {"class": 2})[1]) == ["class"]


def test_a_class_may_mean_something_else_by_the_name() -> None:
    class Other(BaseAgent):
        Parameters = dict  # type: ignore[assignment]

        @staticmethod
        def get_default_parameters() -> dict[str, Any]:
            return {"rate": 0.5}

    assert check_parameters(Other, {"rate": 1}) == ({"rate": 1.0}, {})
    assert "must be float" in check_parameters(Other, {"rate": "x"})[1]["rate"]


class TestParameterValues:
    def test_by_key_and_by_attribute_it_is_one_object(self) -> None:
        assert DefaultLoop(Agent(), None).parameters.logdir == "./logs"
        values = Agent(gamma=0.5, seed=1).parameters
        assert values.gamma == values["gamma"] == 0.5
        assert values.seed == 1
        values["gamma"] = 0.25
        assert values.gamma == 0.25
        values.gamma = 0.75
        assert values["gamma"] == 0.75
        assert {**values}["gamma"] == (values | {"x": 1})["gamma"] == 0.75

    def test_a_misspelt_one_is_told(self) -> None:
        with pytest.raises(AttributeError, match="no parameter gama; did you mean gamma"):
            _ = Agent().parameters.gama
        assert not hasattr(ParameterValues(), "__array__")

    def test_copies_are_of_its_kind(self) -> None:
        values = ParameterValues(a=[1])
        for other in (copy.copy(values), copy.deepcopy(values), pickle.loads(pickle.dumps(values))):
            assert type(other) is ParameterValues
            assert other == values

    def test_a_checkpoint_holds_it_in_place_and_anew(self) -> None:
        values = ParameterValues(rate=0.5, layers=[1, 2], inner=ParameterValues(x=1))
        tree = capture(values, path="agent")
        live = ParameterValues(rate=0.1, layers=[], more=3)
        assert restore(live, tree, path="agent") is live
        assert live == values
        assert live.inner.x == 1
        made = restore(None, tree, path="agent")
        assert (made, type(made), made.layers) == (values, ParameterValues, [1, 2])
