"""``gym_loop/Remote-v0``: what a native server holds, with nothing lost on the way.

One environment, or N copies as a vector environment, with one message a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, iterate

from gym_loop.envs.remote.connection import needed
from gym_loop.envs.remote.remote_env import drawn_seed
from gym_loop.errors import BridgeProtocolError, EnvParametersError

if TYPE_CHECKING:
    from gym_loop.envs.remote.native_remote import Remote

_MODES = {mode.name.lower(): mode for mode in AutoresetMode}


class NativeEnv(gymnasium.Env[Any, Any]):  # type: ignore[misc]  # gymnasium is untyped here
    """What a native server holds, as an environment: ``gym_loop/Remote-v0``.

    The server is ``gym-loop serve``, at the path ``/native``. Seeds, options, infos, frames and
    the environment's state travel, so that a run resumes exactly where the environment lets it.
    A lost connection is made again where nothing is lost by it, never for a step. If the server
    is lost in the middle of an episode, and a run resumes from what was saved then, the first
    step truncates that episode, with ``server_lost`` in its info.

    Args:
        url: of the server: ``ws://HOST:PORT`` or ``wss://``.
        env_id: id of the environment on the server.
        env_parameters: keyword arguments of the environment, which the server has to allow.
        token: what the server demands; None for nothing.
        timeout: seconds that connecting, and each answer, may take.
        keep_state: let the server prove, once, that the environment can be saved and restored.
        jpeg: frames travel compressed, and come a little changed.
        render_mode: None, or "rgb_array".

    Raises:
        EnvParametersError: a parameter is of no use.
        EnvPackageMissingError: the packages for bridges are not installed.
        BridgeConnectionError: the server cannot be reached, or does not answer in time.
        BridgeProtocolError: it refuses, or is no such server.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium's form

    def __init__(
        self,
        url: str,
        env_id: str,
        *,
        env_parameters: dict[str, Any] | None = None,
        token: str | None = None,
        timeout: float = 30.0,
        keep_state: bool = True,
        jpeg: bool = False,
        render_mode: str | None = None,
    ) -> None:
        wanted = {
            "env_id": env_id,
            "parameters": env_parameters,
            "render_mode": render_mode,
            "state": keep_state,
        }
        self._remote = _remote(url, token, timeout, wanted, jpeg, lambda: drawn_seed(self))
        self.observation_space = self._remote.observation_space
        self.action_space = self._remote.action_space
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": self._remote.render_fps}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode on the server.

        Raises:
            BridgeError: the server's fault.
        """
        super().reset(seed=seed)
        return self._remote.reset(None if seed is None else int(seed), options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one step; see `Remote.step` for what it raises."""
        remote = self._remote
        if remote.cut_off:
            remote.cut_off = False
            return remote.last, 0.0, False, True, {"server_lost": True}
        observation, reward, terminated, truncated, info = remote.step(action)
        if type(reward) is not float or not type(terminated) is type(truncated) is bool:
            raise BridgeProtocolError(
                f"{remote.env_id}: the server answered a step with the reward {reward!r:.40} and"
                f" the flags {terminated!r:.40} and {truncated!r:.40}"
            )
        return observation, reward, terminated, truncated, info

    def render(self) -> Any:
        """The current frame, uint8 ``[height, width, 3]``; None without a render mode."""
        return self._remote.render()

    def get_state(self) -> dict[str, Any]:
        """The state, which is on the server; see `Remote.get_state`."""
        return self._remote.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Put a state back; see `Remote.set_state`."""
        self._remote.set_state(state)

    def close(self) -> None:
        """Close the server's instance and the connection."""
        if hasattr(self, "_remote"):
            self._remote.close()


