"""What an agent may add so that copies of it act in workers while it observes and learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gym_loop.agents.base_agent import BaseAgent
from gym_loop.checkpoints.tree import capture_attributes, restore_attributes
from gym_loop.errors import ContractError

if TYPE_CHECKING:
    _Agent = BaseAgent
else:
    _Agent = object  # classes that derive from it name BaseAgent as well


class ActsInWorkers(_Agent):
    """Beside `BaseAgent`, for agents that say what their copies need in a VectorLoop with
    ``rollout_steps``: ``class MyAgent(ActsInWorkers, BaseAgent)``.

    Any agent may act in workers. Of one that does not derive from this class, each copy gets the
    whole `state_dict` before each rollout, and nothing of it comes back.

    Attributes:
        acts_with: names of the attributes that `act` reads and learning changes, such as a network;
            empty for all of them.
        on_policy_parameter: name of the parameter that says how many steps of each environment one
            policy must choose; None where an older one may have chosen any of them.
    """

    acts_with: tuple[str, ...] = ()
    on_policy_parameter: str | None = None

    def acting_state(self) -> dict[str, Any]:
        """What a copy needs to act as this agent does: ``acts_with``, else all of `state_dict`.

        Raises:
            ContractError: ``acts_with`` names what is no attribute.
        """
        if not self.acts_with:
            return self.state_dict()
        return self._with_parameters(
            capture_attributes(self, exclude=self._not_for_acting(), path="agent", copy=False)
        )

    def load_acting_state(self, state: dict[str, Any]) -> None:
        """Act from now on as the agent whose `acting_state` this is, and forget what was before.

        Raises:
            StateError: the state does not fit this copy, which was made with ``n_envs=1``.
        """
        if not self.acts_with:
            load_whole_state(self, state)
        else:
            restore_attributes(self, state, exclude=self._not_for_acting(), path="agent")
            self._load_parameters(state)

    def _not_for_acting(self) -> set[str]:
        if missing := set(self.acts_with) - vars(self).keys():
            raise ContractError(
                f"{type(self).__name__}.acts_with names {', '.join(sorted(missing))}, which is no"
                " attribute that __init__ sets"
            )
        return vars(self).keys() - set(self.acts_with)

    def acted_state(self) -> tuple[Any, ...]:
        """What the latest `act` left for `observe`: arrays ``[N, ...]``; by default nothing."""
        return ()

    def load_acted_state(self, state: Any, acted: tuple[Any, ...]) -> None:
        """Called in place of `act` where copies have acted: leave the same for `observe`.

        Args:
            state: the observations ``[N, ...]`` that they acted on.
            acted: what `acted_state` returned there.
        """


def as_acting(agent: BaseAgent) -> ActsInWorkers | None:
    """The agent, if it says what its copies need; None if they get its whole state.

    Raises:
        ContractError: it says so without deriving from `ActsInWorkers`.
    """
    if isinstance(agent, ActsInWorkers):
        return agent
    names = [name for name in vars(ActsInWorkers) if name[0] != "_" and hasattr(agent, name)]
    if names:
        raise ContractError(
            f"{type(agent).__name__} has {', '.join(sorted(names))}, for copies in workers: derive"
            " it from gym_loop.agents.acting:ActsInWorkers, or nobody asks for it"
        )
    return None


def load_whole_state(agent: BaseAgent, state: dict[str, Any]) -> None:
    """Make a copy what the agent with this `state_dict` is; what acting has left is forgotten."""
    if type(agent).load_state_dict is BaseAgent.load_state_dict:
        for name in vars(agent).keys() - state.keys() - set(agent._fixed):
            delattr(agent, name)
    agent.load_state_dict(state)
