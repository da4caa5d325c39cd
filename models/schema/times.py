"""Read times from cells: which format a column has is decided once, and what does not fit it is refused, never guessed.

Legend: U the different cells of a column, N its rows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.errors import DataError
from mlratchet.models.schema.cells import mask
from mlratchet.models.schema.fields import Field
from mlratchet.models.schema.numbers import TOLERATED
from mlratchet.models.schema.time_formats import ISO, MONTHS, UNIX, UNIX_MS, candidates, order_of, pattern_of, swapped

TYPE = pa.timestamp("us", "UTC")
PER_UNIT_US: Mapping[str, int] = {UNIX: 1_000_000, UNIX_MS: 1_000}
PER_UNIT_OF_TYPE_US = {"s": 1_000_000, "ms": 1_000}
PER_DAY_US = 86_400_000_000
EARLIEST_US, LATEST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 and 9999, as Python's times
HALF_A_DAY = 12  # hours
NO_ZONE_S = 1 << 20  # of what is written as a zone, and is further from UTC than any
PIVOT = 69  # years of two digits: 69 is 1969, 68 is 2068 (POSIX)


def read_times(cells: pa.Array, form: str) -> pa.Array:
    """Cells (strings, N) as moments in UTC; null where one is null or does not fit the format.

    A time without a zone is taken as UTC.
    """
    for kind in (pa.timestamp("us"), TYPE) if form == ISO else ():  # all without a zone, or all with one
        with suppress(pa.ArrowInvalid):
            found = cells.cast(kind).cast(TYPE)  # by far the quickest, and as strict as we are but for the years
            earliest, latest = (one.value for one in pc.min_max(found).values())
            if earliest is None or (earliest >= EARLIEST_US and latest <= LATEST_US):
                return found
    coded = pc.dictionary_encode(cells)
    read = _from_number(coded.dictionary, form) if form in PER_UNIT_US else _from_parts(coded.dictionary, form)
    return read.take(coded.indices)


def read_moments(cells: pa.Array) -> pa.Array:
    """Times or days (N, of a type of their own) as moments in UTC; null where one is null or outside the years."""
    kind = cells.type
    per_us = PER_DAY_US if pa.types.is_date32(kind) else PER_UNIT_OF_TYPE_US.get(getattr(kind, "unit", "ms"), 1)
    if kind != pa.timestamp("ns", getattr(kind, "tz", None)):  # which holds no other years
        counts = pc.cast(cells.cast(pa.int32()) if pa.types.is_date32(kind) else cells, pa.int64())
        least, most = (pa.scalar(bound, pa.int64()) for bound in (-(-EARLIEST_US // per_us), LATEST_US // per_us))
        fits = pc.and_(pc.greater_equal(counts, least), pc.less_equal(counts, most))
        cells = pc.if_else(fits, cells, pa.scalar(None, kind))  # before the cast, which would come round again
    return cells.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False).cast(TYPE)


def _from_number(cells_U: pa.Array, form: str) -> pa.Array:
    fits = pc.match_substring_regex(cells_U, r"^-?\d{1,16}(\.\d{1,6})?$")
    numbers_U = pc.if_else(fits, cells_U, None).cast(pa.float64()).to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):
        micros_U = np.rint(numbers_U * PER_UNIT_US[form])
        good = np.isfinite(micros_U) & (micros_U >= EARLIEST_US) & (micros_U <= LATEST_US)
    return _moments(np.where(good, micros_U, 0).astype(np.int64), good)


def _from_parts(cells_U: pa.Array, form: str) -> pa.Array:
    found = pc.extract_regex(cells_U, pattern_of(form))
    names = {found.type.field(place).name for place in range(found.type.num_fields)}
    matched = np.asarray(found.is_valid())

    def number(name: str, default: int) -> np.ndarray[Any, Any]:
        if name not in names:
            return np.full(len(cells_U), default, dtype=np.int64)
        text = pc.fill_null(pc.struct_field(found, name), "")
        return np.asarray(pc.if_else(pc.equal(text, ""), str(default), text).cast(pa.int64()))

    short = number("y", 0)
    year = number("Y", 1970) if "Y" in names else np.where(short >= PIVOT, 1900, 2000) + short
    named = next((name for name in ("b", "B") if name in names), None)
    month = number("m", 1) if named is None else _months(pc.struct_field(found, named))
    day = number("d", 1)
    clock = {name: number(name, 0) for name in ("H", "M", "S")}
    half, twelfth = matched, number("I", 12)
    if "p" in names:
        after_noon = mask(pc.match_substring_regex(pc.struct_field(found, "p"), "^[pP]"))
        half = (twelfth >= 1) & (twelfth <= HALF_A_DAY)
        clock["H"] = twelfth % HALF_A_DAY + HALF_A_DAY * after_noon
    good = matched & half & (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    good &= (clock["H"] < 24) & (clock["M"] < 60) & (clock["S"] < 60)
    months_M = (np.where(good, year, 1970) - 1970) * 12 + np.where(good, month, 1) - 1
    first, following = (months.astype("datetime64[M]").astype("datetime64[D]") for months in (months_M, months_M + 1))
    days = first.astype(np.int64) + day - 1
    good &= days < following.astype(np.int64)
    offset_s = _offset_s(found, names)
    good &= offset_s != NO_ZONE_S
    seconds = days * 86_400 + clock["H"] * 3600 + clock["M"] * 60 + clock["S"] - offset_s
    micros = seconds * 1_000_000 + _fraction_us(found, names)
    good &= (micros >= EARLIEST_US) & (micros <= LATEST_US)  # a zone moves a time out of the years
    return _moments(micros, good)


def _months(names_U: pa.Array) -> np.ndarray[Any, Any]:
    """Numbers of English months, of which the first three letters tell; 0 for what is none."""
    first = pc.utf8_capitalize(pc.utf8_slice_codeunits(pc.fill_null(names_U, ""), 0, 3))
    return np.asarray(pc.fill_null(pc.index_in(first, pa.array([one[:3] for one in MONTHS])), -1)) + 1


def _fraction_us(found: pa.Array, names: set[str]) -> np.ndarray[Any, Any] | int:
    if "f" not in names:
        return 0
    digits = pc.utf8_rpad(pc.fill_null(pc.struct_field(found, "f"), ""), 6, "0")
    return np.asarray(pc.utf8_slice_codeunits(digits, 0, 6).cast(pa.int64()))


def _offset_s(found: pa.Array, names: set[str]) -> np.ndarray[Any, Any] | int:
    """Seconds that a zone is ahead of UTC."""
    if "z" not in names:
        return 0
    zones = pc.dictionary_encode(pc.fill_null(pc.struct_field(found, "z"), ""))
    seconds = np.asarray([_zone_s(one) for one in zones.dictionary.to_pylist()], dtype=np.int64)
    return np.take(seconds, np.asarray(zones.indices, dtype=np.int64))


def _zone_s(text: str) -> int:
    if text in ("", "Z"):
        return 0
    digits = text[1:].replace(":", "").ljust(4, "0")
    if int(digits[:2]) > 23 or int(digits[2:]) > 59:
        return NO_ZONE_S
    return (1 if text[0] == "+" else -1) * (int(digits[:2]) * 3600 + int(digits[2:]) * 60)


def _moments(micros_U: np.ndarray[Any, Any], good_U: np.ndarray[Any, Any]) -> pa.Array:
    return pa.array(micros_U, type=pa.int64(), mask=~good_U).cast(TYPE)


def decide_format(name: str, cells: pa.Array, field: Field, *, where: str) -> str | None:
    """The format of a column's cells (strings that are given); None where there are none.

    Raises ``DataError`` where they are written in no one format, and where day and month can be either, with both
    readings.
    """
    different = pc.unique(cells.drop_null())
    if len(different) == 0:
        return None
    counts = _counts(cells, different)
    forms = dict.fromkeys(form for cell in different[:20].to_pylist() for form in candidates(cell))
    shares = {form: counts[_shaped(different, form)].sum() / counts.sum() for form in forms}
    near = [form for form, share in shares.items() if share >= 1 - TOLERATED]
    if not near:
        raise _no_format(name, different[0].as_py(), where)
    orders = {order_of(form): form for form in near if order_of(form) is not None}
    if len(orders) < 2:
        return max(near, key=lambda form: shares[form])
    if field.dayfirst is not None:
        return orders["day" if field.dayfirst else "month"]
    day, month = (np.asarray(read_times(different, orders[order]).is_valid()) for order in ("day", "month"))
    only_day, only_month = counts[day & ~month].sum(), counts[month & ~day].sum()
    for form, ours in ((orders["day"], only_day), (orders["month"], only_month)):
        if ours and ours >= (1 - TOLERATED) * (only_day + only_month):
            return form
    raise _ambiguous(name, different[0].as_py(), orders["day"], orders["month"], where)


def check_times(name: str, cells: pa.Array, where: pa.Array, form: str) -> None:
    """Hold the cells (strings, N, at the places `where`) of a column against its format.

    Raises ``DataError`` where more of them, and more than one, are written otherwise: another format, or the day where
    the month is. Single ones are set aside.
    """
    given = cells.is_valid()
    told, places = cells.filter(given), where.filter(given)
    ours = np.asarray(read_times(told, form).is_valid())
    other = swapped(form)
    # a day that could be a month tells nothing
    tells = ours if other is None else ours & ~np.asarray(read_times(told, other).is_valid())
    strange = ~ours
    if strange.sum() > max(tells.sum(), 1):
        first = int(strange.argmax())
        raise DataError(
            f"{places[first].as_py()}: column {name!r}: its times are written otherwise: got "
            f"{told[first].as_py()[:60]!r}, expected {form!r}, as at the first delivery; deliver it so, or declare "
            f"schema.fields: {{{name}: {{kind: time, format: ...}}}}"
        )


def _counts(cells: pa.Array, different: pa.Array) -> np.ndarray[Any, Any]:
    found = np.asarray(pc.index_in(cells.drop_null(), value_set=different))
    return np.bincount(found, minlength=len(different))


def _shaped(different: pa.Array, form: str) -> np.ndarray[Any, Any]:
    """Which cells are written in a format, a day that does not exist among them."""
    return mask(pc.match_substring_regex(different, pattern_of(form)))


def _no_format(name: str, cell: str, where: str) -> DataError:
    return DataError(
        f"{where}: column {name!r}: its times are written in no one format that is known, got {cell[:60]!r}; declare "
        f"it, as schema.fields: {{{name}: {{kind: time, format: '%d.%m.%Y %H:%M'}}}}"
    )


def _ambiguous(name: str, cell: str, day: str, month: str, where: str) -> DataError:
    readings = [read_times(pa.array([cell]), form)[0] for form in (day, month)]
    words = [f"{one.as_py():%-d %B %Y}" for one in readings if one.is_valid]
    return DataError(
        f"{where}: column {name!r}: {cell[:60]!r} is {words[0]} where the day is first and {words[-1]} where the month "
        f"is, and no other cell of the column tells; declare schema.fields: {{{name}: {{kind: time, dayfirst: true}}}} "
        "or false"
    )


def iso(moment: dt.datetime) -> str:
    """As JSON and reports show a moment."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
