"""A delivery of Parquet goes the whole road, read in a child as all are; real data is put where a run finds it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from tests.e2e.test_schema_changes import FILE

pytestmark = [pytest.mark.stack, pytest.mark.slow]


def test_a_parquet_delivery_trains_a_champion_and_a_damaged_file_is_set_aside(stack: Any, tmp_path: Any) -> None:
    rng = np.random.default_rng(1)
    side = rng.integers(0, 3, 1500)
    columns = {
        "a": pa.array(rng.normal((side - 1) * 3.0)),
        "b": pa.array(rng.normal(size=1500).astype(np.float32)),
        "label": pa.array(np.array(["low", "mid", "high"])[side]).dictionary_encode(),
        "day": pa.array(np.arange(1500) * 10**9, pa.timestamp("ns")),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=400)
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-8])
    text = FILE.replace("name: order", "name: columnar").replace("prefix: order/", "prefix: columnar/, format: parquet")
    (stack.pipelines / "columnar.yaml").write_text(text)
    stack("upload", "columnar", str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet"))
    report = stack.json("run", "columnar", "--local")
    assert (report["outcome"], report["version"]) == ("promoted", 1)
    told = stack.json("rejects", "columnar")
    assert [one["rule"] for one in (told["rejects"] if isinstance(told, dict) else told)] == ["not_a_parquet"]


def test_real_data_is_put_into_the_raw_bucket_once(stack: Any) -> None:
    assert stack.json("seed", "diabetes")["objects_written"] == 1
    assert stack.json("seed", "diabetes")["objects_written"] == 0
    (info,) = stack.adapters.raw.list("diabetes/")
    assert stack.adapters.raw.get(info.key).startswith(b"age,sex,bmi,")
    listed = stack.json("seed", "--list")
    assert {"digits", "diabetes", "movielens"} <= {one["name"] for one in listed}
    stack("seed", "diabets", code=2)
    stack("seed", "diabetes", "--delivery", "1", code=2)
