"""From the ``env`` section of a run file to a working environment."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.vector import SyncVectorEnv, VectorEnv

from gym_loop.envs.spaces import with_lasting_spaces
from gym_loop.errors import (
    EnvError,
    EnvPackageMissingError,
    EnvParametersError,
    EnvUnknownError,
    GymLoopError,
    RenderError,
)
from gym_loop.schema.arguments import as_asked
from gym_loop.schema.class_strings import load_class, load_module
from gym_loop.schema.old_code import explained_kind, refused_object
from gym_loop.schema.suggestions import did_you_mean, nearest

# What registers a namespace's environments only when it is imported, and the package it is in.
_REGISTERED_BY = {"ALE": ("ale_py", "ale-py"), "gym_loop": ("gym_loop.envs.remote", "gym-loop")}
_REGISTER = "name the module that registers it in env.imports (create-default: with --import)"
# ``import gym_loop`` stays light, so that name in ``env.imports`` means the part that registers.
_REGISTERING_PART = {"gym_loop": "gym_loop.envs.remote"}


@dataclass(frozen=True)
class WrapperSpec:
    """One wrapper: its class string and the keyword arguments after the environment."""

    class_name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EnvSpec:
    """Everything that makes one environment.

    Args:
        name: id in Gymnasium's registry, ``module:Id-v0`` where the module registers it, or a class
            string of what gives a vector environment.
        imports: modules or ``.py`` files that register environments.
        parameters: keyword arguments of the environment.
        wrappers: applied in this order, the last one outermost.
        max_episode_steps: time limit in steps; None keeps the registered one.
        search: directories in which relative file names are tried after the working directory.
        whole_batches: of many copies, the agent takes a row of each at every step.
    """

    name: str
    imports: Sequence[str] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    wrappers: Sequence[WrapperSpec] = ()
    max_episode_steps: int | None = None
    search: Sequence[Path] = ()
    whole_batches: bool = False

    @property
    def id(self) -> str:
        """The name without the module before it: what the registry knows."""
        return self.name if is_class_string(self.name) else self.name.rpartition(":")[2]


def import_env_modules(spec: EnvSpec) -> None:
    """Import what registers the environment.

    Raises:
        ClassLoadError: a module is missing, or broke while it was imported.
    """
    module, colon, _ = spec.name.rpartition(":")
    named = [module] if colon and not is_class_string(spec.name) else []
    for name in [*spec.imports, *named]:
        load_module(_REGISTERING_PART.get(name, name), search=spec.search)
    namespace = spec.id.partition("/")[0]
    if "/" in spec.id and namespace in _REGISTERED_BY:
        module, package = _REGISTERED_BY[namespace]
        try:
            importlib.import_module(module)
        except ImportError:
            raise EnvPackageMissingError(
                f"{spec.name} needs the package {package}: pip install {package}"
            ) from None


def is_class_string(name: str) -> bool:
    """Whether a name is ``module:Name`` or ``file.py:Name``, not Gymnasium's ``module:Id-v0``."""
    module, _, attribute = name.rpartition(":")
    return bool(module) and attribute.isidentifier()


def load_creator(spec: EnvSpec) -> Callable[..., Any]:
    """Load the class or function that a class string names.

    Raises:
        ClassLoadError: its module cannot be loaded.
        EnvUnknownError: the module has nothing of that name that can be called.
    """
    module_name, _, attribute = spec.name.rpartition(":")
    module = load_module(module_name, search=spec.search)
    creator = getattr(module, attribute, None)
    if not callable(creator):
        names = [name for name, value in vars(module).items() if callable(value)]
        raise EnvUnknownError(
            f"{module_name} has no class or function {attribute}{did_you_mean(attribute, names)}"
        )
    found: Callable[..., Any] = creator
    return found


def check_registered(spec: EnvSpec) -> None:
    """Find the environment in the registry, or load what its class string names.

    Raises:
        EnvUnknownError: there is none of this name; the message says the nearest.
        ClassLoadError: the module of a class string cannot be loaded.
    """
    if is_class_string(spec.name):
        load_creator(spec)
        return
    try:
        registered(spec)
    except gym.error.Error as error:
        raise EnvUnknownError(_unknown(spec.id, error)) from None


