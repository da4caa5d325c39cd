"""Raw columns become typed ones; every row that breaks a rule is set aside once, with field, rule and value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from mlratchet.models.errors import DataError
from mlratchet.models.schema.fields import KINDS, Field, Schema
from mlratchet.models.schema.kinds import type_of
from mlratchet.models.schema.notation import Notation, See, seen_in
from mlratchet.models.schema.typing import typed, without_information


def raw(**columns: Any) -> pa.Table:
    arrays = {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    count = len(next(iter(arrays.values())))
    return pa.table({**arrays, "@where": pa.array([f"shop.csv:{row + 2}" for row in range(count)])})


def only(cells: Any, *, missing: tuple[str, ...] = (), notation: Notation | None = None, **options: Any) -> Any:
    """Values, and (row, rule) of what is set aside, of a table with one field and a number that is always there."""
    schema = Schema(fields={"a": Field(**options), "n": Field(kind="number")}, missing=missing)
    table, rejects = typed(raw(a=cells, n=["1"] * len(cells)), schema, notation)
    assert table.num_rows + len(rejects) == len(cells)
    assert table["a"].type == type_of(schema.fields["a"])
    return table["a"].to_pylist(), [(int(one.where.split(":")[1]) - 2, one.code) for one in rejects]


def test_the_shop_table_reads_as_it_is() -> None:
    shop = raw(
        **{
            "Bestellnr": ["B-1", "B-2", "B-3", "B-4"],
            "Bestelldatum": ["24.12.2026 18:00", "01.02.2026 09:30", "31.02.2026 09:30", "01.02.2026 09:31"],
            "Land": ["DE", "", "São Tomé", "DE"],
            "Preis (€)": ["16,26", "1.234,50", "3,00", "teuer"],
            "Alter": ["", "44", "45", "46"],
            "Retoure": ["ja", "nein", "ja", "ja"],
        }
    )
    schema = Schema(
        fields={
            "Bestelldatum": Field(kind="time"),
            "Land": Field(kind="category", nullable=True),
            "Preis (€)": Field(kind="number", minimum=0, unit="EUR"),
            "Alter": Field(kind="number", nullable=True, whole=True),
            "Retoure": Field(kind="category", values=("ja", "nein")),
        },
        label="Retoure",
        id="Bestellnr",
        time="Bestelldatum",
    )
    table, rejects = typed(shop, schema)
    assert table.column_names == ["Bestelldatum", "Land", "Preis (€)", "Alter", "@id", "@label", "@time", "@where"]
    assert table["Preis (€)"].to_pylist() == [16.26, 1234.5]
    assert table["Land"].to_pylist() == ["DE", None]
    assert table["Alter"].to_pylist() == [None, 44.0]
    assert table["@label"].to_pylist() == ["ja", "nein"]
    assert table["@time"][0].as_py().isoformat() == "2026-12-24T18:00:00+00:00"
    assert [(one.where, one.code, one.field, one.value) for one in rejects] == [
        ("shop.csv:4", "not_a_time", "Bestelldatum", "31.02.2026 09:30"),
        ("shop.csv:5", "not_a_number", "Preis (€)", "teuer"),
    ]
    assert rejects[1].reason == "shop.csv:5: column 'Preis (€)': got 'teuer', expected a number"
    assert seen_in(shop, schema).decimal["Preis (€)"] == ","


def test_numbers_keep_their_bounds() -> None:
    values, aside = only(["1", "0.5", "-1", "11", "", "x", "inf"], kind="number", minimum=0, maximum=10)
    assert values == [1, 0.5]
    assert aside == [
        (2, "below_minimum"),
        (3, "above_maximum"),
        (4, "missing_value"),
        (5, "not_a_number"),
        (6, "non_finite"),
    ]
    assert only(["1", "1.5"], kind="number", whole=True) == ([1], [(1, "not_whole")])


def test_what_means_not_given_is_declared() -> None:
    assert only(["1", "NA", "-", ""], kind="number", nullable=True)[1] == [(1, "not_a_number"), (2, "not_a_number")]
    assert only(["1", "NA", "-", ""], kind="number", nullable=True, missing=("NA", "-")) == ([1, None, None, None], [])
    assert only(["1", "NA"], kind="number", missing=("NA",))[1] == [(1, "missing_value")]
    field = Field(kind="number", nullable=True, missing=("?",))
    assert typed(raw(a=["?", "NA"]), Schema(fields={"a": field}, missing=("NA",)))[0].num_rows == 1


def test_categories_are_text_and_those_declared() -> None:
    assert only([" a ", "b", "NO"], kind="category", values=("a", "NO")) == (["a", "NO"], [(1, "unknown_value")])
    assert only(["o\u0308l", "öl", "x"], kind="category", values=("öl", "x")) == (["öl", "öl", "x"], [])
    assert only(pa.array([1, 2, None]), kind="category", nullable=True)[0] == ["1", "2", None]
    assert only(pa.array(["a", "b"]).dictionary_encode(), kind="category")[0] == ["a", "b"]
    assert only(pa.array([True, False]), kind="category")[0] == ["true", "false"]


def test_letters_are_of_an_alphabet() -> None:
    assert only(["ACGT", "acgn", "ACGU"], kind="letters", alphabet="dna") == (["ACGT", "ACGN"], [(2, "strange_letter")])
    assert only(["ab", "AB"], kind="letters", alphabet="ab]^") == (["ab"], [(1, "strange_letter")])


def test_bytes_and_tensors() -> None:
    assert only([b"x", b""], kind="image") == ([b"x"], [(1, "missing_value")])
    values, aside = only([[1.0, 2.0], [1.0], [float("nan"), 1.0], [3, 4]], kind="tensor", shape=(2,))
    assert values == [[1, 2], [3, 4]]
    assert aside == [(1, "bad_shape"), (2, "non_finite")]
    assert only(pa.array([[1, 2], None]), kind="tensor", shape=(1, 2), nullable=True)[0] == [[1, 2], None]


def test_typed_columns_of_other_formats() -> None:
    assert only(pa.array([1, None]), kind="number", nullable=True)[0] == [1.0, None]
    values, aside = only(pa.array([1.0, math.nan, math.inf]), kind="number")
    assert (values, [row for row, _ in aside]) == ([1.0], [1, 2])
    stamps = pa.array(np.array(["2026-01-03", "2026-01-04"], dtype="datetime64[ns]"))
    assert [one.day for one in only(stamps, kind="time", minimum="2026-01-04")[0]] == [4]
    assert only(pa.array([1700000000]), kind="time", format="unix")[0][0].year == 2023


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_of_another_type_is_an_error_and_an_empty_one_is_not_given(kind: str) -> None:
    shape = {"shape": (2,)} if kind == "tensor" else {}
    with pytest.raises(DataError, match=r"column 'a': its type is struct.*expected"):
        only(pa.array([{"x": 1}]), kind=kind, **shape)
    assert only(pa.nulls(2), kind=kind, nullable=True, **shape) == ([None, None], [])


def test_a_missing_column_is_named_with_the_nearest() -> None:
    schema = Schema(fields={"Preis": Field(kind="number"), "n": Field(kind="number")})
    with pytest.raises(DataError, match=r"shop.csv: column 'Preis' is missing; got preis, n; did you mean 'preis'\? R"):
        typed(raw(preis=["1"], n=["1"]), schema)
    with pytest.raises(DataError, match=r"did you mean 'preis'\?$"):  # a request delivers no file
        typed(raw(preis=["1"], n=["1"]), schema, labelled=False)


def test_a_row_is_set_aside_once_and_labels_have_rules_of_their_own() -> None:
    schema = Schema(
        fields={"a": Field(kind="number"), "y": Field(kind="category", values=("0", "1"))}, label="y", id="i", group="g"
    )
    table, rejects = typed(
        raw(
            a=["x", "1", "2", "3", "4", "5"],
            y=["7", "7", "", "1", "1", "0"],
            i=["", "b", "c", "d", "", "f"],
            g=["g", "g", "g", "", "g", "g"],
        ),
        schema,
    )
    assert [(one.code, one.field) for one in rejects] == [
        ("not_a_number", "a"),
        ("unknown_label", "y"),
        ("missing_label", "y"),
        ("missing_group", "g"),
        ("missing_id", "i"),
    ]
    assert table.to_pylist() == [{"a": 5.0, "@id": "f", "@label": "0", "@group": "g", "@where": "shop.csv:7"}]


def test_an_example_without_a_label_is_typed_alike() -> None:
    schema = Schema(fields={"a": Field(kind="number"), "y": Field(kind="category")}, label="y", id="i")
    assert typed(raw(a=["1,5"]), schema, labelled=False)[0]["a"].to_pylist() == [1.5]


def test_marks_are_decided_over_all_pieces_and_later_deliveries_are_held_against_them() -> None:
    schema = Schema(fields={"price": Field(kind="number"), "b": Field(kind="number"), "t": Field(kind="time")})
    sight = See(schema)
    sight.add(raw(price=["1,234"], b=["1"], t=["03/04/2026"]))
    sight.add(raw(price=["1,5"], b=["2"], t=["13/04/2026"]))
    notation = sight.decide()
    assert (dict(notation.decimal), dict(notation.times)) == ({"price": ",", "b": ""}, {"t": "%d/%m/%Y"})
    assert typed(raw(price=["1,234"], b=["1"], t=["03/04/2026"]), schema, notation)[0]["price"].to_pylist() == [1.234]
    alone = See(schema)
    alone.add(raw(price=["1,234"], b=["1"], t=["2026-01-01"]))
    with pytest.raises(DataError, match=r"'1,234' is 1\.234 where ',' is the decimal mark and 1234 where it parts"):
        alone.decide()
    later = See(schema, notation)
    with pytest.raises(DataError, match="numbers in two notations"):
        later.add(raw(price=["1.5", "2.5"], b=["1", "1"], t=["13/04/2026"] * 2))
    declared = Schema(fields={**schema.fields, "price": Field(kind="number", decimal=".")})
    assert typed(raw(price=["1,234"], b=["1"], t=["2026-01-01"]), declared)[0]["price"].to_pylist() == [1234.0]


def test_an_empty_table_has_the_types_of_a_full_one() -> None:
    schema = Schema(fields={kind: Field(kind=kind, **({"shape": (2,)} if kind == "tensor" else {})) for kind in KINDS})
    empty = pa.table(
        {**{kind: pa.array([], type=pa.null()) for kind in KINDS}, "@where": pa.array([], type=pa.string())}
    )
    table, rejects = typed(empty, schema)
    assert rejects == []
    assert [table[kind].type for kind in KINDS] == [type_of(schema.fields[kind]) for kind in KINDS]


def test_columns_that_tell_nothing_are_found() -> None:
    schema = Schema(fields={name: Field(kind="category", nullable=True) for name in "abcd"})
    table, _ = typed(raw(a=["1", "1"], b=["", ""], c=["", "1"], d=["1", "2"]), schema)
    assert without_information(table) == {"a": "constant", "b": "empty"}
