"""Which side of the split every record is on, and which are on none, with the reason.

By id or group it is a pure function of one record, so that it never moves; by time or cluster all of them say it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from mlratchet.models.data.records import Records, records_of
from mlratchet.models.data.rejects import Rejects
from mlratchet.models.data.split_rules import ClusterSplit, GivenSplit, SplitConfig, SplitRule, TimeSplit
from mlratchet.models.errors import DataError
from mlratchet.models.moments import us_of, utc
from mlratchet.models.schema.cell_bytes import ends_and_bytes
from mlratchet.models.sources.raw_cells import sha256_between
from mlratchet.models.sources.record import Record, Reject
from mlratchet.models.sources.record_table import CELL, unpacked_records

if TYPE_CHECKING:
    import pyarrow as pa

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")
NO_SIDE = 255  # in place of a number in `SIDES`: of a record that is on none
IN_GAP = "in_split_gap"  # the rule of records that no fault sets aside
SHOWN = 60  # characters of a value
DAY_US = 86_400_000_000
Numbers = np.ndarray[Any, np.dtype[np.uint8]]
Clusters = Callable[[Iterable[Record]], Mapping[str, str]]
"""Of records: id -> id of its cluster of near-duplicates, of those that are in one."""


def side_of(identity: str, config: SplitConfig | ClusterSplit) -> Side:
    """The side of a record id or group: SHA-256 of salt and id as a number in [0, 1)."""
    hashed = hashlib.sha256(f"{config.salt}\0{identity}".encode()).digest()
    place = int.from_bytes(hashed[:8], "big") / 2**64
    if place < config.test:
        return "test"
    if place < config.test + config.validation:
        return "validation"
    return "train"


def _sides_by_hash(names: pa.Array, config: SplitConfig | ClusterSplit) -> Numbers:
    """The same of many, as numbers in `SIDES`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    salted = pc.binary_join_element_wise(pa.scalar(f"{config.salt}\0"), names, pa.scalar(""))
    place = sha256_between(*ends_and_bytes(salted)).view(">u8")[:, 0] / 2**64
    numbers = np.where(place < config.test, 2, np.where(place < config.test + config.validation, 1, 0))
    return numbers.astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Of the records that it was made of, and of others by the same cuts."""

    judge: Callable[[Record], Side | Reject]
    in_table: Callable[[pa.Table], Numbers]
    """The same of the rows of a table: their numbers in `SIDES`, or `NO_SIDE`."""
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


def equals(records: Iterable[Record]) -> dict[str, str]:
    """Clusters of records with the same content; each is named by the smallest id in it."""
    first: dict[str, str] = {}
    several: set[str] = set()
    held = []
    for record in records:
        content = record.content_sha256
        if content:
            several |= {content} if content in first else set()
            first[content] = min(record.id, first.get(content, record.id))
            held.append((record.id, content))
    return {identity: first[content] for identity, content in held if content in several}


def sides_of(records: Iterable[Record], rule: SplitRule, clusters: Clusters = equals) -> Sides:
    """The side of every record. Eight bytes are kept of each, by time; by cluster those that are in one. `clusters`:
    how near-duplicates are found.

    Raises ``DataError`` where no record tells what the rule asks for.
    """
    if isinstance(rule, TimeSplit):
        return _by_time(records_of(records), rule)
    if isinstance(rule, ClusterSplit):
        return _by_cluster(records, rule, clusters)
    if isinstance(rule, GivenSplit):
        return _given(records_of(records), rule)

    def in_table(table: pa.Table) -> Numbers:
        import pyarrow.compute as pc

        names, groups = table["id"].combine_chunks(), table["group"].combine_chunks()
        if groups.null_count < len(groups):
            names = pc.if_else(pc.fill_null(pc.greater(pc.binary_length(groups), 0), False), groups, names)
        return _sides_by_hash(names, rule)

    return Sides(judge=lambda record: side_of(record.group or record.id, rule), in_table=in_table)


def divided(
    records: Records | Iterable[Record], rule: SplitRule, clusters: Clusters = equals
) -> tuple[Records, Rejects, Sides]:
    """The records that are on a side, the others with the reason, and the sides.

    Raises ``DataError`` as `sides_of`, and where a side is empty because of what was set aside or how the records lie.
    """
    held = records_of(records)
    sides = sides_of(held, rule, clusters)
    if rule.keeps_sides:
        return held, Rejects(), sides
    aside = Rejects()
    counts: Counter[Side] = Counter()

    def is_on_one(table: pa.Table) -> np.ndarray[Any, np.dtype[np.bool_]]:
        numbers = sides.in_table(table)
        on_one = np.asarray(numbers != NO_SIDE)
        counts.update(dict(zip(SIDES, np.bincount(numbers[on_one], minlength=len(SIDES)).tolist(), strict=True)))
        refused = map(sides.refused, unpacked_records(table.filter(~on_one)) if not on_one.all() else ())
        aside.extend(one for one in refused if one is not None)
        return on_one

    kept = held.only(is_on_one)
    empty = [side for side in SIDES if not counts[side]]
    if empty:
        rules = Counter(one.code for one in aside)
        lost = f"; set aside: {', '.join(f'{n:,} {code}' for code, n in sorted(rules.items()))}" if aside else ""
        raise DataError(
            f"data.split: the {' and the '.join(empty)} side is empty with {len(held):,} records: "
            f"{sides.words}{lost}; deliver more, or change data.split"
        )
    return kept, aside, sides


def _by_cluster(records: Iterable[Record], rule: ClusterSplit, clusters: Clusters) -> Sides:
    """Clusters and groups that have a record in common are one."""
    found = clusters(records)
    joined = Unions()
    grouped = set()
    for record in records:
        if record.group is not None and record.id in found:
            joined.join(("cluster", found[record.id]), ("group", record.group))
            grouped.add(record.group)

    def name_of(identity: str, group: str | None) -> str:
        if identity in found:
            return joined.name_of(("cluster", found[identity]))
        if group is not None:
            return joined.name_of(("group", group)) if group in grouped else group
        return identity

    def in_table(table: pa.Table) -> Numbers:
        import pyarrow as pa

        who = zip(table["id"].to_pylist(), table["group"].to_pylist(), strict=True)
        return _sides_by_hash(pa.array([name_of(*one) for one in who], pa.string()), rule)

    return Sides(
        judge=lambda record: side_of(name_of(record.id, record.group), rule),
        in_table=in_table,
        words=f"by cluster: {len(found):,} records have near-duplicates, which stay together",
    )


class Unions:
    """What belongs together, by a name that does not depend on the order in which that was said."""

    def __init__(self) -> None:
        self._above: dict[tuple[str, str], tuple[str, str]] = {}

    def join(self, one: tuple[str, str], other: tuple[str, str]) -> None:
        """Both, and whatever either is joined with."""
        least, most = sorted((self._root(one), self._root(other)))
        if least != most:
            self._above[most] = least

    def name_of(self, one: tuple[str, str]) -> str:
        """The smallest of what is joined with it: ``cluster`` before ``group``."""
        return self._root(one)[1]

    def _root(self, one: tuple[str, str]) -> tuple[str, str]:
        root = one
        while root in self._above:
            root = self._above[root]
        while one in self._above:  # the way is short the next time
            self._above[one], one = root, self._above[one]
            if one == root:
                break
        return root


def _given(records: Records, rule: GivenSplit) -> Sides:
    meant: dict[str, Side] = {}
    for side in SIDES:
        meant |= dict.fromkeys(getattr(rule, side), side)
    known = sorted(records.column_names())
    if rule.column not in known:
        raise DataError(
            f"data.split.column: no record has a column {rule.column!r}; there are {', '.join(known) or 'none'}: "
            "declare it under schema.fields with input: false, or name another"
        )

    def judge(record: Record) -> Side | Reject:
        word = record.columns.get(rule.column, "")
        if word in meant:
            return meant[word]
        where = record.where or record.id
        words = f"column {rule.column!r}: got {word!r}, expected one of {', '.join(meant)}"
        return Reject(
            where=where, code="unknown_side", reason=f"{where}: {words}", field=rule.column, value=word[:SHOWN]
        )

    numbers = {word: SIDES.index(side) for word, side in meant.items()}

    def in_table(table: pa.Table) -> Numbers:
        name = CELL + rule.column
        words = table[name].to_pylist() if name in table.column_names else [""] * table.num_rows
        return np.asarray([numbers.get(word or "", NO_SIDE) for word in words], np.uint8)

    return Sides(judge=judge, in_table=in_table, words=f"as column {rule.column!r} says")


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

    def in_table(self, table: pa.Table) -> Numbers:
        """The same of the rows of a table."""
        column = table["time_us"]
        at = column.fill_null(0).to_numpy()
        numbers = np.where(at >= self.test_us, 2, np.where(at >= self.validation_us, 1, 0)).astype(np.uint8)
        for begin in (self.test_us, self.validation_us):
            numbers[(begin - self.gap_us <= at) & (at < begin)] = NO_SIDE
        numbers[column.is_null().to_numpy()] = NO_SIDE
        return numbers


def _by_time(records: Records, rule: TimeSplit) -> Sides:
    told = [table["time_us"].drop_null().to_numpy() for table in records.tables()]
    if not any(map(len, told)):
        raise DataError("data.split: by time, and no record tells its time; name a field of kind time in schema.time")
    times = np.sort(np.concatenate(told))
    cuts = _cuts(times, rule)
    span = f"records of {_told(int(times[0]))} to {_told(int(times[-1]))}"
    gap = f", {rule.gap_days:g} days before each are left out" if rule.gap_days else ""
    words = f"by time: {span}, validation from {_told(cuts.validation_us)}, test from {_told(cuts.test_us)}{gap}"
    return Sides(judge=cuts, in_table=cuts.in_table, words=words)


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
