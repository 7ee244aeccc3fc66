"""Videos: decoded again, and never in the way of a training."""

import contextlib
import os
import resource
import shutil
import struct
import subprocess
import sys

import av
import gymnasium as gym
import numpy as np
import pytest

from gym_loop.errors import RecordingError, RenderError
from gym_loop.runs import recording
from gym_loop.runs.recording import VideoRecorder, check_recording, is_recorded

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "brown": (200, 120, 40)}


class Scripted(gym.Env):
    """Renders what it is given, one after the other; raises what is an exception."""

    render_mode = "rgb_array"

    def __init__(self, frames):
        self.metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 20}
        self.frames = iter(frames)

    def render(self):
        frame = next(self.frames)
        if isinstance(frame, Exception):
            raise frame
        return frame


def picture(height=40, width=60, value=128):
    return np.full((height, width, 3), value, np.uint8)


def record_one(env, directory, captures, **options):
    """Record episode 0: one frame at its begin, and ``captures`` more."""
    heard = []
    recorder = VideoRecorder(env, directory, 1, heard.append, **options)
    begun = recorder.begin(0, 0)
    for _ in range(captures):
        recorder.capture()
    recorder.end()
    return begun, heard


def decoded(path):
    """Facts of a video, and its frames as RGB."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        facts = {
            "codec": stream.codec_context.name,
            "pixels": stream.codec_context.pix_fmt,
            "colours": stream.codec_context.colorspace,
            "size": (stream.width, stream.height),
            "fps": float(stream.average_rate),
        }
        frames = [rgb(frame.to_ndarray()) for frame in container.decode(video=0)]
    return facts, frames


def rgb(planes):
    """RGB of planar yuv420p [1.5 H, W], by the formulas of BT.709 in its limited range."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    luma, *chroma = np.split(planes.ravel() / 1.0, [height * width, height * width * 5 // 4])
    y = (luma.reshape(height, width) - 16) / 219
    cb, cr = (
        (plane.reshape(height // 2, width // 2).repeat(2, 0).repeat(2, 1) - 128) / 224
        for plane in chroma
    )
    red, blue = y + 1.5748 * cr, y + 1.8556 * cb
    green = (y - 0.2126 * red - 0.0722 * blue) / 0.7152
    return 255 * np.stack([red, green, blue], axis=-1).clip(0, 1)


def boxes(path):
    """Names of an mp4 file's top-level boxes, in order."""
    data, names = path.read_bytes(), []
    while data:
        size, name = struct.unpack(">I4s", data[:8])
        names.append(name.decode())
        data = data[size:]
    return names


@contextlib.contextmanager
def largest_file(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# -- which episodes ----------------------------------------------------------------------------


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


def test_cartpole_is_recorded_as_a_browser_wants_it(tmp_path):
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    heard = []
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


# -- what goes wrong during training ---------------------------------------------------------------


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
    heard = []
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
    heard = []
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
    heard = []
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
