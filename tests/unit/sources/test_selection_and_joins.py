"""A source selects objects and rows by what it declares, and joins formats by id; nothing is evaluated as code."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.sources import partners
from mlratchet.models.sources.expressions import ExpressionError, parse_condition
from mlratchet.models.sources.formats import read_examples, read_tables, references_of
from mlratchet.models.sources.pieces import RawPiece
from mlratchet.models.sources.ranged import opening_whole
from mlratchet.models.sources.record import Example, Reject
from pyarrow import parquet as pq

from tests.unit.sources.sources import Delivery, codes, reader
from tests.unit.sources.test_formats import PICTURES, TABLE, png, read, spec_of

ROWS = pa.table(
    {
        "age": ["17", "18", " 40 ", "", "x"],
        "land": ["DE", "FR", "DE", "", "it's"],
        "n": pa.array([1, 2, None, 4, 5], pa.int64()),
        "ok": pa.array([True, False, None, True, False]),
        "day": pa.array([None, *map(pa.scalar, [0] * 0), None, None, None, None], pa.timestamp("us")),
        "the name": ["a", "b", "c", "d", "e"],
    }
)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("age >= 18", [1, 2]),
        ("age < 18.5 or land = 'DE'", [0, 1, 2]),
        ("land in ('FR', 'it''s')", [1, 4]),
        ("land not in ('FR')", [0, 2, 4]),
        ("not (age >= 18) and land == 'DE'", [0]),
        ("land is empty", [3]),
        ("land is not empty and n > 1", [1, 4]),
        ("n = 2 or ok = true", [0, 1, 3]),
        ("n != 2", [0, 3, 4]),
        ("`the name` >= 'd'", [3, 4]),
        ("age > n", [0, 1]),
        ("age = 1e2", []),
        ("day is empty", [0, 1, 2, 3, 4]),
    ],
)
def test_a_condition_chooses_the_rows_for_which_it_is_true(text: str, rows: list[int]) -> None:
    table = ROWS.append_column("row", pa.array(range(5)))
    assert parse_condition(text).chosen(table)["row"].to_pylist() == rows


@pytest.mark.parametrize(
    "text",
    [
        "", "age", "age >", "age > >", "(age > 1", "age > 1)", "age ~ 1", "__import__('os')", "age > 1; drop", "1 = 1",
        "a.b().c = 1", "age in ()", "age is null", "age > 1 and", "'x' = age", "a = 1 b = 2", "f(a) = 1", "a = [1]",
        "not " * 100 + "a = 1", "a = 1 or " * 1000 + "a = 1", "a = 'open",
    ],
)  # fmt: skip
def test_what_the_grammar_does_not_know_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"got .*expected|expected at most|brackets in brackets"):
        parse_condition(text)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab1'`()<>=!,. andortinsemply", max_size=40))
def test_any_text_is_a_condition_or_refused_in_words(text: str) -> None:
    try:
        parse_condition(text)
    except ExpressionError as error:
        assert str(error)  # noqa: PT017 - most texts raise, some do not


@pytest.mark.parametrize("cell", ["16,26", "1.234,50", "1,234.50", "1,234", "-5,"])
def test_numbers_with_commas_are_not_left_out_in_silence(cell: str) -> None:
    table = pa.table({"price": ["17", cell, None, "words, and more"]})
    for text in ("price > 10", "price in (1, 2)", "n < price"):
        with pytest.raises(DataError, match=f"column 'price' has numbers with commas, as '{cell}'"):
            parse_condition(text).chosen(table.append_column("n", pa.array([1, 2, 3, 4])))
    assert parse_condition("price > '17'").chosen(table).num_rows == 1


def test_numbers_with_commas_in_rows_that_another_part_decides_stop_nothing() -> None:
    table = pa.table({"country": ["US", "DE", None, "US"], "price": ["7.5", "16,26", "1", "3"]})
    assert parse_condition("country = 'US' and price > 5").chosen(table)["price"].to_pylist() == ["7.5"]
    assert parse_condition("not (country = 'DE' or price < 5)").chosen(table)["price"].to_pylist() == ["7.5"]
    for text in (
        "price > 5 and country = 'US'",
        "country != 'x' and price > 5",
        "country = 'US' or price > 5",
    ):
        with pytest.raises(DataError, match="'16,26'"):
            parse_condition(text).chosen(table)


def test_a_pipeline_file_with_a_bad_condition_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"source.*expected 'and', 'or' or the end"):
        spec_of(TABLE, "select: {rows: 'a > 1 b'}")
    assert spec_of(TABLE, "select: {rows: 'a > 1', since: 2026-01-01, below: [x/]}").source.select is not None


FILES = {
    f"{shop}/2026-0{month}-01.csv": f"a,b,label\n{month},1,yes\n9,x,no\n".encode()
    for shop in "xy"
    for month in (1, 2, 3)
}


def selected(files: dict[str, bytes], **select: Any) -> tuple[list[str], list[Reject], int]:
    delivery = Delivery(files)
    found = list(read_tables(reader("csv", select=select), delivery.objects(), opening_whole(delivery.fetch), ["b"]))
    pieces = [one for one in found if isinstance(one, RawPiece)]
    examples = list(read_examples(reader("csv", select=select), delivery.objects(), delivery.fetch))
    where = [where for piece in pieces for where in piece.table["@where"].to_pylist()]
    assert where == [one.where for one in examples if isinstance(one, Example)]
    rejects = [one for one in found if isinstance(one, Reject)]
    return where, rejects, sum(piece.left_out for piece in pieces)


def test_objects_are_selected_by_folder_and_date_and_rows_by_a_condition() -> None:
    where, rejects, left_out = selected(FILES, below=["x/"], since="2026-02-01", until="2026-03-01", rows="a < 9")
    assert (where, rejects, left_out) == (["x/2026-02-01.csv:2"], [], 1)
    assert len(selected(FILES)[0]) == 12
    with pytest.raises(DataError, match=r"leaves out all 6 objects"):
        selected(FILES, below=["z/"])
    with pytest.raises(DataError, match=r"old\.csv: no date in its name"):
        selected({"old.csv": b"a,b\n1,2\n"}, since="2026-01-01")
    with pytest.raises(DataError, match=r"column 'c'"):
        selected(FILES, rows="c = 1")
    records, _ = read(TABLE, "select: {rows: 'a < 3'}", FILES)
    assert sorted(one.x[0] for one in records) == [1.0, 1.0, 2.0, 2.0]


TABLES = {"format": "csv", "below": "tables/"}
JOIN = {
    "tables/a.csv": b"id,site,label\n1,n,cat\n2,s,dog\n2,s,dog\n4,n,cat\n",
    "photos/1.png": png(10), "photos/x/2.png": png(20), "photos/3.png": png(30), "photos/5.png": b"no picture",
}  # fmt: skip
PARTS = [{"below": "photos/", "format": "image_folder"}, TABLES]


def test_a_table_is_joined_to_pictures_by_the_names_of_their_files() -> None:
    files = {key.replace("photos/", "photos/all/"): data for key, data in JOIN.items()}
    delivery = Delivery(files)
    rows, rejects = delivery.rows("joined", parts=PARTS)
    assert [(row["id"], row["site"], row["label"], row["@where"]) for row in rows] == []
    assert {one.code for one in rejects} >= {"contradiction"}  # the folder says `all`, the table cat or dog
    parts = [TABLES, {"below": "photos/", "format": "image_folder"}]
    assert {one.code for one in delivery.rows("joined", parts=parts)[1]} == {"contradiction", "no_partner"}


def test_what_was_joined_is_read_by_today_s_pictures_and_what_has_no_partner_is_set_aside() -> None:
    files = {
        "tables/a.csv": b"id,site\n1,n\n2,s\n2,s\n4,n\n", "photos/cat/1.png": png(10), "photos/dog/2.png": png(20),
        "photos/cat/3.png": png(30), "photos/cat/5.png": b"no picture", "photos/6.png": png(1),
    }  # fmt: skip
    delivery = Delivery(files)
    rows, rejects = delivery.rows("joined", parts=PARTS)
    assert [(row["id"], row["site"], row["label"], row["picture"], row["@where"]) for row in rows] == [
        ("1", "n", "cat", png(10), "photos/cat/1.png"), ("2", "s", "dog", png(20), "photos/dog/2.png"),
    ]  # fmt: skip
    expected = [
        ("photos/6.png", "no_class"), ("photos/cat/3.png", "no_partner"), ("photos/cat/5.png", "not_an_image"),
        ("tables/a.csv:4", "duplicate_id"), ("tables/a.csv:5", "no_partner"),
    ]  # fmt: skip
    assert sorted(codes(rejects)) == expected
    words = "format: joined, parts: [{below: photos/, format: image_folder}, {below: tables/, format: csv}]"
    records, rejects = read(PICTURES, words, files)
    assert [(one.id, one.y, one.columns["site"]) for one in records] == [("1", 0, "n"), ("2", 1, "s")]
    assert len(rejects) == len(expected)
    kept, _ = delivery.examples("joined", parts=PARTS, alone="keep")
    assert [(one.id, one.values.get("site")) for one in kept] == [("1", "n"), ("3", None), ("5", None), ("2", "s")]


@pytest.mark.parametrize("alone", ["set_aside", "keep"])
@pytest.mark.parametrize("by_rows", [True, False])
@pytest.mark.parametrize("held_bytes", [0, 100_000])
def test_parts_that_do_not_fit_into_memory_are_joined_as_those_that_do(
    monkeypatch: pytest.MonkeyPatch, alone: str, by_rows: bool, held_bytes: int
) -> None:
    rng = np.random.default_rng(2)
    names = [f"k{number:04d}" for number in rng.permutation(2000)]
    first = [f"{'' if number % 97 == 0 else names[number]},{number}" for number in range(1500)]
    ages = [f'{name},{number},"a,""{name}"' for number, name in enumerate(names[300:]) if number % 7]
    places = [f"{name},{number},{number // 3}" for number, name in enumerate(names) if number % 11]
    files = {
        "a/1.csv": "\n".join(["id,n", *first[:700]]).encode(), "a/2.csv": "\n".join(["id,n", *first[700:]]).encode(),
        "b/1.csv": "\n".join(["id,age,word", *ages, *ages[::50]]).encode(),
        "c/1.csv": "\n".join(["id,spot,third", *places, *places[::60]]).encode(),
    }  # fmt: skip
    parts = [{"below": f"{name}/", "format": "csv"} for name in "abc"]

    def joined() -> tuple[list[Any], list[Any]]:
        delivery = Delivery(files)
        rows, rejects = (delivery.examples if by_rows else delivery.rows)("joined", parts=parts, alone=alone)
        return list(rows), sorted(rejects, key=lambda one: (one.where, one.code))

    expected = joined()
    monkeypatch.setattr(partners, "HELD_BYTES", held_bytes)
    opened: list[object] = []
    made = partners._Disk
    monkeypatch.setattr(partners, "_Disk", lambda: opened.append(1) or made())
    assert joined() == expected
    assert opened
    assert {one.code for one in expected[1]} == {"missing_id", "duplicate_id", "no_partner"}
    assert len(expected[0]) > 900


def test_tables_are_joined_by_a_column_each() -> None:
    files = {"r/u.data": b"1\t7\t3\t1\n2\t8\t4\t1\n", "people/p.csv": b"user_id;age\n1;24\n2;30\n"}
    parts = [
        {"below": "r/", "format": "ratings", "id": "user"},
        {"below": "people/", "format": "csv", "id": "user_id", "delimiter": ";"},
    ]
    rows, rejects = Delivery(files).rows("joined", parts=parts, by="user")
    assert rejects == []
    assert [(row["user"], row["item"], row["age"]) for row in rows] == [("1", "7", "24"), ("2", "8", "30")]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([TABLES], "two or more parts"),
        ([TABLES, {"below": "x/", "format": "csw"}], "unknown format 'csw'; did you mean 'csv'"),
        ([TABLES, {"below": "x/", "format": "joined"}], "unknown format 'joined'"),
        ([TABLES, {"below": "x/", "format": "csv", "delimeter": ";"}], "did you mean 'delimiter'"),
    ],
)
def test_parts_are_held_against_their_formats(parts: list[Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Delivery(JOIN).rows("joined", parts=parts)


def test_every_format_of_a_join_decides_its_rows() -> None:
    source = reader("joined", parts=PARTS).options
    assert references_of(source) == (
        "mlratchet.models.sources.joined:Joined",
        "mlratchet.models.sources.image_folder:ImageFolder",
        "mlratchet.models.sources.csv:Csv",
    )


def test_a_condition_on_a_column_that_nobody_else_needs_is_read() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1.0, 2.0], "b": [1.0, 1.0], "site": ["n", "s"], "label": ["yes", "no"]}), sink)
    source = "format: parquet, slice_columns: [], select: {rows: \"site = 's'\"}"
    records, _ = read(TABLE, source, {"t.parquet": sink.getvalue()})
    assert [one.x[0] for one in records] == [2.0]


def test_a_join_as_a_pipeline_file_says_it() -> None:
    parts = "parts: [{below: photos/, format: image_folder}, {below: tables/, format: csv, delimiter: ';'}]"
    source = spec_of(PICTURES, f"format: joined, by: id, {parts}").source
    assert references_of(source)[1:] == (
        "mlratchet.models.sources.image_folder:ImageFolder",
        "mlratchet.models.sources.csv:Csv",
    )
    again = type(source).model_validate_json(source.model_dump_json())
    assert again == source
