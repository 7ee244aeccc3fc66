"""Environments in processes of their own: they may crash and hang; all else is the same."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import pytest

from tests.serve import http_worlds
from tests.serve.http_talk import Client
from tests.serve.live import Refused, WebSocketClient, live
from tests.serve.native.native_serving import Raw
from tests.serve.native.native_serving import Refused as NativeRefused

ENVS = """
import os, time
import gymnasium
from gymnasium.spaces import Discrete

class Bad(gymnasium.Env):
    observation_space = action_space = Discrete(4)

    def reset(self, *, seed=None, options=None):
        return 0, {}

    def step(self, action):
        if action == 1:
            os._exit(3)
        if action == 2:
            os.abort()
        if action == 3:
            time.sleep(1000)
        return 0, 1.0, False, False, {"process": os.getpid()}

def get_env(env_id, seed=None):
    if env_id == "Bad-v0":
        return Bad()
    return gymnasium.make(env_id, render_mode="rgb_array")

def process_step(step):
    return step[0], step[1] * 2, step[2] or step[3], step[4]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("envs")
    (folder / "isolated_envs.py").write_text(ENVS)
    file = folder / "isolated_envs.py"
    with live(
        "http",
        isolate=True,
        step_timeout=1.0,
        make=f"{file}:get_env",
        process_step=f"{file}:process_step",
        monitor_root=str(folder / "monitor"),
    ) as address:
        yield address


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (1, "ended with exit status 3"),
        (2, "was killed by SIGABRT"),
        (3, "has not returned for 1 s"),
    ],
)
def test_a_crash_and_a_hang_are_that_instances_error(server: str, action: int, said: str) -> None:
    with Client(server) as client:
        bad, other = client.make("Bad-v0"), client.make("Bad-v0")
        processes = set()
        for env in (bad, other):
            client.ask("POST", f"{env}/reset/")
            info = client.ask("POST", f"{env}/step/", {"action": 0}).json["info"]
            processes.add(info["process"])
        assert len(processes) == 2
        refused = client.ask("POST", f"{bad}/step/", {"action": action})
        assert refused.status == 400
        assert said in refused.message
        again = client.ask("POST", f"{bad}/reset/")
        assert again.status == 400
        assert "is lost" in again.message or "has not returned" in again.message
        assert client.ask("POST", f"{other}/step/", {"action": 0}).status == 200
        for env in (bad, other):
            assert client.ask("POST", f"{env}/close/").status == 204


def test_all_of_gym_http_api(server: str) -> None:
    with Client(server) as client:
        env = client.make("CartPole-v1", 0)
        with gymnasium.make("CartPole-v1") as same:
            first = same.reset(seed=0)[0].tolist()
        assert client.ask("GET", f"{env}/action_space/").json["info"]["n"] == 2
        assert client.ask("POST", f"{env}/monitor/start/", {"directory": "here"}).status == 204
        assert client.ask("POST", f"{env}/reset/").json["observation"] == first
        assert client.ask("POST", f"{env}/step/", {"action": 1}).json["reward"] == 1.0
        assert "action 7 is not in" in client.ask("POST", f"{env}/step/", {"action": 7}).message
        row = client.ask("GET", "/live/instances").json["instances"][0]
        assert (row["steps"], row["return"], row["frames"]) == (1, 1.0, True)
        picture = client.ask("GET", env.replace("/v1/envs/", "/live/frames/"))
        assert picture.headers["content-type"] == "image/jpeg"
        assert client.ask("POST", f"{env}/close/").status == 204


def test_gymie_and_the_native_protocol(server: str) -> None:
    gymie = WebSocketClient(server)
    instance = gymie.make("CartPole-v1", seed=0)
    gymie.reset(instance)
    assert gymie.step(instance, 1)[1] == 2.0  # by the hook
    with pytest.raises(Refused, match="is wrong"):
        gymie.step(instance, "left")
    gymie.close()
    native = Raw(server.replace("http", "ws"))
    at = native.make("Bad-v0")
    native.ask("reset", instance=at)
    assert native.ask("step", instance=at, action=0)["reward"] == 1.0
    with pytest.raises(NativeRefused, match=r"env_failed.*exit status 3"):
        native.ask("step", instance=at, action=1)
    native.close()


def test_a_function_that_cannot_be_sent_is_an_error() -> None:
    def get_env(env_id: str, seed: int | None = None) -> Any:
        return http_worlds.Counter()

    with live("http", isolate=True, make=get_env) as address, Client(address) as client:
        refused = client.ask("POST", "/v1/envs/", {"env_id": "Any-v0"})
        assert refused.status == 400
        assert "cannot be isolated" in refused.message
