"""Small datasets over stores in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import Snapshot, take_snapshot
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.profile.layout import layout_of
from mlratchet.models.profile.profile import DataProfile, profile_of
from mlratchet.models.profile.rows import RowLayout
from mlratchet.models.workloads.loading import load_workload

SHOP = (
    "{label: returned, id: order, fields: {land: {kind: category, nullable: true}, "
    "price: {kind: number, unit: EUR, nullable: true}, day: {kind: time}, note: {kind: text, nullable: true}, "
    "channel: {kind: category, input: false, nullable: true}, "
    'returned: {kind: category, values: ["yes", "no"]}}}'
)
PIPELINE = """
name: shop
{what}
gates:
  data: [{{kind: data, measure: rows, minimum: 1}}]
  candidate: [{{kind: absolute, metric: accuracy, minimum: 0.5}}]
  staging: [{{kind: parity, maximum_difference: 0.1}}]
  champion: [{{kind: absolute, metric: accuracy, minimum: 0.5}}]
"""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A dataset and how to look at it."""

    store: MemoryStore
    manifest: DatasetManifest
    layout: RowLayout
    snapshot: Snapshot

    def profile(self, **options: Any) -> DataProfile:
        return profile_of(self.store, self.manifest, self.layout, **options)


Make = Callable[..., Made]


def shop_row(number: int, **changed: str) -> str:
    """A line of the table."""
    cells = {
        "order": f"o{number}", "land": ("DE", "AT", "")[number % 3], "price": "" if number % 10 == 0 else f"{number}.5",
        "day": f"2026-01-{number % 28 + 1:02d}", "note": f"note {number}", "channel": ("web", "app")[number % 2],
        "returned": ("yes", "no", "no", "no")[number % 4],
    }  # fmt: skip
    return ",".join((cells | changed).values())


@pytest.fixture
def make() -> Make:
    store = MemoryStore("store")

    def made(
        objects: dict[str, bytes] | Sequence[str],
        *,
        what: str = f"schema: {SHOP}\nsource: {{prefix: d/, format: csv}}",
        data: str = "",
    ) -> Made:
        raw = MemoryStore("raw")
        if not isinstance(objects, dict):
            head = "order,land,price,day,note,channel,returned"
            objects = {"shop.csv": "\n".join([head, *objects, ""]).encode()}
        for key, body in objects.items():
            raw.put(f"d/{key}", body)
        spec = parse_pipeline(PIPELINE.format(what=what) + data, where="test")
        workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
        snapshot = take_snapshot(raw, store, prefix="d/")
        records, rejects = read_dataset_records(store, snapshot, workload, spec.source)
        assert rejects == []
        about = workload.input_spec()
        manifest = write_dataset(
            store, snapshot, records, "code", spec.workload, spec.data, spec.source,
            class_names=workload.class_names(), input_columns=about.columns, tensors=about.tensors,
            prepared=about.example is not None,
        )  # fmt: skip
        return Made(store=store, manifest=manifest, layout=layout_of(spec, workload, manifest), snapshot=snapshot)

    return made
