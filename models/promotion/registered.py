"""Is a registration the one that was judged? Whoever signed the record, a decision names it by digest.

The record says what a comparison leaves out: which dataset a version was trained on, and from which version it began.
It names its parent's record by digest, so the decision about a version vouches for all of its ancestors. Decisions of
before this was written down name the dataset alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mlratchet.models.decisions.decision import digests_behind
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import digest
from mlratchet.models.identity.signed_records import bare
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.registration.record import Registration, find_registration, registration_key

REGISTRATION = "registration"  # among the digests of a decision: of the record


WEIGHTS, PROGRAM = "weights.safetensors", "data/model.pt2"  # of an artifact


def promoted_registration(
    store: ObjectStore, entry: LedgerEntry, entries: Sequence[LedgerEntry]
) -> Registration | None:
    """The record of a version that was promoted; None when it is gone.

    The ledger is enough to believe it, by the digests in its entry and in the decisions behind it: so a champion of
    before records were signed, or whose key was revoked, is still known. Raises ``SecurityError`` for another record
    than was promoted.
    """
    signed = find_registration(store, entry.work_key)
    record = signed or find_registration(bare(store), entry.work_key)
    if record is None:
        return None
    told = (record.name, record.version, record.manifest_digest)
    where = registration_key(entry.work_key)
    if told != (entry.name, entry.version, entry.manifest):
        raise SecurityError(
            f"{where}: version {record.version} of {record.name} with manifest {record.manifest_digest[:12]}, but "
            f"version {entry.version} with {entry.manifest[:12]} was promoted; it was changed"
        )
    if signed is None:
        refuse_changed_registration(bare(store), record, entries)
        files = record.manifest.get("files", {})
        if digest(record.manifest) != entry.manifest or files.get(WEIGHTS) != record.weights_sha256:
            raise SecurityError(f"{where}: names files or weights that were not promoted; it was changed")
    return record


def known_registrations(
    store: ObjectStore, name: str, signed: Iterable[Registration], entries: Sequence[LedgerEntry]
) -> list[Registration]:
    """The signed records of a pipeline, and those of what it promoted, by version."""
    found = {record.work_key: record for record in signed if record.name == name}
    for entry in entries:
        if entry.work_key not in found:
            record = promoted_registration(store, entry, entries)
            if record is not None:
                found[entry.work_key] = record
    return sorted(found.values(), key=lambda record: record.version)


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
        refuse_other_program(record, digests)
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


def refuse_other_program(record: Registration, digests: Mapping[str, str]) -> None:
    """Raises ``SecurityError`` unless the files hold the weights that were trained and the program that was scored, as
    far as a decision names them."""
    files = record.manifest.get("files", {})
    for name, file in (("weights", WEIGHTS), ("program", PROGRAM)):
        if "program" in digests and name in digests and digests[name] != files.get(file):
            ours = str(files.get(file))[:12]
            raise SecurityError(
                f"{registration_key(record.work_key)}: {file} of version {record.version} is {ours}, but the gates "
                f"judged {digests[name][:12]}"
            )


def refuse_another_parent(record: Registration, parent: Registration) -> None:
    """Raises ``SecurityError`` when the parent's record is not the one that `record` names; an old one names none."""
    if record.parent_registration not in (None, parent.digest()):
        raise SecurityError(
            f"{registration_key(parent.work_key)}: its digest is {parent.digest()[:12]}, but version {record.version} "
            f"began from {str(record.parent_registration)[:12]}; the registration of its parent was changed"
        )
