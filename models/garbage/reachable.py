"""Which objects of the store bucket nothing needs: everything that cannot be reached from the roots.

Roots: ledger entries, registrations, deployments, orders that wait for their run, unfinished work, recent decisions and
studies, and whatever is of a
kind unknown here. A version retires only if the caller says after how many days; its evidence stays, its data and
weights go.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mlratchet.models.garbage.kinds import (
    CHECKPOINT,
    COUNTS,
    DATA,
    EVIDENCE,
    FINISHED,
    FOREVER,
    MACHINERY,
    REPORTS,
    STUDIES,
    STUDY,
    WEIGHTS,
    deletion_order,
    is_document,
    is_known,
    words_in,
    words_in_key,
)
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.ledger.chain import parse_entry
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.pipeline.store import ORDER_S
from mlratchet.models.ports.storage import ObjectInfo, ObjectNotFound, ObjectStore
from mlratchet.models.registration.record import Registration, list_registrations

READERS = 16  # threads
DAY_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How long what is kept."""

    grace_s: float = DAY_S  # younger objects are never garbage: somebody may be about to refer to them
    unfinished_days: float = 30.0  # work without a version, since its last sign of life
    report_days: float = 90.0  # reports and decisions of runs that made no version
    study_days: float = 90.0  # a search, since its last entry, unless it is the newest finished one of its pipeline
    champions: int = 5  # newest distinct champions of a pipeline, and newest versions, that never retire
    retire_days: float | None = None  # any other version, since its registration; None: never

    def __post_init__(self) -> None:
        if self.champions < 1:
            raise ValueError(f"champions must be >= 1, got {self.champions}: the one that serves is always kept")


def retained_versions(
    records: dict[str, list[Registration]],
    entries: dict[str, list[LedgerEntry]],
    retention: Retention,
    now_s: float,
) -> dict[bool, list[Registration]]:
    """Registrations whose bytes are kept (True), and those that have retired (False)."""
    split: dict[bool, list[Registration]] = {True: [], False: []}
    for name, held in records.items():
        champions = list(dict.fromkeys(entry.work_key for entry in reversed(entries.get(name, []))))
        newest = {record.work_key for record in held[-retention.champions :]}
        safe = newest | set(champions[: retention.champions])
        for record in held:
            days = (now_s - record.registered_s) / DAY_S
            keep = retention.retire_days is None or days < retention.retire_days or record.work_key in safe
            split[keep].append(record)
    return split


