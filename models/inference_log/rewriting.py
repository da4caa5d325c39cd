"""Rewrite files of the log: put small ones together, let old ones go, take rows out that somebody may ask to be erased.

New files first, then the signed rewrite that makes them count, then what it replaces goes: whatever interrupts, the log
is as it was or as it will be, and the next rewrite sweeps what was left. The newest record of each chain stays where it
is: its writer goes on from there.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.keys import Keys
from mlratchet.models.identity.signed_records import RecordStore, bare
from mlratchet.models.inference_log.chain import VerifiedLogFile, put_file
from mlratchet.models.inference_log.columns import FIELD
from mlratchet.models.inference_log.file import Holds, LogFile, folder_of, media_key, record_key
from mlratchet.models.inference_log.filing import as_parquet
from mlratchet.models.inference_log.reading import UnreadableFileError, open_file, read_file, together
from mlratchet.models.inference_log.rewrites import KeptRecord, LogRewrite, Rewrites, Why, read_rewrites, rewrite_key
from mlratchet.models.inference_log.walk import numbers_of, walk_chains
from mlratchet.models.ports.storage import ObjectExists, ObjectStore

FOREVER_S = 9e15  # later than any row
MOST_RECORDS = 200  # of one rewrite
MOST_ROWS = 1_000_000  # of files that are put together: they are in memory at once
OF_A_WRITER = re.compile(r"(?P<writer>[a-z0-9]{1,32})-(?P<number>\d{8})\.parquet")
OF_A_REWRITE = re.compile(r"rewrite-(?P<number>\d{8})-\d{4}(-[0-9a-f]{12})?\.parquet")
NUMBER = re.compile(r"[+-]?\d+([.]\d*)?", re.ASCII)
DAY_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What was taken out on demand."""

    rows: int = 0
    files: int = 0
    request_ids: tuple[str, ...] = ()
    media: int = 0  # pictures and sounds that were stored whole
    problems: tuple[str, ...] = ()  # why others may be left


class _Hit(NamedTuple):
    record: VerifiedLogFile
    theirs: pa.Table