def registered(spec: EnvSpec) -> Any:
    """What Gymnasium's registry has under the environment's id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an outdated version is said when it is made
        return gym.spec(spec.id)


def registered_versions(name: str) -> list[str]:
    """The ids in the registry that are this one but for their version, the newest last."""
    base = name.rpartition("-v")[0] or name
    parts = {known: known.rpartition("-v") for known in gym.registry}
    versions = {
        known: int(version)
        for known, (before, _, version) in parts.items()
        if before == base and version.isdecimal()
    }
    return sorted(versions, key=versions.__getitem__)


def _unknown(name: str, error: gym.error.Error) -> str:
    """One sentence: what is wrong with the name and what is near it."""
    base = name.rpartition("-v")[0] or name
    if versions := registered_versions(name):
        return f"there is no environment {name}; use {versions[-1]}"
    if isinstance(error, gym.error.NamespaceNotFound):
        namespace = name.partition("/")[0]
        return (
            f"there is no environment {name}: nothing has registered the namespace {namespace};"
            f" {_REGISTER}"
        )
    # Without their versions, which make ids look more alike than they are.
    ids = {known.rpartition("-v")[0] or known: known for known in sorted(gym.registry)}
    near = nearest(base, ids)
    hint = f"did you mean {ids[near]}?" if near else _REGISTER
    return f"there is no environment {name}; {hint}"


def make_env(spec: EnvSpec, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
    """Make and wrap one environment.

    Args:
        spec: what to make.
        render_mode: None, ``"rgb_array"`` or ``"human"``.

    Raises:
        EnvUnknownError: no such environment.
        EnvPackageMissingError: it needs a package that is not installed.
        EnvParametersError: it, or a wrapper, refused its parameters.
        RenderError: it cannot render in this mode.
        ClassLoadError: a wrapper or an import cannot be loaded.
    """
    import_env_modules(spec)
    check_registered(spec)
    if is_class_string(spec.name):
        raise EnvError(
            f"env.name: {spec.name} is a class string, which gives many copies at once: use the"
            " loop gym_loop.loops.vector_loop:VectorLoop, or an id in Gymnasium's registry"
        )
    keywords = dict(spec.parameters)
    if keywords and (creator := _creator(spec)) is not None:
        keywords = as_asked(creator, keywords)
    if render_mode is not None:
        _check_render_mode(spec, render_mode)
        keywords["render_mode"] = render_mode
    with refusals(spec):
        env = gym.make(spec.id, max_episode_steps=spec.max_episode_steps, **keywords)
    for wrapper in spec.wrappers:
        env = _wrap(env, wrapper, spec)
    lasting: gym.Env[Any, Any] = with_lasting_spaces(env)
    return lasting


@contextmanager
def refusals(spec: EnvSpec) -> Iterator[None]:
    """Turn whatever the making of an environment raises into one sentence with a remedy.

    Raises:
        EnvPackageMissingError: it needs a package that is not installed.
        EnvParametersError: it refused its parameters.
    """
    try:
        yield
    except GymLoopError:
        raise
    except gym.error.DependencyNotInstalled as error:
        raise EnvPackageMissingError(f"{spec.name} needs a missing package: {error}") from None
    except ModuleNotFoundError as error:
        raise EnvPackageMissingError(
            f"{spec.name} needs the module {error.name}: pip install {error.name}"
        ) from None
    except Exception as error:
        raise EnvParametersError(_refused(spec, error)) from error


def _wrap(env: gym.Env[Any, Any], wrapper: WrapperSpec, spec: EnvSpec) -> gym.Env[Any, Any]:
    wrapper_class = load_class(wrapper.class_name, gym.Wrapper, kind="wrapper", search=spec.search)
    try:
        keywords = as_asked(wrapper_class, wrapper.parameters)
        wrapped: gym.Env[Any, Any] = wrapper_class(env, **keywords)
    except Exception as error:
        close_quietly(env)
        raise EnvParametersError(
            f"env.wrappers: {wrapper.class_name} refused {dict(wrapper.parameters)}:"
            f" {_said(error)}{_accepted(wrapper_class, skip=2)}"
        ) from error
    return wrapped


def _refused(spec: EnvSpec, error: Exception) -> str:
    if kind := explained_kind(refused_object(error)):
        return f"env.name: {spec.name}: {kind}"
    creator = _creator(spec) if isinstance(error, TypeError) else None
    accepted = _accepted(creator, skip=1 if inspect.isclass(creator) else 0) if creator else ""
    seed = "; the run's seed is the key seed of the run file" if "seed" in spec.parameters else ""
    if isinstance(error, TypeError) and "argument 'num_envs'" in str(error):
        return (
            f"env.name: {spec.name} takes no num_envs, so it makes no copies; register it with"
            " Gymnasium as an environment of one agent, and name its id"
        )
    said = _said(error)
    if not spec.parameters and not accepted:
        return f"env.name: {spec.name} could not be made: {said}"
    given = dict(spec.parameters)
    return f"env.parameters: {spec.name} refused {given}: {said}{accepted}{seed}"


def _said(error: BaseException) -> str:
    """What was raised, in words; of what has none, such as a bare assert, the line that raised."""
    text = str(error).strip()
    frames = traceback.extract_tb(error.__traceback__)
    if not text and frames:
        text = f"{frames[-1].line} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
    return f"{type(error).__name__}: {text}"


def _creator(spec: EnvSpec) -> Any:
    """The class or function behind an environment; None if it cannot be loaded."""
    if is_class_string(spec.name):
        return load_creator(spec)
    entry_point = registered(spec).entry_point
    if not isinstance(entry_point, str):
        return entry_point
    try:
        return gym.envs.registration.load_env_creator(entry_point)
    except Exception:  # noqa: BLE001 - making the environment fails in the same way, and says so
        return None


def _accepted(creator: Any, skip: int) -> str:
    """Name the keyword arguments that a constructor takes."""
    function = creator.__init__ if inspect.isclass(creator) else creator
    try:
        names = list(inspect.signature(function).parameters)[skip:]
    except (TypeError, ValueError):
        return ""
    names = [name for name in names if name not in ("render_mode", "kwargs", "args")]
    return f" (it takes {', '.join(names) or 'no parameters'})"


def _check_render_mode(spec: EnvSpec, render_mode: str) -> None:
    """Refuse a render mode before Gymnasium warns and carries on without it."""
    modes = (getattr(_creator(spec), "metadata", None) or {}).get("render_modes")
    if modes is None or render_mode in modes:
        return
    if render_mode == "human" and "rgb_array" in modes:
        return  # Gymnasium shows the frames in a window of its own
    wish = "a window (render)" if render_mode == "human" else "frames (record)"
    raise RenderError(
        f"{spec.name} cannot give {wish}: its render modes are {', '.join(modes) or 'none'};"
        " set render and record to false"
    )


def make_visible_env(
    spec: EnvSpec, *, render: bool = False, record: bool = False
) -> gym.Env[Any, Any]:
    """Make an environment that shows itself in a window, gives frames to a recorder, or both."""
    if not render:
        if record and not any(name in os.environ for name in _DISPLAYS):
            # Frames need no display, and pygame complains about a missing one.
            os.environ["SDL_VIDEODRIVER"] = "dummy"
            _without_display.append("dummy")
        return make_env(spec, render_mode="rgb_array" if record else None)
    if not record:
        return make_env(spec, render_mode="human")
    return gym.wrappers.HumanRendering(make_env(spec, render_mode="rgb_array"))


def frame_source(env: Any) -> Any:
    """The environment whose ``render()`` gives frames, below a window's wrapper.

    Of many copies in this process it is the first.
    """
    layer = env = first_copy(env)
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, gym.wrappers.HumanRendering):
            return layer.env
        layer = layer.env
    return env


def first_copy(env: Any) -> Any:
    """The first of many copies in this process; an environment that is no vector: itself."""
    core = env.unwrapped if isinstance(env, VectorEnv) else None
    return core.envs[0] if isinstance(core, SyncVectorEnv) else env


_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
_without_display: list[str] = []  # the driver that we chose, the user having chosen none
_WINDOWLESS = "set render to false; record: true needs no display"


def check_window(env: Any, name: str) -> None:
    """Show the first frame; the environment must be made for a window and not reset yet.

    Raises:
        RenderError: there is no display.
    """
    try:
        env.reset()
        first_copy(env).render()
    except Exception as error:
        raise RenderError(
            f"{name} cannot open a window here: {type(error).__name__}: {error} ({_WINDOWLESS})"
        ) from error
    pygame = sys.modules.get("pygame")
    asked_for = "SDL_VIDEODRIVER" in os.environ and not _without_display
    # Without a display, pygame draws into memory and says nothing.
    if pygame is None or asked_for or not pygame.display.get_init():
        return
    if pygame.display.get_driver() in ("dummy", "offscreen"):
        raise RenderError(f"{name} cannot open a window here: there is no display ({_WINDOWLESS})")


def describe(error: BaseException) -> str:
    """One line of an exception that came out of an environment."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}".rstrip(": ")


def close_quietly(env: Any) -> str:
    """Close an environment whose failure to close must stop nothing; what went wrong, or ""."""
    try:
        env.close()
    except Exception as error:  # noqa: BLE001 - whatever the environment's own code raises
        core = env
        while isinstance(core, (gym.Wrapper, gym.vector.VectorWrapper)):
            core = core.env
        if isinstance(core, VectorEnv):
            core.closed = True  # else it is closed once more when it is collected
            for copy in getattr(core, "envs", ()):
                close_quietly(copy)
        return f"the environment was not closed: its close() raised {describe(error)}"
    return ""
