"""Stacks of frames in the replay buffer are stored frame by frame and come back whole."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from gym_loop.checkpoints.tree import capture, first_difference, restore
from gym_loop.nn.buffers.frames import FrameStore
from gym_loop.nn.buffers.prioritized import PrioritizedReplay
from gym_loop.nn.buffers.replay import Replay

SIDE = 5

ACTION = np.zeros(1, np.int64)  # of the one environment


class Stacks:
    """Copies of a game of noise that show their last K frames, and note all that they showed.

    Args:
        axis: of the frames in an observation; None for a picture without a stack.
        padding: what stands before an episode's first frame.
    """

    def __init__(
        self, axis: int | None, n_envs: int = 1, depth: int = 4, padding: str = "reset"
    ) -> None:
        self.rng = np.random.default_rng(3)
        self.axis, self.padding = axis, padding
        self.depth = 1 if axis is None else depth
        self.windows = [self.first() for _ in range(n_envs)]
        self.shown: list[tuple[np.ndarray, np.ndarray]] = []

    def frame(self) -> np.ndarray:
        return self.rng.integers(1, 256, (SIDE, SIDE), dtype=np.uint8)

    def first(self) -> np.ndarray:
        frame = self.frame()
        before = frame if self.padding == "reset" else np.zeros_like(frame)
        return np.stack([before] * (self.depth - 1) + [frame])

    def see(self) -> np.ndarray:
        windows = np.stack(self.windows)
        if self.axis is None:
            return windows[:, 0]
        return np.ascontiguousarray(np.moveaxis(windows, 1, 1 if self.axis == 0 else -1))

    def play(self, replay: Replay, steps: int, episode: int = 10**9) -> None:
        for _ in range(steps):
            before, n = self.see(), len(self.windows)
            self.windows = [np.stack([*window[1:], self.frame()]) for window in self.windows]
            after = self.see()
            self.shown += zip(before, after, strict=True)
            over = np.full(n, len(self.shown) // n % episode == 0)
            replay.add(before, np.zeros(n), np.arange(n), over & False, over, after)
            if over.any():
                self.windows = [self.first() for _ in self.windows]

    def agrees(self, replay: Replay) -> bool:
        """Whether every transition that the replay holds is as it was shown."""
        slots = replay.valid.nonzero()[0]
        batch = replay.batch(slots)
        laps = (len(self.shown) - 1 - slots) // replay.slots
        shown = [
            self.shown[slot + lap * replay.slots] for slot, lap in zip(slots, laps, strict=True)
        ]
        return all(
            np.array_equal(one, before) and np.array_equal(other, after)
            for one, other, (before, after) in zip(
                batch.observations, batch.next_observations, shown, strict=True
            )
        )


def make(game: Stacks, capacity: int, kind: type[Replay] = Replay, **options: Any) -> Replay:
    example = game.see()[0], np.zeros((), np.int64)
    return kind(capacity, len(game.windows), *example, frames=True, **options)


@pytest.mark.parametrize("padding", ["reset", "zero"])
@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("axis", [0, -1, None])
@pytest.mark.parametrize("episode", [1, 4, 1000])
def test_what_was_shown_comes_back(
    axis: int | None, n_envs: int, episode: int, padding: str
) -> None:
    game = Stacks(axis, n_envs, padding=padding)
    replay = make(game, 30)
    for _ in range(10):
        game.play(replay, 7, episode)
        assert replay.count == replay.valid.sum() > 0
        assert game.agrees(replay)
    least = {1: 0.3, 4: 0.6, 1000: 0.85}[episode]  # of episodes' first frames there are more
    assert len(replay) >= least * 30
    assert replay.sample(64, np.random.default_rng(0)).observations.shape[0] == 64


def test_frames_are_stored_once() -> None:
    game = Stacks(-1)
    replay = make(game, 100)
    game.play(replay, 100, 50)
    assert isinstance(replay.store, FrameStore)
    assert replay.store.written == 100 + 2  # and the first of each episode


@pytest.mark.parametrize("shape", [(84, 84, 4), (4, 84, 84)])
def test_bytes_of_a_transition(shape: tuple[int, ...]) -> None:
    slots, axis = 10_000, int(np.argmin(shape)) - 3
    replay = Replay(slots, 1, np.zeros(shape, np.uint8), np.zeros((), np.int64), frames=True)
    rng = np.random.default_rng(0)
    before = rng.integers(0, 256, shape, dtype=np.uint8)
    for _ in range(2):
        after = np.roll(before, -1, axis)
        np.moveaxis(after, axis, 0)[-1] = rng.integers(0, 256, (84, 84), dtype=np.uint8)
        replay.add(before[None], ACTION, 0.0, False, False, after[None])
        before = after
    arrays = {**vars(replay), **vars(replay.store)}.values()
    total = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
    assert total / slots <= 7200


def test_an_observation_that_is_no_stack_is_one_picture() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (6, 9, 9, 3), dtype=np.uint8)
    replay = Replay(10, 1, pictures[0], np.zeros((), np.int64), frames=True)
    for before, after in pairwise(pictures):
        replay.add(before[None], ACTION, 0.0, False, False, after[None])
    batch = replay.batch(np.arange(5))
    np.testing.assert_array_equal(batch.observations, pictures[:-1])
    np.testing.assert_array_equal(batch.next_observations, pictures[1:])
    assert isinstance(replay.store, FrameStore)
    assert replay.store.written == 6


def test_a_stack_that_stops_moving_by_one_frame_is_kept_all_the_same() -> None:
    game = Stacks(0)
    replay = make(game, 40)
    game.play(replay, 5)
    jump = np.random.default_rng(1).integers(0, 256, game.see().shape, dtype=np.uint8)
    last = game.see()
    game.shown.append((last[0], jump[0]))
    replay.add(last, ACTION, 0.0, False, False, jump)
    game.windows = [jump[0]]
    game.play(replay, 5)
    assert game.agrees(replay)
    assert len(replay) == 11


def test_copies_that_are_reset_in_place_of_a_step() -> None:
    game = Stacks(0, n_envs=2)
    replay = make(game, 12, n_steps=2)
    seen: dict[float, Any] = {}
    for step in range(40):
        envs = np.arange(2) if step % 5 else np.array([step % 2])
        before = game.see()[envs]
        for env in envs:
            game.windows[env] = np.stack([*game.windows[env][1:], game.frame()])
        after, marks = game.see()[envs], step * 2.0 + envs
        seen.update(zip(marks, zip(before, after, strict=True), strict=True))
        over = np.full(len(envs), step % 5 == 4)
        replay.add(before, envs, marks, over, over, after, None if len(envs) == 2 else envs)
        for slot in replay.valid.nonzero()[0]:
            found = replay.store.take(np.array([slot]))[0]
            np.testing.assert_array_equal(found, seen[replay.rewards[slot]][0])
            found = replay.store.take_next(np.array([slot]))[0]
            np.testing.assert_array_equal(found, seen[replay.rewards[slot]][1])
        assert len(replay) >= min(step, 4)


def test_a_copy_that_is_left_out_for_long() -> None:
    game = Stacks(0, n_envs=2)
    replay = make(game, 12)
    for _ in range(40):  # many laps with one copy alone
        before = game.see()[:1]
        game.windows[0] = np.stack([*game.windows[0][1:], game.frame()])
        replay.add(before, ACTION, 0.0, False, False, game.see()[:1], np.array([0]))
    assert replay.valid.nonzero()[0].tolist() == [0, 2, 4, 6, 8, 10]
    game.play(replay, 6)
    assert len(replay) == 12


def test_what_was_lost_is_never_drawn_by_priority() -> None:
    game = Stacks(0)
    replay = make(game, 30, PrioritizedReplay)
    game.play(replay, 100, 3)
    assert len(replay) < 30
    drawn = replay.sample(500, np.random.default_rng(0))
    assert set(drawn.slots) == set(replay.valid.nonzero()[0])


@pytest.mark.parametrize("steps", [0, 5, 75])
def test_goes_on_from_its_state(steps: int) -> None:
    game = Stacks(-1, 2)
    one, other = make(game, 40), make(game, 40)
    game.play(one, steps, 6)
    Stacks(-1, 2).play(other, 3)
    other.load_state_dict(restore(None, capture(one.state_dict())))
    twin = Stacks(-1, 2)
    twin.rng, twin.windows = np.random.default_rng(9), list(game.windows)
    twin.shown = list(game.shown)
    game.rng = np.random.default_rng(9)
    game.play(one, 10, 6)
    twin.play(other, 10, 6)
    assert not first_difference(capture(one.state_dict()), capture(other.state_dict()))
    assert game.agrees(other)
