"""Numbers as people write them: which mark of a column is the decimal one is decided once, never per cell.

`1,5` can only be one and a half and `1,234,567` only a million; `1,234` can be either, and the column tells, or the
pipeline file, or nobody: then it is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from mlratchet.models.errors import DataError

Mark = Literal["", ".", ","]
"""The decimal mark of a column; empty: none of its numbers has one, so nothing is known."""
Shape = Literal["other", "whole", "point", "comma", "point_or_thousands", "comma_or_thousands"]
"""What the marks of a cell say: which one is the decimal mark, or that it could be either."""
TOLERATED = 0.05  # share of a first delivery's telling cells that may be written with the other mark, each set aside

LONGEST = 400  # characters of a number; looking at a longer cell would take time with the square of its length
LARGEST = float(np.finfo(np.float32).max)
BODY = re.compile(r"[+-]?(?P<body>[\d.,]*\d[\d.,]*)(?:[eE][+-]?\d+)?", re.ASCII)
GROUPS = {mark: re.compile(rf"[1-9]\d{{0,2}}(\{mark}\d{{3}})+", re.ASCII) for mark in ".,"}
GROUPED = {  # decimal mark -> a number with thousands
    ".": re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?([eE][+-]?\d+)?", re.ASCII),
    ",": re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d*)?([eE][+-]?\d+)?", re.ASCII),
}
OTHER: Mapping[str, Literal[".", ","]] = {".": ",", ",": "."}
TELLING: Mapping[str, Shape] = {".": "point", ",": "comma"}
EITHER: Mapping[str, Shape] = {".": "point_or_thousands", ",": "comma_or_thousands"}


class CellError(ValueError):
    """A cell that is not a usable number; `code` is a short stable word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def shape_of(text: str) -> Shape:
    """Of one cell."""
    found = BODY.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        return "other"
    body = found["body"]
    points, commas = body.count("."), body.count(",")
    if points and commas:
        decimal: Literal[".", ","] = "." if body.rfind(".") > body.rfind(",") else ","
        return TELLING[decimal] if GROUPED[decimal].fullmatch(text) else "other"
    mark = "." if points else ","
    if points + commas == 0:
        return "whole"
    if points + commas > 1:
        return TELLING[OTHER[mark]] if GROUPS[mark].fullmatch(body) else "other"
    if GROUPS[mark].fullmatch(body):
        return "point_or_thousands" if points else "comma_or_thousands"
    return TELLING[mark]


def read_number(text: str, *, decimal: Mark) -> float:
    """A finite number within float32, of a column with this decimal mark. Raises ``CellError``."""
    if not text:
        raise CellError("missing_value", "empty, expected a number")
    if not isinstance(text, str):  # of a format of somebody's own
        raise CellError("not_text", f"got {type(text).__name__} {text!r}, expected the cell as text")
    plain = text if decimal != "," and "," not in text and text.count(".") < 2 else _plain(text, decimal)
    try:
        value = float(plain)
    except ValueError as exc:
        raise CellError("not_a_number", f"got {text[:60]!r}, expected a number") from exc
    if "_" in text or not text.isascii():  # as Python reads them: 1_000, digits of every script
        raise CellError("not_a_number", f"got {text[:60]!r}, expected a number")
    if not math.isfinite(value):
        raise CellError("non_finite", f"got {text[:60]}, expected a finite number")
    if abs(value) > LARGEST:
        raise CellError("overflow", f"got {text[:60]}, expected at most {LARGEST:.4g} in size")
    return value


def _plain(text: str, decimal: Mark) -> str:
    """As `float` takes it. Raises ``CellError`` for one that is written with the other mark."""
    if decimal == "," and "." not in text and text.count(",") == 1:
        return text.replace(",", ".")
    if GROUPED["," if decimal == "," else "."].fullmatch(text):
        return text.replace(".", "").replace(",", ".") if decimal == "," else text.replace(",", "")
    if shape_of(text) in ("point", "comma"):
        raise _other_mark(text, decimal)
    return text


def _other_mark(text: str, decimal: Mark) -> CellError:
    return CellError(
        "other_decimal_mark",
        f"got {text[:60]!r}, expected a number with the decimal mark {decimal or '.'!r}, as the column has",
    )


