"""The HTTP application on a real socket: environments, access, limits and the pages."""

import json
import time
from collections.abc import Iterator

import gymnasium
import pytest

from tests.serve import http_worlds
from tests.serve.http_talk import JSON, Client, running


@pytest.fixture(autouse=True)
def worlds() -> None:
    http_worlds.register()


@pytest.fixture
def client() -> Iterator[Client]:
    with running() as address, Client(address) as client:
        yield client


@pytest.fixture
def guarded() -> Iterator[Client]:
    with (
        running(token="secret", allowed_origins=("https://good.example",)) as address,
        Client(address) as client,
    ):
        yield client


# -- environments --------------------------------------------------------------------------


def test_a_seed_decides_observations_and_samples(client: Client) -> None:
    def played(seed: int) -> list[bytes]:
        env = client.make("CartPole-v1", seed)
        paths = ["/reset/", *["/step/"] * 5]
        answers = [client.ask("POST", env + path, {"action": 1}).body for path in paths]
        return answers + [client.ask("GET", f"{env}/action_space/sample").body for _ in range(20)]

    assert played(0) == played(0)
    assert played(0) != played(1)


def test_the_seed_is_gymnasiums_own(client: Client) -> None:
    with gymnasium.make("CartPole-v1") as env:
        expected = env.reset(seed=0)[0].tolist()
    answer = client.ask("POST", f"{client.make('CartPole-v1', 0)}/reset/")
    assert answer.json["observation"] == expected


def test_samples_belong_to_the_action_space(client: Client) -> None:
    env = client.make("Counter-v0")
    drawn = {client.ask("GET", f"{env}/action_space/sample").body for _ in range(30)}
    assert drawn == {b'{"action":0}', b'{"action":1}'}


def test_spaces_say_their_sizes(client: Client) -> None:
    env = client.make("Odd-v0")
    described = client.ask("GET", f"{env}/observation_space/").json["info"]
    assert described["name"] == "Tuple"
    assert described["spaces"][0]["n"] == 5
    assert described["spaces"][1]["low"] == [-1e100, -1e100]
    empty = client.ask("GET", f"{env}/action_space/").json["info"]
    assert empty == {"name": "Box", "shape": [0], "low": [], "high": []}
    assert client.ask("GET", f"{env}/action_space/contains/0").json == {"member": False}


def test_an_environment_that_raises_keeps_its_session(client: Client) -> None:
    env = client.make("Faulty-v0")
    client.ask("POST", f"{env}/reset/")
    for _ in range(12):  # in a thread at first, then in the loop
        raised = client.ask("POST", f"{env}/step/", {"action": 0})
        assert raised.status == 400
        assert "the motor is broken" in raised.message
        nonsense = client.ask("POST", f"{env}/step/", {"action": 1})
        assert nonsense.status == 400
        assert "observation" in nonsense.message
    assert client.ask("POST", f"{env}/reset/").json == {"observation": [0.0, 0.0]}


def test_closing_closes_the_environment(client: Client) -> None:
    before = http_worlds.Faulty.closed
    env = client.make("Faulty-v0")
    assert client.ask("POST", f"{env}/close/").status == 204
    again = client.ask("POST", f"{env}/close/")
    assert again.status == 400
    assert f"Instance_id {env[-8:]} unknown" in again.message
    until = time.monotonic() + 10
    while http_worlds.Faulty.closed == before and time.monotonic() < until:
        time.sleep(0.01)  # it is closed in a thread of its own
    assert http_worlds.Faulty.closed == before + 1


def test_an_environment_with_a_strange_space_is_refused(client: Client) -> None:
    refused = client.ask("POST", "/v1/envs/", {"env_id": "Strange-v0"})
    assert refused.status == 400
    assert "Unheard" in refused.message
    assert client.ask("GET", "/v1/envs/").json == {"all_envs": {}}


def test_an_environment_that_cannot_be_made_takes_no_place() -> None:
    def broken(env_id: str, seed: int | None = None) -> None:
        raise OSError("no license")

    with running(make=broken, max_instances=1) as address, Client(address) as client:
        for _ in range(3):
            refused = client.ask("POST", "/v1/envs/", {"env_id": "Any-v0"})
            assert refused.status == 400
            assert "no license" in refused.message


