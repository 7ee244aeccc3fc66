"""``gym_loop/Remote-v0``: an environment on a native server, with nothing lost on the way."""

from __future__ import annotations

from typing import Any

import gymnasium

from gym_loop.envs.remote.link import Access
from gym_loop.envs.remote.native_remote import Remote, Wanted
from gym_loop.errors import BridgeProtocolError


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
        access = Access(url=url, token=token, timeout=timeout)
        wanted = Wanted(
            env_id=env_id, parameters=env_parameters, render_mode=render_mode,
            keep_state=keep_state, jpeg=jpeg,
        )  # fmt: skip
        self._remote = Remote(access, wanted, self._drawn_seed)
        self._cut_off = False  # the episode of a lost server, which the next step truncates
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
        self._cut_off = False
        return self._remote.reset(None if seed is None else int(seed), options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one step; see `Remote.step` for what it raises."""
        if self._cut_off:
            self._cut_off = False
            return self._remote.last, 0.0, False, True, {"server_lost": True}
        answer = self._remote.step(action)
        flags = answer.terminated, answer.truncated
        if type(answer.reward) is not float or not all(type(one) is bool for one in flags):
            raise BridgeProtocolError(
                f"{self._remote.wanted.env_id}: the server answered a step with the reward"
                f" {answer.reward!r:.40} and the flags {flags!r:.80}"
            )
        return answer.observation, answer.reward, *flags, answer.info

    def render(self) -> Any:
        """The current frame, uint8 ``[height, width, 3]``; None without a render mode."""
        return self._remote.render()

    def get_state(self) -> dict[str, Any]:
        """The state, which is on the server; see `Remote.get_state`."""
        return {**self._remote.get_state(), "cut_off": self._cut_off}

    def set_state(self, state: dict[str, Any]) -> None:
        """Put a state back; see `Remote.set_state`."""
        state = dict(state)
        cut_off = bool(state.pop("cut_off", False))
        # Before the first reset there is no episode that could be cut off.
        goes_on = self._remote.set_state(state)
        self._cut_off = cut_off or (not goes_on and state["last"] is not None)

    def close(self) -> None:
        """Close the server's instance and the connection."""
        if hasattr(self, "_remote"):
            self._remote.close()

    def _drawn_seed(self) -> int | None:
        """A seed that follows from the last one that was given; None if none ever was."""
        return None if self._np_random is None else int(self.np_random.integers(2**31))
