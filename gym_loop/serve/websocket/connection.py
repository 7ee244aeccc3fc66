"""One client's WebSocket: whole messages in, replies in their order out, and what bounds both.

It knows no protocol above frames: an ``answer`` function turns each message into its reply.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from gym_loop.serve.stepping import Pending
from gym_loop.serve.websocket.deflate import LEAST, Broken, Deflate, TooLong
from gym_loop.wire import gymie as codec
from gym_loop.wire.gymie import Refusal

_LOG = logging.getLogger("gym_loop.envs.remote")

TURN = 16  # messages of one client that are answered before others get their turn
MOST_PENDING = 64  # replies of one client that threads may be at work on
CLOSING_TIME = 2.0  # seconds that a client has for its part of the closing handshake

TEXT, BINARY, CONTINUATION = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION
PING, CLOSE = WSMsgType.PING, WSMsgType.CLOSE

Answer = Callable[[bytes], bytes | Pending]


class Connection(WSListener):
    """Reads messages, has them answered, and sends the replies in the order of the requests.

    A client that sends faster than it is answered, or does not read its replies, is not read
    from until it caught up: nothing piles up here.

    Args:
        answer: gives the reply, or its promise, or raises `Refusal`, which closes the connection.
        longest: bytes of a message.
        deflate: compresses, where client and server agreed on it.
        allows: counts a message, and tells whether the client may send it by now.
        retry: seconds until ``allows`` is worth asking again.
        on_begin: called once when the handshake is done.
        on_end: called once when the connection is gone.
        kind: of the frames that replies are sent in.
    """

    def __init__(
        self,
        answer: Answer,
        longest: int,
        deflate: Deflate | None = None,
        allows: Callable[[str], bool] | None = None,
        retry: float = 0.0,
        on_begin: Callable[[Connection], None] | None = None,
        on_end: Callable[[Connection], None] | None = None,
        kind: WSMsgType = TEXT,
    ) -> None:
        self.heard = True  # something arrived since the last sweep
        self.silent = 0.0  # seconds since then, as the sweep counts them
        self._answer = answer
        self._longest = longest
        self._kind = kind
        self._deflate = deflate
        self._allows = allows
        self._retry = retry
        self._on_begin, self._on_end = on_begin, on_end
        self._loop = asyncio.get_running_loop()
        self._transport: WSTransport
        self._send: Callable[[bytes], None]
        self._client = ""
        self._fragments: bytearray | None = None
        self._deflated = False  # the message whose fragments arrive
        self._turn = 0
        self._replies: deque[bytes | Refusal | Pending] = deque()  # the first is pending
        self._backlog: deque[bytes] = deque()
        self._drainer: asyncio.Handle | None = None
        self._stalled = False  # the client does not read
        self._ending = False
        self._closing = False
        self._free = allows is None

    # -- what arrives --------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        self._transport = transport
        plain = partial(transport.send, self._kind)
        self._send = plain if self._deflate is None else self._send_deflated
        peer = transport.underlying_transport.get_extra_info("peername")
        self._client = str(peer[0]) if peer else ""
        if self._on_begin is not None:
            self._on_begin(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take one frame."""
        self.heard = True
        try:
            kind = frame.msg_type
            whole = frame.fin and not (frame.rsv1 or frame.rsv2 or frame.rsv3)
            if not (whole and (kind is TEXT or kind is BINARY)) or self._fragments is not None:
                self._take_other(kind, frame)
            elif self._free and frame.last_in_buffer:  # the usual client, who waits for each reply
                self._turn = 0
                self._reply(frame.get_payload_as_bytes())
            else:
                self._take(frame.get_payload_as_bytes())
                if frame.last_in_buffer:
                    self._turn = 0
        except Exception as error:  # noqa: BLE001 - ours: it must not end what others do here
            _LOG.error("a connection failed", exc_info=error)
            self.close(1011, b"")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The client is gone; its environments wait for it until their lease ends."""
        self._closing = True
        self._drop()
        if self._on_end is not None:
            self._on_end(self)

    def _take_other(self, kind: WSMsgType, frame: WSFrame) -> None:
        """Control frames, fragments, and what is compressed."""
        if self._closing:
            if kind is CLOSE:
                self._transport.disconnect()
            return
        control = kind not in (TEXT, BINARY, CONTINUATION)
        if frame.rsv2 or frame.rsv3 or (frame.rsv1 and (self._deflate is None or control)):
            self.close(1002, b"a reserved bit is set")
        elif kind is PING:
            if not self._stalled:
                self._transport.send_pong(frame.get_payload_as_bytes())
        elif kind is CLOSE:
            self._confirm_close(frame)
        elif not control:
            self._take_fragment(kind is CONTINUATION, frame)

    def _take_fragment(self, continued: bool, frame: WSFrame) -> None:
        if continued != (self._fragments is not None) or (continued and frame.rsv1):
            self.close(1002, b"fragments of messages are mixed up")
            return
        if self._fragments is None:
            self._fragments, self._deflated = bytearray(), bool(frame.rsv1)
        self._fragments += frame.get_payload_as_memoryview()
        if len(self._fragments) > self._longest:
            self._too_long()
        elif frame.fin:
            data, self._fragments = bytes(self._fragments), None
            if self._deflated and self._deflate is not None:
                try:
                    data = self._deflate.inflate(data, self._longest)
                except TooLong:
                    self._too_long()
                    return
                except Broken as error:
                    self.close(1007, codec.cut(f"Message is not compressed data: {error}"))
                    return
            self._take(data)

    def _too_long(self) -> None:
        self.close(1009, b"Message is longer than %d bytes" % self._longest)

    # -- from messages to replies --------------------------------------------------------

    def _take(self, data: bytes) -> None:
        """Answer a message, or put it off."""
        if self._closing:
            return
        if self._backlog or self._turn >= TURN or self._is_held() or not self._may_send():
            self._backlog.append(data)
            self._put_off()
        else:
            self._turn += 1
            self._reply(data)

    def _is_held(self) -> bool:
        return self._stalled or self._ending or len(self._replies) >= MOST_PENDING

    def _may_send(self) -> bool:
        return self._allows is None or self._allows(self._client)

    def _settle(self) -> None:
        """Note whether the next message can be answered at once, with nothing to look after."""
        self._free = not (
            self._closing
            or self._ending
            or self._stalled
            or self._replies
            or self._backlog
            or self._allows is not None
        )

    def _read_on(self, yes: bool) -> None:
        transport = self._transport.underlying_transport
        if not transport.is_closing():
            (transport.resume_reading if yes else transport.pause_reading)()

    def _put_off(self) -> None:
        """Read nothing until the backlog is done."""
        self._settle()
        self._read_on(False)
        if self._drainer is None and not self._is_held():
            self._drainer = self._loop.call_later(self._retry, self._drain)

    def _drain(self) -> None:
        """Answer what was put off, a turn at a time."""
        self._drainer = None
        self.heard = True  # what waits here has been heard
        self._turn = 0
        while self._backlog and self._turn < TURN and not self._is_held() and self._may_send():
            self._turn += 1
            self._reply(self._backlog.popleft())
        self._turn = 0
        self._go_on()

    def _go_on(self) -> None:
        """After something that held up the client has ended."""
        if self._backlog:
            self._put_off()
        else:
            self._settle()
            if not self._closing:
                self._read_on(True)

    def _reply(self, data: bytes) -> None:
        reply: bytes | Refusal | Pending
        try:
            reply = self._answer(data)
        except Refusal as refusal:
            reply = refusal
        if not self._replies:
            if type(reply) is bytes:
                self._send(reply)
                return
            if isinstance(reply, Refusal):
                self.close(reply.code, reply.reason)
                return
        self._replies.append(reply)
        if isinstance(reply, Pending):
            reply.future.add_done_callback(self._flush)
        elif isinstance(reply, Refusal):
            self._ending = True  # what follows a refusal is not to be done
        self._settle()

    def _flush(self, done: asyncio.Future[object] | None = None) -> None:
        """Send the replies up to the first that is not ready."""
        while self._replies:
            reply = self._replies[0]
            if isinstance(reply, Pending):
                if not reply.future.done():
                    break
                try:
                    reply = reply.finish()
                except Refusal as refusal:
                    reply = refusal
            self._replies.popleft()
            if isinstance(reply, Refusal):
                self.close(reply.code, reply.reason)
            else:
                self._send(reply)
        if self._ending and not self._replies:
            self.close(1001, b"the server ends")
        self._go_on()

    def _send_deflated(self, reply: bytes) -> None:
        assert self._deflate is not None
        if len(reply) >= LEAST:
            self._transport.send(self._kind, self._deflate.compress(reply), rsv1=True)
        else:
            self._transport.send(self._kind, reply)

    def pause_writing(self) -> None:
        """The client does not read what it asked for: it has to, before it is read from."""
        self._stalled = True
        self._settle()
        if not self._closing:
            self._read_on(False)

    def resume_writing(self) -> None:
        """The client has read."""
        self._stalled = False
        self._go_on()

    # -- ends ----------------------------------------------------------------------------

    def close(self, code: int, reason: bytes) -> None:
        """Send a close frame; the client has some seconds to answer it.

        Args:
            code: 1000 to 4999.
            reason: UTF-8, at most 123 bytes.
        """
        if self._closing:
            return
        self._closing = True
        self._drop()
        self._transport.send_close(WSCloseCode(code), reason)
        self._read_on(True)  # the client's part
        self._loop.call_later(CLOSING_TIME, self.abort)

    def end(self) -> None:
        """Take no more requests, and close as soon as what is under way is answered."""
        self._ending = True
        self._backlog.clear()
        self._flush()

    def abort(self) -> None:
        """Cut the connection, whatever the client has not read yet."""
        if not self._transport.is_disconnected:
            self._transport.disconnect(graceful=False)

    def sweep(self, seconds: float, ping_after: float | None, longest_silence: float) -> None:
        """Look after a silent client.

        Args:
            seconds: since the last sweep.
            ping_after: seconds of silence between two pings, None for no pings.
            longest_silence: seconds after which the connection is closed.
        """
        if self.heard or self._replies:
            self.heard, self.silent = False, 0.0
            return
        before, self.silent = self.silent, self.silent + seconds
        if self.silent >= longest_silence:
            self.close(1001, b"nothing was heard for %d s" % longest_silence)
        elif ping_after is not None and self.silent // ping_after > before // ping_after:
            self._ping()

    def _ping(self) -> None:
        if not self._stalled and not self._closing:
            self._transport.send_ping()

    def _confirm_close(self, frame: WSFrame) -> None:
        self._closing = True
        self._drop()
        data = frame.get_payload_as_bytes()
        code = int.from_bytes(data[:2], "big") if data else 1000
        known = 1000 <= code < 1004 or 1007 <= code < 1015 or 3000 <= code < 5000
        if not known:
            code = 1002
        self._transport.send_close(code)  # type: ignore[arg-type]
        self._transport.disconnect()
        self._loop.call_later(CLOSING_TIME, self.abort)

    def _drop(self) -> None:
        """Forget what nobody will get; an environment being made is not, where nobody knows it."""
        self._backlog.clear()
        if self._drainer is not None:
            self._drainer.cancel()
        replies = list(self._replies)
        self._replies.clear()
        self._settle()
        for reply in replies:
            if isinstance(reply, Pending):
                reply.future.cancel()
