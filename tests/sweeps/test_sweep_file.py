"""The sweep file: everything that is wrong is found at once, before anything begins."""

from pathlib import Path
from typing import Any

import pytest

from gym_loop.config.run_file import load_config
from gym_loop.errors import ConfigError
from gym_loop.sweeps.plan import plan
from gym_loop.sweeps.sweep_file import Sweep, load_sweep
from tests.sweeps.sweeping_files import RUN, SKILL, write_files

GRID = {"parameters": {SKILL: [1.0, 2.0]}}


@pytest.fixture(autouse=True)
def _here(workdir: Path) -> None:
    """Every test has files of its own."""


def loaded(sweep: dict[str, Any], run: dict[str, Any] | None = None) -> Sweep:
    write_files(sweep, run)
    return load_sweep("sweep.yaml", load_config("run.yaml"))


def findings(sweep: dict[str, Any] | str) -> str:
    write_files(sweep if isinstance(sweep, dict) else GRID)
    if isinstance(sweep, str):
        Path("sweep.yaml").write_text(sweep)
    config = load_config("run.yaml")
    with pytest.raises(ConfigError) as caught:
        load_sweep("sweep.yaml", config)
    return str(caught.value)


def test_defaults() -> None:
    sweep = loaded(GRID)
    assert (sweep.searcher, sweep.trials, list(sweep.seeds)) == ("grid", 2, [0])
    assert (sweep.metric, sweep.mode, sweep.scheduler.name) == ("eval/return_mean", "max", "none")
    assert (sweep.cpu, sweep.gpu, sweep.retries, sweep.seed) == (1.0, 0.0, 0, 0)


def test_everything_can_be_said() -> None:
    sweep = loaded(
        {
            "parameters": {
                SKILL: {"log_uniform": [1e-5, 1e-2]},
                "agent.parameters.size": {"log_int": [1, 64]},
                "agent.parameters.fate": ["none", "raise"],
                "agent.parameters.spread": {
                    "choice": [0, 1],
                    "when": {"agent.parameters.fate": "none"},
                },
            },
            "seeds": [3, 7],
            "metric": "eval/length_mean",
            "mode": "min",
            "trials": 40,
            "searcher": "tpe",
            "scheduler": {"asha": {"grace": 2, "reduction": 4}},
            "resources": {"cpu": 2, "gpu": 0.5},
            "retries": 2,
            "seed": 5,
        }
    )
    assert list(sweep.seeds) == [3, 7]
    assert sweep.scheduler.model_dump() == {"grace": 2, "reduction": 4}
    assert (sweep.cpu, sweep.gpu, sweep.sign) == (2.0, 0.5, -1.0)
    assert sweep.space.parameters[3].when == {"agent.parameters.fate": ("none",)}


def test_all_findings_come_at_once_with_their_lines() -> None:
    text = findings(
        "parameters:\n"
        "  agent.parameters.skil: [1.0, 2.0]\n"
        "  agent.parameters.size: {log_unifrom: [1, 2]}\n"
        "  loop.parameters.max_episodes: [0]\n"
        "metrc: eval/return_mean\n"
        "mode: most\n"
    )
    assert text.splitlines() == [
        "sweep.yaml:3: parameters.agent.parameters.size: log_unifrom is unknown;"
        " did you mean log_uniform?; write one of uniform, log_uniform, int_uniform, log_int,"
        " choice",
        "sweep.yaml:5: metrc: unknown; did you mean metric?",
        'sweep.yaml:6: mode: \'most\' must be "max" or "min"',
    ]


def test_values_are_checked_as_set_checks_them() -> None:
    text = findings(
        "parameters:\n"
        "  agent.parameters.skil: [1.0, 2.0]\n"
        "  agent.parameters.seconds: [0.5, slow]\n"
        "  loop.parameters.max_episodes: {int_uniform: [0, 4]}\n"
        "trials: 3\n"
    )
    assert [line.partition(": ")[0] for line in text.splitlines()] == [
        "sweep.yaml:2",
        "sweep.yaml:3",
        "sweep.yaml:4",
    ]
    assert "agent.parameters.skil: unknown; did you mean skill?" in text
    assert "'slow' is str, but must be float" in text
    assert "0 is too small" in text


