"""Tell rows that an open quote took in from the lines of a quoted cell, by what the rows of their table look like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

FEW_NAMES = 20  # a column of no more different cells, each there twice on average, holds names out of a list
MOST = 0.9  # of the cells of a column of numbers are numbers
SEVERAL = 3  # lines that must look like rows where only they themselves say what rows look like
LONGEST = 400  # characters of a number
ALIKE_A_NUMBER = re.compile(r"[+-]?[\d.,]*\d[\d.,]*([eE][+-]?\d+)?")
MISSING = frozenset({"", "na", "n/a", "nan", "nil", "none", "null", "-", "?"})  # in lower case

Names = list[set[str] | None]


class RowLikeness:
    """What the rows of a table look like: which columns hold numbers, and which hold names out of a list.

    `sure`: by column, cells that are cells however the quotes are meant; `lines`: every line behind the header, also
    those that a quote took in.
    """

    def __init__(self, sure: Sequence[Sequence[str]], lines: Iterable[str], delimiter: str) -> None:
        self._delimiter = delimiter
        self._width = len(sure)
        told = [[cell for cell in cells if not _is_missing(cell)] for cells in sure]
        self._numbers = [bool(cells) and sum(map(_is_number, cells)) >= MOST * len(cells) for cells in told]
        self._names = [_names(cells) for cells in told]
        split = [fields for line in lines if (fields := self._fields(line)) is not None]
        self._names_anywhere = [
            _names([cell for cell in cells if not _is_missing(cell)])
            for cells in (zip(*split, strict=True) if split else [()] * self._width)
        ]

    def rows_among(self, lines: Sequence[str], *, doubtful: bool) -> int:
        """How many of the lines that a quote takes in look like rows; 0 where they are too few to say so.

        Half of them must. A line that looks like the rows outside counts by itself. Lines that look like each other
        (rows sorted by region are all unlike those before) count from several on, or where the quotes behind are
        `doubtful` as well.
        """
        known = any(self._numbers) or any(names is not None for names in self._names)
        split = [self._fields(line) for line in lines]
        by_rows = sum(self._fits(fields, self._names) for fields in split) if known else 0
        among_themselves = sum(self._fits(fields, self._names_anywhere) for fields in split)
        if by_rows * 2 >= len(lines):
            return by_rows
        enough = among_themselves >= (1 if doubtful else SEVERAL) and among_themselves * 2 >= len(lines)
        return among_themselves if enough else 0

    def _fields(self, line: str) -> list[str] | None:
        """With quotes as characters like any other; None for a line that is no row by its width."""
        fields = [field.strip().strip('"') for field in line.rstrip("\r\n").split(self._delimiter)]
        return fields if len(fields) == self._width and self._width > 1 else None

    def _fits(self, fields: list[str] | None, columns: Names) -> bool:
        if fields is None:
            return False
        for field, numbers, names in zip(fields, self._numbers, columns, strict=True):
            if _is_missing(field):
                continue
            if not (_is_number(field) if numbers else names is None or field in names):
                return False
        return True


def _names(cells: Sequence[str]) -> set[str] | None:
    """None: not out of a list, or nothing is known."""
    different = set(cells)
    return different if cells and len(different) <= min(FEW_NAMES, len(cells) // 2) else None


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in MISSING


def _is_number(cell: str) -> bool:
    return len(cell) <= LONGEST and ALIKE_A_NUMBER.fullmatch(cell) is not None
