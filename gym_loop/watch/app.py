"""The watching page's application (ASGI): the page, the newest view, and the next episode."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gym_loop.runs.results import to_json
from gym_loop.serve.http.gate import READING, Gate
from gym_loop.serve.http.pages import Pages
from gym_loop.serve.http.replies import JPEG, JSON, Headers, Message, Refused, Reply, send_reply
from gym_loop.serve.http.settings import HttpSettings
from gym_loop.watch.player import Player, View
from gym_loop.wire import gym_http as codec

_LOG = logging.getLogger("gym_loop.watch")
PATIENCE = 1.0  # s that a request waits for a new view
PAGE = Path(__file__).with_name("static") / "watch.html"
_NO_STORE: Headers = [(b"cache-control", b"no-store")]


class WatchApp:
    """Shows what a player plays. It must be made in the event loop that calls it.

    Args:
        settings: who may watch.
        player: plays, in a thread of its own.
        end: ends the server.
    """

    def __init__(self, settings: HttpSettings, player: Player, end: Callable[[], None]) -> None:
        self._gate = Gate(settings)
        self._pages = Pages(PAGE)
        self._player = player
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[None]] = set()
        player.on_view = lambda: self._call(self._wake)
        player.on_end = lambda: self._call(end)
        if player.error is not None:  # before there was anyone to tell
            end()

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        """Answer one request."""
        fields, path = dict(scope["headers"]), scope["path"]
        page = self._pages.get(path)
        try:
            self._gate.check(scope, fields, public=page is not None)
            reply = page or await self._answer(scope["method"], path)
        except Refused as refusal:
            headers = [*JSON, *refusal.headers]
            reply = Reply(codec.error_reply(refusal.message), refusal.status, headers)
        except Exception as error:  # noqa: BLE001 - ours: others go on watching
            _LOG.error("%s %s failed", scope["method"], path, exc_info=error)
            reply = Reply(codec.error_reply("the server failed; its log says how"), 500)
        await send_reply(reply, send)

    def sweep(self) -> None:
        """Nothing passes over here."""

    async def close(self) -> None:
        """Tell the player that nobody is left."""
        self._player.on_view = self._player.on_end = lambda: None

    async def _answer(self, method: str, path: str) -> Reply:
        if path == "/live/next" and method == "POST":
            self._player.next_episode()
            return Reply(b"", 204, _NO_STORE)
        if path.startswith("/live/views/") and method in READING:
            seen = path[12:]
            if seen.isdecimal() and len(seen) < 16:
                return self._reply(await self._newer(int(seen)), int(seen))
        raise Refused(404, f"there is no {method[:20]} {path[:200]} here")

    async def _newer(self, seen: int) -> View:
        """The newest view, as soon as it is another than the one seen; or after a while."""
        view = self._player.ask(seen)
        if view.number == seen:
            future = self._loop.create_future()
            self._waiting.add(future)
            await asyncio.wait([future], timeout=PATIENCE)
            self._waiting.discard(future)
        return self._player.ask(-1)

    def _reply(self, view: View, seen: int) -> Reply:
        facts = to_json({**view.facts, "number": view.number})  # ASCII, as a header must be
        headers = [(b"gym-loop-view", facts.encode())]
        if view.number == seen or not view.jpeg:
            return Reply(b"", 204, _NO_STORE + headers)
        return Reply(view.jpeg, 200, JPEG + headers)

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def _call(self, function: Callable[[], None]) -> None:
        """From the player's thread, in the loop."""
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop is closed: there is nobody to be told
            pass
