"""Where in a store what is made of a person's records lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mlratchet.models.data.dataset import DatasetManifest, ShardRef, preparation_key

Place = Literal[
    "raw", "copies of raw", "snapshots", "shards", "rows", "requests", "quarantine", "findings", "windows", "pages",
    "artifacts", "labels", "other records",
]  # fmt: skip
PLACES: Mapping[str, Place] = {
    "shards/": "shards", "datasets/": "shards", "indexes/": "shards", "preparations/": "shards", "rows/": "rows",
    "attributions/": "rows", "requests/": "requests", "quarantine/": "quarantine", "findings/": "findings",
    "windows/": "windows", "label-requests/": "windows", "snapshots/": "snapshots", "listings/": "snapshots",
    "profiles/": "pages",
}  # fmt: skip


def place_of(key: str) -> Place:
    """Of an object of the store."""
    return next((place for prefix, place in PLACES.items() if key.startswith(prefix)), "other records")


def keys_of(dataset: DatasetManifest) -> list[str]:
    """What a dataset is made of."""
    sides: list[tuple[ShardRef, ...]] = [*dataset.splits.values(), *dataset.examples.values()]
    found = [shard.key for side in sides for shard in side]
    found += [f"indexes/{dataset.index_sha256}.json"]
    return found + ([preparation_key(dataset.preparation_sha256)] if dataset.preparation_sha256 else [])
