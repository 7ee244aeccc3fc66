"""The parameters of environments behind old servers: what is refused, and what the token does."""

import sys
import warnings
from typing import Any

import gymnasium
import pytest

from gym_loop.envs.making import EnvSpec, make_env
from gym_loop.errors import (
    BridgeConnectionError,
    BridgeProtocolError,
    EnvParametersError,
    GymLoopError,
    RenderError,
)
from tests.serve.live import live
from tests.serve.remote_worlds import IDS, NOWHERE


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"url": "ftp://127.0.0.1"}, "is no address of a server; write"),
        ({"url": "127.0.0.1:5000"}, "is no address of a server"),
        ({"url": None}, "is no address of a server"),
        ({"url": "{scheme}://127.0.0.1:99999"}, "is no address of a server"),
        ({"url": "{scheme}://me:secret@127.0.0.1"}, "as the parameter token"),
        ({"url": "{scheme}://127.0.0.1/?a=b"}, "holds more than an address"),
        ({"url": "{scheme}://127.0.0.1/a b"}, "must be escaped"),
        ({"env_id": ""}, "env_id: '' is no id"),
        ({"env_id": 3}, "env_id: 3 is no id"),
        ({"timeout": 0}, "timeout: 0 is no number of seconds above 0"),
        ({"timeout": "long"}, "timeout: 'long' is no number"),
        ({"token": "a\nb"}, "token: write printable ASCII"),
    ],
)
def test_bad_parameters(protocol: str, parameters: dict[str, Any], message: str) -> None:
    given = {"url": NOWHERE[protocol], "env_id": "CartPole-v1", **parameters}
    if isinstance(given["url"], str):
        given["url"] = given["url"].format(scheme="http" if protocol == "http" else "ws")
    with pytest.raises(EnvParametersError, match=message):
        make_env(EnvSpec(IDS[protocol], parameters=given))


@pytest.mark.parametrize(
    ("host", "asked"), [("nowhere.invalid", "nowhere.invalid"), ("é.invalid", "xn--9ca.invalid")]
)
def test_an_unknown_host(protocol: str, host: str, asked: str) -> None:
    url = NOWHERE[protocol].replace("127.0.0.1", host)
    with pytest.raises(BridgeConnectionError, match=f"there is no host {asked}"):
        gymnasium.make(IDS[protocol], url=url, env_id="CartPole-v1")


def test_frames_do_not_travel(protocol: str) -> None:
    parameters = {"url": NOWHERE[protocol], "env_id": "CartPole-v1"}
    with pytest.raises(RenderError, match="its render modes are none"):
        make_env(EnvSpec(IDS[protocol], parameters=parameters), render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium's own: the mode is not in the metadata
        with pytest.raises(RenderError, match="cannot be rendered here"):
            gymnasium.make(IDS[protocol], render_mode="rgb_array", **parameters)


def test_the_token(protocol: str) -> None:
    with live(protocol, token="secret") as address:
        parameters = {"url": address, "env_id": "CartPole-v1"}
        env = gymnasium.make(IDS[protocol], token="secret", **parameters)
        env.reset()
        env.close()
        for token in (None, "wrong"):
            with pytest.raises(BridgeProtocolError, match="demands another token"):
                gymnasium.make(IDS[protocol], token=token, **parameters)


def test_missing_packages_are_one_clear_error(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "orjson", None)
    with pytest.raises(GymLoopError, match=r"needs? the module orjson.*gym-loop\[bridges\]"):
        make_env(EnvSpec(IDS[protocol], parameters={"url": NOWHERE[protocol], "env_id": "A-v1"}))
