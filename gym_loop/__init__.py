"""gym-loop: one YAML file runs any agent on any Gymnasium environment.

From Python::

    import gym_loop

    config = gym_loop.load_config("run.yaml")
    trained = gym_loop.train(config)
    evaluated = gym_loop.evaluate(config, run=trained.run)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gym_loop.config.run_file import load_config
    from gym_loop.serve.serving import serve
    from gym_loop.training.experiment import evaluate, train

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "load_config", "serve", "train"]

_MODULES = {
    "evaluate": "gym_loop.training.experiment",
    "load_config": "gym_loop.config.run_file",
    "train": "gym_loop.training.experiment",
}


def __getattr__(name: str) -> Any:
    """Import the public functions when they are first used, so that the package stays light."""
    import importlib

    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    if name == "serve":  # a package that can be called
        return importlib.import_module("gym_loop.serve")
    raise AttributeError(f"module 'gym_loop' has no attribute {name!r}")
