"""What a client or an environment did wrong, answered on the wire; never a reason to end."""

from __future__ import annotations


class Problem(Exception):  # noqa: N818 - the server goes on; an Error is what ends a program
    """One request that cannot be fulfilled.

    Args:
        message: one sentence that the client gets.
    """

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class MalformedEnvId(Problem):
    """An environment id that is no text of the form ``Name-v1`` or ``namespace/Name-v1``."""


class UnknownEnvId(Problem):
    """A well-formed id under which nothing is served."""


class EnvFailed(Problem):
    """The environment could not be made, raised, or returned nonsense."""


class UnknownInstance(Problem):
    """No environment is open under this instance id: never made, closed, or its lease ended."""


class ResetNeeded(Problem):
    """A step before the first reset."""


class WrongAction(Problem):
    """An action that is not in the action space."""


class WrongSeed(Problem):
    """A seed that is no integer from 0 on."""


class TooManyInstances(Problem):
    """The server holds as many environments as it may."""
