"""An environment for each evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gym_loop.envs.shards import ShardsEnv
from gym_loop.envs.silence import in_silence
from gym_loop.envs.workers import WorkersEnv


def made_again(env: Any, make: Callable[[], Any], close: Callable[[Any], None]) -> Any:
    """An environment that has never been stepped, in place of one that has.

    Args:
        env: it is closed; None at first. Copies in other processes are made again where they
            are, for starting those processes can take seconds.
        make: makes it.
        close: closes the other one.
    """
    if type(env) in (WorkersEnv, ShardsEnv):
        env.call("make_again")
        return env
    if env is not None:
        close(env)
    with in_silence():
        return make()
