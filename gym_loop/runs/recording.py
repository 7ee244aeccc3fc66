"""Videos of episodes: mp4 files that play in a browser."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from gym_loop.errors import GymLoopError, RecordingError, RenderError
from gym_loop.wire.pictures import Frame, as_rgb

DEFAULT_FPS = 30.0
# The first that this build of FFmpeg has. On 600x400 frames of CartPole, x264's "veryfast"
# costs 1.2 ms a frame ("ultrafast" 0.7 ms and three times the bytes), rendering them 2.6 ms.
ENCODERS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast", "crf": "23"},
    "libopenh264": {"b": "2000000"},
}
BT709 = 1  # FFmpeg's number for this colour space, its primaries and its transfer
LIMITED_RANGE = 1

CUBES = frozenset(number**3 for number in range(10))


def is_recorded(episode: int, record: bool | int) -> bool:
    """Tell whether an episode is to be recorded.

    Args:
        episode: number of the episode, from 0.
        record: True: episodes 0, 1, 8, 27... (cubes) below 1000, then every 1000th; a
            number N: every N-th; False or 0: none.
    """
    if record is True:
        return episode in CUBES if episode < 1000 else episode % 1000 == 0
    return record > 0 and episode % record == 0


class VideoRecorder:
    """Records chosen episodes of an environment, one file each.

    A failure never reaches the training: the video of that episode is dropped, and the
    reason is said once. A file has its name only when it is complete.

    Args:
        env: the environment, made with ``render_mode="rgb_array"``.
        directory: where the videos go; made when the first one begins.
        record: which episodes; see `is_recorded`.
        warn: called with one sentence when a video is dropped.
        fps: frames a second; by default what the environment's metadata says, else 30.
        prefix: begins every file name.
    """

    def __init__(
        self,
        env: Any,
        directory: Path,
        record: bool | int,
        warn: Callable[[str], None],
        fps: float | None = None,
        prefix: str = "",
    ) -> None:
        self._env = env
        self._directory = Path(directory)
        self._record = record
        self._warn = warn
        self._fps = _frame_rate(env) if fps is None else fps
        self._prefix = prefix
        self._name = ""
        self._video: _Video | None = None
        self._warned: set[tuple[type, type]] = set()

    def film(self, env: Any) -> None:
        """Take the frames of another environment from now on."""
        self.end()
        self._env = env

    @property
    def recording(self) -> bool:
        """An episode is being recorded."""
        return self._video is not None

    @property
    def failed(self) -> bool:
        """A video was dropped."""
        return bool(self._warned)

    def begin(self, episode: int, step: int) -> bool:
        """Begin an episode, just after its reset; return whether it is recorded.

        Only then must ``capture`` be called after every step.
        """
        self.end()
        if not is_recorded(episode, self._record):
            return False
        self._name = f"{self._prefix}episode-{episode:06d}-step-{step:09d}.mp4"
        with self._or_no_video():
            self._directory.mkdir(parents=True, exist_ok=True)
            self._video = _Video(self._directory / self._name, self._fps)
        self.capture()
        return self.recording

    def capture(self) -> None:
        """Take one frame of the episode."""
        if self._video is not None:
            with self._or_no_video():
                self._video.write(_rendered(self._env))

    def end(self) -> None:
        """Finish the episode's file."""
        if self._video is not None:
            with self._or_no_video():
                self._video.finish()
                self._video = None

    close = end  # of an episode that is under way

    @contextmanager
    def _or_no_video(self) -> Iterator[None]:
        """Drop the video if something fails, and say why once."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a video must not stop a training
            if self._video is not None:
                self._video.discard()
                self._video = None
            kind = type(error), type(error.__cause__)
            if kind not in self._warned:
                self._warned.add(kind)
                reason = str(error) if isinstance(error, GymLoopError) else _described(error)
                self._warn(
                    f"no video {self._directory / self._name}: {reason}"
                    " (later videos that fail like this are left out silently)"
                )


def check_recording(env: Any, directory: Path | None = None) -> None:
    """Render and encode one frame, so that what cannot work is known before the training.

    Args:
        env: the environment to record; it has been reset.
        directory: where the videos will go; nothing is left there. None leaves it unchecked.

    Raises:
        RenderError: the environment gives no frames.
        RecordingError: they cannot be encoded, or not be written there.
    """
    frame = _rendered(env)
    try:
        with tempfile.TemporaryDirectory(dir=directory and _nearest_existing(directory)) as place:
            video = _Video(Path(place) / "check.mp4", _frame_rate(env))
            video.write(frame)
            video.finish()
    except GymLoopError:
        raise
    except Exception as error:  # whatever the operating system or the encoder refuses
        raise RecordingError(
            f"a video cannot be written to {directory or tempfile.gettempdir()}:"
            f" {_described(error)}; choose another directory, or set record: false"
        ) from error


class _Video:
    """One mp4 file (H.264, yuv420p, its index at the front), encoded frame by frame.

    Until it is finished, its name begins with a dot.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.part")
        self._rate = Fraction(fps).limit_denominator(1001)
        self._shape: tuple[int, ...] = ()
        self._container: Any = None  # opened with the first frame, which tells the size
        self._stream: Any = None
        self._converter: Any = None

    def write(self, frame: Frame) -> None:
        """Encode one frame [height, width, 3].

        Raises:
            RecordingError: there is no encoder, or the frame has another size than the first.
        """
        av = _import_av()
        if self._container is None:
            self._open(frame.shape)
        elif frame.shape != self._shape:
            (height, width, _), (new_height, new_width, _) = self._shape, frame.shape
            raise RecordingError(
                f"the frames changed from {width}x{height} to {new_width}x{new_height} pixels;"
                " an environment must keep its size during an episode"
            )
        # One converter for all frames, and one thread: 0.44 ms a frame in place of 0.73.
        picture = self._converter.reformat(
            av.VideoFrame.from_ndarray(_padded(frame), format="rgb24"),
            format="yuv420p",
            dst_colorspace=BT709,
            dst_color_range=LIMITED_RANGE,
            threads=1,
        )
        self._container.mux(self._stream.encode(picture))

    def finish(self) -> None:
        """Write what the encoder still holds, and give the file its name."""
        if self._container is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            os.replace(self._temporary, self._path)

    def discard(self) -> None:
        """Leave no file behind."""
        with suppress(Exception):  # it has failed already, for the reason reported
            if self._container is not None:
                self._container.close()
        with suppress(OSError):  # the directory is out of reach: nothing more can be done there
            self._temporary.unlink(missing_ok=True)

    def _open(self, shape: tuple[int, ...]) -> None:
        av = _import_av()
        encoder = next((name for name in ENCODERS if name in av.codecs_available), None)
        if encoder is None:
            raise RecordingError(
                "this build of FFmpeg has no H.264 encoder; install PyAV's own wheel"
                " (pip install --force-reinstall --only-binary av av) or set record: false"
            )
        height, width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
        self._container = av.open(
            str(self._temporary), "w", format="mp4", options={"movflags": "faststart"}
        )
        stream = self._container.add_stream(encoder, rate=self._rate, options=ENCODERS[encoder])
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        codec = stream.codec_context
        codec.thread_count = 1  # measured: faster than several at these sizes
        codec.colorspace = codec.color_primaries = codec.color_trc = BT709
        codec.color_range = LIMITED_RANGE
        self._shape, self._stream = shape, stream
        self._converter = av.video.reformatter.VideoReformatter()


