"""How the numbers of a pipeline are written: told by the first delivery that tells it, recorded, and kept."""

from __future__ import annotations

from typing import Any

import pytest
from mlratchet.models.data.first_columns import find_first_columns
from mlratchet.models.data.preprocess import read_dataset_records
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import DataError
from mlratchet.tasks.support.row_identity import LookedAt, first_delivery

from .conftest import Road


def read(road: Road, *rows: str) -> tuple[list[list[float]], dict[str, str]]:
    """The inputs as read, in the order of the rows, and the marks; the delivery is one file."""
    run: Any = road.run(parameters='{columns: [a, b], classes: ["0", "1"]}', source="{prefix: t/, id_column: id}")
    lines = "\n".join(["id;a;b;label", *(f"{n};{row};{n % 2}" for n, row in enumerate(rows)), ""])
    road.raw.put("t/rows.csv", lines.encode())
    snapshot = take_snapshot(road.raw, road.store, prefix="t/")
    first = first_delivery(run, snapshot)
    records, rejects = read_dataset_records(road.store, snapshot, run.workload, run.spec.source, first=first)
    assert rejects == []
    return [one.x.tolist() for one in records], dict(first.number_marks)


def recorded(road: Road) -> list[str]:
    return [info.key for info in road.store.list("columns/")]


def test_a_later_point_is_ambiguous_in_a_column_of_whole_numbers_beside_decimal_commas(road: Road) -> None:
    assert read(road, "1,5;7", "2,5;999") == ([[1.5, 7], [2.5, 999]], {"a": ",", "b": ""})
    with pytest.raises(DataError, match=r"rows\.csv:2: column 'b': '1\.234' is .*\(column 'a' has decimal commas\)"):
        read(road, "1,5;1.234")
    assert recorded(road) == ["columns/table.json"]
    assert read(road, "1,5;1.234", "2,5;7,5") == ([[1.5, 1234], [2.5, 7.5]], {"a": ",", "b": ","})


def test_the_first_delivery_with_marks_tells_what_whole_numbers_did_not(road: Road) -> None:
    assert read(road, "1;7", "2;999")[1] == {"a": "", "b": ""}
    assert read(road, "3;8", "4;9")[1] == {"a": "", "b": ""}
    assert recorded(road) == ["columns/table.json"]
    told = read(road, "1,5;7", "2,5;999")
    assert told == ([[1.5, 7], [2.5, 999]], {"a": ",", "b": ""})
    assert recorded(road) == ["columns/table.json", "columns/table/2.json"]
    assert read(road, "1,5;7", "2,5;999") == told
    assert recorded(road) == ["columns/table.json", "columns/table/2.json"]
    second = find_first_columns(road.store, "table", road.run().adapters.keys.trusted(), number=2)
    assert second is not None
    assert dict(second.number_marks) == {"a": ","}
    with pytest.raises(DataError, match="numbers in two notations"):
        read(road, "1.5;7", "2.5;8")
    assert read(road, "1,5;7,5")[1] == {"a": ",", "b": ","}


def test_a_later_delivery_in_two_notations_tells_nothing(road: Road) -> None:
    read(road, "1;7")
    with pytest.raises(DataError, match=r"numbers in two notations: got '1\.5' .*, '2,5'"):
        read(road, "1.5;7", "2,5;8")
    assert recorded(road) == ["columns/table.json"]


def counted(road: Road, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The raw objects that are fetched, from now on."""
    fetched: list[str] = []
    real = road.store.get

    def get(key: str, **more: Any) -> bytes:
        if key.startswith("raw/"):
            fetched.append(key)
        return real(key, **more)

    monkeypatch.setattr(road.store, "get", get)
    return fetched


def test_what_an_earlier_run_looked_at_is_not_read_again_for_its_marks(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: Any = road.run(parameters='{columns: [a, b], classes: ["0", "1"]}', source="{prefix: t/, id_column: id}")
    road.raw.put("t/1.csv", b"id;a;b;label\n1;1;7;0\n2;2;8;1\n")
    before = take_snapshot(road.raw, road.store, prefix="t/")
    first_delivery(run, before)
    road.raw.put("t/2.csv", b"id;a;b;label\n3;3;7;0\n4;4;8;1\n")
    later = take_snapshot(road.raw, road.store, prefix="t/")
    looked = LookedAt(objects=frozenset(one.sha256 for one in before.objects), silent=frozenset("ab"))
    new = [f"raw/{one.sha256}" for one in later.objects if one.sha256 not in looked.objects]
    fetched = counted(road, monkeypatch)
    assert first_delivery(run, later, looked).number_marks == {"a": "", "b": ""}
    assert fetched == new
    fetched.clear()
    everything = LookedAt(objects=frozenset(one.sha256 for one in later.objects), silent=frozenset("ab"))
    assert first_delivery(run, later, everything).number_marks == {"a": "", "b": ""}
    assert fetched == []
    road.raw.put("t/3.csv", b"id;a;b;label\n5;5,5;7;0\n6;6,5;8;1\n")
    told = take_snapshot(road.raw, road.store, prefix="t/")
    assert first_delivery(run, told, everything).number_marks == {"a": ",", "b": ""}


@pytest.mark.parametrize("silent", [frozenset("a"), frozenset()])
def test_a_column_of_which_nothing_is_known_is_looked_for_everywhere(
    road: Road, monkeypatch: pytest.MonkeyPatch, silent: frozenset[str]
) -> None:
    run: Any = road.run(parameters='{columns: [a, b], classes: ["0", "1"]}', source="{prefix: t/, id_column: id}")
    road.raw.put("t/1.csv", b"id;a;b;label\n1;1;7;0\n2;2;8;1\n")
    first_delivery(run, take_snapshot(road.raw, road.store, prefix="t/"))
    road.raw.put("t/2.csv", b"id;a;b;label\n3;3;7;0\n")
    later = take_snapshot(road.raw, road.store, prefix="t/")
    fetched = counted(road, monkeypatch)
    first_delivery(run, later, LookedAt(objects=frozenset(one.sha256 for one in later.objects), silent=silent))
    assert {*fetched} == {f"raw/{one.sha256}" for one in later.objects}
