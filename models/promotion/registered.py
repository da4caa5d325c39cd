"""Is a registration the one that was judged? The record itself is not signed: a decision names it by digest.

The record says what a comparison leaves out: which dataset a version was trained on, and from which version it began.
It names its parent's record by digest, so the decision about a version vouches for all of its ancestors. Decisions of
before this was written down name the dataset alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from mlratchet.models.decisions.decision import digests_behind
from mlratchet.models.errors import SecurityError
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.registration.record import Registration, registration_key

REGISTRATION = "registration"  # among the digests of a decision: of the record


def refuse_changed_registration(store: ObjectStore, record: Registration, entries: Iterable[LedgerEntry]) -> None:
    """Hold the record against every decision that promoted it; one that was never champion has none.

    Raises ``SecurityError`` when it is not the record that was judged.
    """
    for entry in entries:
        if entry.work_key == record.work_key and entry.action == "promote":
            refuse_unjudged_registration(store, record, entry.decision)


def refuse_unjudged_registration(store: ObjectStore, record: Registration, decision: str) -> None:
    """Hold the record against one decision, whose digest is believed. Raises as `refuse_changed_registration`."""
    ours = record.digest()
    for digests in digests_behind(store, decision):
        dataset, signed = digests.get("dataset", record.dataset_id), digests.get(REGISTRATION, ours)
        what = f"{registration_key(record.work_key)}: "
        if dataset != record.dataset_id:
            raise SecurityError(
                f"{what}dataset {record.dataset_id[:12]}, but version {record.version} was judged with {dataset[:12]}; "
                "the registration was changed"
            )
        if signed != ours:
            parent = f"parent version {record.parent_version}" if record.parent_version else "no parent"
            raise SecurityError(
                f"{what}its digest is {ours[:12]} (it names {parent}), but version {record.version} was judged with "
                f"{signed[:12]}; the registration was changed"
            )


def refuse_another_parent(record: Registration, parent: Registration) -> None:
    """Raises ``SecurityError`` when the parent's record is not the one that `record` names; an old one names none."""
    if record.parent_registration not in (None, parent.digest()):
        raise SecurityError(
            f"{registration_key(parent.work_key)}: its digest is {parent.digest()[:12]}, but version {record.version} "
            f"began from {str(record.parent_registration)[:12]}; the registration of its parent was changed"
        )
