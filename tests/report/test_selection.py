"""Words of a command become runs."""

from pathlib import Path

import pytest

from gym_loop.errors import RunError
from gym_loop.report.selection import select_runs, stem_of
from tests.report.written import returns, write_run


@pytest.fixture
def logs(workdir: Path) -> Path:
    for run in ("ppo-1", "ppo-2", "ppo-10", "ppo-cart-1", "named"):
        write_run(run, returns([1.0]), config=str(workdir / "ppo.yaml") if run != "named" else None)
    return Path("logs")


def names(*wanted: str) -> list[str]:
    return [path.name for path in select_runs(wanted)]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("ppo-2", ["ppo-2"]),
        ("ppo", ["ppo-1", "ppo-2", "ppo-10"]),
        ("ppo-cart", ["ppo-cart-1"]),
        ("named", ["named"]),
        ("ppo-?", ["ppo-1", "ppo-2"]),
        ("logs", ["ppo-1", "ppo-2", "ppo-10", "ppo-cart-1", "named"]),
        ("logs/ppo-2", ["ppo-2"]),
        ("logs/ppo-1*", ["ppo-1", "ppo-10"]),
        ("lo*", ["named", "ppo-1", "ppo-10", "ppo-2", "ppo-cart-1"]),
    ],
)
def test_what_a_word_means(logs: Path, wanted: str, found: list[str]) -> None:
    assert sorted(names(wanted)) == sorted(found)
    if "*" not in wanted:
        assert names(wanted) == found  # oldest first


def test_a_sweep_means_its_runs_and_a_cell_its_seeds(workdir: Path) -> None:
    runs = ["sweep-1.0a1b.0", "sweep-1.0a1b.1", "sweep-1.ffff.0"]
    for run in [*runs, "sweep-10.0a1b.0", "sweep-2"]:
        write_run(run, returns([1.0]))
    assert names("sweep-1") == runs
    assert names("sweep-1.0a1b") == runs[:2]
    assert names("sweep-2") == ["sweep-2"]


def test_each_run_comes_once_in_the_order_asked_for(logs: Path) -> None:
    assert names("ppo-2", "logs/ppo-2", "ppo") == ["ppo-2", "ppo-1", "ppo-10"]


def test_a_run_file_means_what_was_trained_from_it(logs: Path, workdir: Path) -> None:
    Path("ppo.yaml").write_text("env: {name: CartPole-v1}\n")
    assert names("ppo.yaml") == ["ppo-1", "ppo-2", "ppo-10", "ppo-cart-1"]
    assert names("logs/named/run.yaml") == ["named"]


def test_a_run_file_names_its_logdir(workdir: Path) -> None:
    write_run("a-1", returns([1.0]), logdir=Path("other"), config=str(workdir / "a.yaml"))
    Path("a.yaml").write_text("loop: {parameters: {logdir: other}}\n")
    assert names("a.yaml") == ["a-1"]


def test_a_run_that_lost_its_manifest_is_found(logs: Path) -> None:
    (logs / "ppo-2" / "manifest.json").unlink()
    assert names("ppo-2") == ["ppo-2"]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("pppo", "did you mean ppo"),
        ("zzz", "there are "),
        ("zzz*", "there is no run, run file or directory zzz*"),
    ],
)
def test_what_is_not_there(logs: Path, wanted: str, said: str) -> None:
    with pytest.raises(RunError, match=said.replace("*", r"\*")):
        names(wanted)


def test_no_runs_at_all(workdir: Path) -> None:
    with pytest.raises(RunError, match="there are no runs there"):
        names("run")
    Path("empty").mkdir()
    with pytest.raises(RunError, match="there are no runs in empty"):
        names("empty")
    Path("run.yaml").write_text("env: {name: CartPole-v1}\n")
    with pytest.raises(RunError, match=r"no run of run\.yaml in logs"):
        names("run.yaml")
    Path("notes.txt").write_text("")
    with pytest.raises(RunError, match=r"neither a run file"):
        names("notes.txt")


def test_stems() -> None:
    assert [stem_of(one) for one in ("run-12", "a-b-3", "named", "x-", "s-1.0af.3")] == [
        "run", "a-b", "named", "x-", "s-1",
    ]  # fmt: skip
