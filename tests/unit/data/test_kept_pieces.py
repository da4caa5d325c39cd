"""What was read of an object is not read again, and is the same; what is damaged is read again."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.kept_pieces import FEW, KeptPieces, reading_groups, reading_identity
from mlratchet.models.data.preprocess import FirstDelivery, read_dataset_records
from mlratchet.models.data.records import Records
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import DataError
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.sources.csv import CsvOptions
from mlratchet.models.sources.record import RawObject
from mlratchet.models.workloads.fields import SchemaWorkload
from mlratchet.models.workloads.told import reading_away

PARAMETERS: dict[str, Any] = {
    "schema": {
        "label": "y", "id": "id",
        "fields": {"a": {"kind": "number"}, "y": {"kind": "category", "values": ["no", "yes"]}},
    }
}  # fmt: skip
USE = "mlratchet.models.workloads.fields:SchemaWorkload"
SOURCE = CsvOptions(prefix="t/", format="csv", label_column="y", id_column="id")
FIRST = FirstDelivery(identity_columns=("a",), number_marks={"a": "."})


class Counting(MemoryStore):
    """Which raw objects are read."""

    def __init__(self) -> None:
        super().__init__("counting")
        self.read = Counter[str]()

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        self.read[key] += key.startswith("raw/")
        return super().get(key, sha256=sha256)

    def get_range(self, key: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        self.read[key] += key.startswith("raw/")
        return super().get_range(key, start, length, sha256=sha256)


class World:
    """A source, and the bucket that keeps what is made of it."""

    def __init__(self) -> None:
        self.raw, self.beneath = MemoryStore("raw"), Counting()
        self.store = RecordStore(self.beneath, MemoryKeys())
        self.workload = reading_away(USE, PARAMETERS, SchemaWorkload(**PARAMETERS))

    def deliver(self, name: str, first: int, rows: int = 20, more: str = "") -> None:
        lines = [f"r{number:04d},{number}.5,{'yes' if number % 2 else 'no'}" for number in range(first, first + rows)]
        self.raw.put(f"t/{name}", "\n".join(["id,a,y", *lines, more]).encode())

    def read(self, *, keep: bool = True, code: Any = "c", first: FirstDelivery = FIRST) -> tuple[Any, Any, Any, Any]:
        """Records, what was set aside, what was kept, and the objects that were read of the delivery."""
        snapshot = take_snapshot(self.raw, self.store, prefix="t/")
        names = {f"raw/{one.sha256}": one.key for one in snapshot.objects}
        identity = reading_identity(code, WorkloadRef(use=USE), SOURCE, first.settings())
        kept = KeptPieces(self.store, identity, snapshot.id) if keep else None
        self.beneath.read.clear()
        records, rejects = read_dataset_records(
            self.store, snapshot, self.workload, SOURCE, first=first, kept=kept
        )  # fmt: skip
        read = {names[key] for key, count in self.beneath.read.items() if count and key in names}
        return _told(records), list(rejects), kept, read


def _told(records: Records) -> list[Any]:
    return [(one.id, one.where, one.y, one.row_digest, one.raw_digest, one.remarks) for one in records]


@pytest.fixture
def world() -> World:
    made = World()
    for number in range(4):
        made.deliver(f"{number}.csv", 100 * number, more="bad,row\n" * number)
    made.raw.put("t/readme.md", b"no table")
    return made


def test_one_changed_object_is_all_that_is_read(world: World) -> None:
    records, rejects, kept, read = world.read()
    assert read == {"0.csv", "1.csv", "2.csv", "3.csv"}
    assert (kept.read, kept.reused, kept.line()) == (5, 0, "")
    assert len(records) == 80
    assert Counter(one.code for one in rejects) == {"not_a_table": 1, "ragged_row": 6}
    again = world.read()
    assert again[:2] == (records, rejects)
    assert (again[3], again[2].reused) == (set(), 5)
    world.deliver("2.csv", 115, 30, more="bad,row\n")  # five of its ids were delivered before
    assert world.read(keep=False)[:2] == (changed := world.read())[:2]
    assert changed[3] == {"2.csv"}
    assert changed[2].line() == "4 of 5 objects as they were read before"
    assert len(changed[0]) == 85


@pytest.mark.parametrize("moved", ["code", "first"])
def test_another_reading_reads_everything(world: World, moved: str) -> None:
    world.read()
    changed: dict[str, Any] = {"code": "d"} if moved == "code" else {"first": FirstDelivery(number_marks={"a": "."})}
    assert world.read(**changed)[3] == {"0.csv", "1.csv", "2.csv", "3.csv"}


@pytest.mark.parametrize("fault", ["gone", "changed", "planted"])
def test_what_is_no_piece_of_ours_is_read_again(world: World, fault: str) -> None:
    before = world.read()
    pieces = [info.key for info in world.beneath.list("pieces/")]
    kept = next(info.key for info in world.beneath.list("kept/"))
    if fault == "planted":  # whoever writes to the bucket leads to pieces of theirs
        world.beneath.put(kept, world.beneath.get(kept).replace(b'"groups":{', b'"groups":{ '))
    for key in pieces[:2]:
        world.beneath.delete(key) if fault == "gone" else world.beneath.put(key, b"other") if fault == "changed" else 0
    again = world.read()
    assert again[:2] == before[:2]
    assert len(again[3]) >= (4 if fault == "planted" else 1)
    assert again[2].read + again[2].reused == 5
    assert world.read()[3] == set()


def test_while_a_column_is_not_decided_all_objects_tell(world: World) -> None:
    objects = [RawObject(key=f"{n}.csv", size_bytes=5, sha256="s") for n in range(3)]
    undecided = SOURCE.model_dump(mode="json")
    assert reading_groups(world.workload, objects, undecided) == [objects]
    decided = undecided | FIRST.settings()
    assert [len(one) for one in reading_groups(world.workload, objects, decided)] == [1, 1, 1]


def test_many_small_objects_are_read_together_and_one_more_moves_few_cuts() -> None:
    workload = SchemaWorkload(**PARAMETERS)
    options = SOURCE.model_dump(mode="json") | FIRST.settings()
    objects = [RawObject(key=f"{n:04d}.csv", size_bytes=500, sha256="s") for n in range(600)]
    groups = reading_groups(workload, objects, options)
    assert [one for group in groups for one in group] == objects
    assert 15 < len(groups) < 80
    assert len(reading_groups(workload, objects[:FEW], options)) == FEW
    fewer = reading_groups(workload, objects[:300] + objects[301:], options)
    assert sum(group in groups for group in fewer) >= len(groups) - 2


def test_a_delivery_without_a_table_is_refused_as_ever(world: World) -> None:
    for info in list(world.raw.list("t/")):
        world.raw.delete(info.key) if info.key.endswith(".csv") else None
    with pytest.raises(DataError, match="no table"):
        world.read()
