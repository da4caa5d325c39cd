"""A planted fault in a table, in every dress of one: a row is set aside with file, row, field, rule, value and reason,
and no other; what is wrong with the table as a whole is told with its file.
"""

from __future__ import annotations

import gzip
import io
from typing import Any

import pyarrow.parquet as pq
import pytest
from mlratchet.models.errors import DataError

from tests.unit.sources.planted.reading import COUNT, PLACE, read
from tests.unit.sources.planted.tables import TABLE, TABLES, csv_text, row, zst

CELLS: dict[str, tuple[str, Any, str, str | None]] = {  # fault -> column, cell, rule, value that is told
    "nothing given": ("a", None, "missing_value", ""),
    "declared as not given": ("word", "NA", "missing_value", "NA"),
    "no number": ("a", "abc", "not_a_number", "abc"),
    "overflow": ("a", 1e300, "overflow", "1e+300"),
    "too small": ("a", -3.0, "below_minimum", "-3.0"),
    "too large": ("a", 101.0, "above_maximum", "101.0"),
    "a fraction": ("n", 2.5, "not_whole", "2.5"),
    "a strange word": ("word", "green", "unknown_value", "green"),
    "no time": ("day", "31.31.2026", "not_a_time", "31.31.2026"),
    "a day that is not": ("day", "2026-02-30", "not_a_time", "2026-02-30"),
    "a strange letter": ("dna", "ACX", "strange_letter", "ACX"),
    "no label": ("y", None, "missing_label", ""),
    "a strange label": ("y", "maybe", "unknown_label", "maybe"),
    "no id": ("k", None, "missing_id", ""),
    "no group": ("g", None, "missing_group", ""),
    "an id twice": ("k", "k0", "duplicate_id", None),
}


@pytest.mark.parametrize("fault", CELLS)
@pytest.mark.parametrize("dress", TABLES)
def test_a_fault_in_a_cell_sets_its_row_aside_in_every_dress_of_a_table(dress: str, fault: str) -> None:
    file, source, write = TABLES[dress]
    name, cell, rule, value = CELLS[fault]
    rows = [row(number) for number in range(COUNT)]
    rows[PLACE][name] = cell
    records, rejects = read({file: write(rows)}, TABLE, source)
    (one,) = rejects
    assert len(records) == COUNT - 1
    assert one.code == rule
    assert one.where.startswith(f"{file}:")
    assert one.records == 1
    if value is not None:
        assert (one.field, one.value) == (name, value)
        assert name in one.reason
    line = 2 + PLACE * 2 if "csv" in dress or dress == "tsv" else PLACE + 1  # a note spans two lines
    assert one.where == f"{file}:{line}"


@pytest.mark.parametrize("dress", TABLES)
def test_numbers_that_are_none_are_set_aside_in_every_dress_of_a_table(dress: str) -> None:
    file, source, write = TABLES[dress]
    for cell in (float("nan"), float("inf")):
        rows = [row(number) for number in range(COUNT)]
        rows[PLACE]["a"] = cell
        records, (one,) = read({file: write(rows)}, TABLE, source)
        assert len(records) == COUNT - 1
        assert one.code == ("bad_json" if dress.startswith("jsonl") else "non_finite")


@pytest.mark.parametrize("dress", TABLES)
def test_a_column_that_is_gone_or_renamed_is_told_with_its_file(dress: str) -> None:
    file, source, write = TABLES[dress]
    rows = [{("wrod" if name == "word" else name): cell for name, cell in row(n).items()} for n in range(COUNT)]
    with pytest.raises(DataError, match=r"^t\.\S+: column 'word' is missing; got .*'wrod'"):
        read({file: write(rows)}, TABLE, source)


@pytest.mark.parametrize("dress", TABLES)
def test_a_table_without_a_row_is_an_empty_dataset(dress: str) -> None:
    file, source, write = TABLES[dress]
    head = gzip.compress(b"") if dress == "jsonl.gz" else b""
    if dress == "parquet":
        sink = io.BytesIO()
        pq.write_table(pq.read_table(io.BytesIO(write([row(0)]))).slice(0, 0), sink)
        head = sink.getvalue()
    elif not dress.startswith("jsonl"):
        head = _only_head(dress)
    with pytest.raises(DataError, match="empty dataset: 0 records can be used"):
        read({file: head}, TABLE, source)


def _only_head(dress: str) -> bytes:
    text = csv_text([row(0)]).split("\n", 1)[0] + "\n"
    if dress == "tsv":
        return text.replace(",", "\t").encode()
    encoded = text.encode(
        {"csv utf-16": "utf-16", "csv latin-1": "latin-1", "csv with a mark": "utf-8-sig"}.get(dress, "utf-8")
    )
    return {"csv.gz": gzip.compress, "csv.zst": zst}.get(dress, bytes)(encoded)
