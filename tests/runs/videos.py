"""An environment that renders what it is told to, and videos decoded again."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import gymnasium as gym
import numpy as np

from gym_loop.runs.recording import VideoRecorder


class Scripted(gym.Env):
    """Renders what it is given, one after the other; raises what is an exception."""

    render_mode: str | None = "rgb_array"

    def __init__(self, frames: Iterable[Any]) -> None:
        self.metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 20}
        self.frames = iter(frames)

    def render(self) -> Any:
        frame = next(self.frames)
        if isinstance(frame, Exception):
            raise frame
        return frame


def picture(height: int = 40, width: int = 60, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def record_one(env: Any, directory: Path, captures: int, **options: Any) -> tuple[bool, list[str]]:
    """Record episode 0: one frame at its begin, and ``captures`` more."""
    heard: list[str] = []
    recorder = VideoRecorder(env, directory, 1, heard.append, **options)
    begun = recorder.begin(0, 0)
    for _ in range(captures):
        recorder.capture()
    recorder.end()
    return begun, heard


def decoded(path: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
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


def rgb(planes: np.ndarray) -> np.ndarray:
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


def boxes(path: Path) -> list[str]:
    """Names of an mp4 file's top-level boxes, in order."""
    data, names = path.read_bytes(), []
    while data:
        size, name = struct.unpack(">I4s", data[:8])
        names.append(name.decode())
        data = data[size:]
    return names
