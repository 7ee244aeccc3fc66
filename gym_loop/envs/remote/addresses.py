"""What can be said of an address before anything connects to it."""

from __future__ import annotations

import ipaddress
import re

_SUBJECT = re.compile(r"[\w-]+(\.[\w-]+)*", re.ASCII)
_LONGEST_SUBJECT = 200


def is_loopback(host: str | None) -> bool:
    """Whether an address can only be reached from this machine."""
    if host in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address((host or "").strip("[]")).is_loopback
    except ValueError:
        return False


def subject_problem(subject: object) -> str:
    """What is wrong with a subject; empty if nothing is."""
    if isinstance(subject, str) and len(subject) < _LONGEST_SUBJECT and _SUBJECT.fullmatch(subject):
        return ""
    return f"{subject!r:.80} is no subject; write one such as gym-loop.native"
