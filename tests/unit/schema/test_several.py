"""Several labels of a record: parted in a cell, as a list, or a column each."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from mlratchet.models.schema.change import difference
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.typing import LABEL, typed
from pydantic import ValidationError

SIZE = {"kind": "number"}
TAGS = {"kind": "category", "values": ["red", "blue", "big"], "several": True}


def schema_of(**label: Any) -> Schema:
    return Schema.model_validate({"label": "tags", "fields": {"size": SIZE, "tags": TAGS | label}})


def raw_of(name: str, cells: Any) -> pa.Table:
    places = [f"rows.csv:{n + 2}" for n in range(len(cells))]
    return pa.table({"size": ["1"] * len(cells), name: cells, "@where": places})


@pytest.mark.parametrize(
    ("cells", "label"),
    [
        (["red|blue", " big ", "red||red", "", "red|green"], {}),
        (["red; blue", "big", "red;red", None, "red;green"], {"separator": ";"}),
        (pa.array([["red", "blue"], ["big"], ["red", "red"], None, ["red", "green"]], pa.list_(pa.string())), {}),
        (['["red", "blue"]', '["big"]', '["red","red"]', None, '["red", "green"]'], {}),
    ],
    ids=["parted", "separator", "lists", "lists as text"],
)
def test_several_values_of_a_cell_are_read_and_an_unknown_one_is_named(cells: Any, label: dict[str, Any]) -> None:
    table, rejects = typed(raw_of("tags", cells), schema_of(**label))
    assert table[LABEL].to_pylist() == [["red", "blue"], ["big"], ["red", "red"]]
    assert [(one.where, one.code) for one in rejects] == [
        ("rows.csv:5", "missing_label"), ("rows.csv:6", "unknown_label")
    ]  # fmt: skip
    assert rejects[1].reason == ("rows.csv:6: label 'tags': got 'green', expected values among red, blue, big")
    table, rejects = typed(raw_of("tags", cells), schema_of(nullable=True, **label))
    assert table[LABEL].to_pylist()[3] is None
    assert len(rejects) == 1


def test_labels_of_a_column_each_are_yes_or_no() -> None:
    schema = Schema.model_validate(
        {
            "labels": ["heavy", "bright"],
            "fields": {"size": SIZE, "heavy": SIZE, "bright": {"kind": "category", "values": ["no", "yes"]}},
        }
    )
    raw = raw_of("heavy", ["1", "0", "0", "2", ""]).append_column("bright", pa.array(["no", "yes", "no", "yes", "no"]))
    table, rejects = typed(raw, schema)
    assert table.column_names == ["size", LABEL, "@where"]
    assert table[LABEL].to_pylist() == [["heavy"], ["bright"], []]
    assert [(one.code, one.reason) for one in rejects] == [
        ("unknown_label", "rows.csv:5: label 'heavy': got 2, expected 0 or 1"),
        ("missing_label", "rows.csv:6: label 'heavy': empty, expected a number; a field that may lack it is nullable"),
    ]
    assert list(schema.inputs) == ["size"]
    unlabelled, _ = typed(raw.drop_columns(["heavy", "bright"]), schema, labelled=False)
    assert unlabelled.column_names == ["size", "@where"]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"label": "a", "fields": {"a": {"kind": "category", "several": True}, "b": SIZE}}, "list them under values"),
        ({"label": "b", "fields": {"a": TAGS, "b": SIZE, "c": SIZE}}, "only the label can have several values"),
        ({"label": "a", "fields": {"a": {"kind": "category", "values": ["x", "y"], "separator": ";"}, "b": SIZE}},
         "write several: true"),
        ({"labels": ["a", "c"], "fields": {"a": SIZE, "b": SIZE}}, "no field 'c'"),
        ({"labels": ["a"], "fields": {"a": {"kind": "text"}, "b": SIZE}}, "says neither yes nor no"),
        ({"label": "a", "labels": ["b"], "fields": {"a": SIZE, "b": SIZE, "c": SIZE}}, "one of the two"),
        ({"labels": ["a", "b"], "fields": {"a": SIZE, "b": SIZE}}, "no field is an input"),
        ({"labels": ["a"], "group": "a", "fields": {"a": SIZE, "b": SIZE}}, "column 'a' is the label"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_learnt_are_refused(document: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Schema.model_validate(document)


@pytest.mark.parametrize("as_lists", [False, True])
def test_a_new_value_among_several_is_a_new_class_and_proposed(as_lists: bool) -> None:
    cells: Any = ["red|blue", "big|green", "green", "blue"]
    if as_lists:
        cells = pa.array([one.split("|") for one in cells], pa.list_(pa.string()))
    found = difference(schema_of(), raw_of("tags", cells))
    assert [(one.field, one.effect, one.words) for one in found.changes if one.field == "tags"] == [
        ("tags", "breaking", "new classes: 'green' (2)")
    ]
    assert found.proposed.fields["tags"].values == ("red", "blue", "big", "green")
    assert found.proposed.label == "tags"
