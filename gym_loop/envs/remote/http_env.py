"""An environment behind a server of gym-http-api v1."""

from __future__ import annotations

from gym_loop.envs.remote.remote_env import RemoteEnv
from gym_loop.envs.remote.transport import parse_url
from gym_loop.errors import EnvPackageMissingError


class HttpEnv(RemoteEnv):
    """What a gym-http-api server holds, as an environment: ``gym_loop/Http-v0``.

    The server may be ours (``gym-loop serve http``) or the original. Each environment has a
    connection of its own, kept open. The spaces are what the server says, a Box without a
    dtype being one of float32. A reset with a seed makes a new instance, because this protocol
    takes a seed only then. A lost connection is made again where nothing is lost by it: for
    making, the spaces and a reset, but never for a step.

    Args:
        url: of the server, such as ``http://127.0.0.1:5000``; ``https://`` is encrypted.
        env_id: id of the environment on the server.
        token: what the server demands; None for nothing.
        timeout: seconds that connecting, and each answer, may take.
        render_mode: None; the protocol carries no frames.

    Raises:
        EnvParametersError: a parameter is of no use.
        EnvPackageMissingError: the packages for bridges are not installed.
        BridgeConnectionError: the server cannot be reached, or does not answer in time.
        BridgeProtocolError: it refuses, or is no such server.
    """

    def __init__(
        self,
        url: str,
        env_id: str,
        *,
        token: str | None = None,
        timeout: float = 30.0,
        render_mode: str | None = None,
    ) -> None:
        address = parse_url(url, {"http": False, "https": True})
        try:
            from gym_loop.envs.remote.http_client import HttpClient
        except ModuleNotFoundError as error:
            raise EnvPackageMissingError(
                f"environments over HTTP need the module {error.name}: pip install"
                ' "gym-loop[bridges]"'
            ) from None
        super().__init__(HttpClient(address, token, timeout), env_id, render_mode)
