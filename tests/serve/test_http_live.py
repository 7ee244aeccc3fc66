"""What the page at / is made of: its files, the instances, and their pictures."""

import time
from collections.abc import Iterator
from typing import Any, ClassVar

import cv2
import gymnasium
import numpy as np
import pytest

from tests.serve import http_worlds
from tests.serve.http_talk import Answer, Client, running

FILES = ["/", "/live/serve.js", "/live/common.js", "/live/style.css"]


class Drawn(http_worlds.Counter):
    """Counts how often it was drawn, over all copies."""

    draws: ClassVar[int] = 0
    broken: ClassVar[Any] = None  # what it renders in place of a frame

    def render(self) -> Any:
        Drawn.draws += 1
        if isinstance(Drawn.broken, Exception):
            raise Drawn.broken
        return super().render() if Drawn.broken is None else Drawn.broken


@pytest.fixture(autouse=True)
def worlds() -> None:
    Drawn.draws, Drawn.broken = 0, None
    http_worlds.register()
    gymnasium.register("Drawn-v0", entry_point=Drawn, disable_env_checker=True)


@pytest.fixture
def client() -> Iterator[Client]:
    with running(page_fps=60.0) as address, Client(address) as client:
        yield client


@pytest.fixture
def guarded() -> Iterator[Client]:
    with running(token="secret") as address, Client(address) as client:
        yield client


def picture(answer: Answer) -> np.ndarray:
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "image/jpeg"
    found = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return found


def facts(answer: Answer) -> Any:
    return answer._replace(body=answer.headers["gym-loop-instance"].encode()).json


def frames(env: str) -> str:
    return env.replace("/v1/envs/", "/live/frames/")


def begun(client: Client, env_id: str = "Drawn-v0") -> str:
    env = client.make(env_id)
    client.ask("POST", f"{env}/reset/")
    return env


# -- the page ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES)
def test_the_page_needs_no_token_and_takes_nothing_from_elsewhere(
    guarded: Client, path: str
) -> None:
    answer = guarded.ask("GET", path)
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    text = answer.body.decode()
    assert "http://" not in text.replace("http://127.0.0.1", "")
    assert "https://" not in text
    assert " onclick" not in text


@pytest.mark.parametrize("path", ["/live/environments", "/live/instances", "/live/frames/x"])
def test_what_the_page_shows_needs_the_token(guarded: Client, path: str) -> None:
    assert guarded.ask("GET", path).status == 401
    allowed = guarded.ask("GET", path, headers={"Authorization": "Bearer secret"})
    assert allowed.status in (200, 400)


def test_only_known_files_are_given(client: Client) -> None:
    for path in ["/live/", "/live/serve.html", "/live/../app.py", "/live/%2e%2e/app.py"]:
        assert client.ask("GET", path).status == 404
    assert client.ask("POST", "/live/instances", {}).status == 405
    assert client.ask("POST", "/", {}).status == 405


@pytest.mark.parametrize("host", ["evil.example", "evil.example:5000", "<script>", "[::1", "a@b"])
def test_a_name_that_a_stranger_may_have_made_up_is_not_answered(client: Client, host: str) -> None:
    for path in ["/", "/live/instances", "/v1/envs/"]:
        refused = client.ask("GET", path, headers={"Host": host})
        assert refused.status == 403
        assert "--allow-origin" in refused.message


@pytest.mark.parametrize("host", ["localhost:9", "127.0.0.1", "[::1]:5000", "192.168.1.2:80"])
def test_addresses_and_this_machine_are_answered(client: Client, host: str) -> None:
    assert client.ask("GET", "/live/instances", headers={"Host": host}).status == 200


def test_names_are_answered_where_the_operator_allows_them_or_a_token_guards() -> None:
    with (
        running(allowed_origins=("http://box.example:5000",)) as address,
        Client(address) as client,
    ):
        allowed = client.ask("GET", "/", headers={"Host": "box.example:5000"})
        assert allowed.status == 200
        assert client.ask("GET", "/", headers={"Host": "box.example"}).status == 403
    with running(token="secret") as address, Client(address) as client:
        assert client.ask("GET", "/", headers={"Host": "box.example"}).status == 200


# -- instances -----------------------------------------------------------------------------


def test_instances_are_listed_with_how_they_stand(client: Client) -> None:
    env = begun(client)
    client.make("Odd-v0")
    for _ in range(4):
        client.ask("POST", f"{env}/step/", {"action": 1})
    listed = client.ask("GET", "/live/instances").json
    first, second = listed["instances"]
    assert listed["others"] == 0
    assert (first["id"], first["env"]) == (env[-8:], "Drawn-v0")
    assert (first["steps"], first["return"], first["episodes"]) == (4, 4.0, 1)
    assert first["age"] >= first["idle"] >= 0
    assert (first["begun"], first["frames"]) == (True, True)
    assert (second["begun"], second["frames"]) == (False, False)


