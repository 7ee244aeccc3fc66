"""What the protocol says is answered, word for word, by a real server on a real socket."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve import http_worlds
from tests.serve.http_talk import Client, read_transcript, replay, running

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts" / "http").glob("*.txt"))


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    http_worlds.register()
    with running(monitor_root=str(tmp_path)) as address:
        yield address


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path, address: str) -> None:
    with Client(address) as client:
        replay(path, client)


def test_every_row_of_the_protocol_has_a_transcript() -> None:
    requests = {
        one.request.replace("<ID>", "ID").rstrip("/")
        for path in TRANSCRIPTS
        for one in read_transcript(path)
    }
    rows = """
        POST /v1/envs
        GET /v1/envs
        POST /v1/envs/ID/reset
        POST /v1/envs/ID/step
        GET /v1/envs/ID/action_space
        GET /v1/envs/ID/action_space/contains/1
        GET /v1/envs/ID/observation_space
        POST /v1/envs/ID/observation_space/contains
        POST /v1/envs/ID/monitor/start
        POST /v1/envs/ID/monitor/close
        POST /v1/envs/ID/close
        POST /v1/upload
        POST /v1/shutdown
    """
    assert {row.strip() for row in rows.strip().splitlines()} <= requests
