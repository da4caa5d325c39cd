"""Whose a record is: a cell of a column that names a person is held against the key as what the schema says it is. A
number is the same number however it is written, with the decimal mark of its column; everything else is the same text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.schema.numbers import LONGEST, CellError, Mark, read_number


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Whose records."""

    fields: tuple[str, ...]  # columns that name a person
    keys: Collection[str]
    numbers: Mapping[str, Mark] = field(default_factory=dict)  # those that hold numbers -> their decimal mark

    def is_theirs(self, row: Mapping[str, Any]) -> bool:
        """Whether one of the columns holds one of the keys."""
        return any(self.is_key(name, row.get(name)) for name in self.fields)

    def is_key(self, name: str, cell: Any) -> bool:
        """Whether a cell of a column, as text or as a value, is one of the keys."""
        if cell is None:
            return False
        if word_of(cell) in self._words:
            return True
        mark = self.numbers.get(name)
        return mark is not None and number_of(cell, mark) in self._numbers_by(mark)

    def in_column(self, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray | None:
        """Whether each cell is one of the keys; None for a column of lists or records, which names nobody."""
        column = plain_column(column)
        if pa.types.is_nested(column.type):
            return None
        if name in self.numbers or pa.types.is_decimal(column.type) or pa.types.is_floating(column.type):
            theirs = [cell for cell in column.unique().to_pylist() if self.is_key(name, cell)]
            return pc.is_in(column, pa.array(theirs, column.type))
        return pc.is_in(pc.cast(column, pa.string()), pa.array(sorted(self.keys), pa.string()))

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(unicodedata.normalize("NFC", key) for key in self.keys)

    @cached_property
    def _numbers(self) -> dict[Mark, frozenset[float]]:
        return {}

    def _numbers_by(self, mark: Mark) -> frozenset[float]:
        """The keys as numbers of a column with this mark; one that is none there, as everybody writes them."""
        if mark not in self._numbers:
            read = (number_of(key, mark) for key in self.keys)
            told = (one if one is not None else number_of(key, ".") for one, key in zip(read, self.keys, strict=True))
            self._numbers[mark] = frozenset(one for one in told if one is not None)
        return self._numbers[mark]


def plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same cells in a type that Arrow compares: not packed as a dictionary, no half floats."""
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    return pc.cast(column, pa.float64()) if pa.types.is_float16(column.type) else column


def number_of(cell: Any, mark: Mark) -> float | None:
    """A cell as a number; whole ones are exact, however large. None for what is none."""
    if isinstance(cell, bool):
        return None
    if isinstance(cell, int | float | Decimal):
        return int(cell) if _is_whole(cell) else float(cell)
    text = str(cell).strip()
    if len(text) <= LONGEST and text.isascii() and text.removeprefix("-").isdigit():
        return int(text)
    with suppress(CellError):
        return read_number(text, decimal=mark)
    return None


def word_of(cell: Any) -> str:
    """A cell as text; of a whole number as people write it."""
    whole = isinstance(cell, float | Decimal) and _is_whole(cell)
    text = str(int(cell)) if whole else str(cell)
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _is_whole(number: float | Decimal) -> bool:
    """Whether it has no digits behind the mark, and not so many before it that nobody could write them."""
    if isinstance(number, Decimal):
        return number.is_finite() and number.adjusted() < LONGEST and number == number.to_integral_value()
    return number == number // 1
