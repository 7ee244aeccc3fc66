"""Environments on the other side of a wire: one Gymnasium environment a protocol.

HTTP stands on ``http.client``, WebSocket on ``websockets``, ZeroMQ on ``pyzmq``. Importing this
package registers the environments; a run file that names one of them needs no ``env.imports``.
"""

from __future__ import annotations

import gymnasium

ENVIRONMENTS = {
    "gym_loop/Http-v0": "gym_loop.envs.remote.http_env:HttpEnv",
    "gym_loop/WebSocket-v0": "gym_loop.envs.remote.gymie_env:WebSocketEnv",
    "gym_loop/ZeroMQ-v0": "gym_loop.envs.remote.gymz_env:ZeroMQEnv",
    "gym_loop/Nats-v0": "gym_loop.envs.remote.nats_env:NatsEnv",
    "gym_loop/Remote-v0": "gym_loop.envs.remote.native_env:NativeEnv",
    "nats-v0": "gym_loop.envs.remote.nats_env:NatsEnv",  # the id that gym-nats gave its own
}
VECTOR_ENVIRONMENTS = {
    "gym_loop/Remote-v0": "gym_loop.envs.remote.native_env:NativeVectorEnv",
}


def register_environments() -> None:
    """Register the environments that are clients of a protocol; a second call changes nothing."""
    for name, entry_point in ENVIRONMENTS.items():
        if name not in gymnasium.registry:
            # The server checks the order of calls; a checker here would only ask for more spaces.
            gymnasium.register(
                id=name,
                entry_point=entry_point,
                vector_entry_point=VECTOR_ENVIRONMENTS.get(name),
                disable_env_checker=True,
            )


register_environments()
