"""Whatever an environment observes is resumed in mid-episode, or refused before the first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import gym_loop
from gym_loop.errors import SpaceError
from tests.envs.observations import SPACES, register
from tests.killing import differences, write_run_file

COPIES = {
    "class": "gym_loop.loops.vector_loop:VectorLoop",
    "parameters": {"n_envs": 2, "vectorization": "sync"},
}


def config(kind: str, steps: int, loop: dict[str, Any]) -> dict[str, Any]:
    register()
    own: dict[str, Any] = {"max_episodes": None, "max_steps": steps, "loggers": []}
    return {
        "agent": {"class": "gym_loop.agents.random_agent:RandomAgent"},
        "env": {"name": "Observing-v0", "parameters": {"kind": kind}},
        "loop": {**loop, "parameters": {**loop.get("parameters", {}), **own}},
        "seed": 3,
    }


def resumes_exactly(place: Path, kind: str, loop: dict[str, Any]) -> None:
    at_once, broken = place / "at_once", place / "broken"
    gym_loop.train(write_run_file(at_once, config(kind, 100, loop)))
    path = write_run_file(broken, config(kind, 44, loop))  # in the middle of an episode
    gym_loop.train(path)
    gym_loop.train(path, {"loop.parameters.max_steps": 100}, resume=True)
    assert differences(at_once, broken) == []


@pytest.mark.parametrize("kind", [*SPACES, "named tuple", "dataclass"])
def test_one_environment(tmp_path: Path, kind: str) -> None:
    resumes_exactly(tmp_path, kind, {})


@pytest.mark.filterwarnings("ignore:.*Casting input x to numpy:UserWarning")  # Gymnasium's own
@pytest.mark.parametrize("kind", SPACES)
def test_many_environments(tmp_path: Path, kind: str) -> None:
    resumes_exactly(tmp_path, kind, COPIES)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("object", r"Observing gives an observation\.deep\[0\]: a tests.*Plain.* dataclass"),
        ("code", r"Observing gives an observation: a builtins:list_iterator is no data"),
    ],
)
def test_what_could_not_be_resumed(tmp_path: Path, kind: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        gym_loop.train(write_run_file(tmp_path, config(kind, 44, {})))
    assert not (tmp_path / "logdir").exists()
