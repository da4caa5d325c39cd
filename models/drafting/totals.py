"""Rows below a table that sum up those above, as reports end: they are read like any other."""

from __future__ import annotations

import re

import pyarrow as pa
from mlratchet.models.schema.notation import WHERE

TOTAL = re.compile(r"(?i)(grand |sub ?)?totals?:?|summen?:?|gesamt(summe)?:?|insgesamt:?|total g[ée]n[ée]ral:?")
LAST = 5  # rows that are looked at


def totals_below(table: pa.Table) -> list[str]:
    """Where there are some, and what to do: as notes."""
    for row in table.slice(max(0, len(table) - LAST)).to_pylist():
        first = next((str(one).strip() for name, one in row.items() if name != WHERE and one not in (None, "")), "")
        if TOTAL.fullmatch(first):
            words = f"looks like a total ({first!r}), and is read like any other row: delete it there"
            return [f"{row[WHERE]} {words}"]
    return []
