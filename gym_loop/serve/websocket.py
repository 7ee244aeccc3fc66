"""One client's WebSocket: messages in, replies in their order out, and what bounds both.

It knows no protocol above messages: an `Answers` makes a reply of each.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from gym_loop.serve.access import RateLimit
from gym_loop.wire.gymie import Refusal

_LOG = logging.getLogger("gym_loop.serve")
MOST_PENDING = 64  # replies of one client that environments may be at work on
UNREAD = 4 << 20  # bytes of replies of one client, and one reply more, that may wait for it to read
ENDING = (1001, "the server ends")


class Reply(NamedTuple):
    """A reply that an environment may still be at work on.

    Args:
        result: gives the reply; or it is what the request failed with.
        refused: makes a reply of such an error, or raises `Refusal`, which closes the connection.
        size: of the reply in bytes, as far as that is known.
    """

    result: asyncio.Future[bytes] | bytes | Exception
    refused: Callable[[Exception], bytes]
    size: int = 0


class Answers(Protocol):
    """A protocol above messages."""

    binary: bool  # the kind of frames that replies are sent in

    def answer(self, data: bytes) -> Reply:
        """Begin to answer a message."""


class Connection:
    """Reads messages, has them answered, and sends the replies in the order of the requests.

    A client that sends faster than it is answered, or does not read its replies, is not read
    from until it caught up: nothing piles up here.

    Args:
        websocket: not accepted yet.
        answers: what is spoken.
        rate: counts messages; a client that sends too many waits.
        retry: seconds until ``rate`` is worth asking again.
    """

    def __init__(
        self, websocket: WebSocket, answers: Answers, rate: RateLimit, retry: float
    ) -> None:
        self._websocket = websocket
        self._answers = answers
        self._rate, self._retry = rate, retry
        self._client = websocket.client.host if websocket.client else ""
        self._replies: asyncio.Queue[Reply | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._unsent = 0  # bytes

    async def run(self) -> None:
        """Serve the client until it goes, breaks a rule, or the server ends."""
        await self._websocket.accept()
        writing = asyncio.ensure_future(self._write())
        try:
            ending = await self._read(writing)
            self._replies.put_nowait(None)
            await writing
            if ending:
                await self._close(*ENDING)
        except WebSocketDisconnect:
            pass  # the client went
        finally:
            writing.cancel()
            self._forget()

    async def _read(self, writing: asyncio.Future[None]) -> bool:
        """Have messages answered until one is refused, or the server ends, which gives true.

        Raises:
            WebSocketDisconnect: the client went.
        """
        while not writing.done():
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                if message.get("code") != ENDING[0]:
                    raise WebSocketDisconnect(message.get("code", 1005))
                return True
            while not self._rate.allows(self._client):
                await asyncio.sleep(self._retry)
            text = message.get("text")
            data = text.encode() if text is not None else message["bytes"]
            reply = self._answers.answer(data)
            self._replies.put_nowait(reply)
            self._unsent += reply.size
            if isinstance(reply.result, Exception) and not self._answers.binary:
                return False  # what follows a refusal is not to be done
            while not writing.done() and self._is_full():
                self._room.clear()
                await self._room.wait()
        return False

    def _is_full(self) -> bool:
        return self._replies.qsize() >= MOST_PENDING or self._unsent > UNREAD

    async def _write(self) -> None:
        """Send the replies, each as soon as it and all before it are there."""
        try:
            while (reply := await self._replies.get()) is not None:
                try:
                    data = await self._result(reply)
                except Exception as error:  # noqa: BLE001 - an environment's or ours: others go on
                    data = reply.refused(error)
                if self._answers.binary:
                    await self._websocket.send_bytes(data)
                else:
                    await self._websocket.send_text(data.decode())
                self._unsent -= reply.size
                self._room.set()
        except Refusal as refusal:
            await self._close(refusal.code, refusal.reason.decode())
        except (WebSocketDisconnect, OSError):
            pass  # the client went
        finally:
            self._room.set()

    @staticmethod
    async def _result(reply: Reply) -> bytes:
        if isinstance(reply.result, Exception):
            raise reply.result
        return reply.result if isinstance(reply.result, bytes) else await reply.result

    async def _close(self, code: int, reason: str) -> None:
        if self._websocket.application_state == WebSocketState.CONNECTED:
            try:
                await self._websocket.close(code, reason)
            except (WebSocketDisconnect, RuntimeError, OSError):
                pass  # the client went first

    def _forget(self) -> None:
        """Drop what nobody will get; an environment being made is not, where nobody knows it."""
        while not self._replies.empty():
            reply = self._replies.get_nowait()
            result = reply.result if reply is not None else None
            if isinstance(result, asyncio.Future) and not result.cancel():
                result.exception()
