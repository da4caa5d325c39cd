"""What lies beside the ledger: records that are not signed as ours, chains that were cut, objects that were set aside.

None of it is believed by anybody, so none of it fails an audit but a chain that is not whole: it is named, so that a
person sees what somebody left.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from mlratchet.models.audit.foreign import foreign_answers, foreign_signatures
from mlratchet.models.data.first_columns import changed_columns
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.keys import PublicKeys
from mlratchet.models.identity.record_kinds import is_misnamed, kind_of
from mlratchet.models.identity.signed_records import (
    ASIDE,
    ASIDE_OF_LOG,
    ForeignRecord,
    RecordStore,
    RevokedRecord,
    UnsignedRecord,
)
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.monitoring.window import missing_windows, numbers_in
from mlratchet.models.pipeline.store import broken_deployments
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.promotion.holds import broken_holds

SHOWN = 10  # lines of one sort
FOLDERS = (
    "work/", "datasets/", "snapshots/", "listings/", "readings/", "rejects/", "kept/", "registrations/", "gates/",
    "versions/", "studies/", "nodes/", "runs/", "retrains/", "scores/",
)  # fmt: skip
OF_A_PIPELINE = (
    "deployments/", "orders/", "waits/", "holdout/", "adoptions/", "holds/", "canary/", "answers/", "findings/",
    "windows/", "erasures/", "label-requests/",
)  # fmt: skip
CHAIN = re.compile(r"^(?P<folder>(?:holdout|adoptions)/[^/]+)/(?P<number>\d{8})\.json$")


def beside(
    store: ObjectStore, trusted: TrustedKeys, name: str, promoted_s: Mapping[str, float]
) -> tuple[list[str], list[str]]:
    """Problems and notes about everything that is not reached from the ledger, by name.

    `promoted_s` are the work keys of what was promoted and when, by the store's clock: a record about them that was
    changed is a problem. What their runs wrote before is not read again: they met it themselves, and the decisions that
    the ledger names were verified.
    """
    records = RecordStore(store, PublicKeys(trusted))
    keys = list(_records(store, name, promoted_s))
    found: dict[type[Exception] | None, list[str]] = defaultdict(list)
    problems: list[str] = []
    ours: list[str] = []  # by a key of ours, also one that was revoked since
    for key, error in zip(keys, side_by_side(lambda key: _told(records, key), keys), strict=True):
        kind = type(error) if error is not None else None
        if kind in (None, RevokedRecord):
            ours.append(key)
        line = f"{error}" if kind is None or key in str(error) else f"{store.bucket}/{key}: {error}"
        if kind in (ForeignRecord, SecurityError) and set(promoted_s) & set(key.removesuffix(".json").split("/")):
            problems.append(line)
        else:
            found[kind].append(key if kind is None else line)
    notes = _shortened([*found[ForeignRecord], *found[SecurityError]], "more records that are not ours")
    if found[UnsignedRecord]:
        notes.append(
            f"{len(found[UnsignedRecord])} records are not signed: of before records were, or planted; nothing "
            f"believes them before `ratchet adopt {name}`: {_named(found[UnsignedRecord])}"
        )
    if found[RevokedRecord]:
        notes.append(f"{len(found[RevokedRecord])} records are by a key that was revoked: their work is done again")
    aside = [
        f"{store.bucket}/{info.key}: was set aside" for place in (ASIDE, ASIDE_OF_LOG) for info in store.list(place)
    ]
    notes += _shortened([*foreign_answers(store, trusted, name)], "more answers that are nobody's")
    notes += _shortened([*foreign_signatures(store, trusted)], "more signatures that are nobody's")
    problems += broken_deployments(records, name) + broken_holds(records, name) + _gaps(store, ours)
    problems += changed_columns(store, name, trusted)
    problems += missing_windows(records, name, numbers_in(ours, name))
    return problems, notes + _shortened(aside, "more objects aside")


def _records(store: ObjectStore, name: str, promoted_s: Mapping[str, float]) -> Iterator[str]:
    prefixes = (*FOLDERS, *(f"{folder}{name}/" for folder in OF_A_PIPELINE))
    for info in (info for prefix in prefixes for info in store.list(prefix)):
        of_a_run = info.key.startswith(("work/", "gates/"))
        done_s = promoted_s.get(info.key.split("/")[1], -math.inf) if of_a_run else -math.inf
        if (kind_of(info.key) is not None or is_misnamed(info.key)) and info.modified_s > done_s:
            yield info.key


def _told(records: RecordStore, key: str) -> ForeignRecord | SecurityError | None:
    """What is wrong with a record; None for one of ours."""
    try:
        records.get(key)
    except (ForeignRecord, SecurityError) as error:
        return error
    except ObjectNotFound:  # gone since the listing
        pass
    return None


def _gaps(store: ObjectStore, keys: list[str]) -> list[str]:
    """Entries that are missing in a chain of ours, by their numbers."""
    chains: dict[str, list[int]] = defaultdict(list)
    for key in keys:
        if match := CHAIN.match(key):
            chains[match["folder"]].append(int(match["number"]))
    return [
        f"{store.bucket}/{folder}/: entry {missing:08d} is gone"
        for folder, numbers in chains.items()
        for missing in sorted(set(range(1, max(numbers) + 1)) - set(numbers))[:SHOWN]
    ]


def _named(lines: list[str]) -> str:
    """Of lines that begin with the name of an object, the names."""
    names = [line.partition(": ")[0] for line in lines]
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _shortened(lines: list[str], more: str) -> list[str]:
    left = len(lines) - SHOWN
    return [*lines[:SHOWN], f"{left} {more}"] if left > 0 else lines
