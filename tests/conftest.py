"""Shared by every test: stores in memory, the digits pipeline, small helpers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models import fault_points
from mlratchet.models.data.preprocess import read_dataset_records
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.evaluation.rows import RowOutputs
from mlratchet.models.pipeline.loading import read_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.loading import load_workload

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def no_fault_is_left_armed() -> Iterator[None]:
    """A fault point that a test armed and did not pass must not fail another test."""
    yield
    fault_points.disarm()


@pytest.fixture
def store() -> MemoryStore:
    """The store bucket."""
    return MemoryStore("store")


@pytest.fixture
def raw() -> MemoryStore:
    """The raw bucket."""
    return MemoryStore("raw")


@pytest.fixture(scope="session")
def digits_file() -> Path:
    """The pipeline that ships."""
    return REPOSITORY / "deployments" / "pipelines" / "digits.yaml"


@pytest.fixture(scope="session")
def digits_spec(digits_file: Path) -> PipelineSpec:
    """Parsed."""
    return read_pipeline(digits_file)


@pytest.fixture(scope="session")
def digits_workload(digits_spec: PipelineSpec) -> Workload:
    """Its workload."""
    return load_workload(digits_spec.workload.use, dict(digits_spec.workload.parameters))


@pytest.fixture
def ingest(
    raw: MemoryStore, store: MemoryStore, digits_spec: PipelineSpec, digits_workload: Workload
) -> Callable[[dict[str, bytes]], Any]:
    """Files below `digits/` -> (records, rejects)."""

    def read(files: dict[str, bytes]) -> Any:
        for name, data in files.items():
            raw.put(f"digits/{name}", data)
        snapshot = take_snapshot(raw, store, prefix="digits/")
        return read_dataset_records(store, snapshot, digits_workload, digits_spec.source)

    return read


@pytest.fixture
def classified() -> Callable[..., RowOutputs]:
    """Per-row outputs of a classifier that is right on a given share of rows."""

    def make(n: int = 400, accuracy: float = 0.9, classes: int = 3, seed: int = 0, ids: str = "r") -> RowOutputs:
        rng = np.random.default_rng(seed)
        y = np.arange(n) % classes
        output = rng.normal(0, 0.1, (n, classes)).astype(np.float32)
        wrong = np.zeros(n, dtype=bool)
        wrong[rng.choice(n, round(n * (1 - accuracy)), replace=False)] = True
        output[np.arange(n), np.where(wrong, (y + 1) % classes, y)] += 3.0
        return RowOutputs(ids=[f"{ids}{i}" for i in range(n)], y=y.astype(np.int64), output=output)

    return make
