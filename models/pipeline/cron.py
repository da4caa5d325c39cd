"""A cron line as Prefect reads one: five fields, with `L`, `?`, `#` and ranges around the end; does it ever come?

Shape legend: a field's values are plain numbers; Sunday is 0.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from mlratchet.models.nearest import nearest_hint

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
SHORTHANDS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
OF_WORDS = {
    "hour": "0 * * * *", "dai": "0 2 * * *", "day": "0 2 * * *", "night": "0 2 * * *", "week": "0 2 * * 1",
    "month": "0 2 1 * *", "year": "0 2 1 1 *", "minute": "* * * * *",
}  # fmt: skip
STEP = re.compile(r"^(?P<span>[^/]+)(/(?P<step>\d+))?$")
OF_THE_MONTH = re.compile(r"^((?P<days>[a-z]+-[a-z]+|\w+)#(?P<nth>\d+)|l(?P<last>\d+))$")  # fri#1, mon-wed#2, L5
MOST_WEEKS = 5
LAST = "l"  # day of the month, or the last of a weekday
YEARS = range(2000, 2028)  # every month begins on every weekday, leap years included


@dataclass(frozen=True, kw_only=True)
class CronField:
    """One of the five fields of a cron line."""

    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()  # of the values from `least` on
    again: int | None = None  # a value that is `least` once more
    is_day: bool = False

    @property
    def end(self) -> int:
        """The last value of the cycle."""
        return self.most if self.again is None else self.again - 1


CRON_FIELDS = (
    CronField(name="minute", least=0, most=59),
    CronField(name="hour", least=0, most=23),
    CronField(name="day of month", least=1, most=31, is_day=True),
    CronField(name="month", least=1, most=12, names=MONTHS),
    CronField(name="day of week", least=0, most=7, names=WEEKDAYS, again=7, is_day=True),
)
DAY, MONTH, WEEKDAY = CRON_FIELDS[2:]


@dataclass
class CronValues:
    """What a field names."""

    plain: set[int] = field(default_factory=set)
    weeks: set[tuple[int, int | str]] = field(default_factory=set)  # (weekday, which of the month or `LAST`)
    last_day: bool = False
    star: bool = False


class BadFieldError(ValueError):
    """A field that Prefect would refuse, in words."""


def cron_problem(line: str) -> str:
    """Why a line never comes, or comes otherwise than a schedule here can; empty for one that is fine."""
    if line.lower() in SHORTHANDS:
        return ""
    fields = line.lower().split()
    if len(fields) != len(CRON_FIELDS):
        return _miscounted(line, len(fields))
    try:
        _, _, days, months, weekdays = (_values(place, text) for place, text in zip(CRON_FIELDS, fields, strict=True))
        _refuse_mixture(weekdays)
    except BadFieldError as error:
        return str(error)
    # a line that gives both days comes on either; but Prefect finds no next date when one of them never comes, and it
    # wants # and L of a weekday on the days of the month
    return "" if _meets(days, months, weekdays) else _never(days, months)


def _miscounted(line: str, count: int) -> str:
    if count == len(CRON_FIELDS) + 1 and re.match(r"^[\d*]", line):
        return "six fields: a schedule counts in minutes, not in seconds; leave out the field of the seconds"
    if line.startswith("@"):
        return f"no such shorthand; {nearest_hint(line.lower(), SHORTHANDS)}"
    meant = next((cron for word, cron in OF_WORDS.items() if word in line.lower()), "0 2 * * *")
    return (
        f"expected five fields, {', '.join(place.name for place in CRON_FIELDS)}, got {count}; did you mean '{meant}'?"
    )


def _values(place: CronField, text: str) -> CronValues:
    """Raises ``BadFieldError``."""
    found = CronValues()
    if "?" in text:
        if text != "?" or not place.is_day:
            raise BadFieldError(
                f"{place.name} {text!r}: ? stands for any day, alone, as day of month or day of week; write *"
            )
        text = "*"
    for part in text.split(","):
        of_the_month = OF_THE_MONTH.match(part) if place is WEEKDAY else None
        if part == "*":
            found.star = True
        elif part == LAST and place is DAY:
            found.last_day = True
        elif of_the_month is not None:
            days = _numbers(place, of_the_month["days"] or of_the_month["last"])
            found.weeks |= {(day, _week(part, of_the_month["nth"])) for day in days}
        else:
            found.plain |= set(_numbers(place, part))
    return found


def _week(part: str, nth: str | None) -> int | str:
    if nth is None:
        return LAST
    if not 1 <= int(nth) <= MOST_WEEKS:
        raise BadFieldError(f"day of week {part!r}: # takes the first to the fifth of a month, got {nth}")
    return int(nth)


def _numbers(place: CronField, part: str) -> list[int]:
    """Of a number, a range, or either with a step."""
    match = STEP.match(part)
    if match is None:
        raise BadFieldError(f"{place.name} {part!r}: expected *, a number, a range as 1-5, or any with a step as */5")
    step = int(match["step"] or 1)
    if not 1 <= step <= place.most:
        raise BadFieldError(f"{place.name} {part!r}: the step is {step}, expected 1 to {place.most}")
    if match["span"] == "*":
        return list(range(place.least, place.end + 1, step))
    first, *rest = match["span"].split("-")
    if len(rest) > 1:
        raise BadFieldError(f"{place.name} {part!r}: expected one range, as 1-5")
    low = _number(place, first, match["span"])
    if rest:
        return _cycle(place, low, _number(place, rest[0], match["span"], is_end=True), step)
    return [low] if match["step"] is None else _cycle(place, low, place.end, step)


def _number(place: CronField, word: str, text: str, *, is_end: bool = False) -> int:
    if is_end and place is DAY and word == LAST:
        return place.most
    if word in place.names:
        return place.least + place.names.index(word)
    if not (word.isascii() and word.isdigit()):
        expected = f"{place.least} to {place.most}{f' or {place.names[0]} to {place.names[-1]}' if place.names else ''}"
        hint = nearest_hint(word, place.names, otherwise=f"expected {expected}")
        raise BadFieldError(f"{place.name} {text!r}: {hint}")
    if not place.least <= int(word) <= place.most:
        raise BadFieldError(f"{place.name} {word}: expected {place.least} to {place.most}")
    return place.least if int(word) == place.again else int(word)


def _cycle(place: CronField, low: int, high: int, step: int) -> list[int]:
    """From `low` to `high`, around the end where that is smaller; the whole cycle where they are one. As croniter."""
    if low == high:
        return list(range(place.least, place.end + 1, step))
    if low < high:
        return list(range(low, high + 1, step))
    before = list(range(low, place.end + 1, step))
    left = place.end - before[-1]
    skipped = step - left if before[-1] + step > place.end + 1 and left < step else 0
    return before + list(range(place.least + skipped, high + 1, step))


def _refuse_mixture(weekdays: CronValues) -> None:
    days = {day for day, _ in weekdays.weeks}
    if days and weekdays.plain - days and len(weekdays.plain | days) + weekdays.star != len(WEEKDAYS):
        name = WEEKDAYS[min(weekdays.plain - days)]
        raise BadFieldError(f"day of week: {name} of every week cannot stand beside # or L; write a # for it too")


def _meets(days: CronValues, months: CronValues, weekdays: CronValues) -> bool:
    return any(
        day in _of_weeks(year, month, weekdays)
        for year in YEARS
        for month in _months(months)
        for day in _days(days, calendar.monthrange(year, month)[1])
    )


def _months(months: CronValues) -> Iterable[int]:
    return range(MONTH.least, MONTH.most + 1) if months.star else sorted(months.plain)


def _days(days: CronValues, count: int) -> Iterable[int]:
    """Of a month of so many days."""
    if days.star:
        return range(1, count + 1)
    there = {day for day in days.plain if day <= count}
    return there | {count} if days.last_day and there == days.plain else there


def _of_weeks(year: int, month: int, weekdays: CronValues) -> set[int]:
    """The days of a month that # and L leave: all of them where there are none."""
    first, count = calendar.monthrange(year, month)  # Monday is 0
    if not weekdays.weeks:
        return set(range(1, count + 1))
    found: set[int] = set()
    for weekday, which in weekdays.weeks:
        of_month = range(1 + (weekday - 1 - first) % 7, count + 1, 7)
        if which == LAST:
            found.add(of_month[-1])
        elif isinstance(which, int) and which <= len(of_month):
            found.add(of_month[which - 1])
    return found


def _never(days: CronValues, months: CronValues) -> str:
    if _meets(days, months, CronValues()):
        return "never comes: # and L of a weekday have to fall on a day of month; write * as the day of month"
    names = ", ".join(MONTHS[month - 1].capitalize() for month in _months(months))
    longest = max(calendar.monthrange(YEARS[0], month)[1] for month in _months(months))  # a leap year
    return f"day {min(days.plain)} of {names} never comes; the last one is {longest}"
