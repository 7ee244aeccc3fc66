"""Videos that cannot be recorded: refused before a training, and never in the way of one."""

import os
import shutil
import sys

import gymnasium as gym
import numpy as np
import pytest

from gym_loop.errors import RecordingError, RenderError
from gym_loop.runs import recording
from gym_loop.runs.recording import VideoRecorder, check_recording
from tests.runs.full_disk import largest_file
from tests.runs.videos import Scripted, decoded, picture, record_one

# -- before the training ---------------------------------------------------------------------------


def test_a_check_that_passes_leaves_nothing_behind(tmp_path):
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    env.reset(seed=0)
    check_recording(env, tmp_path / "not" / "yet")
    check_recording(env)
    env.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", ["human", "ansi", "rgb_array_list"])
def test_an_environment_in_another_render_mode_is_refused(tmp_path, mode):
    env = Scripted([picture()])
    env.render_mode = mode
    with pytest.raises(RenderError, match=f"Scripted gives no frames: its render mode is {mode}"):
        check_recording(env, tmp_path)


def test_an_environment_without_frames_is_refused(tmp_path):
    env = gym.make("FrozenLake-v1", render_mode="ansi")
    env.reset(seed=0)
    with pytest.raises(RenderError, match=r"FrozenLake-v1 .* record: false"):
        check_recording(env, tmp_path)
    env = Scripted([picture()])
    env.render_mode, env.metadata = None, {"render_modes": ["ansi"]}
    with pytest.raises(RenderError, match=r"render mode is None, of ansi"):
        check_recording(env, tmp_path)


def test_an_environment_that_forgot_its_render_mode_is_taken(tmp_path):
    env = Scripted([picture()])
    env.render_mode = None
    check_recording(env, tmp_path)
    assert next(env.frames, "all used") == "all used"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (None, "returned NoneType in render mode rgb_array"),
        ("text", "returned str"),
        (np.zeros((2, 3, 4, 3), np.uint8), r"shape \(2, 3, 4, 3\)"),
        (
            gym.error.DependencyNotInstalled("pygame is missing, run `pip install x`"),
            "pip install x",
        ),
        (ModuleNotFoundError("No module named 'pygame'", name="pygame"), r"gymnasium\[classic"),
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), "pip install cv2"),
        (RuntimeError("X11: the DISPLAY variable is missing"), "MUJOCO_GL=egl"),
        (ValueError("odd"), "ValueError: odd; mend the environment or set record: false"),
    ],
)
def test_an_environment_that_cannot_render_is_named_with_a_remedy(tmp_path, frame, message):
    with pytest.raises(RenderError, match=message):
        check_recording(Scripted([frame]), tmp_path)


def test_a_directory_that_cannot_be_written_is_refused(tmp_path):
    with largest_file(100), pytest.raises(RecordingError, match=r"cannot be written to .*videos"):
        check_recording(Scripted([picture()]), tmp_path / "videos")
    assert os.listdir(tmp_path) == []


def test_a_missing_encoder_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "ENCODERS", {"no-such-encoder": {}})
    with pytest.raises(RecordingError, match=r"no H.264 encoder.*pip install"):
        check_recording(Scripted([picture()]), tmp_path)


def test_a_missing_pyav_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(RecordingError, match="pip install av"):
        check_recording(Scripted([picture()]), tmp_path)
    begun, heard = record_one(Scripted([picture()]), tmp_path, 1)
    assert not begun
    assert "pip install av" in heard[0]


# -- during the training ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([picture(), picture(20, 20)], "changed from 60x40 to 20x20"),
        ([picture(), None], "returned NoneType"),
        ([picture(), [picture()]], "returned list"),
        ([picture(), picture().astype(np.float32)], "type float32"),
        ([picture(), np.zeros((3, 40, 60), np.uint8)], r"shape (3, 40, 60)"),
        ([picture(), np.zeros((0, 60, 3), np.uint8)], r"shape (0, 60, 3)"),
        ([picture(), ZeroDivisionError("by zero")], "ZeroDivisionError: by zero"),
        ([None], "returned NoneType"),
    ],
)
def test_a_failure_drops_the_video_and_is_said_once(tmp_path, frames, reason):
    heard: list[str] = []
    recorder = VideoRecorder(
        Scripted([*frames, *frames, *[picture()] * 3]), tmp_path, 1, heard.append
    )
    for episode in range(2):
        assert recorder.begin(episode, episode) == (len(frames) == 2)
        if len(frames) == 2:
            recorder.capture()
        assert not recorder.recording
        recorder.capture()
        recorder.end()
    assert len(heard) == 1
    assert reason in heard[0]
    assert str(tmp_path / "episode-000000-step-000000000.mp4") in heard[0]
    assert os.listdir(tmp_path) == []
    assert recorder.begin(2, 2)
    recorder.capture()
    recorder.end()
    assert len(decoded(tmp_path / "episode-000002-step-000000002.mp4")[1]) == 2


def test_a_full_disk_drops_the_video(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 120, 160, 3), dtype=np.uint8)
    env = Scripted([*noise, *noise])
    heard: list[str] = []
    recorder = VideoRecorder(env, tmp_path, 1, heard.append)
    with largest_file(8192):
        assert recorder.begin(0, 0)
        for _ in range(39):
            recorder.capture()
        recorder.end()
    assert len(heard) == 1
    assert "too large" in heard[0]
    assert os.listdir(tmp_path) == []
    assert recorder.begin(1, 39)
    recorder.close()
    assert os.listdir(tmp_path) == ["episode-000001-step-000000039.mp4"]
    assert len(heard) == 1


def test_a_directory_that_cannot_be_made_drops_the_video(tmp_path):
    (tmp_path / "file").write_text("in the way")
    begun, heard = record_one(Scripted([picture()] * 3), tmp_path / "file" / "videos", 2)
    assert not begun
    assert len(heard) == 1
    assert "file" in heard[0]


@pytest.mark.parametrize("captures", [1, 90])
def test_a_directory_that_vanishes_drops_the_video(tmp_path, captures):
    heard: list[str] = []
    recorder = VideoRecorder(Scripted([picture()] * 99), tmp_path / "videos", 1, heard.append)
    recorder.begin(0, 0)
    for _ in range(captures):
        recorder.capture()
    shutil.rmtree(tmp_path / "videos")
    recorder.capture()
    recorder.end()
    assert len(heard) == 1
    assert "FileNotFoundError" in heard[0]
    assert not recorder.recording
