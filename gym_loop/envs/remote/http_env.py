"""An environment behind a server of gym-http-api v1, over one kept-alive connection."""

from __future__ import annotations

import http.client
import io
import re
import select
import time
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from gym_loop.envs.remote.connection import (
    LONGEST,
    Address,
    Connection,
    InstanceGoneError,
    Lost,
    needed,
)
from gym_loop.envs.remote.remote_env import RemoteEnv, Step, read_json
from gym_loop.errors import BridgeProtocolError

_PIECE = 2**16  # bytes of a body that are read at once
_JSON = {"Accept": "application/json", "Content-Type": "application/json"}

Request = tuple[str, str, bytes | None]  # method, path, body


class HttpClient(Connection):
    """Asks a server of gym-http-api, ours or the original.

    Args:
        address: of the server; its path goes before ``/v1``.
        token: what the server demands, None for nothing.
        timeout: seconds that connecting, and an answer, may take.
    """

    def __init__(self, address: Address, token: str | None, timeout: float) -> None:
        super().__init__(address, token, timeout)
        self._write = needed("orjson").dumps
        self._root = f"{address.path}/v1/envs/"
        self._http: http.client.HTTPConnection | None = None
        self._parts: list[bytes] = []  # of the request
        self._deadline = 0.0

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
        path = self._path(instance, "step")
        reply = self._ask("POST", path, {"action": action}, repeat=False)
        try:
            return Step(reply["observation"], reply["reward"], reply["done"], reply["info"])
        except (KeyError, TypeError):
            raise BridgeProtocolError(
                "the answer to a step lacks observation, reward, done or info"
            ) from None

    def close(self, instance: str) -> None:
        """Close an environment."""
        self._ask("POST", self._path(instance, "close"), {}, repeat=False)

    def _path(self, instance: str, what: str) -> str:
        return f"{self._root}{quote(instance, safe='')}/{what}/"

    def _ask(self, method: str, path: str, body: Any = None, *, repeat: bool = True) -> Any:
        data = None if body is None else self._write(body)
        return self.ask((method, path, data), repeat=repeat)

    # -- the connection --------------------------------------------------------------------------

    def drop(self) -> None:
        """End the connection; harmless if there is none."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def exchange(self, request: Request) -> Any:
        """Send a request and read its answer, both whole."""
        self._deadline = time.monotonic() + self.timeout
        while True:
            try:
                status, retry_after, body = self._round_trip(*request)
            except TimeoutError:
                raise self.too_late() from None
            except OSError as error:
                raise Lost(f"the connection broke: {error.strerror or error}") from None
            except (http.client.HTTPException, ValueError) as error:
                raise self._meant(error) from None
            if status == 200:
                return read_json(body)
            if status == 204:
                return None
            pause = int(retry_after[:9]) if retry_after.isdecimal() else None
            if status != 429 or pause is None or time.monotonic() + pause > self._deadline:
                raise _refusal(status, body, self.address.url)
            time.sleep(pause)  # too many requests: this one was not even looked at

    def _round_trip(self, method: str, path: str, body: bytes | None) -> tuple[int, str, bytes]:
        """Status, ``Retry-After`` and body of the answer to one request."""
        http = self._http
        if http is None or http.sock is None or _has_news(http.sock):
            http = self._connect()
        http.sock.settimeout(self.timeout)
        self._parts.clear()
        http.request(method, path, body, {**_JSON, **self.headers})
        http.sock.sendall(b"".join(self._parts))
        response = http.getresponse()
        data = b"".join(iter(lambda: response.read(_PIECE), b""))  # no more than has come
        if response.length or (response.status == 200 and not data):
            raise Lost("the server closed the connection")  # in the middle of its answer
        retry_after = response.headers.get("Retry-After", "")
        response.close()
        return response.status, retry_after, data

    def _connect(self) -> http.client.HTTPConnection:
        self.drop()
        address = self.address
        cls = http.client.HTTPSConnection if address.tls else http.client.HTTPConnection
        made = cls(address.host, address.port, timeout=self.timeout)
        try:
            made.connect()
        except OSError as error:
            made.close()
            raise self.unreachable(error) from None
        made.response_class = self._response  # type: ignore[assignment]
        # Head and body together: sent one after the other, they wake the server twice.
        made.send = self._parts.append  # type: ignore[assignment, method-assign]
        self._http, self.was_open = made, True
        return made

    def _response(self, sock: Any, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
        """A response that is bounded as a whole: `http.client` bounds the time of each piece."""
        response = http.client.HTTPResponse(sock, *args, **kwargs)
        raw = response.fp.detach()
        response.fp = io.BufferedReader(_Bounded(raw, sock, self._deadline))
        return response

    def _meant(self, error: Exception) -> Exception:
        """What an answer that `http.client` cannot read means."""
        begun = isinstance(error, http.client.BadStatusLine) and str(error).startswith("HTTP/")
        if begun or isinstance(error, http.client.IncompleteRead):
            return Lost("the server closed the connection")  # in the middle of its answer
        return BridgeProtocolError(f"{self.address.url} does not speak HTTP: {error}")


class _Bounded(io.RawIOBase):
    """What comes from a socket: until the deadline, and as much as an answer may have."""

    def __init__(self, raw: io.RawIOBase, sock: Any, deadline: float) -> None:
        self._raw, self._sock, self._deadline = raw, sock, deadline
        self._left = LONGEST

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        size = self._raw.readinto(buffer)
        self._left -= size or 0
        if self._left < 0:
            raise BridgeProtocolError(f"an answer of more than {LONGEST} bytes")
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


def _has_news(sock: Any) -> bool:
    """Whether an idle connection has something to read: between answers, only that it ended."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


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


class HttpEnv(RemoteEnv):
    """What a gym-http-api server holds, as an environment: ``gym_loop/Http-v0``.

    The server may be ours (``gym-loop serve http``) or the original. Its address is such as
    ``http://127.0.0.1:5000``, and ``https://`` is encrypted; see
    `gym_loop.envs.remote.remote_env.RemoteEnv` for everything else.
    """

    client_class = HttpClient
    schemes: ClassVar[Mapping[str, bool]] = {"http": False, "https": True}
