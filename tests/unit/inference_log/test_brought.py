"""Labels come as objects in a declared format, by the names of columns that the pipeline's file says."""

from __future__ import annotations

import io
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.inference_log.brought import brought_labels
from mlratchet.models.inference_log.config import LabelsConfig


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"request_id": ["r1", "r2"], "row": [0, 3], "label": ["yes", "no"]}), sink)
    return sink.getvalue()


BODIES = {
    "csv": b"request_id,row,label\nr1,0,yes\nr2,3,no\n",
    "jsonl": b'{"request_id": "r1", "row": 0, "label": "yes"}\n{"request_id": "r2", "row": 3, "label": "no"}\n',
    "parquet": parquet(),
}


@pytest.mark.parametrize("form", sorted(BODIES))
def test_labels_are_read_in_each_format(form: str) -> None:
    store = MemoryStore("raw")
    store.put(f"labels/a.{form}", BODIES[form])
    config = LabelsConfig.model_validate({"prefix": "labels", "format": form})

    found, problems = brought_labels(store, config, since_s=0, until_s=time.time() + 10)

    assert problems == []
    rows = found.select(["request_id", "row", "label", "writer"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("r1", 0, "yes", f"labels/a.{form}"), ("r2", 3, "no", f"labels/a.{form}"),
    ]  # fmt: skip


def test_one_bad_object_is_told_and_the_others_are_read() -> None:
    store = MemoryStore("raw")
    store.put("labels/a.csv", b"id,truth\nr1,yes\n")
    store.put("labels/b.csv", b"id,label\nr1,yes\n")
    config = LabelsConfig(prefix="labels", request="id", label="label")

    found, problems = brought_labels(store, config, since_s=0, until_s=time.time() + 10)

    assert found["request_id"].to_pylist() == ["r1"]
    assert found["row"].to_pylist() == [0]
    assert len(problems) == 1
    assert "no column 'label'" in problems[0]


def test_what_came_later_is_not_read() -> None:
    store = MemoryStore("raw")
    store.put("labels/a.csv", BODIES["csv"])

    assert brought_labels(store, LabelsConfig(prefix="labels"), since_s=0, until_s=1)[0].num_rows == 0
    assert brought_labels(store, LabelsConfig(), since_s=0, until_s=9e9)[0].num_rows == 0
