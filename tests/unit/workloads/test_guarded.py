"""A delivery that a child reads is read as one that is read here: what vanishes here would vanish there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.preprocess import FirstDelivery, read_dataset_records
from mlratchet.models.data.snapshot import Snapshot, take_snapshot
from mlratchet.models.errors import DataError
from mlratchet.models.objectives.naming import BUILT_IN
from mlratchet.models.sources.csv import CsvOptions
from mlratchet.models.sources.record import RawObject, Record, Reject
from mlratchet.models.sources.record_table import RecordPiece, packed, read_one_by_one
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.fields import SchemaWorkload
from mlratchet.models.workloads.guarded import guarded_pieces
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


class Things(BUILT_IN["regression"]):  # type: ignore[misc]  # a class from a mapping
    """Learns a set of things, whatever numbers stand in it."""

    def refusal(self, target: Any, class_names: tuple[str, ...]) -> str:
        return "" if isinstance(target, tuple) else f"got {target!r}, expected things"


class Own(TableClassifier):
    """Gives what it is told to."""

    objective = Things()
    given: Sequence[Record | Reject] = ()
    pieces: Sequence[RecordPiece] | None = None

    def records(self, *_: Any) -> Any:
        yield from self.given

    def record_pieces(self, *_: Any) -> Any:
        return self.pieces


def own(**given: Any) -> Own:
    made = Own(columns=["a", "b"], classes=["no", "yes"])
    for name, value in given.items():
        setattr(made, name, value)
    return made


def row(number: int, y: Any = ((1.0, 2.0),), **others: Any) -> Record:
    return Record(**{"id": f"r{number}", "x": np.zeros(2, np.float32), "y": y, "where": f"f:{number}"} | others)


def read_by(workload: Workload) -> list[tuple[str, str]]:
    found = read_one_by_one(guarded_pieces(workload, [], lambda _: b"", {}))
    return [(one.where, one.code if isinstance(one, Reject) else "") for one in found]


def test_a_target_that_is_refused_says_nothing_of_the_size_of_the_others() -> None:
    ragged = ((1.0, 2.0), (3.0,))
    targets = (7.0, ragged, ((1.0, float("nan")),), ((1.0, 2.0),), ((1.0, 2.0), (3.0, 4.0)), ((5.0, 6.0),))
    given = [row(number, y) for number, y in enumerate(targets)]
    assert [code for _, code in read_by(own(given=given))] == [*["bad_target"] * 3, "", "bad_target", ""]


def test_what_is_set_aside_alone_comes_many_at_a_time_and_in_its_order() -> None:
    alone = [
        RecordPiece(table=None, rejects=((0, Reject(where=f"f:{n}", code="short", reason="r")),)) for n in range(10_000)
    ]
    rows = [RecordPiece(table=packed([row(number)])) for number in (1, 2)]
    given = [*alone[:5_000], rows[0], *alone[5_000:], rows[1]]
    found = list(guarded_pieces(own(pieces=given), [], lambda _: b"", {}))
    assert len(found) < 10
    assert [one.where for one in read_one_by_one(found)] == [one.where for one in read_one_by_one(given)]


@pytest.mark.parametrize("wrong", [{"id": "a\udcff"}, {"id": 7}, {"columns": {"k": 3.5}}, {"time_us": 2**70}])
def test_a_record_that_no_table_can_hold_is_set_aside_alone(wrong: dict[str, Any]) -> None:
    aside = Reject(where="f:9", code="short", reason="r")
    given = [row(0), row(1, **wrong), aside, row(2)]
    assert read_by(own(given=given)) == [("f:0", ""), ("f:1", "bad_record"), ("f:9", "short"), ("f:2", "")]


def test_what_was_set_aside_keeps_its_place_among_the_records_that_are_left() -> None:
    refused = packed([row(0, ((float("inf"), 0.0),)), row(1), row(2)])
    piece = RecordPiece(table=refused, rejects=((2, Reject(where="f:9", code="short", reason="r")),))
    assert read_by(own(pieces=[piece])) == [("f:0", "bad_target"), ("f:1", ""), ("f:9", "short"), ("f:2", "")]


class OwnOfASchema(SchemaWorkload):
    """Learns as many things as its label says; of 0 it makes something else."""

    task = "regression"
    objective = Things()

    def target(self, label: Any) -> Any:
        return ((1.0, 2.0),) * int(label) or 0.0


def test_a_label_of_a_schema_that_is_refused_says_nothing_of_the_size_of_the_others() -> None:
    number = {"kind": "number"}
    workload = OwnOfASchema(schema={"label": "n", "fields": {"a": number, "n": number}})
    store, snapshot = delivered("a,n\n1,0\n2,1\n3,2\n4,1\n")
    records, rejects = read_dataset_records(store, snapshot, workload, CsvOptions(prefix="t/"))
    assert sorted(one.where for one in records) == ["rows.csv:3", "rows.csv:5"]
    assert [(one.where, one.code) for one in rejects] == [("rows.csv:2", "bad_target"), ("rows.csv:4", "bad_target")]
