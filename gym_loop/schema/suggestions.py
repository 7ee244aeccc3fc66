"""What is said of unknown names: the nearest one that is known."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import Any

MOST_UNKNOWN = 20  # unknown names that are each told apart


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like this one, or an empty string."""
    folded = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), folded)
    return folded[near[0]] if near else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean x?"`` for the nearest known name, or an empty string."""
    near = nearest(name, known)
    return f"; did you mean {near}?" if near else ""


def unknown_names(given: Iterable[Any], known: Collection[str]) -> dict[Any, str]:
    """What is wrong with each name that is not known.

    Of very many only the first are looked at closely, and the next one says how many more there
    are: to compare each with the known ones would take minutes.
    """
    unknown = [name for name in given if name not in known]
    offer = f"; known are {', '.join(sorted(known))}" if known else "; there are no parameters"
    found = {
        name: f"unknown{did_you_mean(str(name), known) or offer}" for name in unknown[:MOST_UNKNOWN]
    }
    for name in found:
        if "\N{NO-BREAK SPACE}" in str(name):
            found[name] = "unknown; no-break spaces come before it; write plain ones"
    if more := unknown[MOST_UNKNOWN:]:
        found[more[0]] = f"unknown{offer}; so are {len(more) - 1:,} more after it"
    return found
