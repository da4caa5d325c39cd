"""A table without names is not learnt from as if its first row were names."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlratchet.models.drafting import text_tables
from mlratchet.models.drafting.delivery import look_at
from mlratchet.models.drafting.draft import draft
from mlratchet.models.drafting.header import looks_like_a_row
from mlratchet.models.drafting.text_tables import Written
from mlratchet.models.errors import DataError
from mlratchet.models.pipeline.loading import parse_pipeline

NUMBERS = ["1.5", "2", "3.25", "-4"]
WORDS = ["A", "B", "A", "B"]
TEXTS = ["a long story", "another one", "a third", "the last"]


@pytest.mark.parametrize(
    ("names", "columns", "row"),
    [
        (["0.126", "3", "B"], [NUMBERS, NUMBERS, WORDS], True),
        (["A", "B"], [WORDS, WORDS], True),
        (["a tale", "1"], [TEXTS, NUMBERS], True),
        (["country", "2019", "2020"], [TEXTS, NUMBERS, NUMBERS], True),  # nobody can tell: both are shown
        (["size", "label"], [NUMBERS, WORDS], False),
        (["1", "size"], [NUMBERS, NUMBERS], False),
        (["text", "class"], [TEXTS, WORDS], False),
        (["0", "1", "2"], [NUMBERS] * 3, False),  # a frame without names, written
        (["", "0", "1", "label"], [NUMBERS] * 3 + [WORDS], False),
        (["1", "2"], [NUMBERS] * 2, False),
        (["a", "b"], [[], []], False),
    ],
)
def test_a_first_line_is_names_or_a_row(names: list[str], columns: list[list[str]], row: bool) -> None:
    assert bool(looks_like_a_row(names, columns)) is row


def headless(folder: Path, mark: bytes = b"") -> Path:
    file = folder / "iris.data"
    rows = [f"{4 + i % 9 / 3:.1f}, {2 + i % 5 / 2:.1f}, {'setosa' if i % 3 else 'virginica'}" for i in range(120)]
    file.write_bytes(mark + "\n".join(rows).encode() + b"\n\n")
    return file


def test_both_readings_are_shown_and_one_is_asked_for(tmp_path: Path) -> None:
    file = headless(tmp_path)
    with pytest.raises(DataError, match=r"iris.data:1: its first line looks like a row.*--header NAME.*\(3 names\)"):
        draft([file])
    first = look_at([file], written=Written(header=[])).table
    assert first.column_names[:3] == ["4.0", "2.0", "virginica"]
    assert len(first) == 119


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_names_stand_in_the_file_and_every_row_counts(tmp_path: Path, mark: bytes) -> None:
    drafted = draft([headless(tmp_path, mark)], written=Written(header=["length", "width", "kind"]))
    spec = parse_pipeline(drafted.text, where="iris.yaml")
    assert spec.source.header == ("length", "width", "kind")  # type: ignore[attr-defined]
    assert spec.example_schema is not None
    assert spec.example_schema.label == "kind"
    assert "120 rows" in drafted.text


@pytest.mark.parametrize(("encoding", "mark"), [("utf-16-le", "\ufeff"), ("utf-16-be", "\ufeff"), ("utf-16-le", "")])
@pytest.mark.parametrize("most", [400, 401, 402, 403, 404, 405, 406])
def test_a_large_file_of_any_encoding_is_cut_between_two_rows(
    encoding: str, mark: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_tables, "SAMPLE_BYTES", most)
    file = tmp_path / "t.csv"
    lines = ["name,kind", *(f"{n}\u0a0a\U0001f600,{n % 3}" for n in range(100))]
    file.write_bytes((mark + "\n".join(lines)).encode(encoding))
    found = look_at([file], written=Written(encoding=None if mark else encoding))  # type: ignore[arg-type]
    assert (found.whole, found.unreadable) == (False, ())
    assert found.table["name"].to_pylist() == [f"{n}\u0a0a\U0001f600" for n in range(len(found.table))]
    assert len(found.table) > 10


def test_names_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its rows have 3 cells, and --header names 2 columns"):
        draft([headless(tmp_path)], written=Written(header=["length", "width"]))
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(DataError, match=r"rows\.jsonl is no delimited text"):
        draft([tmp_path / "rows.jsonl"], written=Written(header=["a"]))
