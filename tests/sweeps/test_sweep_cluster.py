"""A sweep on two nodes, of which one is killed in the middle."""

import json
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gym_loop.envs.ray_workers import QUIET_RAY, WANTED_RAY
from gym_loop.sweeps import sweeping
from gym_loop.training.ray_runs import RayRuns
from tests.sweeps.sweeping_files import RUN, SKILL, manifests, write_files
from tests.waiting import wait_for

SLOW = {
    **RUN,
    "agent": {"class": "agent.py:Skilled", "parameters": {"seconds": 0.02}},
    "loop": {"parameters": {"max_episodes": 30, "eval_episodes": 1, "episodes_per_checkpoint": 1}},
}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head and another node, each with room for one trial."""
    for name, value in (QUIET_RAY | WANTED_RAY).items():
        monkeypatch.setenv(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        made.second = made.add_node(num_cpus=1)
        yield made
        made.shutdown()


def finished() -> dict[str, dict[str, Any]]:
    paths = list(Path("sweeps").glob("*/trials/*.json"))
    trials = [json.loads(path.read_text()) for path in paths]
    return {one["cell"]: one for one in trials if one["status"] == "finished"}


def half_trained() -> list[str]:
    """Runs that are training and have saved; with two of them, one is on each node."""
    running = [run for run, facts in manifests().items() if facts["status"] == "running"]
    return [run for run in running if any(Path("checkpoints", run).glob("step-*"))]


@pytest.mark.learning
def test_a_node_that_is_killed_loses_no_finished_trial(
    cluster: Any, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files({"parameters": {SKILL: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}}, SLOW)
    seen: dict[str, Any] = {}

    def kill() -> None:
        wait_for(lambda: len(finished()) >= 2 and len(half_trained()) == 2, seconds=120.0)
        cluster.remove_node(cluster.second, allow_graceful=False)
        seen["finished"] = finished()
        seen["runs"] = manifests()

    def begin(*arguments: Any) -> Any:
        if not killer.ident:
            # The nodes work with the files that travelled, whatever becomes of these.
            Path("agent.py").write_text("raise RuntimeError('this file did not travel')")
            killer.start()
        return begin_really(*arguments)

    killer = threading.Thread(target=kill)
    begin_really = RayRuns.begin
    monkeypatch.setattr(RayRuns, "begin", begin)
    result = sweeping.sweep("run.yaml", "sweep.yaml", address=cluster.address)
    killer.join()
    assert [one.status for one in result.records] == ["finished"] * 6
    assert [one.value for one in result.ranked] == [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    assert len(seen["finished"]) >= 2
    for one in seen["finished"].values():
        for run in one["runs"].values():
            assert manifests()[run] == seen["runs"][run]
    assert any(facts["resumes"] for facts in manifests().values())
