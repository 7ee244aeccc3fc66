"""A list is given as a tuple where the callee asks for one, and nowhere else."""

from __future__ import annotations

import collections.abc
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Union

import gymnasium
import numpy as np
import numpy.typing as npt
import pytest

from gym_loop.config.run_file import load_config
from gym_loop.envs.making import make_env
from gym_loop.schema.arguments import as_asked
from gym_loop.schema.parameters import check_parameters

if TYPE_CHECKING:
    from nowhere_at_all import Unknown  # type: ignore[import-not-found]


def pair(x: tuple[int, int]) -> None: ...
def many(x: tuple[int, ...]) -> None: ...
def either(x: int | tuple[int, ...]) -> None: ...
def old_style(x: Optional[tuple[int, int]] = None) -> None: ...  # noqa: UP045
def union(x: Union[float, tuple[float, float]]) -> None: ...  # noqa: UP007
def nested(x: tuple[tuple[int, int], list[int]]) -> None: ...
def in_list(x: list[tuple[int, int]]) -> None: ...
def in_dict(x: dict[str, tuple[int, int]]) -> None: ...
def default(x=(84, 84)): ...
def deep_default(x=((1, 2), (3, 4))): ...
def with_any(x: Any = (1, 2)) -> None: ...
def unresolved(x: tuple[Unknown, ...]) -> None: ...
def unresolved_list(x: tuple[Unknown, ...] | list[Unknown]) -> None: ...
def a_list(x: list[int]) -> None: ...
def a_sequence(x: collections.abc.Sequence[int]) -> None: ...
def both(x: list[int] | tuple[int, ...]) -> None: ...
def bare(x): ...
def list_default(x=[1, 2]): ...  # noqa: B006
def text(x: str) -> None: ...
def keywords(**x): ...


class Base:
    def __init__(self, env: Any, x: tuple[int, ...] = (1,)) -> None: ...


class Derived(Base):
    def __init__(self, env: Any, other: int = 0, **options: Any) -> None: ...


class Point(NamedTuple):
    x: tuple[int, int]


@pytest.mark.parametrize(
    ("callee", "given", "taken"),
    [
        (pair, [84, 84], (84, 84)),
        (many, [1, 2, 3], (1, 2, 3)),
        (many, [], ()),
        (either, [2, 5], (2, 5)),
        (either, 4, 4),
        (old_style, [1, 2], (1, 2)),
        (union, [0.5, 1], (0.5, 1)),
        (nested, [[1, 2], [3]], ((1, 2), [3])),
        (in_list, [[1, 2], [3, 4]], [(1, 2), (3, 4)]),
        (in_dict, {"a": [1, 2]}, {"a": (1, 2)}),
        (default, [64, 64], (64, 64)),
        (deep_default, [[1, 2], [3, 4], [5, 6]], ((1, 2), (3, 4), (5, 6))),
        (with_any, [3, 4], (3, 4)),
        (unresolved, [1], (1,)),
        (unresolved_list, [1], [1]),
        (a_list, [1, 2], [1, 2]),
        (a_sequence, [1, 2], [1, 2]),
        (both, [1, 2], [1, 2]),
        (bare, [1, 2], [1, 2]),
        (list_default, [3], [3]),
        (text, [1], [1]),
        (keywords, [1], [1]),
        (Base, [1, 2], (1, 2)),
        (Derived, [1, 2], (1, 2)),
        (Point, [1, 2], [1, 2]),  # its signature is __new__'s
        (functools.partial(pair), [1, 2], (1, 2)),
    ],
)
def test_as_asked(callee: Any, given: Any, taken: Any) -> None:
    assert repr(as_asked(callee, {"x": given})) == repr({"x": taken})


def wrapped(name: str, **parameters: Any) -> gymnasium.Env[Any, Any]:
    wrapper = {"class": f"gymnasium.wrappers:{name}", "parameters": parameters}
    config = load_config({"env": {"name": "Pendulum-v1", "wrappers": [wrapper]}})
    assert config.as_dict()["env"]["wrappers"] == [wrapper]  # lists as they are, to be read
    return make_env(config.env)


def test_gymnasium_wrappers() -> None:
    assert wrapped("ReshapeObservation", shape=[3, 1]).observation_space.shape == (3, 1)


def test_resized_pictures(workdir: Path) -> None:
    (workdir / "pictures.py").write_text(
        "import gymnasium, numpy as np\n"
        "class Pictures(gymnasium.Env):\n"
        "    action_space = gymnasium.spaces.Discrete(2)\n"
        "    def __init__(self, size=(20, 30)):\n"
        "        assert isinstance(size, tuple)\n"
        "        self.observation_space = gymnasium.spaces.Box(0, 255, (*size, 3), np.uint8)\n"
        "gymnasium.register('Pictures-v0', Pictures)\n"
    )
    resize = {"class": "gymnasium.wrappers:ResizeObservation", "parameters": {"shape": [84, 84]}}
    env = {"imports": ["pictures.py"], "name": "Pictures-v0", "parameters": {"size": [40, 50]}}
    assert make_env(load_config({"env": env}).env).observation_space.shape == (40, 50, 3)
    resized = make_env(load_config({"env": {**env, "wrappers": [resize]}}).env)
    assert resized.observation_space.shape == (84, 84, 3)


def test_frame_skip_of_atari() -> None:
    spec = load_config({"env": {"name": "ALE/Pong-v5", "parameters": {"frameskip": [2, 5]}}}).env
    assert make_env(spec).unwrapped._frameskip == (2, 5)


class WithTuple:
    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """Layers.

        Parameters:
            hidden (list): Sizes of the layers.
        """
        return {"hidden": (64, 64), "free": (1, 2)}

    @staticmethod
    def check_parameters(parameters: dict[str, Any]) -> dict[str, str]:
        return {}


def test_parameters_whose_default_is_a_tuple() -> None:
    merged, problems = check_parameters(WithTuple, {"hidden": [32], "free": [3]})
    assert (merged, problems) == ({"hidden": (32,), "free": (3,)}, {})


@pytest.mark.parametrize("annotation", [np.ndarray, np.ndarray | None, npt.NDArray[np.float64]])
def test_an_array_is_made_where_one_is_asked_for(annotation: Any) -> None:
    def weighted(env: Any, weight: Any = None) -> None: ...

    weighted.__annotations__["weight"] = annotation
    weight = as_asked(weighted, {"weight": [0.5, 0.25]})["weight"]
    assert type(weight) is np.ndarray
    assert weight.tolist() == [0.5, 0.25]
