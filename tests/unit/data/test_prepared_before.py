"""Shards that an earlier dataset has are not prepared again while the preparation is fitted to the same."""

from __future__ import annotations

from typing import Any

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.preprocess import FirstDelivery, read_dataset_records, write_dataset
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.sources.csv import CsvOptions
from mlratchet.models.workloads.fields import SchemaWorkload

PARAMETERS: dict[str, Any] = {
    "schema": {
        "label": "y", "id": "id",
        "fields": {
            "a": {"kind": "number", "minimum": 0, "maximum": 1}, "y": {"kind": "category", "values": ["no", "yes"]},
            "word": {"kind": "category", "values": ["one", "two"]},
        },
    },
}  # fmt: skip
ALONE = PARAMETERS | {"schema": {**PARAMETERS["schema"], "fields": {
    name: one for name, one in PARAMETERS["schema"]["fields"].items() if name != "a"
}}}  # fmt: skip
USE = "mlratchet.models.workloads.fields:SchemaWorkload"
SOURCE, FIRST = CsvOptions(prefix="t/", format="csv"), FirstDelivery(number_marks={"a": "."})


def deliver(raw: MemoryStore, name: str, first: int, rows: int) -> None:
    lines = [
        f"r{n:05d},{n % 97 / 100},{'yes' if n % 3 else 'no'},{'one' if n % 2 else 'two'}"
        for n in range(first, first + rows)
    ]
    raw.put(f"t/{name}", "\n".join(["id,a,y,word", *lines]).encode())


def made(raw: MemoryStore, store: MemoryStore, given: Any, before: DatasetManifest | None = None) -> DatasetManifest:
    workload = SchemaWorkload(**given)
    snapshot = take_snapshot(raw, store, prefix="t/")
    records, _ = read_dataset_records(store, snapshot, workload, SOURCE, first=FIRST)
    return write_dataset(
        store, snapshot, records, "code", WorkloadRef(use=USE, parameters=given), DataConfig(rows_per_shard=64),
        SOURCE, class_names=("no", "yes"), tensors=workload.tensors(), prepared=True, first=FIRST, before=before,
    )  # fmt: skip


@pytest.mark.parametrize("given", [ALONE, PARAMETERS])
def test_rows_that_come_behind_the_others_are_all_that_is_prepared(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, given: Any
) -> None:
    raw, applied = MemoryStore("raw"), list[int]()
    apply = PreparationPlan.apply

    def counted(self: PreparationPlan, table: Any, state: Any) -> Any:
        applied.append(table.num_rows)
        return apply(self, table, state)

    monkeypatch.setattr(PreparationPlan, "apply", counted)
    deliver(raw, "0.csv", 0, 2000)
    first = made(raw, store, given)
    assert sum(applied) == 2000
    deliver(raw, "1.csv", 2000, 50)
    applied.clear()
    second = made(raw, store, given, first)
    same_state = second.preparation_sha256 == first.preparation_sha256
    assert same_state is (given is ALONE)  # the mean of a number moves with its rows
    assert sum(applied) < 64 * 6 if same_state else sum(applied) == 2050
    other = MemoryStore("other")
    assert made(raw, other, given) == second
    for side in second.splits:
        assert len(load_split(store, second, side).ids) == second.rows[side]
