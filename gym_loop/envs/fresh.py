"""An environment that is made once more: for each evaluation, or for a proof."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def made_again(env: Any, make: Callable[[], Any], close: Callable[[Any], None]) -> Any:
    """An environment that has never been stepped, in place of one that has.

    Args:
        env: it is closed; None at first. Copies in other processes are made again where they
            are, for starting those processes can take seconds.
        make: makes it.
        close: closes the other one.
    """
    if getattr(type(env), "copies_elsewhere", False):
        env.call("make_again")
        return env
    if env is not None:
        close(env)
    with in_silence():
        return make()


@contextmanager
def in_silence() -> Iterator[None]:
    """Show no warning, Python's or MuJoCo's: the run's own environment has given them all."""
    mujoco = sys.modules.get("mujoco")
    shown = mujoco and mujoco.get_mju_user_warning()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if mujoco:
            mujoco.set_mju_user_warning(lambda text: None)
        try:
            yield
        finally:
            if mujoco:
                mujoco.set_mju_user_warning(shown)
