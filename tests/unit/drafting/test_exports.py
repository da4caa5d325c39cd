"""`ratchet init` of what systems export: what it makes of the table, or the next step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlratchet.models.drafting.delivery import look_at
from mlratchet.models.drafting.draft import draft
from mlratchet.models.errors import DataError
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.schema.fields import Field

ROWS = 60
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=ROWS).tolist()
Y = RANDOM.choice(["ja", "nein"], ROWS).tolist()


def fields_of(file: Path) -> dict[str, Field]:
    """As they are proposed."""
    schema = parse_pipeline(draft([file]).text, where="test").example_schema
    assert schema is not None
    return schema.fields


def parquet(file: Path, **columns: Any) -> Path:
    pq.write_table(pa.table({"x": X, **columns, "y": Y}), file)
    return file


def test_lists_of_words_are_left_out_and_lists_of_numbers_have_their_shape(tmp_path: Path) -> None:
    told = draft([parquet(tmp_path / "a.parquet", tags=[["a", "b"]] * ROWS, picture=[[[1, 2, 3], [4, 5, 6]]] * ROWS)])
    fields = parse_pipeline(told.text, where="test").example_schema.fields  # type: ignore[union-attr]
    assert {name: one.kind for name, one in fields.items()} == {"x": "number", "picture": "tensor", "y": "category"}
    assert fields["picture"].shape == (2, 3)
    assert any("'tags' is no field: column 'tags': its type is list" in note for note in told.notes)


def test_a_column_of_numbers_in_one_file_and_words_in_another_is_text(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", code=list(range(ROWS)), level=[1.5] * ROWS)
    parquet(tmp_path / "b.parquet", code=[f"c{n}" for n in range(ROWS)], level=["low"] * ROWS)
    table = look_at([tmp_path]).table
    assert table["code"].to_pylist()[58:62] == ["58", "59", "c0", "c1"]
    assert set(table["level"].to_pylist()) == {"1.5", "low"}
    parquet(tmp_path / "c.parquet", code=[[1]] * ROWS, level=[1.0] * ROWS)
    with pytest.raises(DataError, match="column 'code': its type is list"):
        look_at([tmp_path])
    parquet(tmp_path / "b.parquet", code=[[1.0]] * ROWS, level=[1.0] * ROWS)
    with pytest.raises(DataError, match=r"c.parquet: a column has another type .*; write it in one"):
        look_at([tmp_path])


def test_a_name_that_is_a_word_in_a_later_piece_of_a_file_is_text(tmp_path: Path) -> None:
    lines = [{"a": n if n < 220 else f"c{n}", "t": "x" * 20_000} for n in range(230)]  # a piece has 4 MB
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert look_at([tmp_path]).table["a"].to_pylist()[219:221] == ["219", "c220"]
