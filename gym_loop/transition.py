"""What the agent is told after each step."""

from __future__ import annotations

from typing import Any, NamedTuple


class Transition(NamedTuple):
    """One step of the environment, or of ``N`` environments at once.

    In a VectorLoop every array has a leading axis ``M``, one row for each copy that took a step,
    and ``info["env_ids"]`` says which copies they are.

    Args:
        last_ob: observation that the action was chosen for.
        action: what the agent did.
        reward: reward of the step.
        terminated: the task ended (no value beyond ``ob``).
        truncated: the episode was cut, by a time limit for example; the task goes on
            behind ``ob``, so its value still counts.
        ob: observation after the step; at the end of an episode, its true last one.
        info: the environment's info dictionary.
    """

    last_ob: Any
    action: Any
    reward: Any
    terminated: Any
    truncated: Any
    ob: Any
    info: dict[str, Any]

    @property
    def done(self) -> Any:
        """The episode is over: ``terminated or truncated``, element by element for arrays."""
        return self.terminated | self.truncated
