"""One client's connection: bounded in time and size, with a short way for steps."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sized
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gym_loop.serve.http.replies import Headers, Reply

REQUEST_TIME = 30.0  # s in which a request must have arrived
MOST_HEADERS = 1 << 16  # bytes
# Java's client offers HTTP/2 with every request; the parser then takes the body for HTTP/2.
STEP = b"/step/"
SHORT = 4096  # bytes of a body that may take the short way
AT_ONCE = 16  # such requests that are answered without a pause for others
UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


def _whole(reply: Reply, defaults: Headers) -> bytes:
    """The bytes of a reply."""
    length = (b"content-length", b"%d" % len(reply.body))
    lines = [b"%s: %s\r\n" % one for one in (*defaults, *reply.headers, length)]
    return b"".join((STATUS_LINE[reply.status], *lines, b"\r\n", reply.body))


class _Joining:
    """A transport that sends the head of a reply together with its body.

    uvicorn writes them one after the other, which costs a system call here and a wake-up there.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100"):
            self._head = data
            return
        if not self._transport.is_closing():  # else the client went away
            self._transport.write(data)

    def flush(self) -> None:
        """Send a head that no body follows."""
        if self._head:
            head, self._head = self._head, b""
            if not self._transport.is_closing():
                self._transport.write(head)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Flow(FlowControl):
    """Reads no further while requests wait that were read already; uvicorn would."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


class Connection(HttpToolsProtocol):
    """One client's connection, bounded in time and in the size of its headers."""

    _short_way: Callable[[Any, bytes], Reply | None] | None = None
    _step: bytearray | None = None  # body of a request that may take the short way
    _left = 0  # requests that may take it before the loop's other work has its turn

    _heard = 0.0  # when something arrived last
    _arriving = False  # a request has begun to arrive
    _head = 0  # bytes of a request whose headers are not complete yet
    _begun = False  # a request began in the latest data

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        self._joining = _Joining(transport)
        super().connection_made(self._joining)  # type: ignore[arg-type]
        self.flow = _Flow(self.transport, self.pipeline)
        self._heard = self.loop.time()
        self._short_way = getattr(self.config.app, "answer_at_once", None)

    def data_received(self, data: bytes) -> None:
        """Something arrived."""
        if not self._arriving:
            self._heard = self.loop.time()
        if b"pgrade:" in data and (self._head or not self._arriving):
            data = UPGRADE.sub(b"\r\nx-upgrade:", data)
        self._left, self._begun = AT_ONCE, False
        super().data_received(data)
        # What came before the request in this data is not its own, nor known apart.
        if self._head and not self._begun and self.parser is not None:
            self._head += len(data)
            if self._head > MOST_HEADERS:
                self.send_400_response("The headers are too long.")

    def on_message_begin(self) -> None:
        """A request begins."""
        self._arriving, self._head, self._begun = True, 1, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its headers are there."""
        self._head = 0
        if self.url.endswith(STEP) and self._is_free():
            self._step = bytearray()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of its body is."""
        if self._step is not None:
            self._step += body
            if len(self._step) <= SHORT:
                return
            body = self._take_long_way()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """It is whole."""
        self._arriving = False
        if self._step is not None:
            if self._answer_at_once(bytes(self._step)):
                self._step = None
                return
            if body := self._take_long_way():
                super().on_body(body)
        super().on_message_complete()

    def _is_free(self) -> bool:
        """Whether a request may be answered in the moment in which it is complete."""
        return (
            self._short_way is not None
            and self._left > 0
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and not self.expect_100_continue
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
        )

    def _answer_at_once(self, body: bytes) -> bool:
        assert self._short_way is not None
        self._left -= 1
        scope: Any = self.scope
        scope.update(method="POST", path=self.url.decode("ascii"), query_string=b"")
        reply = self._short_way(scope, body)
        if reply is None:
            return False
        if not self.transport.is_closing():
            self.transport.write(_whole(reply, self.server_state.default_headers))
            self._joining.flush()
        return True

    def _take_long_way(self) -> bytes:
        """Begin what uvicorn does with a request; return what came of the body so far."""
        body, self._step = bytes(self._step or b""), None
        super().on_headers_complete()
        return body

    def on_response_complete(self) -> None:
        """It is answered."""
        self._joining.flush()
        super().on_response_complete()

    def end_if_silent(self, now: float, idle: float) -> None:
        """Close a connection whose request does not arrive, or that sent none for long.

        Args:
            now: the loop's time in seconds.
            idle: seconds that a client may think between two requests.
        """
        at_work = not self._arriving and self.cycle is not None and not self.cycle.response_complete
        if not at_work and now - self._heard > (REQUEST_TIME if self._arriving else idle):
            self.transport.close()
