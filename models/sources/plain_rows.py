"""Rows of a table that can be read column by column: where it is certain that the careful reader would read the same.

Certain is what is looked at here, in whole pieces: every quote opens or closes a cell on one line, no line is blank,
longer than a cell may be or ended otherwise, there is no byte that the careful reader strips, composes or refuses, and
there are as many rows as lines. Whatever else it is, is for the careful reader.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.sources.delimited import LARGEST_CELL

if TYPE_CHECKING:
    import pyarrow as pa

NEWLINE, RETURN, QUOTE = b'\n\r"'
UNUSUAL = bytes([*range(9), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F])  # NUL, and what `str.strip` takes for a blank
BLANK_ELSEWHERE = re.compile("[\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Places = np.ndarray[Any, np.dtype[np.int64]]


def plain_table(
    body: bytes, names: Sequence[str], delimiter: str, *, quotes_open_cells: bool, wanted: Sequence[str] | None
) -> pa.Table | None:
    """Whole lines as a table of text; None where that is not certain to be what the careful reader gives.

    Args:
        body: UTF-8, from the beginning of a line to the end of one.
        names: Of all columns.
        wanted: Columns to give; all without it.
    """
    if len(names) < 2 or not body or len(body.translate(None, UNUSUAL)) != len(body):
        return None
    returns = body.count(b"\r")
    if (returns and returns != body.count(b"\r\n")) or not _is_plain_text(body):
        return None
    data: Bytes = np.frombuffer(body, dtype=np.uint8)
    lines = np.flatnonzero(data == NEWLINE)
    if not _lines_are_plain(body, lines):
        return None
    quoted = quotes_open_cells and b'"' in body
    if quoted and not _quotes_are_plain(data, lines, ord(delimiter)):
        return None
    count = len(lines) + (0 if body.endswith(b"\n") else 1)
    return _read(body, names, delimiter, quoted=quoted, wanted=wanted, count=count)


def _is_plain_text(body: bytes) -> bool:
    if body.isascii():
        return True
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return False
    return unicodedata.is_normalized("NFC", text) and BLANK_ELSEWHERE.search(text) is None


def _lines_are_plain(body: bytes, lines: Places) -> bool:
    lengths = np.diff(lines, prepend=-1, append=len(body))  # with the line end, of all but what is behind the last one
    if int(lengths.max(initial=0)) > LARGEST_CELL or int(lengths[:-1].min(initial=LARGEST_CELL)) < 2:
        return False
    return not body.startswith(b"\r\n") and (int(lengths[:-1].min(initial=LARGEST_CELL)) > 2 or b"\n\r\n" not in body)


def _quotes_are_plain(data: Bytes, lines: Places, delimiter: int) -> bool:
    """Whether quotes open a cell, close it or are doubled in turn, and every cell ends on its line."""
    places = np.flatnonzero(data == QUOTE)
    if len(places) % 2:
        return False
    opening, closing = places[0::2], places[1::2]
    before = np.where(opening > 0, data[opening - 1], NEWLINE)
    behind = np.where(closing + 1 < len(data), data[np.minimum(closing + 1, len(data) - 1)], NEWLINE)
    doubled = closing[:-1] + 1 == opening[1:]  # two quotes side by side inside a cell
    opens = (before == delimiter) | (before == NEWLINE)
    closes = (behind == delimiter) | (behind == NEWLINE) | (behind == RETURN)
    opens[1:] |= doubled
    closes[:-1] |= doubled
    if not (opens.all() and closes.all()):
        return False
    return bool((np.searchsorted(lines, opening) == np.searchsorted(lines, closing)).all())


def _read(
    body: bytes, names: Sequence[str], delimiter: str, *, quoted: bool, wanted: Sequence[str] | None, count: int
) -> pa.Table | None:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    chosen = list(names) if wanted is None else [name for name in names if name in set(wanted)]
    parsing = csv.ParseOptions(
        delimiter=delimiter, quote_char='"' if quoted else False, double_quote=True, ignore_empty_lines=False
    )
    converting = csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        strings_can_be_null=False,
        include_columns=chosen,
        check_utf8=False,  # was looked at
    )
    reading = csv.ReadOptions(column_names=list(names), block_size=max(1 << 20, 2 * LARGEST_CELL))
    try:
        table = csv.read_csv(pa.BufferReader(body), reading, parsing, converting)
    except pa.ArrowInvalid:  # a ragged row
        return None
    if table.num_rows != count:
        return None
    if b" " in body or b"\t" in body:
        trim = pc.ascii_trim_whitespace if body.isascii() else pc.utf8_trim_whitespace
        table = pa.table({name: trim(table[name]) for name in table.column_names})
    return None if _has_empty_row(table) else table


def _has_empty_row(table: pa.Table) -> bool:
    import pyarrow.compute as pc

    empty = None
    for column in table.columns:
        here = pc.equal(pc.binary_length(column), 0)
        empty = here if empty is None else pc.and_(empty, here)
        if not pc.any(empty).as_py():
            return False
    return empty is not None
