"""gymie: the methods at ``/gym``, from a message to its reply."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from gym_loop.envs.making import EnvSpec, describe, load_creator
from gym_loop.serve.catalogue import Catalogue
from gym_loop.serve.env_values import EnvValues
from gym_loop.serve.instance import Instance
from gym_loop.serve.instances import Instances
from gym_loop.serve.websocket import Reply
from gym_loop.wire import gymie as codec
from gym_loop.wire.gymie import Params
from gym_loop.wire.json_values import Style, plain
from gym_loop.wire.problems import EnvFailed, Problem

_LOG = logging.getLogger("gym_loop.serve")
ProcessStep = Callable[[Any], Any]


class GymieInstance(Instance):
    """An environment as gymie's clients see it; its methods run in its thread.

    Args:
        instance_id: what the client calls it by.
        env_id: what the client asked for.
        catalogue: makes the environment.
        seed: of the first reset and of the action space; None draws one.
        process_step: makes the four values of a step out of the environment's five; None does
            what the protocol says.
    """

    values: EnvValues

    def __init__(
        self,
        instance_id: str,
        env_id: str,
        catalogue: Catalogue,
        seed: int | None = None,
        process_step: ProcessStep | str | None = None,
    ) -> None:
        super().__init__(instance_id, env_id, catalogue, seed)
        self._hook = process_step

    def make(self) -> None:
        """Make the environment, and what its values are written with."""
        super().make()
        self.values = EnvValues(self, Style.LEGACY_NESTED)
        self._process_step = process_step_of(self._hook)

    def answer_reset(self) -> bytes:
        """Begin an episode."""
        observation, _ = self.reset()
        return codec.write(self.values.observation(observation))

    def answer_step(self, params: Params) -> bytes:
        """Take one step.

        Args:
            params: the client's ``action``; ``render`` shows the environment, where the server's
                operator gave it a window.
        """
        step = self.step(self.values.action(params["action"]))
        if params.get("render") and getattr(self.env, "render_mode", None) == "human":
            self.render()  # frames in memory would be drawn for nobody
        if self._process_step is not None:
            return _processed(self._process_step, step)
        observation, reward, terminated, truncated, info = step
        shown = plain(info) if info else {}
        return codec.step_reply(
            self.values.observation(observation), reward, terminated, truncated, shown
        )

    def answer_sample(self) -> bytes:
        """A random action."""
        return codec.write(self.values.sample())

    def answer_observation_space(self) -> bytes:
        """The observation space's description."""
        return codec.write(self.values.described(self.observation_space))

    def answer_action_space(self) -> bytes:
        """The action space's description."""
        return codec.write(self.values.described(self.action_space))


def process_step_of(hook: ProcessStep | str | None) -> ProcessStep | None:
    """The operator's function, by its class string or itself.

    Raises:
        ClassLoadError: its module cannot be loaded.
        EnvUnknownError: its module has no such function.
    """
    return load_creator(EnvSpec(hook)) if isinstance(hook, str) else hook


def _processed(hook: ProcessStep, step: Any) -> bytes:
    """What the operator's hook makes of a step; it may change every value's kind."""
    try:
        observation, reward, done, info = hook(step)
    except Exception as error:  # it is the operator's code
        raise EnvFailed(f"process_step failed: {describe(error)}") from error
    try:
        reward, done = float(reward), bool(done)
    except (TypeError, ValueError):
        raise EnvFailed(
            "process_step must return observation, reward (a number), done (true or false) and info"
        ) from None
    shown = reward if math.isfinite(reward) else plain(reward)
    return codec.write((plain(observation), shown, done, plain(info)))


class Gymie:
    """Answers one message after the other, whichever connection they come from.

    Args:
        instances: the environments.
        process_step: the operator's hook, None for the protocol's own four values.
    """

    binary = False

    def __init__(self, instances: Instances, process_step: ProcessStep | str | None = None) -> None:
        self._instances = instances
        self._kind = partial(GymieInstance, process_step=process_step)

    def answer(self, data: bytes) -> Reply:
        """Begin to answer what a text or a binary frame held."""
        params: Params = {}
        try:
            method, params = codec.read_request(data)
            refused = partial(self._refused, params)
            if method == "make":
                return Reply(asyncio.ensure_future(self._make(params)), refused)
            instance = self._instances.get(params["instance_id"], GymieInstance)
            if method == "close":
                self._instances.close(instance)
                return Reply(b"true", refused)
            result = self._call(instance, method, params)
            return Reply(result, refused, instance.observation_bytes)
        except Exception as error:  # noqa: BLE001 - a client's or ours: others go on
            return Reply(error, partial(self._refused, params))

    def _call(self, instance: GymieInstance, method: str, params: Params) -> asyncio.Future[bytes]:
        match method:
            case "step":
                return instance.call(instance.answer_step, params)
            case "reset":
                return instance.call(instance.answer_reset)
            case "observation_space":
                return instance.call(instance.answer_observation_space)
            case "action_space":
                return instance.call(instance.answer_action_space)
            case _:
                return instance.call(instance.answer_sample)

    async def _make(self, params: Params) -> bytes:
        made = await self._instances.create(self._kind, params["env_id"], params.get("seed"))
        return made.instance_id.encode()

    def _refused(self, params: Params, error: Exception) -> bytes:
        self._instances.statistics.error(error)
        if not isinstance(error, Problem):
            _LOG.error("a request failed", exc_info=error)
        raise codec.refusal(error, params)
