"""The options of servers: from files and the command line, every mistake at once."""

from pathlib import Path

import pytest

from gym_loop.envs.remote.addresses import is_loopback
from gym_loop.errors import ConfigError, UsageError
from gym_loop.schema.parameters import Field, documentation
from gym_loop.serve.nats.settings import NatsSettings
from gym_loop.serve.settings import Hook, ServeSettings, demand_token, load_settings
from gym_loop.serve.zeromq.settings import ZeroMQSettings


class OwnSettings(ServeSettings):
    """A protocol's."""

    color: str = Field(default="red", description="Of the bike shed.")
    port: int = Field(default=6000, description="Another one.")
    paint: Hook = Field(default=None, description="Who does it.")


def test_file_and_options_are_merged(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    (tmp_path / "envs.py").write_text("")
    file.write_text(
        "port: 7000\nenv: CartPole-*\nimport: [envs.py]\nidle-lease: 10\nmax_instances: 1e3\n"
        "token: null\ncolor: blue\npaint: envs.py:get\n"
    )
    settings = load_settings(OwnSettings, file, {"port": 0, "color": None, "env": ["A-*", "B-*"]})
    assert settings == OwnSettings(
        port=0,
        env=("A-*", "B-*"),
        imports=(str(tmp_path / "envs.py"),),
        idle_lease=10.0,
        max_instances=1000,
        color="blue",
        paint=f"{tmp_path / 'envs.py'}:get",
    )
    assert type(settings.max_instances) is int
    assert type(settings.idle_lease) is float


def test_every_finding_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    text = "prot: 1\nhost: 3\nmax_instances: 2\nmax-instances: 3\nenv: [1]\nport: 70000\n"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(ServeSettings, file, {"idle_lease": "long"})
    assert [str(finding) for finding in caught.value.findings] == [
        "--idle-lease: 'long' is str, but must be float",
        f"{file}:1: prot: unknown; did you mean port?",
        f"{file}:2: host: 3 is int, but must be str",
        f"{file}:4: max-instances: says the same option as max_instances; keep one",
        f"{file}:5: env.0: 1 is int, but must be str",
        f"{file}:6: port: 70000 is not a port; use 0 (a free one) to 65535",
    ]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("port", 65536),
        ("port", -1),
        ("token", ""),
        ("token", "pässword"),
        ("max_instances", 0),
        ("max_message_bytes", 0),
        ("idle_lease", 0),
        ("idle_lease", float("nan")),
        ("max_requests_per_second", -1),
    ],
)
def test_values_out_of_range(option: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^--{option.replace('_', '-')}: "):
        load_settings(ServeSettings, None, {option: value})


@pytest.mark.parametrize("text", ["- port", "port", "port: [", "port: 1\nport: 2"])
def test_what_is_no_file_of_options(tmp_path: Path, text: str) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"serve\.yaml"):
        load_settings(ServeSettings, file)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load_settings(ServeSettings, tmp_path / "none.yaml")


def test_empty_file_is_all_defaults(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("")
    assert load_settings(ServeSettings, file) == ServeSettings()


def test_a_function_may_make_environments() -> None:
    def get_env(env_id: str, seed: int | None = None) -> None: ...

    assert load_settings(ServeSettings, None, {"make": get_env}).make is get_env
    assert load_settings(OwnSettings, None, {"paint": print}).paint is print
    with pytest.raises(ConfigError, match="--host"):
        load_settings(ServeSettings, None, {"host": get_env})


def test_every_option_is_described() -> None:
    for cls in (ServeSettings, NatsSettings, ZeroMQSettings):
        assert all(doc.text and doc.types for doc in documentation(cls).values())


def test_the_token_is_not_shown() -> None:
    assert "hunter2" not in repr(ServeSettings(token="hunter2"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]"])
def test_loopback_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    demand_token(ServeSettings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", ""])
def test_other_hosts_demand_a_token(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(UsageError, match="--token"):
        demand_token(ServeSettings(host=host))
    demand_token(ServeSettings(host=host, token="secret"))
