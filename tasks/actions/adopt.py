"""Adopt: records of before they were signed are taken over once, by a person, after what can be checked was checked.

Signed decisions hold the dataset, the weights, the files and the test rows of a version. What they do not hold, as the
rows that it was trained on, is listed: the person's signature stands for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.snapshot import load_snapshot
from mlratchet.models.decisions.gate_run import list_gate_runs
from mlratchet.models.decisions.signature import Context, verified_decision
from mlratchet.models.errors import ConfigurationError, RatchetError, SecurityError
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.record_kinds import kind_of
from mlratchet.models.identity.signed_records import ADOPTIONS, RecordStore, bare, signed_record
from mlratchet.models.identity.signing import Signer
from mlratchet.models.metrics.rows import load_rows
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore
from mlratchet.models.registration.record import Registration, readable_registrations, registration_key
from mlratchet.tasks.support.pipelines import require_pipeline
from mlratchet.tasks.support.versions import context_of
from mlratchet.tasks.wiring import Adapters
from safetensors import SafetensorError


@dataclass
class Adoption:
    """What is taken over, what nobody can check any more, and what is wrong."""

    records: dict[str, str] = field(default_factory=dict)  # name -> SHA-256 hex
    unchecked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def adopt(adapters: Adapters, pipeline: str, *, signer: Signer, owner: str) -> dict[str, Any]:
    """Check every record of a pipeline that is not signed, and sign the list of those that hold.

    Raises ``SecurityError`` when one of them contradicts a signed decision: nothing is taken over then.
    ``ConfigurationError`` when there is nothing to take over.
    """
    found = unsigned_records(adapters, pipeline)
    if found.problems:
        raise SecurityError(f"{pipeline}: nothing was taken over: {'; '.join(found.problems)}")
    if not found.records:
        require_pipeline(adapters, pipeline)
        raise ConfigurationError(f"{pipeline}: every record in {adapters.store.bucket} is signed; nothing to take over")
    document = {
        "pipeline": pipeline, "records": found.records, "unchecked": found.unchecked, "by": owner,
    }  # fmt: skip
    key = publish_adoption(bare(adapters.store), pipeline, document, signer)
    return {**document, "object": key}


def publish_adoption(store: ObjectStore, pipeline: str, document: dict[str, Any], signer: Signer) -> str:
    """Under the next number; returns the key."""
    number = 1
    while True:
        key = f"{ADOPTIONS}{pipeline}/{number:08d}.json"
        try:
            store.create(key, signed_record(document, key, signer, at_s=time.time()))
        except ObjectExists:
            number += 1
            continue
        return key


def unsigned_records(adapters: Adapters, pipeline: str) -> Adoption:
    """Registrations, their datasets and snapshots, and their gate runs."""
    store, found = bare(adapters.store), Adoption()
    for record in readable_registrations(store)[0].get(pipeline, []):
        keys = [key for key in keys_of(store, record) if not is_believed(adapters.store, key)]
        if not keys:
            continue
        try:
            found.unchecked += check(adapters, record)
        except (RatchetError, SafetensorError, ValueError, KeyError) as error:
            if isinstance(error, ObjectNotFound):
                found.unchecked.append(f"version {record.version}: {error}: it was not looked at")
            else:
                found.problems.append(f"version {record.version}: {error}")
            continue
        for key in keys:
            found.records[key] = digest_bytes(store.get(key))
    return found


def keys_of(store: ObjectStore, record: Registration) -> Iterator[str]:
    """Of the records behind a version that are there."""
    named = [registration_key(record.work_key), f"datasets/{record.dataset_id}.json"]
    with suppress(ObjectNotFound, RatchetError):
        named.append(f"snapshots/{load_dataset(store, record.dataset_id).snapshot_id}.json")
    named += [info.key for info in store.list(f"gates/{record.work_key}/")]
    return (key for key in dict.fromkeys(named) if kind_of(key) is not None and store.exists(key))


def is_believed(store: ObjectStore, key: str) -> bool:
    """Whether it is signed, or was taken over already."""
    return store.exists(key) if isinstance(store, RecordStore) else False


def check(adapters: Adapters, record: Registration) -> list[str]:
    """Hold a version's records against what signed decisions say; what they do not say, one line each.

    Raises ``SecurityError`` for what they contradict.
    """
    store, version = bare(adapters.store), f"version {record.version}"
    said = decided(adapters, record)
    told = {
        "dataset": record.dataset_id, "manifest": record.manifest_digest, "weights": record.weights_sha256,
        "registration": record.digest(), "rows": record.rows_key,
    }  # fmt: skip
    for name, ours in told.items():
        theirs = {digests[name] for digests in said if name in digests}
        if theirs and ours not in theirs:
            raise SecurityError(
                f"{registration_key(record.work_key)}: its {name} is {ours[:12]}, but the gates judged "
                f"{', '.join(sorted(one[:12] for one in theirs))}"
            )
    dataset = load_dataset(store, record.dataset_id)
    load_snapshot(store, dataset.snapshot_id)  # its id is the digest of its objects
    if dataset.snapshot_id != record.snapshot_id:
        raise SecurityError(f"datasets/{dataset.id}.json: is of another snapshot than {version} was trained on")
    refuse_other_test_rows(store, record, dataset)
    named = {name for digests in said for name in digests}
    lines = [f"{version}: the rows it was trained and tuned on (datasets/{dataset.id}.json)"]
    if "registration" not in named:
        lines.append(f"{version}: from which version it began ({registration_key(record.work_key)})")
    lines += [
        f"{version}: no signed decision names its {name}" for name in sorted(set(told) - named - {"registration"})
    ]
    return lines


def decided(adapters: Adapters, record: Registration) -> list[dict[str, str]]:
    """The digests of every decision about the version's work whose signature holds."""
    context = context_of(adapters, record.name, record.version)
    found = []
    for run in list_gate_runs(bare(adapters.store), record.work_key):
        with suppress(SecurityError):
            decision, _ = verified_decision(adapters.store, run.decision, Context(context.trusted))
            if decision.get("work_key") == record.work_key:
                found.append(dict(decision.get("digests") or {}))
    return found


def refuse_other_test_rows(store: ObjectStore, record: Registration, dataset: DatasetManifest) -> None:
    """Raises ``SecurityError`` when the dataset's test rows are not those that the gates judged."""
    ours, judged = load_split(store, dataset, "test"), load_rows(store, record.rows_key)
    if sorted(ours.ids) != sorted(judged.ids):
        raise SecurityError(
            f"datasets/{dataset.id}.json: {len(ours.ids)} test rows, which are not the {len(judged.ids)} that version "
            f"{record.version} was judged on"
        )
