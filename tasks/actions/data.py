"""What a dataset of a pipeline holds, and what changed between two of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.reading import line_of_dataset
from mlratchet.models.data.snapshot import Snapshot, load_snapshot
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.pipeline.store import load_pipeline, newest_deployment
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.models.profile.difference import DataDifference, difference_of
from mlratchet.models.profile.layout import layout_of
from mlratchet.models.profile.profile import DataProfile, profile_of
from mlratchet.models.profile.rows import RowLayout
from mlratchet.models.workloads.loading import load_workload
from mlratchet.tasks.support.pipelines import require_pipeline
from mlratchet.tasks.support.versions import decisions_of_run, registration_of
from mlratchet.tasks.wiring import Adapters

NEWEST, CHAMPION = "newest", "champion"
SHORTEST, LONGEST_VERSION = 6, 5  # digits of an id that is cut; of the number of a version


@dataclass(frozen=True, kw_only=True)
class NamedDataset:
    """A dataset that a person named."""

    manifest: DatasetManifest
    layout: RowLayout
    told: str  # how it was named


def find_dataset(adapters: Adapters, pipeline: str, what: str = NEWEST) -> NamedDataset:
    """`newest`, `champion`, the number of a version, or the beginning of the id of a dataset or of a snapshot.

    Raises ``ConfigurationError`` for what is none, and for what was removed by `ratchet gc`.
    """
    revision = None
    if what == NEWEST:
        identity = _newest(adapters, pipeline)
    elif what == CHAMPION or (what.isdecimal() and len(what) <= LONGEST_VERSION):
        number = int(what) if what != CHAMPION else _champion(adapters, pipeline)
        record = registration_of(adapters, pipeline, number)
        identity, revision = record.dataset_id, record.revision
    else:
        identity = _by_id(adapters, what)
    manifest = _load(adapters, pipeline, identity)
    return NamedDataset(manifest=manifest, layout=_layout(adapters, pipeline, manifest, revision), told=what)


def dataset_of_run(adapters: Adapters, pipeline: str, run: str) -> NamedDataset:
    """Of a run of Prefect, by its id or `last`. Raises ``ConfigurationError`` for one that made no dataset."""
    found = [one["decision"]["digests"].get("dataset", "") for one in decisions_of_run(adapters, pipeline, run)]
    identity = next((one for one in found if re.fullmatch(r"[0-9a-f]{64}", one)), None)
    if identity is None:
        raise ConfigurationError(
            f"run {run} of {pipeline} has judged no dataset; `ratchet data {pipeline}` shows the newest"
        )
    manifest = _load(adapters, pipeline, identity)
    return NamedDataset(manifest=manifest, layout=_layout(adapters, pipeline, manifest, None), told=f"run {run[:8]}")


def look(adapters: Adapters, found: NamedDataset) -> DataProfile:
    """Every row of it."""
    reading = line_of_dataset(adapters.store, found.manifest.id)
    return profile_of(adapters.store, found.manifest, found.layout, reading=reading)


def differ(adapters: Adapters, a: NamedDataset, b: NamedDataset) -> DataDifference:
    """From `a` to `b`, every row of both."""
    before, after = ((one.manifest, one.layout, look(adapters, one)) for one in (a, b))
    return difference_of(adapters.store, before, after, snapshots=_snapshots(adapters, a, b))


def _snapshots(adapters: Adapters, a: NamedDataset, b: NamedDataset) -> tuple[Snapshot, Snapshot] | None:
    try:
        then, now = (load_snapshot(adapters.store, one.manifest.snapshot_id) for one in (a, b))
    except ObjectNotFound:
        return None
    return then, now


def _newest(adapters: Adapters, pipeline: str) -> str:
    try:
        identity = stored_document(adapters.store, f"rejects/{pipeline}.json", "dataset")["dataset"]
        if adapters.store.exists(f"datasets/{identity}.json"):
            return str(identity)
    except ObjectNotFound:
        require_pipeline(adapters, pipeline)
    head = adapters.ledger.head(pipeline)
    if head is None:
        raise ConfigurationError(f"{pipeline} has no dataset yet; `ratchet run {pipeline}` makes it")
    return registration_of(adapters, pipeline, head.version).dataset_id


def _champion(adapters: Adapters, pipeline: str) -> int:
    head = adapters.ledger.head(pipeline)
    if head is None:
        require_pipeline(adapters, pipeline)
        raise ConfigurationError(f"{pipeline} has no champion; `ratchet data {pipeline}` shows the newest dataset")
    return int(head.version)


def _by_id(adapters: Adapters, what: str) -> str:
    """The dataset that is meant, or the one of the snapshot that is."""
    if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST},64}}", what):
        words = f"`{NEWEST}`, `{CHAMPION}`, the number of a version, or {SHORTEST} to 64 digits of an id"
        raise ConfigurationError(f"{what!r} is no dataset: expected {words} of a dataset or snapshot")
    store = adapters.store
    found = [info.key.removeprefix("datasets/").removesuffix(".json") for info in store.list(f"datasets/{what}")]
    if not found and any(True for _ in store.list(f"snapshots/{what}")):
        every = (info.key.removeprefix("datasets/").removesuffix(".json") for info in store.list("datasets/"))
        found = [one for one in every if load_dataset(store, one).snapshot_id.startswith(what)]
    if len(found) != 1:
        got = f"{len(found)} datasets: {', '.join(one[:12] for one in found[:5])}" if found else "no dataset"
        raise ConfigurationError(f"{what}: {got} of this id, or of a snapshot of it; name one, or a version")
    return found[0]


def _load(adapters: Adapters, pipeline: str, identity: str) -> DatasetManifest:
    try:
        return load_dataset(adapters.store, identity)
    except ObjectNotFound:
        raise ConfigurationError(
            f"dataset {identity[:12]} of {pipeline} is gone: `ratchet gc` removed it; `ratchet run {pipeline}` makes it"
        ) from None


def _layout(adapters: Adapters, pipeline: str, manifest: DatasetManifest, revision: str | None) -> RowLayout:
    """By the file that a version was made by, else by the one that is deployed."""
    if revision is None:
        deployed = newest_deployment(adapters.store, pipeline)
        if deployed is None:
            require_pipeline(adapters, pipeline)
            raise ConfigurationError(f"{pipeline} has no deployment; `ratchet deploy {pipeline}` makes it")
        revision = deployed.revision
    spec = load_pipeline(adapters.store, revision)
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    return layout_of(spec, workload, manifest)
