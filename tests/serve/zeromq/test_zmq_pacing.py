"""Clocks without drift, on a clock that the test turns; snapshots that belong together."""

import logging
import random

import pytest

from gym_loop.serve.zeromq.board import KEPT, Board
from gym_loop.serve.zeromq.pacing import MOST_BEHIND, Complaints, Pacer

LOG = logging.getLogger("gym_loop.test_zmq_pacing")


class Clock:
    """A time that passes only when someone sleeps or works; sleeping takes a little too long."""

    def __init__(self, oversleep: float = 0.0) -> None:
        self.now = 100.0
        self.oversleep = oversleep
        self.ended = False

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> bool:
        self.now += seconds + (self.oversleep if seconds else 0.0)
        return self.ended


def pacer_on(clock: Clock, interval: float = 0.02, tolerance: float = 0.01) -> Pacer:
    late = Complaints(LOG, "late ticks", clock=clock)
    return Pacer("test", interval, clock.now, late, tolerance, clock.sleep, clock)


def test_ten_thousand_ticks_keep_the_interval() -> None:
    clock, noise = Clock(oversleep=0.0007), random.Random(1)
    pacer = pacer_on(clock)
    start = clock.now
    for _ in range(10_000):
        assert pacer.wait()
        clock.now += noise.uniform(0.0, 0.015)  # the work of a tick
    mean = (pacer.deadline - start) / 10_000
    assert mean == pytest.approx(0.02, rel=1e-9)
    assert abs(clock.now - pacer.deadline) < 0.02
    assert pacer.ticks == 10_000
    assert pacer.late.count == pacer.skipped == 0


def test_a_late_tick_is_counted_logged_and_caught_up(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    pacer = pacer_on(clock)
    pacer.wait()
    first = pacer.deadline
    clock.now += 0.075
    for _ in range(6):
        pacer.wait()
    # Due after 20, 40 and 60 ms; the next ones are on time again, on the same grid.
    assert pacer.late.count == 3
    assert pacer.worst == pytest.approx(0.055)
    assert clock.now == pytest.approx(first + 6 * 0.02)
    assert "test: a tick came 55.0 ms late (late ticks so far: 1)" in caplog.text
    assert len(caplog.records) == 1  # one line in ten seconds


def test_a_tick_within_the_tolerance_is_not_late() -> None:
    clock = Clock(oversleep=0.0099)
    pacer = pacer_on(clock)
    for _ in range(5):
        pacer.wait()
    assert pacer.late.count == 0


def test_a_long_stall_is_not_caught_up_but_skipped(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    pacer = pacer_on(clock)
    pacer.wait()
    first = pacer.deadline
    clock.now += 0.02 * (MOST_BEHIND + 10) + 0.005
    pacer.wait()
    assert pacer.skipped == MOST_BEHIND + 9
    assert "34 ticks were left out" in caplog.text
    pacer.wait()
    ticks = (clock.now - first) / 0.02
    assert ticks == pytest.approx(round(ticks), abs=1e-6)  # still on the grid
    assert pacer.late.count == 1


def test_a_pause_takes_the_place_of_one_interval() -> None:
    clock = Clock()
    pacer = pacer_on(clock)
    pacer.wait()
    first = clock.now
    pacer.wait(0.4)
    assert clock.now == pytest.approx(first + 0.4)
    pacer.wait()
    assert clock.now == pytest.approx(first + 0.42)


def test_a_pacer_ends_when_told() -> None:
    clock = Clock()
    pacer = pacer_on(clock)
    clock.ended = True
    assert not pacer.wait()
    assert pacer.ticks == 0


def test_complaints_count_everything_and_log_little(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    complaints = Complaints(LOG, "things", pause=10.0, clock=clock)
    for _ in range(5):
        complaints.add("odd")
        clock.now += 4.0
    assert complaints.count == 5
    assert [record.getMessage() for record in caplog.records] == [
        "odd (things so far: 1)",
        "odd (things so far: 4)",
    ]


def test_two_streams_send_what_was_up_at_their_tick() -> None:
    clock = Clock()
    board = Board(clock, lambda: clock.now + 1000.0)
    board.publish("o0", "r0")
    clock.now += 1.0
    board.publish("o1", "r1")
    moment = clock.now + 0.5
    clock.now += 1.0
    board.publish("o2", "r2")  # between the two streams' looks
    assert board.at(moment).observation == "o1"
    assert board.at(moment).reward == "r1"
    assert board.at(clock.now).reward == "r2"
    assert board.at(0.0).reward == "r0"
    assert board.at(moment).offset == pytest.approx(1000.0)


def test_the_board_forgets_what_is_old() -> None:
    clock = Clock()
    board = Board(clock, clock)
    for number in range(KEPT + 5):
        clock.now += 1.0
        board.publish(str(number), "")
    assert board.at(0.0).observation == "5"
