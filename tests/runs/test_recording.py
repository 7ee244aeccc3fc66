"""Which episodes are recorded, and their videos, decoded again."""

import os
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from gym_loop.runs import recording
from gym_loop.runs.recording import VideoRecorder, is_recorded
from tests.runs.videos import Scripted, boxes, decoded, picture, record_one


def test_true_records_cubes_below_1000_and_then_every_1000th():
    assert [episode for episode in range(3500) if is_recorded(episode, True)] == [
        *[number**3 for number in range(10)],
        *[1000, 2000, 3000],
    ]


@pytest.mark.parametrize(
    ("record", "episodes"),
    [(1, [0, 1, 2, 3, 4, 5, 6]), (3, [0, 3, 6]), (0, []), (False, []), (100, [0])],
)
def test_a_number_records_every_nth(record, episodes):
    assert [episode for episode in range(7) if is_recorded(episode, record)] == episodes


# -- the files -------------------------------------------------------------------------------------

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "brown": (200, 120, 40)}


def test_cartpole_is_recorded_as_a_browser_wants_it(tmp_path):
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    heard: list[str] = []
    recorder = VideoRecorder(env, tmp_path / "videos", True, heard.append)
    steps, lengths, begun = 0, {}, []
    for episode in range(10):
        env.reset(seed=episode)
        begun.append(recorder.begin(episode, steps))
        assert recorder.recording == begun[-1]
        lengths[episode] = (steps, 1)
        over = False
        while not over:
            _, _, terminated, truncated, _ = env.step(steps % 2)
            over = terminated or truncated
            steps += 1
            lengths[episode] = (lengths[episode][0], lengths[episode][1] + 1)
            recorder.capture()
        recorder.end()
        assert not recorder.recording
    recorder.close()
    env.close()
    assert heard == []
    assert [episode for episode in range(10) if begun[episode]] == [0, 1, 8]
    assert sorted(os.listdir(tmp_path / "videos")) == [
        f"episode-{episode:06d}-step-{lengths[episode][0]:09d}.mp4" for episode in (0, 1, 8)
    ]
    for episode in (0, 1, 8):
        path = tmp_path / "videos" / f"episode-{episode:06d}-step-{lengths[episode][0]:09d}.mp4"
        facts, frames = decoded(path)
        assert facts == {
            "codec": "h264",
            "pixels": "yuv420p",
            "colours": 1,  # BT.709
            "size": (600, 400),
            "fps": 50.0,
        }
        assert len(frames) == lengths[episode][1]
        assert boxes(path).index("moov") < boxes(path).index("mdat")


def test_colours_come_back(tmp_path):
    frames = []
    for colour in COLOURS.values():
        frame = np.zeros((64, 96, 3), np.uint8)
        frame[:, :48] = colour
        frames.append(frame)
    assert record_one(Scripted(frames), tmp_path, 3) == (True, [])
    _, read = decoded(tmp_path / "episode-000000-step-000000000.mp4")
    for frame, colour in zip(read, COLOURS.values(), strict=True):
        assert np.abs(frame[:, 4:44] - colour).mean() < 4
        assert frame[:, 52:].mean() < 4


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((41, 61, 3), (62, 42)),
        ((40, 61, 3), (62, 40)),
        ((41, 60, 3), (60, 42)),
        ((1, 1, 3), (2, 2)),
        ((41, 61), (62, 42)),
        ((40, 60, 1), (60, 40)),
        ((40, 60, 4), (60, 40)),
    ],
)
def test_odd_sizes_are_padded_and_grey_and_transparent_frames_taken(tmp_path, shape, size):
    frames = [np.full(shape, value, np.uint8) for value in (30, 200)]
    assert record_one(Scripted(frames), tmp_path, 1) == (True, [])
    facts, read = decoded(tmp_path / "episode-000000-step-000000000.mp4")
    assert facts["size"] == size
    assert [frame.shape[:2][::-1] for frame in read] == [size, size]
    for frame, value in zip(read, (30, 200), strict=True):
        assert np.abs(frame - value).max() < 8


