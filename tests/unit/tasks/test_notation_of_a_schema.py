"""How numbers and times of a schema are written: recorded at the first delivery that tells it, and kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mlratchet.models.data.first_columns import columns_key, find_first_columns
from mlratchet.models.data.preprocess import FirstDelivery, read_dataset_records
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import DataError, SecurityError
from mlratchet.models.sources.record import inputs_of
from mlratchet.models.sources.stored_examples import documents_of
from mlratchet.tasks.support.row_identity import first_delivery

from .conftest import Road

SCHEMA = (
    "{label: label, id: id, fields: {a: {kind: number, nullable: true}, day: {kind: time, nullable: true}, "
    'label: {kind: category, values: ["0", "1"]}}}'
)


def run_of(road: Road, source: str = "{prefix: t/, format: csv, id_column: id, label_column: label}") -> Any:
    parameters = f"{{schema: {SCHEMA}}}"
    return road.run(parameters=parameters, source=source, use="SchemaWorkload", module="fields")


def read(road: Road, *rows: str, run: Any = None) -> tuple[list[dict[str, Any]], FirstDelivery, int]:
    """Examples as read, what is decided, and how many rows were set aside; the delivery is one file."""
    run = run or run_of(road)
    lines = "\n".join(["id;a;day;label", *(f"{n};{row};{n % 2}" for n, row in enumerate(rows)), ""])
    road.raw.put("t/rows.csv", lines.encode())
    snapshot = take_snapshot(road.raw, road.store, prefix="t/")
    first = first_delivery(run, snapshot)
    records, rejects = read_dataset_records(road.store, snapshot, run.workload, run.spec.source, first=first)
    return documents_of(inputs_of(records, run.workload.tensors())), first, len(rejects)


def test_the_first_delivery_decides_and_is_recorded(road: Road) -> None:
    rows, first, _ = read(road, "1,5;31.01.2026", "2,5;01.02.2026")
    assert [row["a"] for row in rows] == [1.5, 2.5]
    assert rows[1]["day"] == "2026-02-01T00:00:00Z"
    assert dict(first.number_marks) == {"a": ","}
    assert dict(first.time_formats) == {"day": "%d.%m.%Y"}
    found = find_first_columns(road.store, "table", road.run().adapters.keys.trusted())
    assert found is not None
    assert (dict(found.number_marks), dict(found.time_formats)) == ({"a": ","}, {"day": "%d.%m.%Y"})


def test_a_later_delivery_that_does_not_tell_is_read_as_the_first(road: Road) -> None:
    read(road, "1,5;13/01/2026", "2,5;14/01/2026")
    rows, _, _ = read(road, "1,234;03/04/2026")
    assert rows[0] == {"a": 1.234, "day": "2026-04-03T00:00:00Z"}


@pytest.mark.parametrize(
    ("later", "words"),
    [
        (("1.5;13/01/2026", "2.5;14/01/2026"), "numbers in two notations: got '1.5'"),
        (
            ("1,5;01/13/2026", "2,5;01/14/2026"),
            r"rows\.csv:2: column 'day': .*'01/13/2026'.*'%d/%m/%Y'.*first delivery",
        ),
        (
            ("1,5;2026-01-13", "2,5;2026-01-14"),
            r"rows\.csv:2: column 'day': .*'2026-01-13'.*'%d/%m/%Y'.*first delivery",
        ),
    ],
)
def test_a_later_delivery_that_differs_is_an_error_that_names_the_file(
    road: Road, later: tuple[str, ...], words: str
) -> None:
    read(road, "1,5;13/01/2026", "2,5;14/01/2026")
    with pytest.raises(DataError, match=words):
        read(road, *later)


def test_a_single_cell_that_differs_is_set_aside(road: Road) -> None:
    read(road, "1,5;13/01/2026", "2,5;14/01/2026")
    rows, _, aside = read(road, "1,5;13/01/2026", "2,5;14/01/2026", "3,5;2026-01-14")
    assert (len(rows), aside) == (2, 1)


def test_what_is_ambiguous_is_an_error_with_both_readings_and_nothing_is_recorded(road: Road) -> None:
    with pytest.raises(DataError, match="is 3 April 2026 where the day is first and 4 March 2026"):
        read(road, "1,5;03/04/2026")
    with pytest.raises(DataError, match=r"'1,234' is 1\.234 where .* and 1234 where"):
        read(road, "1,234;13/04/2026")
    assert list(road.store.list("columns/")) == []


def test_a_column_without_a_value_is_told_by_the_first_delivery_that_has_one(road: Road) -> None:
    _, first, _ = read(road, "1;", "2;")
    assert (dict(first.number_marks), dict(first.time_formats)) == ({"a": ""}, {"day": ""})
    with pytest.raises(DataError, match="3 April 2026"):
        read(road, "1;03/04/2026")
    _, told, _ = read(road, "1,5;13/01/2026", "2,5;14/01/2026")
    assert (dict(told.number_marks), dict(told.time_formats)) == ({"a": ","}, {"day": "%d/%m/%Y"})
    assert [info.key for info in road.store.list("columns/")] == [columns_key("table"), columns_key("table", 2)]
    assert read(road, "1,5;03/04/2026")[0][0]["day"] == "2026-04-03T00:00:00Z"


def test_a_record_that_was_changed_is_refused(road: Road) -> None:
    read(road, "1,5;13/01/2026", "2,5;14/01/2026")
    key = columns_key("table")
    document = json.loads(road.store.get(key))
    document["body"] = document["body"].replace("%d/%m/%Y", "%m/%d/%Y")
    road.store.put(key, json.dumps(document).encode())
    with pytest.raises(SecurityError, match=key):
        read(road, "1,5;13/01/2026")


def test_a_decimal_mark_declared_in_the_source_holds_under_a_schema(road: Road) -> None:
    run = run_of(road, '{prefix: t/, format: csv, id_column: id, label_column: label, decimal: ","}')
    rows, first, _ = read(road, "1,234;13/04/2026", run=run)
    assert rows[0]["a"] == 1.234
    assert dict(first.number_marks) == {"a": ","}


def test_the_notation_of_times_is_told_and_counts_for_the_dataset(road: Road) -> None:
    from mlratchet.models.data.dataset import dataset_id
    from mlratchet.models.data.reading import reading_of

    spec = run_of(road).spec
    ids = {
        dataset_id("s", "c", spec.workload, spec.data, spec.source, time_formats=formats)
        for formats in ({}, {"day": ""}, {"day": "iso"}, {"day": "%d/%m/%Y"}, {"day": "%m/%d/%Y"})
    }
    assert len(ids) == 3
    line = reading_of([], [], {}, time_formats={"day": "%d/%m/%Y", "at": "iso"}).line()
    assert line.endswith("times as %d/%m/%Y in day")
