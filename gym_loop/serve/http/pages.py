"""Pages for people: plain files of the package, the same for everyone who asks."""

from __future__ import annotations

from pathlib import Path

from gym_loop.serve.http.replies import PAGE, Headers, Reply

SHARED = Path(__file__).with_name("static")
PARTS = ("common.js", "style.css")  # of every page
_KINDS = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
}


class Pages:
    """The files of a page by the path that a browser asks for.

    They hold nothing but what is in the package, so that a browser gets them without a token: the
    page asks for it, and sends it with everything that it wants to know.

    Args:
        page: the HTML file, which is at ``/``; the script of the same name beside it, and what
            all pages share, are at ``/live/NAME``.
    """

    def __init__(self, page: Path) -> None:
        parts = [page.with_suffix(".js"), *(SHARED / name for name in PARTS)]
        self._replies = {"/": _reply(page)}
        self._replies |= {f"/live/{path.name}": _reply(path) for path in parts}

    def get(self, path: str) -> Reply | None:
        """The file at a path; None where there is none."""
        return self._replies.get(path)


def _reply(path: Path) -> Reply:
    kind: Headers = [(b"content-type", _KINDS[path.suffix])]
    return Reply(path.read_bytes(), 200, kind + PAGE)
