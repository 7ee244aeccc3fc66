"""Loops: the contract, and those that come with gym-loop."""

from gym_loop.loops.base_loop import BaseLoop

__all__ = ["BaseLoop"]
