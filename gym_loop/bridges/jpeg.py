"""Frames of an environment as JPEG."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from gym_loop.bridges.problems import EnvFailed
from gym_loop.errors import BridgeProtocolError

_QUALITY = 3  # FFmpeg's scale: 2 is the best, 31 the worst


def to_jpeg(frame: Any) -> bytes:
    """Compress one frame.

    Args:
        frame: uint8 ``[height, width, 3]``, ``[height, width, 4]`` or ``[height, width]``.

    Raises:
        EnvFailed: it is no such frame.
    """
    import av

    picture = _as_rgb(frame)
    height, width = picture.shape[:2]
    codec: Any = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuvj420p"
    codec.time_base = Fraction(1, 25)
    codec.options = {"qmin": str(_QUALITY), "qmax": str(_QUALITY)}
    image = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    packets = [*codec.encode(image.reformat(format="yuvj420p")), *codec.encode(None)]
    return b"".join(map(bytes, packets))


def from_jpeg(data: bytes) -> np.ndarray[Any, Any]:
    """Read one frame, uint8 ``[height, width, 3]``.

    Raises:
        BridgeProtocolError: it is none.
    """
    import av

    try:
        codec: Any = av.CodecContext.create("mjpeg", "r")
        (image,) = codec.decode(av.Packet(data))
        picture: np.ndarray[Any, Any] = image.to_ndarray(format="rgb24")
    except (av.FFmpegError, TypeError, ValueError) as error:
        raise BridgeProtocolError(f"a frame is no JPEG: {error}") from None
    return picture


def _as_rgb(frame: Any) -> np.ndarray[Any, Any]:
    fits = isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and 0 not in frame.shape
    if fits and frame.ndim == 2:
        return np.repeat(frame[:, :, None], 3, axis=2)
    if not fits or frame.ndim != 3 or frame.shape[2] not in (3, 4):
        what = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame)
        raise EnvFailed(f"a frame of {what} is no picture; ask for it without jpeg")
    colours: np.ndarray[Any, Any] = frame[:, :, :3]
    return colours
