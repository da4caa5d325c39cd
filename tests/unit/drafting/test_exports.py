"""`ratchet init` of what systems export: what it makes of the table, or the next step."""

from __future__ import annotations

import gzip
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
from pyarrow import csv

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


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.xlsx", "a.xlsx: save each sheet as CSV UTF-8"),
        ("a.RDS", "a.RDS: it can run code when it is read: write what it holds as CSV"),
        ("a.zip", "a.zip: unpack it"),
        ("a.mp3", "a.mp3: write it as WAV, FLAC or OGG"),
        ("a.docx", r"\.fq$"),
    ],
)
def test_a_kind_of_file_that_is_not_read_has_a_next_step(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=words):
        look_at([tmp_path / name])


def test_what_the_formats_read_is_looked_at_and_a_manifest_beside_other_files_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}\n{"a": 2}\n')
    assert look_at([tmp_path]).table["a"].to_pylist() == [1, 2]
    reads = "".join(f"@r{n} label={'ab'[n % 2]}\nACGT\n+\nIIII\n" for n in range(4))
    (tmp_path / "b.fastq.gz").write_bytes(gzip.compress(reads.encode()))
    found = look_at([tmp_path])  # the .json is what is known of them
    assert (found.kind, found.table["label"].to_pylist()) == ("letters", ["a", "b", "a", "b"])
    assert [one.name for one in found.others] == ["a.json"]
    assert not {"description", "quality"} & {*found.table.column_names}
    parquet(tmp_path / "c.pq")
    assert look_at([tmp_path / "c.pq"]).kind == "parquet"
    (tmp_path / "d.fa.gz").write_bytes(gzip.compress(b">a\nACGT\n")[:-9])
    with pytest.raises(DataError, match="cannot be unpacked as gzip"):
        look_at([tmp_path / "d.fa.gz"])


@pytest.mark.parametrize("text", ['[{"a": 1},\n {"a": 2}]\n', "[\n" + '  {"a": 1},\n' * 9 + "]\n"])
def test_an_array_of_objects_says_what_writes_them_on_lines(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a.json:1: .* expected .*; `jq -c '.\[\]' FILE` writes the objects"):
        draft([tmp_path / "a.json"])


def lines(*above: str, names: str, cells: str, below: str = "") -> str:
    rows = [cells.format(n=n, x=f"{x:.4f}", y=y) for n, (x, y) in enumerate(zip(X, Y, strict=True))]
    return "\n".join([*above, names, *rows, below])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (lines(names="x y", cells="{x} {y}"), "t.csv: has one column, 'x y'; no comma, semicolon, tab or"),
        (lines(names='"x" "y"', cells='{x} "{y}"'), "t.csv:1: .*; no comma, semicolon, tab or"),
        (lines(names="x,y", cells="row{n},{x},{y}"), "its first line has 2 cells, and 60 rows have 3, as line 2; name"),
        (
            lines("Report 12", "", names="a,x,y", cells="{n},{x},{y}"),
            "and 61 rows have 3, as line 3; delete what stands",
        ),
        (
            lines("Report 12,,", names="a,x,y", cells="{n},{x},{y}"),
            r"t.csv:1: columns 2, 3 have no name; name them, or delete the lines .* \(line 2 could be the names\)",
        ),
        (lines("a,Which?,,", ",A,B,C", names="1,,,C", cells="{n},{x},,{y}"), r"columns 3, 4 have no name; .* no rows$"),
    ],
)
def test_a_table_that_does_not_begin_with_its_names_has_a_next_step(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        draft([tmp_path / "t.csv"])


def test_a_total_below_the_rows_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(lines(names="town,x,y", cells="t{n},{x},{y}", below="Total,12.5,"))
    words = "t.csv:62 looks like a total ('Total'), and is read like any other row: delete it there"
    assert words in draft([tmp_path / "t.csv"]).notes


@pytest.mark.parametrize("label", ["0.5", "ja"])
def test_rows_without_a_label_are_told_and_allowed_for(tmp_path: Path, label: str) -> None:
    labels = ["NA" if n % 6 == 0 else (label if n % 2 else f"{n}.5" if label == "0.5" else "nein") for n in range(ROWS)]
    table = pa.table({"x": X, "z": X[::-1], "y": labels})
    csv.write_csv(table, tmp_path / "t.csv", csv.WriteOptions(quoting_style="none"))
    told = draft([tmp_path / "t.csv"])
    assert "10 of 60 rows lack the label or a column of the model, and are set aside" in told.notes
    spec = parse_pipeline(told.text, where="test")
    assert str(spec.workload.use).rpartition(":")[2].startswith("Table")
    allowed = next(one for one in spec.gates.data if getattr(one, "measure", "") == "rejected_fraction")
    assert 10 / 60 < allowed.maximum < 0.4  # type: ignore[attr-defined]  # of the kind that was asked for


@pytest.mark.parametrize("words", [False, True])
def test_a_table_that_tells_nothing_of_its_label_says_so(tmp_path: Path, words: bool) -> None:
    told = [n % 2 for n in range(ROWS)]
    table = pa.table({"x": [f"k{n // 2 % 3}" if words else float(n // 2) for n in range(ROWS)], "y": told})
    csv.write_csv(table, tmp_path / "t.csv", csv.WriteOptions(quoting_style="none"))
    nothing = [one for one in draft([tmp_path / "t.csv"]).notes if "a linear model learnt nothing (roc_auc 0." in one]
    assert len(nothing) == 1
    signs = ["+" if x > 0 else "-" for x in X]
    pq.write_table(pa.table({"x": X, "y": signs}), tmp_path / "t.parquet")
    assert not any("learnt nothing" in one for one in draft([tmp_path / "t.parquet"]).notes)


def test_numbers_of_16_bits_are_numbers(tmp_path: Path) -> None:
    half = pa.array(np.arange(ROWS, dtype=np.float16) / 4)
    assert fields_of(parquet(tmp_path / "a.parquet", half=half))["half"].kind == "number"


def test_columns_that_a_run_would_refuse_are_refused_at_once(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array(X), pa.array(X), pa.array(Y)], names=["x", "x", "y"])
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: column 'x' is there twice; rename one"):
        draft([tmp_path / "a.parquet"])
    with pytest.raises(DataError, match=r"b\.parquet: column '@where': names with @ are Ratchet's own; rename it"):
        draft([parquet(tmp_path / "b.parquet", **{"@where": X})])
    (tmp_path / "c.csv").write_text("@where,x,y\n" + "".join(f"p,{x},{y}\n" for x, y in zip(X, Y, strict=True)))
    with pytest.raises(DataError, match=r"c\.csv:1: column '@where': names with @ are Ratchet's own; rename it"):
        draft([tmp_path / "c.csv"])
    with pytest.raises(DataError, match=r"d\.parquet: column '(né){20}'\.\.\.: its name has 3,000 characters"):
        draft([parquet(tmp_path / "d.parquet", **{"né" * 1500: X})])


def test_a_label_that_most_rows_lack_gives_a_file_that_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("n,x,y\n" + "".join(f"{n},{n % 7 / 3},{'ab'[n % 2] if n < 50 else ''}\n" for n in range(300)))
    gates = parse_pipeline(draft([file]).text, where="test").gates.data
    assert [one.maximum for one in gates if one.measure == "rejected_fraction"] == [0.92]  # type: ignore[attr-defined]