class NativeVectorEnv(VectorEnv):  # type: ignore[misc]  # gymnasium is untyped here
    """What a native server holds, as a vector environment.

    Args:
        num_envs: number of copies, all in one environment of the server.
        url: of the server; see `NativeEnv` for this and those that are not listed here.
        env_id: id of the environment on the server.
        vectorization: "native" takes the environment's own vector entry point there, "sync"
            copies in the server's process; "auto" is native where there is one.
        autoreset: "next_step", "same_step" or "disabled"; None takes what the environment does
            by itself, and "same_step" for copies.
        max_episode_steps: time limit in steps; None keeps the registered one.

    Raises:
        EnvParametersError: a parameter is of no use.
        EnvPackageMissingError: the packages for bridges are not installed.
        BridgeConnectionError: the server cannot be reached, or does not answer in time.
        BridgeProtocolError: it refuses, or is no such server.
    """

    def __init__(
        self,
        num_envs: int,
        url: str,
        env_id: str,
        *,
        env_parameters: dict[str, Any] | None = None,
        vectorization: str = "auto",
        autoreset: str | None = None,
        max_episode_steps: int | None = None,
        token: str | None = None,
        timeout: float = 30.0,
        keep_state: bool = True,
        jpeg: bool = False,
        render_mode: str | None = None,
    ) -> None:
        if type(num_envs) is not int or num_envs < 1:
            raise EnvParametersError(f"num_envs: {num_envs!r} is no number of copies from 1 on")
        wanted = {
            "env_id": env_id,
            "parameters": env_parameters,
            "num_envs": num_envs,
            "vectorization": vectorization,
            "autoreset": autoreset,
            "max_episode_steps": max_episode_steps,
            "render_mode": render_mode,
            "state": keep_state,
        }
        self.num_envs = num_envs
        self._remote = remote = _remote(url, token, timeout, wanted, jpeg, lambda: drawn_seed(self))
        self._reset_next = False  # in mode NEXT_STEP, after the episodes of a lost server
        self.single_observation_space = remote.observation_space
        self.single_action_space = remote.action_space
        self.observation_space = batch_space(remote.observation_space, num_envs)
        self.action_space = batch_space(remote.action_space, num_envs)
        self.render_mode = render_mode
        if remote.autoreset not in _MODES:
            self.close()
            raise BridgeProtocolError(
                f"{env_id}: the server does not say how it resets copies: {remote.autoreset!r:.40}"
            )
        self._mode = _MODES[remote.autoreset]
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": remote.render_fps,
            "autoreset_mode": self._mode,
        }

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in all copies, or in those of ``options["reset_mask"]``.

        Args:
            seed: one for all, from which each copy's follows, or a list of one a copy.
            options: for the environment.

        Raises:
            BridgeError: the server's fault.
        """
        first = seed if isinstance(seed, int) or seed is None else seed[0]
        super().reset(seed=first)
        mask = None
        if options is not None and "reset_mask" in options:
            options = dict(options)
            mask = options.pop("reset_mask")
        self._reset_next = False
        return self._remote.reset(seed, options or None, mask)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Let every copy take its action, ``[N, ...]``; see `Remote.step` for what it raises."""
        if self._remote.cut_off:
            return self._truncate_all()
        if self._reset_next:
            observation, info = self.reset()
            return observation, *self._nothing(), info
        answer = self._remote.step(actions)
        for one in answer[1:4]:
            if type(one) is not np.ndarray or one.shape != (self.num_envs,):
                raise BridgeProtocolError(
                    f"{self._remote.env_id}: the server answered a step with {one!r:.80},"
                    f" where {self.num_envs} values belong"
                )
        return answer

    def _nothing(self) -> tuple[Any, Any, Any]:
        count = self.num_envs
        return np.zeros(count), np.zeros(count, bool), np.zeros(count, bool)

    def _truncate_all(self) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """End the episodes that the server took with it, at the last that was seen of them."""
        last, everyone = self._remote.last, np.ones(self.num_envs, bool)
        reward, terminated, _ = self._nothing()
        info: dict[str, Any] = {"server_lost": everyone.copy()}
        self._remote.cut_off = False
        if self._mode is AutoresetMode.SAME_STEP:
            first, _ = self.reset()
            info["final_obs"], info["_final_obs"] = self._rows(last), everyone.copy()
            return first, reward, terminated, everyone, info
        self._reset_next = self._mode is AutoresetMode.NEXT_STEP
        return last, reward, terminated, everyone, info

    def _rows(self, batch: Any) -> Any:
        rows = np.empty(self.num_envs, object)
        for index, row in enumerate(iterate(self.observation_space, batch)):
            rows[index] = row
        return rows

    def render(self) -> Any:
        """The current frames, one a copy; None without a render mode."""
        return self._remote.render()

    def get_state(self) -> dict[str, Any]:
        """The state of all copies, which is on the server; see `Remote.get_state`."""
        return {**self._remote.get_state(), "reset_next": self._reset_next}

    def set_state(self, state: dict[str, Any]) -> None:
        """Put a state back; see `Remote.set_state`."""
        state = dict(state)
        self._reset_next = bool(state.pop("reset_next", False))
        self._remote.set_state(state)
        if self._reset_next:
            self._remote.cut_off = False  # it was already

    def close_extras(self, **kwargs: Any) -> None:
        """Close the server's instance and the connection."""
        if hasattr(self, "_remote"):
            self._remote.close()


def _remote(*args: Any) -> Remote:
    """The environment on the other side, whose part needs the packages for bridges."""
    remote: Remote = needed("gym_loop.envs.remote.native_remote").Remote(*args)
    return remote
