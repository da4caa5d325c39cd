"""Probation: the promoted version answers recorded requests on the live server, and goes back when it fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from mlratchet.infra.serving.replay import replay_live
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.prepared_shards import instances_of_side
from mlratchet.models.data.shards import load_split
from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.models.gates.evidence import Evidence, LiveReplay
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ledger.undo import version_before
from mlratchet.models.metrics.rows import load_rows
from mlratchet.models.promotion.registered import promoted_registration
from mlratchet.models.registration.record import Registration
from mlratchet.models.serving.contract import StoredRequest, contract_requests, served_signature
from mlratchet.tasks.actions.roll_back import roll_back
from mlratchet.tasks.step import step
from mlratchet.tasks.steps.gate import pass_gate
from mlratchet.tasks.support.recorded_requests import requests_of
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run

ROWS = 200  # recorded test rows that are asked one by one
ACTOR = "probation"


def judge_probation(run: Run, work: Work, record: Registration, entry: LedgerEntry, url: str) -> GateRun:
    """The verdict about one promotion. Evidence and champion compared with are those of the promotion, whoever asks:
    the run that promoted, or the next one when that was killed."""
    entries = run.adapters.ledger.entries(run.spec.name)
    before = entries[entry.generation - 2] if entry.generation > 1 else None
    incumbent = promoted_registration(run.adapters.store, before, entries) if before is not None else None
    live = replay_requests(run, record, incumbent, url)
    return pass_gate(
        run,
        replace(work, champion=before, incumbent=incumbent),
        "probation",
        Evidence(version=record.version, dataset_id=record.dataset_id, live=live),
        {"manifest": record.manifest_digest, "promotion": f"generation {entry.generation}"},
    )


@step("Replay requests against the live server", retries=1)
def replay_requests(run: Run, record: Registration, incumbent: Registration | None, url: str) -> LiveReplay | None:
    """Test rows with the answers recorded at the evaluation, what the clients of the version before send, and what
    must be refused."""
    requests = recorded_requests(run, record)
    if incumbent is not None:
        requests += requests_of(run.adapters.store, run.adapters.ledger.entries(run.spec.name), incumbent.version)
    return replay_live(url, requests, version=record.version)


def recorded_requests(run: Run, record: Registration) -> list[StoredRequest]:
    """From the bucket: the rows of the dataset beside the outputs that the gates judged."""
    store = run.adapters.store
    rows = load_rows(store, record.rows_key)
    dataset = load_dataset(store, record.dataset_id)
    run.prepared_by(dataset)  # a run that found its training done has prepared nothing
    split = load_split(store, dataset, "test")
    place = {identity: number for number, identity in enumerate(rows.ids)}
    output: np.ndarray[Any, Any] = rows.output[[place[identity] for identity in split.ids[:ROWS]]]
    return contract_requests(
        served_signature(run.workload, run.spec.serving),
        split.x.rows(slice(ROWS)),
        output,
        examples=ROWS,
        instances=instances_of_side(store, dataset, "test", ROWS),
    )


@step("Roll back")
def go_back(run: Run, entry: LedgerEntry, gate_run: GateRun) -> LedgerEntry | None:
    """The champion before is champion again; None when there was none.

    Raises ``LedgerConflict`` when another promotion came first: it is not this one's to undo.
    """
    entries = run.adapters.ledger.entries(run.spec.name)
    if version_before(entries[: entry.generation]) is None:
        return None
    made = roll_back(
        run.adapters,
        run.spec.name,
        to=None,
        reason=f"version {entry.version} failed its probation: {'; '.join(gate_run.reasons)}"[:1000],
        actor=ACTOR,
        from_generation=entry.generation,
    )
    return next(e for e in run.adapters.ledger.entries(run.spec.name) if e.generation == made["generation"])
