"""How times are written: ISO 8601, seconds since 1970, or a format of date and time in the codes of `strftime`."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Literal

from mlratchet.models.nearest import nearest_hint

ISO, UNIX, UNIX_MS = "iso", "unix", "unix_ms"
EXAMPLE = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)  # which cannot be read with day and month exchanged
NAMED = (ISO, UNIX, UNIX_MS)
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
MONTH = rf"(?i:{'|'.join((*MONTHS, *(one[:3] for one in MONTHS)))})"  # short or in full, as C's strptime
CODES: Mapping[str, str] = {  # code -> what it reads; each is a named group of the format's expression
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "m": r"\d{1,2}",
    "d": r"\d{1,2}",
    "b": MONTH,
    "B": MONTH,
    "H": r"\d{1,2}",
    "I": r"(?:0?[1-9]|1[0-2])",
    "p": r"(?i:[ap]m)",
    "M": r"\d{2}",
    "S": r"\d{2}",
    "f": r"\d{1,9}",
    "z": r"Z|[+-]\d{2}:?\d{2}",
}
SAME = ("m", "bB"), ("b", "B"), ("Y", "y"), ("H", "I")  # what says the same -> other codes
ISO_PATTERN = (
    r"^(?P<Y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})"
    r"(?:[T ](?P<H>\d{2})(?::(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?)?"
    r"\s?(?P<z>Z|[+-]\d{2}(?::?\d{2})?)?)?$"
)
TAILS = (  # of a date, told apart by the first cell that has one
    (re.compile(r"[T ]\d{1,2}:\d{2}:\d{2}[.]\d{1,9}$"), "%H:%M:%S.%f"),
    (re.compile(r"[T ]\d{1,2}:\d{2}:\d{2}$"), "%H:%M:%S"),
    (re.compile(r"[T ]\d{1,2}:\d{2}$"), "%H:%M"),
    (re.compile(r"[T ]\d{1,2}:\d{2}:\d{2} [apAP][mM]$"), "%I:%M:%S %p"),
    (re.compile(r"[T ]\d{1,2}:\d{2} [apAP][mM]$"), "%I:%M %p"),
    (re.compile(r"[T ]\d{1,2}:\d{2}:\d{2}[apAP][mM]$"), "%I:%M:%S%p"),
    (re.compile(r"[T ]\d{1,2}:\d{2}[apAP][mM]$"), "%I:%M%p"),
)
FREE = (
    "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d.%m.%y", "%Y%m%d", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d/%b/%Y",
    "%b %d, %Y", "%b %d %Y", "%b-%d-%Y", "%Y-%b-%d",
)  # fmt: skip
"""Dates that can be read in one way: where dots part them, the day stands first everywhere that they are used."""
DAY_FIRST: Mapping[str, str] = {"%d/%m/%Y": "%m/%d/%Y", "%d-%m-%Y": "%m-%d-%Y", "%d/%m/%y": "%m/%d/%y"}
"""Dates that can be read in two ways -> the other one."""
Order = Literal["day", "month"]


def check_format(text: str) -> None:
    """Raises ``ValueError`` for a format that is none, with what is missing, or the nearest name."""
    if text in NAMED:
        return
    if "%" not in text:
        raise ValueError(f"{text!r} is no format of a time; {nearest_hint(text, NAMED)}, or one as %d.%m.%Y %H:%M")
    codes = re.findall(r"%(.?)", text)
    for code in codes:
        if code not in CODES:
            raise ValueError(f"%{code} is not read; there are {', '.join(f'%{one}' for one in CODES)}")
    repeated = next((code for code in codes if codes.count(code) > 1), None)
    if repeated is not None:
        raise ValueError(f"%{repeated} stands twice")
    for one, others in SAME:
        twice = next((other for other in others if {one, other} <= {*codes}), None)
        if twice is not None:
            raise ValueError(f"{text!r} has %{one} and %{twice}, which say the same; leave one out")
    missing = [kinds[0] for kinds in ("mbB", "d", "Yy") if not {*kinds} & {*codes}]
    if missing:
        raise ValueError(f"{text!r} lacks {', '.join(f'%{code}' for code in missing)}: expected year, month and day")
    if ("I" in codes) != ("p" in codes):
        raise ValueError(f"{text!r}: %I (1 to 12) and %p (AM or PM) need each other; %H is an hour of 0 to 23")


def pattern_of(text: str) -> str:
    """The expression that reads a format (not `unix`), a named group per code; RE2's syntax."""
    if text == ISO:
        return ISO_PATTERN
    parts = re.split(r"%(.)", text)
    return "^" + "".join(
        f"(?P<{part}>{CODES[part]})" if place % 2 else re.escape(part) for place, part in enumerate(parts)
    ) + "$"  # fmt: skip


def example_of(text: str) -> str:
    """31 January 2026, noon in UTC, as a format (or its name) writes it."""
    if text in (UNIX, UNIX_MS):
        return str(round(EXAMPLE.timestamp()) * (1 if text == UNIX else 1000))
    return EXAMPLE.strftime(text) if text != ISO else EXAMPLE.strftime("%Y-%m-%dT%H:%M:%SZ")


def candidates(cell: str) -> tuple[str, ...]:
    """Formats in which a column may be written that has this cell; empty where it is no time."""
    if re.match(ISO_PATTERN, cell):
        return (ISO,)
    tail = next(
        (cell[found.start()] + code for shape, code in TAILS for found in [shape.search(cell)] if found is not None), ""
    )
    dates = (*FREE, *DAY_FIRST, *DAY_FIRST.values())
    return tuple(date + tail for date in dates if re.match(pattern_of(date + tail), cell))


def order_of(text: str) -> Order | None:
    """Which of day and month a format has first, where it could be either."""
    date = re.split(r"[T ]", text)[0]
    if date in DAY_FIRST:
        return "day"
    return "month" if date in DAY_FIRST.values() else None


def swapped(text: str) -> str | None:
    """The same format with the month where the day is; None where it cannot be mistaken."""
    date = re.split(r"[T ]", text)[0]
    other = {**DAY_FIRST, **{month: day for day, month in DAY_FIRST.items()}}.get(date)
    return None if other is None else other + text[len(date) :]
