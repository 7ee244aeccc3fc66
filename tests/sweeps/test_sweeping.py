"""Sweeps from files to results."""

import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import gym_loop
from gym_loop.checkpoints.store import CheckpointStore
from gym_loop.checkpoints.tree import first_difference
from gym_loop.config.run_file import load_config
from gym_loop.errors import ConfigError, SweepError, UsageError
from gym_loop.runs.listing import list_runs
from gym_loop.sweeps.records import WORST
from gym_loop.sweeps.result import SweepResult
from gym_loop.sweeps.search import mean_value
from gym_loop.sweeps.sweeping import sweep
from gym_loop.training.run_process import cores
from tests.sweeps.sweeping_files import RUN, SKILL, manifest, write_files

SLOWLY = {
    **RUN,
    "agent": {"class": "agent.py:Skilled", "parameters": {"seconds": 0.02}},
    "loop": {"parameters": {"max_episodes": 9, "episodes_per_eval": 1, "eval_episodes": 1}},
}
ASHA = {
    "parameters": {SKILL: [9.0, 8.0, 2.0, 1.0]},
    "seeds": 2,
    "scheduler": {"asha": {"grace": 1, "reduction": 2}},
}


@pytest.fixture(autouse=True)
def _here(workdir: Path) -> None:
    """Every test has files of its own."""


def swept(file: dict[str, Any], run: dict[str, Any] | None = None, **options: Any) -> SweepResult:
    write_files(file, run)
    return sweep("run.yaml", "sweep.yaml", **options)


def by_value(result: SweepResult, path: str = SKILL) -> dict[Any, Any]:
    return {one.values[path]: one for one in result.records}


def state(run: str) -> Any:
    tree = CheckpointStore(Path("checkpoints", run)).newest().tree
    for name in ("torch", "torch_seed"):  # as another test has imported torch here, or none has
        tree["streams"].pop(name, None)
    return {key: tree[key] for key in ("agent", "environment", "streams", "spaces")}


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_seed_that_is_no_number_makes_its_trial_the_worst(sign: float) -> None:
    """Whether the most or the least is looked for: a sampler is not to be drawn there."""
    assert mean_value([1.0, 3.0], sign) == 2.0
    for values in ([math.nan], [1.0, math.nan], []):
        assert sign * mean_value(values, sign) == -WORST


class TestGrid:
    def test_every_combination_is_trained_with_every_seed_and_judged_by_the_mean(self) -> None:
        result = swept(
            {"parameters": {SKILL: [1.0, 3.0, 2.0], "agent.parameters.spread": [0.5]}, "seeds": 2}
        )
        assert [one.values[SKILL] for one in result.ranked] == [3.0, 2.0, 1.0]
        best = result.best
        assert best is not None
        parities = [load_seed(run) % 2 for run in best.runs.values()]
        assert best.per_seed == [3.0 + 0.5 * one for one in parities]
        assert best.value == sum(best.per_seed) / 2
        assert result.sweep == "sweep-1"

    def test_its_runs_are_ordinary_runs(self) -> None:
        result = swept({"parameters": {SKILL: [1.0, 2.0]}, "seeds": [4, 9]})
        runs = [run for one in result.records for run in one.runs.values()]
        assert sorted(runs) == sorted(one.run for one in list_runs(Path("logs")))
        assert {one.status for one in list_runs(Path("logs"))} == {"finished"}
        run = by_value(result)[2.0].runs[9]
        facts = manifest(run)
        assert (facts["seed"], facts["overrides"]) == (9, {SKILL: 2.0, "seed": 9})
        assert facts["config"] == str(Path("run.yaml").resolve())
        assert gym_loop.evaluate("run.yaml", run=run).returns.mean == 2.0
        alone = gym_loop.train("run.yaml", {SKILL: 2.0}, seed=9)
        assert first_difference(state(alone.run), state(run)) == ""

    def test_less_can_be_better(self) -> None:
        result = swept({"parameters": {SKILL: [1.0, 3.0, 2.0]}, "mode": "min"})
        assert [one.value for one in result.ranked] == [1.0, 2.0, 3.0]
        assert result.best is not None

    def test_best_yaml_is_ready_to_train_from_any_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        result = swept({"parameters": {SKILL: [1.0, 3.0]}})
        best = (result.directory / "best.yaml").resolve()
        assert best.read_text().startswith("# The best of sweep-1: cell ")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert load_config(best).seed is None
        assert gym_loop.train(best, seed=0).mean_return == 3.0

    def test_a_cell_is_named_by_its_content_alone(self) -> None:
        first = swept({"parameters": {SKILL: [1.0, 2.0]}})
        second = swept({"parameters": {SKILL: [2, 5.0]}, "seeds": 2})
        assert by_value(first)[2.0].cell == by_value(second)[2].cell
        assert second.sweep == "sweep-2"

    def test_optunas_storage_can_be_read(self) -> None:
        result = swept(
            {"parameters": {SKILL: [1.0, 3.0, 2.0, 4.0], "agent.parameters.size": [1, 2]}}
        )
        with sqlite3.connect(result.directory / "study.db") as database:
            states = database.execute("select state from trials").fetchall()
            values = database.execute("select value from trial_values").fetchall()
        database.close()
        assert states == [("COMPLETE",)] * 8
        assert sorted(value for (value,) in values) == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]
        assert result.importance[SKILL] == pytest.approx(1.0)


