"""The configuration of a ZeroMQ server: gymz's sections, from JSON or YAML, over the defaults."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Interval
from pydantic import AllowInfNan

from gym_loop.envs.remote.addresses import is_loopback
from gym_loop.errors import UsageError
from gym_loop.schema.files import expanded
from gym_loop.schema.parameters import Field, NonNegativeInt, Parameters, PositiveInt
from gym_loop.schema.reading import Reader
from gym_loop.schema.validation import Wording
from gym_loop.schema.yaml_file import Document, read_text, read_yaml

# What Python's json module writes, and YAML would take for text.
_JSON_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

Seconds = Annotated[
    float, AllowInfNan(False), Interval(ge=0), Wording("must be a number of seconds, 0 or more")
]
Period = Annotated[
    float, AllowInfNan(False), Interval(gt=0), Wording("must be a number of seconds above 0")
]
Reward = Annotated[float, Wording("must be one number: rewards are scalars")] | None
Port = Annotated[int, Interval(ge=0, le=65535), Wording("is not a port; use 0 to 65535")]


class All(Parameters):
    """What concerns every part."""

    seed: int | None = Field(
        default=12345,
        description="Of the environment's first reset; null or a negative number draws one.",
    )
    time_stamp_tolerance: Seconds = Field(
        default=0.01,
        description="Seconds by which a tick may be late before it is counted and logged.",
    )
    prefix: str | None = Field(
        default=None,
        description="Directory of the report and of the monitor; null is that of this file.",
    )
    write_report: bool = Field(
        default=True, description="Write what happened in each episode to ``report_file``."
    )
    report_file: str = Field(default="./report.json", description="JSON file below ``prefix``.")
    overwrite_files: bool = Field(
        default=False,
        description="Replace the report of an earlier run; otherwise it is an error.",
    )
    flush_report_interval: PositiveInt | None = Field(
        default=None,
        description="Write the report every so many steps; null: after each episode.",
    )


class MonitorArgs(Parameters):
    """How episodes are recorded."""

    force: bool | None = Field(default=None, description="Delete an earlier recording.")
    resume: bool | None = Field(default=None, description="Add to an earlier recording.")
    video_callable: bool | NonNegativeInt | None = Field(
        default=None,
        description="Null films the usual episodes (0, 1, 8, 27...), N every N-th, false none.",
    )
    write_upon_reset: Any = Field(default=None, description="Of no effect.")
    uid: Any = Field(default=None, description="Of no effect.")
    mode: Any = Field(default=None, description="Of no effect.")


class EnvParams(Parameters):
    """How the environment is made."""

    max_episode_steps: PositiveInt | None = Field(default=None, description="Its time limit.")
    kwargs: dict[str, Any] | None = Field(
        default=None, description="Keyword arguments of the constructor."
    )


class Env(Parameters):
    """The environment, and what the streams carry at the ends of an episode."""

    env: str = Field(default="MountainCar-v0", description="Id in Gymnasium's registry.")
    imports: list[str] = Field(default=[], description="Modules or ``.py`` files that register it.")
    initial_reward: Reward = Field(
        default=None,
        description="Sent with the first observation of an episode; null sends null.",
    )
    final_reward: Reward = Field(
        default=None, description="Replaces the last reward of an episode; null leaves it."
    )
    final_reward_null: Reward = Field(
        default=None,
        description="Replaces a last reward of 0, also by null, where there is no"
        " ``final_reward``.",
    )
    min_reward: Reward = Field(default=-1.0, description="Sent as ``min`` with every reward.")
    max_reward: Reward = Field(default=1.0, description="Sent as ``max`` with every reward.")
    inter_trial_observation: list[Any] | int | float | None = Field(
        default=[9999.0, 9999.0],
        description="Sent between two episodes: values of the observation's shape, or one for all.",
    )
    render: bool = Field(default=True, description="Show the environment in a window.")
    monitor: bool = Field(
        default=False, description="Record statistics and videos of the episodes."
    )
    monitor_dir: str = Field(
        default="./experiment-0/", description="Directory of these, below ``prefix``."
    )
    monitor_args: MonitorArgs = Field(default=MonitorArgs(), description="How.")
    env_params: EnvParams = Field(default=EnvParams(), description="How it is made.")


class EnvRunner(Parameters):
    """The clock of the environment."""

    update_interval: Period = Field(default=0.02, description="Seconds from one step to the next.")
    inter_trial_duration: Seconds = Field(default=0.4, description="Seconds between two episodes.")
    speed: Literal["real", "max"] = Field(
        default="real",
        description="``real`` steps by the clock; ``max`` makes one step a command, as fast as they"
        " come.",
    )


class CommandReceiver(Parameters):
    """Where the commands come from: the agent listens there, and this server connects."""

    host: str = Field(default="127.0.0.1", description="Of the agent.")
    socket: Annotated[int, Interval(ge=1, le=65535), Wording("is not a port; use 1 to 65535")] = (
        Field(default=5555, description="TCP port of the agent.")
    )
    time_stamp_tolerance: Seconds = Field(
        default=0.01,
        description="Seconds by which a command's ``ts`` may be off before it is counted and"
        " logged.",
    )


class ObservationSender(Parameters):
    """The stream of observations."""

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on; ``*`` is every one, and demands keys of ``Security``.",
    )
    socket: Port = Field(default=5556, description="TCP port; 0 takes a free one.")
    update_interval: Period = Field(
        default=0.01, description="Seconds from one message to the next."
    )


class RewardSender(ObservationSender):
    """The stream of rewards."""

    socket: Port = Field(default=5557, description="TCP port; 0 takes a free one.")


class Security(Parameters):
    """CURVE keys, in the files that ``zmq.auth.create_certificates`` writes."""

    secret_key: str | None = Field(
        default=None, description="File of this server's own pair, ``*.key_secret``."
    )
    agent_key: str | None = Field(
        default=None,
        description="File of the agent's public key, ``*.key``; only its commands are taken.",
    )
    listener_keys: list[str] = Field(
        default=[],
        description="Files of the public keys that may read the streams beside the agent's.",
    )


class Sections(Parameters):
    """What a file holds, by gymz's names."""

    all: All = Field(default=All(), alias="All")
    env: Env = Field(default=Env(), alias="Env")
    env_runner: EnvRunner = Field(default=EnvRunner(), alias="EnvRunner")
    command_receiver: CommandReceiver = Field(default=CommandReceiver(), alias="CommandReceiver")
    observation_sender: ObservationSender = Field(
        default=ObservationSender(), alias="ObservationSender"
    )
    reward_sender: RewardSender = Field(default=RewardSender(), alias="RewardSender")
    security: Security = Field(default=Security(), alias="Security")

    def problems(self) -> dict[str, str]:
        """Keys that do not go together."""
        keys = self.security
        if bool(keys.secret_key) != bool(keys.agent_key):
            missing = "agent_key" if keys.secret_key else "secret_key"
            return {
                f"Security.{missing}": "secret_key and agent_key belong together; name both files"
            }
        if keys.listener_keys and not keys.secret_key:
            return {"Security.listener_keys": "is of no use without secret_key and agent_key"}
        return {}


