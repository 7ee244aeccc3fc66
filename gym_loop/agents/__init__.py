"""Agents: the contract, and those that come with gym-loop."""

from gym_loop.agents.base_agent import BaseAgent

__all__ = ["BaseAgent"]
