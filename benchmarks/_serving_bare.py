"""The ceiling of serving: CartPole behind a socket, with nothing that is not needed for it.

A line in, ``env.step``, a line of JSON out, in uvloop's protocol callbacks: no sessions, no
checks, no protocol. Whatever a server adds, it pays beside this.
"""

from __future__ import annotations

import asyncio

import gymnasium
import orjson
import uvloop


class Bare(asyncio.Protocol):
    """One client and its environment."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Make the environment."""
        self.env = gymnasium.make("CartPole-v1")
        self.write = transport.write  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Requests are so short that each comes whole."""
        if data == b"r\n":
            observation, _ = self.env.reset()
            self.write(orjson.dumps(observation.tolist()) + b"\n")
            return
        observation, reward, terminated, truncated, info = self.env.step(data[0] - 48)
        reply = (observation.tolist(), reward, terminated or truncated, info)
        self.write(orjson.dumps(reply) + b"\n")


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
