"""Whether a body of JSON gives each field once: of two the parser takes the later, and nobody hears of the other."""

from __future__ import annotations

import json
from typing import Any

from mlratchet.models.serving.reading.outside_texts import outside_texts
from mlratchet.models.serving.reading.places import place_of, walked
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.sources.names_once import twice_among

TWICE = "is given twice, expected each field once"
MOST_NAMED = 1_000_000  # bytes of a body that is read again: its reader lets nobody else compute meanwhile


def check_given_once(body: bytes, document: Any, examples: str) -> None:
    """Raises ``BadRequestError`` naming a field that an object of `body` has twice. `document`: what the parser made
    of it; `examples`: its field that holds a list of objects.

    A field costs a colon. So where there are as many colons as fields, none is given twice, and nearly every request
    needs only that count, once over its bytes and once over its objects. Colons in texts are left out next; objects in
    objects are counted then. Only where a field is there twice the body is read again, name by name, and not where it
    is so long that everybody else would wait for it.
    """
    known = sum(len(one) for one in _objects(document, examples) if type(one) is dict)
    if body.count(b":") == known:
        return
    fields = outside_texts(body, b":")
    if fields == known or fields == _all_fields(document):
        return
    if len(body) > MOST_NAMED:
        raise BadRequestError("body", f"a field {TWICE}; which one, is told of a body of at most {MOST_NAMED} bytes")
    raise BadRequestError(_given_twice(body) or "body", TWICE)


def _all_fields(document: Any) -> int:
    """Of every object in whatever depth."""
    found, waiting = 0, [document]
    while waiting:
        one = waiting.pop()
        if type(one) is dict:
            found += len(one)
            one = one.values()
        elif type(one) is not list:
            continue
        waiting += [held for held in one if type(held) is dict or type(held) is list]
    return found


def _objects(document: Any, examples: str) -> list[Any]:
    held = document.get(examples) if type(document) is dict else None
    return [document, *held] if type(held) is list else [document]


class _Twice(dict[str, Any]):
    """An object with a name that stands in it twice."""

    name = ""


def _given_twice(body: bytes) -> str | None:
    """The place of such a field; None where there is none."""
    met = False

    def read(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal met
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        met, twice = True, _Twice(found)
        twice.name = str(twice_among(name for name, _ in pairs))
        return twice

    try:
        document = json.loads(body, object_pairs_hook=read, parse_int=float, parse_float=float)
    except RecursionError:
        raise BadRequestError("body", "lists and objects lie too deep in one another to be read") from None
    if not met:
        return None
    way, first = next((way, one) for way, one in walked(document) if isinstance(one, _Twice))
    return place_of((way, first.name))
