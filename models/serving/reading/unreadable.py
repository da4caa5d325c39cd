"""Why a body is no JSON: what the parser says, or the number that is no finite one, with its place.

It costs what the parser costs, however much is sent: Python's own takes fifty times as long, and nobody else of the
process is answered meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson
from mlratchet.models.serving.reading.limits import WORDS
from mlratchet.models.serving.reading.places import Way, place_of
from mlratchet.models.serving.refusal import BadRequestError

NUMBER = re.compile(r"-?(NaN|Infinity|[0-9][0-9.eE+-]*)")
SHOWN = 20  # characters of a number in a message
OTHERS = bytes(one for one in range(256) if one not in b"[]{}")
CLOSED_BY: Mapping[int, str] = {ord("["): "]", ord("{"): "}"}


def unreadable(reason: orjson.JSONDecodeError) -> BadRequestError:
    """The refusal. `reason`: the parser's."""
    number = _not_finite(reason)
    if number is not None and _is_json_beside(number):
        words = f"got {number[0][:SHOWN]}, expected a finite number"
        return BadRequestError(_place_of(number) or "body", words)
    return BadRequestError("body", f"not JSON: {reason}"[:WORDS], 400)


def _not_finite(reason: orjson.JSONDecodeError) -> re.Match[str] | None:
    """The number that the parser stopped at, where 64 bits cannot hold it."""
    text, at = reason.doc, reason.pos
    found = NUMBER.match(text, at - 1 if text[at - 1 : at] == "-" else at)  # it may stand behind a sign
    if found is None:
        return None
    try:
        return found if not -float("inf") < float(found[0]) < float("inf") else None
    except ValueError:
        return None


def _is_json_beside(number: re.Match[str]) -> bool:
    """Whether nothing else is wrong, or another number of the kind is met first."""
    text = number.string
    try:
        orjson.loads(f"{text[: number.start()]}0{text[number.end() :]}")
    except orjson.JSONDecodeError as reason:
        return _not_finite(reason) is not None
    return True


def _place_of(number: re.Match[str]) -> str:
    """Of what is whole up to the number, the last value."""
    before = number.string[: number.start()]
    value = orjson.loads(f"{before}null{_closing(before)}")
    way: Way = None
    while value:  # the last one is the null
        name = next(reversed(value)) if isinstance(value, dict) else len(value) - 1
        way, value = (way, name), value[name]
    return place_of(way)


def _closing(text: str) -> str:
    """What ends the lists and objects that are open behind a text, which ends in no text of its own."""
    outside = text.replace("\\\\", "").replace('\\"', "").split('"')[::2]
    opened: list[str] = []
    for one in "".join(outside).encode().translate(None, OTHERS):
        if one in CLOSED_BY:
            opened.append(CLOSED_BY[one])
        else:
            opened.pop()
    return "".join(reversed(opened))
