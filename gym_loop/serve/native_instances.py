"""An environment of a native client: a single one, or many copies, made as the client wishes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from gymnasium.vector import SyncVectorEnv

from gym_loop.envs.making import EnvSpec, close_quietly, describe
from gym_loop.envs.state.keeper import keep_state
from gym_loop.envs.state.methods import EnvState
from gym_loop.envs.state.proof import Verdict, prove
from gym_loop.envs.vector import make_vector_env, why_not_native
from gym_loop.errors import GymLoopError, SpaceError, StateError
from gym_loop.serve.catalogue import Catalogue, draw_into_memory
from gym_loop.serve.instance import Instance
from gym_loop.serve.native_actions import action_check
from gym_loop.serve.native_requests import MODES, Fields, MakeRequest, NoState, WrongState
from gym_loop.wire import native as codec
from gym_loop.wire.json_values import Style
from gym_loop.wire.pictures import JpegEncoder, as_rgb
from gym_loop.wire.problems import EnvFailed, Problem
from gym_loop.wire.spaces import space_to_json
from gym_loop.wire.values import Unsendable

_PROOF_STEPS = 32
_PROOFS = 1024  # remembered
_MODE_NAMES = {mode: name for name, mode in MODES.items()}


class NativeInstance(Instance):
    """An environment as native clients see it; its methods run in its thread.

    Those whose names begin with ``answer`` take the number of the request, and give its reply.

    Args:
        instance_id: what the client calls it by.
        env_id: what the client asked for.
        catalogue: makes the environment.
        seed: None; the first reset tells it.
        request: what to make.
        proofs: says how the state can be kept.
    """

    TOLD = (*Instance.TOLD, "description")

    description: Fields  # what a client is told of it

    def __init__(
        self,
        instance_id: str,
        env_id: str,
        catalogue: Catalogue,
        seed: int | None,
        request: MakeRequest,
        proofs: Proofs,
    ) -> None:
        super().__init__(instance_id, env_id, catalogue, seed)
        self.request = request
        self.size = request.size
        self.verdict: Verdict | None = None
        self._proofs = proofs
        self._state: EnvState | None = None
        self._fresh = False  # never reset, and no state put into it
        self._frames = JpegEncoder(longest=None)

    def make(self) -> None:
        """Make the environment; see `make_requested` for what it raises."""
        if self.request.state:
            self.verdict = self._proofs.verdict(self.request)
        self._make_anew()
        self.read_spaces()
        self.draws = self.draws and self.request.num_envs is None  # of copies there is no one frame
        self._checked = action_check(self.action_space)
        self.description = self._described()

    def _make_anew(self) -> None:
        env = make_requested(self.catalogue, self.request)
        self._state = None
        if self.verdict is not None and self.verdict.exact:
            self._state = keep_state(env, self.verdict.method)
            env = self._state.env
        self.env = env
        self._fresh = True

    def _described(self) -> Fields:
        """What a client is told of a fresh environment."""
        env, verdict, many = self.env, self.verdict, self.request.num_envs is not None
        metadata = getattr(env, "metadata", None) or {}
        prefix = "single_" if many else ""
        try:
            spaces = {
                name: space_to_json(getattr(env, f"{prefix}{name}"), style=Style.EXACT)
                for name in ("observation_space", "action_space")
            }
        except SpaceError as error:
            raise EnvFailed(f"environment {self.env_id}: {error}") from None
        return {
            "instance": self.instance_id,
            **spaces,
            "num_envs": self.request.num_envs,
            "autoreset": _MODE_NAMES.get(metadata.get("autoreset_mode")) if many else None,
            "render_fps": metadata.get("render_fps"),
            "state": None
            if verdict is None
            else {"exact": verdict.exact, "reason": verdict.reason},
        }

    def check_action(self, action: Any) -> Any:
        """The action as the environment gets it; see `action_check`."""
        return self._checked(action)

    # -- episodes ----------------------------------------------------------------------------

    def answer_reset(self, number: int, fields: Fields) -> bytes:
        """Begin an episode; in a vector environment in the copies of the mask, else in all."""
        self._fresh = False
        observation, info = self.reset(fields["seed"], fields["options"])
        return codec.write(number, {"observation": observation, "info": info})

    def answer_step(self, number: int, action: Any) -> bytes:
        """Take a step, or one in every copy."""
        if self.request.num_envs is None:
            return codec.write(number, _named(self.step(action)))
        return codec.write(number, _named(self._step_all(action)))

    def _step_all(self, actions: Any) -> Any:
        """Take one step in every copy.

        Returns:
            Observations, rewards, terminated, truncated ``[N, ...]`` and info.
        """
        self.check_reset()
        actions = self.check_action(actions)
        try:
            result = self.env.step(actions)
        except BaseException as error:
            raise self.failure("step", error) from error
        try:
            observations, rewards, terminated, truncated, info = result
            over = int(np.count_nonzero(terminated | truncated))
        except (TypeError, ValueError):
            raise self.nonsense(
                "step", "other than observations, rewards, terminated, truncated, info", result
            ) from None
        if not isinstance(info, dict):
            raise self.nonsense("step", "an info that is no dict", info)
        self.steps += self.size
        self.episodes += over
        return observations, rewards, terminated, truncated, info

    def answer_render(self, number: int, as_jpeg: bool) -> bytes:
        """The current frame, or those of all copies."""
        frame = self.render()
        if as_jpeg and frame is not None:
            many = isinstance(frame, (list, tuple))
            frame = tuple(map(self._jpeg, frame)) if many else self._jpeg(frame)
        return codec.write(number, {"frame": frame})

    def _jpeg(self, frame: Any) -> bytes:
        try:
            return self._frames.encode(as_rgb(frame))
        except ValueError as error:
            raise EnvFailed(f"{error}; ask for it without jpeg") from None

    # -- state -------------------------------------------------------------------------------

    def answer_get_state(self, number: int) -> bytes:
        """The state of the environment, and of all its copies."""
        self.check_open()
        kept = self._kept()
        try:
            state = {"env": kept.snapshot(), "reset_done": self.reset_done}
            return codec.write(number, {"state": state}, strict=True)
        except StateError as error:
            raise NoState(f"environment {self.env_id}: {error}") from None
        except Unsendable as error:
            raise EnvFailed(f"the state of {self.env_id}: {error.message}") from None

    def answer_set_state(self, number: int, tree: Any) -> bytes:
        """Put a state into a fresh environment in place of this one."""
        self.check_open()
        self._kept()
        if type(tree) is not dict or tree.keys() != {"env", "reset_done"}:
            raise WrongState("a state is what get_state answered, unchanged")
        if not self._fresh:
            old = self.env
            self._make_anew()
            close_quietly(old)
        self._fresh = self.reset_done = False
        try:
            self._kept().restore(tree["env"])
        except StateError as error:
            raise WrongState(f"environment {self.env_id}: {error}") from None
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever its own code raises
            raise WrongState(
                f"environment {self.env_id} cannot take this state: {describe(error)}"
            ) from None
        self.reset_done = bool(tree["reset_done"])
        return codec.write(number, {})

    def _kept(self) -> EnvState:
        if self._state is not None:
            return self._state
        if self.verdict is None:
            raise NoState("make it with state: true to save and restore its state")
        raise NoState(
            f"environment {self.env_id} cannot give its state exactly: {self.verdict.reason}"
        )


def _named(step: Any) -> Fields:
    names = ("observation", "reward", "terminated", "truncated", "info")
    return dict(zip(names, step, strict=True))


def make_requested(catalogue: Catalogue, request: MakeRequest) -> Any:
    """Make what a client asks for; this may take long.

    Raises:
        Problem: it is not served, or cannot be made.
    """
    if request.render_mode is not None:
        draw_into_memory()
    try:
        if request.num_envs is None:
            return catalogue.make(request.env_id, keywords=_keywords(request, limit=True))
        return _make_copies(catalogue, request, request.num_envs)
    except Problem:
        raise
    except GymLoopError as error:
        raise EnvFailed(str(error)) from error
    except BaseException as error:
        raise EnvFailed(
            f"environment {request.env_id} cannot be made: {describe(error)}"
        ) from error


def _keywords(request: MakeRequest, *, limit: bool) -> dict[str, Any]:
    keywords = dict(request.parameters or {})
    if request.render_mode is not None:
        keywords["render_mode"] = request.render_mode
    if limit and request.max_episode_steps is not None:
        keywords["max_episode_steps"] = request.max_episode_steps
    return keywords


def _make_copies(catalogue: Catalogue, request: MakeRequest, count: int) -> Any:
    mode = MODES[request.autoreset or "same_step"]
    served = catalogue.resolve(request.env_id)
    if catalogue.has_hook:
        make = partial(catalogue.make, served, keywords=_keywords(request, limit=True))
        return SyncVectorEnv([make] * count, copy=False, autoreset_mode=mode)
    spec = EnvSpec(
        served,
        parameters=_keywords(request, limit=False),
        max_episode_steps=request.max_episode_steps,
    )
    vectorization = request.vectorization
    if vectorization == "auto":
        obstacle = why_not_native(spec, visible=request.render_mode is not None)
        vectorization = "sync" if obstacle else "native"
    env = make_vector_env(spec, count, vectorization, autoreset=mode)
    if request.autoreset is not None and mode is not env.metadata.get("autoreset_mode"):
        close_quietly(env)
        if request.vectorization == "native":
            raise EnvFailed(
                f"{served}'s own vector environment knows no autoreset mode"
                f" {mode.name.lower()}; ask for vectorization sync"
            )
        env = make_vector_env(spec, count, "sync", autoreset=mode)
    return env


class Proofs:
    """How the state of each kind of environment can be kept; proved once for all clients.

    Args:
        catalogue: makes the environments.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._verdicts: dict[str, Verdict] = {}
        self._lock = threading.Lock()  # a proof plays with the global random streams

    def __reduce__(self) -> Any:
        return Proofs, (self._catalogue,)  # another process plays with streams of its own

    def verdict(self, request: MakeRequest) -> Verdict:
        """The best method, and whether it is exact; this may take long.

        Raises:
            Problem: the environment cannot be made.
        """
        if request.num_envs is not None:  # two copies prove as much as many
            request = request.model_copy(update={"num_envs": min(request.num_envs, 2)})
        make: Callable[[], Any] = partial(make_requested, self._catalogue, request)
        key = repr(request)
        with self._lock:
            if key not in self._verdicts:
                if len(self._verdicts) >= _PROOFS:
                    self._verdicts.clear()
                self._verdicts[key] = prove(make, seed=0, steps=_PROOF_STEPS)
            return self._verdicts[key]
