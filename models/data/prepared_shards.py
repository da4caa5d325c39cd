"""Shards of examples become shards of tensors, by a preparation that is fitted on the training side alone."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.dataset import DatasetManifest, ShardRef, preparation_key
from mlratchet.models.data.shards import first_rows, publish_shard, read_shard
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import DigestMismatch, ObjectNotFound, ObjectStore
from mlratchet.models.sources.stored_examples import documents_of
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.prepared import Known, fit_away

WRITERS = 4  # threads; a shard each is in memory
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PreparedShards:
    """What became of the examples."""

    splits: dict[str, tuple[ShardRef, ...]]
    sha256: str  # of what the preparation was fitted to


def prepare_shards(
    store: ObjectStore,
    workload: WorkloadRef,
    examples: Mapping[str, tuple[ShardRef, ...]],
    before: DatasetManifest | None = None,
) -> PreparedShards:
    """Fit, apply and publish. `before`: a dataset of the same code and parameters, whose tensors are those of the same
    examples where the preparation is fitted to the same. Raises ``DataError`` for rows that it cannot be fitted to."""
    loads = {side: [partial(_examples, store, ref) for ref in refs] for side, refs in examples.items()}
    jobs = [(side, at) for side, refs in examples.items() for at in range(len(refs))]
    made = _tensors_of(before) if before is not None else {}
    known = {job: made[examples[job[0]][job[1]]] for job in jobs if examples[job[0]][job[1]] in made}
    known = {job: ref for job, ref in known.items() if store.exists(ref.key)}
    sha256_before = before.preparation_sha256 if before is not None else ""
    fitted, found = fit_away(workload, loads, Known(fitted_sha256=sha256_before, shards=frozenset(known)))
    sha256 = digest_bytes(fitted)
    store.create(preparation_key(sha256), fitted)
    reused = known if sha256 == sha256_before else {}
    if reused:
        logger.info("%d of %d shards are prepared as before: the preparation is the same", len(reused), len(jobs))

    def publish(job: tuple[str, int]) -> ShardRef:
        if job in reused:
            return reused[job]
        side, at = job
        ref = examples[side][at]
        return publish_shard(store, replace(read_shard(store, ref), x=found[side].of(at, ref.rows)))

    refs = dict(zip(jobs, side_by_side(publish, jobs, readers=WRITERS, ahead=WRITERS), strict=True))
    splits = {side: tuple(refs[side, at] for at in range(len(examples[side]))) for side in examples}
    return PreparedShards(splits=splits, sha256=sha256)


def _tensors_of(dataset: DatasetManifest) -> dict[ShardRef, ShardRef]:
    """Shards of examples -> of their tensors."""
    pairs = ((dataset.examples.get(side, ()), refs) for side, refs in dataset.splits.items())
    return {
        one: other
        for ours, theirs in pairs
        if len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True)
    }


def _examples(store: ObjectStore, ref: ShardRef) -> Inputs:
    return read_shard(store, ref).x


def fitted_to(store: ObjectStore, dataset: DatasetManifest) -> str:
    """What the preparation of a dataset was fitted to, in base64. Raises ``ObjectNotFound`` where that is gone,
    ``DigestMismatch`` where it was changed."""
    key = preparation_key(dataset.preparation_sha256)
    return base64.b64encode(store.get(key, sha256=dataset.preparation_sha256)).decode()


def with_fitted(workload: WorkloadRef, fitted: str) -> WorkloadRef:
    """The workload as ranks and children load it; as it is where nothing was fitted."""
    if not fitted:
        return workload
    return workload.model_copy(update={"parameters": {**workload.parameters, "fitted": fitted}})


def instances_of_side(store: ObjectStore, dataset: DatasetManifest, side: str, count: int) -> list[Any] | None:
    """The first rows of a side as a request holds them; None where the rows themselves are what clients send."""
    if not dataset.examples:
        return None
    return documents_of(first_rows(store, dataset.raw, side, count).x)


def is_whole(store: ObjectStore, key: str, sha256: str) -> bool:
    """Whether an object has the bytes that its digest says; what has not is made again, which is logged."""
    try:
        store.get(key, sha256=sha256)
    except (DigestMismatch, ObjectNotFound) as error:
        logger.warning("%s; it is made again from the delivery", error)
        return False
    return True


def mend_preparation(store: ObjectStore, workload: WorkloadRef, dataset: DatasetManifest) -> None:
    """Prepare again what of a dataset's tensors was changed or is gone: its examples are whole.

    Raises ``DigestMismatch`` or ``ObjectNotFound`` where it comes out otherwise now.
    """
    held = [(preparation_key(dataset.preparation_sha256), dataset.preparation_sha256)]
    held += [(ref.key, ref.sha256) for refs in dataset.splits.values() for ref in refs]
    lost = [(key, sha256) for key, sha256 in held if not is_whole(store, key, sha256)]
    if lost:
        prepare_shards(store, workload, dataset.examples)
        for key, sha256 in lost:
            store.get(key, sha256=sha256)