def test_rendering_needs_no_display(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    env = client.make("CartPole-v1")
    client.ask("POST", f"{env}/reset/")
    answer = client.ask("POST", f"{env}/step/", {"action": 0, "render": True})
    assert answer.status == 200
    wrong = client.ask("POST", f"{env}/step/", {"action": 0, "render": [1]})
    assert "'render' must be true or false" in wrong.message


def test_actions_of_a_box(client: Client) -> None:
    env = client.make("Pendulum-v1")
    client.ask("POST", f"{env}/reset/")
    assert client.ask("POST", f"{env}/step/", {"action": [0.5]}).status == 200
    assert client.ask("POST", f"{env}/step/", {"action": [1]}).status == 200
    for action in [[0.5, 0.5], 0.5, ["left"], [[0.5]], [9.0], {"x": 1}, ["0.5"], "0.5"]:
        refused = client.ask("POST", f"{env}/step/", {"action": action})
        assert refused.status == 400
        assert refused.message.startswith("action ")
    empty = client.ask("POST", f"{env}/step/", {"action": []})
    assert empty.message == "A required request parameter 'action' was not provided"


def test_numbers_written_as_text_are_no_actions_and_booleans_are(client: Client) -> None:
    env = client.make("Counter-v0")
    client.ask("POST", f"{env}/reset/")
    for action in ["1", "1 ", "+1", "0_1", "\u0660"]:
        refused = client.ask("POST", f"{env}/step/", {"action": action})
        assert (refused.status, refused.message[:7]) == (400, "action ")
    for count, chosen in enumerate([True, False], 1):
        answer = client.ask("POST", f"{env}/step/", {"action": chosen})
        assert answer.json["observation"] == [float(count), float(chosen)]


def test_many_clients_at_once() -> None:
    with running() as address:
        clients = [Client(address) for _ in range(50)]
        envs = [client.make("Counter-v0", seed) for seed, client in enumerate(clients)]
        for client, env in zip(clients, envs, strict=True):
            client.send("POST", f"{env}/reset/", {}, b"")
        firsts = [client.receive().json["observation"][1] for client in clients]
        assert firsts == list(range(50))
        assert len(clients[0].ask("GET", "/v1/envs").json["all_envs"]) == 50
        for client in clients:
            client.close()


def test_pipelined_requests_are_answered_in_order(client: Client) -> None:
    env = client.make("Counter-v0", 7)
    client.send("POST", f"{env}/reset/", {}, b"")
    for action in (1, 0):
        client.send("POST", f"{env}/step/", JSON, b'{"action": %d}' % action)
    observations = [client.receive().json["observation"] for _ in range(3)]
    assert observations == [[0.0, 7.0], [1.0, 1.0], [2.0, 0.0]]


# -- who may ask ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/live/instances", "/v1/envs/", "/v1/stats", "/openapi.json", "/v1/nowhere"]
)
@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic secret", "secret"])
def test_every_route_demands_the_token(
    guarded: Client, path: str, authorization: str | None
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    refused = guarded.ask("GET", path, headers=headers)
    assert refused.status == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert "Bearer" in refused.message


def test_who_has_the_token_comes_in(guarded: Client) -> None:
    headers = {"Authorization": "Bearer secret"}
    made = guarded.ask("POST", "/v1/envs/", {"env_id": "Counter-v0"}, headers=headers)
    assert made.status == 200
    assert guarded.ask("GET", "/v1/envs/?token=secret").status == 200


def test_foreign_pages_may_not_change_anything(client: Client) -> None:
    foreign = {"Origin": "https://evil.example"}
    refused = client.ask("POST", "/v1/envs/", {"env_id": "Counter-v0"}, headers=foreign)
    assert refused.status == 403
    assert "https://evil.example" in refused.message
    assert "access-control-allow-origin" not in refused.headers
    read = client.ask("GET", "/v1/envs/", headers=foreign)
    assert "access-control-allow-origin" not in read.headers
    assert read.json == {"all_envs": {}}


def test_a_rebound_name_is_foreign(client: Client) -> None:
    rebound = {"Origin": "http://evil.example:5000", "Host": "evil.example:5000"}
    assert client.ask("POST", "/v1/shutdown/", headers=rebound).status == 403


def test_allowed_pages_use_the_server(guarded: Client) -> None:
    good = {"Origin": "https://good.example"}
    asked = {**good, "Access-Control-Request-Method": "POST"}
    allowed = guarded.ask("OPTIONS", "/v1/envs/", headers=asked)
    assert allowed.status == 204
    assert allowed.headers["access-control-allow-origin"] == "https://good.example"
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    headers = {**good, "Authorization": "Bearer secret"}
    made = guarded.ask("POST", "/v1/envs/", {"env_id": "Counter-v0"}, headers=headers)
    assert made.status == 200
    assert made.headers["access-control-allow-origin"] == "https://good.example"
    refused = guarded.ask("GET", "/v1/envs/", headers=good)  # no token, but it may read why
    assert refused.status == 401
    assert refused.headers["access-control-allow-origin"] == "https://good.example"


def test_foreign_pages_are_not_told_that_they_may(guarded: Client) -> None:
    foreign = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = guarded.ask("OPTIONS", "/v1/envs/", headers=foreign)
    assert "access-control-allow-origin" not in answer.headers


# -- limits --------------------------------------------------------------------------------


def test_long_bodies_are_refused() -> None:
    with running(max_message_bytes=1000) as address:
        with Client(address) as client:
            fits = client.ask("POST", "/v1/envs/", {"env_id": "Counter-v0", "x": "y" * 900})
            assert fits.status == 200
            declared = client.ask("POST", "/v1/envs/", {"env_id": "x" * 2000})
            assert declared.status == 413
            assert "1000 bytes" in declared.message
            assert declared.headers["connection"] == "close"
        with Client(address) as client:
            client.socket.sendall(
                b"POST /v1/envs/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n" + b"190\r\n" + b"y" * 400 + b"\r\n"
            )
            client.socket.sendall((b"190\r\n" + b"y" * 400 + b"\r\n") * 2)
            assert client.receive().status == 413


def test_bodies_in_pieces_are_read_whole(client: Client) -> None:
    body = json.dumps({"env_id": "Counter-v0"}).encode()
    client.socket.sendall(
        b"POST /v1/envs/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    for byte in body:
        client.socket.sendall(b"1\r\n%c\r\n" % byte)
    client.socket.sendall(b"0\r\n\r\n")
    assert client.receive().status == 200


def test_bodies_longer_than_a_buffer_are_read_whole(client: Client) -> None:
    made = client.ask("POST", "/v1/envs/", {"env_id": "Counter-v0", "note": "x" * 900_000})
    assert made.status == 200


def test_who_asks_too_often_must_wait() -> None:
    with running(max_requests_per_second=5) as address, Client(address) as client:
        answers = [client.ask("GET", "/v1/envs/") for _ in range(12)]
        assert answers[0].status == 200
        refused = [answer for answer in answers if answer.status == 429]
        assert refused
        assert "5 requests a second" in refused[0].message
        assert refused[0].headers["retry-after"] == "1"


def test_instances_are_bounded() -> None:
    with running(max_instances=2) as address, Client(address) as client:
        first = client.make("Counter-v0")
        client.make("Counter-v0")
        refused = client.ask("POST", "/v1/envs/", {"env_id": "Counter-v0"})
        assert refused.status == 429
        assert "2 environments are open" in refused.message
        client.ask("POST", f"{first}/close/")
        client.make("Counter-v0")


def test_only_what_is_offered_is_made() -> None:
    with running(env=("Counter-*",)) as address, Client(address) as client:
        client.make("Counter-v0")
        refused = client.ask("POST", "/v1/envs/", {"env_id": "CartPole-v1"})
        assert refused.status == 400
        assert "malformed environment ID" in refused.message


# -- beside the protocol -------------------------------------------------------------------


def test_heads_have_no_body(client: Client) -> None:
    head = client.ask("HEAD", "/v1/envs/")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(client.ask("GET", "/v1/envs/").body))


def test_options_say_what_is_answered(client: Client) -> None:
    assert client.ask("OPTIONS", "/v1/envs/").headers["allow"] == "GET, HEAD, POST, OPTIONS"
    assert client.ask("OPTIONS", "/v1/envs/x/step").headers["allow"] == "POST, OPTIONS"
    assert client.ask("OPTIONS", "/v1/nowhere").status == 404


def test_statistics_count(client: Client) -> None:
    env = client.make("Counter-v0")
    client.ask("POST", f"{env}/reset/")
    for _ in range(3):
        client.ask("POST", f"{env}/step/", {"action": 0})
    client.ask("POST", f"{env}/step/", {"action": 9})
    client.ask("GET", "/v1/nowhere")
    stats = client.ask("GET", "/v1/stats").json
    assert (stats["instances"], stats["steps"], stats["episodes"]) == (1, 3, 1)
    assert stats["errors"] == {"WrongAction": 1, "Not Found": 1}
    assert stats["latency_ms"]["p99"] > 0
