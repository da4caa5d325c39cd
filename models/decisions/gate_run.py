"""Gate runs: which decision answered for which version, policy, champion and evidence.

A new champion or policy makes old gate runs stale, not old trainings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest
from mlratchet.models.identity.signed_records import ForeignRecord, without_stamp
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore


class GateRun(StrictModel):
    """One verdict and where its decision is."""

    id: str
    gate: str
    work_key: str
    verdict: str
    decision: str
    """Digest of the decision."""
    reasons: tuple[str, ...] = ()
    """Of every check that did not pass."""


def gate_run_id(
    *,
    gate: str,
    work_key: str,
    policy_digest: str,
    champion_version: int | None,
    dataset_id: str,
    judged_by: Mapping[str, Any],
    evidence: Mapping[str, str],
) -> str:
    """SHA-256 hex of what a verdict depends on. `judged_by` is the code that judges, as JSON values."""
    return digest(
        {
            "gate": gate,
            "work_key": work_key,
            "policy": policy_digest,
            "champion": champion_version,
            "dataset": dataset_id,
            "judged_by": dict(judged_by),
            "evidence": dict(evidence),
        }
    )


def _key(work_key: str, identity: str) -> str:
    return f"gates/{work_key}/{identity}.json"


def find_gate_run(store: ObjectStore, work_key: str, identity: str) -> GateRun | None:
    """The gate run, or None. Raises ``SecurityError`` for an object that is none."""
    try:
        return _parse(store, _key(work_key, identity))
    except ObjectNotFound:
        return None


def publish_gate_run(store: ObjectStore, gate_run: GateRun) -> GateRun:
    """Publish by conditional create; the first one stands and is returned."""
    try:
        store.create(_key(gate_run.work_key, gate_run.id), canonical_json(gate_run.model_dump(mode="json")))
    except ObjectExists:
        return _parse(store, _key(gate_run.work_key, gate_run.id))
    return gate_run


def list_gate_runs(store: ObjectStore, work_key: str) -> list[GateRun]:
    """All gate runs of a work key, oldest first; a foreign object is none."""
    return [found for _, found in dated_gate_runs(store, work_key)]


def dated_gate_runs(store: ObjectStore, work_key: str) -> list[tuple[float, GateRun]]:
    """The same, each with when it was written by the store's clock."""
    found = []
    for info in sorted(store.list(f"gates/{work_key}/"), key=lambda info: info.modified_s):
        with suppress(ForeignRecord):
            found.append((info.modified_s, _parse(store, info.key)))
    return found


def _parse(store: ObjectStore, key: str) -> GateRun:
    try:
        document = without_stamp(json.loads(store.get(key)))
        return GateRun(**{**document, "reasons": tuple(document["reasons"])})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise SecurityError(f"{store.bucket}/{key}: is not a gate run; it was changed") from exc
