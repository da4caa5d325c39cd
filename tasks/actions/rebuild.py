"""Rebuild: what an MLflow lost, all of it or one version, comes back from the bucket."""

from __future__ import annotations

from mlratchet.models.fault_points import fault_point
from mlratchet.models.ledger.chain import ledger_names
from mlratchet.models.ports.registry import restore_version
from mlratchet.models.ports.tracker import Tracker
from mlratchet.models.promotion.follow import shown_as
from mlratchet.models.promotion.registered import known_registrations
from mlratchet.models.registration.record import Registration, list_registrations
from mlratchet.models.registration.tracking import load_tracking
from mlratchet.tasks.wiring import Adapters

REBUILT = "rebuild"  # stands where a run names the flow run that wrote it


def rebuild_registry(adapters: Adapters) -> list[str]:
    """Every version that the registry lost, under its own number, with its run; what was restored, one line each.

    Safe to repeat, also after a kill in the middle, and in a registry that is not empty: what is there is left as it
    is. Aliases, tags of promotions and the head follow by `reconcile`. Raises ``SecurityError`` for a damaged record
    before anything is made.
    """
    lines: list[str] = []
    signed = list_registrations(adapters.store)
    for name in sorted(set(signed) | ledger_names(adapters.store)):
        entries = adapters.ledger.entries(name)
        records = known_registrations(adapters.store, name, signed.get(name, []), entries)
        shown, _ = shown_as(records, adapters.registry.list_versions(name))
        for record in records:
            if record.work_key not in shown:
                lines.append(restore(adapters, record))
                fault_point("rebuild.after_version")
    return lines


def restore(adapters: Adapters, record: Registration) -> str:
    """One version and the run that it came from."""
    run_id = restore_run(adapters, record)
    made = restore_version(
        adapters.registry,
        record.name,
        record.version,
        work_key=record.work_key,
        run_id=run_id,
        source_uri=record.source_uri,
        description=record.description,
        tags={**record.tags, "ratchet.registered_s": f"{record.registered_s:.0f}"},
    )
    return f"{made.name}: version {made.version} restored from registrations/{record.work_key}.json"


def restore_run(adapters: Adapters, record: Registration) -> str:
    """Parameters and metrics as far as the bucket knows them; a record of before `tracking/` has a bare run."""
    tracker: Tracker = adapters.tracker
    known = load_tracking(adapters.store, record.tracking) if record.tracking else None
    run_id = tracker.open_run(
        known.experiment if known else record.name,
        work_key=record.work_key,
        flow_run=REBUILT,
        name=known.run_name if known else f"{record.name}-{record.work_key[:8]}",
        tags={"ratchet.pipeline": record.name, "ratchet.original_run": record.run_id},
    )
    if known is not None:
        tracker.log_params(run_id, known.parameters)
        points = [(name, value, step) for name, value, step, _ in known.points]
        tracker.log_metrics(run_id, points, times_s=[at_s for *_, at_s in known.points])
        tracker.log_dataset(run_id, name=known.dataset_name, digest=known.dataset_digest, source_uri=known.dataset_uri)
    tracker.end_run(run_id, status="FINISHED")
    return run_id
