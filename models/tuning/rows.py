"""The dataset of a study: training rows and scoring rows, and no reference to any row that a gate judges on.

A trial is given this manifest alone, so it could not read a test row if it wanted to; a rank refuses a trial whose
manifest has any other side.
"""

from __future__ import annotations

from mlratchet.models.data.config import SplitConfig
from mlratchet.models.data.dataset import SIDES, DatasetManifest, ShardRef, load_dataset
from mlratchet.models.data.row_index import digest_of_input, load_index
from mlratchet.models.data.shards import load_split, write_split
from mlratchet.models.data.split import side_of
from mlratchet.models.errors import DataError
from mlratchet.models.identity.canonical import canonical_json, digest
from mlratchet.models.pipeline.tune import TuneConfig
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.sources.record import GROUP_COLUMN, Split


def write_search_dataset(
    store: ObjectStore, manifest: DatasetManifest, tune: TuneConfig, *, group_column: str | None
) -> DatasetManifest:
    """Publish the study's manifest by conditional create; an existing one is returned as it is.

    Args:
        store: The store bucket.
        manifest: The pipeline's dataset.
        tune: Says what trials are scored on.
        group_column: The pipeline's; rows of one group stay on one side. Without it, rows with equal raw cells do;
            with equal inputs, where a workload does not tell raw cells.

    Raises ``DataError`` when a side would be empty.
    """
    holdout = tune.holdout if tune.rows == "holdout" else None
    group = GROUP_COLUMN if group_column else None  # under this name it travels with a row
    about = {"search_of": manifest.id, "rows": tune.rows, "holdout": holdout, "group": group}
    if holdout is not None and group is None:
        about["by"] = "raw cells"  # an earlier release cut by the bytes of inputs
    identity = digest(about)
    try:
        return load_dataset(store, identity)
    except ObjectNotFound:
        pass
    if holdout is None:
        splits = {side: manifest.splits[side] for side in SIDES}
    else:
        splits = _carved(store, manifest, group, holdout)
    rows = {side: sum(ref.rows for ref in refs) for side, refs in splits.items()}
    if not all(rows.values()):
        empty = next(side for side, count in rows.items() if not count)
        raise DataError(f"tune.rows {tune.rows}: no {empty} rows for the study; deliver more, or change tune.holdout")
    made = DatasetManifest(
        id=identity,
        snapshot_id=manifest.snapshot_id,
        splits=splits,
        rows=rows,
        target_counts={},
        index_sha256="",  # the index holds the labels of the test rows
    )
    store.create(f"datasets/{identity}.json", canonical_json(made.model_dump(mode="json")))
    return made


def _carved(
    store: ObjectStore, manifest: DatasetManifest, group: str | None, holdout: float
) -> dict[str, tuple[ShardRef, ...]]:
    """The training rows in two, by a hash of the group or of who a row is, as the split itself is made."""
    rows = load_split(store, manifest, "train")
    names = (rows.columns.get(group) if group else None) or who_each_is(store, manifest, rows)
    rule = SplitConfig(test=holdout, validation=min(0.5, (1 - holdout) / 2), salt="tune")
    held = [side_of(name, rule) == "test" for name in names]
    parts = {"train": [i for i, h in enumerate(held) if not h], "validation": [i for i, h in enumerate(held) if h]}
    size = max((ref.rows for ref in manifest.splits["train"]), default=1)
    return {side: write_split(store, _taken(rows, places), rows_per_shard=size) for side, places in parts.items()}


def who_each_is(store: ObjectStore, manifest: DatasetManifest, rows: Split) -> list[str]:
    """By raw cells, whatever is made of them; by the input where they are not told."""
    known = load_index(store, manifest, ()).entries if manifest.index_sha256 else {}
    told = [known[identity].row if identity in known else "" for identity in rows.ids]
    return [row or digest_of_input(x) for row, x in zip(told, rows.x.examples(), strict=True)]


def _taken(rows: Split, places: list[int]) -> Split:
    return Split(
        ids=[rows.ids[i] for i in places],
        x=rows.x.take(places),
        y=rows.y[places],
        columns={name: [values[i] for i in places] for name, values in rows.columns.items()},
    )
