"""What became of every record of a delivery: used, or set aside by which rule.

`quarantine.py` keeps each of those; `readings/<dataset id>.json` says it in short, for whoever meets the dataset again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mlratchet.models.data.records import Records
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.schema.numbers import Mark
from mlratchet.models.schema.time_formats import ISO
from mlratchet.models.sources.log_rows import in_words as logged_in_words
from mlratchet.models.sources.record import Record, Reject
from mlratchet.models.sources.record_table import REMARKS, unpacked_records

EXAMPLES = 3  # places that a line names of each rule
COLUMNS = 10  # that a line names
NAME_LENGTH = 80  # characters of a name in a line: its end tells the row


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What one rule met."""

    code: str
    records: int
    places: tuple[str, ...]  # the first, file or file:row
    more: bool  # there are others

    def words(self) -> str:
        """``3 unknown_label (rows.csv:17, ...)``."""
        places = ", ".join([*map(_short, self.places), *(["..."] if self.more else [])])
        return f"{self.records:,} {self.code} ({places})"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The records of a delivery, counted."""

    used: int
    set_aside: int
    rules: tuple[Counted, ...] = ()  # of what was set aside, the most frequent first
    remarks: tuple[Counted, ...] = ()  # of what is used all the same
    decimal_commas: tuple[str, ...] = ()  # columns
    time_formats: tuple[tuple[str, str], ...] = ()  # (format, its columns), of those that are not ISO's
    example: str = ""  # the first reason
    logged: tuple[tuple[str, int], ...] = ()  # rows of the inference log that are used, by side

    @property
    def read(self) -> int:
        """All of them."""
        return self.used + self.set_aside

    def line(self) -> str:
        """``1,800 read, 1,795 used, 5 set aside: 3 unknown_label (rows.csv:17, ...), 2 ragged_row (...)``."""
        aside = f": {self.rules_met()}" if self.rules else ""
        parts = [f"{self.read:,} read, {self.used:,} used, {self.set_aside:,} set aside{aside}"]
        if self.remarks:
            parts.append(f"remarks: {', '.join(one.words() for one in self.remarks)}")
        if self.decimal_commas:
            more = ["..."] if len(self.decimal_commas) > COLUMNS else []
            parts.append(f"decimal comma in {', '.join([*map(_short, self.decimal_commas[:COLUMNS]), *more])}")
        parts += [words] if (words := logged_in_words(dict(self.logged))) else []
        parts += [f"times as {form} in {columns}" for form, columns in self.time_formats]
        return "; ".join(parts)

    def rules_met(self) -> str:
        """By which rules, how often and where."""
        return in_words(self.rules)


def in_words(rules: Iterable[Counted]) -> str:
    """One behind the other."""
    return ", ".join(one.words() for one in rules)


def printable(text: str) -> str:
    """Names and cells are other people's: what is no printable character is told by its number."""
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)


def _short(name: str) -> str:
    return printable(name if len(name) <= NAME_LENGTH else f"...{name[-NAME_LENGTH:]}")


def reading_of(
    records: Collection[Record],
    rejects: Collection[Reject],
    number_marks: Mapping[str, Mark] | None = None,
    *,
    time_formats: Mapping[str, str] | None = None,
    logged: Mapping[str, int] | None = None,
) -> Reading:
    """Count what was read."""
    rules = by_rule(rejects)
    remarks = ((one.code, record.where or record.id, 1) for record in _remarked(records) for one in record.remarks)
    return Reading(
        used=len(records),
        set_aside=sum(one.records for one in rules),
        rules=rules,
        remarks=_counted(remarks),
        decimal_commas=tuple(sorted(name for name, mark in (number_marks or {}).items() if mark == ",")),
        time_formats=_by_format(time_formats or {}),
        logged=tuple((logged or {}).items()),
        example=next(iter(rejects)).reason if rejects else "",
    )


def by_rule(rejects: Iterable[Reject]) -> tuple[Counted, ...]:
    """What was set aside, the most frequent rule first; in one reading."""
    return _counted((one.code, one.where, one.records) for one in rejects)


def _remarked(records: Collection[Record]) -> Iterator[Record]:
    """Those of which something is remarked; most are not, and no table is unpacked for those."""
    if not isinstance(records, Records):
        yield from records
        return
    for table in records.tables():
        told = table[REMARKS]
        if told.null_count < table.num_rows:
            yield from unpacked_records(table.filter(told.is_valid()))


def _by_format(formats: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Each format with the names of its columns, as a line tells them."""
    columns: dict[str, list[str]] = {}
    for name, form in sorted(formats.items()):
        if form not in ("", ISO):
            columns.setdefault(form, []).append(_short(name))
    more = {form: ["..."] if len(names) > COLUMNS else [] for form, names in columns.items()}
    return tuple((form, ", ".join([*names[:COLUMNS], *more[form]])) for form, names in columns.items())


def _counted(met: Iterable[tuple[str, str, int]]) -> tuple[Counted, ...]:
    counts: dict[str, int] = {}
    places: dict[str, list[str]] = {}
    for code, where, records in met:
        counts[code] = counts.get(code, 0) + records
        held = places.setdefault(code, [])
        if len(held) <= EXAMPLES:
            held.append(where)
    order = sorted(counts, key=lambda code: (-counts[code], code))
    return tuple(
        Counted(
            code=code,
            records=counts[code],
            places=tuple(places[code][:EXAMPLES]),
            more=len(places[code]) > EXAMPLES,
        )
        for code in order
    )


def publish_reading(
    store: ObjectStore,
    pipeline: str,
    reading: Reading,
    rejects: Collection[Reject],
    *,
    dataset_id: str,
    snapshot_id: str,
    run_id: str,
    at_s: float,
) -> str:
    """Everything that was set aside, and where to find it; returns the digest of the quarantine.

    The same dataset has the same quarantine, so that repeating this changes nothing but which is the newest.
    """
    about = {"dataset": dataset_id, "snapshot": snapshot_id, "line": reading.line(), **_plain(reading)}
    from mlratchet.models.data.quarantine import write_quarantine  # Arrow: who only reads waits for none

    quarantine = write_quarantine(store, about, rejects)
    store.put(f"readings/{dataset_id}.json", canonical_json({"quarantine": quarantine, "line": reading.line()}))
    newest = {"dataset": dataset_id, "quarantine": quarantine, "run": run_id, "at_s": at_s}
    store.put(f"rejects/{pipeline}.json", canonical_json(newest))
    return quarantine


def _plain(reading: Reading) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(asdict(reading)))
    if not reading.logged:  # a delivery alone
        del document["logged"]
    return document | {"read": reading.read}


def line_of_dataset(store: ObjectStore, dataset_id: str) -> str:
    """What was said when the rows of a dataset were read; empty where nobody knows any more."""
    try:
        return printable(stored_document(store, f"readings/{dataset_id}.json", "line", "quarantine")["line"])
    except ObjectNotFound:
        return ""
