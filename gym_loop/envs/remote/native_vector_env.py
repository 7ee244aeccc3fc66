"""``gym_loop/Remote-v0`` as a vector environment: N copies on a server, one message a step."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, iterate

from gym_loop.envs.remote.link import Access
from gym_loop.envs.remote.native_remote import Remote, Wanted
from gym_loop.errors import BridgeProtocolError, EnvParametersError

_MODES = {mode.name.lower(): mode for mode in AutoresetMode}


class NativeVectorEnv(VectorEnv):  # type: ignore[misc]  # gymnasium is untyped here
    """What a native server holds, as a vector environment.

    Args:
        num_envs: number of copies, all in one environment of the server.
        url: of the server; see `gym_loop.envs.remote.native_env.NativeEnv` for this and those
            that are not listed here.
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
        access = Access(url=url, token=token, timeout=timeout)
        wanted = Wanted(
            env_id=env_id, parameters=env_parameters, num_envs=num_envs,
            vectorization=vectorization, autoreset=autoreset, max_episode_steps=max_episode_steps,
            render_mode=render_mode, keep_state=keep_state, jpeg=jpeg,
        )  # fmt: skip
        self.num_envs = num_envs
        self._remote = remote = Remote(access, wanted, self._drawn_seed)
        self._cut_off = False  # the episodes of a lost server, which the next step truncates
        self._reset_next = False  # in mode NEXT_STEP, after that
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
        self._cut_off = self._reset_next = False
        return self._remote.reset(seed, options or None, mask)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Let every copy take its action, ``[N, ...]``; see `Remote.step` for what it raises."""
        if self._cut_off:
            return self._truncate_all()
        if self._reset_next:
            observation, info = self.reset()
            return observation, *self._nothing(), info
        answer = self._remote.step(actions)
        for one in (answer.reward, answer.terminated, answer.truncated):
            if type(one) is not np.ndarray or one.shape != (self.num_envs,):
                raise BridgeProtocolError(
                    f"{self._remote.wanted.env_id}: the server answered a step with {one!r:.80},"
                    f" where {self.num_envs} values belong"
                )
        return answer.observation, answer.reward, answer.terminated, answer.truncated, answer.info

    def _nothing(self) -> tuple[Any, Any, Any]:
        count = self.num_envs
        return np.zeros(count), np.zeros(count, bool), np.zeros(count, bool)

    def _truncate_all(self) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """End the episodes that the server took with it, at the last that was seen of them."""
        last, everyone = self._remote.last, np.ones(self.num_envs, bool)
        reward, terminated, _ = self._nothing()
        info: dict[str, Any] = {"server_lost": everyone.copy()}
        self._cut_off = False
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
        ending = {"cut_off": self._cut_off, "reset_next": self._reset_next}
        return {**self._remote.get_state(), **ending}

    def set_state(self, state: dict[str, Any]) -> None:
        """Put a state back; see `Remote.set_state`."""
        state = dict(state)
        cut_off = bool(state.pop("cut_off", False))
        reset_next = bool(state.pop("reset_next", False))
        goes_on = self._remote.set_state(state)
        # Before the first reset there is no episode that could be cut off.
        lost = not goes_on and state["last"] is not None and not reset_next
        self._cut_off, self._reset_next = cut_off or lost, reset_next

    def close_extras(self, **kwargs: Any) -> None:
        """Close the server's instance and the connection."""
        if hasattr(self, "_remote"):
            self._remote.close()

    def _drawn_seed(self) -> int | None:
        """A seed that follows from the last one that was given; None if none ever was."""
        return None if self._np_random is None else int(self.np_random.integers(2**31))
