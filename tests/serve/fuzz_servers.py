"""What every live server is fed, and what may come out: answers, and harm to nobody."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from hypothesis import strategies as st

from tests.serve import bad_envs
from tests.serve.fuzz_inputs import NUMBERS, SPACES, VALUES, Strategy, Target, dumped, mutated
from tests.serve.live import HttpClient, WebSocketClient, Witness, connect, frame, live
from tests.serve.native import native_fuzzing
from tests.serve.native.native_serving import Raw

IDS = ["CartPole-v1", "Pendulum-v1", "Raising-v0", "Nonsense-v0", "NotFinite-v0", "Nested-v0"]
INSTANCES: list[str] = []  # those open in the live server that is fuzzed
instance_ids = st.builds(lambda at: INSTANCES[at % len(INSTANCES)], st.integers(0, 20)) | st.text(
    max_size=9
)
ACTIONS = st.one_of(st.sampled_from([0, 1, [0.0], "0", None, []]), VALUES)


class Nested(bad_envs.Scripted):
    """Of every space a piece, in both directions."""

    action_space = observation_space = spaces.Dict(
        {str(index): space for index, space in enumerate(SPACES)}
    )

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """A drawn observation."""
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        """Another one."""
        return self.observation_space.sample(), 1.0, False, False, {"action": action}


# -- what goes in ----------------------------------------------------------------------------------

PATHS = st.one_of(
    st.builds(
        lambda instance, name, slash: f"/v1/envs/{instance}/{name}{slash}",
        instance_ids,
        st.sampled_from(
            ["step", "reset", "action_space", "action_space/sample", "action_space/contains/1",
             "observation_space", "observation_space/contains", "monitor/start", "monitor/close"]
        ),
        st.sampled_from(["/", ""]),
    ),
    st.sampled_from(["/v1/envs/", "/v1/stats", "/", "/openapi.json", "/v1/upload/"]),
    st.text(max_size=20).map(lambda text: "/" + text),
)  # fmt: skip
PARAMETERS = st.one_of(
    st.fixed_dictionaries({"action": ACTIONS}, optional={"render": VALUES}),
    st.fixed_dictionaries({"env_id": st.sampled_from(IDS) | VALUES}, optional={"seed": NUMBERS}),
    VALUES,
)


@st.composite
def http_requests(draw: st.DrawFn) -> bytes:
    """A request, more or less."""
    body = draw(dumped(PARAMETERS))
    length = draw(st.just(len(body)) | st.integers(-1, 10**6))
    method = draw(st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "HEAD", "OPTIONS"]))
    head = (
        f"{method} {draw(PATHS)} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
    return head.encode("utf-8", "replace") + body


MESSAGES = dumped(
    st.one_of(
        st.fixed_dictionaries(
            {
                "method": st.sampled_from(
                    ["make", "reset", "step", "observation_space", "action_space", "action_sample"]
                ),
                "params": st.one_of(
                    st.fixed_dictionaries({"instance_id": instance_ids}),
                    st.fixed_dictionaries({"instance_id": instance_ids, "action": ACTIONS}),
                    st.fixed_dictionaries({"env_id": st.sampled_from(IDS) | VALUES}),
                    VALUES,
                ),
            }
        ),
        VALUES,
    )
)


def _deflated(data: bytes) -> bytes:
    """As permessage-deflate has it: raw, without the end of the last block."""
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


FRAMES = st.one_of(
    MESSAGES.map(frame),
    MESSAGES.map(_deflated).map(lambda data: frame(data, 1, 0xC0)),
    st.just(frame(_deflated(b" " * 10**7), 1, 0xC0)),
    st.builds(
        frame,
        MESSAGES | st.binary(max_size=130),
        st.integers(0, 15),
        st.sampled_from([0x80, 0, 0xC0, 0x40, 0xF0]),
    ),
    mutated(MESSAGES.map(frame)),
    st.binary(max_size=50),
)
SERVERS: dict[str, Strategy] = {
    "http": st.lists(http_requests() | mutated(http_requests()), min_size=1, max_size=3),
    "websocket": st.lists(FRAMES, min_size=1, max_size=4),
    "native": native_fuzzing.FRAMES,
}


# -- what may come out -----------------------------------------------------------------------------

STATUSES = {b"200", b"204", b"400", b"403", b"404", b"405", b"413", b"429"}
CODES = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


@dataclass
class Live:
    """A server under fire, and the witness beside it."""

    address: str
    witness: Witness

    def _answer(self, data: bytes, handshake: bytes = b"") -> bytes:
        made = connect(self.address)
        reply = b""
        try:
            made.sendall(handshake + data)
            made.shutdown(1)
            while part := made.recv(1 << 20):
                reply += part
        except TimeoutError:
            raise AssertionError(f"no answer, and no end, after {reply[-200:]!r}") from None
        except OSError:
            pass  # to end the connection is an answer as well
        finally:
            made.close()
        return reply

    def http(self, requests: list[bytes]) -> None:
        """Requests in one go."""
        reply = self._answer(b"".join(requests))
        assert not reply or reply.startswith(b"HTTP/1.1 "), reply[:200]
        statuses = {reply[9:12]} if reply else set()
        assert statuses <= STATUSES, reply[:500]
        self.witness.sees_nothing(1)

    def websocket(self, frames: list[bytes]) -> None:
        """Frames after a good handshake."""
        self._websocket(frames, b"/gym", 1)

    def native(self, frames: list[bytes]) -> None:
        """Frames to the native protocol: every message has a reply of its own."""
        replies = self._websocket(frames, b"/native", 2)
        for payload in replies:
            native_fuzzing.check_reply(payload)

    def _websocket(self, frames: list[bytes], path: bytes, kind: int) -> list[bytes]:
        reply = self._answer(
            b"".join(frames),
            b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        )
        replies = []
        for opcode, payload in _frames(reply.partition(b"\r\n\r\n")[2]):
            assert opcode in (kind, 8, 9, 10)
            if opcode == kind:
                replies.append(payload)
            elif opcode == 8:
                code = int.from_bytes(payload[:2], "big")
                assert code in CODES, (code, payload)
                payload[2:].decode()
        self.witness.sees_nothing(1)
        return replies


def _frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 2:
        length, start = data[1], 2
        assert length < 128, "a server masks nothing"
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(data[2:start], "big")
        if len(data) < start + length:
            return
        yield data[0] & 15, data[start : start + length]
        data = data[start + length :]


@contextmanager
def under_fire(protocol: str) -> Iterator[Target]:
    """A live server with some environments open; ends with a last look of the witness."""
    before = dict(gym.registry)
    bad_envs.register()
    gym.register("Nested-v0", entry_point=Nested, disable_env_checker=True)
    more = {"compression": True} if protocol == "websocket" else {}
    served = "http" if protocol == "http" else "websocket"
    try:
        with live(served, max_instances=60, max_message_bytes=100_000, **more) as address:
            client = (HttpClient if protocol == "http" else WebSocketClient)(address)
            witness = Witness(client)
            INSTANCES[:] = [client.make(env_id) for env_id in IDS]
            if protocol == "native":
                raw = Raw(address)
                made = [raw.make(env_id, state=env_id == IDS[0]) for env_id in IDS]
                native_fuzzing.INSTANCES[:] = [*made, raw.make(num_envs=2)]
                raw.close()
            yield getattr(Live(address, witness), protocol)
            witness.sees_nothing(20)
            witness.close()
    finally:
        gym.registry.clear()
        gym.registry.update(before)
