"""Periodic evaluations of a resumed run are those of one that was never stopped."""

import gc
import random
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from gym_loop import evaluate, train
from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.checkpoints.tree import first_difference
from gym_loop.training.check import check
from tests.small_runs import rows

RANDOM = "gym_loop.agents.random_agent:RandomAgent"
VECTOR = {"class": "gym_loop.loops.vector_loop:VectorLoop"}


class Remembering(gymnasium.Env):
    """What it pays follows from all that was ever done to it, and from its making."""

    observation_space = gymnasium.spaces.Box(-10, 10, (1,), np.float64)
    action_space = gymnasium.spaces.Discrete(2)
    made = 0

    def __init__(self) -> None:
        Remembering.made += 1
        self.offset = random.random() + np.random.rand()  # from the run's seed
        self.own = random.Random(1)
        self.length = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.length = 0
        return np.array([self.own.random()]), {}

    def step(self, action: Any) -> Any:
        self.length += 1
        noise = self.own.random() + random.random()
        return np.array([noise]), self.offset + noise, self.length > 6, False, {}


class Unclosable(Remembering):
    def close(self) -> None:
        raise OSError("on purpose")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    gymnasium.register("Remembering-v0", Remembering)
    gymnasium.register("Unclosable-v0", Unclosable)


def config(env: Any, vectorization: str | None, **parameters: Any) -> dict[str, Any]:
    every = {"episodes_per_eval": 2, "eval_episodes": 3, "keep_checkpoints": 1, **parameters}
    loop: dict[str, Any] = {"parameters": every}
    if vectorization:
        every |= {"n_envs": 2, "vectorization": vectorization, "max_steps": None}
        loop |= VECTOR
    return {"agent": {"class": RANDOM}, "env": env, "loop": loop, "seed": 3}


def left_by(run: str) -> tuple[Any, ...]:
    """Rows, events, evaluations, and the best checkpoint but for its seconds and files' lengths."""
    evaluations = {one.name: one.read_text() for one in Path("eval_logs", run).iterdir()}
    best = CheckpointStore(Path("checkpoints", run)).best()
    kept = {part: best.tree[part] for part in best.tree if part not in ("run", "logs")}
    return rows(run), events_of(run), evaluations, best.step, kept


def events_of(run: str) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(Path("logs", run)), size_guidance={"scalars": 0})
    events.Reload()
    names = [name for name in events.Tags()["scalars"] if not name.endswith("_per_second")]
    return {name: [(one.step, one.value) for one in events.Scalars(name)] for name in names}


def assert_same(one: str, other: str) -> None:
    *want, want_tree = left_by(one)
    *have, have_tree = left_by(other)
    assert want == have
    assert first_difference(want_tree, have_tree) == ""


ENVS = {
    "walker": {"name": "BipedalWalker-v3", "max_episode_steps": 300},
    "own": {"name": "Remembering-v0"},
    "statistics": {
        "name": "Pendulum-v1",
        "max_episode_steps": 20,
        "wrappers": ["gymnasium.wrappers:NormalizeObservation"],
    },
}


@pytest.mark.parametrize(
    ("env", "vectorization"),
    [*((env, None) for env in ENVS), ("walker", "sync"), ("own", "sync"), ("own", "async")],
)
def test_evaluations_are_resumed_exactly(env: str, vectorization: str | None) -> None:
    whole = config(ENVS[env], vectorization, max_episodes=6)
    train(whole, name="whole")
    key = "loop.parameters.max_episodes"
    train(whole, {key: 3}, name="stopped")
    train(whole, {key: 6}, resume="stopped")
    assert_same("whole", "stopped")


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_a_larger_budget_goes_on_with_the_row_of_the_logs_under_way(vectorization: str) -> None:
    loop = {"max_steps": 400, "max_episodes": None, "episodes_per_eval": None, "n_envs": 3}
    whole = config({"name": "CartPole-v1"}, vectorization)
    whole["loop"]["parameters"] |= loop
    key = "loop.parameters.max_steps"
    train(whole, name="whole")
    train(whole, {key: 151}, name="stopped")
    assert sum(float(row["train/episodes"]) for row in rows("stopped")) >= 3
    train(whole, {key: 400}, resume="stopped")
    assert rows("whole") == rows("stopped")
    assert len(rows("whole")) > 1


@pytest.mark.parametrize("vectorization", [None, "sync"])
def test_an_evaluation_that_was_cut_short_is_played_again_from_its_beginning(
    vectorization: str | None,
) -> None:
    # In the second of four: by then the first environment of evaluations has seen episodes.
    whole = config(ENVS["own"], vectorization, max_episodes=8)
    whole["agent"] = {"class": "tests.resumable:Drifting"}
    if vectorization:
        whole["agent"] = {"class": "tests.resumable:DriftingTogether"}
    key = "agent.parameters.stop_in_evaluation"
    train(whole, name="whole")
    assert train(whole, {key: 4}, name="stopped").exit_reason == "stopped"
    assert len(list(Path("eval_logs/stopped").iterdir())) == 1
    train(whole, {key: -1}, resume="stopped")
    assert len(left_by("whole")[2]) == 4
    assert left_by("whole")[:4] == left_by("stopped")[:4]


def test_evaluations_are_the_same_whatever_was_evaluated_before() -> None:
    train(config(ENVS["own"], None, max_episodes=6), name="one")
    means = [row["eval/return_mean"] for row in rows("one") if row["eval/return_mean"]]
    assert len(means) == 3
    assert len(set(means)) == 1


def test_a_training_that_never_evaluates_makes_no_environment_for_it() -> None:
    made = []
    for every in (None, 3):
        Remembering.made = 0
        train(config(ENVS["own"], None, max_episodes=6, episodes_per_eval=every))
        made.append(Remembering.made)
    assert made[1] - made[0] == 2


@pytest.mark.parametrize("vectorization", [None, "sync", "async"])
def test_an_environment_that_cannot_be_closed_trains_and_is_named_at_the_end(
    capfd: pytest.CaptureFixture[str], vectorization: str | None
) -> None:
    wanted = config({"name": "Unclosable-v0"}, vectorization, max_episodes=4)
    assert train(wanted, name="one").exit_reason == "finished"
    gc.collect()
    said = capfd.readouterr().err
    assert "Exception ignored" not in said
    assert "Traceback" not in said
    if vectorization != "async":
        assert said.count("close() raised OSError: on purpose") == 1
    assert train(wanted, {"loop.parameters.max_episodes": 6}, resume="one").episodes >= 6
    capfd.readouterr()
    assert evaluate(wanted, run="one").run == "one"
    assert capfd.readouterr().err.count("close()") == (vectorization != "async")
    found = check(wanted)
    assert not [one for one in found if one.level == "error"]
    assert [one for one in found if "close() raised" in one.text] or vectorization == "async"


def test_the_window_of_an_evaluation_does_not_take_the_training_s_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    shown = {"render": True, "eval_render": True, "episodes_per_eval": 1, "eval_episodes": 1}
    env = {"name": "CartPole-v1", "max_episode_steps": 5}
    assert train(config(env, None, max_episodes=3, **shown)).exit_reason == "finished"
