"""JSON whose objects have each name once: of two, a parser takes the later one without a word."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def twice_among(names: Iterable[str]) -> str | None:
    """The first that was there before; None where each is there once."""
    seen = set[str]()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


class NameTwiceError(ValueError):
    """An object that has a name twice."""


def names_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads(text, object_pairs_hook=names_once)`. Raises ``NameTwiceError``."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NameTwiceError(f"name {str(twice_among(name for name, _ in pairs))[:60]!r} is there twice")
    return found
