"""Where a value stands in a document of JSON: `instances[3].age`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlratchet.models.serving.reading.limits import WORDS

Way = tuple[Any, str | int] | None
"""The way to what a value lies in, and its name or number there; None: the document itself."""


def walked(document: Any) -> Iterator[tuple[Way, Any]]:
    """Every value, in the order of the text, an object or list before what is in it. However long names are and
    however deep lists lie, a value costs the same."""
    waiting: list[tuple[Way, Any]] = [(None, document)]
    while waiting:
        way, value = waiting.pop()
        yield way, value
        if isinstance(value, dict):
            waiting += [((way, name), one) for name, one in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [((way, at), value[at]) for at in range(len(value) - 1, -1, -1)]


def place_of(way: Way) -> str:
    """In words, cut where answers are; empty: the document itself."""
    names: list[str | int] = []
    while way is not None:
        way, name = way
        names.append(name)
    words = ""
    for one in reversed(names):
        if isinstance(one, int):
            words += f"[{one}]"
        else:
            known = one[:WORDS].encode(errors="replace").decode()  # half a surrogate cannot be answered with
            words += f".{known}" if words else known
        if len(words) >= WORDS:
            break
    return words[:WORDS]