def test_the_environments_are_those_that_may_be_asked_for() -> None:
    with running(env=("Counter-*",)) as address, Client(address) as client:
        assert client.ask("GET", "/live/environments").json["environments"] == ["Counter-v0"]


def test_many_instances_are_not_all_listed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gym_loop.serve.page.MOST_ROWS", 2)
    made = [client.make("Counter-v0")[-8:] for _ in range(5)]
    listed = client.ask("GET", "/live/instances").json
    assert [one["id"] for one in listed["instances"]] == made[:2]
    assert listed["others"] == 3


def test_a_return_that_is_no_number_is_null(client: Client) -> None:
    env = begun(client, "Odd-v0")
    assert client.ask("POST", f"{env}/step/", {"action": []}).status == 200
    (row,) = client.ask("GET", "/live/instances").json["instances"]
    assert row["return"] is None


# -- pictures ------------------------------------------------------------------------------


def test_a_picture_is_drawn_when_it_is_asked_for_and_at_no_other_time(client: Client) -> None:
    env = begun(client)
    for _ in range(20):
        client.ask("POST", f"{env}/step/", {"action": 0})
        client.ask("GET", "/live/instances")
    assert Drawn.draws == 0
    found = picture(client.ask("GET", frames(env)))
    assert found.shape == (32, 32, 3)
    assert abs(int(found[5, 5, 0]) - 20) <= 2
    assert Drawn.draws == 1


def test_a_picture_that_was_seen_is_not_drawn_or_sent_again(client: Client) -> None:
    env = begun(client)
    shows = facts(client.ask("GET", frames(env)))["shows"]
    time.sleep(0.05)
    again = client.ask("GET", f"{frames(env)}/{shows}")
    assert (again.status, again.body) == (204, b"")
    assert facts(again)["steps"] == 0
    picture(client.ask("GET", frames(env)))  # for someone who has not seen it
    assert Drawn.draws == 1
    client.ask("POST", f"{env}/step/", {"action": 0})
    time.sleep(0.05)
    newer = client.ask("GET", f"{frames(env)}/{shows}")
    picture(newer)
    client.ask("POST", f"{env}/reset/")
    time.sleep(0.05)
    assert facts(client.ask("GET", frames(env)))["shows"] != facts(newer)["shows"] != shows


def test_more_pictures_than_allowed_are_not_drawn() -> None:
    with running(page_fps=0.5) as address, Client(address) as client:
        env = begun(client)
        for _ in range(5):
            client.ask("POST", f"{env}/step/", {"action": 0})
            picture(client.ask("GET", frames(env)))
    assert Drawn.draws == 1


def test_a_server_without_pictures() -> None:
    with running(page_fps=0.0) as address, Client(address) as client:
        env = begun(client)
        assert client.ask("GET", frames(env)).status == 404
        assert client.ask("GET", "/live/environments").json["fps"] == 0
        assert client.ask("GET", "/live/instances").json["instances"][0]["frames"] is False
    assert Drawn.draws == 0


def test_there_is_no_picture_before_the_first_reset(client: Client) -> None:
    env = client.make("Drawn-v0")
    waiting = client.ask("GET", frames(env))
    assert waiting.status == 204
    assert facts(waiting)["begun"] is False


def test_who_gives_no_frames_and_who_is_gone(client: Client) -> None:
    env = begun(client, "Odd-v0")
    assert "gives no frames" in client.ask("GET", frames(env)).message
    assert client.ask("GET", "/live/frames/00000000").status == 400
    client.ask("POST", f"{env}/close/")
    assert client.ask("GET", frames(env)).status == 400


@pytest.mark.parametrize("broken", [RuntimeError("no paint"), "a text", np.zeros(3)])
def test_what_cannot_be_drawn_is_said_and_the_session_goes_on(
    client: Client, broken: object
) -> None:
    env = begun(client)
    Drawn.broken = broken
    refused = client.ask("GET", frames(env))
    assert refused.status == 400
    assert "Drawn-v0" in refused.message
    assert client.ask("POST", f"{env}/step/", {"action": 0}).status == 200
    Drawn.broken = None
    time.sleep(0.05)
    picture(client.ask("GET", frames(env)))


def test_looking_on_does_not_keep_an_environment_alive() -> None:
    with running(idle_lease=0.8) as address, Client(address) as client:
        env = begun(client)
        end = time.monotonic() + 10
        while client.ask("GET", frames(env)).status != 400 and time.monotonic() < end:
            time.sleep(0.05)
        assert client.ask("GET", "/live/instances").json["instances"] == []
