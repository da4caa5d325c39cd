"""Columns travel from the source to the per-row outputs that slices are cut from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig, SourceConfig, SplitConfig
from mlratchet.models.data.dataset import dataset_id
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import DataError
from mlratchet.models.evaluation.score import score
from mlratchet.models.evaluation.seen import SEEN_COLUMN, mark_seen
from mlratchet.models.gates.intervals import cluster_of
from mlratchet.models.metrics.rows import RowOutputs, load_rows, save_rows
from mlratchet.models.objectives.naming import metrics_for
from mlratchet.models.sources.record import GROUP_COLUMN, Split
from mlratchet.models.workloads.tabular import TableClassifier

WORKLOAD = TableClassifier(columns=["a", "b"], classes=["no", "yes"])
REF = WorkloadRef(use="mlratchet.models.workloads.tabular:TableClassifier")


def rows_of(raw: MemoryStore, store: MemoryStore, header: str = "a,b,label,region,user", **source: object) -> Split:
    lines = [header]
    lines += [f"{n},{n % 7},{'yes' if n % 2 else 'no'},{'eu' if n % 3 else 'us'},u{n % 50}" for n in range(200)]
    raw.put("t/rows.csv", "\n".join(lines).encode())
    snapshot = take_snapshot(raw, store, prefix="t/")
    config = SourceConfig.model_validate({"prefix": "t/", **source})
    records, _ = read_dataset_records(store, snapshot, WORKLOAD, config)
    data = DataConfig(split=SplitConfig(test=0.4), rows_per_shard=16)
    manifest = write_dataset(store, snapshot, records, "w", REF, data, config, class_names=("no", "yes"))
    return load_split(store, manifest, "test")


def scored(store: MemoryStore, rows: Split) -> RowOutputs:
    return load_rows(store, save_rows(store, score(WORKLOAD.build_model().eval(), rows)))


def test_every_column_that_is_no_input_travels_by_itself(raw: MemoryStore, store: MemoryStore) -> None:
    rows = rows_of(raw, store)
    outputs = scored(store, rows)
    assert set(outputs.columns) == {"region", "user"}
    expected = ["eu" if int(a) % 3 else "us" for a in rows.x.array[:, 0]]
    assert outputs.columns["region"] == expected
    assert outputs.dataset_id == rows.dataset_id != ""


def test_named_columns_alone_travel_and_the_group(raw: MemoryStore, store: MemoryStore) -> None:
    outputs = scored(store, rows_of(raw, store, slice_columns=["b", "label"], group_column="user"))
    assert set(outputs.columns) == {"b", "label", GROUP_COLUMN}
    assert outputs.columns["label"] == ["yes" if y else "no" for y in outputs.y]
    assert set(outputs.columns[GROUP_COLUMN]) <= {f"u{n}" for n in range(50)}


def test_an_ordinary_column_called_group_is_for_slices_alone(raw: MemoryStore, store: MemoryStore) -> None:
    outputs = scored(store, rows_of(raw, store, header="a,b,label,region,group"))
    assert set(outputs.columns) == {"region", "group"}
    assert cluster_of(metrics_for("classification", ("no", "yes"))["accuracy"], outputs) is None
    outputs = scored(store, rows_of(raw, store, header="a,b,label,region,group", group_column="group"))
    assert cluster_of(metrics_for("classification", ("no", "yes"))["accuracy"], outputs) == GROUP_COLUMN


@pytest.mark.parametrize("name", ["@seen", "@group"])
def test_a_delivery_cannot_name_columns_that_decide_what_is_compared(
    raw: MemoryStore, store: MemoryStore, name: str
) -> None:
    with pytest.raises(DataError, match=f"column '{name}': names with @ are Ratchet's own; rename it"):
        rows_of(raw, store, header=f"a,b,label,region,{name}")
    claimed = RowOutputs(ids=["r"], y=np.zeros(1), output=np.zeros(1), columns={SEEN_COLUMN: ["yes"], "region": ["eu"]})
    assert mark_seen(claimed, set()).columns == {"region": ["eu"]}


def test_a_column_that_the_source_lacks_is_refused_with_the_nearest_name(raw: MemoryStore, store: MemoryStore) -> None:
    with pytest.raises(DataError, match=r"column 'regoin' is missing.*did you mean 'region'"):
        rows_of(raw, store, slice_columns=["regoin"])


def test_datasets_keep_their_identity_when_nothing_is_named() -> None:
    source, named = SourceConfig(prefix="t/"), SourceConfig(prefix="t/", slice_columns=("b",))
    first, again, other = (dataset_id("s", "w", REF, DataConfig(), one) for one in (source, source, named))
    assert first == again != other


def test_scoring_keeps_whose_rows_they_are() -> None:
    rows = Split(ids=["1"], x=np.zeros((1, 2), np.float32), y=np.zeros(1, np.int64), dataset_id="d")
    assert score(lambda x: torch.zeros(len(x), 2), rows).dataset_id == "d"
