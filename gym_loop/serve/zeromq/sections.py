"""The sections of a ZeroMQ server's configuration, which are gymz's, with their defaults."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gym_loop.schema.class_strings import did_you_mean
from gym_loop.schema.files import expanded

_MONITOR_ARGS = ("video_callable", "force", "resume", "write_upon_reset", "uid", "mode")


@dataclass(frozen=True, kw_only=True)
class All:
    """What concerns every part.

    Args:
        seed: of the environment's first reset; null or a negative number draws one.
        time_stamp_tolerance: seconds by which a tick may be late before it is counted and logged.
        prefix: directory of the report and of the monitor; null is that of this file.
        write_report: write what happened in each episode to ``report_file``.
        report_file: JSON file below ``prefix``.
        overwrite_files: replace the report of an earlier run; otherwise it is an error.
        flush_report_interval: write the report every so many steps; null: after each episode.
    """

    seed: int | None = 12345
    time_stamp_tolerance: float = 0.01
    prefix: str | None = None
    write_report: bool = True
    report_file: str = "./report.json"
    overwrite_files: bool = False
    flush_report_interval: int | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with the values, by key."""
        yield from _negative(self, "time_stamp_tolerance")
        if self.flush_report_interval is not None and self.flush_report_interval < 1:
            yield (
                "flush_report_interval",
                f"{self.flush_report_interval} must be at least 1, or null",
            )


@dataclass(frozen=True, kw_only=True)
class Env:
    """The environment, and what the streams carry at the ends of an episode.

    Args:
        env: id in Gymnasium's registry.
        imports: modules or ``.py`` files that register it.
        initial_reward: sent with the first observation of an episode; null sends null.
        final_reward: replaces the last reward of an episode; null leaves it.
        final_reward_null: replaces a last reward of 0, also by null, where there is no
            ``final_reward``.
        min_reward: sent as ``min`` with every reward.
        max_reward: sent as ``max`` with every reward.
        inter_trial_observation: sent between two episodes; it has the observation's shape.
        render: show the environment in a window.
        monitor: record statistics and videos of the episodes.
        monitor_dir: directory of these, below ``prefix``.
        monitor_args: ``force`` deletes an earlier recording and ``resume`` adds to it;
            ``video_callable`` says which episodes are filmed: null the usual ones (0, 1, 8, 27...),
            N every N-th, false none.
        env_params: ``max_episode_steps`` and ``kwargs``, the keyword arguments of the constructor.
    """

    env: str = "MountainCar-v0"
    imports: list[str] = field(default_factory=list)
    initial_reward: float | None = None
    final_reward: float | None = None
    final_reward_null: float | None = None
    min_reward: float | None = -1.0
    max_reward: float | None = 1.0
    inter_trial_observation: list[Any] | int | float = field(
        default_factory=lambda: [9999.0, 9999.0]
    )
    render: bool = True
    monitor: bool = False
    monitor_dir: str = "./experiment-0/"
    monitor_args: dict[str, Any] = field(default_factory=dict)
    env_params: dict[str, Any] = field(default_factory=dict)

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with the values, by key."""
        if not all(isinstance(name, str) for name in self.imports):
            yield "imports", "must be a list of module names"
        for key in self.monitor_args:
            if key not in _MONITOR_ARGS:
                yield f"monitor_args.{key}", f"unknown{nearest(key, _MONITOR_ARGS)}"
        video = self.monitor_args.get("video_callable")
        if video is not None and (not isinstance(video, int) or video < 0):
            yield "monitor_args.video_callable", f"{video!r} must be null, false or a number"
        for key in self.env_params:
            if key not in ("max_episode_steps", "kwargs"):
                yield f"env_params.{key}", f"unknown{nearest(key, ('max_episode_steps', 'kwargs'))}"
        steps = self.env_params.get("max_episode_steps")
        if steps is not None and (type(steps) is not int or steps < 1):
            yield "env_params.max_episode_steps", f"{steps!r} must be a whole number from 1 on"
        if not isinstance(self.env_params.get("kwargs") or {}, dict):
            yield "env_params.kwargs", "must be a mapping of keyword arguments"


@dataclass(frozen=True, kw_only=True)
class EnvRunner:
    """The clock of the environment.

    Args:
        update_interval: seconds from one step to the next.
        inter_trial_duration: seconds between two episodes.
        speed: ``real`` steps by the clock; ``max`` makes one step a command, as fast as they come.
    """

    update_interval: float = 0.02
    inter_trial_duration: float = 0.4
    speed: Literal["real", "max"] = "real"

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with the values, by key."""
        yield from _not_positive(self, "update_interval")
        yield from _negative(self, "inter_trial_duration")


