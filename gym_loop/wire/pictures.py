"""Single pictures of environments, as JPEG: what a browser shows while it looks on."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]

QUALITY = 3  # FFmpeg's scale: 2 is the best, 31 the worst; CartPole's frame takes 6 kB
LONGEST = 1280  # pixels of a picture's longer side on a page
_BT601 = 5  # FFmpeg's number for the colours of JPEG
_FULL_RANGE = 2


def as_rgb(frame: Any) -> Frame:
    """Bring a frame, grey [H, W] or [H, W, 1], RGB or RGBA [H, W, 4], to [H, W, 3].

    Raises:
        ValueError: it is none of these.
    """
    if not isinstance(frame, np.ndarray):
        raise ValueError(f"a {type(frame).__name__} is no array of one frame")
    grey = frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 1)
    coloured = frame.ndim == 3 and frame.shape[2] in (3, 4)
    if frame.dtype != np.uint8 or not (grey or coloured) or 0 in frame.shape:
        raise ValueError(f"an array of shape {frame.shape} and type {frame.dtype} is no frame")
    if grey:
        return np.repeat(frame.reshape(*frame.shape[:2], 1), 3, axis=2)
    return frame[:, :, :3]


class JpegEncoder:
    """Encodes frame after frame; what it needs for their size is kept.

    Colours are not subsampled: the small pictures of arcade games would lose their edges.

    Args:
        longest: pixels of the longer side at most, larger frames are scaled down; None for any.
    """

    def __init__(self, longest: int | None = LONGEST) -> None:
        self._longest = longest
        self._shape: tuple[int, ...] = ()
        self._codec: Any = None
        self._converter: Any = None

    def encode(self, frame: Frame) -> bytes:
        """The JPEG file of a frame [H, W, 3]."""
        import av

        if frame.shape != self._shape:
            self._open(frame.shape)
        picture = self._converter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"),
            width=self._codec.width,
            height=self._codec.height,
            format=self._codec.pix_fmt,
            dst_colorspace=_BT601,
            dst_color_range=_FULL_RANGE,
            threads=1,
        )
        return b"".join(bytes(packet) for packet in self._codec.encode(picture))

    def _open(self, shape: tuple[int, ...]) -> None:
        import av

        height, width = shape[:2]
        scale = min(1.0, self._longest / max(height, width)) if self._longest else 1.0
        self._codec = codec = av.CodecContext.create("mjpeg", "w")
        codec.width, codec.height = max(1, int(width * scale)), max(1, int(height * scale))
        codec.pix_fmt = "yuvj444p"
        codec.time_base = Fraction(1, 25)
        codec.thread_count = 1  # more of them would hold frames back
        codec.qmin = codec.qmax = QUALITY
        self._converter = av.video.reformatter.VideoReformatter()
        self._shape = shape


def from_jpeg(data: bytes) -> Frame:
    """Read a JPEG file as a frame [H, W, 3].

    Raises:
        ValueError: it is none.
    """
    import av

    try:
        codec: Any = av.CodecContext.create("mjpeg", "r")
        (image,) = codec.decode(av.Packet(data))
        frame: Frame = image.to_ndarray(format="rgb24")
    except (av.FFmpegError, TypeError, ValueError) as error:
        raise ValueError(f"no JPEG: {error}") from None
    return frame
