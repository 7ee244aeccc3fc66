"""What `ShardsEnv` needs of Ray, in this process: its actors start at once and are as forgetful."""

import copy
from types import SimpleNamespace
from typing import Any


class RayTaskError(Exception):
    """What an actor raised."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class RayActorError(Exception):
    """An actor is lost."""


class LocalRay:
    """Actors that do what they are asked at once; nothing that is sent is shared."""

    exceptions = SimpleNamespace(RayTaskError=RayTaskError, RayActorError=RayActorError)

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2}

    def remote(self, **_: Any) -> Any:
        return lambda cls: SimpleNamespace(remote=lambda *sent: _Actor(cls(*copy.deepcopy(sent))))

    def put(self, value: Any) -> Any:
        return copy.deepcopy(value)

    def get(self, asked: list[Any]) -> list[Any]:
        for answer in asked:
            if isinstance(answer, Exception):
                raise answer
        return copy.deepcopy(asked)

    def kill(self, actor: Any) -> None:
        """Nothing is left of it."""


class _Actor:
    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        def remote(*sent: Any) -> Any:
            try:
                return getattr(self._wrapped, name)(*copy.deepcopy(sent))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised by get()
                return RayTaskError(error)

        return SimpleNamespace(remote=remote)
