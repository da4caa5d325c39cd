"""`relabelled_fraction` and `label_prior_shift` compare labels by name, whatever order two files list them in."""

from __future__ import annotations

from typing import Any

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.quality import Names, inspect
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.workloads.tabular import TableClassifier

SOURCE = SourceConfig(prefix="p/", id_column="id")
BEFORE = ("a", "b", "c")


def read(raw: MemoryStore, store: MemoryStore, columns: list[str], classes: list[str]) -> tuple[Any, Any, Any, Any]:
    workload = TableClassifier(columns=columns, classes=classes)
    snapshot = take_snapshot(raw, store, prefix="p/")
    return workload, snapshot, *read_dataset_records(store, snapshot, workload, SOURCE)


@pytest.mark.parametrize("columns", [["x", "y"], ["y", "x"], ["x"]])
@pytest.mark.parametrize("classes", [["a", "b", "c"], ["b", "c", "a"], ["a", "b", "c", "d"], ["0", "a", "b", "c"]])
def test_labels_meet_by_name(raw: MemoryStore, store: MemoryStore, columns: list[str], classes: list[str]) -> None:
    lines = [f"r{i},{i},{-i},{'abc'[i % 3]}" for i in range(300)]
    raw.put("p/r.csv", "\n".join(["id,x,y,label", *lines]).encode())
    first, snapshot, records, _ = read(raw, store, ["x", "y"], list(BEFORE))
    before = write_dataset(
        store, snapshot, records, "x", WorkloadRef(use="x:Y"), DataConfig(), SOURCE, class_names=first.classes,
        input_columns=("x", "y"),
    )  # fmt: skip
    relabelled = [line[:-1] + "b" if number < 30 else line for number, line in enumerate(lines)]
    for delivered, fraction in ((lines, 0.0), (relabelled, 20 / 300)):
        raw.put("p/r.csv", "\n".join(["id,x,y,label", *delivered]).encode())
        workload, _, records, rejects = read(raw, store, columns, classes)
        found = inspect(
            store, records, rejects, before, DataConfig(), workload.classes, columns=tuple(columns),
            before=Names(classes=BEFORE, columns=("x", "y")),
        ).measures  # fmt: skip
        assert (found["relabelled_fraction"].value, found["relabelled_fraction"].n) == (pytest.approx(fraction), 300)
        assert found["label_prior_shift"].value == pytest.approx(fraction)
        assert ("new: " in found["label_prior_shift"].detail) == (len(classes) > 3)