class Rewriter:
    """Of one log. Of two processes at the same time the second to publish gets ``ObjectExists``: what it read is not
    what the log holds by then."""

    def __init__(self, store: ObjectStore, keys: Keys, pipeline: str, holds: Holds, *, now_s: float) -> None:
        self._store, self._keys, self._now_s = bare(store), keys, now_s
        self._pipeline, self._holds = pipeline, holds
        self._seen = (0, "")  # number and digest of the newest rewrite before the records were read

    def compact(self) -> int:
        """Put the files of each writer and day together, of days that are over; how many files there are less."""
        today_s = self._now_s // DAY_S * DAY_S
        gone = 0
        for group in self._groups(lambda said: said.last_s < today_s):
            files = [record.said for record in group if record.said.object]
            if len(files) > len({said.version for said in files}):
                gone += self._put_together(group)
        self.sweep()
        return gone

    def expire(self, before_s: float) -> int:
        """Let files go whose rows all came before, with pictures and sounds of those alone; how many rows."""
        rows = 0
        self._delete_media(self._media_before(before_s))  # found by the rows: they go first
        for group in self._groups(lambda said: said.last_s < before_s, by_day=False):
            old = [record for record in group if record.said.object]
            if old:
                rows += sum(record.said.rows for record in old)
                self._publish("expired", [(record, _emptied(record.said)) for record in old])
        self.sweep()
        return rows

    def find(self, column: str, values: Sequence[str]) -> Erased:
        """What `erase` would take out, and why it would not be sure that this is all. Nothing is changed."""
        found, problems = self._hits(column, values)
        return replace(_told(found, media=0), problems=tuple(problems))

    def erase(self, column: str, values: Sequence[str]) -> Erased:
        """Take every row out whose `column` is one of the values. Raises ``SecurityError`` where the log is not whole:
        nobody could say that all was found."""
        found, problems = self._hits(column, values)
        media = self._delete_media(
            {name for one in found for name in _media_of(one.theirs)}
        )  # by the rows they are found
        for first in range(0, len(found), MOST_RECORDS):
            # files bear the number of the rewrite that comes next: only those does no other process sweep
            self._publish(
                "erased",
                [
                    (one.record, self._written(one.record.said, self._without(one.record, column, values), at))
                    for at, one in enumerate(found[first : first + MOST_RECORDS])
                ],
            )
        self.sweep()
        rows = sum(one.theirs.num_rows for one in found)
        if problems:
            raise SecurityError(
                f"{rows} rows are erased, but the log is not whole, and others may be left: {'; '.join(problems[:5])}"
            )
        return _told(found, media=media)

    def _hits(self, column: str, values: Sequence[str]) -> tuple[list[_Hit], list[str]]:
        """Files with such rows, and what is wrong with the log."""
        records, problems = self._records()
        found: list[_Hit] = []
        for record in records:
            if not record.said.object:
                continue
            try:
                table = read_file(self._store, record.said)
            except UnreadableFileError as error:
                self._refuse_moved()
                problems.append(str(error))
                continue
            if column not in table.column_names:  # a field that was not logged then
                continue
            theirs = table.filter(_is_one_of(table[column], values))
            if theirs.num_rows:
                found.append(_Hit(record, theirs))
        return found, problems

    def _without(self, record: VerifiedLogFile, column: str, values: Sequence[str]) -> pa.Table:
        try:
            table = read_file(self._store, record.said)  # once more: one file is in memory at a time
        except UnreadableFileError:
            self._refuse_moved()
            raise
        return table.filter(pc.invert(_is_one_of(table[column], values)))

    def _refuse_moved(self) -> None:
        """Raises ``ObjectExists`` where another process has rewritten the log since the records were read."""
        if self._head() != self._seen:
            raise ObjectExists(f"{folder_of(self._pipeline, self._holds)}: was rewritten meanwhile; try again")

    def _head(self) -> tuple[int, str]:
        held = self._rewrites()
        return len(held.done), held.head

    def _records(self) -> tuple[list[VerifiedLogFile], list[str]]:
        self._seen = self._head()
        walk = walk_chains(
            self._store, self._keys.trusted(), self._pipeline, holds=self._holds, since_s=-FOREVER_S, until_s=FOREVER_S
        )
        return list(walk.records), list(walk.problems)

    def _groups(self, wanted: Callable[[LogFile], bool], *, by_day: bool = True) -> Iterator[list[VerifiedLogFile]]:
        """Neighbours of one chain that fit, never the newest; each group begins after another record or the first."""
        records, _ = self._records()
        newest = {record.said.writer: record.said.number for record in records}
        group: list[VerifiedLogFile] = []
        for record in records:
            said = record.said
            last = group[-1].said if group else None
            goes_on = last is not None and (last.writer, last.number + 1) == (said.writer, said.number)
            goes_on = goes_on and (not by_day or last is None or _day(last) == _day(said))
            full = len(group) >= MOST_RECORDS or sum(one.said.rows for one in group) + said.rows > MOST_ROWS
            if group and (not goes_on or full or not wanted(said)):
                yield group
                group = []
            if wanted(said) and said.number != newest[said.writer]:
                group.append(record)
        if group:
            yield group

    def _put_together(self, group: list[VerifiedLogFile]) -> int:
        by_version: dict[int, list[pa.Table]] = defaultdict(list)
        try:
            for record in group:
                if record.said.object:
                    by_version[record.said.version].append(read_file(self._store, record.said))
        except UnreadableFileError:  # it stays as it is: what is wrong with it is to be seen
            return 0
        files = sum(map(len, by_version.values()))
        moment = "received_s" if self._holds == "answers" else "label_s"
        said = [_emptied(record.said) for record in group]
        # the rows are in the last records of the group: before those nothing of it is settled
        said = [one.model_copy(update={"settled_s": 0.0}) for one in said[:-1]] + said[-1:]
        for place, (version, tables) in enumerate(sorted(by_version.items()), len(group) - len(by_version)):
            table = together(tables, self._holds).sort_by(moment)
            statuses: dict[str, int] = defaultdict(int)
            for record in group:
                if record.said.version == version:
                    for status, count in record.said.statuses.items():
                        statuses[status] += count
            told = said[place].model_copy(update={"version": version, "statuses": dict(statuses)})
            said[place] = self._written(told, table, place)
        self._publish("compacted", list(zip(group, said, strict=True)))
        return files - len(by_version)

    def _written(self, said: LogFile, table: pa.Table, place: int) -> LogFile:
        """A file with these rows in the place of the one of `said`."""
        if table.num_rows == 0:
            return _emptied(said)
        moments = table["received_s" if self._holds == "answers" else "label_s"]
        first_s, last_s = pc.min(moments).as_py(), pc.max(moments).as_py()
        data = as_parquet(table)
        day = dt.datetime.fromtimestamp(first_s, dt.UTC).strftime("%Y-%m-%d")
        by_version = f"{said.version}/" if self._holds == "answers" else ""
        number = self._seen[0] + 1
        name = f"rewrite-{number:08d}-{place:04d}-{digest_bytes(data)[:12]}.parquet"  # of two at once each has its own
        key = f"{folder_of(self._pipeline, self._holds)}{by_version}{day}/{name}"
        put_file(self._store, key, data)
        return said.model_copy(
            update={
                "object": key, "sha256": digest_bytes(data), "size_bytes": len(data), "rows": table.num_rows,
                "first_s": first_s, "last_s": last_s,
            }
        )  # fmt: skip

    def _rewrites(self) -> Rewrites:
        found = read_rewrites(self._store, self._keys.trusted(), self._pipeline, self._holds)
        if found.problems:
            raise SecurityError("; ".join(found.problems))
        return found

    def _publish(self, why: Why, changed: Sequence[tuple[VerifiedLogFile, LogFile]]) -> None:
        number, previous = self._seen[0] + 1, self._seen[1]
        rows = sum(record.said.rows for record, _ in changed) - sum(said.rows for _, said in changed)
        one = LogRewrite(
            pipeline=self._pipeline, holds=self._holds, number=number, previous=previous, why=why, at_s=self._now_s,
            rows=rows, first_s=min(record.said.first_s for record, _ in changed),
            last_s=max(record.said.last_s for record, _ in changed),
            records=tuple(
                KeptRecord(digest=record.digest, said=said, was=record.said.sha256) for record, said in changed
            ),
        )  # fmt: skip
        key = rewrite_key(self._pipeline, self._holds, number)
        RecordStore(self._store, self._keys).create(key, one.body())
        self._seen = (number, digest_bytes(self._store.get(key)))

    def _media_before(self, before_s: float) -> set[str]:
        """Digests of what was stored whole and came before a moment and not since."""
        stored = {info.key.rpartition("/")[2] for info in self._store.list(media_key(self._pipeline, ""))}
        if not stored:
            return set()
        held = [one.said for one in self._records()[0]]
        newest = {said.writer: said.number for said in held}
        old, since = list[LogFile](), list[LogFile]()
        for said in (one for one in held if one.object):
            is_old = said.last_s < before_s and said.number != newest[said.writer]
            (old if is_old else since).append(said)
        found = {name for said in old for name in self._media_in(said)} & stored
        for said in since:
            if not found:
                break
            found -= self._media_in(said)
        return found

    def _media_in(self, said: LogFile) -> set[str]:
        try:
            file = open_file(self._store, said)
            names = [column.name for column in file.schema_arrow if _is_media(column)]
            return _media_of(file.read(names))
        except UnreadableFileError:  # an audit tells of it
            return set()

    def _delete_media(self, digests: set[str]) -> int:
        there = [key for one in sorted(digests) if self._store.exists(key := media_key(self._pipeline, one))]
        for key in there:
            self._store.delete(key)
        return len(there)

    def sweep(self) -> None:
        """Delete what rewrites have replaced."""
        held = self._rewrites()
        named = {kept.record.said.object for chain in held.kept.values() for kept in chain.values()}
        folder = folder_of(self._pipeline, self._holds)
        for info in list(self._store.list(folder)):
            if not self._is_this_log(info.key) or info.key in named:
                continue
            name = info.key.rpartition("/")[2]
            if match := OF_A_WRITER.fullmatch(name):
                gone = int(match["number"]) in held.kept.get(match["writer"], {})
            else:
                match = OF_A_REWRITE.fullmatch(name)
                gone = match is not None and int(match["number"]) <= len(held.done)
            if gone:
                self._store.delete(info.key)
        for writer, numbers in numbers_of(self._store, self._pipeline, self._holds).items():
            for number in sorted(set(numbers) & set(held.kept.get(writer, {})) - {max(numbers)}):
                self._store.delete(record_key(self._pipeline, self._holds, writer, number))

    def _is_this_log(self, key: str) -> bool:
        return self._holds == "feedback" or not key.startswith(folder_of(self._pipeline, "feedback"))


