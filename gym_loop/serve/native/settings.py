"""What a server of the native protocol can be told beside what every server can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from gym_loop.envs.remote.addresses import subject_problem
from gym_loop.errors import ConfigError, Finding
from gym_loop.schema.files import expanded
from gym_loop.schema.yaml_file import read_yaml_file
from gym_loop.serve.nats.connection import NatsConnection
from gym_loop.serve.settings import ServerSettings, load_settings

_S = TypeVar("_S", bound="NativeSettings")


@dataclass(frozen=True, kw_only=True)
class NativeSettings(ServerSettings):
    """The options that the native protocol adds.

    Args:
        allow_parameters: keyword arguments that native clients may give to environments, by name,
            or as ``ID:NAME`` with patterns such as ``LunarLander-*:gravity``.
        max_envs: environments that native clients may have at once, each copy in a vector
            environment counted.
    """

    allow_parameters: tuple[str, ...] = ()
    max_envs: int = 4096

    def problems(self) -> dict[str, str]:
        """What is wrong with the values, by option."""
        found = super().problems()
        if self.max_envs < 1:
            found["max_envs"] = f"{self.max_envs} is too small; use at least 1"
        return found


@dataclass(frozen=True, kw_only=True)
class NativeZmqSettings(NativeSettings):
    """The options of ``gym-loop serve zmq --native``.

    Args:
        native: serve the native protocol.
        secret_key: file of the server's CURVE pair, ``*.key_secret``; demanded on any host but a
            loopback address.
        client_keys: files of the public keys, ``*.key``, of the clients that may connect.
    """

    server_module: ClassVar[str] = "gym_loop.serve.native.zmq_server"

    native: bool = True
    secret_key: str | None = None
    client_keys: tuple[str, ...] = ()

    def problems(self) -> dict[str, str]:
        """What is wrong with the values, by option."""
        found = super().problems()
        if self.token is not None:
            found |= {"token": "ZeroMQ knows its clients by their CURVE keys; use secret_key"}
        if bool(self.secret_key) != bool(self.client_keys):
            found |= {"secret_key": "belongs together with client_keys; name the files of both"}
        return found


@dataclass(frozen=True, kw_only=True)
class NativeNatsSettings(NatsConnection, NativeSettings):
    """The options of ``gym-loop serve nats --native``.

    Args:
        native: serve the native protocol.
        subject: that requests are answered on.
    """

    server_module: ClassVar[str] = "gym_loop.serve.native.nats_server"

    native: bool = True
    subject: str = "gym-loop.native"

    def problems(self) -> dict[str, str]:
        """What is wrong with the values, by option."""
        found = NativeSettings.problems(self) | NatsConnection.problems(self)
        if problem := subject_problem(self.subject):
            found["subject"] = problem
        return found


def load_native(
    cls: type[_S], file: str | Path | None, given: Mapping[str, Any], plain: type[Any]
) -> _S | None:
    """Read the options of a native server, if they, or the file, ask for one.

    Args:
        cls: their class.
        file: YAML file; None reads none.
        given: values by option that win over the file's; None stands for "not given".
        plain: the settings of the command without ``--native``.

    Returns:
        None where the command's own protocol is to be served.

    Raises:
        ConfigError: with every finding; among them options that only the other protocol has.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if given.get("native", _says_native(file)):
        return load_settings(cls, file, given)
    others = {one.name for one in fields(cls)} - set(plain.own_options)
    if wrong := sorted(others & given.keys() - {"native"}):
        raise ConfigError([Finding("", "needs --native", f"--{one}") for one in wrong])
    return None


def _says_native(file: str | Path | None) -> bool:
    if file is None:
        return False
    try:
        data = read_yaml_file(expanded(file)).data
    except ConfigError:
        return False  # which is said where it is read for good
    return isinstance(data, dict) and data.get("native") is True
