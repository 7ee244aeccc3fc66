"""gym-http-api v1 from the other side: the requests of a client over one kept-alive connection."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import quote

import httptools
import orjson

from gym_loop.envs.remote.remote_env import Client, InstanceGoneError, Step, read_json
from gym_loop.envs.remote.transport import Address, Line, Lost, authorization, persist
from gym_loop.errors import BridgeProtocolError

_LONGEST = 2**28  # bytes of an answer


class HttpClient(Client):
    """Asks a server of gym-http-api, ours or the original.

    Args:
        address: of the server; its path goes before ``/v1``.
        token: what the server demands, None for nothing.
        timeout: seconds that connecting, and an answer, may take.
    """

    def __init__(self, address: Address, token: str | None, timeout: float) -> None:
        self._line = Line(address, timeout)
        self._root = f"{address.path}/v1/envs/"
        self._headers = b" HTTP/1.1\r\nHost: %b\r\n%bAccept: application/json\r\n" % (
            address.authority.encode(),
            authorization(token),
        )
        self._json = self._headers + b"Content-Type: application/json\r\nContent-Length: "
        self._reader = _Reader()
        self._step_of = ""
        self._step_head = b""

    def make(self, env_id: str, seed: int | None) -> str:
        """Make an environment; its instance id."""
        wish = {"env_id": env_id} if seed is None else {"env_id": env_id, "seed": seed}
        instance = _member(self._ask("POST", self._root, wish), "instance_id")
        if not isinstance(instance, str) or not instance:
            raise BridgeProtocolError(f"the instance_id is {instance!r} instead of a text")
        return instance

    def spaces(self, instance: str) -> tuple[Any, Any]:
        """The descriptions of both spaces."""
        kinds = ("observation_space", "action_space")
        answers = [self._ask("GET", self._path(instance, kind)) for kind in kinds]
        return _member(answers[0], "info"), _member(answers[1], "info")

    def reset(self, instance: str) -> Any:
        """Begin an episode; its first observation."""
        return _member(self._ask("POST", self._path(instance, "reset"), {}), "observation")

    def step(self, instance: str, action: Any) -> Step:
        """Take one step, which is never repeated."""
        if instance != self._step_of:
            self._step_of = instance
            self._step_head = b"POST %b%b" % (self._path(instance, "step").encode(), self._json)
        body = b'{"action":%b}' % orjson.dumps(action)
        request = b"%b%d\r\n\r\n%b" % (self._step_head, len(body), body)
        reply = persist(self._line, lambda: self._exchange(request), repeat=False)
        try:
            return Step(reply["observation"], reply["reward"], reply["done"], reply["info"])
        except (KeyError, TypeError):
            raise BridgeProtocolError(
                "the answer to a step lacks observation, reward, done or info"
            ) from None

    def close(self, instance: str) -> None:
        """Close an environment."""
        self._ask("POST", self._path(instance, "close"), {}, repeat=False)

    def hurry(self, seconds: float) -> None:
        """From now on, wait no longer than this for an answer."""
        self._line.hurry(seconds)

    def disconnect(self) -> None:
        """End the connection."""
        self._line.close()

    def _path(self, instance: str, what: str) -> str:
        return f"{self._root}{quote(instance, safe='')}/{what}/"

    def _ask(self, method: str, path: str, body: Any = None, *, repeat: bool = True) -> Any:
        head = f"{method} {path}".encode()
        if body is None:
            request = head + self._headers + b"\r\n"
        else:
            data = orjson.dumps(body)
            request = b"%b%b%d\r\n\r\n%b" % (head, self._json, len(data), data)
        return persist(self._line, lambda: self._exchange(request), repeat=repeat)

    def _exchange(self, request: bytes) -> Any:
        """Send a request and read its answer, both whole."""
        line = self._line
        if line.is_stale():
            line.connect()
            self._reader = _Reader()
        end = time.monotonic() + line.timeout
        while True:
            line.send(request)
            status, body = self._reader.read(line)
            if status == 200:
                return read_json(body)
            if status == 204:
                return None
            pause = self._reader.retry_after
            if status != 429 or pause is None or time.monotonic() + pause > end:
                raise _refusal(status, body, line.address.url)
            time.sleep(pause)  # too many requests: this one was not even looked at
            if not line.is_open:
                line.connect()
                self._reader = _Reader()


class _Reader:
    """The answers on one connection, one after the other.

    Attributes:
        retry_after: seconds that the last answer wants the client to wait.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._sized = self._complete = self._keeps = False
        self._body: list[bytes] = []
        self.retry_after: int | None = None

    def read(self, line: Line) -> tuple[int, bytes]:
        """The status and the body of the next answer; a connection that it ends is closed."""
        parser, received = self._parser, 0
        self._sized = self._complete = False
        self._body.clear()
        self.retry_after = None
        try:
            while not self._complete:
                data = line.receive()
                received += len(data)
                if received > _LONGEST:
                    raise BridgeProtocolError(f"an answer of more than {_LONGEST} bytes")
                parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise BridgeProtocolError(f"{line.address.url} does not speak HTTP: {error}") from None
        except Lost:
            # A body without a length ends with the connection; anything else is cut short.
            if not self._body or self._sized:
                raise
        if not self._complete or not self._keeps:
            line.close()
        status: int = parser.get_status_code()
        return status, self._body[0] if len(self._body) == 1 else b"".join(self._body)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        name = name.lower()
        if name == b"content-length" or name == b"transfer-encoding":
            self._sized = True
        elif name == b"retry-after" and value.isdigit():
            self.retry_after = int(value[:9])

    def on_body(self, data: bytes) -> None:
        """Called by the parser, for every piece."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Called by the parser, which knows only now whether the connection stays."""
        if self._parser.get_status_code() < 200:
            return  # a word on the way, such as 100 Continue
        self._complete = True
        self._keeps = self._parser.should_keep_alive()


def _member(answer: Any, name: str) -> Any:
    if not isinstance(answer, dict) or name not in answer:
        raise BridgeProtocolError(f"the server's answer has no {name}")
    return answer[name]


def _refusal(status: int, body: bytes, url: str) -> BridgeProtocolError:
    """What an answer other than success means."""
    if status in (401, 403):
        return BridgeProtocolError(f"{url} demands another token; give it as token")
    try:
        said = read_json(body)
    except BridgeProtocolError:
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("message"), str):
        # The original answers whatever it did not foresee with a page.
        return BridgeProtocolError(f"{url} answered with the HTTP status {status}")
    message = said["message"][:500]
    if re.search(r"instance_id .* unknown", message, re.IGNORECASE):
        return InstanceGoneError(f"{url} does not hold the environment any more: {message}")
    return BridgeProtocolError(f"{url} refused: {message}")
