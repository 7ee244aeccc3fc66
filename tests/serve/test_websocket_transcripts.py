"""The protocol, word for word: what the transcripts say is what the server says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, MultiBinary

from tests.serve import http_worlds
from tests.serve.websocket_talk import Client, play, running

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts/websocket").glob("*.txt"))


class Square(gymnasium.Env[Any, Any]):
    """Observes a matrix of bytes; its reward is the number of ones in the action."""

    observation_space = Box(0, 9, (2, 2), np.uint8)
    action_space = MultiBinary(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.array([[1, 2], [3, 4]], np.uint8), {}

    def step(self, action: Any) -> Any:
        return np.array([[1, 2], [3, 4]], np.uint8), int(action.sum()), False, False, {}


@pytest.fixture
def address() -> Iterator[str]:
    http_worlds.register()
    gymnasium.register("Square-v0", entry_point=Square, disable_env_checker=True)
    with running() as address:
        yield address


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(address: str, path: Path) -> None:
    assert play(address, path) >= 10


def test_binary_frames_hold_json_too(address: str) -> None:
    with Client(address) as client:
        client.send(b'{"method": "make", "params": {"env_id": "Counter-v0"}}', opcode=2)
        instance = client.reply()
        client.send(b'{"method": "reset", "params": {"instance_id": "%s"}}' % instance.encode(), 2)
        assert client.reply() == "[0.0,0.0]"


def test_transcripts_are_there() -> None:
    assert [path.stem for path in TRANSCRIPTS] == ["errors", "methods", "spaces"]
