"""Who may use a server."""

import time

import pytest

from gym_loop.serve.access import RateLimit, origin_allowed, token_allowed, token_of
from gym_loop.serve.settings import ServeSettings


@pytest.mark.parametrize(
    ("authorization", "query", "token"),
    [
        ("Bearer abc", "", "abc"),
        ("bearer  abc ", "token=other", "abc"),
        ("Basic abc", "", None),
        ("Basic abc", "token=abc", "abc"),
        (None, "a=1&token=a%20c&b=2", "a c"),
        (None, "tokens=abc", None),
        (None, "token=", None),
        (None, "&".join(["a=1"] * 500), None),
        ("", "", None),
        (None, "", None),
    ],
)
def test_tokens_are_found(authorization: str | None, query: str, token: str | None) -> None:
    assert token_of(authorization, query) == token


def test_tokens_are_compared() -> None:
    settings = ServeSettings(token="secret")
    assert token_allowed(settings, "secret")
    for wrong in (None, "", "secre", "secret ", "SECRET", "s\udce9cret", "sécret"):
        assert not token_allowed(settings, wrong)
    assert token_allowed(ServeSettings(), None)
    assert token_allowed(ServeSettings(), "whatever")


@pytest.mark.parametrize(
    ("bound", "origin", "host", "allowed"),
    [
        ("127.0.0.1", None, "localhost:5000", True),
        ("127.0.0.1", "http://localhost:3000", "127.0.0.1:5000", True),
        ("127.0.0.1", "http://[::1]:3000", "[::1]:5000", True),
        ("127.0.0.1", "https://evil.example", "127.0.0.1:5000", False),
        ("127.0.0.1", "http://evil.example:5000", "evil.example:5000", False),  # rebound name
        ("127.0.0.1", "null", "127.0.0.1:5000", False),
        ("127.0.0.1", "", "127.0.0.1:5000", False),
        ("127.0.0.1", "http://[", "127.0.0.1:5000", False),
        ("127.0.0.1", "http://127.0.0.1.evil.example", "127.0.0.1:5000", False),
        ("0.0.0.0", "http://localhost:3000", "192.168.1.2:5000", False),
        ("0.0.0.0", "http://192.168.1.2:5000", "192.168.1.2:5000", True),
        ("0.0.0.0", "http://192.168.1.3:5000", "192.168.1.2:5000", False),
        ("0.0.0.0", "http://localhost:5000", "localhost:5000", True),
        ("gym.example", "http://gym.example:5000", "gym.example:5000", True),
        ("gym.example", "https://good.example", "gym.example:5000", True),
        ("gym.example", "https://good.example.evil", "gym.example:5000", False),
    ],
)
def test_origins(bound: str, origin: str | None, host: str, allowed: bool) -> None:
    settings = ServeSettings(host=bound, allowed_origins=("https://good.example",))
    assert origin_allowed(settings, origin, host) is allowed


def test_every_origin() -> None:
    assert origin_allowed(ServeSettings(allowed_origins=("*",)), "https://any.example", None)
    assert origin_allowed(ServeSettings(allowed_origins=("null",)), "null", None)


def test_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    limit = RateLimit(10)
    assert [limit.allows("one") for _ in range(12)] == [True] * 10 + [False] * 2
    assert limit.allows("other")
    now += 0.25
    assert [limit.allows("one") for _ in range(4)] == [True, True, False, False]
    now += 3600
    assert sum(limit.allows("one") for _ in range(100)) == 10


def test_slow_rates_let_one_through(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    limit = RateLimit(0.1)
    assert [limit.allows("one") for _ in range(2)] == [True, False]
    now += 10.001
    assert limit.allows("one")


def test_no_limit_and_no_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(RateLimit(None).allows("one") for _ in range(1000))
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    limit = RateLimit(1)
    for client in range(20_000):
        now += 0.01
        limit.allows(str(client))
    assert len(limit._buckets) < 5000