def _padded(frame: Frame) -> Frame:
    """Repeat the last row and column of an odd size: yuv420p needs even ones."""
    height, width = frame.shape[0] % 2, frame.shape[1] % 2
    if height or width:
        return np.pad(frame, ((0, height), (0, width), (0, 0)), "edge")
    return np.ascontiguousarray(frame)


def _import_av() -> Any:
    """PyAV, imported only by those who record."""
    try:
        import av
    except ImportError as error:
        raise RecordingError(
            f"videos need PyAV, which cannot be imported ({error}): pip install av,"
            " or set record: false"
        ) from error
    return av


def _rendered(env: Any) -> Frame:
    """Render one frame [height, width, 3].

    Raises:
        RenderError: there is none.
    """
    spec = getattr(env, "spec", None)
    name = spec.id if spec is not None else type(getattr(env, "unwrapped", env)).__name__
    mode = getattr(env, "render_mode", None)
    modes = (getattr(env, "metadata", None) or {}).get("render_modes") or []
    # An environment that forgot to keep its render mode (None) may still give frames.
    if mode not in ("rgb_array", None) or (mode is None and "rgb_array" not in modes):
        raise RenderError(
            f"{name} gives no frames: its render mode is {mode}, of"
            f" {', '.join(map(str, modes)) or 'none'}; make it with render_mode rgb_array,"
            " or set record: false"
        )
    try:
        frame = env.render()
    except Exception as error:
        raise RenderError(
            f"{name} could not render: {_described(error)}{_remedy(error)}"
        ) from error
    if not isinstance(frame, np.ndarray):
        raise RenderError(
            f"{name}.render() returned {type(frame).__name__} in render mode {mode}, not an"
            " array of one frame; make it with render_mode rgb_array, or set record: false"
        )
    try:
        return as_rgb(frame)
    except ValueError:
        raise RenderError(
            f"{name}.render() returned a frame of shape {frame.shape} and type {frame.dtype};"
            " needed is uint8 of (height, width, 3), (height, width, 4) or (height, width);"
            " mend the environment or set record: false"
        ) from None


def _remedy(error: Exception) -> str:
    """What to do about the usual reasons for which an environment cannot render."""
    text = f"{type(error).__name__} {error}".lower()
    if "pip install" in text:
        return ""
    if "pygame" in text:
        return "; pip install 'gymnasium[classic-control]', or set record: false"
    if isinstance(error, ImportError):
        return f"; pip install {error.name or 'what is missing'}, or set record: false"
    if any(word in text for word in ("display", "egl", "opengl", "glfw", "osmesa", "gladload")):
        return (
            "; without a display set MUJOCO_GL=egl (or osmesa) for MuJoCo and"
            " SDL_VIDEODRIVER=dummy for pygame, or set record: false"
        )
    return "; mend the environment or set record: false"


def _frame_rate(env: Any) -> float:
    rate = (getattr(env, "metadata", None) or {}).get("render_fps")
    if isinstance(rate, (int, float, np.number)) and 0.1 <= rate <= 1000:
        return float(rate)
    return DEFAULT_FPS


def _nearest_existing(directory: Path) -> Path:
    directory = Path(directory).absolute()
    return next(place for place in (directory, *directory.parents) if place.is_dir())


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
