"""Tables without a header, to be scored: which of the pipeline's names stand above rows that have fewer cells."""

from __future__ import annotations

import base64
import gzip

import numpy as np
import pytest
from mlratchet.models.artifact.signature import InputSpec, Signature
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.request import parse_examples
from mlratchet.models.serving.contract import signature_of
from mlratchet.models.workloads.fields import SchemaWorkload

from tests.unit.scoring.test_rows import read
from tests.unit.serving.six_schemas import YES_OR_NO

HEADER = ["id", "a", "b", "label", "side"]
TABLE = Signature(
    task="classification", classes=("no", "yes"),
    input=InputSpec(kind="table", shape=(2,), dtype="float32", columns=("a", "b")),
)  # fmt: skip


def asked(text: str, header: list[str], key: str = "day.csv") -> tuple[list[list[float]], list[str], list[str]]:
    """Inputs, ids, and why files were set aside."""
    data = gzip.compress(text.encode()) if key.endswith(".gz") else text.encode()
    rows, rejects = read(TABLE, {key: data}, "csv", header=header, id_column="id" if "id" in header else None)
    x = [one for found in rows for one in found.x.arrays()["x"].astype(np.float64).tolist()]
    assert all(one.records == text.count("\n") for one in rejects)
    return x, [one for found in rows for one in found.ids], [one.reason for one in rejects]


@pytest.mark.parametrize("key", ["day.csv", "day.csv.gz"])
@pytest.mark.parametrize(
    ("header", "text", "ids"),
    [
        (["a", "b", "label"], "1,2\n3,4\n", ["1", "2"]),
        (["label", "a", "b"], "1,2\n3,4\n", ["1", "2"]),
        (["a", "label", "b", "side"], "1,2\n3,4\n", ["1", "2"]),
        (["a", "b", "label"], "1,2,yes\n3,4,no\n", ["1", "2"]),
        (HEADER, "7,1,2,yes,test\n8,3,4,no,train\n", ["7", "8"]),
    ],
)
def test_what_lacks_every_column_that_is_no_input_is_scored(
    header: list[str], text: str, ids: list[str], key: str
) -> None:
    found = asked(text, header, key)
    assert found[0] == [[1, 2], [3, 4]]
    assert [one.rpartition(":")[2] for one in found[1]] == ids
    assert found[2] == []


def test_two_readings_are_refused_with_both() -> None:
    x, _, (reason,) = asked("5,1,2\n6,3,4\n" * 9_000, ["id", "a", "b", "label"])  # more than tells the delimiter
    assert x == []
    assert "its rows have 3 cells, and source.header names 4 columns" in reason
    assert "without 'id' they are a, b, label" in reason
    assert "without 'label' they are id, a, b" in reason
    assert "write the names of its columns above its first row" in reason


def test_of_many_readings_two_are_told_and_how_many_there_are() -> None:
    _, _, (reason,) = asked("5,1,2\n", HEADER)
    assert "3 readings" in reason
    assert "without 'id' and 'label' they are a, b, side" in reason


@pytest.mark.parametrize("header", [["id", "a", "b", "label"], ["a", "b", "label", "side"]])
def test_a_first_line_that_names_its_columns_says_which_there_are(header: list[str]) -> None:
    assert asked("b,a\n2,1\n4,3\n", header)[0] == [[1, 2], [3, 4]]
    assert asked("a,b,label\n1,2,no\n3,4,no\n", header)[0] == [[1, 2], [3, 4]]


@pytest.mark.parametrize(("text", "cells"), [("1\n2\n", 1), ("1,2,3,4\n", 4)])
def test_rows_that_lack_an_input_or_have_more_cells_are_refused_as_before(text: str, cells: int) -> None:
    _, _, (reason,) = asked(text, ["a", "b", "label"])
    assert f"its rows have {cells} cells, and source.header names 3 columns" in reason


def test_one_row_that_is_ragged_decides_nothing() -> None:
    rows, rejects = read(TABLE, {"day.csv": b"1,2\n3,4,5\n5,6\n"}, "csv", header=["a", "b", "label"])
    assert [one for found in rows for one in found.where] == ["day.csv:1", "day.csv:3"]
    assert [(one.where, one.code) for one in rejects] == [("day.csv:2", "ragged_row")]


def with_roles() -> Signature:
    """Of rows with an id, a group and a side, which are no inputs."""
    schema = {
        "fields": {
            "a": {"kind": "number", "decimal": "."},
            "side": {"kind": "category", "values": ["train", "test"], "input": False},
            "day": {"kind": "time", "format": "%Y-%m-%d", "input": False}, "left": YES_OR_NO,
        },
        "label": "left", "id": "id", "group": "shop", "time": "day",
    }  # fmt: skip
    known = Schema.model_validate(schema)
    table = parse_examples([{"a": 1.5}, {"a": 2.5}], known)
    fitted = base64.b64encode(PreparationPlan(known).fit(lambda: iter([table])).to_bytes()).decode()
    return signature_of(SchemaWorkload(schema=schema, fitted=fitted))


@pytest.mark.parametrize("text", ["a\n1\n2\n", "id,shop,side,day,a\n1,,nowhere,someday,1\n,x,,,2\n"])
def test_columns_that_are_no_input_are_not_asked_for_and_refuse_no_row(text: str) -> None:
    rows, rejects = read(with_roles(), {"day.csv": text.encode()}, "csv")
    assert sum(len(one.where) for one in rows) == 2
    assert rejects == []


def test_a_headless_file_of_inputs_alone_is_scored_by_its_schema() -> None:
    header = ["id", "shop", "side", "day", "a", "left"]
    rows, rejects = read(with_roles(), {"day.csv": b"1\n2\n"}, "csv", header=header)
    assert ([one for found in rows for one in found.where], rejects) == (["day.csv:1", "day.csv:2"], [])
