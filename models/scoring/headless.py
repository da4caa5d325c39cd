"""Which names stand above a file without a header that is to be scored: what is no input may be missing in its rows.

How many cells the rows have decides, where it can be told; nothing is guessed from what they hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from itertools import combinations, islice

from mlratchet.models.sources.csv import SUFFIXES, CsvOptions
from mlratchet.models.sources.delimited import UnreadableTableError
from mlratchet.models.sources.headless import FirstRows, first_rows_of, lines_in, names_itself
from mlratchet.models.sources.ranged import Open
from mlratchet.models.sources.record import RawObject
from mlratchet.models.sources.text_encoding import as_utf8
from mlratchet.models.sources.unpacking import UnreadableObjectError, bare_name, unpacked

TOLD = 2  # readings that a refusal names


def names_above(item: RawObject, open_object: Open, options: CsvOptions, needed: Set[str]) -> tuple[str, ...] | None:
    """The names of the columns of one file; None: its first line has them.

    Args:
        item: The file.
        open_object: Of which the beginning is read.
        options: With a `header`.
        needed: Columns that a row must have: the inputs of the version.

    Raises ``UnreadableTableError`` where rows of so few cells can be read in several ways, with two of them.
    """
    header = options.header or ()
    if not bare_name(item.key).endswith(SUFFIXES):
        return header
    try:
        with as_utf8(unpacked(open_object(item), item), item, options.encoding) as text:
            begun = first_rows_of(text, item.key, options.dialect)
            if names_itself(begun.rows[0] if begun.rows else [], header):
                return None
            missing = len(header) - begun.width
            optional = [name for name in header if name not in needed]
            if not begun.rows or not 0 < missing <= len(optional):
                return header  # as declared, or as whoever reads it says
            readings = list(islice(combinations(optional, missing), TOLD))
            if len(readings) > 1:
                words = _several(begun, header, readings, math.comb(len(optional), missing))
                raise UnreadableTableError("bad_header", f"{item.key}:1", words, records=lines_in(begun, text))
            return _without(header, readings[0])
    except UnreadableObjectError:
        return header  # whoever reads it says it


def _without(header: Sequence[str], left_out: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in header if name not in left_out)


def _several(begun: FirstRows, header: Sequence[str], readings: Sequence[Sequence[str]], count: int) -> str:
    told = "; ".join(
        f"without {' and '.join(map(repr, left_out))} they are {', '.join(_without(header, left_out))}"
        for left_out in readings
    )
    return (
        f"its rows have {begun.width} cells, and source.header names {len(header)} columns: {count} readings, "
        f"{told}; write the names of its columns above its first row, or deliver all of them"
    )
