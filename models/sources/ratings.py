"""The format `ratings`: who rated what, how and when, as MovieLens has it: `u.data`, `ratings.csv`, `ratings.dat`."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

from mlratchet.models.errors import DataError
from mlratchet.models.sources.base import Example, Fetch, Format, SourceOptions
from mlratchet.models.sources.csv import tables_among
from mlratchet.models.sources.csv_pieces import DelimitedPieces
from mlratchet.models.sources.delimited import Dialect, UnreadableTableError
from mlratchet.models.sources.parquet import as_text
from mlratchet.models.sources.pieces import WHERE, RawPiece
from mlratchet.models.sources.ranged import Open, opening_whole
from mlratchet.models.sources.record import RawObject, Reject
from mlratchet.models.sources.text_encoding import as_utf8
from mlratchet.models.sources.unpacking import UnreadableObjectError, unpacked

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".data", ".csv", ".tsv", ".dat", ".txt", ".inter", ".base", ".test")
COLUMNS = ("user", "item", "rating", "time")
KNOWN = {
    "user": ("user", "userid", "user_id", "reviewerid"),
    "item": ("item", "itemid", "item_id", "movie", "movieid", "movie_id", "product", "productid", "asin"),
    "rating": ("rating", "score", "stars", "overall"),
    "time": ("time", "timestamp", "unixreviewtime", "date", "at"),
}
"""How headers call them, in lower case."""
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
WHOLE_LINE = 1 << 16  # bytes in which the first line ends


class RatingsOptions(SourceOptions):
    """One rating per line, as user, item, rating and time in this order, or as a header says; parted by tabs, commas,
    semicolons or `::`; also packed as .gz or .zst."""

    format: Literal["ratings"] = "ratings"
    label_column: str = "rating"
    """What is learnt: `rating`."""
    group_column: str | None = None
    """`user` or `item`: all of one stay on one side of the split."""


class Ratings(Format):
    """Every file below the prefix, in key order, as columns `user`, `item`, `rating` and, where there is one,
    `time`."""

    name = "ratings"
    Options = RatingsOptions
    options: RatingsOptions

    def read(self, objects: list[RawObject], fetch: Fetch, *, columns: Sequence[str]) -> Iterator[Example | Reject]:  # noqa: ARG002
        """An example per rating."""
        group = self.options.group_column
        for one in self.tables(objects, opening_whole(fetch)):
            if isinstance(one, Reject):
                yield one
                continue
            for row in one.table.to_pylist():
                where = str(row.pop(WHERE))
                values = {name: as_text(cell) for name, cell in row.items()}
                identity = ":".join(values[name] for name in COLUMNS if name != "rating" and name in values)
                yield Example(
                    where=where,
                    values=values,
                    label=values.get(self.options.label_column),
                    id=identity,
                    group=values[group] if group else None,
                )

    def tables(
        self, objects: list[RawObject], open_object: Open, columns: Sequence[str] | None = None
    ) -> Iterator[RawPiece | Reject]:
        """In pieces; a line without user or item, or whose rating is no number, is set aside."""
        wanted = {*COLUMNS, *(columns or ())}
        for column in (self.options.group_column, self.options.label_column, *(columns or ())):
            if column is not None and column not in COLUMNS:
                raise DataError(f"{self.options.prefix}: ratings have no column {column!r}, only {', '.join(COLUMNS)}")
        for item in (yield from tables_among(objects, SUFFIXES, self.options.prefix)):
            try:
                with as_utf8(unpacked(open_object(item), item), item, None) as text:
                    for one in _pieces(text, item.key, wanted):
                        yield from [one] if isinstance(one, Reject) else _usable(one)
            except (UnreadableTableError, UnreadableObjectError) as error:
                yield error.reject()


def _pieces(text: BinaryIO, key: str, wanted: set[str]) -> Iterator[RawPiece | Reject]:
    first = text.peek(WHOLE_LINE)[:WHOLE_LINE].split(b"\n")[0].decode("utf-8", "replace")  # type: ignore[attr-defined]
    doubled = "::" in first
    delimiter = "\t" if doubled else next((mark for mark in "\t,;|" if mark in first), None)
    if delimiter is None:
        words = "no tab, comma, semicolon or :: in its first line, expected user, item, rating and time"
        raise UnreadableTableError("bad_header", f"{key}:1", words, records=1)
    cells = [cell.strip().strip('"') for cell in first.replace("::", "\t").split(delimiter)]
    headless = len(cells) >= 3 and re.fullmatch(NUMBER, cells[2]) is not None
    header = delimiter.join([*COLUMNS, *map(str, range(5, 30))][: len(cells)]) + "\n" if headless else ""
    source = _Lines(text, header.encode(), doubled)
    reading = DelimitedPieces(
        cast(BinaryIO, io.BufferedReader(source, 1 << 20)), key, Dialect(delimiter=delimiter), made_up_lines=headless
    )
    head = reading.head()
    names = list(COLUMNS[: len(cells)]) if headless else [column_of(name) or name for name in head.table.columns]
    missing = [name for name in COLUMNS[:3] if name not in names]
    if missing:
        words = f"no column that says the {missing[0]}; got {', '.join(head.table.columns)}; name it {missing[0]}"
        raise DataError(f"{key}:1: {words}")
    for one in reading.pieces(head, None):
        yield one if isinstance(one, Reject) else one._replace(table=_named(one.table, names, wanted))


def column_of(name: str) -> str | None:
    """What a header means by a name; None for nothing that is known."""
    plain = name.partition(":")[0].strip().lower()  # RecBole writes `user_id:token`
    return next((known for known, words in KNOWN.items() if plain in words), None)


def _named(table: pa.Table, names: list[str], wanted: set[str]) -> pa.Table:
    found = dict(zip([*names, *table.column_names[len(names) : -1]], table.columns[:-1], strict=True))
    import pyarrow as pa

    return pa.table(
        {**{name: found[name] for name in COLUMNS if name in found and name in wanted}, WHERE: table[WHERE]}
    )


def _usable(one: RawPiece) -> Iterator[RawPiece | Reject]:
    import pyarrow.compute as pc

    table = one.table
    for name, code, expected in (
        ("user", "missing_user", "who rated"),
        ("item", "missing_item", "what was rated"),
        ("rating", "bad_rating", "a number with a decimal point"),
    ):
        column = table[name]
        good = pc.match_substring_regex(column, NUMBER) if name == "rating" else pc.greater(pc.utf8_length(column), 0)
        good = pc.fill_null(good, False)
        for row in table.filter(pc.invert(good)).select([name, WHERE]).to_pylist():
            where = str(row[WHERE])
            reason = f"{where}: {name}: got {str(row[name])[:60]!r}, expected {expected}"
            yield Reject(where=where, code=code, reason=reason, field=name, value=str(row[name] or "")[:60])
        table = table.filter(good)
    if table.num_rows:
        yield one._replace(table=table)


class _Lines(io.RawIOBase):
    """A header before a stream; `::` as one tab."""

    def __init__(self, source: BinaryIO, header: bytes, doubled: bool) -> None:
        self._source, self._ready, self._doubled = source, header, doubled
        self._ended = False

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: object) -> int:
        """See `io`."""
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # any writable buffer, as `io` has it
        while not self._ready and not self._ended:
            data = self._source.read(1 << 20)
            while self._doubled and data.endswith(b":") and (more := self._source.read(1)):
                data += more
            self._ended = not data
            self._ready = data.replace(b"::", b"\t") if self._doubled else data
        part, self._ready = self._ready[: len(target)], self._ready[len(target) :]
        target[: len(part)] = part
        return len(part)
