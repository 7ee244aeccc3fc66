"""Code and run files of another kind: what to write in their place, in one sentence.

Of the first gym-loop, of the old Gym, of PettingZoo, and of beginners.
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from typing import Any

_RESET = (
    "its reset() must be reset(self, *, seed=None, options=None) and return (observation, info),"
    " as Gymnasium calls it"
)
_STEP = "its step() must return (observation, reward, terminated, truncated, info)"
_OURS = os.path.dirname(os.path.dirname(__file__))
_MOVED_CLASSES = {
    "gym_loop.agents.pytorch_ppo:PPO": "gym_loop.agents.ppo:PPO",
    "gym_loop.agents.pytorch_rainbow_dqn:PytorchRainbowDqn": "gym_loop.agents.dqn:DQN",
    "gym_loop.loops.multienv_loop:MultiEnvLoop": "gym_loop.loops.vector_loop:VectorLoop",
    "gym_loop.loops.multienv_batch_loop:MultiEnvBatchLoop": (
        "gym_loop.loops.vector_loop:VectorLoop"
    ),
}
# What to do about a module that is missing; see `gym_loop.schema.class_strings`.
OLD_MODULES = {"gym": "; it is Gymnasium today: import gymnasium as gym"}


def moved(class_name: str) -> str:
    """``"; it is ... now"`` for a class of the first gym-loop, else an empty string."""
    new = _MOVED_CLASSES.get(class_name)
    return f"; it is {new} now" if new else ""


def former_arguments(signature: inspect.Signature) -> str:
    """Which arguments of an agent's method only the first gym-loop passed; or ""."""
    extra = [one for one in ("global_step", "env_id") if one in signature.parameters]
    verb = "is" if len(extra) == 1 else "are"
    return f": {' and '.join(extra)} {verb} not passed any more" if extra else ""


def former_methods(cls: type[Any]) -> list[str]:
    """What an agent's class offers that only the first gym-loop called."""
    if hasattr(cls, "get_default_policy"):
        return ["get_default_policy() is not called any more: make the policy in __init__"]
    return []


def explained(error: BaseException) -> str:
    """One sentence for what beginners and old code meet most often, else an empty string."""
    text = str(error)
    if isinstance(error, AttributeError):
        parameters = getattr(error.obj, "parameters", None)
        if isinstance(parameters, dict) and error.name in parameters:
            return f"parameters are no attributes: write self.parameters[{error.name!r}]"
    if isinstance(error, AssertionError) and text.endswith(" invalid"):
        return "the action does not fit the action space; gym-loop check -c FILE shows both"
    if isinstance(error, TypeError) and "BaseLoop.__init__() missing" in text:
        return "call super().__init__(agent, env, run, **parameters)"
    return explained_call(error)


def explained_call(error: BaseException) -> str:
    """What a reset() or a step() has to become, where Gymnasium's way to call it failed; or ""."""
    frames = traceback.extract_tb(error.__traceback__)
    gymnasium = sys.modules.get("gymnasium")
    callers = (_OURS, os.path.dirname(str(gymnasium.__file__)) if gymnasium else _OURS)
    if not frames or not frames[-1].filename.startswith(callers):
        return ""  # a mistake in the environment's own code
    text, called = f"{error}", frames[-1].line or ""
    if isinstance(error, AssertionError) and "Expects step result to be a tuple" in text:
        return f"the environment answers a step with something else: {_STEP}"
    unpacked = isinstance(error, (TypeError, ValueError)) and "unpack" in text
    if unpacked and ("(expected 5" in text or "reset" not in called):
        return f"the environment is of the old Gym: {_STEP}"
    other_arguments = "reset() got an unexpected keyword argument" in text
    no_info = isinstance(error, AttributeError) and "env_info." in called
    if unpacked or no_info or (isinstance(error, TypeError) and other_arguments):
        return f"the environment is of the old Gym: {_RESET}"
    return ""


def explained_reset(info: Any) -> str:
    """What is wrong with the second part of what reset() returned; or ""."""
    return "" if isinstance(info, dict) else f"the environment is of the old Gym: {_RESET}"


def explained_kind(env: Any) -> str:
    """What an object is that is no environment of Gymnasium's, and what to do about it; or ""."""
    if not hasattr(env, "possible_agents"):
        return ""
    kind = "AEC" if hasattr(env, "agent_iter") else "parallel"
    return (
        f"it is a PettingZoo environment ({kind}) of many agents, and gym-loop trains one: write a"
        " gymnasium.Env around it in which the other agents act by themselves"
    )


def refused_object(error: BaseException) -> Any:
    """The object that Gymnasium refused to take as an environment; None if it was another error."""
    if not isinstance(error, TypeError) or "must inherit from" not in str(error):
        return None
    here = error.__traceback__
    while here is not None and here.tb_next is not None:
        here = here.tb_next
    return here.tb_frame.f_locals.get("env") if here is not None else None
