"""A delivery that a child reads is read as one that is read here: what vanishes here would vanish there."""

from __future__ import annotations

from typing import Any

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.preprocess import FirstDelivery, read_dataset_records
from mlratchet.models.data.snapshot import Snapshot, take_snapshot
from mlratchet.models.errors import DataError
from mlratchet.models.sources.csv import CsvOptions
from mlratchet.models.sources.record import RawObject
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.tabular import TableClassifier, TableRegressor
from mlratchet.models.workloads.told import reading_away

TABLE = "mlratchet.models.workloads.tabular:TableClassifier"
PARAMETERS = {"columns": ["a", "b"], "classes": ["no", "yes"]}
TEXT = "a;b;label\n1,5;1700000001;yes\n2;1700000063;maybe\n3\n1,234;x;no\n1,234;5;no\n7;1700000063;no\n"


def delivered(text: str) -> tuple[MemoryStore, Snapshot]:
    raw, store = MemoryStore("raw"), MemoryStore("store")
    raw.put("t/rows.csv", text.encode())
    return store, take_snapshot(raw, store, prefix="t/")


def told() -> Workload:
    return reading_away(TABLE, PARAMETERS, TableClassifier(columns=["a", "b"], classes=["no", "yes"]))


def marks(workload: Workload, store: MemoryStore, snapshot: Snapshot, **options: Any) -> Any:
    def fetch(item: RawObject) -> bytes:
        return store.get(f"raw/{item.sha256}")

    return workload.number_marks(
        snapshot.raw_objects(), fetch, CsvOptions(prefix="t/", **options).model_dump(mode="json")
    )


def test_records_remarks_and_rejects_are_the_same_wherever_they_are_read() -> None:
    store, snapshot = delivered(TEXT)
    here = TableClassifier(columns=["a", "b"], classes=["no", "yes"])
    found = [read_dataset_records(store, snapshot, one, CsvOptions(prefix="t/")) for one in (here, told())]
    (ours, aside), (theirs, aside_there) = found
    assert aside_there == aside
    assert [one.where for one in aside] == ["rows.csv:3", "rows.csv:4", "rows.csv:5"]
    assert [(one.id, one.y, one.where, one.remarks, one.x.tolist()) for one in theirs] == [
        (one.id, one.y, one.where, one.remarks, one.x.tolist()) for one in ours
    ]
    assert [len(one.remarks) for one in sorted(ours, key=lambda one: one.where)] == [1, 0, 1]


def test_how_numbers_are_written_is_told_by_a_child() -> None:
    store, snapshot = delivered(TEXT)
    assert marks(told(), store, snapshot) == {"a": ",", "b": ""}
    assert marks(told(), store, snapshot, decimal={"a": "."}) == {"a": ".", "b": ""}
    first = FirstDelivery(number_marks={"a": ".", "b": ""})
    with pytest.raises(DataError, match=r"rows\.csv:2: column 'a': numbers in two notations"):
        read_dataset_records(store, snapshot, told(), CsvOptions(prefix="t/"), first=first)


def test_an_error_of_a_reader_in_a_child_stays_one_of_the_data() -> None:
    store, snapshot = delivered("a;b;label\n1,234;1;yes\n")
    with pytest.raises(DataError, match=r"declare source\.decimal") as caught:
        marks(told(), store, snapshot)
    assert type(caught.value) is DataError  # a child's errors are believed by their kind alone


def test_the_number_columns_are_known_without_asking() -> None:
    source = CsvOptions(prefix="t/", label_column="price").model_dump(mode="json")
    assert told().number_columns(source) == ("a", "b")
    assert TableRegressor(columns=["a"]).number_columns(source) == ("a", "price")
    assert TableRegressor(columns=["a", "price"]).number_columns(source) == ("a", "price")
