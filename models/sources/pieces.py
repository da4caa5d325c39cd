"""The columnar reading of a delivery: pieces of bounded size, each a table of raw values with the place of every row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mlratchet.models.sources.ranged import Open
from mlratchet.models.sources.record import Example, RawObject, Reject, place_of

if TYPE_CHECKING:
    import pyarrow as pa

WHERE, LABEL, ID, GROUP = "@where", "@label", "@id", "@group"  # columns that no file has
PICTURE, SOUND = "picture", "sound"  # columns that hold the bytes of a file
PIECE_TABLE_BYTES = 16 << 20  # of a piece before it is a table
ROWS_OF_EXAMPLES = 50_000  # of a piece that is made of examples


class RawPiece(NamedTuple):
    """Rows as they were delivered: nothing is converted. A column that a row lacks is null there."""

    key: str
    """Of the object that holds them; of several small ones, the first."""
    number: int
    """Of the piece within the object, from 0."""
    table: pa.Table
    """One column per column of the file, text or as the file types it, and `@where` (file:row, or file); `@label`,
    `@id` and `@group` where the format, not a column, says them."""
    left_out: int = 0
    """Rows that the selection of the source leaves out."""


class Gathered:
    """Rows of small objects, until they are a piece."""

    def __init__(self, names: Mapping[str, str], limit_bytes: int) -> None:
        """`names`: column -> `text` or `bytes`."""
        self._names, self._limit = names, limit_bytes
        self._rows: list[Mapping[str, Any]] = []
        self._bytes, self._number, self._key = 0, 0, ""

    def add(self, key: str, row: Mapping[str, Any], size_bytes: int) -> RawPiece | None:
        """One row; the piece that is full with it."""
        self._key = self._key or key
        self._rows.append(row)
        self._bytes += size_bytes
        return self.flush() if self._bytes >= self._limit else None

    def flush(self) -> RawPiece | None:
        """What there is, or None."""
        import pyarrow as pa

        if not self._rows:
            return None
        kinds = {"text": pa.string(), "bytes": pa.large_binary()}
        table = pa.table({n: pa.array([row.get(n) for row in self._rows], kinds[k]) for n, k in self._names.items()})
        piece = RawPiece(self._key, self._number, table)
        self._rows, self._bytes, self._key = [], 0, ""
        self._number += 1
        return piece


def with_places(table: pa.Table, key: str, first: int) -> pa.Table:
    """With `@where`: rows of one object on consecutive lines, or with consecutive numbers, from `first` on."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = pc.cast(pa.array(range(first, first + table.num_rows), pa.int64()), pa.string())
    return table.append_column(WHERE, pc.binary_join_element_wise(pa.scalar(key), numbers, ":"))


def examples_as_tables(
    examples: Iterable[Example | Reject], open_object: Open, *, limit_bytes: int = PIECE_TABLE_BYTES
) -> Iterator[RawPiece | Reject]:
    """What a format reads one by one, as tables: of pictures and sounds, with their bytes."""
    rows: list[dict[str, Any]] = []
    size, number = 0, 0
    for one in examples:
        if isinstance(one, Reject):
            yield one
            continue
        row: dict[str, Any] = {**one.values, WHERE: one.where}
        row |= {
            name: value for name, value in ((LABEL, one.label), (ID, one.id), (GROUP, one.group)) if value is not None
        }
        for name, data in _files(one, open_object).items():
            row[name] = data
            size += len(data)
        rows.append(row)
        if len(rows) >= ROWS_OF_EXAMPLES or size >= limit_bytes:
            yield _piece_of(rows, number)
            rows, size, number = [], 0, number + 1
    if rows:
        yield _piece_of(rows, number)


def _files(one: Example, open_object: Open) -> dict[str, bytes]:
    found = {}
    for name, item in ((PICTURE, one.picture), (SOUND, one.sound)):
        if item is not None:
            found[name] = one.data if one.data is not None else read_whole(item, open_object)
    return found


def read_whole(item: RawObject, open_object: Open) -> bytes:
    """The bytes of a small object."""
    with open_object(item) as source:
        return source.read()


def _piece_of(rows: Sequence[Mapping[str, Any]], number: int) -> RawPiece:
    import pyarrow as pa

    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    for name in names:
        cells = [row.get(name) for row in rows]
        kind = pa.large_binary() if any(isinstance(cell, bytes) for cell in cells) else pa.string()
        columns[name] = pa.array([_fitting(cell, kind == pa.string()) for cell in cells], kind)
    return RawPiece(place_of(str(rows[0][WHERE]))[0], number, pa.table(columns))


def _fitting(cell: Any, as_text: bool) -> Any:
    return str(cell) if as_text and cell is not None and not isinstance(cell, str) else cell
