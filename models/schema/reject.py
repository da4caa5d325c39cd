"""A raw record that is set aside, and where in a file it stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Reject:
    """A raw record that cannot be used."""

    where: str  # file or file:row
    code: str  # the rule, a short stable word, e.g. `truncated_image`
    reason: str  # got / expected
    records: int = 1  # that are lost with it: of a file that cannot be read, its rows
    field: str = ""  # the column that is at fault; empty: the record as a whole
    value: str = ""  # what stands there, cut to 60 characters


def place_of(where: str) -> tuple[str, int | None]:
    """File and row of ``file:row``; no row where only the file is named."""
    file, colon, row = where.rpartition(":")
    return (file, int(row)) if colon and row.isascii() and row.isdigit() else (where, None)
