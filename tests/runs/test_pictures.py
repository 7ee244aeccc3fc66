"""JPEG files of single frames, as another decoder reads them."""

import cv2
import numpy as np
import pytest

from gym_loop.wire.pictures import LONGEST, JpegEncoder, as_rgb, from_jpeg


def decoded(data: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture[:, :, ::-1]


def colours(height: int, width: int) -> np.ndarray:
    frame = np.zeros((height, width, 3), np.uint8)
    frame[:, : width // 2] = (200, 30, 60)
    frame[height // 2 :, width // 2 :] = (20, 140, 250)
    return frame


@pytest.mark.parametrize("size", [(210, 160), (33, 17), (1, 1)])
def test_a_frame_comes_back(size: tuple[int, int]) -> None:
    frame = colours(*size)
    picture = decoded(JpegEncoder().encode(frame))
    assert picture.shape == frame.shape
    assert np.abs(picture.astype(int) - frame).max() < 16


def test_one_encoder_takes_frames_of_any_size_one_after_the_other() -> None:
    encoder = JpegEncoder()
    for size in [(20, 30), (20, 30), (40, 30), (20, 30)]:
        assert decoded(encoder.encode(colours(*size))).shape == (*size, 3)


def test_frames_larger_than_a_screen_are_scaled_down() -> None:
    picture = decoded(JpegEncoder().encode(colours(LONGEST * 2, LONGEST)))
    assert picture.shape == (LONGEST, LONGEST // 2, 3)


def test_strided_frames_are_read_as_they_look() -> None:
    frame = colours(40, 60)
    assert JpegEncoder().encode(frame[:, ::-1]) == JpegEncoder().encode(frame[:, ::-1].copy())


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3), (4, 6, 4)])
def test_every_kind_of_frame_becomes_rgb(shape: tuple[int, ...]) -> None:
    frame = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    rgb = as_rgb(frame)
    assert rgb.shape == (4, 6, 3)
    assert rgb[1, 2, 0] == frame[1, 2].flat[0]


@pytest.mark.parametrize(
    "value", [None, "ansi", np.zeros((2, 2, 3)), np.zeros((0, 2, 3), np.uint8), np.zeros(5)]
)
def test_what_is_no_frame_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"is no (frame|array)"):
        as_rgb(value)


def test_a_frame_is_nearly_the_same_after_its_journey() -> None:
    frame = np.zeros((40, 60, 3), np.uint8)
    frame[10:30, 20:40] = (255, 128, 0)
    back = from_jpeg(JpegEncoder(longest=None).encode(frame))
    assert back.shape == frame.shape
    assert np.abs(back.astype(int) - frame).mean() < 6


def test_what_is_no_jpeg_is_said() -> None:
    with pytest.raises(ValueError, match="no JPEG"):
        from_jpeg(b"nothing of the kind")