def load_seed(run: str) -> int:
    """The seed that the agent of a run was given."""
    from gym_loop.checkpoints.seeding import Seeds

    return int(Seeds(manifest(run)["seed"]).integer("agent"))


class TestFailures:
    def test_a_trial_that_fails_is_told_with_its_error_and_stops_no_other(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        result = swept(
            {"parameters": {"agent.parameters.fate": ["none", "raise", "kill"]}, "seeds": 2}
        )
        found = by_value(result, "agent.parameters.fate")
        assert found["none"].status == "finished"
        assert found["raise"].status == found["kill"].status == "failed"
        assert found["raise"].error.endswith(": ValueError: boom")
        assert found["kill"].error.endswith(": its process was killed by SIGKILL")
        run = found["raise"].error.partition(":")[0]
        assert manifest(run)["status"] == "failed"
        assert "warning: sweep-1 " in capfd.readouterr().err

    def test_it_is_retried_as_asked(self) -> None:
        asked = {"parameters": {"agent.parameters.fate": ["once"]}, "retries": 1}
        result = swept(asked)
        assert result.records[0].status == "finished"
        assert len(manifest(next(iter(result.records[0].runs.values())))["resumes"]) == 1

    def test_name_and_resume_exclude_each_other(self) -> None:
        with pytest.raises(UsageError, match="--name and --resume exclude each other"):
            swept({"parameters": {SKILL: [1.0]}}, name="a", resume=True)


class TestSearchers:
    @pytest.mark.parametrize("searcher", ["tpe", "cmaes"])
    def test_a_search_by_results_tries_as_many_as_asked(self, searcher: str) -> None:
        result = swept(
            {
                "parameters": {
                    SKILL: {"uniform": [0.0, 10.0]},
                    "agent.parameters.size": {"log_int": [1, 100]},
                    "agent.parameters.fate": {"choice": ["none"]},
                },
                "trials": 8,
                "searcher": searcher,
            }
        )
        assert result.count("finished") == 8
        assert len({one.values[SKILL] for one in result.records}) == 8
        for one in result.records:
            assert one.value == pytest.approx(one.values[SKILL], rel=1e-5)

    def test_a_random_search_with_conditions(self) -> None:
        result = swept(
            {
                "parameters": {
                    "agent.parameters.size": [1, 2],
                    SKILL: {"uniform": [5, 6], "when": {"agent.parameters.size": 2}},
                },
                "trials": 5,
                "searcher": "random",
            }
        )
        for one in result.records:
            assert (SKILL in one.values) == (one.values["agent.parameters.size"] == 2)
            assert (one.value == 1.0) == (one.values["agent.parameters.size"] == 1)


class TestPruning:
    def test_bad_trials_end_early_and_a_resumed_sweep_runs_nothing_again(self) -> None:
        first = swept(ASHA, SLOWLY)
        found = {one.values[SKILL]: one for one in first.records}
        assert found[9.0].status == "finished"
        assert found[1.0].status == "pruned"
        assert found[1.0].steps < found[9.0].steps == 36
        assert [one["evaluation"] for one in found[9.0].reports] == list(range(1, 10))
        assert first.ranked[0] is found[9.0]
        before = {run: manifest(run) for one in first.records for run in one.runs.values()}
        assert before[found[1.0].runs[0]]["status"] == "stopped"
        second = sweep("run.yaml", "sweep.yaml", resume=True)
        assert second.sweep == first.sweep
        assert {run: manifest(run) for run in before} == before
        assert second.as_dict()["trials"] == first.as_dict()["trials"]

    def test_what_is_worse_than_the_median_ends(self) -> None:
        asked = {
            "parameters": {SKILL: [9.0, 8.0, 7.0, 1.0]},
            "resources": {"cpu": 64},
            "scheduler": {"median": {"grace": 2, "least_trials": 2}},
        }
        with pytest.raises(SweepError, match="asks for 64 cpu and 0 gpu, but this machine has"):
            swept(asked, SLOWLY)
        result = swept({**asked, "resources": {"cpu": cores()}}, SLOWLY)
        found = by_value(result)
        assert [found[skill].status for skill in (9.0, 8.0)] == ["finished"] * 2
        assert [found[skill].status for skill in (7.0, 1.0)] == ["pruned"] * 2
        assert [one["value"] for one in found[1.0].reports] == [1.0, 1.0]
        assert found[1.0].value == 1.0


class TestResume:
    def test_a_finished_sweep_has_nothing_left_and_can_grow(self) -> None:
        asked = {"parameters": {SKILL: {"uniform": [0, 9]}}, "trials": 2, "searcher": "random"}
        first = swept(asked)
        before = {run: manifest(run) for one in first.records for run in one.runs.values()}
        second = swept({**asked, "trials": 4}, resume=True)
        assert {run: manifest(run) for run in before} == before
        assert second.count("finished") == 4
        together = swept({**asked, "trials": 4})
        assert [one.cell for one in together.records] == [one.cell for one in second.records]

    @pytest.mark.parametrize("searcher", ["tpe", "cmaes"])
    def test_a_search_by_results_goes_on_with_what_it_knows(self, searcher: str) -> None:
        asked = {
            "parameters": {
                SKILL: {"uniform": [0.0, 9.0]},
                "agent.parameters.size": {"int_uniform": [1, 99]},
            },
            "searcher": searcher,
            "resources": {"cpu": cores()},
        }
        first = swept({**asked, "trials": 3})
        second = swept({**asked, "trials": 5}, resume=True)
        assert [one.cell for one in second.records[:3]] == [one.cell for one in first.records]
        assert second.count("finished") == len({one.cell for one in second.records}) == 5
        if searcher == "cmaes":  # the generation that a trial belongs to
            assert [one.notes for one in second.records[1:]] == [{"cma:generation": 0}] * 4
        with sqlite3.connect(second.directory / "study.db") as database:
            (stored,) = database.execute("select count(*) from trial_values").fetchone()
        database.close()
        assert stored == 5

    def test_other_files_are_refused_with_what_differs(self) -> None:
        swept({"parameters": {SKILL: [1.0]}})
        with pytest.raises(ConfigError, match=r"parameters: the sweep has .*1\.0.* the file"):
            swept({"parameters": {SKILL: [2.0]}}, resume=True)
        with pytest.raises(ConfigError, match=r"agent\.parameters\.size: the sweep has 1"):
            sweep("run.yaml", "sweep.yaml", {"agent.parameters.size": 2}, resume=True)

    def test_no_sweep_to_go_on_with_is_one_line(self) -> None:
        with pytest.raises(SweepError, match="there is no sweep of these files in sweeps"):
            swept({"parameters": {SKILL: [1.0]}}, resume=True)
        sweep("run.yaml", "sweep.yaml", name="mine")
        with pytest.raises(SweepError, match="there is no sweep other in sweeps; there are mine"):
            sweep("run.yaml", "sweep.yaml", resume="other")
