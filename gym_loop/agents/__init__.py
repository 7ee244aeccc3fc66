"""Agents: the contract, what they are told after a step, and those that come with gym-loop."""

from gym_loop.agents.base_agent import BaseAgent
from gym_loop.agents.transition import Transition

__all__ = ["BaseAgent", "Transition"]
