"""May a server load this version beside the champion? Asked by the server at every look, by the run, and by an audit.

Pure rules over a chain that was read: nothing but a newest canary record that holds lets anybody load what the ledger
does not name.
"""

from __future__ import annotations

from mlratchet.models.decisions.document import Decision
from mlratchet.models.decisions.signature import Context, verified_decision
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.ledger.chain import Chain
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.promotion.canary.entry import CanaryEntry, canary_key
from mlratchet.models.promotion.verify import differences
from mlratchet.models.registration.record import Registration, find_registration


def why_over(entry: CanaryEntry | None, chain: Chain, *, now_s: float) -> str:
    """Why a canary is followed no more; empty while it is. None of it is a fault."""
    head = chain.head
    if entry is None:
        return "there is none"
    if entry.phase == "ended":
        return f"entry {entry.number} ended it: {entry.reason}"
    if head is None or (entry.generation, entry.head) != (head.entry.generation, head.digest):
        now = f"generation {head.entry.generation}" if head is not None else "nothing"
        return f"it was made under generation {entry.generation} of the ledger, which ends with {now}"
    if now_s >= entry.expires_s:
        return "it expired"
    return ""


def verify_staged(store: ObjectStore, trusted: TrustedKeys, entry: CanaryEntry, champion: int) -> Registration:
    """The record of the version that the entry lets a server load.

    Args:
        store: The store bucket.
        trusted: Whom to believe.
        entry: Of ours, and verified.
        champion: Version of the ledger entry that it was made under.

    Raises ``SecurityError`` unless the staging gate passed exactly these bytes against exactly this champion.
    """
    where = f"{store.bucket}/{canary_key(entry.name, entry.number)}"
    decision, _ = verified_decision(store, entry.staging, Context(trusted))
    wrong = differences(
        {**decision, "manifest": _digests(decision).get("manifest")},
        {
            "kind": "gate",
            "gate": "staging",
            "verdict": "pass",
            "pipeline": entry.name,
            "version": entry.version,
            "work_key": entry.work_key,
            "manifest": entry.manifest,
            "champion_version": champion,
        },
    )
    if wrong:
        raise SecurityError(f"{where}: its staging decision is about something else: {'; '.join(wrong)}")
    record = find_registration(store, entry.work_key)
    if record is None:
        raise SecurityError(f"{where}: version {entry.version} has no registration; it is not loaded")
    told = (record.name, record.version, record.manifest_digest)
    if told != (entry.name, entry.version, entry.manifest):
        raise SecurityError(
            f"{where}: names version {entry.version} with manifest {entry.manifest[:12]}, but version {record.version} "
            f"of {record.name} with {record.manifest_digest[:12]} was registered for its work"
        )
    return record


def _digests(decision: Decision) -> dict[str, str]:
    held = decision.get("digests")
    return held if isinstance(held, dict) else {}
