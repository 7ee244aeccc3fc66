"""Random input for every codec and every live server, derived from what is almost right.

Whatever comes in, a codec may raise its own errors only, and a server answers as its protocol
says, lives, and harms no one else's session.

    python -m tests.bridges.fuzzing [--minutes 10] [NAME...]
"""

import argparse
import json
import math
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from gym_loop.bridges.http import codec as http_codec
from gym_loop.bridges.nats import codec as nats_codec
from gym_loop.bridges.problems import Problem
from gym_loop.bridges.spaces import (
    EXACT,
    Limits,
    sample_from_bytes,
    sample_from_json,
    sample_to_bytes,
    sample_to_json,
    space_from_json,
    space_to_json,
)
from gym_loop.bridges.websocket import codec as websocket_codec
from gym_loop.bridges.zeromq import codec as zeromq_codec
from gym_loop.errors import BridgeError
from tests.bridges import bad_envs
from tests.bridges.live import HttpClient, WebSocketClient, Witness, connect, frame, live
from tests.bridges.native import native_fuzzing
from tests.bridges.native.native_serving import Raw

Strategy = st.SearchStrategy[Any]
Target = Callable[[Any], None]

SPACES = [
    spaces.Discrete(3, start=-1),
    spaces.Box(-1.0, 1.0, (2, 2), np.float32),
    spaces.Box(0, 255, (3,), np.uint8),
    spaces.Box(-np.inf, np.inf, (2,), np.float64),
    spaces.MultiBinary(3),
    spaces.MultiDiscrete([2, 3]),
    spaces.Text(5),
    spaces.Tuple([spaces.Discrete(2), spaces.Text(3)]),
    spaces.Dict(a=spaces.Discrete(2), b=spaces.Box(0, 1, (1,))),
    spaces.Sequence(spaces.Discrete(2)),
    spaces.Sequence(spaces.Box(0, 1, (2,)), stack=True),
    spaces.Graph(spaces.Box(0, 1, (2,)), spaces.Discrete(2)),
    spaces.OneOf([spaces.Discrete(2), spaces.Box(0, 1, (1,))]),
]
for number, one in enumerate(SPACES):
    one.seed(number)
WRITTEN = {
    id(space): [sample_to_bytes(space, space.sample()) for _ in range(5)] for space in SPACES
}

# -- what goes in ------------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.integers(-3, 300),
    st.integers(),
    st.sampled_from([2**31, 2**53, 2**63, 2**64, -(2**63), 10**400]),
    st.floats(),
    st.sampled_from([1e100, -1e100, 1e308, 5e-324]),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.text(max_size=8), st.sampled_from(["nan", "inf", "-inf"])
)


def json_values(keys: Strategy) -> Strategy:
    """Nested values whose objects have such keys."""
    return st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
        max_leaves=12,
    )


WORDS = st.sampled_from(
    ["name", "n", "start", "shape", "low", "high", "dtype", "spaces", "nvec", "charset", "space",
     "min_length", "max_length", "stack", "node_space", "edge_space", "keys", "nodes", "edges",
     "edge_links", "a", "b", "value", "ts", "min", "max", "end"]
)  # fmt: skip
VALUES = json_values(WORDS | st.text(max_size=4))
DESCRIPTIONS = st.recursive(
    st.sampled_from([space_to_json(one, style=EXACT) for one in SPACES]) | VALUES,
    lambda inner: st.fixed_dictionaries(
        {"name": st.sampled_from(["Box", "Tuple", "Dict", "Sequence", "OneOf", "Text", "Graph"])},
        optional={
            "spaces": st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
            "space": inner,
            "shape": st.lists(NUMBERS, max_size=3),
            "low": VALUES,
            "high": VALUES,
            "dtype": st.sampled_from(["float32", "int8", "bool", "object", "<U5", "O", "float999"]),
        },
    ),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn, originals: Strategy) -> bytes:
    """Bytes with some of them changed, left out or doubled."""
    data = bytearray(draw(originals))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 3)):
            case 0:
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=3))
            case 1:
                del data[at : at + draw(st.integers(1, 20))]
            case 2:
                data[at:at] = data[: draw(st.integers(0, 40))]
            case _:
                data[at:at] = draw(st.sampled_from([b"\0", b"\xff", b"[", b"{", b'"', b"\r\n"]))
    return bytes(data)


def dumped(values: Strategy) -> Strategy:
    """JSON texts, some of them no more than nearly; NaN and infinities as Python writes them."""
    texts = values.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
    deep = st.integers(1, 30_000).flatmap(
        lambda depth: st.sampled_from([b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth])
    )
    return texts | mutated(texts) | st.binary(max_size=60) | deep


# -- what may come out: codecs -----------------------------------------------------------------


