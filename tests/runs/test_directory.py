"""A run's directory: its id, its lock, and places that cannot be written."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gym_loop.errors import RunError, RunLockedError
from gym_loop.runs.directory import RunDirectory, is_running, run_ids

HOLD = """
import sys, time
from pathlib import Path
from gym_loop.runs.directory import RunDirectory
parents = {"logdir": Path("logs"), "checkpoint_dir": Path("checkpoints")}
run = RunDirectory.create("run", parents)
{code}
print(run.run_id, flush=True)
time.sleep(60)
"""
RACE = """
import sys
from pathlib import Path
from gym_loop.runs.directory import RunDirectory
parents = {"logdir": Path("logs"), "checkpoint_dir": Path("checkpoints")}
print("ready", flush=True)
sys.stdin.readline()
print(" ".join(RunDirectory.create("run", parents).run_id for _ in range(40)), flush=True)
"""


@pytest.fixture
def create() -> Iterator[Callable[..., RunDirectory]]:
    """`RunDirectory.create`, whose runs are unlocked at the end of the test."""
    made = []

    def call(stem: str, parents: dict[str, Path], **keywords: str) -> RunDirectory:
        made.append(RunDirectory.create(stem, parents, **keywords))
        return made[-1]

    yield call
    for run in made:
        run.unlock()


def parents(base: Path) -> dict[str, Path]:
    return {name: base / name for name in ("logdir", "checkpoint_dir", "record_dir")}


def python(code: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_ids_count_up(create: Callable[..., RunDirectory], tmp_path: Path) -> None:
    runs = [create("mine", parents(tmp_path)) for _ in range(3)]
    assert [run.run_id for run in runs] == ["mine-1", "mine-2", "mine-3"]
    assert runs[0].logs == tmp_path / "logdir" / "mine-1"
    assert runs[0].logs.is_dir()
    assert runs[0].path("checkpoint_dir").is_dir()
    assert not runs[0].path("record_dir").exists()  # made when there is a video
    assert create("other", parents(tmp_path)).run_id == "other-1"


@pytest.mark.parametrize("parent", ["logdir", "checkpoint_dir", "record_dir"])
def test_an_id_that_is_used_anywhere_is_passed_over(
    create: Callable[..., RunDirectory], tmp_path: Path, parent: str
) -> None:
    (tmp_path / parent / "mine-7").mkdir(parents=True)
    (tmp_path / parent / "mine-9x").mkdir()
    (tmp_path / parent / "mine-2-1").mkdir()
    assert create("mine", parents(tmp_path)).run_id == "mine-8"


def test_same_parent_for_everything(create: Callable[..., RunDirectory], tmp_path: Path) -> None:
    shared = {"logdir": tmp_path / "all", "checkpoint_dir": tmp_path / "all"}
    assert [create("a", shared).run_id for _ in range(2)] == ["a-1", "a-2"]


def test_name(create: Callable[..., RunDirectory], tmp_path: Path) -> None:
    assert create("mine", parents(tmp_path), name="best.of_3").run_id == "best.of_3"
    with pytest.raises(RunError, match=r"there is a run best.of_3 already; .*--resume best.of_3"):
        create("mine", parents(tmp_path), name="best.of_3")


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "-x", "a b", "a\n"])
def test_no_name(create: Callable[..., RunDirectory], tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match="a run's name is made of letters"):
        create("mine", parents(tmp_path), name=name)
    assert list(tmp_path.iterdir()) == []


def test_open_names_the_nearest(create: Callable[..., RunDirectory], tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run mine-1 in .*; there are no runs there"):
        RunDirectory.open("mine-1", parents(tmp_path))
    for number in (1, 2):
        run = create("mine", parents(tmp_path))
        run.note(started=f"2026-01-0{number}")
    assert RunDirectory.open("mine-1", parents(tmp_path)).run_id == "mine-1"
    with pytest.raises(RunError, match=r"no run mnie-1 in .*; did you mean mine-1\?"):
        RunDirectory.open("mnie-1", parents(tmp_path))
    with pytest.raises(RunError, match="; the newest is mine-2"):
        RunDirectory.open("zzzzz", parents(tmp_path))


@pytest.mark.parametrize("name", ["../x", "a/b", "", "..", "."])
def test_open_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "logdir" / "a" / "b").mkdir(parents=True)
    with pytest.raises(RunError, match="there is no run"):
        RunDirectory.open(name, parents(tmp_path))


def test_run_ids_are_in_the_order_in_which_they_were_begun(
    create: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    for name, started in (("b", "2026-01-01"), ("c", "2060-01-03"), ("a", "1970-01-01")):
        create("x", parents(tmp_path), name=name).note(started=started)
    (tmp_path / "logdir" / "no-run").mkdir()
    (tmp_path / "logdir" / "file").write_text("")
    assert run_ids(tmp_path / "logdir") == ["b", "c", "a"]
    assert run_ids(tmp_path / "missing") == []


def test_runs_of_other_directories_and_of_old_are_ordered_by_time(
    create: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        create("x", parents(tmp_path), name=name).note(started="2026-01-05")
    for name, facts in {
        "moved": {"order": 1, "started": "2026-01-04"},
        "old": {"started": "2026-01-03"},
        "older": {"started": "2026-01-02"},
        "damaged": {"started": 5, "order": "7"},
        "forged": {"order": 10**30, "started": [1]},
    }.items():
        path = tmp_path / "logdir" / name / "manifest.json"
        path.parent.mkdir()
        path.write_text(json.dumps(facts))
    known = run_ids(tmp_path / "logdir")
    assert known == ["damaged", "forged", "older", "old", "moved", "one", "two"]
    create("x", parents(tmp_path), name="last").note(started="1970-01-01")
    assert run_ids(tmp_path / "logdir") == [*known, "last"]


class TestUnwritable:
    def test_parent_is_a_file(self, create: Callable[..., RunDirectory], tmp_path: Path) -> None:
        (tmp_path / "logdir").write_text("")
        with pytest.raises(RunError, match=r"the directory .*logdir cannot be written: .*; choose"):
            create("mine", parents(tmp_path))
        assert (tmp_path / "logdir").read_text() == ""

    @pytest.mark.parametrize("parent", ["checkpoint_dir", "record_dir"])
    def test_nothing_is_made_when_another_cannot_be(
        self, create: Callable[..., RunDirectory], tmp_path: Path, parent: str
    ) -> None:
        (tmp_path / "file").write_text("")
        places = {**parents(tmp_path), parent: tmp_path / "file" / "below"}
        with pytest.raises(RunError, match=r"below cannot be written: .*file is no directory"):
            create("mine", places)
        assert [entry.name for entry in tmp_path.iterdir()] == ["file"]

    def test_no_permission(
        self, create: Callable[..., RunDirectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
        with pytest.raises(
            RunError, match=r"may not be written; choose another directory in the run file"
        ):
            create("mine", parents(tmp_path))
        assert list(tmp_path.iterdir()) == []


class TestNotes:
    def test_are_merged(self, create: Callable[..., RunDirectory], tmp_path: Path) -> None:
        run = create("mine", parents(tmp_path))
        assert run.manifest() == {}
        run.note(a=1, b=2)
        run.note(b=3)
        assert run.manifest() == {"a": 1, "b": 3, "order": 1}

    def test_of_two_threads_are_all_kept(
        self, create: Callable[..., RunDirectory], tmp_path: Path
    ) -> None:
        run = create("mine", parents(tmp_path))
        errors = []

        def write(thread: int) -> None:
            try:
                for number in range(40):
                    run.note(**{f"{thread}-{number}": number})
            except OSError as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(run.manifest()) == 161  # and the run's own order


class TestLock:
    def test_in_this_process(self, create: Callable[..., RunDirectory], tmp_path: Path) -> None:
        run = create("mine", parents(tmp_path))
        again = RunDirectory.open("mine-1", parents(tmp_path))
        assert is_running(run.logs)
        with pytest.raises(RunLockedError, match="run mine-1 is in use by another process"):
            again.lock()
        run.unlock()
        run.unlock()
        assert not is_running(run.logs)
        again.lock()
        assert is_running(run.logs)
        again.unlock()

    def test_asking_does_not_release(
        self, create: Callable[..., RunDirectory], tmp_path: Path
    ) -> None:
        # Closing any handle of a file releases the record locks that the process has on it.
        run = create("mine", parents(tmp_path))
        assert is_running(run.logs)
        with pytest.raises(RunLockedError):
            RunDirectory.open("mine-1", parents(tmp_path)).lock()
        code = (
            "from pathlib import Path; from gym_loop.runs.directory import is_running;"
            f"print(is_running(Path({str(run.logs)!r})))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == "True"
        run.unlock()

    def test_released_by_death(self, workdir: Path) -> None:
        with python(HOLD.replace("{code}", "")) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "run-1\n"
            assert is_running(Path("logs/run-1"))
            with pytest.raises(RunLockedError):
                RunDirectory.open("run-1", {"logdir": Path("logs")}).lock()
            child.kill()
        assert not is_running(Path("logs/run-1"))
        run = RunDirectory.open("run-1", {"logdir": Path("logs")})
        run.lock()
        run.unlock()

    def test_not_inherited_by_forked_workers(self, workdir: Path) -> None:
        code = "import os\nif (worker := os.fork()) == 0: time.sleep(60)\nprint(worker, flush=True)"
        with python(HOLD.replace("{code}", code)) as child:
            assert child.stdout is not None
            worker = int(child.stdout.readline())
            try:
                assert is_running(Path("logs/run-1"))
                child.kill()
                child.wait()
                os.kill(worker, 0)  # it lives on
                assert not is_running(Path("logs/run-1"))
            finally:
                os.kill(worker, signal.SIGKILL)

    def test_a_worker_that_ends_does_not_release(
        self, create: Callable[..., RunDirectory], tmp_path: Path
    ) -> None:
        run = create("mine", parents(tmp_path))
        worker = os.fork()
        if worker == 0:
            run.unlock()
            os._exit(0)
        os.waitpid(worker, 0)
        code = (
            "from pathlib import Path; from gym_loop.runs.directory import is_running;"
            f"print(is_running(Path({str(run.logs)!r})))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == "True"
        run.unlock()


def test_racing_processes_never_share_an_id(workdir: Path) -> None:
    children = [python(RACE) for _ in range(2)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    ids = [name for child in children for name in child.communicate(timeout=30)[0].split()]
    assert len(ids) == len(set(ids)) == 80
    assert {entry.name for entry in Path("logs").iterdir()} == set(ids)
    assert {entry.name for entry in Path("checkpoints").iterdir()} == set(ids)
