"""Digests of many rows at once are those of one row after the other: they are identities."""

from __future__ import annotations

import pyarrow as pa
import pytest
from mlratchet.models.sources.raw_cells import cells_digest, cells_digests, json_of_text

CELLS = {
    "plain": ["a", "", "1.50", "x,y"],
    "quoted": ['say "hi"', "back\\slash", "tab\t", "\x01"],
    "näme": ["ü", "日本", "\x7f", "\u2028"],
}


@pytest.mark.parametrize("names", [("plain",), ("quoted", "plain", "gone"), ("näme", "quoted"), (), ("gone",)])
def test_rows_have_the_digests_that_each_has_alone(names: tuple[str, ...]) -> None:
    columns = {name: pa.array(cells) for name, cells in CELLS.items()}
    alone = [cells_digest({name: cells[row] for name, cells in CELLS.items()}, names) for row in range(4)]
    told = {name: json_of_text(cells) for name, cells in columns.items()}
    assert cells_digests(told, names, 4) == alone
    assert cells_digests({name: one.slice(1, 2) for name, one in told.items()}, names, 2) == alone[1:3]
