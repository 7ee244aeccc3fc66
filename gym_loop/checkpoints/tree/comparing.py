"""Where two trees differ, in words."""

from __future__ import annotations

from typing import Any

import numpy as np

# Parts of nodes that a person has no name for.
_UNSEEN = frozenset({
    "at", "attributes", "class", "data", "entropy", "fields", "items", "member", "name", "of",
    "state", "streams", "type", "what", "words",
})  # fmt: skip


def first_difference(want: Any, have: Any, place: str = "") -> str:
    """Where two trees differ first, in words; empty if they are equal bit for bit.

    Where the first has code, which is no data, nothing is compared.
    """
    kind = getattr(want, "kind", None)  # of a node
    if kind == "live":
        return ""
    if type(want) is not type(have) or kind != getattr(have, "kind", None):
        return f"{place or 'it'} is {_short(have)} instead of {_short(want)}"
    if isinstance(want, dict):
        if want.keys() != have.keys():
            return f"{place or 'it'} has the keys {sorted(have)} instead of {sorted(want)}"
        parts = parts_of(want, have, place)
        return next(filter(None, (first_difference(w, h, at) for at, w, h in parts)), "")
    if isinstance(want, (list, tuple)):
        if len(want) != len(have):
            return f"{place or 'it'} has {len(have)} items instead of {len(want)}"
        items = enumerate(zip(want, have, strict=True))
        return next(
            filter(None, (first_difference(w, h, f"{place}[{i}]") for i, (w, h) in items)), ""
        )
    if isinstance(want, (np.ndarray, np.generic)):
        return _array_difference(np.asarray(want), np.asarray(have), place)
    if repr(want) == repr(have) if type(want) in (float, complex) else want == have:
        return ""  # -0.0 is another number than 0.0, and NaN is itself
    return f"{place or 'it'} is {_short(have)} instead of {_short(want)}"


def parts_of(want: Any, have: Any, place: str) -> list[tuple[str, Any, Any]]:
    """What two dictionaries with the same keys consist of, each part with its place.

    Places are those of the live objects: what a tree is made of besides has no name.
    """
    kind = getattr(want, "kind", "attributes")  # what no node is, has names of its own alone
    lists = [one["values"] for one in (want, have) if kind == "dict"]
    if lists and all(type(one) is list and len(one) == len(want["keys"]) for one in lists):
        items = zip(want["keys"], *lists, strict=True)
        keys = [(place, want["keys"], have["keys"])]
        return keys + [(_joined(place, name), one, other) for name, one, other in items]
    unseen = _UNSEEN if kind != "attributes" else ()
    places = [place if key in unseen else _joined(place, key) for key in want]
    return [(at, want[key], have[key]) for at, key in zip(places, want, strict=True)]


def _joined(place: str, key: Any) -> str:
    return f"{place}.{key}".strip(".") if isinstance(key, str) else f"{place}[{key!r}]"


def _array_difference(want: np.ndarray[Any, Any], have: np.ndarray[Any, Any], place: str) -> str:
    if want.dtype != have.dtype or want.shape != have.shape:
        return (
            f"{place} has dtype {have.dtype} and shape {have.shape} instead of {want.dtype} and "
            f"{want.shape}"
        )
    if want.tobytes() == have.tobytes():
        return ""
    for index in np.ndindex(want.shape):
        if want[index].tobytes() != have[index].tobytes():
            where = f"[{', '.join(map(str, index))}]" if index else ""
            return f"{place}{where} is {have[index].item()!r} instead of {want[index].item()!r}"
    return ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
