"""Which side of the split every record is on, and which are on none, with the reason.

By id or group it is a pure function of one record, so that it never moves; by time all of them say where the cuts are.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from mlratchet.models.data.split_rules import SplitConfig, SplitRule, TimeSplit
from mlratchet.models.errors import DataError
from mlratchet.models.moments import us_of, utc
from mlratchet.models.sources.record import Record, Reject

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")
IN_GAP = "in_split_gap"  # the rule of records that no fault sets aside
DAY_US = 86_400_000_000


def side_of(identity: str, config: SplitConfig) -> Side:
    """The side of a record id or group: SHA-256 of salt and id as a number in [0, 1)."""
    hashed = hashlib.sha256(f"{config.salt}\0{identity}".encode()).digest()
    place = int.from_bytes(hashed[:8], "big") / 2**64
    if place < config.test:
        return "test"
    if place < config.test + config.validation:
        return "validation"
    return "train"


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Of the records that it was made of, and of others by the same cuts."""

    judge: Callable[[Record], Side | Reject]
    words: str = ""
    """Where the cuts are; empty where every record says it by itself."""

    def __call__(self, record: Record) -> Side | None:
        """The side; None of a record that is on none."""
        found = self.judge(record)
        return None if isinstance(found, Reject) else found

    def refused(self, record: Record) -> Reject | None:
        """Why a record is on no side."""
        found = self.judge(record)
        return found if isinstance(found, Reject) else None


def sides_of(records: Iterable[Record], rule: SplitRule) -> Sides:
    """The side of every record; `records` may be read once. Eight bytes are kept of each, by time.

    Raises ``DataError`` where no record tells what the rule asks for.
    """
    if isinstance(rule, TimeSplit):
        return _by_time(records, rule)
    return Sides(judge=lambda record: side_of(record.group or record.id, rule))


def divided(records: list[Record], rule: SplitRule) -> tuple[list[Record], list[Reject], Sides]:
    """The records that are on a side, the others with the reason, and the sides.

    Raises ``DataError`` as `sides_of`, and where a side is empty because of what was set aside or how the records lie.
    """
    sides = sides_of(records, rule)
    if rule.keeps_sides:
        return records, [], sides
    kept, aside = [], []
    counts: Counter[str] = Counter()
    for record in records:
        found = sides.judge(record)
        if isinstance(found, Reject):
            aside.append(found)
        else:
            kept.append(record)
            counts[found] += 1
    empty = [side for side in SIDES if not counts[side]]
    if empty:
        rules = Counter(one.code for one in aside)
        lost = f"; set aside: {', '.join(f'{n:,} {code}' for code, n in sorted(rules.items()))}" if aside else ""
        raise DataError(
            f"data.split: the {' and the '.join(empty)} side is empty with {len(records):,} records: "
            f"{sides.words}{lost}; deliver more, or change data.split"
        )
    return kept, aside, sides


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """Moments in microseconds since 1970 in UTC."""

    validation_us: int
    test_us: int
    gap_us: int

    def __call__(self, record: Record) -> Side | Reject:
        """The side by the time of the record."""
        at = record.time_us
        where = record.where or record.id
        if at is None:
            words = "has no time, and data.split is by time; deliver it"
            return Reject(where=where, code="missing_time", reason=f"{where}: {words}")
        for begin, side in ((self.test_us, "test"), (self.validation_us, "validation")):
            if begin - self.gap_us <= at < begin:
                words = (
                    f"{_told(at)} is within {self.gap_us / DAY_US:g} days before {_told(begin)}, where {side} begins"
                )
                return Reject(where=where, code=IN_GAP, reason=f"{where}: {words}", value=_told(at))
        return "test" if at >= self.test_us else "validation" if at >= self.validation_us else "train"


def _by_time(records: Iterable[Record], rule: TimeSplit) -> Sides:
    told = array("q", (one.time_us for one in records if one.time_us is not None))
    if not told:
        raise DataError("data.split: by time, and no record tells its time; name a field of kind time in schema.time")
    times = np.sort(np.frombuffer(told, dtype=np.int64))
    cuts = _cuts(times, rule)
    span = f"records of {_told(int(times[0]))} to {_told(int(times[-1]))}"
    gap = f", {rule.gap_days:g} days before each are left out" if rule.gap_days else ""
    words = f"by time: {span}, validation from {_told(cuts.validation_us)}, test from {_told(cuts.test_us)}{gap}"
    return Sides(judge=cuts, words=words)


def _cuts(times_N: np.ndarray[tuple[int], np.dtype[np.int64]], rule: TimeSplit) -> Cuts:
    """Where the sides begin; `times_N` ascend. Records of one moment go to the newer side."""
    gap_us = round(rule.gap_days * DAY_US)
    if rule.validation_from is not None and rule.test_from is not None:
        return Cuts(validation_us=us_of(rule.validation_from), test_us=us_of(rule.test_from), gap_us=gap_us)
    count = len(times_N)
    places = (count - max(round(count * share), 1) for share in (rule.validation + rule.test, rule.test))
    validation_us, test_us = (int(times_N[place]) for place in places)
    return Cuts(validation_us=validation_us, test_us=test_us, gap_us=gap_us)


def _told(at_us: int) -> str:
    return utc(at_us // 1_000_000)
