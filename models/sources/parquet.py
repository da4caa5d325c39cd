"""The format `parquet`: tables with typed columns, an example per row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal

from mlratchet.models.errors import SecurityError
from mlratchet.models.sources.base import Example, Fetch, Format, NumberOptions
from mlratchet.models.sources.columns import TableOptions
from mlratchet.models.sources.csv import tables_among
from mlratchet.models.sources.parquet_times import EVERY_YEAR
from mlratchet.models.sources.pieces import PIECE_TABLE_BYTES, WHERE, RawPiece, with_places
from mlratchet.models.sources.ranged import Open, opening_whole
from mlratchet.models.sources.record import RawObject, Reject
from mlratchet.models.sources.unpacking import UnreadableObjectError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet as pq

SUFFIXES = (".parquet", ".pq")
ROWS_AT_A_TIME = 16_384  # that are decoded before their size is looked at, where that many are no more than a piece
WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12, "BYTE_ARRAY": 16}
"""Bytes of a decoded value, the least of a text."""
MOST_CELL_BYTES = 256 << 20  # of one cell


class ParquetOptions(TableOptions, NumberOptions):
    """Tables whose columns have names and types of their own; `delimiter` and `quotes` mean nothing here."""

    format: Literal["parquet"] = "parquet"


class Parquet(Format):
    """Every file below the prefix, in key order."""

    name = "parquet"
    Options = ParquetOptions
    alone = SUFFIXES
    options: ParquetOptions

    def read(self, objects: list[RawObject], fetch: Fetch, *, columns: Sequence[str]) -> Iterator[Example | Reject]:
        """An example per row, its cells as text: a null as an empty one, a number with a decimal point."""
        for one in self.tables(objects, opening_whole(fetch), None if self._all_travel() else columns):
            if isinstance(one, Reject):
                yield one
                continue
            self.options.check([n for n in one.table.column_names if n != WHERE], one.key, columns)
            yield from rows_as_examples(one.table, self.options, columns)

    def _all_travel(self) -> bool:
        return self.options.slice_columns is None

    def tables(
        self, objects: list[RawObject], open_object: Open, columns: Sequence[str] | None = None
    ) -> Iterator[RawPiece | Reject]:
        """Every file in pieces, as it types its columns; a file without a footer is set aside."""
        for item in (yield from tables_among(objects, SUFFIXES, self.options.prefix)):
            with open_object(item) as source:
                opened = _opened(item, source)
                if isinstance(opened, Reject):
                    yield opened
                    continue
                there = opened.schema_arrow.names
                repeated = next((name for name, times in Counter(there).items() if times > 1), None)
                if repeated is not None:
                    words = f"{item.key}: column {repeated!r} is there twice; rename one"
                    yield Reject(where=item.key, code="bad_header", reason=words, records=opened.metadata.num_rows)
                    continue
                self.options.check(there, item.key, columns or ())
                extra = (*self.options.named(), *(self.options.slice_columns or ()), self.options.label_column)
                wanted = None if columns is None else {*columns, *extra}
                names = [name for name in there if wanted is None or name in wanted]
                unknown = _unknown_zone(opened.schema_arrow, names)
                if unknown is not None:
                    words, rows = f"{item.key}: {unknown}", max(1, opened.metadata.num_rows)
                    yield Reject(where=item.key, code="bad_header", reason=words, records=rows)
                    continue
                for one in _pieces(opened, item, names):
                    yield from self.options.with_names(one)


def _unknown_zone(schema: pa.Schema, names: Sequence[str]) -> str | None:
    """What is wrong with a column among `names` whose times are in a zone that nobody knows."""
    import pyarrow as pa

    for name in names:
        kind = schema.field(name).type
        zone = getattr(kind, "tz", None)
        try:
            pa.scalar(0, kind).as_py() if zone is not None else None
        except Exception:  # noqa: BLE001 - whoever looks zones up raises errors of its own
            return f"column {name!r}: its time zone {zone!r} is unknown; write it in UTC"
    return None


def _opened(item: RawObject, source: Any) -> pq.ParquetFile | Reject:
    import pyarrow as pa
    from pyarrow import parquet as pq

    try:
        told = pq.read_schema(pa.PythonFile(source, mode="r"))
        as_codes = [one.name for one in told if pa.types.is_string(one.type) or pa.types.is_binary(one.type)]
        # codes first: how large the cells are in full is known before they are made
        opened = pq.ParquetFile(pa.PythonFile(source, mode="r"), read_dictionary=as_codes, **EVERY_YEAR)
        if opened.metadata.num_rows < 0:
            raise ValueError(f"{opened.metadata.num_rows} rows")
        return opened
    except SecurityError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the decoder raises is about this file
        words = f"{item.key}: cannot be read as Parquet ({_line(error)}), expected a footer; deliver it whole"
        return Reject(where=item.key, code="not_a_parquet", reason=words)


def _pieces(opened: pq.ParquetFile, item: RawObject, names: list[str]) -> Iterator[RawPiece | Reject]:
    import pyarrow as pa

    expected, read, number = opened.metadata.num_rows, 0, 0
    waiting: list[pa.Table] = []
    size = 0
    tables = _tables(opened, item.key, names)
    refused = None
    while True:
        one = next(tables, None)
        refused = one if isinstance(one, UnreadableObjectError) else refused
        ended = one is None or isinstance(one, UnreadableObjectError)
        if waiting and (ended or size >= PIECE_TABLE_BYTES):
            yield RawPiece(item.key, number, pa.concat_tables(waiting))
            waiting, size, number = [], 0, number + 1
        if one is None or isinstance(one, UnreadableObjectError):
            break
        waiting.append(with_places(one, item.key, read + 1))
        read, size = read + one.num_rows, size + one.nbytes
    if refused is not None:
        yield refused.reject(expected - read)
    elif read != expected:
        words = f"{read} rows were read, its footer says {expected}; deliver the file again"
        yield UnreadableObjectError("unreconciled", f"{item.key}:{read + 1}", words).reject(expected - read)


def _tables(opened: pq.ParquetFile, key: str, names: list[str]) -> Iterator[pa.Table | UnreadableObjectError]:
    """Bounded tables; last, why it cannot be read on."""
    import pyarrow as pa

    read = 0
    try:
        for batch in opened.iter_batches(batch_size=_rows_at_a_time(opened, names), columns=names):
            for table in _in_full(pa.table(batch), key, read + 1):
                table.validate(full=True)  # a cell of text may hold bytes that are none
                yield table
                read += table.num_rows
    except SecurityError:
        raise
    except UnreadableObjectError as error:
        yield error
    except Exception as error:  # noqa: BLE001 - whatever the decoder raises is about this file from here on
        words = f"cannot be read on ({_line(error)}); deliver the file again"
        yield UnreadableObjectError("damaged_parquet", f"{key}:{read + 1}", words)


def _rows_at_a_time(opened: pq.ParquetFile, names: list[str]) -> int:
    """Rows that are about a piece once they are decoded. A list of values that are all alike takes a few bytes in the
    file: how many values it has, the footer says. Raises whatever the decoder raises."""
    columns = [opened.schema.column(place) for place in range(len(opened.schema))]
    asked = frozenset(names)
    wanted = [place for place, one in enumerate(columns) if _is_below(one.path, asked)]
    widths = {place: WIDTHS.get(columns[place].physical_type, max(1, columns[place].length)) for place in wanted}
    lists = [place for place in wanted if columns[place].max_repetition_level]
    flat = sum(widths[place] for place in wanted if place not in lists)  # a value a row
    of_lists = 0.0
    for number in range(opened.metadata.num_row_groups) if lists else ():
        # a row is decoded first: the footer's words about a column end the process where they contradict themselves
        next(opened.iter_batches(batch_size=1, row_groups=[number], columns=[columns[one].path for one in lists]), None)
        group = opened.metadata.row_group(number)
        values = sum(group.column(place).num_values * widths[place] for place in lists)
        of_lists = max(of_lists, values / max(1, group.num_rows))
    return max(1, min(ROWS_AT_A_TIME, int(PIECE_TABLE_BYTES / max(1.0, flat + of_lists))))


def _is_below(path: str, names: frozenset[str]) -> bool:
    """Whether a path is one of the names, or of something within it. A wide table has as many names as paths."""
    ends = (place for place, letter in enumerate(path) if letter == ".")
    return path in names or any(path[:end] in names for end in ends)


def _in_full(table: pa.Table, key: str, first: int) -> Iterator[pa.Table]:
    """A table without codes, in slices of bounded size. Raises ``UnreadableObjectError`` for too large a cell."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for place, name in enumerate(table.column_names):  # views, which hardly anything takes
        kind = table[name].type
        plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(kind)
        table = table if plain is None else table.set_column(place, name, pc.cast(table[name], plain))
    sizes = [0] * table.num_rows
    coded = [name for name in table.column_names if pa.types.is_dictionary(table[name].type)]
    total = 0
    for name in coded:
        for chunk in table[name].chunks:
            lengths = pc.fill_null(pc.take(pc.binary_length(chunk.dictionary), chunk.indices), 0)
            total += int(pc.sum(lengths).as_py() or 0)
            if int(pc.max(lengths).as_py() or 0) > MOST_CELL_BYTES:
                words = f"column {name!r}: a cell of more than {MOST_CELL_BYTES >> 20} MB; shorten it"
                raise UnreadableObjectError("cell_too_large", f"{key}:{first}", words)
    parts = max(1, -(-total // (2 * PIECE_TABLE_BYTES)))
    rows = max(1, len(sizes) // parts)
    for at in range(0, table.num_rows, rows):
        part = table.slice(at, rows)
        for name in coded:
            place = part.column_names.index(name)
            value = part[name].type.value_type
            part = part.set_column(place, name, pc.cast(part[name], value))
        yield part


def rows_as_examples(table: pa.Table, options: TableOptions, columns: Sequence[str]) -> Iterator[Example | Reject]:
    """The rows of a piece as text."""
    cells = {name: [as_text(cell) for cell in table[name].to_pylist()] for name in table.column_names if name != WHERE}
    for at, where in enumerate(table[WHERE].to_pylist()):
        values = {name: column[at] for name, column in cells.items()}
        if any(values.values()):
            yield options.example(where, values, columns)
        else:
            yield Reject(where=where, code="empty_row", reason=f"{where}: every cell is empty")


def as_text(cell: Any) -> str:
    """A typed cell as a table of text would have it."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, datetime | date):
        return cell.isoformat()
    if isinstance(cell, bytes):
        return cell.decode("utf-8", errors="backslashreplace").strip()
    if isinstance(cell, dict | list):
        return json.dumps(cell, ensure_ascii=False, default=str)
    return str(cell).strip()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
