"""A client sends an example as a person has it: it becomes typed values, or the field that is wrong is named."""

from __future__ import annotations

import base64
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.types.schema import Schema as MlflowSchema
from mlratchet.models.schema.fields import Field, Schema
from mlratchet.models.schema.notation import Notation
from mlratchet.models.schema.request import (
    FieldError,
    as_json,
    column_spec,
    json_schema,
    parse_example,
    parse_examples,
)
from mlratchet.models.schema.typing import typed

SHOP = Schema(
    fields={
        "Preis (€)": Field(kind="number", minimum=0, maximum=1000, unit="EUR"),
        "Menge": Field(kind="number", whole=True),
        "Land": Field(kind="category", values=("DE", "AT"), nullable=True),
        "wann": Field(kind="time"),
        "bild": Field(kind="image", nullable=True),
        "gen": Field(kind="letters", alphabet="dna", nullable=True),
        "x": Field(kind="tensor", shape=(2, 2), nullable=True),
        "Notiz": Field(kind="text", nullable=True, input=False),
        "Retoure": Field(kind="category"),
    },
    label="Retoure",
    id="Bestellnr",
)
GOOD: dict[str, Any] = {"Preis (€)": 16.26, "Menge": 2, "Land": "DE", "wann": "2026-12-24T18:00:00Z"}


def test_a_good_example_is_one_typed_row() -> None:
    table = parse_example(GOOD | {"bild": base64.b64encode(b"png").decode(), "gen": "acg", "x": [[1, 2], [3, 4]]}, SHOP)
    row = table.to_pylist()[0]
    assert (table.num_rows, table.column_names) == (1, list(SHOP.inputs))
    assert (row["Preis (€)"], row["bild"], row["gen"], row["x"]) == (16.26, b"png", "ACG", [1, 2, 3, 4])
    assert row["wann"].isoformat() == "2026-12-24T18:00:00+00:00"
    data = parse_example(GOOD | {"bild": "data:image/png;base64," + base64.b64encode(b"png").decode()}, SHOP)
    assert data["bild"].to_pylist() == [b"png"]


def test_types_are_those_of_rows_that_were_read() -> None:
    schema = Schema(fields={"a": Field(kind="number"), "t": Field(kind="time"), "c": Field(kind="category")})
    raw = pa.table({"a": ["1,5"], "t": ["24.12.2026"], "c": ["o\u0308l"], "@where": ["r.csv:2"]})
    read = typed(raw, schema)[0].drop_columns(["@where"])
    asked = parse_example({"a": 1.5, "t": "24.12.2026", "c": "öl"}, schema, Notation(times={"t": "%d.%m.%Y"}))
    assert asked.equals(read)
    assert parse_example({"a": 1.5, "t": "2026-12-24", "c": "öl"}, schema, Notation(times={"t": "%d.%m.%Y"})).equals(
        read
    )


@pytest.mark.parametrize(
    ("change", "field", "rule", "words"),
    [
        ({"Preis (€)": "16,26"}, "Preis (€)", "not_a_number", "got text '16,26', expected a number"),
        ({"Preis (€)": True}, "Preis (€)", "not_a_number", "got a truth value, expected a number"),
        ({"Preis (€)": -1}, "Preis (€)", "below_minimum", "got -1.0 EUR, expected 0.0 or more"),
        ({"Preis (€)": 10**400}, "Preis (€)", "non_finite", "expected a finite number"),
        ({"Preis (€)": float("nan")}, "Preis (€)", "non_finite", "expected a finite number"),
        ({"Preis (€)": None}, "Preis (€)", "missing_value", "empty, expected a number"),
        ({"Menge": 1.5}, "Menge", "not_whole", "got 1.5, expected no fraction"),
        ({"Land": "de"}, "Land", "unknown_value", "got 'de', expected one of DE, AT"),
        ({"Land": 3}, "Land", "not_text", "got a number, expected text"),
        ({"wann": "24.12.2026"}, "wann", "not_a_time", "got '24.12.2026', expected a time as iso, e.g. 2026-01-31T"),
        ({"wann": 17}, "wann", "not_text", "expected a time as text"),
        ({"bild": "%%%"}, "bild", "not_base64", "expected the bytes of the image in base64"),
        ({"gen": "ACGU"}, "gen", "strange_letter", "got 'U' at place 4, expected letters of ACGTN"),
        ({"x": [[1, 2], [3]]}, "x", "bad_shape", "expected numbers as nested lists of 2 x 2"),
        ({"x": [[1, 2], [3, True]]}, "x", "bad_shape", "nested lists"),
        ({"Notiz": "hallo"}, "Notiz", "unknown_field", "unknown"),
        ({"Mege": 2}, "Mege", "unknown_field", "did you mean 'Menge'?"),
        ({"Retoure": "ja"}, "Retoure", "unknown_field", "unknown"),
        ({"Land": "\ud800"}, "Land", "not_text", "surrogate"),
    ],
)
def test_what_is_wrong_is_told_with_its_field(change: dict[str, Any], field: str, rule: str, words: str) -> None:
    with pytest.raises(FieldError) as caught:
        parse_example(GOOD | change, SHOP)
    assert (caught.value.field, caught.value.rule, caught.value.row) == (field, rule, None)
    assert words in str(caught.value)
    with pytest.raises(FieldError, match=r"^example 1: field") as caught:
        parse_examples([GOOD, GOOD | change], SHOP)
    assert (caught.value.field, caught.value.row) == (field, 1)


def test_a_missing_field_and_what_is_no_example() -> None:
    with pytest.raises(FieldError, match="field 'Menge': missing, expected a number"):
        parse_example({name: value for name, value in GOOD.items() if name != "Menge"}, SHOP)
    with pytest.raises(FieldError, match="got a list, expected an object with Preis"):
        parse_example([1, 2], SHOP)
    with pytest.raises(FieldError, match="got an object, expected a list"):
        parse_examples({}, SHOP)
    assert parse_examples([], SHOP).num_rows == 0


def test_the_json_schema_says_the_same() -> None:
    told = json_schema(SHOP)
    assert told["required"] == ["Preis (€)", "Menge", "wann"]
    assert told["additionalProperties"] is False
    assert told["properties"]["Preis (€)"] == {
        "type": "number", "minimum": 0.0, "maximum": 1000.0, "description": "in EUR; a number"
    }  # fmt: skip
    assert told["properties"]["Menge"]["type"] == "integer"
    assert told["properties"]["Land"]["enum"] == ["DE", "AT", None]
    assert told["properties"]["x"]["items"]["minItems"] == 2
    assert "Retoure" not in told["properties"]


def test_mlflow_takes_the_column_spec() -> None:
    import json

    columns = column_spec(SHOP)
    assert [one["name"] for one in columns] == list(SHOP.inputs)
    assert columns[2] == {"name": "Land", "type": "string", "required": False}
    assert json.loads(MlflowSchema.from_json(json.dumps(columns)).to_json()) == columns


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*SHOP.fields, "other"]), JSON) | JSON)
def test_whatever_is_sent_is_typed_or_refused(document: Any) -> None:
    try:
        table = parse_example(document, SHOP)
    except FieldError:
        return
    row = {name: as_json(value, SHOP.fields[name]) for name, value in table.to_pylist()[0].items()}
    assert parse_example(row, SHOP).equals(table)