def read_space(description: Any) -> None:
    """A description builds a space that can be described, or is refused."""
    try:
        space = space_from_json(description, limits=Limits(depth=8, spaces=50, elements=2000))
    except BridgeError:
        return
    again = space_from_json(json.loads(json.dumps(space_to_json(space, style=EXACT))))
    assert again == space


def read_sample(drawn: tuple[spaces.Space[Any], Any]) -> None:
    """A value is a sample of its space, or refused."""
    space, value = drawn
    try:
        sample = sample_from_json(space, value)
    except BridgeError:
        return
    if space.contains(sample):
        json.dumps(sample_to_json(space, sample, style=EXACT), allow_nan=False)


def read_bytes(drawn: tuple[spaces.Space[Any], bytes]) -> None:
    """Bytes are a sample of their space, or refused."""
    space, data = drawn
    try:
        sample = sample_from_bytes(space, data)
    except BridgeError:
        return
    if space.contains(sample):
        sample_to_bytes(space, sample)


def read_http(drawn: tuple[bytes, bytes]) -> None:
    """A body holds an object, or is refused."""
    try:
        parameters = http_codec.read_object(*drawn)
        for read in (http_codec.seed_of, http_codec.video_interval):
            read(parameters)
        http_codec.flag(parameters, "a")
        http_codec.required_text(parameters, "name")
    except Problem as problem:
        http_codec.error_reply(problem.message)


def read_websocket(data: bytes) -> None:
    """A message is a request, or refused with a reason that fits into a close frame."""
    try:
        method, params = websocket_codec.read_request(data)
    except websocket_codec.Refusal as refusal:
        reason = refusal.reason
    else:
        assert method in websocket_codec.METHODS
        assert isinstance(params, dict)
        reason = b""
    assert len(reason) <= 123
    reason.decode()


def read_zeromq(data: bytes) -> None:
    """A command is finite numbers, or refused."""
    try:
        command = zeromq_codec.decode_command(data, 2)
    except zeromq_codec.BadCommandError:
        pass
    else:
        assert all(math.isfinite(value) for value in command.values)
    try:
        zeromq_codec.Reading(data)
    except BridgeError:
        pass


def read_nats(data: bytes) -> None:
    """A payload is a vector without NaN, or refused."""
    try:
        vector = nats_codec.decode(data, "rl.update")
    except BridgeError:
        return
    assert not np.isnan(vector).any()


CODECS: dict[str, tuple[Target, Strategy]] = {
    "spaces": (read_space, DESCRIPTIONS),
    "samples": (read_sample, st.tuples(st.sampled_from(SPACES), VALUES)),
    "bytes": (
        read_bytes,
        st.sampled_from(SPACES).flatmap(
            lambda space: st.tuples(
                st.just(space),
                mutated(st.sampled_from(WRITTEN[id(space)])) | st.binary(max_size=80),
            )
        ),
    ),
    "http codec": (
        read_http,
        st.tuples(dumped(VALUES), st.just(b"application/json") | st.binary(max_size=20)),
    ),
    "websocket codec": (read_websocket, dumped(VALUES)),
    "zeromq codec": (
        read_zeromq,
        dumped(VALUES | st.lists(st.dictionaries(WORDS, SCALARS), min_size=2, max_size=3)),
    ),
    "native codec": (native_fuzzing.read, native_fuzzing.inputs(mutated)),
    "nats codec": (read_nats, mutated(st.sampled_from([b"AAAAAAAA8D8=", b"", b"AAAA" * 8]))),
}

# -- what may come out: servers ----------------------------------------------------------------

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


SERVERS: dict[str, tuple[str, Strategy]] = {
    "http": ("http", st.lists(http_requests() | mutated(http_requests()), min_size=1, max_size=3)),
    "websocket": ("websocket", st.lists(FRAMES, min_size=1, max_size=4)),
    "native": ("native", native_fuzzing.frames(mutated)),
}


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


def fuzz(check: Target, inputs: Strategy, examples: int, start: int | None = None) -> None:
    """Check so many inputs; a failing one is shown in its smallest form."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=start is None,
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def run(value: Any) -> None:
        check(value)

    (run if start is None else seed(start)(run))()


def main() -> None:
    """Fuzz by turns until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for each name")
    parser.add_argument("names", nargs="*", default=[*CODECS, *SERVERS])
    arguments = parser.parse_args()
    for name in arguments.names:
        end = time.monotonic() + arguments.minutes * 60
        start = time.time_ns() % 2**32

        def rounds(check: Target, inputs: Strategy, end: float = end, start: int = start) -> int:
            count = 0
            while time.monotonic() < end:
                fuzz(check, inputs, 200, start + count)
                count += 1
            return count * 200

        if name in CODECS:
            count = rounds(*CODECS[name])
        else:
            protocol, inputs = SERVERS[name]
            with under_fire(protocol) as check:
                count = rounds(check, inputs)
        print(f"{name}: {count:,} inputs from seed {start}, nothing found", flush=True)


if __name__ == "__main__":
    sys.exit(main())
