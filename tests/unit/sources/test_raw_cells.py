"""Digests of many rows at once are those of one row after the other: they are identities."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from mlratchet.models.schema.cell_bytes import holds_any
from mlratchet.models.sources.raw_cells import ESCAPED, cells_digest, cells_digests, json_of_text, within_json

CELLS = {
    "plain": ["a", "", "1.50", "x,y"],
    "quoted": ['say "hi"', "back\\slash", "tab\t", "\x01"],
    "näme": ["ü", "日本", "\x7f", "\u2028"],
}


@pytest.mark.parametrize("names", [("plain",), ("quoted", "plain", "gone"), ("näme", "quoted"), (), ("gone",)])
def test_rows_have_the_digests_that_each_has_alone(names: tuple[str, ...]) -> None:
    columns = {name: pa.array(cells) for name, cells in CELLS.items()}
    alone = [cells_digest({name: cells[row] for name, cells in CELLS.items()}, names) for row in range(4)]
    told = {name: within_json(cells) for name, cells in columns.items()}
    assert cells_digests(told, names, 4).to_pylist() == alone
    assert cells_digests({name: one.slice(1, 2) for name, one in told.items()}, names, 2).to_pylist() == alone[1:3]


@pytest.mark.parametrize(
    "cells", [[], ["plain", "12.5"], ["a", 'say "x"'], ["tab\there"], [None, "b\\c"], ["ü", "日本"]]
)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_cells_hold_what_json_escapes_as_a_pattern_finds_it(cells: list[str | None], kind: pa.DataType) -> None:
    whole = pa.array(["\x00before", *cells, "behind\x1f"], kind)
    found = whole.slice(1, len(cells))
    expected = any(one in (cell or "") for cell in cells for one in '"\\\t')
    assert holds_any(found, ESCAPED) is expected
    told = json_of_text(found.cast(pa.string())).to_pylist()
    assert told == [None if cell is None else json.dumps(cell, ensure_ascii=False) for cell in cells]
