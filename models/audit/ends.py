"""How far every chain of a pipeline beside its ledger goes, so that the next audit notices one whose end was cut.

A record that is missing in the middle shows by the one after it; the last has none after it. So an installation
remembers, outside of the bucket, what the newest record of each chain said when an audit last found nothing wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress

from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.erasures import erased_records, said_by
from mlratchet.models.identity.keys import PublicKeys
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.inference_log.file import Holds, chain_folder, folder_of
from mlratchet.models.inference_log.rewrites import read_rewrites
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore

CHAINS = ("deployments/", "versions/", "holds/", "canary/", "erasures/", "holdout/", "windows/", "adoptions/")
NUMBERED = re.compile(r"^(?P<folder>.*/)\d{8}\.json$")
LOGS: tuple[Holds, Holds] = ("answers", "feedback")


def chain_ends(store: ObjectStore, trusted: TrustedKeys, name: str) -> dict[str, str]:
    """Name of the newest record of ours in each chain of a pipeline -> SHA-256 hex of what it says."""
    records = RecordStore(store, PublicKeys(trusted))
    folders = [f"{chain}{name}/" for chain in CHAINS]
    for holds in LOGS:
        folders += [chain_folder(name, holds), f"{folder_of(name, holds)}rewrites/"]
    found: dict[str, str] = {}
    for folder in folders:
        by_chain: dict[str, list[str]] = {}  # a log has one for each of its writers
        for info in store.list(folder):
            if match := NUMBERED.match(info.key):
                by_chain.setdefault(match["folder"], []).append(info.key)
        for keys in by_chain.values():
            newest = next((key for key in sorted(keys, reverse=True) if _is_ours(records, key)), None)
            if newest is not None:
                found[newest] = said_by(newest, store.get(newest))
    return found


def _is_ours(records: RecordStore, key: str) -> bool:
    try:
        records.get(key)
    except (ObjectNotFound, SecurityError):
        return False
    return True


def cut_ends(store: ObjectStore, trusted: TrustedKeys, name: str, remembered: Mapping[str, str]) -> list[str]:
    """A line for each record that was the newest of its chain at an earlier audit and is gone, or another one. What was
    erased on demand, and what a rewrite of the log has replaced, is neither."""
    excused = erased_records(RecordStore(store, PublicKeys(trusted))) if remembered else frozenset()
    rewritten = _rewritten(store, trusted, name) if remembered else set()
    problems = []
    for key, said in sorted(remembered.items()):
        if (key, said) in excused or key in rewritten:
            continue
        there = ""
        with suppress(ObjectNotFound):
            there = said_by(key, store.get(key))
        if there != said and (there or (key, "") not in excused):  # an older record of an erasure tells the name alone
            what = "says something else than at" if there else "is gone since"
            problems.append(f"{store.bucket}/{key}: {what} the last clean audit, when it was the newest of its chain")
    return problems


def _rewritten(store: ObjectStore, trusted: TrustedKeys, name: str) -> set[str]:
    """Records of log files that a rewrite keeps in their stead."""
    return {
        f"{chain_folder(name, holds)}{writer}/{number:08d}.json"
        for holds in LOGS
        for writer, kept in read_rewrites(store, trusted, name, holds).kept.items()
        for number in kept
    }
