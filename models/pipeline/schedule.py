"""When a pipeline runs by itself: a cron line in a time zone, held against the calendar when the file is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from zoneinfo import available_timezones

from mlratchet.models.config import StrictModel
from mlratchet.models.nearest import nearest_hint
from pydantic import field_validator

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # days of each month
SHORTHANDS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
OF_WORDS = {
    "hour": "0 * * * *", "dai": "0 2 * * *", "day": "0 2 * * *", "night": "0 2 * * *", "week": "0 2 * * 1",
    "month": "0 2 1 * *", "year": "0 2 1 1 *", "minute": "* * * * *",
}  # fmt: skip
STEP = re.compile(r"^(?P<span>[^/]+)(/(?P<step>\d+))?$")


@dataclass(frozen=True, kw_only=True)
class CronField:
    """One of the five fields of a cron line."""

    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()  # of the values from `least` on


CRON_FIELDS = (
    CronField(name="minute", least=0, most=59),
    CronField(name="hour", least=0, most=23),
    CronField(name="day of month", least=1, most=31),
    CronField(name="month", least=1, most=12, names=MONTHS),
    CronField(name="day of week", least=0, most=7, names=WEEKDAYS),  # 0 and 7 are Sunday
)
DAY, MONTH = 2, 3


class ScheduleRef(StrictModel):
    """A cron line in a time zone."""

    cron: str
    timezone: str = "UTC"

    @field_validator("cron")
    @classmethod
    def _is_met(cls, line: str) -> str:
        problem = cron_problem(line)
        if problem:
            raise ValueError(problem)
        return line

    @field_validator("timezone")
    @classmethod
    def _is_there(cls, zone: str) -> str:
        known = available_timezones()
        if zone not in known:
            hint = nearest_hint(zone, sorted(known), otherwise="write a name of the IANA list, e.g. Europe/Berlin")
            raise ValueError(f"no such time zone; {hint}")
        return zone


def cron_problem(line: str) -> str:
    """Why a line never comes, or comes otherwise than a schedule here can; empty for one that is fine."""
    if line in SHORTHANDS:
        return ""
    fields = line.lower().split()
    if len(fields) != len(CRON_FIELDS):
        return _miscounted(line, len(fields))
    values: list[set[int]] = []
    for place, text in zip(CRON_FIELDS, fields, strict=True):
        found = _values(place, text)
        if isinstance(found, str):
            return found
        values.append(found)
    # a line that gives both days would come on either, but Prefect finds no next date when one of them never comes
    if all(min(values[DAY]) > LONGEST[month - 1] for month in values[MONTH]):
        months = ", ".join(MONTHS[month - 1].capitalize() for month in sorted(values[MONTH]))
        last = max(LONGEST[month - 1] for month in values[MONTH])
        return f"day {min(values[DAY])} of {months} never comes; the last one is {last}"
    return ""


def _miscounted(line: str, count: int) -> str:
    if count == len(CRON_FIELDS) + 1 and re.match(r"^[\d*]", line):
        return "six fields: a schedule counts in minutes, not in seconds; leave out the field of the seconds"
    if line.startswith("@"):
        return f"no such shorthand; {nearest_hint(line, SHORTHANDS)}"
    meant = next((cron for word, cron in OF_WORDS.items() if word in line.lower()), "0 2 * * *")
    return (
        f"expected five fields, {', '.join(place.name for place in CRON_FIELDS)}, got {count}; did you mean '{meant}'?"
    )


def _values(place: CronField, text: str) -> set[int] | str:
    """The values that a field names, or what is wrong with it."""
    found: set[int] = set()
    for part in text.split(","):
        match = STEP.match(part)
        if match is None:
            return f"{place.name} {part!r}: expected *, a number, a range as 1-5, or any with a step as */5"
        span, step = _span(place, match["span"], stepped=match["step"] is not None), int(match["step"] or 1)
        if isinstance(span, str):
            return span
        if not 1 <= step <= place.most:
            return f"{place.name} {part!r}: the step is {step}, expected 1 to {place.most}"
        found |= set(range(span[0], span[1] + 1, step))
    return found


def _span(place: CronField, text: str, *, stepped: bool) -> tuple[int, int] | str:
    if text == "*":
        return place.least, place.most
    ends: list[int] = []
    for word in text.split("-"):
        if word in place.names:
            ends.append(place.least + place.names.index(word))
        elif word.isascii() and word.isdigit():
            ends.append(int(word))
        else:
            expected = (
                f"{place.least} to {place.most}{f' or {place.names[0]} to {place.names[-1]}' if place.names else ''}"
            )
            return f"{place.name} {text!r}: {nearest_hint(word, place.names, otherwise=f'expected {expected}')}"
        if not place.least <= ends[-1] <= place.most:
            return f"{place.name} {word}: expected {place.least} to {place.most}"
    if len(ends) > 2 or ends[0] > ends[-1]:
        return f"{place.name} {text!r}: expected a range from the smaller to the larger"
    return ends[0], place.most if stepped and len(ends) == 1 else ends[-1]
