"""The pool itself: who begins when, who is asked to stop, what is done again."""

import signal
from typing import Any

import pytest

from gym_loop.training import run_process
from gym_loop.training.pool import MOST_LOSSES, Event, Pool
from gym_loop.training.run_process import LocalProcesses, gpus, threads_of_a_run


class Process:
    """A process that does nothing by itself."""

    def __init__(self, job: Any, tell: Any) -> None:
        self.job, self.tell = job, tell
        self.signals: list[int] = []

    def signal(self, signum: int) -> None:
        self.signals.append(signum)


class Engine:
    """Keeps what the pool asks of it."""

    def __init__(self) -> None:
        self.processes: list[Process] = []
        self.prepared: list[int] = []
        self.ended: list[Process] = []

    def room(self) -> int:
        return 2

    def most(self) -> str:
        return "two"

    def prepare(self, count: int) -> None:
        self.prepared.append(count)

    def begin(self, job: Any, tell: Any) -> Process:
        self.processes.append(Process(job, tell))
        return self.processes[-1]

    def end(self, process: Process) -> None:
        self.ended.append(process)

    def close(self) -> None:
        """Nothing."""


@pytest.fixture
def engine() -> Engine:
    return Engine()


def kinds(events: list[Event]) -> list[tuple[str, int]]:
    return [(one.kind, one.run.job["seed"]) for one in events]


def submitted(engine: Engine, count: int, **options: Any) -> Pool:
    pool = Pool(engine, 2, expected=count)
    for seed in range(count):
        pool.submit({"seed": seed}, **options)
    return pool


def test_so_many_at_a_time_in_their_order(engine: Engine) -> None:
    with submitted(engine, 3) as pool:
        assert not pool.has_room()
        assert list(pool.events()) == []
        assert [one.job["seed"] for one in engine.processes] == [0, 1]
        first = engine.processes[0]
        first.tell({"run": "a", "steps": 4, "evaluations": [{"x": 1.0}]})
        first.tell({"output": "hello"})
        first.tell({"result": {"steps": 9}})
        first.tell({"ended": 0})
        found = list(pool.events())
        assert kinds(found) == [("evaluated", 0), ("output", 0), ("ended", 0)]
        assert (found[0].run.run, found[0].run.steps, found[1].text) == ("a", 4, "hello")
        assert (found[0].run.error, found[0].run.result) == (None, {"steps": 9})
        assert engine.prepared == [1]  # the third is to come
        assert engine.ended == [first]
        list(pool.events())
        assert [one.job["seed"] for one in engine.processes] == [0, 1, 2]
        for one in engine.processes[1:]:
            one.tell({"ended": -9})
        assert [one.run.error for one in pool.events()] == ["its process was killed by SIGKILL"] * 2
        assert not pool.running
        assert pool.has_room(5)


def test_a_run_that_fails_is_begun_again_as_often_as_asked(engine: Engine) -> None:
    with submitted(engine, 1, retries=1) as pool:
        for _ in range(2):
            list(pool.events())
            engine.processes[-1].tell({"run": "a", "evaluations": [{"x": 1.0}]})
            engine.processes[-1].tell({"error": "ValueError: boom"})
            engine.processes[-1].tell({"ended": 1})
            found = list(pool.events())
        assert len(engine.processes) == 2
        assert found[-1].run.error == "ValueError: boom"
        assert len(found[-1].run.evaluations) == 1


def test_a_run_whose_node_is_lost_goes_on_elsewhere(engine: Engine) -> None:
    with submitted(engine, 1) as pool:
        found: list[Event] = []
        while pool.running:
            found += pool.events()
            engine.processes[-1].tell({"lost": "its node died"})
        assert len(engine.processes) == MOST_LOSSES
        assert kinds(found) == [("ended", 0)]
        assert found[0].run.error == "the processes that Ray gave it died again and again"


def test_a_run_is_asked_to_stop_once(engine: Engine) -> None:
    with submitted(engine, 3) as pool:
        list(pool.events())
        runs = [pool.submit({"seed": 3})]
        engine.processes[0].tell({"run": "a", "evaluations": []})
        (event,) = pool.events()
        pool.stop(event.run)
        pool.stop(event.run)
        pool.stop_all(signal.SIGINT)
        assert [one.signals for one in engine.processes] == [[signal.SIGTERM], [signal.SIGINT]]
        assert kinds(list(pool.events())) == [("ended", 2), ("ended", 3)]  # they never begin
        engine.processes[0].tell({"result": {}})
        engine.processes[0].tell({"ended": 0})
        engine.processes[1].tell({"ended": 130})
        assert [one.run.error for one in pool.events()] == [None, None]
        assert (pool.stopped_by, runs[0].ended, runs[0].error) == (signal.SIGINT, True, None)


def test_left_by_an_exception_all_end_at_once(engine: Engine) -> None:
    def interrupted() -> None:
        with submitted(engine, 2) as pool:
            list(pool.events())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [one.signals for one in engine.processes] == [[signal.SIGINT]] * 2
    assert engine.ended == engine.processes


class TestGpus:
    class Unstarted:
        def __init__(self, environment: Any) -> None:
            self.gpus: list[str] = []

        def train(self, job: Any, tell: Any) -> None:
            self.job = job

        def end(self) -> None:
            """Nothing."""

    @pytest.fixture(autouse=True)
    def _machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
        monkeypatch.setattr(run_process, "cores", lambda: 64)
        monkeypatch.setattr(run_process, "RunProcess", self.Unstarted)

    def test_which_there_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert gpus() == ["2", "5"]
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
        assert gpus() == []

    @pytest.mark.parametrize(("gpu", "room"), [(0.1, 20), (0.5, 4), (0.6, 2), (1, 2), (2, 1)])
    def test_room(self, gpu: float, room: int) -> None:
        assert LocalProcesses(1, gpu).room() == room

    def test_runs_share_one_and_give_it_back(self) -> None:
        engine = LocalProcesses(1, 0.5)

        def begin() -> Any:
            return engine.begin({}, print)

        first, second, third = begin(), begin(), begin()
        assert [one.gpus for one in (first, second, third)] == [["2"], ["5"], ["2"]]
        assert third.job["environment"] == {"CUDA_VISIBLE_DEVICES": "2"}
        engine.end(second)
        assert begin().gpus == ["5"]

    def test_more_than_one_each(self) -> None:
        engine = LocalProcesses(1, 2)
        process: Any = engine.begin({}, print)
        assert process.job["environment"] == {"CUDA_VISIBLE_DEVICES": "2,5"}


def test_a_run_has_one_thread_unless_the_user_says_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = threads_of_a_run()
    assert (found["OMP_NUM_THREADS"], found["MKL_NUM_THREADS"]) == ("3", "1")
