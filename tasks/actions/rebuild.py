"""Rebuild: an MLflow that lost everything is filled again from the bucket."""

from __future__ import annotations

from mlratchet.models.fault_points import fault_point
from mlratchet.models.ports.registry import ModelVersion
from mlratchet.models.ports.tracker import Tracker
from mlratchet.models.registration.record import Registration, list_registrations
from mlratchet.models.registration.tracking import load_tracking
from mlratchet.tasks.wiring import Adapters

REBUILT = "rebuild"  # stands where a run names the flow run that wrote it


def rebuild_registry(adapters: Adapters) -> list[str]:
    """Every registered version under its own number, with its run; what was restored, one line each.

    Safe to repeat, also after a kill in the middle. What is there already is left as it is. Aliases, tags of
    promotions and the head follow by `reconcile`. Raises ``SecurityError`` for a damaged
    record before anything is made: its number would be free for another version.
    """
    lines: list[str] = []
    for name, records in list_registrations(adapters.store).items():
        held = {one.version: one for one in adapters.registry.list_versions(name)}
        for record in records:
            shown = held.get(record.version)
            if shown is None or shown.tags.get("ratchet.work_key") != record.work_key:
                lines.append(restore(adapters, record))
                fault_point("rebuild.after_version")
    return lines


def restore(adapters: Adapters, record: Registration) -> str:
    """One version and the run that it came from."""
    run_id = restore_run(adapters, record)
    made: ModelVersion = adapters.registry.restore_version(
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
