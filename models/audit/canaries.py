"""Whether what served beside the ledger was allowed: canary records, and the versions that the log says answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from mlratchet.models.audit.generation import Findings
from mlratchet.models.decisions.signature import Context, verified_decision
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.keys import PublicKeys
from mlratchet.models.identity.signed_records import ForeignRecord, RecordStore
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.inference_log.file import LogFile
from mlratchet.models.inference_log.reading import list_log
from mlratchet.models.ledger.chain import Chain
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.promotion.canary.chain import broken_canaries, read_entry
from mlratchet.models.promotion.canary.entry import CANARIES, CanaryEntry, canary_key
from mlratchet.models.promotion.canary.verify import verify_staged
from mlratchet.models.promotion.verify import differences

SLACK_S = 60.0  # seconds by which the clocks of a server and of who signs may differ, and a server follows late


def audit_canaries(store: ObjectStore, trusted: TrustedKeys, chain: Chain) -> tuple[list[str], list[str]]:
    """Problems and notes. `chain`: the ledger, as it was read."""
    records = RecordStore(store, PublicKeys(trusted))
    problems = broken_canaries(records, chain.name)
    entries = list(_entries(records, chain.name))
    found = Findings()
    for entry in entries:
        found.keep(lambda entry=entry: refuse_unfounded(store, trusted, entry, chain))  # type: ignore[misc]
    problems += found.problems
    problems += unnamed_versions(store, trusted, chain, entries)
    number = len({entry.began_s for entry in entries})
    return problems, [f"{number} canaries, each staged and under its ledger entry"] if number and not problems else []


def _entries(records: RecordStore, name: str) -> Iterator[CanaryEntry]:
    """Those that are ours; the others are told as they are met in the chain."""
    for info in sorted(records.list(f"{CANARIES}{name}/"), key=lambda info: info.key):
        with suppress(ForeignRecord, SecurityError):
            yield read_entry(records, name, info.key)


def refuse_unfounded(store: ObjectStore, trusted: TrustedKeys, entry: CanaryEntry, chain: Chain) -> None:
    """Raises ``SecurityError`` for an entry under no entry of the ledger, without the staging decision that allows it,
    or ended by no decision."""
    where = f"{store.bucket}/{canary_key(entry.name, entry.number)}"
    if entry.generation > len(chain.links) or chain.links[entry.generation - 1].digest != entry.head:
        raise SecurityError(f"{where}: was made under generation {entry.generation} {entry.head[:12]}, which is not it")
    verify_staged(store, trusted, entry, chain.links[entry.generation - 1].entry.version)
    if entry.phase != "ended":
        return
    decision, _ = verified_decision(store, entry.decision, Context(trusted))
    wanted = {"kind": "canary", "pipeline": entry.name, "version": entry.version, "verdict": entry.outcome}
    wrong = differences(decision, wanted)
    if wrong:
        raise SecurityError(f"{where}: the decision that ended it is about something else: {'; '.join(wrong)}")


def unnamed_versions(
    store: ObjectStore, trusted: TrustedKeys, chain: Chain, entries: Iterable[CanaryEntry]
) -> list[str]:
    """Versions that answered, by the records of the log, and that neither the ledger nor a canary of then names."""
    promoted = {link.entry.version for link in chain.links}
    allowed = allowed_times(entries)

    def is_named(one: LogFile) -> bool:
        times = allowed.get(one.version, [])
        return one.version in promoted or any(since <= one.first_s and one.last_s <= until for since, until in times)

    listing = list_log(store, PublicKeys(trusted), chain.name, since_s=0.0, until_s=float(2**40))
    wrong = sorted({one.version for one in listing.files if one.version and not is_named(one)})
    return [
        f"log/{chain.name}/: version {version} answered requests, which neither the ledger nor a canary of then names"
        for version in wrong
    ]


def allowed_times(entries: Iterable[CanaryEntry]) -> dict[int, list[tuple[float, float]]]:
    """Version -> from when to when a canary let servers load it, seconds since the epoch."""
    ends: dict[tuple[int, float], float] = {}
    for entry in entries:
        until_s = entry.at_s if entry.phase == "ended" else entry.expires_s
        ends[entry.version, entry.began_s] = until_s
    found: dict[int, list[tuple[float, float]]] = {}
    for (version, began_s), until_s in ends.items():
        found.setdefault(version, []).append((began_s - SLACK_S, until_s + SLACK_S))
    return found