def test_a_frame_that_the_environment_reuses_or_turns_is_recorded_as_it_was(tmp_path):
    class Reusing(Scripted):
        def __init__(self):
            self.buffer = np.zeros((40, 60, 3), np.uint8)

        def render(self):
            self.buffer[:20] = min(255, int(self.buffer[0, 0, 0]) + 50)
            return self.buffer[::-1]

    assert record_one(Reusing(), tmp_path, 3) == (True, [])
    _, read = decoded(tmp_path / "episode-000000-step-000000000.mp4")
    assert [round(frame[25:].mean() / 50) for frame in read] == [1, 2, 3, 4]
    assert all(frame[:15].mean() < 5 for frame in read)


@pytest.mark.parametrize(
    ("metadata", "option", "fps"),
    [
        ({"render_fps": 20}, None, 20),
        ({"render_fps": 20}, 12.5, 12.5),
        ({"render_fps": np.int64(24)}, None, 24),
        ({"render_fps": 29.97}, None, 29.97),
        ({"render_fps": None}, None, 30),
        ({"render_fps": 0}, None, 30),
        ({"render_fps": float("nan")}, None, 30),
        ({"render_fps": "fast"}, None, 30),
        ({}, None, 30),
        (None, None, 30),
    ],
)
def test_frames_a_second(tmp_path, metadata, option, fps):
    env = Scripted([picture(value=value) for value in range(0, 250, 10)])
    env.metadata = metadata
    assert record_one(env, tmp_path, 24, fps=option) == (True, [])
    facts, read = decoded(tmp_path / "episode-000000-step-000000000.mp4")
    assert facts["fps"] == pytest.approx(fps, rel=1e-3)
    assert len(read) == 25


def test_a_video_has_its_name_only_when_it_is_complete(tmp_path):
    recorder = VideoRecorder(Scripted([picture()] * 99), tmp_path, 2, pytest.fail, prefix="eval-")
    assert recorder.begin(4, 1600)
    for _ in range(90):  # more than the encoder keeps back
        recorder.capture()
    assert os.listdir(tmp_path) == [".eval-episode-000004-step-000001600.mp4.part"]
    recorder.close()
    assert os.listdir(tmp_path) == ["eval-episode-000004-step-000001600.mp4"]
    recorder.close()
    recorder.capture()
    assert not recorder.begin(5, 1700)
    assert len(os.listdir(tmp_path)) == 1


def test_an_episode_that_was_not_ended_is_finished_by_the_next(tmp_path):
    recorder = VideoRecorder(Scripted([picture()] * 9), tmp_path, 1, pytest.fail)
    recorder.begin(0, 0)
    recorder.capture()
    recorder.begin(1, 1)
    recorder.close()
    assert [len(decoded(tmp_path / name)[1]) for name in sorted(os.listdir(tmp_path))] == [2, 1]


def test_a_recording_again_after_a_kill_replaces_what_was_left(tmp_path):
    name = "episode-000000-step-000000000.mp4"
    (tmp_path / name).write_bytes(b"old")
    (tmp_path / f".{name}.part").write_bytes(b"half" * 10_000)
    assert record_one(Scripted([picture()] * 3), tmp_path, 2) == (True, [])
    assert os.listdir(tmp_path) == [name]
    assert len(decoded(tmp_path / name)[1]) == 3


MEMORY = """
import pathlib, resource, sys
import numpy as np
from gym_loop.runs.recording import VideoRecorder

class Env:
    render_mode = "rgb_array"
    metadata = {}
    def render(self):
        return np.full((480, 640, 3), np.random.randint(255), np.uint8)

recorder = VideoRecorder(Env(), pathlib.Path(sys.argv[1]), 1, sys.exit)
recorder.begin(0, 0)
for frames in (60, 400):
    for _ in range(frames):
        recorder.capture()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
recorder.close()
"""


def test_memory_stays_flat_over_a_long_episode(tmp_path):
    output = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, check=True
    )
    before, after = map(int, output.stdout.split())
    assert after < 1.3 * before  # the frames in between would be 370 MB
    assert len(os.listdir(tmp_path)) == 1


def test_another_encoder_is_used_where_x264_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "ENCODERS", {"no-such-encoder": {}, "mpeg4": {"b": "500000"}})
    assert record_one(Scripted([picture()] * 3), tmp_path, 2) == (True, [])
    facts, read = decoded(tmp_path / "episode-000000-step-000000000.mp4")
    assert facts["codec"] == "mpeg4"
    assert len(read) == 3
