"""Read a stretch of the log: the rows of every file that verifies, and what is missing, in words."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.keys import Keys
from mlratchet.models.identity.signed_records import bare
from mlratchet.models.inference_log.chain import VerifiedLogFile
from mlratchet.models.inference_log.columns import LABELS, OF_EVERY_ROW, logged_fields
from mlratchet.models.inference_log.file import Holds, LogFile
from mlratchet.models.inference_log.walk import walk_chains
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore

BASE = {"answers": pa.schema(OF_EVERY_ROW), "feedback": LABELS}
MOMENT = {"answers": "received_s", "feedback": "label_s"}


class UnreadableFileError(ValueError):
    """A file of the log that is gone or not the one that its record names."""


@dataclass(frozen=True, kw_only=True)
class LogListing:
    """The files of a stretch of the log, by their records alone: no file was opened."""

    pipeline: str
    holds: Holds = "answers"
    since_s: float  # seconds since the epoch
    until_s: float
    files: tuple[LogFile, ...]
    records: tuple[str, ...] = ()  # SHA-256 hex of the record of each file, as it was published
    dropped: int = 0  # answers that are in no file
    lost: Mapping[str, int] = field(default_factory=dict)  # the same by SHA-256 hex of the record that tells of them
    unclosed: int = 0  # server processes that were killed: see `LogFile.unclosed`
    erased: int = 0  # rows that were erased on demand
    settled_s: float | None = None  # whatever came before is in these files or counted as lost; None: there is no file
    problems: tuple[str, ...] = ()

    def tables(self, store: ObjectStore, *, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows of each file within the stretch, one file in memory after the other.

        Raises ``UnreadableFileError`` for a file that is not the one which its record names.
        """

        def read(one: LogFile) -> pa.Table:
            return self._within(read_file(store, one, columns=columns, also=MOMENT[self.holds]), columns)

        yield from side_by_side(read, self.files, readers=4, ahead=4)

    def _within(self, table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
        moments = table[MOMENT[self.holds]]
        if len(moments) and not (self.since_s <= pc.min(moments).as_py() and pc.max(moments).as_py() < self.until_s):
            table = table.filter(pc.and_(pc.greater_equal(moments, self.since_s), pc.less(moments, self.until_s)))
        return table if columns is None else table.select([name for name in table.column_names if name in columns])


@dataclass(frozen=True, kw_only=True)
class LogStretch:
    """Rows of the log between two moments. Nothing rests on a stretch that is not whole: it is inconclusive."""

    pipeline: str
    since_s: float
    until_s: float
    table: pa.Table
    files: tuple[LogFile, ...] = ()
    records: tuple[str, ...] = ()
    dropped: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)
    unclosed: int = 0
    erased: int = 0
    settled_s: float | None = None
    problems: tuple[str, ...] = field(default=())

    @property
    def whole(self) -> bool:
        """Whether no record is missing, and every file is the one that its record names."""
        return not self.problems

    @property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 hex of the files."""
        return tuple(one.sha256 for one in self.files)


def list_log(
    store: ObjectStore,
    keys: Keys,
    pipeline: str,
    *,
    version: int | None = None,
    since_s: float,
    until_s: float,
    holds: Holds = "answers",
) -> LogListing:
    """The files with rows of [since_s, until_s), of one version or of all, and what is missing in the chains there."""
    walk = walk_chains(bare(store), keys.trusted(), pipeline, holds=holds, since_s=since_s, until_s=until_s)

    def wanted(record: VerifiedLogFile) -> bool:
        said = record.said
        overlaps = said.first_s < until_s and said.last_s >= since_s
        return bool(said.object) and overlaps and (version is None or said.version == version)

    found = [record for record in walk.records if wanted(record)]
    met = [record for record in walk.records if record.said.last_s >= since_s and record.said.first_s < until_s]
    lost = {record.digest: record.said.dropped for record in met if record.said.dropped}
    return LogListing(
        pipeline=pipeline, holds=holds, since_s=since_s, until_s=until_s,
        files=tuple(record.said for record in found), records=tuple(record.digest for record in found),
        dropped=sum(lost.values()), lost=lost, unclosed=sum(record.said.unclosed for record in met),
        erased=walk.erased, settled_s=walk.settled_s, problems=walk.problems,
    )  # fmt: skip


def read_log(
    store: ObjectStore,
    keys: Keys,
    pipeline: str,
    *,
    version: int | None = None,
    since_s: float,
    until_s: float,
    columns: Sequence[str] | None = None,
    holds: Holds = "answers",
    whole: Collection[str] = (),
) -> LogStretch:
    """The rows of [since_s, until_s) as one table, in the order in which requests came.

    Args:
        store: The store bucket; what lies there is verified with `keys`, whatever store it is.
        keys: Whom to believe.
        pipeline: Its name.
        version: Of one version alone; None: of all.
        since_s: Seconds since the epoch.
        until_s: The first moment after the stretch.
        columns: Those that are needed; None: all.
        holds: The log itself, or the feedback.
        whole: Fields without which a row is left out: `serving.log.fields` may have been another for a while.
    """
    listing = list_log(store, keys, pipeline, version=version, since_s=since_s, until_s=until_s, holds=holds)
    moment = MOMENT[holds]
    wanted = None if columns is None else [*columns, *([] if moment in columns else [moment])]
    tables: list[pa.Table] = []
    files: list[LogFile] = []
    records: list[str] = []
    problems = list(listing.problems)
    for said, record in zip(listing.files, listing.records, strict=True):
        one = LogListing(pipeline=pipeline, holds=holds, since_s=since_s, until_s=until_s, files=(said,))
        try:
            tables.extend(table for table in one.tables(store, columns=wanted) if _has_whole(table, whole))
        except UnreadableFileError as error:
            problems.append(str(error))
        else:
            files.append(said)
            records.append(record)
    table = together(tables, holds, wanted).sort_by(moment)
    return LogStretch(
        pipeline=pipeline, since_s=since_s, until_s=until_s, files=tuple(files), records=tuple(records),
        table=table if columns is None else table.select([name for name in columns if name in table.column_names]),
        dropped=listing.dropped, lost=listing.lost, unclosed=listing.unclosed,
        erased=listing.erased, settled_s=listing.settled_s,
        problems=tuple(problems),
    )  # fmt: skip


def _has_whole(table: pa.Table, fields: Collection[str]) -> bool:
    held = logged_fields(table.schema) if fields else {}
    return all(held.get(name, ("", ""))[1] == "whole" for name in fields)


def read_file(store: ObjectStore, said: LogFile, *, columns: Sequence[str] | None = None, also: str = "") -> pa.Table:
    """The rows of a file. `columns`: those of them that it has, and `also`. Raises ``UnreadableFileError``."""
    file = open_file(store, said)
    names = file.schema_arrow.names
    return file.read(names if columns is None else [name for name in names if name in columns or name == also])


def open_file(store: ObjectStore, said: LogFile) -> pq.ParquetFile:
    """A file that is the one which its record names. Raises ``UnreadableFileError``."""
    where = f"{store.bucket}/{said.object}"
    try:
        data = bare(store).get(said.object)
    except ObjectNotFound as error:
        raise UnreadableFileError(f"{where}: the file is gone; {said.rows} rows with it") from error
    if digest_bytes(data) != said.sha256:
        raise UnreadableFileError(f"{where}: is not the file that its record names; it was changed")
    return pq.ParquetFile(io.BytesIO(data))


def together(tables: Sequence[pa.Table], holds: Holds = "answers", columns: Sequence[str] | None = None) -> pa.Table:
    """Rows of files with different fields; a field that was another kind meanwhile is text."""
    base = BASE[holds]
    empty = (
        base.empty_table() if columns is None else base.empty_table().select([n for n in base.names if n in columns])
    )
    types: dict[str, pa.DataType] = {}
    for table in tables:
        for column in table.schema:
            if types.setdefault(column.name, column.type) != column.type:
                types[column.name] = pa.string()
    cast = [
        table.cast(pa.schema([column.with_type(types[column.name]) for column in table.schema])) for table in tables
    ]
    return pa.concat_tables([empty, *cast], promote_options="default")