def _is_one_of(column: pa.ChunkedArray, values: Sequence[str]) -> pa.ChunkedArray:
    if pa.types.is_floating(column.type):  # a number is the same however it is written
        numbers = {float(value) for value in values if NUMBER.fullmatch(value)}
        return pc.fill_null(pc.is_in(column, pa.array(sorted(numbers), column.type)), False)
    return pc.fill_null(pc.is_in(pc.cast(column, pa.string()), pa.array(values, pa.string())), False)


def _told(found: Sequence[_Hit], *, media: int) -> Erased:
    request_ids = {request for one in found for request in one.theirs["request_id"].to_pylist()}
    rows = sum(one.theirs.num_rows for one in found)
    return Erased(rows=rows, files=len(found), request_ids=tuple(sorted(request_ids)), media=media)


def _day(said: LogFile) -> float:
    return said.last_s // DAY_S


def _emptied(said: LogFile) -> LogFile:
    """Its place in the chain and what was lost before it, without a file."""
    return said.model_copy(update={"object": "", "sha256": "", "size_bytes": 0, "rows": 0, "statuses": {}})


def _media_of(table: pa.Table) -> set[str]:
    found: set[str] = set()
    for column in filter(_is_media, table.schema):
        found |= set(table[column.name].drop_null().to_pylist())
    return found


def _is_media(column: pa.Field) -> bool:
    """Whether a column names pictures or sounds by their digests."""
    return column.name.startswith(FIELD) and (column.metadata or {}).get(b"kind") in (b"image", b"audio")