class ZeroMQConfig(Sections):
    """Everything that a ZeroMQ server is told."""

    directory: Path = Field(default=Path(), description="That relative files begin at.")

    @property
    def prefix(self) -> Path:
        """The directory of the report and of the monitor."""
        return self.directory if self.all.prefix is None else expanded(self.all.prefix)


def load_config(
    file: str | Path | None = None, overrides: Iterable[str] | Mapping[str, Any] = ()
) -> ZeroMQConfig:
    """Read a configuration; gymz's own files are read unchanged.

    Args:
        file: JSON or YAML; None takes the defaults.
        overrides: ``Section.key=value`` texts, or such a mapping, which win over the file.

    Raises:
        ConfigError: with every finding, each with file, line and the nearest valid name.
    """
    path = None if file is None else expanded(file)
    document = Document(None) if path is None else _read(path)
    if isinstance(document.data, dict):  # a section may be empty
        document.data = {key: value for key, value in document.data.items() if value is not None}
    reader = Reader(document, overrides)
    sections = reader.read(Sections)
    reader.finish()
    directory = path.resolve().parent if path else Path.cwd()
    return ZeroMQConfig.model_construct(**dict(sections), directory=directory)


def demand_keys(config: ZeroMQConfig) -> None:
    """Refuse to listen beyond this machine without keys.

    Raises:
        UsageError: a stream's host is no loopback address, and there are no keys.
    """
    for name, sender in (
        ("ObservationSender", config.observation_sender),
        ("RewardSender", config.reward_sender),
    ):
        if not is_loopback(sender.host) and not config.security.secret_key:
            raise UsageError(
                f"{name}.host: {sender.host} can be reached from other machines: name the files of"
                " CURVE keys in Security.secret_key and Security.agent_key, or keep the host"
                " 127.0.0.1"
            )


def _read(path: Path) -> Document:
    text = read_text(path)
    if path.suffix.lower() != ".json":
        return read_yaml(text, str(path))
    # JSON is YAML, but for tabs and the names of three numbers.
    document = read_yaml(text.expandtabs(2), str(path))
    document.data = _with_json_numbers(document.data)
    return document


def _with_json_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_json_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_json_numbers(item) for item in value]
    return _JSON_NUMBERS.get(value, value) if isinstance(value, str) else value