class Reachability:
    """A marking over one listing of the bucket."""

    def __init__(self, store: ObjectStore, infos: Iterable[ObjectInfo]) -> None:
        self.store = store
        self.infos = {info.key: info for info in infos}
        self._named: dict[str, list[str]] = defaultdict(list)
        for key in self.infos:
            for word in words_in_key(key):
                self._named[word].append(key)
        self._scanned: dict[str, set[str]] = {}
        self.reached: set[str] = set()

    def mark(self, keys: Iterable[str], *, kinds: tuple[str, ...] | None = None) -> None:
        """Everything that can be reached from `keys`; with `kinds`, through and to objects of these kinds alone."""
        seen: set[str] = set()
        frontier = [key for key in keys if key in self.infos]
        while frontier:
            seen.update(frontier)
            words: set[str] = set()
            for found in self._read(key for key in frontier if is_document(key)):
                words |= found
            frontier = [
                key
                for word in words
                for key in self._named.get(word, ())
                if key not in seen and (kinds is None or key.startswith(kinds)) and self._is_carried(key, words)
            ]
            frontier = list(dict.fromkeys(frontier))
        self.reached |= seen

    @staticmethod
    def _is_carried(key: str, words: set[str]) -> bool:
        """A work key alone carries neither checkpoints nor weights of another attempt."""
        if CHECKPOINT.match(key):
            return False
        weights = WEIGHTS.match(key)
        return weights is None or weights[1] in words

    def _read(self, keys: Iterable[str]) -> list[set[str]]:
        def read(key: str) -> set[str]:
            if key not in self._scanned:
                try:
                    self._scanned[key] = words_in(self.store.get(key)) | set(words_in_key(key))
                except ObjectNotFound:  # deleted since the listing, by a collector beside us
                    self._scanned[key] = set()
            return self._scanned[key]

        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(read, keys))


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a marking found."""

    garbage: list[ObjectInfo]  # in the order in which it must be deleted
    uploads: frozenset[str]  # `s3://bucket/prefix` of every artifact that is needed


def survey(
    store: ObjectStore, *, now_s: float, retention: Retention, live_runs: frozenset[str] = frozenset()
) -> Survey:
    """What may be deleted from the store bucket, and which artifacts may not be from any other.

    Args:
        store: The store bucket.
        now_s: By the store's clock.
        retention: How long what is kept.
        live_runs: Ids of runs that may be alive; their work is never garbage.
    """
    graph = Reachability(store, store.list())
    records, entries = list_registrations(store), read_ledgers(store, graph.infos)
    registered = {record.work_key for held in records.values() for record in held}
    alive = {
        key
        for work_key, keys in unfinished_works(graph.infos, registered).items()
        if (now_s - max(graph.infos[key].modified_s for key in keys)) / DAY_S < retention.unfinished_days
        or claimed_by(store, work_key, keys) in live_runs
        for key in keys
    }
    split = retained_versions(records, entries, retention, now_s)
    retired = {record.work_key for record in split[False]}
    graph.mark(alive)
    graph.mark(f"registrations/{record.work_key}.json" for record in split[True])
    promoted = [entry for held in entries.values() for entry in held if entry.work_key not in retired]
    graph.mark(f"ledger/{entry.name}/{entry.generation:08d}.json" for entry in promoted)
    graph.mark(key for key in graph.infos if key.startswith("deployments/") or not is_known(key))
    graph.mark(
        key for key, info in graph.infos.items() if key.startswith("orders/") and now_s - info.modified_s < ORDER_S
    )
    graph.mark(kept_studies(store, graph.infos, retention, now_s))
    graph.mark(kept_readings(store, graph))
    graph.mark(audited(graph.infos.values(), retention, now_s), kinds=(*EVIDENCE, *FOREVER))
    garbage = [info for info in graph.infos.values() if is_garbage(graph, info, registered, retention, now_s)]
    announced = [key for key in alive if re.match(r"work/[^/]+/uploads/", key)]
    return Survey(
        garbage=sorted(garbage, key=lambda info: deletion_order(info.key)),
        uploads=frozenset(
            [record.source_uri for record in split[True]]
            + [stored_document(store, key, "source_uri")["source_uri"] for key in announced]
        ),
    )


def kept_readings(store: ObjectStore, graph: Reachability) -> list[str]:
    """What leads to pieces that were read of a delivery whose snapshot is needed."""
    held = {key: stored_document(store, key, "snapshot")["snapshot"] for key in graph.infos if key.startswith("kept/")}
    return [key for key, snapshot in held.items() if f"snapshots/{snapshot}.json" in graph.reached]


def audited(infos: Iterable[ObjectInfo], retention: Retention, now_s: float) -> list[str]:
    """Where an audit begins: all that was ever promoted or registered, and what was decided of late."""
    return [
        info.key
        for info in infos
        if info.key.startswith(FOREVER)
        or (info.key.startswith(("decisions/", "gates/")) and (now_s - info.modified_s) / DAY_S < retention.report_days)
    ]


def is_garbage(graph: Reachability, info: ObjectInfo, registered: set[str], retention: Retention, now_s: float) -> bool:
    """Whether nothing needs the object and it is old enough to be sure."""
    key, age_s = info.key, now_s - info.modified_s
    if CHECKPOINT.match(key) and key.split("/")[1] in registered:
        return True  # the weights are published: nobody resumes from it
    if key in graph.reached or not is_known(key) or key.startswith((*FOREVER, *MACHINERY, *COUNTS)):
        return False
    if key.startswith(REPORTS):
        return age_s / DAY_S >= retention.report_days
    if key.startswith("listings/"):  # says which snapshot a listing was: kept with it
        target = stored_document(graph.store, key, "snapshot")["snapshot"]
        return f"snapshots/{target}.json" not in graph.reached and age_s >= retention.grace_s
    assert key.startswith((*DATA, *EVIDENCE, *STUDIES, "work/")), key
    return age_s >= retention.grace_s


def read_ledgers(store: ObjectStore, keys: Iterable[str]) -> dict[str, list[LedgerEntry]]:
    """Entries by pipeline, oldest first, as they are: a broken chain is no reason to delete anything."""
    found: dict[str, list[LedgerEntry]] = defaultdict(list)
    for key in sorted(key for key in keys if key.startswith("ledger/")):
        entry = parse_entry(store.get(key), f"{store.bucket}/{key}")
        found[entry.name].append(entry)
    return found


def unfinished_works(keys: Iterable[str], registered: set[str]) -> dict[str, list[str]]:
    """Keys by work key, of work that has no version."""
    found: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        if key.startswith("work/") and key.split("/")[1] not in registered:
            found[key.split("/")[1]].append(key)
    return found


def kept_studies(store: ObjectStore, infos: dict[str, ObjectInfo], retention: Retention, now_s: float) -> list[str]:
    """Keys of studies that were written to of late, and of the newest finished one of each pipeline, which another
    `ratchet tune` goes on with. One that a living run holds is reached from its claim, one whose best was registered
    from the decisions about that version."""
    studies: dict[str, list[str]] = defaultdict(list)
    for key in infos:
        if match := STUDY.match(key):
            studies[match["id"]].append(key)
    last_s = {study: max(infos[key].modified_s for key in keys) for study, keys in studies.items()}
    kept = {study for study, at_s in last_s.items() if (now_s - at_s) / DAY_S < retention.study_days}
    newest: dict[str, str] = {}  # pipeline -> study
    for study in sorted(studies, key=lambda study: last_s[study]):
        for key in studies[study]:
            if FINISHED.match(key):
                newest[stored_document(store, key, "pipeline")["pipeline"]] = study
    return [key for study in kept | set(newest.values()) for key in studies[study]]


def claimed_by(store: ObjectStore, work_key: str, keys: Iterable[str]) -> str:
    """The run of the newest claim."""
    claims = sorted(key for key in keys if key.startswith(f"work/{work_key}/claim-"))
    return str(stored_document(store, claims[-1]).get("run", "")) if claims else ""