@pytest.mark.parametrize(
    ("sweep", "problem"),
    [
        ({"trials": 3}, "parameters: must be a mapping of what is varied, such as"),
        ({}, "parameters: must be a mapping of what is varied"),
        ({"parameters": {SKILL: 3}}, "3 must be a list of values, or one of uniform"),
        ({"parameters": {SKILL: []}}, "must be a list of at least one value"),
        ({"parameters": {SKILL: [1, 1]}}, "1 is given twice"),
        ({"parameters": {"seed": [1, 2]}}, "is no parameter of a sweep"),
        ({"parameters": {"loop.parameters.logdir": ["a"]}}, "says where files go"),
        ({"parameters": {SKILL: {"uniform": [1]}}}, "must be the two ends of a range"),
        ({"parameters": {SKILL: {"uniform": [2, 1]}}}, "2 must be less than 1"),
        ({"parameters": {SKILL: {"log_uniform": [0, 1]}}}, "0 has no logarithm"),
        ({"parameters": {SKILL: {"int_uniform": [0.5, 1]}}}, "must be two integers"),
        ({"parameters": {SKILL: {"uniform": [1, 2]}}}, "trials is missing"),
        ({"parameters": {SKILL: {"uniform": [1, 2]}}, "searcher": "grid"}, "is a range"),
        ({**GRID, "trials": 3}, "a grid has as many trials as combinations"),
        ({**GRID, "seeds": 0}, "0 must be an integer from 1"),
        ({**GRID, "seeds": [1, 1]}, "holds the seed 1 twice"),
        ({**GRID, "seeds": []}, "is empty"),
        ({**GRID, "metric": "eval/return_men"}, "did you mean eval/return_mean?"),
        ({**GRID, "resources": {"cpus": 2}}, "resources.cpus: unknown; did you mean cpu?"),
        ({**GRID, "resources": {"cpu": 0}}, "0 is too small; it must be above 0"),
        ({**GRID, "retries": -1}, "-1 must be from 0 to 100"),
        ({**GRID, "scheduler": "ahsa"}, "did you mean asha?"),
        ({**GRID, "scheduler": {"ahsa": {}}}, "scheduler.ahsa: unknown; did you mean asha?"),
        ({**GRID, "scheduler": {"asha": {}, "median": {}}}, "must name one of none, asha"),
        ({**GRID, "seeds": [1, -1]}, "seeds.1: -1 is not a seed; use an integer from 0 to"),
        ({**GRID, "scheduler": "pbt"}, "no longer offered: write asha or median"),
        ({**GRID, "scheduler": {"pbt": {"interval": 2}}}, "scheduler: population-based training"),
        ({**GRID, "population": 8}, "population: population-based training is no longer offered"),
        ({**GRID, "scheduler": {"asha": {"grase": 2}}}, "unknown; did you mean grace?"),
        (
            {**GRID, "scheduler": {"asha": {"reduction": 1}}},
            "1 is too small; it must be at least 2",
        ),
        (
            {**GRID, "searcher": "cmaes", "trials": 4},
            "cmaes needs at least two ranges without conditions",
        ),
        (
            {
                "parameters": {
                    SKILL: {"choice": [1.0], "when": {"agent.parameters.size": 1}},
                    "agent.parameters.size": [1, 2],
                }
            },
            "is not among the parameters above",
        ),
        (
            {
                "parameters": {
                    "agent.parameters.size": [1, 2],
                    SKILL: {"choice": [1.0], "when": {"agent.parameters.size": 3}},
                }
            },
            "[3] is none of its values [1, 2]",
        ),
    ],
)
def test_refused(sweep: dict[str, Any], problem: str) -> None:
    text = findings(sweep)
    assert text.startswith("sweep.yaml")
    assert problem in text


def test_a_scheduler_needs_periodic_evaluations() -> None:
    run = {**RUN, "loop": {"parameters": {"max_episodes": 3}}}
    write_files({**GRID, "scheduler": "asha"}, run)
    config = load_config("run.yaml")
    with pytest.raises(ConfigError, match=r"set loop\.parameters\.episodes_per_eval"):
        load_sweep("sweep.yaml", config)
    sweep = load_sweep(
        "sweep.yaml", load_config("run.yaml", {"loop.parameters.episodes_per_eval": 1})
    )
    assert sweep.scheduler.name == "asha"


def test_a_missing_file_is_one_line() -> None:
    write_files(GRID)
    config = load_config("run.yaml")
    with pytest.raises(ConfigError, match=r"^no\.yaml: there is no such file$"):
        load_sweep("no.yaml", config)


def test_the_plan_of_a_grid_and_of_a_random_search_shows_the_trials() -> None:
    grid = loaded({"parameters": {SKILL: [1.0, 2.0], "agent.parameters.size": [1, 2]}})
    lines = plan(load_config("run.yaml"), grid).splitlines()
    assert lines[0].startswith("4 trials of 1 seed, searcher grid, scheduler none")
    assert lines[1].split() == ["cell", "skill", "size"]
    assert [line.split()[1:] for line in lines[2:]] == [
        ["1", "1"],
        ["1", "2"],
        ["2", "1"],
        ["2", "2"],
    ]
    drawn = loaded({"parameters": {SKILL: {"uniform": [0, 1]}}, "trials": 3, "seeds": 2})
    assert plan(load_config("run.yaml"), drawn) == plan(load_config("run.yaml"), drawn)
    assert len(plan(load_config("run.yaml"), drawn).splitlines()) == 5


def test_the_plan_of_a_search_by_results_shows_what_it_chooses_from() -> None:
    sweep = loaded({"parameters": {SKILL: {"uniform": [0, 1]}}, "trials": 3, "searcher": "tpe"})
    text = plan(load_config("run.yaml"), sweep)
    assert "agent.parameters.skill: uniform [0, 1]" in text
    assert "tpe decides by the results" in text


def test_a_random_search_tries_no_cell_twice() -> None:
    sweep = loaded(
        {"parameters": {SKILL: {"choice": [1.0, 2.0, 3]}}, "trials": 9, "searcher": "random"}
    )
    lines = plan(load_config("run.yaml"), sweep).splitlines()[2:]
    assert sorted(line.split()[1] for line in lines) == ["1", "2", "3"]
