"""What the class of an agent or a loop must offer, found out before it is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from gym_loop.agents.base_agent import BaseAgent
from gym_loop.errors import WrongClassError
from gym_loop.loops.base_loop import BaseLoop
from gym_loop.schema.old_code import former_arguments, former_methods

RUNNER_PARAMETERS = ("observation_space", "action_space", "n_envs", "seed")

# How the loops call the methods, by position.
_AGENT_CALLS: dict[str, tuple[str, ...]] = {
    "act": ("state", "episode_num"),
    "memorize": ("last_ob", "action", "reward", "done", "ob"),
    "update": ("episode_num",),
    "observe": ("transition",),
    "metrics": ("episode_num",),
}


def check_contract(cls: type[Any]) -> type[Any]:
    """Return the class of an agent or a loop if the runner can call it.

    Raises:
        WrongClassError: with everything that it lacks, or expects and is not given.
    """
    problems = _static(cls) or _defaults(cls)
    if issubclass(cls, BaseAgent):
        problems += _agent_problems(cls, problems)
    elif issubclass(cls, BaseLoop):
        problems += _loop_problems(cls)
    if problems:
        raise WrongClassError(f"{cls.__name__} breaks the contract: {'; '.join(problems)}")
    return cls


def _static(cls: type[Any]) -> list[str]:
    names = ("get_default_parameters", "check_parameters")
    made = [inspect.getattr_static(cls, name) for name in names]
    return [
        f"{name} must be a @staticmethod"
        for name, method in zip(names, made, strict=True)
        if inspect.isfunction(method)
    ]


def _defaults(cls: type[Any]) -> list[str]:
    defaults = cls.get_default_parameters()
    if isinstance(defaults, Mapping):
        return []
    return [f"get_default_parameters() must return a dictionary, not {defaults!r}"]


def _agent_problems(cls: type[BaseAgent], before: list[str]) -> list[str]:
    problems = []
    for name, arguments in _AGENT_CALLS.items():
        if name == "memorize" and cls.observe is not BaseAgent.observe:
            continue  # only the default observe() calls it
        problems += _uncallable(getattr(cls, name), name, arguments)
    if not before:
        defaults = cls.get_default_parameters()
        problems += [
            f"{name} is given by the runner: take it out of get_default_parameters()"
            for name in RUNNER_PARAMETERS
            if name in defaults
        ]
    return problems + former_methods(cls)


def _uncallable(method: Callable[..., Any], name: str, arguments: tuple[str, ...]) -> list[str]:
    """What is wrong with the arguments of one method of an agent."""
    signature = inspect.signature(method)
    try:
        signature.bind(None, *arguments)
    except TypeError:
        call = f"{name}({', '.join(arguments)})"
        return [f"{name}{signature} is called as {call}{former_arguments(signature)}"]
    return []


def _loop_problems(cls: type[BaseLoop]) -> list[str]:
    signature = inspect.signature(cls.__init__)
    try:
        signature.bind(None, agent=None, env=None, run=None)
    except TypeError:
        call = "__init__(agent=..., env=..., run=..., **parameters)"
        return [f"__init__{signature} is called as {call}"]
    return []


def learns_nothing(cls: type[BaseAgent]) -> bool:
    """Whether an agent stays as it is made: what it is told, it passes over.

    Its ``observe``, ``memorize`` and ``update`` are inherited from `BaseAgent`, or name nothing
    in their bodies (``pass``, or a docstring alone), so that they can change nothing.
    """

    def passes_over(name: str) -> bool:
        method = getattr(cls, name)
        code = getattr(method, "__code__", None)
        is_empty = code is not None and not code.co_names and not code.co_freevars
        return method is getattr(BaseAgent, name) or is_empty

    return all(map(passes_over, ("observe", "memorize", "update")))
