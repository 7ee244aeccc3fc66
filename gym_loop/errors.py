"""Every error that a user can cause, in one tree.

Each message names the value, the place and the remedy. The command line prints the
message alone and ends with ``exit_status``; from Python the exceptions are raised as
they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class GymLoopError(Exception):
    """The root: whatever gym-loop refuses, with one clear sentence why."""

    exit_status = 2


# -- what is written in a run file, or on the command line -------------------------------


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong in a run file.

    Args:
        place: dotted path of the value, such as ``loop.parameters.max_episodes``.
        problem: what is wrong with it and what to do.
        source: the file, or the option, that holds the value.
        line: line number in the file, from 1, where it is known.
    """

    place: str
    problem: str
    source: str = ""
    line: int | None = None

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.source, self.line) if part)
        return ": ".join(part for part in (where, self.place, self.problem) if part)


MOST_FINDINGS = 100


class ConfigError(GymLoopError):
    """A run configuration that cannot be used; holds every finding, not only the first.

    Of very many it holds the first hundred, and one that says how many more there are.
    """

    def __init__(self, findings: Sequence[Finding] | str) -> None:
        if isinstance(findings, str):
            findings = [Finding("", findings)]
        self.findings = list(findings[:MOST_FINDINGS])
        if (more := len(findings) - MOST_FINDINGS) > 0:
            self.findings.append(Finding("", f"and {more:,} more like these"))
        super().__init__("\n".join(str(finding) for finding in self.findings))


class UsageError(GymLoopError):
    """Arguments that do not fit together, or a file that is in the way."""


class ReportExistsError(UsageError):
    """The report of an earlier run of a server is in the way."""

    exit_status = 1


# -- classes named by a string -----------------------------------------------------------


class ClassLoadError(GymLoopError):
    """A class string that does not lead to a usable class."""


class ModuleMissingError(ClassLoadError):
    """There is no such module or file."""


class ModuleBrokenError(ClassLoadError):
    """The module exists, but raised while it was imported; ``traceback`` is its own."""

    def __init__(self, message: str, traceback: str) -> None:
        self.traceback = traceback
        super().__init__(f"{message}\n{traceback.rstrip()}")


class ClassMissingError(ClassLoadError):
    """The module was imported, but has no such class."""


class WrongClassError(ClassLoadError):
    """The class exists, but is not an agent, a loop, or whatever was asked for."""


# -- environments ------------------------------------------------------------------------


class EnvError(GymLoopError):
    """An environment that cannot be made or used."""


class EnvUnknownError(EnvError):
    """No environment is registered under this name."""


class EnvPackageMissingError(EnvError):
    """The environment is known, but the package that it needs is not installed."""


class EnvParametersError(EnvError):
    """The environment's constructor, or a wrapper's, refused its parameters."""


class EnvWorkerError(EnvError):
    """A worker process that holds a copy of the environment raised, or died."""

    exit_status = 1


class BridgeError(EnvError):
    """An environment in another process, or the way to it, that failed."""

    exit_status = 1


class BridgeConnectionError(BridgeError):
    """The peer cannot be reached, went away, or did not answer in time."""


class BridgeProtocolError(BridgeError):
    """The peer answered something that its protocol does not allow, or refused a request."""


class SampleError(BridgeError):
    """An observation or an action that does not fit its space."""


class SpaceError(GymLoopError):
    """An agent or a loop that cannot handle the spaces of the environment."""


class RenderError(EnvError):
    """The environment cannot be shown or recorded on this machine."""


# -- what a run keeps on disk ------------------------------------------------------------


class RunError(GymLoopError):
    """A run directory that is missing, in use, or cannot be written."""


class RunLockedError(RunError):
    """Another process is working on this run."""


class SeedsFailedError(RunError):
    """Of many seeds some could not be trained; ``results`` are those of the others."""

    exit_status = 1

    def __init__(self, message: str, results: Sequence[Any]) -> None:
        self.results = list(results)
        super().__init__(message)


class SweepError(RunError):
    """A sweep that cannot be begun, continued or carried out."""


class CheckpointError(RunError):
    """No usable checkpoint."""


class CheckpointMissingError(CheckpointError):
    """There is no checkpoint where one was expected."""


class CheckpointCorruptError(CheckpointError):
    """A checkpoint that is truncated or altered; it is never half-loaded."""


class CheckpointMismatchError(CheckpointError):
    """A checkpoint that was made by something else than what it is loaded into."""


class StateError(GymLoopError):
    """A value that cannot be saved as data, or data that does not fit what it is loaded into."""


class RecordingError(GymLoopError):
    """No video can be encoded here."""


# -- contracts ---------------------------------------------------------------------------


class ContractError(GymLoopError):
    """An agent, a loop or an environment that does not keep its contract."""

    exit_status = 1