@dataclass
class Seen:
    """The shapes of a column's cells: how many, and the first of each with its place."""

    counts: dict[Shape, int] = field(default_factory=dict)
    first: dict[Shape, tuple[str, str]] = field(default_factory=dict)  # place, text

    def add(self, where: str, text: str) -> None:
        """One cell."""
        shape = shape_of(text)
        self.counts[shape] = self.counts.get(shape, 0) + 1
        self.first.setdefault(shape, (where, text[:60]))

    def share_of(self, decimal: Literal[".", ","]) -> float:
        """Of the cells that tell a decimal mark, those that tell this one; NaN where none tells."""
        ours, theirs = self._telling(decimal)
        return ours / (ours + theirs) if ours + theirs else float("nan")

    def says(self, decimal: Literal[".", ","]) -> bool:
        """Whether the cells that tell a decimal mark say this one by majority, and more than one cell may have it."""
        ours, theirs = self._telling(decimal)
        return ours > theirs and ours + self.counts.get(EITHER[decimal], 0) > 1

    def _telling(self, decimal: Literal[".", ","]) -> tuple[int, int]:
        """How many cells tell this mark, and how many the other."""
        return self.counts.get(TELLING[decimal], 0), self.counts.get(TELLING[OTHER[decimal]], 0)


def look(cells: Iterable[tuple[str, Mapping[str, str]]], columns: Iterable[str]) -> dict[str, Seen]:
    """What the columns look like over (place, cells by column)."""
    seen = {name: Seen() for name in columns}
    for where, values in cells:
        for name, one in seen.items():
            text = values.get(name)
            if text and isinstance(text, str):
                one.add(where, text)
    return seen


def decide(seen: Mapping[str, Seen], *, known: Mapping[str, Mark] | None = None) -> dict[str, Mark]:
    """The decimal mark of each column, beside those that are `known` of other columns. Raises ``DataError`` for one
    that is ambiguous, with both readings, and for one whose cells tell both."""
    found = {name: _decimal_of(name, one) for name, one in seen.items()}
    beside = column_with_commas({**(known or {}), **found})
    for name, one in seen.items():
        if found[name] == "" and "point_or_thousands" in one.first:
            _refuse_points_beside(beside, name, one)
            found[name] = "."
    return found


def column_with_commas(marks: Mapping[str, Mark]) -> str | None:
    """The first column that has decimal commas."""
    return next((name for name, mark in marks.items() if mark == ","), None)


def _refuse_points_beside(with_commas: str | None, name: str, one: Seen) -> None:
    """A point cannot be taken for the decimal mark where another column has the comma. Raises ``DataError``."""
    if with_commas is not None:
        raise ambiguous(name, *one.first["point_or_thousands"], why=f"column {with_commas!r} has decimal commas")


def _decimal_of(name: str, one: Seen) -> Mark:
    for mark in (".", ","):
        decimal: Literal[".", ","] = "." if mark == "." else ","
        if one.share_of(decimal) >= 1 - TOLERATED:
            return decimal
    if TELLING["."] in one.first:
        raise differs(name, one, "both decimal points and decimal commas")
    if "comma_or_thousands" in one.first:
        raise ambiguous(name, *one.first["comma_or_thousands"])
    return ""


def check_file(name: str, one: Seen, decimal: Mark, *, beside: str | None = None) -> None:
    """Hold what a file has in a column against the column's decimal mark; `beside`: a column with decimal commas.

    Raises ``DataError`` for a file whose telling cells say the other mark by majority (a single cell is no file in
    another notation: it is set aside), and, where nothing is known of the column, for cells that could be either.
    """
    if decimal == "":
        if "comma" in one.first:
            raise differs(name, one, "whole numbers, as everywhere before")
        if "comma_or_thousands" in one.first and "point" not in one.first:
            raise ambiguous(name, *one.first["comma_or_thousands"])
        if "point_or_thousands" in one.first and "point" not in one.first:
            _refuse_points_beside(beside, name, one)
    elif one.says(OTHER[decimal]):
        raise differs(name, one, f"the decimal mark {decimal!r}, as at the first delivery or as declared")


def ambiguous(name: str, where: str, text: str, *, why: str = "") -> DataError:
    """Both readings of a cell, and what to declare."""
    mark = "," if "," in text else "."
    decimal = text.replace(mark, ".")
    whole = text.replace(mark, "")
    return DataError(
        f"{where}: column {name!r}: {text!r} is {decimal} where {mark!r} is the decimal mark and {whole} where it "
        f"parts thousands, and no other cell of the column tells{f' ({why})' if why else ''}; "
        f"declare source.decimal: {{{name}: {mark!r}}} for the first, {{{name}: {OTHER[mark]!r}}} for the second"
    )


def differs(name: str, one: Seen, expected: str) -> DataError:
    """A file, or a delivery, whose numbers are written otherwise than the column's."""
    told = [one.first[shape] for shape in TELLING.values() if shape in one.first]
    got = ", ".join(f"{text!r} ({where})" for where, text in told)
    return DataError(
        f"{told[-1][0]}: column {name!r}: numbers in two notations: got {got}, expected {expected}; deliver it in one "
        f"notation, or declare source.decimal: {{{name}: '.'}} or {{{name}: ','}}"
    )
