"""The columnar reading of a delivery: pieces of bounded size, each a table of raw values with each row's place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.sources.ranged import Open
from mlratchet.models.sources.record import Example, RawObject, Reject, place_of

if TYPE_CHECKING:
    import pyarrow as pa

WHERE, LABEL, ID, GROUP = "@where", "@label", "@id", "@group"  # columns that no file has
PICTURE, SOUND = "picture", "sound"  # columns that hold the bytes of a file
PIECE_TABLE_BYTES = 4 << 20  # of a piece before it is a table; its copies on the way to records take 30 times that
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


def with_places(table: pa.Table, key: str, first: int) -> pa.Table:
    """With `@where`: rows of one object on consecutive lines, or with consecutive numbers, from `first` on."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = pc.cast(pa.array(np.arange(first, first + table.num_rows)), pa.string())
    return table.append_column(WHERE, pc.binary_join_element_wise(pa.scalar(key), numbers, ":"))


Check = Callable[[Example, Mapping[str, bytes]], Reject | None]
"""(example, its files) -> why it cannot be used, or None."""


def examples_as_tables(
    examples: Iterable[Example | Reject],
    open_object: Open,
    *,
    check: Check | None = None,
    limit_bytes: int = PIECE_TABLE_BYTES,
) -> Iterator[RawPiece | Reject]:
    """What a format reads one by one, as tables: of pictures and sounds, with their bytes, which are fetched and
    checked by several threads."""
    rows: list[dict[str, Any]] = []
    size, number = 0, 0
    for one in side_by_side(lambda example: _row(example, open_object, check), examples):
        if isinstance(one, Reject):
            yield one
            continue
        rows.append(one)
        size += sum(len(cell) for cell in one.values() if isinstance(cell, bytes | str))
        if len(rows) >= ROWS_OF_EXAMPLES or size >= limit_bytes:
            yield _piece_of(rows, number)
            rows, size, number = [], 0, number + 1
    if rows:
        yield _piece_of(rows, number)


def _row(one: Example | Reject, open_object: Open, check: Check | None) -> dict[str, Any] | Reject:
    if isinstance(one, Reject):
        return one
    files = _files(one, open_object)
    refusal = check(one, files) if check is not None else None
    if refusal is not None:
        return refusal
    known = ((LABEL, one.label), (ID, one.id), (GROUP, one.group))
    told = {name: value for name, value in known if value is not None}
    return {**one.values, WHERE: one.where, **told, **files}


def _files(one: Example, open_object: Open) -> dict[str, bytes]:
    """The bytes of its picture or sound."""
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
