"""What uvicorn leaves open: how many connections there are, and how long a client may take."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sized
from dataclasses import dataclass, field
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

_LOG = logging.getLogger("gym_loop.serve")
REQUEST_TIME = 30.0  # s in which a request must have arrived
UNREAD_TIME = 60.0  # s after which a client that reads nothing of its replies is dropped
CLOSING_TIME = 2.0  # s that a client has for its part of a WebSocket's closing handshake
MOST_HEADERS = 1 << 16  # bytes
# Java's client offers HTTP/2 with every request; the parser then takes the body for HTTP/2.
_HTTP2 = re.compile(rb"\r\nupgrade:(?=[ \t]*h2c)", re.IGNORECASE)
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b'content-length: 54\r\n\r\n{"message":"as many clients as may be are connected"}\n'
)


@dataclass
class Limits:
    """What the connections of one server share.

    Args:
        connections: at once; for one more, the oldest makes room that has asked for nothing yet.
        idle: seconds that a client may be silent before its first request.
    """

    connections: int
    idle: float
    silent: dict[HttpConnection, None] = field(default_factory=dict)
    refused: int = 0


class _DropsUnread(asyncio.Protocol):
    """Drops a client that reads nothing of what it asked for."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _unread: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """What the client does not read has filled the buffer."""
        super().pause_writing()
        self._look_later()

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self._stop_looking()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_looking()
        super().connection_lost(exc)

    def _look_later(self) -> None:
        waits = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(UNREAD_TIME, self._look, waits)

    def _look(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:
            self._look_later()  # it is slow, but it reads
        else:
            _LOG.warning("a client that read nothing for %g s was dropped", UNREAD_TIME)
            self.transport.abort()

    def _stop_looking(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


class _Flow(FlowControl):
    """Reads no further while requests wait that were read already; uvicorn would."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


class HttpConnection(_DropsUnread, HttpToolsProtocol):
    """One client's connection, bounded in time and in the size of its headers."""

    def __init__(self, *args: Any, limits: Limits, **named: Any) -> None:
        super().__init__(*args, **named)
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None
        self._head: int | None = None  # bytes of a request whose headers are not complete yet
        self._is_one_too_many = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        self._limits.silent[self] = None
        self._close_after(self._limits.idle)
        if len(self.connections) > self._limits.connections:
            self._make_room()

    def _make_room(self) -> None:
        limits = self._limits
        limits.refused += 1
        if limits.refused & (limits.refused - 1) == 0:  # each would fill a disk
            _LOG.warning(
                "more than %d connections (max_connections): the silent ones and the new ones are"
                " closed (%d so far)", limits.connections, limits.refused,
            )  # fmt: skip
        oldest = next(iter(limits.silent))
        if oldest is self:
            self._is_one_too_many = True  # which it is told when it asks
        else:
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something arrived."""
        if self._is_one_too_many:
            self.transport.write(_FULL)
            self.transport.close()
            return
        super().data_received(_HTTP2.sub(b"\r\nx-upgrade:", data) if b"pgrade:" in data else data)
        # What came before the request in this data is not its own, nor known apart.
        if self._head is not None and self.parser is not None:
            self._head += len(data)
            if self._head > MOST_HEADERS:
                self.send_400_response("The headers are too long.")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head = 0
        self._close_after(REQUEST_TIME)

    def on_headers_complete(self) -> None:
        """Its headers are there."""
        self._head = None
        self._limits.silent.pop(self, None)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """It is whole."""
        self._forget()
        super().on_message_complete()

    def _close_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _forget(self) -> None:
        self._limits.silent.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class WebSocketConnection(_DropsUnread, WebSocketsSansIOProtocol):
    """One client's WebSocket."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.close_timeout = CLOSING_TIME

    def handle_ping(self) -> None:
        """Answer a ping, unless the client does not read: pongs must not pile up."""
        pong = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(pong)

    def handle_parser_exception(self) -> None:
        """Say what was wrong; a client that is still sending must get to read it."""
        if self.close_sent:
            return
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006, "reason": ""})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.write_eof()
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(CLOSING_TIME, self.transport.close)

    def shutdown(self) -> None:
        """Let the application send what it is at work on, and then say that the server ends."""
        if self.handshake_complete and not self.close_sent:
            self.stop_keepalive()
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1001, "reason": ""})
        else:
            super().shutdown()