@dataclass(frozen=True, kw_only=True)
class CommandReceiver:
    """Where the commands come from: the agent listens there, and this server connects.

    Args:
        host: of the agent.
        socket: TCP port of the agent.
        time_stamp_tolerance: seconds by which a command's ``ts`` may be off before it is counted
            and logged.
    """

    host: str = "127.0.0.1"
    socket: int = 5555
    time_stamp_tolerance: float = 0.01

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with the values, by key."""
        yield from _no_port(self.socket, least=1)
        yield from _negative(self, "time_stamp_tolerance")


@dataclass(frozen=True, kw_only=True)
class ObservationSender:
    """The stream of observations.

    Args:
        host: address to listen on; ``*`` is every one, and demands the keys of ``Security``.
        socket: TCP port; 0 takes a free one.
        update_interval: seconds from one message to the next.
    """

    host: str = "127.0.0.1"
    socket: int = 5556
    update_interval: float = 0.01

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with the values, by key."""
        yield from _no_port(self.socket, least=0)
        yield from _not_positive(self, "update_interval")


@dataclass(frozen=True, kw_only=True)
class RewardSender(ObservationSender):
    """The stream of rewards.

    Args:
        host: address to listen on; ``*`` is every one, and demands the keys of ``Security``.
        socket: TCP port; 0 takes a free one.
        update_interval: seconds from one message to the next.
    """

    socket: int = 5557


@dataclass(frozen=True, kw_only=True)
class Security:
    """CURVE keys, in the files that ``zmq.auth.create_certificates`` writes.

    Args:
        secret_key: file of this server's own pair, ``*.key_secret``.
        agent_key: file of the agent's public key, ``*.key``; only its commands are taken.
        listener_keys: files of the public keys that may read the streams beside the agent's.
    """

    secret_key: str | None = None
    agent_key: str | None = None
    listener_keys: list[str] = field(default_factory=list)

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with the values, by key."""
        if bool(self.secret_key) != bool(self.agent_key):
            missing = "agent_key" if self.secret_key else "secret_key"
            yield missing, "secret_key and agent_key belong together; name both files"
        if self.listener_keys and not self.secret_key:
            yield "listener_keys", "is of no use without secret_key and agent_key"


Section = All | Env | EnvRunner | CommandReceiver | ObservationSender | RewardSender | Security


@dataclass(frozen=True, kw_only=True)
class ZeroMQConfig:
    """Everything that a ZeroMQ server is told; see the sections' classes.

    Args:
        directory: that relative files begin at where ``All.prefix`` is null.
    """

    all: All = field(default_factory=All)
    env: Env = field(default_factory=Env)
    env_runner: EnvRunner = field(default_factory=EnvRunner)
    command_receiver: CommandReceiver = field(default_factory=CommandReceiver)
    observation_sender: ObservationSender = field(default_factory=ObservationSender)
    reward_sender: RewardSender = field(default_factory=RewardSender)
    security: Security = field(default_factory=Security)
    directory: Path = field(default_factory=Path)

    @property
    def prefix(self) -> Path:
        """The directory of the report and of the monitor."""
        return self.directory if self.all.prefix is None else expanded(self.all.prefix)


# By the name in the file: the field, and the class of the section.
SECTIONS: dict[str, tuple[str, type[Section]]] = {
    "All": ("all", All),
    "Env": ("env", Env),
    "EnvRunner": ("env_runner", EnvRunner),
    "CommandReceiver": ("command_receiver", CommandReceiver),
    "ObservationSender": ("observation_sender", ObservationSender),
    "RewardSender": ("reward_sender", RewardSender),
    "Security": ("security", Security),
}


def nearest(name: Any, known: Iterable[str]) -> str:
    """The nearest of the known names, or all of them, to go behind what is wrong."""
    known = list(known)
    return did_you_mean(str(name), known) or f"; known are {', '.join(known)}"


def _negative(section: Any, key: str) -> Iterator[tuple[str, str]]:
    if not 0 <= getattr(section, key) < math.inf:
        yield key, f"{getattr(section, key)} must be a number of seconds, 0 or more"


def _not_positive(section: Any, key: str) -> Iterator[tuple[str, str]]:
    if not 0 < getattr(section, key) < math.inf:
        yield key, f"{getattr(section, key)} must be a number of seconds greater than 0"


def _no_port(port: int, *, least: int) -> Iterator[tuple[str, str]]:
    if not least <= port <= 65535:
        yield "socket", f"{port} is no port; use {least} to 65535"
